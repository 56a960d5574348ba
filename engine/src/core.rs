//! Everything the parts of the engine share, and the few things done with all of it.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::{
    actors::{
        command::Environment, door::DoorActor, mailbox::Mailbox, objects::Objects, residents::Residents,
        risk::RiskActor,
    },
    clock::Clock,
    config::EngineConfig,
    gate::{admission::Admission, claims::Claims},
    index::Index,
    journal::{JournalReader, tail::Tail},
    keys::{KeyHasher, Placement},
    ledger::{entry::Committed, needs::House},
    metrics::EngineCells,
    money::{Lsn, OpId, TenantId},
    passed_on::PassedOn,
    pool::Pool,
    refusal::{OverloadReason, Refusal, interrupted},
    watch::Watchers,
};

/// See the module.
pub(crate) struct Core {
    pub(crate) config: EngineConfig,
    pub(crate) house: House,
    pub(crate) clock: Clock,
    pub(crate) hasher: KeyHasher,
    pub(crate) placement: Placement,
    pub(crate) claims: Claims,
    pub(crate) admission: Arc<Admission>,
    pub(crate) residents: Arc<Residents>,
    pub(crate) objects: Objects,
    pub(crate) environment: Arc<Environment>,
    pub(crate) doors: Vec<Arc<Mailbox<DoorActor>>>,
    pub(crate) risk: Vec<Arc<Mailbox<RiskActor>>>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) index: Arc<dyn Index>,
    pub(crate) reader: Arc<dyn JournalReader>,
    /// Loads what payments need.
    pub(crate) loads: Pool,
    /// Reads what people ask for.
    pub(crate) reads: Pool,
    /// How far clients may read.
    pub(crate) passed_on: Arc<PassedOn>,
    /// Who watches commits.
    pub(crate) watchers: Watchers,
    pub(crate) cells: Arc<EngineCells>,
}

impl Core {
    /// An entry, from the tail or from its segment. May block.
    pub(crate) fn read_entry(&self, lsn: Lsn) -> Result<Committed, Refusal> {
        match self.tail.by_lsn(lsn) {
            Some(committed) => Ok(committed),
            None => Ok(self.reader.read(lsn)?),
        }
    }

    /// The latest entry of a payment or reservation. May block.
    pub(crate) fn object(&self, tenant: TenantId, id: OpId) -> Result<Option<Committed>, Refusal> {
        if let Some(committed) = self.tail.by_object(id) {
            return Ok((committed.entry.tenant == tenant).then_some(committed));
        }
        let lsn = self.index.object(tenant, id)?;
        lsn.map(|lsn| self.read_entry(lsn)).transpose()
    }

    /// Counts a refusal for overload, wherever it came from.
    pub(crate) fn counted<T>(&self, result: Result<T, Refusal>) -> Result<T, Refusal> {
        if let Err(Refusal::Overloaded { reason, .. }) = &result {
            self.cells.count_rejected(*reason);
        }
        result
    }

    /// Runs a read within its bound.
    pub(crate) async fn read<T>(&self, read: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        let result = match self.admission.begin_read() {
            Ok(_reading) => read.await,
            Err(refusal) => Err(refusal),
        };
        self.counted(result)
    }

    /// Runs something that may block on a disk, on the pool for what payments need.
    pub(crate) async fn on_load_pool<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl FnOnce(&Core) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.on_pool((&self.loads, OverloadReason::Loads, Wanted::ByOthersToo), job).await
    }

    /// Runs something that may block on a disk, on the pool for reads.
    pub(crate) async fn on_read_pool<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl FnOnce(&Core) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.on_pool((&self.reads, OverloadReason::Reads, Wanted::ByAsker), job).await
    }

    async fn on_pool<T: Send + 'static>(
        self: &Arc<Self>,
        (pool, full, wanted): (&Pool, OverloadReason, Wanted),
        job: impl FnOnce(&Core) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (sender, receiver) = oneshot::channel();
        let core = Arc::clone(self);
        let job = move || {
            // A caller that went away needs no answer, and what nobody else waits for is not begun.
            if wanted == Wanted::ByOthersToo || !sender.is_closed() {
                drop(sender.send(job(&core)));
            }
        };
        if !pool.submit(Box::new(job)) {
            return Err(Refusal::overloaded(full));
        }
        receiver.await.unwrap_or_else(|_| Err(interrupted()))
    }
}

/// Who waits for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Whoever asked for it.
    ByAsker,
    /// Others too: it runs also when that one is gone.
    ByOthersToo,
}
