//! Small text files that must not change unnoticed: their last line is a check of all lines before it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// The text with its check: 16 hexadecimal digits, the first of the BLAKE3 of the lines before.
pub(crate) fn with_check(lines: &str) -> String {
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(lines.as_bytes()).as_bytes();
    format!("{lines}check {:016x}\n", u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

/// The lines before the check, if it is right.
pub(crate) fn checked(text: &str) -> Option<&str> {
    let lines = text.get(..text.rfind("check ")?)?;
    (with_check(lines) == text).then_some(lines)
}

/// Writes a file for its owner's eyes only, durably but for its name in the folder.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Renames within a folder, durably.
pub(crate) fn rename(folder: &Path, from: &str, to: &str) -> io::Result<()> {
    std::fs::rename(folder.join(from), folder.join(to))?;
    File::open(folder)?.sync_all()
}
