//! Who is told how a command ended, and what ends with it: its keys' claims and its place in admission.
//!
//! Until the entry is handed to the journal the command's actor holds the answer; from then on it travels with the
//! record, and `commit/answers.rs` gives it once every account has its apply (P1).

use std::{sync::Arc, time::Instant};

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::{
    admission::InFlight,
    claims::{Claim, ClaimEnd},
};
use crate::{
    keys::KeyHash,
    metrics::payments::Ended,
    refusal::Refusal,
    trace::{Kind, Trace},
};

/// See the module.
pub struct Answer {
    /// The command's keys, in the order they were claimed; a payment has one.
    pub claims: SmallVec<[Claim; 1]>,
    /// Its place in admission.
    pub in_flight: InFlight,
    /// Who follows it on its way.
    pub trace: Option<Arc<Trace>>,
    /// Who asked.
    pub reply: oneshot::Sender<ClaimEnd>,
}

impl Answer {
    /// The key of the command: the first that was claimed.
    pub fn key(&self) -> KeyHash {
        self.claims.first().map_or(0, Claim::key)
    }

    /// Tells everybody. The claims go first, so that whoever is told can use the keys at once.
    pub fn give(self, end: ClaimEnd) {
        if let Some(trace) = &self.trace {
            trace.leg("engine", "hand_over", Kind::Work, Instant::now());
        }
        for claim in self.claims {
            claim.end(&end);
        }
        drop(self.in_flight);
        // A caller that went away finds the outcome under its tx_id.
        let _ = self.reply.send(end);
    }

    /// Tells everybody that nothing came of it.
    pub fn refuse(mut self, refusal: Refusal) {
        self.in_flight.note(Ended::from(&refusal));
        self.give(Err(refusal));
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({} claims)", self.claims.len())
    }
}

/// On which thread answers are given.
#[derive(Debug, Clone)]
pub enum Answering {
    /// On the one that has them.
    Here,
    /// On the runtime whose tasks wait for them: one wake-up for a block's answers rather than one for each.
    On(tokio::runtime::Handle),
}

impl Answering {
    /// Runs `give` there.
    pub(crate) fn run(&self, give: impl FnOnce() + Send + 'static) {
        match self {
            Self::Here => give(),
            // A runtime that is gone has nobody left who waits; answers that are dropped end their claims.
            Self::On(runtime) => drop(runtime.spawn(async move { give() })),
        }
    }
}
