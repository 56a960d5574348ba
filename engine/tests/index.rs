//! The index on disk: what it is given comes back once and in order, also after runs that failed half-way and were
//! built again with other bounds (P5).

use std::sync::Arc;

use arus_engine::{
    index::{
        HistoryRow, Index, IndexError, Moved, Run, Watermark,
        fjall::{FjallIndex, Located},
        reach::ReachFile,
        store::Table,
        unusable::Unusable,
    },
    keys::Fingerprint,
    ledger::{account::Account, time::Timestamp},
    money::{AccountId, Currency, Lsn, OpId, OwnerId, PostingKind, TenantId},
};

const TENANT: TenantId = TenantId(0);
/// How many entries a partition has.
const PARTITION: u64 = 1 << 20;

/// A data directory's index: made if it is not there.
fn open(folder: &tempfile::TempDir) -> FjallIndex {
    try_open(folder).expect("it opens")
}

fn try_open(folder: &tempfile::TempDir) -> Result<FjallIndex, Unusable> {
    let fingerprint = Fingerprint([7; 16]);
    let at = Located {
        folder: folder.path().join("index"),
        reach: ReachFile::new(folder.path().join("INDEXED"), fingerprint),
        fingerprint,
        cache_bytes: 1 << 20,
        damage: Arc::default(),
    };
    let reach = at.reach.read().expect("it reads");
    match at.folder.exists() {
        true => FjallIndex::open(at, reach),
        false => Ok(FjallIndex::create(at, reach).expect("it is made")),
    }
}

fn key() -> (TenantId, AccountId) {
    (TENANT, AccountId::parse("hot").expect("an id"))
}

fn account(balance: i128) -> Account {
    let (owner, usd) = (OwnerId::parse("ann").expect("an id"), Currency::from_code("USD").expect("USD"));
    Account { credits_posted: balance, applied_lsn: Lsn(5), ..Account::open(key().1, owner, usd) }
}

/// Two lines an entry: 10 in, 3 out.
fn lines(lsns: std::ops::RangeInclusive<u64>) -> Vec<HistoryRow> {
    let line = |lsn: u64, line: u16| {
        let (kind, amount_minor, balance_minor) = match line {
            0 => (PostingKind::Credit, 10, i128::from(lsn) * 7 + 3),
            _ => (PostingKind::Debit { held_on: 0 }, 3, i128::from(lsn) * 7),
        };
        HistoryRow { lsn: Lsn(lsn), line, payment: true, moved: Some(Moved { kind, amount_minor, balance_minor }) }
    };
    lsns.flat_map(|lsn| [line(lsn, 0), line(lsn, 1)]).collect()
}

fn run(lsns: std::ops::RangeInclusive<u64>) -> Run {
    let watermark = Some(Watermark { lsn: Lsn(*lsns.end()), block_hash: [7; 32] });
    Run { history: vec![(key(), lines(lsns))], watermark, ..Run::default() }
}

/// Reads the whole history in pages, as lists do: an entry cut by a page's end is read again.
fn read_all(index: &FjallIndex, page: usize) -> Vec<HistoryRow> {
    let (mut all, mut below): (Vec<HistoryRow>, _) = (Vec::new(), Lsn(u64::MAX));
    loop {
        let rows = index.history(&key(), below, page).expect("it reads");
        let Some(last) = rows.last().map(|row| row.lsn) else { return all };
        let complete = rows.len() < page;
        all.extend(rows.into_iter().filter(|row| complete || row.lsn > last));
        below = if complete { last } else { Lsn(last.0 + 1) };
    }
}

fn newest_first(lsns: std::ops::RangeInclusive<u64>) -> Vec<HistoryRow> {
    let mut rows = lines(lsns);
    rows.reverse();
    rows
}

#[test]
fn chunks_read_as_single_lines_at_any_page_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = open(&folder);
    // 64 entries of two lines fill a chunk exactly; the others end before or behind one's bound.
    for lsns in [1..=64, 65..=65, 66..=600] {
        index.apply(run(lsns)).expect("it takes the run");
    }
    for page in [3, 100, 128, 129, 5_000] {
        assert_eq!(read_all(&index, page), newest_first(1..=600), "pages of {page}");
    }
    let below = index.history(&key(), Lsn(66), 4).expect("it reads");
    assert_eq!(below, newest_first(64..=65));
    drop(index);
    assert_eq!(read_all(&open(&folder), 1_000), newest_first(1..=600), "and after a restart");
}

#[test]
fn a_run_that_is_built_again_with_other_bounds_doubles_and_loses_nothing() {
    for bounds in [vec![300], vec![100, 300], vec![10, 11, 250, 300], vec![299, 300]] {
        let folder = tempfile::tempdir().expect("a folder");
        let index = open(&folder);
        // It reached the history, and crashed before the watermark: all of it is built again.
        index.apply(run(1..=300)).expect("it takes the run");
        let mut first = 1;
        for last in bounds.iter().copied() {
            index.apply(run(first..=last)).expect("it takes the run");
            first = last + 1;
        }
        index.apply(run(301..=310)).expect("it takes the run");
        for page in [7, 128, 10_000] {
            assert_eq!(read_all(&index, page), newest_first(1..=310), "bounds {bounds:?}, pages of {page}");
        }
    }
}

/// Keys of two tenants that all fall into one bucket, and objects of one moment, by their lsn.
fn crowded(lsns: std::ops::RangeInclusive<u64>) -> Run {
    let watermark = Some(Watermark { lsn: Lsn(*lsns.end()), block_hash: [7; 32] });
    let of = |tenant| lsns.clone().map(move |lsn| (tenant, u128::from(lsn), Lsn(lsn)));
    let numbers = || of(TENANT).chain(of(TenantId(7)));
    // In an order that is not the lsns'.
    let keys = numbers().rev().collect();
    let objects = numbers().rev().map(|(tenant, number, lsn)| (tenant, OpId(number % 500), lsn)).collect();
    let history = [TENANT, TenantId(7)].map(|tenant| ((tenant, key().1), lines(lsns.clone()))).into();
    Run { keys, objects, history, watermark, ..Run::default() }
}

#[test]
fn a_crowded_bucket_and_the_bounds_of_partitions_lose_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = open(&folder);
    let lsns = PARTITION - 700..=PARTITION + 700;
    for run in [PARTITION - 700..=PARTITION - 601, PARTITION - 600..=PARTITION + 99, PARTITION + 100..=PARTITION + 700]
    {
        // The same numbers under two tenants are two numbers; a run that comes twice is taken once.
        for _ in 0..2 {
            index.apply(crowded(run.clone())).expect("it takes the run");
        }
    }
    let holds = |index: &FjallIndex| {
        for lsn in lsns.clone() {
            for tenant in [TENANT, TenantId(7)] {
                let found = index.key(tenant, u128::from(lsn)).expect("it reads");
                assert_eq!(found, Some(Lsn(lsn)), "key {lsn} of {tenant:?}");
            }
            let latest = (lsn..=*lsns.end()).rev().find(|other| other % 500 == lsn % 500).map(Lsn);
            assert_eq!(index.object(TENANT, OpId(u128::from(lsn % 500))).expect("it reads"), latest);
        }
        assert_eq!(index.key(TenantId(3), u128::from(PARTITION)).expect("it reads"), None, "another tenant's");
        assert_eq!(index.object(TENANT, OpId(500)).expect("it reads"), None);
        for page in [9, 256, 10_000] {
            assert_eq!(read_all(index, page), newest_first(lsns.clone()), "pages of {page}");
        }
    };
    holds(&index);
    drop(index);
    holds(&open(&folder));
}

#[test]
fn keys_objects_and_accounts_are_found_and_a_double_row_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = open(&folder);
    let watermark = Some(Watermark { lsn: Lsn(5), block_hash: [1; 32] });
    // In no order: the index sorts. The later state of an object counts.
    let given = Run {
        keys: vec![(TENANT, 9, Lsn(1)), (TENANT, 2, Lsn(5)), (TENANT, u128::MAX, Lsn(3))],
        objects: vec![(TENANT, OpId(8), Lsn(1)), (TENANT, OpId(4), Lsn(3)), (TENANT, OpId(8), Lsn(5))],
        accounts: vec![(TENANT, account(77))],
        watermark,
        ..Run::default()
    };
    index.apply(given).expect("it takes the run");
    for (hash, lsn) in [(9, Some(Lsn(1))), (2, Some(Lsn(5))), (u128::MAX, Some(Lsn(3))), (3, None)] {
        assert_eq!(index.key(TENANT, hash).expect("it reads"), lsn);
    }
    assert_eq!(index.object(TENANT, OpId(8)).expect("it reads"), Some(Lsn(5)));
    assert_eq!(index.account(&key()).expect("it reads"), Some(account(77)));
    assert_eq!(index.watermark(), watermark);
    let watermark = Some(Watermark { lsn: Lsn(6), block_hash: [1; 32] });
    let twice = Run { accounts: vec![(TENANT, account(1)), (TENANT, account(2))], watermark, ..Run::default() };
    assert_eq!(index.apply(twice), Err(IndexError::Duplicate("accounts")));
    let line = || (key(), lines(5..=5));
    let twice = Run { history: vec![line(), line()], watermark, ..Run::default() };
    assert_eq!(index.apply(twice), Err(IndexError::Duplicate("history")));
    assert_eq!(index.account(&key()).expect("it reads"), Some(account(77)), "a refused run changes no account");
}

#[test]
fn a_run_that_a_crash_interrupts_is_gone_on_with_also_while_an_index_is_built_anew() {
    for reached in [None, Some(1_000)] {
        let folder = tempfile::tempdir().expect("a folder");
        if let Some(lsn) = reached {
            // An index that is lost reached further than the one that is built anew.
            let index = open(&folder);
            index.apply(crowded(1..=lsn)).expect("it takes the run");
            drop(index);
            std::fs::remove_dir_all(folder.path().join("index")).expect("it goes");
        }
        let index = open(&folder);
        assert_eq!(index.unfinished_run(), None, "no run was begun");
        index.apply(crowded(1..=100)).expect("it takes the run");
        // Keys and objects come in; the history's files have no place to go to.
        let [tables, away] = ["tables", "away"].map(|name| folder.path().join("index/keyspaces/4").join(name));
        std::fs::rename(&tables, &away).expect("it goes");
        assert!(index.apply(crowded(101..=300)).is_err());
        assert_eq!(index.unfinished_run(), Some(Lsn(300)), "the next run ends there too");
        drop(index);
        std::fs::rename(&away, &tables).expect("it is back");
        let index = try_open(&folder).expect("a table that is ahead by the interrupted run is no damage");
        assert_eq!(
            (index.watermark().map(|watermark| watermark.lsn), index.unfinished_run()),
            (Some(Lsn(100)), Some(Lsn(300)))
        );
        index.apply(crowded(101..=300)).expect("it takes the rest of the run");
        assert_eq!(index.unfinished_run(), None);
        drop(index);
        let index = open(&folder);
        assert_eq!(index.key(TENANT, 250).expect("it reads"), Some(Lsn(250)));
        assert_eq!(read_all(&index, 100), newest_first(1..=300));
    }
}

#[test]
fn a_first_run_that_a_crash_interrupts_is_built_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = open(&folder);
    let [tables, away] = ["tables", "away"].map(|name| folder.path().join("index/keyspaces/4").join(name));
    std::fs::rename(&tables, &away).expect("it goes");
    assert!(index.apply(crowded(1..=100)).is_err());
    drop(index);
    std::fs::rename(&away, &tables).expect("it is back");
    let why = try_open(&folder).err().expect("a lost table could not be told from one whose turn had not come");
    assert!(why.to_string().contains("its first run was not finished"), "{why}");
}

#[test]
fn lines_are_read_as_soon_as_the_account_they_led_to() {
    // The first run of all, and one that goes on into the next partition: their watermark comes last.
    for (before, first, last) in [(None, 1, 100), (Some(PARTITION - 5), PARTITION - 4, PARTITION + 90)] {
        let folder = tempfile::tempdir().expect("a folder");
        let index = open(&folder);
        if let Some(end) = before {
            index.apply(crowded(end..=end)).expect("it takes the run");
        }
        // The accounts come in; the timers' files have no place to go to.
        std::fs::remove_dir_all(folder.path().join("index/keyspaces/6/tables")).expect("it goes");
        let timer = (Timestamp(7), TENANT, OpId(7));
        let changed =
            Run { accounts: vec![(TENANT, account(9))], timers: vec![(timer, Some(key().1))], ..crowded(first..=last) };
        assert!(index.apply(changed).is_err());
        assert_eq!(index.account(&key()).expect("it reads"), Some(account(9)));
        assert_eq!(read_all(&index, 1_000), newest_first(before.unwrap_or(first)..=last));
    }
}

#[test]
fn rows_do_not_depend_on_where_runs_end() {
    let [one, other] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let (first, last) = (PARTITION - 300, PARTITION + 300);
    let [whole, pieces] = [&one, &other].map(open);
    whole.apply(crowded(first..=last)).expect("it takes the run");
    for lsn in (first..=last).step_by(7) {
        pieces.apply(crowded(lsn..=last.min(lsn + 6))).expect("it takes the run");
    }
    for table in Table::ALL {
        let compared = pieces.compare(&whole, table).expect("it reads");
        assert!(compared.is_ok(), "{}: {compared:?}", table.name());
    }
}
