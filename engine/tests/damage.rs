//! Something of a data directory is lost or damaged while the server is down: the start is refused by name, or what is
//! damaged is built anew, or it does not matter. A key that was decided is never decided again, and a refused start
//! changes nothing.
#![allow(clippy::panic, reason = "a test fails by panicking")]

#[path = "support/server.rs"]
mod server;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use arus_engine::{
    Refusal, UnavailableReason,
    journal::{
        disk::{Access, RealDisk},
        recovery::open_read_only,
    },
    money::{Lsn, Money, OpId, TenantId},
};
use server::{Server, copy, copy_file, payment, seed};
use tempfile::TempDir;

/// So many payments were made when the older copy was taken, and in all.
const PAYMENTS: [usize; 2] = [150, 600];
/// One payment in so many is asked for again after a damage.
const ASKED_ONE_IN: usize = 7;
/// Trials at once: each waits for threads that end most of its time.
const TRIALS_AT_ONCE: usize = 8;

/// A data directory as it was left, an older copy of it, another one, and what was told.
struct Kept {
    _folder: TempDir,
    whole: PathBuf,
    older: PathBuf,
    other: PathBuf,
    told: BTreeMap<String, (OpId, Lsn)>,
    balances: [(Money, Lsn); 2],
}

fn kept() -> &'static Kept {
    static KEPT: OnceLock<Kept> = OnceLock::new();
    KEPT.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let [whole, older, other] = ["whole", "older", "other"].map(|name| folder.path().join(name));
        let mut told = BTreeMap::new();
        let mut pay = |server: &Server, numbers: std::ops::Range<usize>| {
            for n in numbers {
                let reply = server.submit(&format!("pay-{n}"), payment());
                told.insert(format!("pay-{n}"), (reply.committed.entry.op, reply.committed.lsn));
            }
        };
        let server = Server::start(&whole).expect("it starts");
        seed(&server);
        pay(&server, 0..PAYMENTS[0]);
        server.stop();
        copy(&whole, &older);
        let server = Server::start(&whole).expect("it starts again");
        assert_eq!(server.rebuilt, None);
        pay(&server, PAYMENTS[0]..PAYMENTS[1]);
        let balances = ["a", "b"].map(|id| server.balance(id));
        server.stop();
        let server = Server::start(&other).expect("it starts");
        seed(&server);
        for n in 0..PAYMENTS[1] {
            server.submit(&format!("pay-{n}"), payment());
        }
        server.stop();
        assert!(segments(&whole) >= 3, "there are several segments");
        Kept { _folder: folder, whole, older, other, told, balances }
    })
}

fn segments(data: &Path) -> usize {
    files(data).iter().filter(|file| file.extension().is_some_and(|kind| kind == "seg")).count()
}

/// All files, by their paths within the data directory.
fn files(data: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it reads") {
            let path = entry.expect("it reads").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(data).expect("it is within").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// What a start on a damaged copy came to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Came {
    Refused(String),
    Rebuilt(String),
    Harmless,
}

/// Damages a copy, starts on it, and asks for what was told.
fn trial(what: &str, damage: impl FnOnce(&Path)) -> Came {
    let kept = kept();
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    copy(&kept.whole, &data);
    damage(&data);
    let started = std::panic::catch_unwind(|| Server::start(&data));
    let server = match started.unwrap_or_else(|_| panic!("{what}: the start panicked")) {
        Ok(server) => server,
        Err(why) => {
            assert!(!why.is_empty(), "{what}: refused without a reason");
            return Came::Refused(why);
        }
    };
    for (tx_id, told) in kept.told.iter().step_by(ASKED_ONE_IN) {
        let reply = server.submit(tx_id, payment());
        let again = (reply.committed.entry.op, reply.committed.lsn);
        assert!(reply.replayed && again == *told, "{what}: {tx_id} was {told:?}, is {again:?} now");
    }
    for (id, told) in ["a", "b"].iter().zip(kept.balances) {
        assert_eq!(server.balance(id), told, "{what}: the balance of {id}");
    }
    let came = server.rebuilt.clone().map_or(Came::Harmless, Came::Rebuilt);
    server.stop();
    came
}

/// Changes one file of a data directory.
fn edit(data: &Path, file: &Path, change: impl FnOnce(&File, u64)) {
    let opened = File::options().read(true).write(true).open(data.join(file)).expect("it opens");
    let length = opened.metadata().expect("it reads").len();
    change(&opened, length);
}

fn flip(file: &File, at: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("it reads");
    file.write_all_at(&[byte[0] ^ 0x11], at).expect("it writes");
}

/// Everything that may befall one file.
fn befall(file: &Path) -> Vec<(String, Came)> {
    let kept = kept();
    let mut came = Vec::new();
    let mut try_it = |what: &str, damage: &dyn Fn(&Path)| {
        let what = format!("{} {what}", file.display());
        let outcome = trial(&what, damage);
        came.push((what, outcome));
    };
    try_it("deleted", &|data| fs::remove_file(data.join(file)).expect("it goes"));
    try_it("emptied", &|data| edit(data, file, |file, _| file.set_len(0).expect("it is cut")));
    try_it("cut in half", &|data| edit(data, file, |file, length| file.set_len(length / 2).expect("it is cut")));
    try_it("replaced by a folder", &|data| {
        fs::remove_file(data.join(file)).expect("it goes");
        fs::create_dir(data.join(file)).expect("it is made");
    });
    try_it("zeroed", &|data| {
        edit(data, file, |file, length| {
            file.set_len(0).expect("it is cut");
            file.set_len(length).expect("it is as long");
        });
    });
    for (place, at) in [("first", 0), ("second", 1), ("middle", 2), ("last", 3)] {
        try_it(&format!("with its {place} byte changed"), &|data| {
            edit(data, file, |file, length| {
                if length > 0 {
                    flip(file, [0, 1.min(length - 1), length / 2, length - 1][at]);
                }
            });
        });
    }
    let beside = files(&kept.whole).into_iter().find(|other| other != file && other.parent() == file.parent());
    if let Some(beside) = beside {
        try_it("swapped with the file beside it", &|data| {
            let [one, other, between] = [data.join(file), data.join(&beside), data.join("between")];
            fs::rename(&one, &between).expect("it goes");
            fs::rename(&other, &one).expect("it goes");
            fs::rename(&between, &other).expect("it goes");
        });
    }
    for (whose, folder) in [("older", &kept.older), ("another directory's", &kept.other)] {
        if folder.join(file).exists() {
            try_it(&format!("replaced by {whose}"), &|data| {
                fs::remove_file(data.join(file)).expect("it goes");
                copy_file(&folder.join(file), &data.join(file));
            });
        }
    }
    came
}

/// Tries everything on every file, several at once.
fn befall_all(files: &[PathBuf]) -> Vec<(String, Came)> {
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..TRIALS_AT_ONCE {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let came = befall(file);
                    all.lock().expect("no panic").extend(came);
                }
            });
        }
    });
    all.into_inner().expect("no panic")
}

/// How a trial that is named ended.
fn came<'a>(all: &'a [(String, Came)], what: &str) -> &'a Came {
    &all.iter().find(|(name, _)| name == what).unwrap_or_else(|| panic!("{what} was not tried")).1
}

fn is_refused(came: &Came, because: &str) -> bool {
    matches!(came, Came::Refused(why) if why.contains(because))
}

#[test]
fn no_damage_to_the_journal_or_to_what_keys_depend_on_lets_a_key_pay_twice() {
    let kept = kept();
    let mut files = files(&kept.whole);
    files.retain(|file| !file.starts_with("index"));
    let all = befall_all(&files);
    for (what, because) in [
        ("FORMAT deleted", "no FORMAT file"),
        ("FORMAT with its middle byte changed", "check is not that of its key"),
        ("FORMAT replaced by another directory's", "belongs to the data directory"),
        ("INDEXED replaced by another directory's", "belongs to the data directory"),
        ("journal/00000001.seg cut in half", "524288 bytes long, but was made with 1048576"),
        ("journal/00000002.seg deleted", "00000002.seg is missing"),
        ("journal/00000003.seg deleted", "arus recover --accept-loss-after"),
        ("journal/00000003.seg replaced by another directory's", "does not chain"),
    ] {
        assert!(is_refused(came(&all, what), because), "{what}: {:?}", came(&all, what));
    }
}

#[test]
fn no_damage_to_the_index_lets_a_key_pay_twice() {
    let kept = kept();
    let mut files = files(&kept.whole);
    files.retain(|file| file.starts_with("index"));
    let all = befall_all(&files);
    for table in 1..=8 {
        let lost = came(&all, &format!("index/keyspaces/{table}/current deleted"));
        assert!(matches!(lost, Came::Rebuilt(why) if why.contains(&format!("keyspaces/{table}/current"))), "{lost:?}");
    }
    let refused = |came: &Came| matches!(came, Came::Refused(why) if !why.contains("belongs to the data directory"));
    let refused: Vec<_> = all.iter().filter(|(_, came)| refused(came)).collect();
    assert_eq!(refused, Vec::<&(String, Came)>::new(), "an index that is damaged is built anew");
}

/// The store takes the list of a table's files for given, and stops the process where it is not what it wrote.
#[test]
fn no_byte_of_a_list_of_files_stops_the_start_for_good() {
    let kept = kept();
    let lists = files(&kept.whole);
    let lists = lists.iter().filter(|file| {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        file.starts_with("index/keyspaces/1") && name.starts_with('v')
    });
    let mut came = Vec::new();
    for list in lists {
        let length = fs::metadata(kept.whole.join(list)).expect("it is there").len();
        for at in (0..length.min(14)).chain((14..length).step_by(97)) {
            let what = format!("{} with byte {at} changed", list.display());
            came.push(trial(&what, |data| edit(data, list, |file, _| flip(file, at))));
        }
    }
    assert!(came.len() > 14 && came.iter().all(|came| !matches!(came, Came::Refused(_))), "{came:?}");
    assert!(came.iter().any(|came| matches!(came, Came::Rebuilt(why) if why.contains("not the one that was written"))));
}

#[test]
fn no_folder_that_is_lost_older_or_anothers_lets_a_key_pay_twice() {
    let kept = kept();
    let replaced = |folder: &str, by: Option<&Path>| {
        trial(&format!("{folder} replaced by {by:?}"), |data| {
            fs::remove_dir_all(data.join(folder)).expect("it goes");
            if let Some(by) = by {
                copy(&by.join(folder), &data.join(folder));
            }
        })
    };
    assert!(is_refused(&replaced("journal", None), "journal"));
    assert!(is_refused(&replaced("journal", Some(&kept.older)), "acknowledged and indexed"));
    assert!(is_refused(&replaced("journal", Some(&kept.other)), "belongs to the data directory"));
    assert!(is_refused(&replaced("index", Some(&kept.other)), "belongs to the data directory"));
    assert_eq!(replaced("index", None), Came::Rebuilt("there was no index".into()));
    assert_eq!(replaced("index", Some(&kept.older)), Came::Harmless, "an older index goes on from where it is");
    let emptied = trial("journal emptied", |data| {
        fs::remove_dir_all(data.join("journal")).expect("it goes");
        fs::create_dir(data.join("journal")).expect("it is made");
    });
    assert!(is_refused(&emptied, "holds no segment"), "{emptied:?}");
    // The evidence outlives the index.
    let both = trial("journal older, no index", |data| {
        fs::remove_dir_all(data.join("journal")).expect("it goes");
        fs::remove_dir_all(data.join("index")).expect("it goes");
        copy(&kept.older.join("journal"), &data.join("journal"));
    });
    assert!(is_refused(&both, "acknowledged and indexed"), "{both:?}");
    for table in 0..=8 {
        let folder = format!("index/keyspaces/{table}");
        for by in [None, Some(&*kept.older), Some(&*kept.other)] {
            let came = replaced(&folder, by);
            assert!(!matches!(came, Came::Refused(_)), "{folder} by {by:?}: {came:?}");
        }
    }
}

#[test]
fn a_refused_start_changes_nothing_and_an_accepted_loss_deletes_nothing() {
    let kept = kept();
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    copy(&kept.whole, &data);
    fs::remove_file(data.join("journal/00000003.seg")).expect("it goes");
    let before = files(&data);
    let why = Server::start(&data).err().expect("it is refused");
    assert_eq!(files(&data), before, "after: {why}");
    let dir = arus_engine::runtime::data_dir::DataDir::open_existing(&data).expect("it opens");
    let disk = RealDisk::open(&dir.journal(), Access::ReadOnly).expect("it opens");
    let (_, head) = open_read_only(&disk, dir.hasher().fingerprint()).expect("it is read");
    assert_eq!(head.lsn, Lsn(506));
    let aside = dir.accept_loss(&head).expect("it is accepted");
    drop(dir);
    assert!(aside.len() == 2 && aside.iter().all(|path| path.exists()), "{aside:?}");
    let server = Server::start(&data).expect("it goes on");
    assert_eq!(server.rebuilt.as_deref(), Some("there was no index"));
    // What is behind the loss is decided anew, and nothing else.
    let lost = kept.told.iter().filter(|(_, (_, lsn))| *lsn > Lsn(506)).count();
    let anew = kept.told.keys().filter(|tx_id| !server.submit(tx_id, payment()).replayed).count();
    assert_eq!(anew, lost);
    server.stop();
}

#[test]
fn damage_that_is_met_while_serving_closes_admission_and_heals_by_a_restart() {
    let kept = kept();
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    copy(&kept.whole, &data);
    let server = Server::start(&data).expect("it starts");
    assert_eq!(server.rebuilt, None);
    // The table of payments by their ids, its oldest rows: nothing of them is in memory.
    let mut tables = files(&data);
    tables.retain(|file| file.starts_with("index/keyspaces/2/tables"));
    tables.sort_by_key(|file| fs::metadata(data.join(file)).expect("it reads").len());
    edit(&data, tables.last().expect("there are some"), |file, _| (0..256).step_by(16).for_each(|at| flip(file, at)));
    let read = |server: &Server, id: OpId| {
        let engine = server.running.engine().clone();
        let read = async { tokio::time::timeout(server::WAIT, engine.payment(TenantId(0), id)).await };
        server.runtime.block_on(read).expect("in time")
    };
    let met: Vec<_> = kept.told.values().filter_map(|(id, _)| read(&server, *id).err()).collect();
    assert_eq!(met.first(), Some(&UnavailableReason::Damaged.into()), "some row is damaged: {met:?}");
    assert_eq!(server.running.engine().closed(), Some(UnavailableReason::Damaged.into()));
    let refused = server.try_submit("another", payment()).err();
    assert_eq!(refused, Some(Refusal::Unavailable { reason: UnavailableReason::Damaged }));
    server.stop();
    let server = Server::start(&data).expect("it starts again");
    assert!(server.rebuilt.as_ref().is_some_and(|why| why.contains("found damaged while serving")));
    for (id, _) in kept.told.values() {
        assert!(read(&server, *id).is_ok());
    }
    server.stop();
}

#[test]
fn a_bad_block_of_a_sealed_segment_is_refused_by_the_start_after_it_was_met() {
    const SEGMENT: &str = "journal/00000001.seg";
    let kept = kept();
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    copy(&kept.whole, &data);
    let offset = 300 << 10;
    let damage =
        || edit(&data, Path::new(SEGMENT), |file, _| (0..4096).step_by(64).for_each(|at| flip(file, offset + at)));
    let server = Server::start(&data).expect("it starts");
    damage();
    let damaged = Refusal::Unavailable { reason: UnavailableReason::Damaged };
    let met = kept.told.keys().find_map(|tx_id| match server.try_submit(tx_id, payment()) {
        Ok(reply) => {
            assert!(reply.replayed, "{tx_id} is decided anew");
            None
        }
        Err(refusal) => Some(refusal),
    });
    assert_eq!(met, Some(damaged), "the first who meets it is told what it is");
    server.stop();
    for _ in 0..2 {
        let why = Server::start(&data).err().expect("it is refused");
        assert!(why.contains("corrupt at 00000001.seg offset 3"), "{why}");
    }
    // The file is restored.
    damage();
    // A block that was met unreadable and is the last may be no torn one.
    let end = fs::read(data.join("journal/00000003.seg")).expect("it reads");
    let end = end.chunks(4096).rposition(|page| page.iter().any(|byte| *byte != 0)).expect("there are blocks");
    let tear = || edit(&data, Path::new("journal/00000003.seg"), |file, _| flip(file, (end as u64) * 4096 + 9));
    let before = files(&data);
    tear();
    fs::remove_file(data.join("INDEXED")).expect("it goes");
    fs::write(data.join("index/DAMAGED"), "a row cannot be read\n").expect("it is condemned");
    let why = Server::start(&data).err().expect("it is refused");
    assert!(why.contains("speaks of damage") && why.contains("arus recover --accept-loss-after"), "{why}");
    assert!(data.join("DAMAGED").exists(), "a refused start changes nothing");
    tear();
    fs::remove_file(data.join("index/DAMAGED")).expect("it goes");
    copy_file(&kept.whole.join("INDEXED"), &data.join("INDEXED"));
    assert_eq!(files(&data), before);
    let server = Server::start(&data).expect("it starts");
    assert!(kept.told.keys().all(|tx_id| server.submit(tx_id, payment()).replayed));
    server.stop();
    assert!(data.join("DAMAGED.set-aside-1").exists() && !data.join("DAMAGED").exists());
}

/// The index is to be built anew, and the journal is an older one: what the index proved counts all the same.
#[test]
fn an_index_that_was_found_damaged_still_says_how_far_the_journal_must_reach() {
    let kept = kept();
    let older = |data: &Path| {
        for name in ["journal", "INDEXED"] {
            let path = data.join(name);
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.expect("it goes");
        }
        copy(&kept.older.join("journal"), &data.join("journal"));
        copy_file(&kept.older.join("INDEXED"), &data.join("INDEXED"));
    };
    let condemned = trial("an older journal beside a condemned index", |data| {
        fs::write(data.join("index/DAMAGED"), "a row cannot be read\nreaches 605\n").expect("it is condemned");
        older(data);
    });
    assert!(is_refused(&condemned, "acknowledged and indexed"), "{condemned:?}");
    let unproven = trial("no INDEXED, and an index that is not usable", |data| {
        fs::remove_file(data.join("INDEXED")).expect("it goes");
        fs::remove_file(data.join("index/keyspaces/3/current")).expect("it goes");
    });
    assert!(is_refused(&unproven, "arus recover --accept-loss-after"), "{unproven:?}");
    let absent = trial("no INDEXED, and no index", |data| {
        fs::remove_file(data.join("INDEXED")).expect("it goes");
        fs::remove_dir_all(data.join("index")).expect("it goes");
    });
    assert!(is_refused(&absent, "arus recover --accept-loss-after"), "{absent:?}");
    let no_format = trial("only what an earlier loss left", |data| {
        for entry in fs::read_dir(data).expect("it reads") {
            let path = entry.expect("it reads").path();
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.expect("it goes");
        }
        fs::write(data.join("INDEXED.lost-after-5-1"), "").expect("it is kept");
    });
    assert!(is_refused(&no_format, "is not empty: INDEXED.lost-after-5-1"), "{no_format:?}");
}

/// Two copies of one directory go on by themselves: their tables have the same names, rows and positions.
#[test]
fn a_table_of_a_sibling_or_under_another_name_is_no_table_of_ours() {
    let folder = tempfile::tempdir().expect("a folder");
    let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
    copy(&kept().older, &one);
    copy(&kept().older, &other);
    for (data, sort) in [(&one, "one"), (&other, "other")] {
        let server = Server::start(data).expect("it starts");
        (0..5).for_each(|n| drop(server.submit(&format!("{sort}-{n}"), payment())));
        server.stop();
    }
    for table in 1..=7 {
        let mixed = folder.path().join(format!("mixed-{table}"));
        copy(&other, &mixed);
        let place = |data: &Path| data.join(format!("index/keyspaces/{table}"));
        fs::remove_dir_all(place(&mixed)).expect("it goes");
        copy(&place(&one), &place(&mixed));
        let server = Server::start(&mixed).expect("it is built anew, or as it was");
        for n in 0..5 {
            assert!(server.submit(&format!("other-{n}"), payment()).replayed, "table {table}: other-{n} paid twice");
        }
        server.stop();
    }
    let swapped = folder.path().join("swapped");
    copy(&other, &swapped);
    let place = |table: u8| swapped.join(format!("index/keyspaces/{table}"));
    fs::rename(place(4), place(9)).expect("it goes");
    fs::rename(place(5), place(4)).expect("it goes");
    fs::rename(place(9), place(5)).expect("it goes");
    let server = Server::start(&swapped).expect("it is built anew");
    assert!(server.rebuilt.is_some(), "the history is not the accounts");
    server.stop();
}
