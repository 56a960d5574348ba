//! Damage that is met while serving: what was durable is not what it was. It is said once, and nothing is let in any
//! more; the next start checks everything, heals what can be built anew, and names what cannot.

use std::sync::{Arc, OnceLock};

use crate::{
    journal::{Block, BlockHead, JournalError, JournalReader},
    ledger::entry::Committed,
    money::Lsn,
};

/// The first damage that was met, if any was.
#[derive(Debug, Default)]
pub struct Damage(OnceLock<String>);

impl Damage {
    /// Notes what was met; the first counts.
    pub fn report(&self, what: &str) {
        if self.0.set(what.to_owned()).is_ok() {
            tracing::error!(
                what,
                "damage was met; no command is taken any more until a restart has checked everything"
            );
        }
    }

    /// What was met.
    pub fn found(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// A journal's reader that reports what it cannot read.
pub(crate) struct Watched {
    pub(crate) reader: Arc<dyn JournalReader>,
    pub(crate) damage: Arc<Damage>,
}

impl Watched {
    fn note<T>(&self, read: Result<T, JournalError>) -> Result<T, JournalError> {
        read.inspect_err(|error| match error {
            JournalError::NoEntry(_) => {}
            _ => self.damage.report(&error.to_string()),
        })
    }
}

impl JournalReader for Watched {
    fn read(&self, lsn: Lsn) -> Result<Committed, JournalError> {
        self.note(self.reader.read(lsn))
    }

    fn block(&self, lsn: Lsn) -> Result<Option<(BlockHead, Arc<Block>)>, JournalError> {
        self.note(self.reader.block(lsn))
    }
}
