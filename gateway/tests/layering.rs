//! The lines of the house: who may name what (section 6 of the design, and the README's architecture section).

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).expect("it is a folder") {
            let path = entry.expect("it is readable").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("it is text");
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    assert!(!found.is_empty(), "{folder} has sources");
    found
}

/// Lines of code only: comments may name anything.
fn assert_never(folder: &str, words: &[&str]) {
    for (path, text) in sources(folder) {
        for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for word in words {
                assert!(!line.contains(word), "{}:{} names {word}: {line}", path.display(), n + 1);
            }
        }
    }
}

#[test]
fn money_and_ledger_are_pure() {
    let impure = [
        "actix",
        "tokio",
        "crate::journal",
        "crate::index",
        "crate::actors",
        "crate::clock",
        "std::time::Inst",
        "SystemTime",
        "std::fs",
        "std::thread",
        "std::net",
        "f64",
        "f32",
    ];
    assert_never("engine/src/money", &impure);
    assert_never("engine/src/money", &["crate::ledger"]);
    assert_never("engine/src/ledger", &impure);
}

#[test]
fn the_engine_knows_no_wire() {
    assert_never("engine/src", &["tonic", "prost", "arus_proto", "axum", "hyper", "http::"]);
    let manifest = std::fs::read_to_string(root().join("engine/Cargo.toml")).expect("it is there");
    for word in ["tonic", "prost", "axum", "arus-proto"] {
        assert!(!manifest.contains(word), "engine/Cargo.toml names {word}");
    }
}

#[test]
fn journal_and_index_know_no_actors_and_only_the_mailbox_touches_addresses() {
    assert_never("engine/src/journal", &["crate::actors", "actix", "crate::gate"]);
    assert_never("engine/src/index", &["crate::actors", "actix", "crate::gate"]);
    for (path, text) in sources("engine/src") {
        if !path.ends_with("actors/mailbox.rs") {
            assert!(!text.contains("Addr<") && !text.contains(".do_send("), "{} touches an address", path.display());
        }
    }
}

#[test]
fn time_and_randomness_come_from_the_clock() {
    for (path, text) in sources("engine/src") {
        if !path.ends_with("clock.rs") {
            assert!(!text.contains("SystemTime"), "{} reads the time", path.display());
            assert!(!text.contains("RandomState::new"), "{} makes randomness", path.display());
        }
    }
}

#[test]
fn the_load_test_is_a_black_box_and_files_stay_small() {
    assert_never("loadtest/src", &["arus_engine"]);
    for folder in ["engine/src", "gateway/src", "loadtest/src", "proto/src"] {
        for (path, text) in sources(folder) {
            assert!(text.lines().count() <= 500, "{} is over 500 lines", path.display());
        }
    }
}

#[test]
fn nothing_panics_because_nobody_reads_what_it_prints() {
    for folder in ["engine/src", "gateway/src"] {
        assert_never(folder, &["print!(", "println!("]);
    }
}
