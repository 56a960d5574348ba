//! The way into the journal: where an actor puts an entry, with all that waits for its commit.

use std::sync::Arc;
use std::sync::{PoisonError, RwLock, atomic::Ordering};

use smallvec::SmallVec;

use super::{
    handles::{AccountRef, OwnerRef},
    objects::ObjectRef,
};
use crate::{
    gate::caller::Answer,
    journal::writer::{Append, Appender},
    metrics::EngineCells,
    refusal::UnavailableReason,
};

/// What goes to the journal with a record, for the hand-over of its commit.
#[derive(Debug)]
pub struct Handed {
    /// Every account the entry touches: pinned until it has its apply.
    pub accounts: SmallVec<[AccountRef; 4]>,
    /// The owner whose record the entry changes.
    pub owner: Option<OwnerRef>,
    /// The object that the entry is about.
    pub object: Option<ObjectRef>,
    /// Who waits.
    pub answer: Answer,
}

/// See the module.
pub struct Sink {
    appender: RwLock<Option<Appender<Handed>>>,
    cells: Arc<EngineCells>,
}

impl Sink {
    /// A way into the journal behind `appender`.
    pub fn new(appender: Appender<Handed>, cells: Arc<EngineCells>) -> Self {
        Self { appender: RwLock::new(Some(appender)), cells }
    }

    /// Hands a record to the journal. Once that is closed, whoever waits hears so.
    pub fn append(&self, append: Append<Handed>) {
        let appender = self.appender.read().unwrap_or_else(PoisonError::into_inner);
        // Counted first: the journal may be done with it before this thread goes on.
        self.cells.journal_queue.fetch_add(1, Ordering::Relaxed);
        let closed = match appender.as_ref() {
            Some(appender) => appender.send(append).err().map(|closed| closed.0),
            None => Some(append),
        };
        if let Some(append) = closed {
            self.cells.journal_queue.fetch_sub(1, Ordering::Relaxed);
            append.with.answer.refuse(UnavailableReason::JournalFailed.into());
        }
    }

    /// Takes nothing in any more: the journal ends once it has written what it was given.
    pub fn close(&self) {
        self.appender.write().unwrap_or_else(PoisonError::into_inner).take();
    }
}
