//! The one handle on the engine: submit a command, read what is.
//!
//! [`Engine::submit`] is the head of the path: admission, claim of the key, replay or launch. From the launch on, the
//! command is its own actor and goes on whether or not the caller waits.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::{
    OverloadReason, Refusal, UnavailableReason,
    actors::{
        directory::Directory, fx::Desk, mailbox::Mailbox, partition::PartitionActor, payment::Launch, risk::RiskActor,
    },
    admission::{Admission, InFlight},
    answer::Answer,
    at_work::Occupancy,
    clock::Clock,
    config::EngineConfig,
    idempotency::{Claim, Claimed, Claims, Heard, KeyHash, KeyHasher},
    index::Index,
    journal::{
        JournalReader,
        tail::Tail,
        writer::{Append, Appender},
    },
    ledger::{
        entry::Committed,
        flow::Flow,
        request::{Notes, Request},
        same_body::{Defaults, first_difference},
        time::Timestamp,
    },
    messages::{Handed, PartitionMessage, RiskMessage},
    metrics::{EngineCells, Reader, hot::HotAccount, payments::Ended},
    money::{AccountId, Lsn, OpId, TenantId, TxId},
    passed_on::PassedOn,
    pool::Pool,
    prepare::Prepared,
    trace::{Kind, Trace},
    watch::{Watch, Watchers},
};

/// Everything the parts of the engine share.
pub struct Core {
    pub(crate) config: EngineConfig,
    pub(crate) clock: Clock,
    pub(crate) hasher: KeyHasher,
    pub(crate) claims: Claims,
    pub(crate) admission: Arc<Admission>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) partitions: Vec<Arc<Mailbox<PartitionActor>>>,
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
    pub(crate) appender: std::sync::RwLock<Option<Appender<Handed>>>,
}

impl Core {
    /// Hands a record to the journal. Once that is closed, whoever waits hears so.
    pub(crate) fn append(&self, append: Append<Handed>) {
        let appender = self.appender.read().unwrap_or_else(std::sync::PoisonError::into_inner);
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
}

/// A command as the gateway hands it over: well-formed, not yet judged.
#[derive(Debug, Clone)]
pub struct Command {
    /// Whose.
    pub tenant: TenantId,
    /// The client's key.
    pub tx_id: TxId,
    /// What is asked.
    pub request: Request,
    /// What comes with it.
    pub notes: Notes,
    /// How long the caller waits.
    pub timeout: Option<Duration>,
    /// Who follows it on its way.
    pub trace: Option<Arc<Trace>>,
    /// The batch or stream it came in: the one caller of all its items.
    pub bundle: Option<OpId>,
    /// What a limit of today says against it. A key that was decided before is replayed all the same: limits change.
    pub objection: Option<Refusal>,
}

impl Command {
    /// A command by itself, waited for as long as is usual.
    pub fn new(tenant: TenantId, tx_id: TxId, request: Request, notes: Notes) -> Self {
        Self { tenant, tx_id, request, notes, timeout: None, trace: None, bundle: None, objection: None }
    }
}

/// The answer to a command: its entry, the same for every caller of one key.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The entry with its place.
    pub committed: Committed,
    /// Whether it was decided for an earlier caller.
    pub replayed: bool,
}

/// See the module. Clones are the same engine.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Core>);

impl Engine {
    /// Decides a command, exactly once per key. Dropping the future gives up waiting, not the command.
    pub async fn submit(&self, command: Command) -> Result<Reply, Refusal> {
        let is_house = command.request.is_house();
        let result = self.decide(command).await;
        if is_house { result } else { self.counted(result) }
    }

    async fn decide(&self, mut command: Command) -> Result<Reply, Refusal> {
        let core = &self.0;
        let mut in_flight = core.admission.enter(&command.request)?;
        let timeout = command.timeout.unwrap_or(Duration::from_millis(core.config.deadline_default_ms));
        let deadline = core.clock.now().plus(timeout);
        let (key, trace) = (core.hasher.key(command.tenant, &command.tx_id), command.trace.clone());
        let claim = match core.claims.claim(key, command.bundle) {
            Claimed::Mine(claim) => claim,
            Claimed::Crowded => return Err(Refusal::overloaded(OverloadReason::Waiters)),
            Claimed::Theirs(heard) => match heard.await.unwrap_or_else(|_| Heard::End(Err(interrupted()))) {
                Heard::Turn(claim) => claim,
                Heard::End(Ok(committed)) => return self.replay(committed, &command, &mut in_flight).await,
                // The other caller's deadline; who joined it is told to ask again rather than to wait once more (P2).
                Heard::End(Err(Refusal::DeadlineExceeded)) => return Err(interrupted()),
                Heard::End(Err(refusal)) => return Err(refusal),
            },
        };
        // Direction of travel: the key is claimed, now the tail, then the index.
        match self.find_key(key, &command).await {
            Ok(None) => {}
            Ok(Some(committed)) => {
                claim.end(&Ok(committed.clone()));
                return self.replay(committed, &command, &mut in_flight).await;
            }
            Err(refusal) => return refuse(claim, refusal),
        }
        if let Some(objection) = command.objection.take() {
            return refuse(claim, objection);
        }
        match self.prepare(command, deadline).await {
            Err(refusal) => refuse(claim, refusal),
            Ok(prepared) => self.launch(prepared, claim, in_flight, deadline, trace).await,
        }
    }

    /// Starts the command's actor on its arbiter once there is a place, and waits for the answer. From here on the
    /// command goes on by itself, also if nobody polls this.
    async fn launch(
        &self,
        prepared: Prepared,
        claim: Claim,
        in_flight: InFlight,
        deadline: Timestamp,
        trace: Option<Arc<Trace>>,
    ) -> Result<Reply, Refusal> {
        leg(trace.as_ref(), "engine", "prepare", Kind::Work);
        let core = Arc::clone(&self.0);
        let (reply, told) = oneshot::channel();
        let traced = trace.clone();
        self.0.admission.at_work().begin(move |at_work| {
            leg(traced.as_ref(), "admission", "place", Kind::Wait);
            let _entered = Trace::enter_only(traced.as_ref());
            let Prepared { flow, op, partition, cast, owner, claims } = prepared;
            // Without an arbiter the answer is dropped, and whoever waits hears of it.
            let (Some(door), Some(judge)) = (core.partitions.get(partition), core.risk.get(partition)) else { return };
            let risk = Arc::clone(judge);
            let claims = std::iter::once(claim).chain(claims).collect();
            let answer = Answer { claims, in_flight, trace: traced.clone(), reply };
            let core = Arc::clone(&core);
            let let_through = None;
            let launch = Launch { core, flow, op, cast, owner, risk, let_through, deadline, at_work, answer };
            let launch = Box::new(launch);
            match &launch.flow {
                Flow::Payment(_) => judge.send(RiskMessage::Assess(launch)),
                Flow::Command(_) => door.send(PartitionMessage::Launch(launch)),
            }
        });
        let told = told.await;
        leg(trace.as_ref(), "engine", "answer", Kind::Wait);
        let committed = told.unwrap_or_else(|_| Err(interrupted()))?;
        Ok(Reply { committed, replayed: false })
    }

    /// Counts a refusal for overload, wherever it came from.
    fn counted<T>(&self, result: Result<T, Refusal>) -> Result<T, Refusal> {
        if let Err(Refusal::Overloaded { reason, .. }) = &result {
            self.0.cells.count_rejected(*reason);
        }
        result
    }

    /// Runs a read within its bound.
    pub(crate) async fn read<T>(&self, read: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        let result = match self.0.admission.begin_read() {
            Ok(_reading) => read.await,
            Err(refusal) => Err(refusal),
        };
        self.counted(result)
    }

    /// Claims a second key, waiting for whoever holds it: commands on one reservation, one account's settings or one
    /// owner's openings run one after another.
    pub(crate) async fn claim_in_turn(&self, key: KeyHash, deadline: Timestamp) -> Result<Claim, Refusal> {
        let claim = match self.0.claims.take_turn(key) {
            Claimed::Mine(claim) => claim,
            Claimed::Crowded => return Err(Refusal::overloaded(OverloadReason::Waiters)),
            Claimed::Theirs(heard) => match heard.await {
                Ok(Heard::Turn(claim)) => claim,
                Ok(Heard::End(_)) | Err(_) => return Err(interrupted()),
            },
        };
        if self.0.clock.now() > deadline { Err(Refusal::DeadlineExceeded) } else { Ok(claim) }
    }

    async fn find_key(&self, key: KeyHash, command: &Command) -> Result<Option<Committed>, Refusal> {
        if let Some(committed) = self.0.tail.by_key(key) {
            return Ok(Some(committed));
        }
        if !self.0.index.may_have_key(key) {
            return Ok(None);
        }
        let (tenant, tx_id) = (command.tenant, command.tx_id.clone());
        let stored = self.on_load_pool(move |core| {
            let Some(lsn) = core.index.key(tenant, key).map_err(internal)? else { return Ok(None) };
            let committed = core.read_entry(lsn)?;
            // A hash only points; the entry says whose it is. That two keys have one hash does not happen: the row is
            // damaged, and whether the key was decided is not known.
            if committed.entry.tenant != tenant || committed.entry.tx_id != tx_id {
                let why = format!("the index leads from a key to the entry at lsn {lsn}, which has another");
                core.index.condemn(&why);
                return Err(internal(why));
            }
            Ok(Some(committed))
        });
        Box::pin(stored).await
    }

    /// Runs something that may block on a disk, on the pool for what payments need.
    pub(crate) async fn on_load_pool<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Core) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.on_pool(&self.0.loads, OverloadReason::Loads, job).await
    }

    /// Runs something that may block on a disk, on the pool for reads.
    pub(crate) async fn on_read_pool<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Core) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.on_pool(&self.0.reads, OverloadReason::Reads, job).await
    }

    async fn on_pool<T: Send + 'static>(
        &self,
        pool: &Pool,
        full: OverloadReason,
        job: impl FnOnce(&Core) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (sender, receiver) = oneshot::channel();
        let core = Arc::clone(&self.0);
        // A caller that went away needs no answer.
        if !pool.submit(Box::new(move || drop(sender.send(job(&core))))) {
            return Err(Refusal::overloaded(full));
        }
        receiver.await.unwrap_or_else(|_| Err(interrupted()))
    }

    async fn replay(
        &self,
        committed: Committed,
        command: &Command,
        in_flight: &mut InFlight,
    ) -> Result<Reply, Refusal> {
        let config = &self.0.config;
        let defaults = Defaults {
            expires_in: Duration::from_secs(config.reservation_default_s),
            spread_bps: config.fx.spread_bps_default,
            payee: self.default_payee(&committed, command).await,
        };
        if let Some(field) = first_difference(&committed.entry, &command.request, &defaults) {
            return Err(Refusal::KeyReused { field });
        }
        in_flight.note(Ended::Replayed);
        if !command.request.is_house() {
            self.0.cells.replayed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Reply { committed, replayed: true })
    }

    /// Whom the house would name now, where the first try named somebody and this one does not.
    async fn default_payee(&self, committed: &Committed, command: &Command) -> Option<AccountId> {
        match (&committed.entry.request, &command.request) {
            (Request::CreatePayment(first), Request::CreatePayment(again))
                if first.destination.is_some() && again.destination.is_none() =>
            {
                let house = Box::pin(self.house_account(command.tenant, again.amount.currency)).await;
                house.ok().map(|(_, party)| party.account)
            }
            _ => None,
        }
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
        self.0.directory.resident()
    }

    /// The accounts with the most messages a second, if they have many; the hottest first.
    pub fn hot_accounts(&self) -> Vec<HotAccount> {
        self.0.cells.hot.hottest()
    }

    /// Commands at work and those that wait for a place there.
    pub fn at_work(&self, reader: Reader) -> Occupancy {
        self.0.admission.at_work().occupancy(reader)
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

impl Core {
    /// An entry, from the tail or from its segment. May block.
    pub(crate) fn read_entry(&self, lsn: Lsn) -> Result<Committed, Refusal> {
        match self.tail.by_lsn(lsn) {
            Some(committed) => Ok(committed),
            None => self.reader.read(lsn).map_err(internal),
        }
    }
}

/// Ends a claim without an entry.
fn refuse(claim: Claim, refusal: Refusal) -> Result<Reply, Refusal> {
    claim.end(&Err(refusal.clone()));
    Err(refusal)
}

/// Notes the next leg of a command that somebody traces.
fn leg(trace: Option<&Arc<Trace>>, place: &'static str, what: &'static str, kind: Kind) {
    trace.into_iter().for_each(|trace| trace.leg(place, what, kind, Instant::now()));
}

pub(crate) fn interrupted() -> Refusal {
    UnavailableReason::Interrupted.into()
}

pub(crate) fn internal(error: impl std::fmt::Display) -> Refusal {
    Refusal::Internal(error.to_string())
}
