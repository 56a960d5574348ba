//! What is done to a disk in memory from outside, and what its journal makes.

use std::sync::Arc;

use arus_engine::{
    clock::Clock,
    config::EngineConfig,
    index::memory::MemoryIndex,
    journal::{audit, memory::MemoryDisk},
    money::Lsn,
    runtime::deterministic::Deterministic,
};

use crate::{model::Wrong, script::Draw, support};

/// Where blocks of entries begin.
const FIRST: u64 = 4_096;

/// The index that a journal makes by itself.
pub fn rebuild(disk: &MemoryDisk, clock: &Clock, config: EngineConfig) -> Result<MemoryIndex, Wrong> {
    let index = MemoryIndex::new();
    let on_fatal = Arc::new(|_: &str| ());
    let mut engine = Deterministic::start(&disk.copy(), index.clone(), config, clock.clone(), on_fatal)
        .map_err(|error| format!("no start on a copy: {error}"))?;
    while engine.index() {}
    Ok(index)
}

/// Changes a byte of a block that is durable for sure: any but the last of the journal, which is no evidence of itself
/// unless the index covers it. Says whether there was one.
pub fn flip(disk: &MemoryDisk, number: u64, covered: Lsn) -> bool {
    let mut blocks = Vec::new();
    let (mut segment, mut offset, mut before) = (0_u64, FIRST, [0; 32]);
    let walked = audit::walk(disk, support::fingerprint(), |head, _| {
        // The first block of another segment chains to the seal of the one before.
        if segment == 0 || head.prev_hash != before {
            (segment, offset) = (segment + 1, FIRST);
        }
        before = head.hash;
        let last = Lsn(head.first_lsn.0 + u64::from(head.count) - 1);
        blocks.push((segment, offset, head.padded_bytes() as u64, last));
        offset += head.padded_bytes() as u64;
        Ok(())
    });
    if walked.is_err() {
        return false;
    }
    if blocks.last().is_some_and(|(.., last)| *last > covered) {
        blocks.pop();
    }
    if blocks.is_empty() {
        return false;
    }
    let mut draw = Draw::from(number);
    let (segment, offset, bytes, _) = draw.one_of(&blocks);
    let at = usize::try_from(offset + draw.below(bytes)).expect("it is small");
    disk.flip(&format!("{segment:08}.seg"), at);
    true
}
