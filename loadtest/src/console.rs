//! What is said to whoever runs a test.

use std::io::Write;

/// A line of the result.
pub(crate) fn say(line: &str) {
    // A reader that is gone has what it wanted (`arus-load ... | head`).
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Why something failed.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
