//! The wiring of the crash tests: everything on one current-thread System, time by hand, messages in seeded order.
//!
//! Nothing happens unless [`Deterministic::step`] is called; one seed gives one run. The journal's code is the real
//! one, over a disk in memory that loses unsynced writes; the index is the one in memory.

use std::{sync::Arc, time::Duration};

use super::{
    Assembled, Parts, assemble,
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
    index::{Index, builder::Builder, memory::MemoryIndex},
    intake::command::Command,
    journal::{
        disk::Disk,
        memory::MemoryDisk,
        recovery as journal_recovery,
        segment_head::Made,
        spare::Spare,
        writer::{Stepped, Writer},
    },
    keys::KeyHasher,
    ledger::time::Timestamp,
    money::Lsn,
    pool::Pool,
};

/// How often a segment is tried to be begun: disks in memory do not mend themselves.
const TRIES_MAX: u32 = 4;

/// What keys are hashed with here.
pub const HASHER: KeyHasher = KeyHasher(*b"deterministic-ky");

/// See the module. Must live inside an actix System.
pub struct Deterministic {
    engine: Engine,
    writer: Option<Writer<Handed>>,
    hand_over: HandOver,
    builder: Builder,
    shuffle: Arc<Shuffle>,
    spare: Arc<Spare>,
    clock: Clock,
    timers: Timers,
    journal_ahead: Option<[Timestamp; 2]>,
    steps: u64,
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
            journal_recovery::create(Arc::clone(&disk), made)?;
        }
        let proven = index.watermark().map_or(Lsn(0), |watermark| watermark.lsn);
        let opened = journal_recovery::find(disk, hasher.fingerprint())?.open(config.segment_bytes, proven)?;
        let (head, reader) = (opened.segments.head(), Arc::new(opened.segments.reader()));
        let misfit = index.watermark().map_or(Ok(None), |watermark| recovery::misfit(watermark, &*reader))?;
        let index: Arc<dyn Index> = Arc::new(if misfit.is_some() { MemoryIndex::new() } else { index });
        let shuffle = Shuffle::new(clock.clone());
        let order = DeliveryOrder::Shuffled(Arc::clone(&shuffle));
        let arbiters = vec![Arbiter { thread: actix::Arbiter::current(), order }; config.arbiters()];
        let spare = opened.segments.spare();
        spare.give_up_after(Some(TRIES_MAX));
        let assembled = assemble(Parts {
            hasher,
            config,
            clock: clock.clone(),
            journal: Box::new(opened.segments),
            head,
            reader,
            spare: Arc::clone(&spare),
            index,
            damage: Arc::default(),
            arbiters,
            loads: Pool::Inline,
            reads: Pool::Inline,
            answering: Answering::Here,
            on_fatal,
        })?;
        let Assembled { engine, writer, hand_over, builder, journal_ahead, .. } = assembled;
        Ok(Self {
            engine,
            writer: Some(writer),
            hand_over,
            builder,
            shuffle,
            spare,
            clock,
            timers: Timers::default(),
            journal_ahead,
            steps: 0,
        })
    }

    /// The handle.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The time of the last block and the clock's, where the journal was ahead at the start.
    pub fn journal_ahead(&self) -> Option<[Timestamp; 2]> {
        self.journal_ahead
    }

    /// Does one thing, chosen by the seed: delivers a message, commits a block, or builds an index run. Lets the
    /// actors run before and after. Says whether anything was left to do.
    pub async fn step(&mut self) -> bool {
        yield_to_actors().await;
        self.steps += 1;
        let choice = self.clock.random(self.steps | (1 << 62)) % 16;
        let did = match choice {
            0 => self.commit(),
            1 => self.index(),
            _ => self.shuffle.deliver_one() || self.commit(),
        };
        yield_to_actors().await;
        did
    }

    /// Commits what was handed to the journal; `false` if there was nothing.
    pub fn commit(&mut self) -> bool {
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
                self.writer = None;
                self.hand_over.fail(&error, lost);
                true
            }
        }
    }

    /// What the timers ask for at this tick.
    pub async fn due(&mut self) -> Vec<Command> {
        self.timers.due(&self.engine).await
    }

    /// Builds one index run; `false` if there was nothing or it failed.
    pub fn index(&mut self) -> bool {
        match self.builder.step() {
            Ok(built) => {
                self.engine.0.admission.note_index(false);
                built != crate::index::builder::Built::Idle
            }
            Err(_) => {
                self.engine.0.admission.note_index(true);
                false
            }
        }
    }
}

/// Long enough for every actor that was woken to run dry.
async fn yield_to_actors() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}
