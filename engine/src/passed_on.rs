//! How far the hand-over is: up to which entry every block has been passed on to its accounts (P1).
//!
//! Clients read no further, so no two reads contradict each other: who reads that a payment is captured finds the money
//! moved. Look-ups of keys and loads see the tail at once. Blocks are passed on by several arbiters, not always in order.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use tokio::sync::watch;

use crate::{journal::Block, money::Lsn};

/// See the module.
pub struct PassedOn {
    /// Blocks that were passed on before an earlier one, first entry to last.
    ahead: Mutex<BTreeMap<Lsn, Lsn>>,
    upto: watch::Sender<Lsn>,
}

impl PassedOn {
    /// All up to `upto` was recovered: whoever loads an account finds it there.
    pub fn new(upto: Lsn) -> Self {
        Self { ahead: Mutex::default(), upto: watch::Sender::new(upto) }
    }

    /// Every account of a block has its apply.
    pub fn note(&self, block: &Block) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.insert(block.first_lsn, block.last_lsn());
        self.upto.send_if_modified(|upto| {
            let before = *upto;
            while let Some(last) = ahead.remove(&Lsn(upto.0 + 1)) {
                *upto = last;
            }
            *upto != before
        });
    }

    /// Waits until all up to `lsn` has been passed on; says how far it is then.
    pub async fn reaches(&self, lsn: Lsn) -> Lsn {
        let upto = *self.upto.borrow();
        if upto >= lsn {
            return upto;
        }
        let mut upto = self.upto.subscribe();
        // It fails only once nobody can tell any more, and this is who could.
        upto.wait_for(|upto| *upto >= lsn).await.map_or(lsn, |upto| *upto)
    }
}
