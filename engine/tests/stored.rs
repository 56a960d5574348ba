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
    runtime::{data_dir::DataDir, migrate::migrate},
};

/// A frozen data directory, whose segment was made as long as this.
fn thaw(format: &str, folder: &tempfile::TempDir) -> PathBuf {
    let data = folder.path().join("data");
    server::copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format), &data);
    let segment = fs::File::options().write(true).open(data.join("journal/00000001.seg")).expect("it opens");
    segment.set_len(1 << 20).expect("it is as long as it was made");
    fs::write(data.join("LOCK"), "").expect("it is ours");
    data
}

#[test]
fn every_kind_of_entry_is_written_again_as_format_4_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = thaw("format-4-all-kinds", &folder);
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
    assert_eq!(entries, 41);
    let methods = [
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
    // More than 1,024 pairs were not published; nobody declines an expiry.
    for method in methods {
        assert!(seen.contains(&(method, false)), "no accepted {method}");
        let has_no_decline = ["PublishRates", "Expire"].contains(&method);
        assert!(has_no_decline || seen.contains(&(method, true)), "no declined {method}");
    }
}

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
