//! The bytes of format 4 are a promise: every kind of entry, accepted and declined, is read and written again as it was,
//! and what is migrated from format 2 comes out byte by byte as it first did.

#[path = "support/server.rs"]
mod server;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use arus_engine::{
    journal::{
        Record, audit,
        disk::{Access, RealDisk},
        record::encode_entries,
    },
    ledger::commands::{Deposit, Request, funds::Funds},
    runtime::{data_dir::DataDir, migrate::migrate},
};

/// A frozen data directory, whose segment was made as long as this.
fn thaw(format: &str, folder: &tempfile::TempDir) -> PathBuf {
    let data = folder.path().join("data");
    server::copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format), &data);
    let segment = fs::File::options().write(true).open(data.join("journal/00000001.seg")).expect("it opens");
    let length = if format == "format-4-1-all-kinds" { 4_718_592 } else { 1 << 20 };
    segment.set_len(length).expect("it is as long as it was made");
    fs::write(data.join("LOCK"), "").expect("it is ours");
    data
}

/// Reads every entry and writes it again, which must give the same block. Gives the methods, and whether they were declined.
fn write_again(format: &str, entries_expected: usize) -> BTreeSet<(&'static str, bool)> {
    let folder = tempfile::tempdir().expect("a folder");
    let data = thaw(format, &folder);
    let (dir, _) = DataDir::open_read_only(&data).expect("it opens");
    let disk = RealDisk::open(&dir.journal(), Access::ReadOnly).expect("it opens");
    let (mut seen, mut entries) = (BTreeSet::new(), 0);
    let walked = audit::walk(&disk, dir.hasher().fingerprint(), |head, block| {
        let records = block.entries.iter().map(|entry| Record::new(entry.clone()).expect("it has a form"));
        let records: Vec<_> = records.collect();
        let written = encode_entries(&mut Vec::new(), &records, block.first_lsn, block.at, head.prev_hash);
        let methods: Vec<_> = block.entries.iter().map(|entry| entry.request.method()).collect();
        assert_eq!(written.hash, head.hash, "{methods:?} at lsn {} are written otherwise", block.first_lsn);
        for entry in &block.entries {
            seen.insert((entry.request.method(), entry.failure().is_some()));
            entries += 1;
        }
        Ok(())
    });
    walked.expect("the journal is whole");
    assert_eq!(entries, entries_expected);
    seen
}

/// Each method accepted, and declined but for those that nobody declines.
fn assert_seen(seen: &BTreeSet<(&'static str, bool)>, methods: &[&'static str], never_declined: &[&str]) {
    for method in methods {
        assert!(seen.contains(&(method, false)), "no accepted {method}");
        assert!(never_declined.contains(method) || seen.contains(&(method, true)), "no declined {method}");
    }
}

/// What there was from the first minor of format 4 on.
const FIRST: [&str; 11] = [
    "CreatePayment",
    "OpenAccount",
    "UpdateAccount",
    "Deposit",
    "Withdraw",
    "Reserve",
    "Capture",
    "Release",
    "PublishRates",
    "RemoveRates",
    "Expire",
];

#[test]
fn every_kind_of_entry_is_written_again_as_format_4_has_it() {
    // More than 1,024 pairs were not published; nobody declines an expiry.
    assert_seen(&write_again("format-4-all-kinds", 41), &FIRST, &["PublishRates", "Expire"]);
}

#[test]
fn every_kind_of_entry_is_written_again_as_format_4_1_has_it() {
    let seen = write_again("format-4-1-all-kinds", 61);
    // Nobody declines a deposit without more money than there is.
    assert_seen(&seen, &FIRST, &["PublishRates", "Expire", "Deposit"]);
    let later = [
        "CapturePayment",
        "VoidPayment",
        "RefundPayment",
        "UpdatePayment",
        "CreateTransfer",
        "PostTransfer",
        "VoidTransfer",
        "ReverseOperation",
    ];
    assert_seen(&seen, &later, &[]);
}

/// A server opens it, with every balance, and answers its keys as it did.
#[test]
fn what_format_4_1_holds_is_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server::Server::start(&thaw("format-4-1-all-kinds", &folder)).expect("it opens");
    let told = ["ann-usd", "ann-eur", "shop-usd", "shop-eur", "bob-usd"].map(|account| {
        let (balance, lsn) = server.balance(account);
        (account, balance.to_string(), lsn.0)
    });
    let told = told.each_ref().map(|(account, balance, lsn)| (*account, balance.as_str(), *lsn));
    assert_eq!(told, BALANCES);
    let deposit = Deposit(Funds { account: server::account("ann-usd"), amount: server::usd(100_000) });
    let again = server.submit("k8", Request::Deposit(deposit));
    assert!(again.replayed && again.committed.lsn.0 == 8, "{again:?}");
    server.stop();
}

const BALANCES: [(&str, &str, u64); 5] = [
    ("ann-usd", "896.86 USD", 59),
    ("ann-eur", "0.00 EUR", 55),
    ("shop-usd", "47.51 USD", 59),
    ("shop-eur", "32.01 EUR", 51),
    ("bob-usd", "113.70 USD", 53),
];

#[test]
fn what_is_migrated_from_format_2_is_what_it_ever_was() {
    let [old, new] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let (old, new) = (thaw("format-2-all-kinds", &old), thaw("format-4-all-kinds", &new));
    let before = fs::read(old.join("journal/00000001.seg")).expect("it reads");
    let migrated = migrate(&old, Some(arus_engine::money::Lsn(41))).expect("it is migrated");
    assert_eq!(migrated.walked.entries, 41);
    for file in ["FORMAT", "journal/00000001.seg"] {
        let [mut made, mut frozen] = [&old, &new].map(|data| fs::read(data.join(file)).expect("it reads"));
        if file.ends_with(".seg") {
            // The header says what this build may write (its minor, and so its checksum), not what is written.
            for bytes in [&mut made, &mut frozen] {
                bytes[10..12].fill(0);
                bytes[88..92].fill(0);
            }
        }
        assert!(made == frozen, "{file} is not what it was made first");
    }
    let kept = fs::read(migrated.kept.join("journal/00000001.seg")).expect("it is kept");
    assert!(kept == before, "the old journal is left as it was");
}
