//! The FORMAT file: which format a data directory has, and the secret that keys are hashed with (P4).
//!
//! ```text
//! arus-data 2
//! key    32 hexadecimal digits
//! check  16 hexadecimal digits: the first of the BLAKE3 of the two lines above
//! ```
//! Everything that says whether a tx_id was used before depends on the secret, so a changed digit must be noticed: the
//! check notices one in this file, the fingerprint in every segment notices another directory's file. Version 1 had no
//! check; it is read, and written anew as version 2 by the first server that starts on it.

use std::{io, path::Path};

use crate::{
    checked_text::{self, checked, with_check},
    clock::random_u64,
    keys::KeyHasher,
};

const LINE: &str = "arus-data 2";
const LINE_WITHOUT_CHECK: &str = "arus-data 1";
pub(super) const FILE: &str = "FORMAT";
/// A data directory that is being made has this instead: no server ever served from it.
pub(super) const UNFINISHED_FILE: &str = "FORMAT.tmp";

/// What the file says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    pub(super) hasher: KeyHasher,
    /// Whether the file has no check yet.
    pub(super) is_unchecked: bool,
}

impl Format {
    /// A new secret.
    pub(super) fn new() -> Self {
        let secret = (u128::from(random_u64()) << 64) | u128::from(random_u64());
        Self { hasher: KeyHasher(secret.to_be_bytes()), is_unchecked: false }
    }

    /// Reads the file's text; says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let damaged = |what: &str| {
            format!(
                "has a damaged FORMAT file: {what}; put it back from a backup: without it nobody can say which \
                 payments were made"
            )
        };
        let (lines, is_unchecked) = match text.lines().next().unwrap_or_default() {
            LINE => (checked(text).ok_or_else(|| damaged("its check is not that of its key"))?, false),
            LINE_WITHOUT_CHECK if text.lines().count() == 2 => (text, true),
            found => {
                return Err(format!("has format {found:?}, this build reads {LINE:?} and {LINE_WITHOUT_CHECK:?}"));
            }
        };
        let secret = lines.lines().nth(1).and_then(|line| line.strip_prefix("key ")).filter(|hex| hex.len() == 32);
        let secret = secret.and_then(|hex| u128::from_str_radix(hex, 16).ok());
        let secret = secret.ok_or_else(|| damaged("its key line is not readable"))?;
        Ok(Self { hasher: KeyHasher(secret.to_be_bytes()), is_unchecked })
    }

    fn text(&self) -> String {
        with_check(&format!("{LINE}\nkey {:032x}\n", u128::from_be_bytes(self.hasher.0)))
    }

    /// Writes the file under its unfinished name, durably.
    pub(super) fn write_unfinished(&self, folder: &Path) -> io::Result<()> {
        checked_text::write(&folder.join(UNFINISHED_FILE), &self.text())?;
        std::fs::File::open(folder)?.sync_all()
    }

    /// Gives the file its name, durably: from here on this is a data directory.
    pub(super) fn finish(folder: &Path) -> io::Result<()> {
        checked_text::rename(folder, UNFINISHED_FILE, FILE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_character_is_noticed() {
        let text = Format::new().text();
        assert!(Format::parse(&text).is_ok_and(|format| !format.is_unchecked));
        for at in 0..text.len() {
            for other in [b'0', b'1', b'f', b' ', b'\n'] {
                let mut changed = text.clone().into_bytes();
                if std::mem::replace(&mut changed[at], other) == other {
                    continue;
                }
                let changed = String::from_utf8(changed).expect("ASCII");
                assert!(Format::parse(&changed).is_err(), "{changed}");
            }
            assert!(Format::parse(&text[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_file_of_before_the_check_is_read() {
        let old = Format::parse("arus-data 1\nkey a02ec20971b13a82b6487055a1ce08ae\n").expect("it is read");
        assert!(old.is_unchecked);
        assert_eq!(old.hasher.0[0], 0xa0);
    }
}
