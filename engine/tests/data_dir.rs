//! Who may open a data directory, what an old one becomes, and what a rotation survives.
#![allow(clippy::panic, reason = "a test fails by panicking")]

#[path = "support/server.rs"]
mod server;
mod support;

use std::{fs, os::unix::fs::FileExt, path::Path, sync::Arc};

use arus_engine::{
    Refusal,
    index::memory::MemoryIndex,
    journal::{
        disk::{Access, Disk, RealDisk},
        memory::MemoryDisk,
    },
    keys::Placement,
    money::{Lsn, TenantId},
    runtime::{
        data_dir::DataDir,
        migrate::{drop_old, migrate},
    },
};
use server::{Server, copy, payment, seed};
use support::World;

/// The frozen journals were never proven: their index is not kept.
const UNPROVEN: Option<Lsn> = Some(Lsn(38));

/// A data directory out of a frozen one, as long as it was made.
fn thaw(format: &str, data: &Path) {
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format), data);
    let segment = fs::File::options().write(true).open(data.join("journal/00000001.seg")).expect("it opens");
    segment.set_len(4_718_592).expect("it is as long");
}

#[test]
fn a_data_directory_of_format_2_is_migrated_with_every_key_and_balance() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    thaw("format-2", &data);
    let why = Server::start(&data).err().expect("it is refused");
    assert!(why.contains("of an earlier build") && why.contains("arus migrate --data-dir"), "{why}");
    for accepted in [None, Some(Lsn(37))] {
        let why = migrate(&data, accepted).expect_err("nothing proves its end").to_string();
        assert!(why.contains("ends at lsn 38") && why.contains("arus migrate --accept-loss-after 38"), "{why}");
    }
    let migrated = migrate(&data, UNPROVEN).expect("it is migrated");
    assert_eq!(migrated.walked.head.lsn.0, 38);
    let why = migrate(&data, UNPROVEN).expect_err("once is enough").to_string();
    assert!(why.contains("has this build's format already"), "{why}");
    let server = Server::start(&data).expect("it opens");
    let told = [
        ("payer", "954.07 USD", 38),
        ("payer-idr", "0.00 IDR", 2),
        ("shop", "10.00 EUR", 27),
        // A reservation that named it ended at 38: from then on nothing keeps it open.
        ("shop-usd", "31.90 USD", 38),
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
    let new = server.submit("new", request(100));
    assert!(!new.replayed);
    // From here on ids say whose home they are of.
    let dir = DataDir::open_read_only(&data).expect("it reads").0;
    let slot = dir.hasher().placement().slot(TenantId(0), &server::owner("CUST-A"));
    assert_eq!(Placement::slot_of(new.committed.entry.op), slot);
    server.stop();
    let dropped = drop_old(&data).expect("all of it is in the new one, which went on");
    assert!(!dropped.kept.exists());
    assert!(drop_old(&data).expect_err("it is gone").to_string().contains("nothing was kept"));
    let server = Server::start(&data).expect("it opens again");
    assert_eq!(server.rebuilt, None);
    assert!(server.submit("new", request(100)).replayed);
    server.stop();
}

/// The states in which a power cut can leave a migration.
#[test]
fn a_migration_that_was_stopped_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let [data, new, kept] = ["data", "data.migrating", "data.before-migration"].map(|name| folder.path().join(name));
    thaw("format-2", &data);
    migrate(&data, UNPROVEN).expect("it is migrated");
    let whole = fs::read(data.join("journal/00000001.seg")).expect("it reads");
    let pages = whole.chunks(4096).rposition(|page| page.iter().any(|byte| *byte != 0)).expect("there are blocks") + 1;
    // After each of its pages, before FORMAT had its name; and once between the two renames.
    for end in (0..=pages).step_by(3) {
        fs::rename(&data, &new).expect("it goes back");
        fs::rename(&kept, &data).expect("it goes back");
        if end % 2 == 0 {
            fs::remove_file(new.join("FORMAT")).expect("it was not there");
            fs::remove_file(new.join("INDEXED")).expect("it was not there");
        }
        let segment = fs::File::options().write(true).open(new.join("journal/00000001.seg")).expect("it opens");
        match end {
            0 => fs::remove_file(new.join("journal/00000001.seg")).expect("it was not begun"),
            _ => segment.write_all_at(&vec![0; (pages - end) * 4096], end as u64 * 4096).expect("it was not written"),
        }
        migrate(&data, UNPROVEN).unwrap_or_else(|why| panic!("after {end} pages: {why}"));
        assert!(fs::read(data.join("journal/00000001.seg")).expect("it reads") == whole, "after {end} pages");
    }
    // After the first of the two renames no server makes an empty bank of the name that is free.
    fs::rename(&data, &new).expect("it has not its name yet");
    let why = Server::start(&data).err().expect("it is refused");
    assert!(why.contains("was not migrated to its end; run: arus migrate"), "{why}");
    assert!(!data.exists(), "nor anything else that would be in the migration's way");
    fs::create_dir(&data).expect("somebody makes an empty folder of the name");
    migrate(&data, UNPROVEN).expect("only the name was missing");
    assert!(fs::read(data.join("journal/00000001.seg")).expect("it reads") == whole);
}

#[test]
fn a_migration_gives_up_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let [data, kept] = ["data", "data.before-migration"].map(|name| folder.path().join(name));
    thaw("format-2", &data);
    let segment = fs::File::options().read(true).write(true).open(data.join("journal/00000001.seg")).expect("it opens");
    let mut page = [0; 4096];
    segment.read_exact_at(&mut page, 8 << 12).expect("it reads");
    segment.write_all_at(&[page[200] ^ 1], (8 << 12) + 200).expect("it writes");
    let why = migrate(&data, UNPROVEN).expect_err("a block is damaged").to_string();
    assert!(why.contains("00000001.seg offset 32768"), "{why}");
    segment.write_all_at(&page, 8 << 12).expect("it is restored");
    fs::create_dir(data.join("index")).expect("it is made");
    let why = migrate(&data, UNPROVEN).expect_err("its index may know of more").to_string();
    assert!(why.contains("start it once with the build that wrote it"), "{why}");
    fs::remove_dir(data.join("index")).expect("it goes");
    let dir = "ab".repeat(16);
    fs::write(data.join("INDEXED"), format!("arus-indexed 1\ndata {dir}\n")).expect("it writes");
    assert!(migrate(&data, UNPROVEN).is_err(), "what cannot be read proves something may be lost");
    fs::remove_file(data.join("INDEXED")).expect("it goes");
    migrate(&data, UNPROVEN).expect("it is migrated");
    // Something of the old journal is not in the new one: it is not deleted.
    let new = fs::File::options().read(true).write(true).open(data.join("journal/00000001.seg")).expect("it opens");
    let length = new.metadata().expect("it reads").len();
    new.write_all_at(&vec![0; (length - (20 << 12)) as usize], 20 << 12).expect("it writes");
    let why = drop_old(&data).expect_err("entries are missing").to_string();
    assert!(why.contains("is not in the new journal") && kept.exists(), "{why}");
    // Nor is it without the secret that keys are hashed with.
    fs::remove_file(data.join("FORMAT")).expect("it goes");
    assert!(drop_old(&data).is_err() && kept.join("FORMAT").exists());
}

#[test]
fn a_link_stays_a_link_and_another_state_is_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let [data, link, new] = ["disk/data", "link", "disk/data.migrating"].map(|name| folder.path().join(name));
    thaw("format-2", &data);
    std::os::unix::fs::symlink(&data, &link).expect("it is made");
    // What an earlier try made of another journal, as if the old server had gone on since.
    thaw("format-4-all-kinds", &new);
    fs::remove_file(new.join("FORMAT")).expect("it was not finished");
    fs::File::options()
        .write(true)
        .open(new.join("journal/00000001.seg"))
        .and_then(|file| file.set_len(1 << 20))
        .expect("it is as long");
    let migrated = migrate(&link, UNPROVEN).expect("it is migrated");
    assert_eq!((migrated.walked.head.lsn.0, migrated.torn_bytes), (38, 0));
    assert!(link.is_symlink() && data.join("FORMAT").exists() && migrated.kept.parent() == data.parent());
    assert!(fs::read_to_string(data.join("FORMAT")).expect("it reads").contains("slots_from 39"));
    // A deletion that was stopped half-way is ended.
    drop_old(&link).expect("all of it is there");
    let dropped = folder.path().join("disk/data.before-migration.dropped");
    fs::create_dir(&dropped).expect("it is made");
    drop_old(&link).expect("the rest goes");
    assert!(!dropped.exists() && !migrated.kept.exists() && link.join("FORMAT").exists());
}

#[test]
fn what_a_migration_kept_is_not_deleted_for_another_bank() {
    let folder = tempfile::tempdir().expect("a folder");
    let [data, kept, dropped] =
        ["data", "data.before-migration", "data.before-migration.dropped"].map(|name| folder.path().join(name));
    thaw("format-2", &data);
    fs::create_dir(folder.path().join("data.migrating")).expect("it is made");
    fs::write(folder.path().join("data.migrating/notes.txt"), "mine").expect("it writes");
    let why = migrate(&data, UNPROVEN).expect_err("somebody's file is there").to_string();
    assert!(why.contains("notes.txt is there, which no migration makes"), "{why}");
    fs::remove_dir_all(folder.path().join("data.migrating")).expect("it goes");
    migrate(&data, UNPROVEN).expect("it is migrated");
    fs::create_dir(&dropped).expect("it is made");
    let why = drop_old(&data).expect_err("two are there").to_string();
    assert!(why.contains("delete it by hand"), "{why}");
    fs::remove_dir(&dropped).expect("it goes");
    // What the migration made is lost: nobody begins a new bank in its place.
    fs::remove_dir_all(&data).expect("it goes");
    for why in [
        Server::start(&data).err().expect("it is refused"),
        migrate(&data, UNPROVEN).expect_err("there is nothing to migrate").to_string(),
    ] {
        assert!(why.contains("what the migration made is gone") && why.contains("before-migration to it"), "{why}");
    }
    fs::rename(&kept, &dropped).expect("as an earlier deletion leaves it");
    assert!(Server::start(&data).err().expect("it is refused").contains("what the migration made is gone"));
    thaw("format-4-all-kinds", &data);
    fs::write(data.join("LOCK"), "").expect("it writes");
    let why = drop_old(&data).expect_err("it is another bank").to_string();
    assert!(why.contains("INDEXED") || why.contains("not hashed as those of"), "{why}");
    assert!(dropped.join("journal/00000001.seg").exists());
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

/// A pipe in a file's place is refused by name: nobody waits for what will never be written into it.
#[test]
fn what_is_no_file_is_refused_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = Server::start(&data).expect("it starts");
    seed(&server);
    server.stop();
    for name in ["LOCK", "FORMAT", "INDEXED", "DAMAGED", "journal/00000001.seg", "journal/spare.tmp"] {
        let (path, aside) = (data.join(name), folder.path().join("aside"));
        let was_there = fs::rename(&path, &aside).is_ok();
        let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
        assert!(made.success(), "a pipe at {name}");
        let why = Server::start(&data).err().unwrap_or_else(|| panic!("a pipe at {name} is refused"));
        assert!(why.contains(&format!("{name} is no file")), "{why}");
        assert!(DataDir::open_read_only(&data).is_err(), "{name}");
        fs::remove_file(&path).expect("it goes");
        if was_there {
            fs::rename(&aside, &path).expect("it comes back");
        }
    }
    // The next segment, not in use yet.
    let _ = fs::remove_file(data.join("journal/spare.tmp"));
    fs::create_dir(data.join("journal/spare.tmp")).expect("a folder");
    let why = Server::start(&data).err().expect("it is refused");
    assert!(why.contains("journal/spare.tmp is no file"), "{why}");
    fs::remove_dir(data.join("journal/spare.tmp")).expect("it goes");
    fs::create_dir(data.join("journal/lost+found")).expect("a folder");
    Server::start(&data).expect("as on a volume of its own").stop();
}
