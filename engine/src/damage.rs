//! Damage that is met while serving: what was durable is not what it was. It is said once, and nothing is let in any
//! more; the next start checks everything, heals what can be built anew, and names what cannot.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use crate::{
    checked_text,
    journal::{Block, BlockHead, JournalError, JournalReader},
    ledger::entry::Committed,
    money::Lsn,
    refusal::{Refusal, UnavailableReason, internal},
};

/// The first damage that was met, if any was.
#[derive(Debug, Default)]
pub struct Damage {
    found: OnceLock<String>,
    /// Where the next start is told of it.
    note: Option<PathBuf>,
}

impl Damage {
    /// None was met yet; any will be noted in a file, because of which the next start checks everything.
    pub fn noted_in(note: PathBuf) -> Self {
        Self { found: OnceLock::new(), note: Some(note) }
    }

    /// Notes what was met; the first counts.
    pub fn report(&self, what: &str) {
        if self.found.set(what.to_owned()).is_err() {
            return;
        }
        tracing::error!(what, "damage was met; no command is taken any more until a restart has checked everything");
        if let Some(note) = &self.note
            && let Err(unnoted) = checked_text::write(note, what)
        {
            tracing::error!(%unnoted, "the next start cannot be told of it: run arus verify before it");
        }
    }

    /// What was met.
    pub fn found(&self) -> Option<&str> {
        self.found.get().map(String::as_str)
    }
}

/// Whoever asked for what cannot be read is told so.
impl From<JournalError> for Refusal {
    fn from(error: JournalError) -> Self {
        match error {
            // Nobody asks for an entry that the index or the tail did not lead to.
            JournalError::NoEntry(_) => internal(error),
            _ => UnavailableReason::Damaged.into(),
        }
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
