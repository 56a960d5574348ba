//! From disk to a state that can serve: journal, index, tail, rates, risk (section 3 of the design).
//!
//! The same code path as in service: the tail is filled with the blocks behind the index, and everything that is
//! loaded later folds them. Start-up time follows the tail, not the number of accounts.

use std::sync::Arc;

use crate::{
    clock::Clock,
    config::EngineConfig,
    index::{
        Index, IndexError, Watermark,
        builder::{Builder, Built},
        reach::ReachError,
        unusable::Unusable,
    },
    journal::{Head, JournalError, JournalReader, tail::Tail},
    keys::KeyHasher,
    ledger::{
        apply::to_rates,
        commands::Request,
        entry::Entry,
        payment,
        rates::RateBook,
        risk::{RiskRules, RiskState, WINDOW},
        time::Timestamp,
    },
    money::{Lsn, OwnerId},
};

/// How many of the last entries are read at most to rebuild the risk windows: a minute at 66,000 payments a second, the
/// whole ten minutes at 6,600.
const RISK_ENTRIES_MAX: u64 = 4_000_000;

/// Why the engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is not allowed.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The data directory is in use, of another format, or not ours to write.
    #[error("data directory {path}: {why}")]
    DataDir {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The index cannot be opened, and nothing says that it is wrong.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The same, as its store says it.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// What says how far the index reached belongs elsewhere, or cannot be read.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// What would prove that nothing is lost is missing, or proves nothing.
    #[error(
        "{path} is missing, unreadable, or speaks of damage, and nothing else says how far the journal must reach: it ends \
         at lsn {ends}. Restore the data directory from where it is whole. Only to go on with what is there: arus recover \
         --accept-loss-after {ends}"
    )]
    Unproven {
        /// The file.
        path: String,
        /// The journal's last entry.
        ends: Lsn,
    },
    /// A thread could not be started.
    #[error("thread {0} could not be started: {1}")]
    Thread(&'static str, std::io::Error),
}

/// Why an index does not fit the journal, if it does not (P5): its last block is not one of the journal's.
pub fn misfit(watermark: Watermark, reader: &dyn JournalReader) -> Result<Option<String>, StartError> {
    let there = reader.block(watermark.lsn)?.is_some_and(|(block, _)| block.hash == watermark.block_hash);
    Ok((!there).then(|| format!("the index's block at lsn {} is not the journal's", watermark.lsn)))
}

/// Fills the tail with everything behind the index, letting the builder work where that is more than memory should
/// hold, and checks the chain on the way.
pub fn fill_tail(
    tail: &Arc<Tail>,
    reader: &dyn JournalReader,
    head: &Head,
    builder: &mut Builder,
    config: &EngineConfig,
) -> Result<u64, StartError> {
    let before = reader.block(tail.committed())?.map(|(head, _)| head.hash);
    let mut entries = 0;
    let mut next = Lsn(tail.committed().0 + 1);
    let mut prev_hash = before;
    while next <= head.lsn {
        let Some((block_head, block)) = reader.block(next)? else {
            return Err(JournalError::NoEntry(next).into());
        };
        if block_head.first_lsn != next || prev_hash.is_some_and(|hash| hash != block_head.prev_hash) {
            let what = format!("the block at lsn {next} does not chain to the one before");
            return Err(JournalError::Corrupt { segment: "journal".into(), offset: 0, what }.into());
        }
        prev_hash = Some(block_head.hash);
        next = Lsn(block.last_lsn().0 + 1);
        entries += block.entries.len() as u64;
        tail.publish_recovered(&block);
        while tail.bytes() > config.tail_bytes_max / 4 {
            if builder.step()? == Built::Idle {
                break;
            }
        }
    }
    Ok(entries)
}

/// The rates as of the head: the index's rows with the tail's publications on top.
pub fn rates(index: &dyn Index, tail: &Tail) -> Result<RateBook, StartError> {
    let blocks = tail.all();
    let mut book = RateBook::of(index.rates()?);
    for committed in blocks.iter().flat_map(|block| block.committed()) {
        to_rates(&mut book, &committed.entry, committed.at);
    }
    Ok(book)
}

/// One risk state per arbiter, rebuilt from the journal's last minutes. `arbiter_of` says which customer lives where.
pub fn risk_states(
    reader: &dyn JournalReader,
    head: &Head,
    rules: &RiskRules,
    clock: &Clock,
    arbiters: usize,
    arbiter_of: impl Fn(&Entry, &OwnerId) -> usize,
) -> Result<Vec<RiskState>, StartError> {
    let mut states: Vec<RiskState> = (0..arbiters).map(|_| RiskState::default()).collect();
    // A journal written by a clock that was ahead: its last minutes count as the last minutes all the same.
    let ahead = head.at.since(clock.now());
    let since = clock.now().plus(ahead).minus(WINDOW);
    let mut next = first_since(reader, head, since)?;
    if head.lsn.0.saturating_sub(next.0) > RISK_ENTRIES_MAX {
        tracing::warn!(
            entries_max = RISK_ENTRIES_MAX,
            "risk windows are rebuilt from the last entries only, to start soon"
        );
        next = Lsn(head.lsn.0 - RISK_ENTRIES_MAX);
    }
    while next <= head.lsn {
        let Some((_, block)) = reader.block(next)? else { break };
        next = Lsn(block.last_lsn().0 + 1);
        for (_, entry) in block.placed() {
            let Request::CreatePayment(request) = &entry.request else { continue };
            let Some(state) = states.get_mut(arbiter_of(entry, &request.customer)) else { continue };
            state.note(rules, &request.customer, block.at.minus(ahead), payment::counts(entry.failure()));
        }
    }
    Ok(states)
}

/// The first entry of a block that is no older than `since`: block times never go back, so halving finds it.
fn first_since(reader: &dyn JournalReader, head: &Head, since: Timestamp) -> Result<Lsn, StartError> {
    let (mut low, mut high) = (1, head.lsn.0 + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match reader.block(Lsn(middle))? {
            Some((_, block)) if block.at < since => low = block.last_lsn().0 + 1,
            Some((_, block)) => high = block.first_lsn.0,
            None => break,
        }
    }
    Ok(Lsn(low))
}

/// A tail behind an index, with the builder between them.
pub fn tail_and_builder(
    index: &Arc<dyn Index>,
    indexed: Lsn,
    hasher: KeyHasher,
    config: &EngineConfig,
) -> (Arc<Tail>, Builder) {
    let tail = Arc::new(Tail::new(hasher, indexed));
    let builder = Builder::new(Arc::clone(&tail), Arc::clone(index), config);
    (tail, builder)
}
