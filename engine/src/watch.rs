//! Who watches commits: a block reaches them once its answers are given. Nothing waits for them: whoever falls
//! [`BLOCKS_BEHIND_MAX`] blocks behind has missed some, and is told so.

use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};

use crate::{journal::Block, ledger::entry::Committed};

/// How many blocks a watcher may be behind.
const BLOCKS_BEHIND_MAX: usize = 256;

/// See the module. Clones tell the same watchers.
#[derive(Debug, Clone)]
pub struct Watchers(broadcast::Sender<Arc<Block>>);

impl Default for Watchers {
    fn default() -> Self {
        Self(broadcast::Sender::new(BLOCKS_BEHIND_MAX))
    }
}

impl Watchers {
    /// Tells everybody who watches.
    pub(crate) fn tell(&self, block: &Arc<Block>) {
        if self.0.receiver_count() > 0 {
            // The last of them may have gone meanwhile.
            let _ = self.0.send(Arc::clone(block));
        }
    }

    /// Watches from now on.
    pub(crate) fn watch(&self) -> Watch {
        Watch(self.0.subscribe())
    }
}

/// One who watches. Blocks come almost in the order of their commits; entries say their place.
#[derive(Debug)]
pub struct Watch(broadcast::Receiver<Arc<Block>>);

/// Why a watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchEnd {
    /// The watcher was too slow, and this many blocks are missed.
    Missed(u64),
    /// The engine ended.
    Stopped,
}

impl Watch {
    /// The entries of the next block.
    pub async fn next(&mut self) -> Result<Vec<Committed>, WatchEnd> {
        match self.0.recv().await {
            Ok(block) => Ok(block.committed().collect()),
            Err(RecvError::Lagged(blocks)) => Err(WatchEnd::Missed(blocks)),
            Err(RecvError::Closed) => Err(WatchEnd::Stopped),
        }
    }
}
