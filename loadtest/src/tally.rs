//! What went wrong in one way: all of it is counted, the first of it is named.

use std::fmt::{self, Display};

/// How many are named.
pub(crate) const NAMED: usize = 5;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    count: usize,
    named: Vec<String>,
}

impl Tally {
    /// One more.
    pub(crate) fn add(&mut self, name: impl Display) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(name.to_string());
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.named.join("; "))
    }
}
