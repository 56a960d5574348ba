//! Who may open a data directory, what an old one becomes, and what a rotation survives.
#![allow(clippy::panic, reason = "a test fails by panicking")]

#[path = "support/server.rs"]
mod server;
mod support;

use std::{fs, path::Path, sync::Arc};

use arus_engine::{
    Refusal,
    index::memory::MemoryIndex,
    journal::{
        disk::{Access, Disk, RealDisk},
        memory::MemoryDisk,
    },
};
use server::{Server, copy, payment, seed};
use support::World;

/// A data directory out of a frozen one, as long as it was made.
fn thaw(format: &str, data: &Path) {
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format), data);
    let segment = fs::File::options().write(true).open(data.join("journal/00000001.seg")).expect("it opens");
    segment.set_len(4_718_592).expect("it is as long");
}

#[test]
fn a_data_directory_of_format_2_opens_with_every_key_and_balance() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    thaw("format-2", &data);
    let server = Server::start(&data).expect("it opens");
    let told = [
        ("payer", "954.07 USD", 38),
        ("payer-idr", "0.00 IDR", 2),
        ("shop", "10.00 EUR", 27),
        ("shop-usd", "31.90 USD", 37),
    ];
    for (account, balance, lsn) in told {
        let found = server.balance(account);
        assert_eq!((found.0.to_string(), found.1.0), (balance.to_owned(), lsn), "{account}");
    }
    let request = |minor| {
        let arus_engine::ledger::commands::Request::CreatePayment(payment) = payment() else { panic!("a payment") };
        arus_engine::ledger::commands::Request::CreatePayment(arus_engine::ledger::commands::CreatePayment {
            customer: server::owner("CUST-A"),
            amount: server::usd(minor),
            destination: Some(server::account("shop-usd")),
            ..payment
        })
    };
    for n in 0..20 {
        let reply = server.submit(&format!("pay-{n}"), request(100 + n));
        assert!(reply.replayed && reply.committed.lsn.0 == 7 + n as u64, "pay-{n}: {reply:?}");
    }
    assert!(!server.submit("new", request(100)).replayed);
    server.stop();
    // The secret has a check from now on.
    assert!(fs::read_to_string(data.join("FORMAT")).expect("it reads").starts_with("arus-data 2\n"));
    let server = Server::start(&data).expect("it opens again");
    assert_eq!(server.rebuilt, None);
    assert!(server.submit("new", request(100)).replayed);
    server.stop();
}

#[test]
fn a_second_writer_is_refused_though_the_lock_file_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = Server::start(&data).expect("it starts");
    seed(&server);
    assert!(Server::start(&data).err().expect("it is refused").contains("in use by another arus process"));
    fs::remove_file(data.join("LOCK")).expect("it goes");
    let why = Server::start(&data).err().expect("it is refused");
    assert!(why.contains("00000001.seg") && why.contains("another arus process writes to it"), "{why}");
    server.submit("payment", payment());
    server.stop();
    let server = Server::start(&data).expect("it starts once the first is gone");
    assert!(server.submit("payment", payment()).replayed);
    server.stop();
}

#[test]
fn a_start_that_was_cut_short_before_there_was_a_format_file_begins_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    Server::start(&data).expect("it starts").stop();
    fs::remove_dir_all(data.join("index")).expect("it goes");
    fs::rename(data.join("FORMAT"), data.join("FORMAT.tmp")).expect("as if it was cut short");
    let server = Server::start(&data).expect("nothing was ever served from it");
    seed(&server);
    server.stop();
    fs::remove_dir_all(data.join("index")).expect("it goes");
    fs::remove_file(data.join("INDEXED")).expect("it goes");
    fs::rename(data.join("FORMAT"), data.join("FORMAT.tmp")).expect("somebody's doing");
    let why = Server::start(&data).err().expect("entries are in it");
    assert!(why.contains("is not to be created"), "{why}");
}

#[test]
fn an_index_that_cannot_be_written_is_opened_anew_until_it_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = Server::start(&data).expect("it starts");
    seed(&server);
    let wait_for = |what: &str, is_so: &dyn Fn() -> bool| {
        let until = std::time::Instant::now() + server::WAIT;
        while !is_so() {
            assert!(std::time::Instant::now() < until, "{what}");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    };
    let is_indexed = || {
        let (committed, indexed) = server.running.engine().progress();
        committed == indexed
    };
    wait_for("the seed is indexed", &is_indexed);
    // No new file can be made where a table's files go.
    let [tables, away] = ["tables", "away"].map(|name| data.join("index/keyspaces/4").join(name));
    fs::rename(&tables, &away).expect("it goes");
    for n in 0..50 {
        server.submit(&format!("pay-{n}"), payment());
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(!is_indexed(), "the run fails");
    fs::rename(&away, &tables).expect("it is back");
    wait_for("the index catches up", &is_indexed);
    server.stop();
    let server = Server::start(&data).expect("it starts");
    assert_eq!(server.rebuilt, None, "the failed runs left nothing that does not belong");
    assert!((0..50).all(|n| server.submit(&format!("pay-{n}"), payment()).replayed));
    server.stop();
}

#[test]
fn a_rename_that_fails_at_a_rotation_is_tried_again_and_loses_nothing() {
    actix::System::new().block_on(async {
        let clock = World::new(5).clock;
        let mut world = World::on(MemoryDisk::new(), MemoryIndex::new(), clock);
        world.seed().await;
        let segments =
            |disk: &MemoryDisk| disk.list().expect("it lists").iter().filter(|name| name.ends_with(".seg")).count();
        let before = segments(&world.disk);
        world.disk.fail_renames(3);
        let mut made = 0;
        while segments(&world.disk) < before + 2 {
            made += 1;
            assert!(made < 1_000, "it never rotates");
            let decided = world.submit(&format!("fill-{made}"), support::request(&world.clock, 12 * made, &[])).await;
            if let Err(refusal) = decided {
                assert!(matches!(refusal, Refusal::Overloaded { .. }), "{refusal}");
            }
        }
        assert!(!world.failed.load(std::sync::atomic::Ordering::SeqCst), "the process goes on");
    });
}

#[test]
fn a_segment_that_was_removed_under_the_server_stops_it_at_the_rotation() {
    actix::System::new().block_on(async {
        let clock = World::new(5).clock;
        let mut world = World::on(MemoryDisk::new(), MemoryIndex::new(), clock);
        world.seed().await;
        let names = world.disk.list().expect("it lists");
        let open = names.iter().rfind(|name| name.ends_with(".seg")).expect("there is one");
        world.disk.remove(open);
        let mut last = None;
        for n in 1..1_000 {
            let decided = world.submit(&format!("fill-{n}"), support::request(&world.clock, 12 * n, &[])).await;
            if let Err(refusal) = decided {
                last = Some(refusal);
                break;
            }
        }
        let said = last.expect("it stops").to_string();
        assert!(said.contains("journal failed"), "{said}");
        assert!(world.failed.load(std::sync::atomic::Ordering::SeqCst), "the process ends");
    });
}

#[test]
fn renaming_never_goes_over_another_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(folder.path(), Access::Write).expect("it opens"));
    let [a, b] = ["a", "b"].map(|name| disk.create(name, 4_096).expect("it is made"));
    assert!(disk.rename("a", "b").is_err());
    assert_eq!(disk.identity("a").expect("it is there"), a.identity().expect("it is open"));
    assert_eq!(disk.identity("b").expect("it is there"), b.identity().expect("it is open"));
}
