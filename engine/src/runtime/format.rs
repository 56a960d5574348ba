//! The FORMAT file: which format a data directory has, and the secret that keys are hashed with (P4).
//!
//! ```text
//! arus-data 3
//! key         32 hexadecimal digits
//! slots_from  LSN: ids of entries from here on say the slot of their home (S1)
//! check       16 hexadecimal digits: the first of the BLAKE3 of the lines above
//! ```
//! Everything that says whether a tx_id was used before depends on the secret, so a changed digit must be noticed: the
//! check notices one in this file, the fingerprint in every segment notices another directory's file. Versions 1 (without
//! a check) and 2 are of journals of before format 4: they are read to be migrated.

use std::{io, path::Path};

use crate::{
    checked_text::{self, checked, with_check},
    clock::random_u64,
    keys::KeyHasher,
    money::Lsn,
};

const LINE: &str = "arus-data 3";
const OLD_LINE: &str = "arus-data 2";
const OLD_LINE_WITHOUT_CHECK: &str = "arus-data 1";
pub(super) const FILE: &str = "FORMAT";
/// A data directory that is being made has this instead: no server ever served from it.
pub(super) const UNFINISHED_FILE: &str = "FORMAT.tmp";

/// What the file says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    pub(super) hasher: KeyHasher,
    /// From which entry on ids say the slot of their home.
    pub(super) slots_from: Lsn,
}

/// What a readable file is of.
#[derive(Debug, Clone, Copy)]
pub(super) enum FormatOf {
    /// A data directory of this build.
    Now(Format),
    /// One of before, with the secret that its keys are hashed with.
    Before(KeyHasher),
}

impl Format {
    /// A new secret.
    pub(super) fn new(slots_from: Lsn) -> Self {
        let secret = (u128::from(random_u64()) << 64) | u128::from(random_u64());
        Self { hasher: KeyHasher(secret.to_be_bytes()), slots_from }
    }

    /// Reads the file's text; says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match FormatOf::parse(text)? {
            FormatOf::Now(format) => Ok(format),
            FormatOf::Before(_) => Err(format!(
                "has format {:?} of an earlier build; stop its server and run: arus migrate --data-dir DIR (the old \
                 directory is kept beside it)",
                text.lines().next().unwrap_or_default()
            )),
        }
    }

    fn text(&self) -> String {
        let key = u128::from_be_bytes(self.hasher.0);
        with_check(&format!("{LINE}\nkey {key:032x}\nslots_from {}\n", self.slots_from))
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

impl FormatOf {
    /// Reads the file's text, of any build so far; says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let damaged = |what: &str| {
            format!(
                "has a damaged FORMAT file: {what}; put it back from a backup: without it nobody can say which \
                 payments were made"
            )
        };
        let found = text.lines().next().unwrap_or_default();
        let lines = match found {
            LINE | OLD_LINE => checked(text).ok_or_else(|| damaged("its check is not that of its key"))?,
            OLD_LINE_WITHOUT_CHECK if text.lines().count() == 2 => text,
            found => return Err(format!("has format {found:?}, this build reads {LINE:?}")),
        };
        let mut lines = lines.lines().skip(1);
        let mut field = |name: &str| lines.next().and_then(|line| line.strip_prefix(name));
        let secret = field("key ").filter(|hex| hex.len() == 32).and_then(|hex| u128::from_str_radix(hex, 16).ok());
        let hasher = KeyHasher(secret.ok_or_else(|| damaged("its key line is not readable"))?.to_be_bytes());
        if found != LINE {
            return Ok(Self::Before(hasher));
        }
        let slots_from = field("slots_from ").and_then(|lsn| lsn.parse().ok()).map(Lsn);
        let slots_from = slots_from.ok_or_else(|| damaged("its slots_from line is not readable"))?;
        Ok(Self::Now(Format { hasher, slots_from }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_character_is_noticed() {
        let text = Format::new(Lsn(77)).text();
        assert!(Format::parse(&text).is_ok_and(|format| format.slots_from == Lsn(77)));
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
    fn files_of_before_are_read_to_be_migrated_alone() {
        let key = "key a02ec20971b13a82b6487055a1ce08ae\n";
        for text in [format!("arus-data 1\n{key}"), with_check(&format!("arus-data 2\n{key}"))] {
            assert!(matches!(FormatOf::parse(&text), Ok(FormatOf::Before(hasher)) if hasher.0[0] == 0xa0));
            assert!(Format::parse(&text).is_err_and(|why| why.contains("arus migrate --data-dir")));
        }
    }
}
