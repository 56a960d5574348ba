//! The wiring of the tests that replay by seed: everything on one current-thread System, time by hand, messages in
//! seeded order.
//!
//! Nothing happens unless [`Deterministic::step`] is called; one seed gives one run. The journal's code is the real
//! one, over a disk in memory that loses unsynced writes; the index is the one in memory. Jobs of the pools wait until
//! a step runs them, and a read of the index may be overtaken by a commit and by an index run (P1).

use std::{
    collections::VecDeque,
    hash::BuildHasher,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use foldhash::fast::FixedState;

use super::{
    Assembled, Pace, Parts, assemble,
    recovery::{self, StartError},
    timers::Timers,
};
use crate::{
    actors::{
        mailbox::{Arbiter, DeliveryOrder, Shuffle},
        sink::Handed,
    },
    clock::Clock,
    commit::hand_over::HandOver,
    config::EngineConfig,
    engine::Engine,
    fatal::OnFatal,
    gate::caller::Answering,
    index::{
        Index,
        builder::{Builder, Built},
        memory::{MemoryIndex, Overtakes},
    },
    intake::command::Command,
    journal::{
        Head, JournalError,
        disk::Disk,
        memory::MemoryDisk,
        recovery as journal_recovery,
        segment_head::Made,
        spare::Spare,
        writer::{Stepped, Writer},
    },
    keys::KeyHasher,
    ledger::{entry::Committed, time::Timestamp},
    money::Lsn,
    planted::{Bug, is_planted},
    pool::{Job, Pool},
};

/// How often a segment is tried to be begun: disks in memory do not mend themselves.
const TRIES_MAX: u32 = 4;

/// What keys are hashed with here.
pub const HASHER: KeyHasher = KeyHasher(*b"deterministic-ky");

/// See the module. Must live inside an actix System.
pub struct Deterministic {
    engine: Engine,
    machines: Arc<Mutex<Machines>>,
    index: MemoryIndex,
    shuffle: Arc<Shuffle>,
    jobs: Arc<Mutex<VecDeque<Job>>>,
    clock: Clock,
    timers: Timers,
    journal_ahead: Option<[Timestamp; 2]>,
    steps: u64,
}

/// What service gives threads of their own.
struct Machines {
    engine: Engine,
    writer: Option<Writer<Handed>>,
    hand_over: HandOver,
    builder: Builder,
    spare: Arc<Spare>,
}

impl Deterministic {
    /// Recovers an engine from a disk and an index in memory.
    pub fn start(
        disk: &MemoryDisk,
        index: MemoryIndex,
        config: EngineConfig,
        clock: Clock,
        on_fatal: OnFatal,
    ) -> Result<Self, StartError> {
        let hasher = HASHER;
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        if disk.list().is_ok_and(|names| names.is_empty()) {
            let made = Made { fingerprint: hasher.fingerprint(), segment_bytes: config.segment_bytes };
            journal_recovery::create(Arc::clone(&disk), made, Head::EMPTY.hash)?;
        }
        let proven = index.watermark().map_or(Lsn(0), |watermark| watermark.lsn);
        let opened = journal_recovery::find(disk, hasher.fingerprint())?.open(config.segment_bytes, proven)?;
        let (head, reader) = (opened.segments.head(), Arc::new(opened.segments.reader()));
        let misfit = index.watermark().map_or(Ok(None), |watermark| recovery::misfit(watermark, &*reader))?;
        let is_lost = !index.is_whole() && !is_planted(Bug::IndexTableLost);
        let index = if misfit.is_some() || is_lost { MemoryIndex::new() } else { index };
        let shuffle = Shuffle::new(clock.clone());
        let order = DeliveryOrder::Shuffled(Arc::clone(&shuffle));
        let arbiters = vec![Arbiter { thread: actix::Arbiter::current(), order }; config.arbiters()];
        let spare = opened.segments.spare();
        spare.give_up_after(Some(TRIES_MAX));
        let jobs: Arc<Mutex<VecDeque<Job>>> = Arc::default();
        let assembled = assemble(Parts {
            hasher,
            config,
            clock: clock.clone(),
            journal: Box::new(opened.segments),
            head,
            reader,
            spare: Arc::clone(&spare),
            index: Arc::new(index.clone()),
            damage: Arc::default(),
            arbiters,
            loads: Pool::ByHand(Arc::clone(&jobs)),
            reads: Pool::ByHand(Arc::clone(&jobs)),
            answering: Answering::Here,
            pace: Pace::ByHand,
            on_fatal,
        })?;
        let Assembled { engine, writer, hand_over, builder, journal_ahead, .. } = assembled;
        let machines = Machines { engine: engine.clone(), writer: Some(writer), hand_over, builder, spare };
        let machines = Arc::new(Mutex::new(machines));
        index.overtake_reads(Some(overtaking(&machines, clock.clone())));
        let timers = Timers::default();
        Ok(Self { engine, machines, index, shuffle, jobs, clock, timers, journal_ahead, steps: 0 })
    }

    /// The handle.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The time of the last block and the clock's, where the journal was ahead at the start.
    pub fn journal_ahead(&self) -> Option<[Timestamp; 2]> {
        self.journal_ahead
    }

    /// The index that is built: the one it was started with, unless that did not fit.
    pub fn index_now(&self) -> &MemoryIndex {
        &self.index
    }

    /// An entry that is committed.
    pub fn committed(&self, lsn: Lsn) -> Option<Committed> {
        self.engine.0.read_entry(lsn).ok()
    }

    /// Does one thing, chosen by the seed: delivers a message, runs a job, commits a block, or builds an index run. Lets
    /// the actors run before and after. Says whether anything was left to do.
    pub async fn step(&mut self) -> bool {
        // Whoever was called since the last step begins.
        tokio::task::yield_now().await;
        self.steps += 1;
        let choice = self.clock.random(self.steps | (1 << 62)) % 16;
        let did = match choice {
            0 => self.commit(),
            1 => self.index(),
            2..4 => self.run_job(),
            _ => self.shuffle.deliver_one() || self.run_job() || self.commit(),
        };
        yield_to_actors().await;
        did
    }

    /// Commits what was handed to the journal; `false` if there was nothing.
    pub fn commit(&mut self) -> bool {
        lock(&self.machines).commit()
    }

    /// Builds one index run; `false` if there was nothing or it failed.
    pub fn index(&mut self) -> bool {
        lock(&self.machines).index()
    }

    /// Runs the oldest job that waits for a pool.
    fn run_job(&self) -> bool {
        let job = lock(&self.jobs).pop_front();
        job.map(|job| job()).is_some()
    }

    /// What the timers ask for at this tick.
    pub async fn due(&mut self) -> Vec<Command> {
        let Self { timers, engine, jobs, .. } = self;
        let due = timers.due(engine);
        tokio::pin!(due);
        loop {
            let job = lock(jobs).pop_front();
            job.into_iter().for_each(|job| job());
            tokio::select! {
                biased;
                due = &mut due => return due,
                () = tokio::task::yield_now() => {}
            }
        }
    }

    /// Takes accounts and owners out of memory: of those that nobody refers to the ones that the number picks.
    pub fn passivate(&self, pick: u64) {
        let picked = |hash: u64| self.clock.random(hash ^ pick).is_multiple_of(2);
        let hasher = FixedState::with_seed(pick);
        let residents = &self.engine.0.residents;
        residents.passivate_accounts(|key, _, is_idle| picked(hasher.hash_one(key)) && is_idle());
        residents.passivate_owners(|key, _, is_idle| picked(hasher.hash_one(key)) && is_idle());
        self.engine.0.objects.passivate(|object| picked(hasher.hash_one(object.key())));
    }
}

impl Drop for Deterministic {
    fn drop(&mut self) {
        // Each of these refers to what refers to it.
        self.index.overtake_reads(None);
        self.engine.0.admission.slots().clear();
        let jobs = std::mem::take(&mut *lock(&self.jobs));
        drop(jobs);
        self.shuffle.clear();
    }
}

impl Machines {
    fn commit(&mut self) -> bool {
        // A full memory disk closes admission, as it would in service.
        let _ = self.spare.prepare();
        let Some(writer) = &mut self.writer else { return false };
        match writer.step(Duration::ZERO) {
            Stepped::Committed(commit) => {
                self.hand_over.commit(commit);
                true
            }
            Stepped::Idle => false,
            Stepped::Ended => {
                self.writer = None;
                false
            }
            Stepped::Failed(error, lost) => {
                self.fail(&error, lost);
                true
            }
        }
    }

    fn fail(&mut self, error: &JournalError, lost: Vec<Handed>) {
        self.writer = None;
        self.hand_over.fail(error, lost);
    }

    fn index(&mut self) -> bool {
        let built = self.builder.step();
        self.engine.0.admission.note_index(built.is_err());
        built.is_ok_and(|built| built != Built::Idle)
    }
}

/// What happens right before a read of the index: nothing, a commit, an index run, or both. Nothing while a machine is
/// at work itself: the builder reads what it alone changes.
fn overtaking(machines: &Arc<Mutex<Machines>>, clock: Clock) -> Overtakes {
    let (machines, reads) = (Arc::clone(machines), AtomicU64::new(0));
    Arc::new(move || {
        let Ok(mut machines) = machines.try_lock() else { return };
        let choice = clock.random(reads.fetch_add(1, Ordering::Relaxed) | (1 << 61)) % 4;
        if choice & 1 == 1 {
            machines.commit();
        }
        if choice & 2 == 2 {
            machines.index();
        }
    })
}

/// A poisoned lock here means a test already failed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Long enough for every actor that was woken to run dry.
async fn yield_to_actors() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}
