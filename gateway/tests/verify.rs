//! `arus verify` proves what it says, and `arus recover` names what is lost before anything is accepted.
#![allow(clippy::panic, reason = "a test fails by panicking")]

#[path = "../../engine/tests/support/server.rs"]
mod server;

use std::{fs, os::unix::fs::FileExt, path::Path};

use arus::verify::{Check, Found};
use server::{Server, copy, payment, seed};

/// A data directory with rows in every table, and where its index stood after the first half.
fn data(folder: &Path) -> std::path::PathBuf {
    let data = folder.join("data");
    let server = Server::start(&data).expect("it starts");
    seed(&server);
    (0..20).for_each(|n| drop(server.submit(&format!("pay-{n}"), payment())));
    server.stop();
    data
}

fn outcome(checks: &[Check], name: &str) -> Result<Found, String> {
    let check = checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no check {name}"));
    check.outcome.clone()
}

fn wrong(checks: &[Check]) -> Vec<&'static str> {
    checks.iter().filter(|check| check.outcome.is_err()).map(|check| check.name).collect()
}

#[test]
fn a_row_that_is_missing_in_any_table_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = data(folder.path());
    let checks = arus::verify::run(&whole).expect("it runs");
    assert_eq!(wrong(&checks), Vec::<&str>::new(), "{checks:?}");
    assert!(
        matches!(outcome(&checks, "index: keys"), Ok(Found::Right(found)) if found.starts_with("25 lines")),
        "{checks:?}"
    );
    for table in ["keys", "objects", "owners", "history", "accounts", "timers", "rates"] {
        let data = folder.path().join(table);
        copy(&whole, &data);
        let db = fjall::Database::builder(data.join("index")).open().expect("it opens");
        let rows = db.keyspace(table, fjall::KeyspaceCreateOptions::default).expect("it is there");
        let first = rows.iter().next().expect("there are rows").key().expect("it reads");
        rows.remove(first).expect("it goes");
        db.persist(fjall::PersistMode::SyncAll).expect("it is synced");
        drop((rows, db));
        let checks = arus::verify::run(&data).expect("it runs");
        assert_eq!(wrong(&checks), [format!("index: {table}")], "{checks:?}");
    }
}

#[test]
fn files_that_are_not_as_they_were_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = data(folder.path());
    let damaged = |name: &str, damage: &dyn Fn(&Path)| {
        let data = folder.path().join(name);
        copy(&whole, &data);
        damage(&data);
        arus::verify::run(&data)
    };
    let format = damaged("format", &|data| {
        let text = fs::read_to_string(data.join("FORMAT")).expect("it reads");
        fs::write(data.join("FORMAT"), text.replacen("key ", "key 0", 1)).expect("it writes");
    });
    assert!(format.expect_err("it is refused").to_string().contains("damaged FORMAT"));
    let cut = damaged("cut", &|data| {
        let segment = fs::File::options().write(true).open(data.join("journal/00000001.seg")).expect("it opens");
        segment.set_len(1 << 19).expect("it is cut");
    });
    let said = outcome(&cut.expect("it runs"), "journal chain").expect_err("it is too short");
    assert!(said.contains("524288 bytes long, but was made with 1048576"), "{said}");
    let lost = damaged("lost", &|data| fs::remove_file(data.join("index/keyspaces/1/current")).expect("it goes"));
    let said = outcome(&lost.expect("it runs"), "index: keys").expect_err("it is not usable");
    assert!(said.contains("keyspaces/1/current"), "{said}");
    let no_index = damaged("no-index", &|data| fs::remove_dir_all(data.join("index")).expect("it goes"));
    let said = outcome(&no_index.expect("it runs"), "index: keys").expect("it is allowed");
    assert_eq!(said, Found::Skipped("there is no index; the next start builds it".into()));
}

#[test]
fn what_a_start_will_cut_or_build_anew_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = data(folder.path());
    let right = |text: &str| Ok(Found::Right(text.to_owned()));
    let checks = arus::verify::run(&whole).expect("it runs");
    assert_eq!(outcome(&checks, "behind the journal's end"), right("nothing"));
    let torn = folder.path().join("torn");
    copy(&whole, &torn);
    let segment = fs::File::options().read(true).write(true).open(torn.join("journal/00000001.seg")).expect("it opens");
    let pages = fs::read(torn.join("journal/00000001.seg")).expect("it reads");
    let used = pages.chunks(4096).rposition(|page| page.iter().any(|byte| *byte != 0)).expect("there are blocks");
    segment.write_all_at(b"a block that was not finished", (used as u64 + 1) * 4096).expect("it writes");
    let checks = arus::verify::run(&torn).expect("it runs");
    assert_eq!(wrong(&checks), Vec::<&str>::new(), "{checks:?}");
    let said = outcome(&checks, "behind the journal's end").expect("a crash leaves such a block");
    assert!(matches!(&said, Found::Right(text) if text.starts_with("4096 bytes of a block")), "{said:?}");

    // An index without rows beside an INDEXED that knows of some: it is being built again.
    let (anew, empty) = (folder.path().join("anew"), folder.path().join("empty"));
    copy(&whole, &anew);
    Server::start(&empty).expect("it starts").stop();
    fs::remove_dir_all(anew.join("index")).expect("it goes");
    copy(&empty.join("index"), &anew.join("index"));
    let checks = arus::verify::run(&anew).expect("it runs");
    let said = outcome(&checks, "index: keys").expect("it is built again");
    assert!(matches!(&said, Found::Skipped(why) if why.contains("once reached lsn")), "{said:?}");
}

#[test]
fn what_a_journal_lost_is_listed_and_only_accepted_by_its_very_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data(folder.path());
    let nothing = arus::recover::run(&data, None).expect("there is nothing to do");
    assert!(nothing.contains("nothing is lost"), "{nothing}");
    let older = folder.path().join("older");
    copy(&data, &older);
    let server = Server::start(&data).expect("it starts");
    let lost = server.submit("lost", payment());
    server.stop();
    fs::remove_dir_all(data.join("journal")).expect("it goes");
    copy(&older.join("journal"), &data.join("journal"));
    let checks = arus::verify::run(&data).expect("it runs");
    assert!(
        outcome(&checks, "how far it must reach").is_err_and(|said| said.contains("entries are lost")),
        "{checks:?}"
    );
    assert!(Server::start(&data).err().expect("it is refused").contains("--accept-loss-after 25"));
    let listed = arus::recover::run(&data, None).expect("it lists");
    let id = lost.committed.entry.op.to_string();
    for part in
        ["1 entries are lost", &id, "account   b has 21.00 USD; without them it has 20.00 USD", "lsn 26 credit of 1.00"]
    {
        assert!(listed.contains(part), "{part} is missing in {listed}");
    }
    assert!(arus::recover::run(&data, Some(24)).is_err(), "it ends elsewhere");
    assert!(Server::start(&data).is_err(), "nothing was changed");
    let accepted = arus::recover::run(&data, Some(25)).expect("it is accepted");
    assert!(accepted.contains("index.lost-after-25-1") && data.join("index.lost-after-25-1").exists(), "{accepted}");
    let server = Server::start(&data).expect("it goes on");
    assert!(!server.submit("lost", payment()).replayed);
    server.stop();
    let checks = arus::verify::run(&data).expect("it runs");
    assert_eq!(wrong(&checks), Vec::<&str>::new());
    assert!(
        matches!(outcome(&checks, "set aside"), Ok(Found::Skipped(said)) if said.contains("INDEXED.lost-after-25-1")),
        "{checks:?}"
    );
}
