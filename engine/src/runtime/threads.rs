//! The wiring of service: actors on arbiters, the journal, the index builder, segment preparation and timers on
//! threads of their own.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use actix::{Arbiter, ArbiterHandle, System};
use tokio::task::{JoinError, JoinSet};

use super::{
    Assembled, Pace, Parts, assemble,
    data_dir::DataDir,
    recovery::StartError,
    stores::{Stores, set_note_aside},
    timers::Timers,
};
use crate::{
    actors::{
        mailbox::{self, DeliveryOrder},
        sink::Handed,
    },
    clock::Clock,
    commit::hand_over::HandOver,
    config::EngineConfig,
    core::Core,
    engine::Engine,
    fatal::OnFatal,
    gate::caller::Answering,
    index::builder::{Builder, Built},
    intake::command::Command,
    journal::{
        recovery as journal_recovery,
        spare::{Spare, SpareNeed},
        writer::{Stepped, Writer},
    },
    ledger::time::Timestamp,
    money::Lsn,
    pool::Pool,
    watched_thread::{self, Guard},
};

/// How long the journal waits for a record before it looks around.
const JOURNAL_WAIT: Duration = Duration::from_millis(100);
/// How long the builder sleeps when there is nothing to index.
const BUILDER_IDLE: Duration = Duration::from_millis(10);
/// Nothing more comes if nothing came for so long.
const BUILDER_QUIET: Duration = Duration::from_millis(50);
/// So few entries wait longer for others.
const BUILDER_TRICKLE: u64 = 256;
const BUILDER_TRICKLE_PAUSE: Duration = Duration::from_millis(500);
/// How long the builder waits after an error before it tries again: twice as long each time, up to the second.
const BUILDER_RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// How often timers are looked at while nothing is due.
const TIMER_TICK: Duration = Duration::from_millis(250);
/// How many expiries are on their way at once: one sync takes many, and clients' commands find places between them.
const EXPIRING_MAX: usize = 512;

/// A running engine with its threads.
pub struct Running {
    engine: Engine,
    stopping: Arc<AtomicBool>,
    spare: Arc<Spare>,
    system: System,
    arbiters: Vec<ArbiterHandle>,
    threads: Vec<(&'static str, JoinHandle<()>)>,
    _data_dir: DataDir,
}

/// What the start found.
#[derive(Debug, Clone)]
pub struct Started {
    /// The last committed entry.
    pub head: Lsn,
    /// Entries that were behind the index.
    pub recovered: u64,
    /// A torn last block that was cut off.
    pub torn: Option<journal_recovery::Torn>,
    /// Why the index was discarded, if it was.
    pub rebuilt: Option<String>,
    /// The time of the last commit block and the machine's, where the block's lies ahead: one of the two clocks was or
    /// is wrong.
    pub journal_ahead: Option<[Timestamp; 2]>,
    /// How long it took.
    pub took: Duration,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Everything admitted was answered and synced.
    Clean,
    /// Time ran out with so many commands unanswered; what was appended is durable all the same.
    TimedOut(usize),
}

impl Running {
    /// Recovers the engine in `path` and starts it; answers are given by `answering`. `on_fatal` ends the process.
    pub fn start(
        path: &Path,
        config: EngineConfig,
        answering: Answering,
        on_fatal: OnFatal,
    ) -> Result<(Self, Started), StartError> {
        let began = Instant::now();
        config.check()?;
        let Stores { data_dir, journal: opened, index, rebuilt, damage, note } = Stores::open(path, &config)?;
        let clock = Clock::system();
        let (head, reader) = (opened.segments.head(), Arc::new(opened.segments.reader()));
        let spare = opened.segments.spare();
        if spare.shortage().is_some()
            && let Err(error) = spare.prepare()
        {
            tracing::warn!(%error, "the next journal segment cannot be prepared; writes are refused until it is");
        }
        // A start that fails drops what it began: threads may end until everything runs.
        let stopping = Arc::new(AtomicBool::new(true));
        let (system, arbiters, system_thread) = start_arbiters(config.arbiters(), &stopping, &on_fatal)?;
        let home = |thread: &ArbiterHandle| mailbox::Arbiter { thread: thread.clone(), order: DeliveryOrder::Direct };
        let homes = arbiters.iter().map(home).collect();
        let pool = |name, threads, queue_max| {
            let started = Pool::start(name, (threads, queue_max), (&stopping, &on_fatal));
            started.map_err(|error| StartError::Thread(name, error))
        };
        let loads = pool("arus-load", config.load_threads, config.load_queue_max)?;
        let reads = pool("arus-read", config.read_threads, config.reads_max)?;
        let assembled = assemble(Parts {
            hasher: data_dir.hasher(),
            config,
            clock,
            journal: Box::new(opened.segments),
            head,
            reader,
            spare: Arc::clone(&spare),
            index,
            damage,
            arbiters: homes,
            loads,
            reads,
            answering,
            pace: Pace::Timed,
            on_fatal: Arc::clone(&on_fatal),
        })?;
        let (recovered, journal_ahead) = (assembled.recovered, assembled.journal_ahead);
        let mut running = Self {
            engine: assembled.engine.clone(),
            stopping,
            spare,
            system,
            arbiters,
            threads: vec![("arus-system", system_thread)],
            _data_dir: data_dir,
        };
        running.stopping.store(false, Ordering::SeqCst);
        running.start_threads(assembled, &on_fatal)?;
        if let Some(note) = note {
            set_note_aside(&note);
        }
        let (torn, took) = (opened.torn, began.elapsed());
        let started = Started { head: head.lsn, recovered, torn, rebuilt, journal_ahead, took };
        Ok((running, started))
    }

    fn start_threads(&mut self, assembled: Assembled, on_fatal: &OnFatal) -> Result<(), StartError> {
        let Assembled { writer, hand_over, builder, engine, .. } = assembled;
        let spare = Arc::clone(&self.spare);
        self.spawn("arus-journal", on_fatal, move |_| run_journal(writer, &hand_over))?;
        self.spawn("arus-spare", on_fatal, move |_| run_spare(&spare))?;
        let indexing = engine.clone();
        self.spawn("arus-index", on_fatal, move |stopping| run_builder(builder, &indexing, stopping))?;
        self.spawn("arus-timers", on_fatal, move |stopping| run_timers(&engine, stopping))
    }

    fn spawn(
        &mut self,
        name: &'static str,
        on_fatal: &OnFatal,
        body: impl FnOnce(&AtomicBool) + Send + 'static,
    ) -> Result<(), StartError> {
        let stopping = Arc::clone(&self.stopping);
        let thread = watched_thread::spawn(name, &self.stopping, on_fatal, move || body(&stopping));
        self.threads.push((name, thread.map_err(|error| StartError::Thread(name, error))?));
        Ok(())
    }

    /// The handle.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Closes admission, waits until nothing is in flight, flushes the journal, brings the index up to date, and
    /// joins all threads. Blocks.
    pub fn shut_down(self, drain_max: Duration) -> Drained {
        let Self { engine, stopping, spare, system, arbiters, threads, _data_dir } = self;
        engine.close();
        let until = Instant::now() + drain_max;
        while engine.in_flight() > 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        let left = engine.in_flight();
        engine.0.admission.slots().clear();
        stopping.store(true, Ordering::SeqCst);
        // Without a sender the journal commits what it has and ends.
        engine.0.environment.sink.close();
        spare.stop();
        let (system_threads, others): (Vec<_>, Vec<_>) =
            threads.into_iter().partition(|(name, _)| *name == "arus-system");
        others.into_iter().for_each(|(_, thread)| drop(thread.join()));
        for arbiter in arbiters {
            arbiter.stop();
        }
        system.stop();
        system_threads.into_iter().for_each(|(_, thread)| drop(thread.join()));
        if left == 0 { Drained::Clean } else { Drained::TimedOut(left) }
    }
}

type Arbiters = (System, Vec<ArbiterHandle>, JoinHandle<()>);

/// The actix system on its own thread, with so many arbiters. One that ends by itself takes its accounts with it, so it
/// ends the process (P11).
fn start_arbiters(count: usize, stopping: &Arc<AtomicBool>, on_fatal: &OnFatal) -> Result<Arbiters, StartError> {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::Builder::new().name("arus-system".into()).spawn(move || {
        let runner = System::new();
        let arbiters: Vec<_> = runner.block_on(async { (0..count).map(|_| Arbiter::new().handle()).collect() });
        // The starter waits for this; if it went away there is nothing to run.
        if sender.send((System::current(), arbiters)).is_ok()
            && let Err(error) = runner.run()
        {
            tracing::error!(%error, "the actor system ended with an error");
        }
    });
    let thread = thread.map_err(|error| StartError::Thread("arus-system", error))?;
    let gone = |_| StartError::Thread("arus-system", std::io::Error::other("it ended at once"));
    let (system, arbiters): (System, Vec<ArbiterHandle>) = receiver.recv().map_err(gone)?;
    for arbiter in &arbiters {
        let guard = Guard::new("an arbiter", stopping, on_fatal);
        arbiter.spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
    }
    Ok((system, arbiters, thread))
}

fn run_journal(mut writer: Writer<Handed>, hand_over: &HandOver) {
    loop {
        match writer.step(JOURNAL_WAIT) {
            Stepped::Committed(commit) => hand_over.commit(commit),
            Stepped::Idle => {}
            Stepped::Ended => return,
            Stepped::Failed(error, lost) => return hand_over.fail(&error, lost),
        }
    }
}

fn run_spare(spare: &Spare) {
    while spare.wait_until_needed() == SpareNeed::Needed {
        if let Err(error) = spare.prepare() {
            tracing::warn!(%error, "the next journal segment cannot be prepared; free disk space");
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

fn run_builder(mut builder: Builder, engine: &Engine, stopping: &AtomicBool) {
    let core = &engine.0;
    let pause = Duration::from_millis(core.config.index_run_interval_ms);
    let [retry, retry_max] = BUILDER_RETRY;
    let mut failures = 0_u32;
    loop {
        let began = Instant::now();
        let last_round = stopping.load(Ordering::SeqCst);
        match builder.step() {
            Ok(Built::Idle) if last_round && core.cells.journal_queue.load(Ordering::SeqCst) == 0 => return,
            Ok(Built::Idle) => std::thread::sleep(BUILDER_IDLE),
            Ok(Built::Entries(_)) => {
                core.cells.index_runs.fetch_add(1, Ordering::Relaxed);
                core.cells.index_run.observe(began.elapsed());
                wait_for_more(core, began + pause, stopping);
            }
            Err(error) => {
                core.admission.note_index(true);
                let pause = retry.saturating_mul(1 << failures.min(6)).min(retry_max);
                failures = failures.saturating_add(1);
                tracing::error!(
                    %error, failures, pause_s = pause.as_secs(),
                    "the index cannot be built; it is opened anew after a pause; payments go on until its tail is full"
                );
                if last_round {
                    return;
                }
                pause_unless(stopping, pause);
                let reopened = builder.reopen_index();
                core.admission.note_index_closed(reopened.is_err());
                if let Err(error) = reopened {
                    tracing::error!(%error, "the index cannot be opened anew; no command is taken until it is");
                }
                continue;
            }
        }
        if failures > 0 {
            failures = 0;
            core.admission.note_index(false);
            tracing::info!("the index is built again");
        }
    }
}

fn pause_unless(stopping: &AtomicBool, pause: Duration) {
    let until = Instant::now() + pause;
    while Instant::now() < until && !stopping.load(Ordering::SeqCst) {
        std::thread::sleep(BUILDER_IDLE);
    }
}

/// Larger runs cost less per entry, now and in the merges that follow: waits until enough has come, until nothing more
/// comes (a little longer for a trickle), or until `until`.
fn wait_for_more(core: &Core, until: Instant, stopping: &AtomicBool) {
    let (began, mut committed, mut changed) = (Instant::now(), Lsn(0), Instant::now());
    let is_enough = || core.tail.bytes() > core.config.tail_bytes_max / 4;
    while Instant::now() < until && !is_enough() && !stopping.load(Ordering::SeqCst) {
        let last = core.tail.committed();
        let waiting = last.0.saturating_sub(core.tail.indexed().0);
        let pause = if waiting < BUILDER_TRICKLE { BUILDER_TRICKLE_PAUSE } else { Duration::ZERO };
        if last != committed {
            (committed, changed) = (last, Instant::now());
        } else if changed.elapsed() >= BUILDER_QUIET && began.elapsed() >= pause {
            return;
        }
        std::thread::sleep(BUILDER_IDLE);
    }
}

fn run_timers(engine: &Engine, stopping: &AtomicBool) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return };
    let mut timers = Timers::default();
    while !stopping.load(Ordering::SeqCst) {
        let due = runtime.block_on(timers.due(engine));
        let fired = runtime.block_on(fire(engine, due, stopping));
        // A load sweeps as well; but once all that is asked for is in memory, nothing is loaded.
        engine.0.residents.sweep();
        if fired == 0 {
            std::thread::sleep(TIMER_TICK);
        }
    }
}

/// Submits a round, many at once, and says how many were decided. What is refused now is still due in a later round.
async fn fire(engine: &Engine, due: Vec<Command>, stopping: &AtomicBool) -> usize {
    let (mut under_way, mut decided) = (JoinSet::new(), 0);
    let count = |done: Result<bool, JoinError>| usize::from(done.unwrap_or(false));
    for command in due {
        if stopping.load(Ordering::SeqCst) {
            break;
        }
        if under_way.len() >= EXPIRING_MAX {
            decided += under_way.join_next().await.map_or(0, count);
        }
        let engine = engine.clone();
        under_way.spawn(async move { engine.submit(command).await.is_ok() });
    }
    while let Some(done) = under_way.join_next().await {
        decided += count(done);
    }
    decided
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arbiter_that_ends_by_itself_ends_the_process() {
        let (told, said) = mpsc::channel();
        let on_fatal: OnFatal = Arc::new(move |why: &str| told.send(why.to_owned()).expect("the test waits"));
        let stopping = Arc::new(AtomicBool::new(false));
        let (system, arbiters, thread) = start_arbiters(2, &stopping, &on_fatal).expect("they start");
        arbiters[0].stop();
        let why = said.recv_timeout(Duration::from_secs(60)).expect("somebody says so");
        assert_eq!(why, "thread an arbiter ended though nobody asked it to");
        stopping.store(true, Ordering::SeqCst);
        arbiters[1].stop();
        system.stop();
        thread.join().expect("no panic");
        assert!(said.try_recv().is_err(), "one that was asked to is no news");
    }
}
