//! The one handle on the engine, and its gauges. What it reads is in [`crate::queries`].

use std::sync::Arc;

use crate::{
    clock::Clock,
    config::EngineConfig,
    core::Core,
    gate::slots::Occupancy,
    intake::command::{Command, Reply},
    metrics::{EngineCells, Reader, hot::HotAccount},
    money::Lsn,
    refusal::Refusal,
    watch::Watch,
};

/// See the module. Clones are the same engine.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Core>);

impl Engine {
    /// Decides a command, exactly once per key. Dropping the future gives up waiting, not the command.
    pub fn submit(&self, command: Command) -> impl Future<Output = Result<Reply, Refusal>> + Send + '_ {
        self.0.submit(command)
    }

    /// Everything that is committed from now on, for somebody who looks on.
    pub fn watch(&self) -> Watch {
        self.0.watchers.watch()
    }

    /// Lets nothing in any more; what is in flight goes on.
    pub fn close(&self) {
        self.0.admission.close();
    }

    /// Commands let in and not yet answered.
    pub fn in_flight(&self) -> usize {
        self.0.admission.in_flight()
    }

    /// Why nothing is let in, if nothing is.
    pub fn closed(&self) -> Option<Refusal> {
        self.0.admission.closed()
    }

    /// The last committed entry, and the last indexed one.
    pub fn progress(&self) -> (Lsn, Lsn) {
        (self.0.tail.committed(), self.0.tail.indexed())
    }

    /// The engine's clock.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The engine's settings.
    pub fn config(&self) -> &EngineConfig {
        &self.0.config
    }

    /// What the engine counts.
    pub fn cells(&self) -> &EngineCells {
        &self.0.cells
    }

    /// Accounts in memory.
    pub fn resident_accounts(&self) -> usize {
        self.0.residents.resident()
    }

    /// The accounts with the most messages a second, if they have many; the hottest first.
    pub fn hot_accounts(&self) -> Vec<HotAccount> {
        self.0.cells.hot.hottest()
    }

    /// Commands at work and those that wait for a place there.
    pub fn at_work(&self, reader: Reader) -> Occupancy {
        self.0.admission.slots().occupancy(reader)
    }

    /// Memory of what is committed and not yet indexed, in bytes.
    pub fn tail_bytes(&self) -> usize {
        self.0.tail.bytes()
    }

    /// Sorted runs waiting to be merged, in the table with the most.
    pub fn index_runs(&self) -> usize {
        self.0.index.run_count()
    }
}
