//! The two wirings of one engine (P11): [`threads`] for service, [`deterministic`] for tests that replay by seed.
//!
//! Journal writer, index builder and timers are state machines with a `step`; a wiring only decides who calls it.

pub mod data_dir;
pub mod deterministic;
mod format;
pub mod migrate;
mod places;
pub mod recovery;
mod stores;
pub mod threads;
mod timers;

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use self::recovery::StartError;

use crate::{
    actors::{
        command::Environment,
        door::DoorActor,
        fx::Desk,
        mailbox::{Arbiter, Mailbox},
        objects::Objects,
        residents::Residents,
        risk::RiskActor,
        sink::{Handed, Sink},
    },
    clock::Clock,
    commit::hand_over::HandOver,
    config::EngineConfig,
    core::Core,
    damage::{Damage, Watched},
    engine::Engine,
    fatal::OnFatal,
    gate::{admission::Admission, caller::Answering, claims::Claims},
    index::{Index, builder::Builder},
    journal::{
        Head, Journal, JournalReader,
        spare::Spare,
        writer::{Bounds, Writer},
    },
    keys::KeyHasher,
    ledger::{entry::Entry, time::Timestamp},
    metrics::{ActorKind, EngineCells},
    money::Lsn,
    passed_on::PassedOn,
    pool::Pool,
    watch::Watchers,
};

/// How often the journal waits for more entries of the many commands in flight.
const LINGERS_MAX: u32 = 5;

/// What a wiring brings: stores, threads, and how the process ends.
pub(crate) struct Parts {
    pub(crate) config: EngineConfig,
    pub(crate) clock: Clock,
    pub(crate) hasher: KeyHasher,
    pub(crate) journal: Box<dyn Journal>,
    pub(crate) head: Head,
    pub(crate) reader: Arc<dyn JournalReader>,
    pub(crate) spare: Arc<Spare>,
    pub(crate) index: Arc<dyn Index>,
    pub(crate) damage: Arc<Damage>,
    pub(crate) arbiters: Vec<Arbiter>,
    pub(crate) loads: Pool,
    pub(crate) reads: Pool,
    pub(crate) answering: Answering,
    pub(crate) pace: Pace,
    pub(crate) on_fatal: OnFatal,
}

/// How the journal collects a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Within the time that the settings allow, waiting for more where that pays.
    Timed,
    /// All that is queued when it is stepped: the real clock decides nothing.
    ByHand,
}

/// An engine with the machines that a wiring must step.
pub(crate) struct Assembled {
    pub(crate) engine: Engine,
    pub(crate) writer: Writer<Handed>,
    pub(crate) hand_over: HandOver,
    pub(crate) builder: Builder,
    /// Entries that were behind the index at the start.
    pub(crate) recovered: u64,
    /// See [`threads::Started::journal_ahead`].
    pub(crate) journal_ahead: Option<[Timestamp; 2]>,
}

/// Recovers and connects everything; the same for both wirings.
pub(crate) fn assemble(parts: Parts) -> Result<Assembled, StartError> {
    let Parts { config, clock, hasher, journal, head, reader, spare, index, damage, .. } = parts;
    let Parts { arbiters, loads, reads, answering, pace, on_fatal, .. } = parts;
    let indexed = index.watermark().map_or(Lsn(0), |watermark| watermark.lsn);
    let reader: Arc<dyn JournalReader> = Arc::new(Watched { reader, damage: Arc::clone(&damage) });
    let now = clock.now();
    let journal_ahead = (head.at > now).then_some([head.at, now]);
    clock.note_block(head.at);
    clock.note_timed(head.lsn);
    let rules = Arc::new(config.risk_rules()?);
    let cells = Arc::new(EngineCells::new(&config));
    let (tail, mut builder) = recovery::tail_and_builder(&index, indexed, hasher, &config);
    let recovered = recovery::fill_tail(&tail, &*reader, &head, &mut builder, &config)?;
    let book = recovery::rates(&*index, &tail)?;
    let (appender, queue) = mpsc::channel();
    let environment = Arc::new(Environment {
        clock: clock.clone(),
        desk: Arc::new(Desk::new(book, config.fx_policy(), clock.clone(), arbiters.clone())),
        sink: Sink::new(appender, Arc::clone(&cells)),
    });
    let residents = Arc::new(Residents::new(
        Arc::clone(&tail),
        Arc::clone(&index),
        loads.clone(),
        arbiters.clone(),
        (clock.clone(), Arc::clone(&on_fatal), Arc::clone(&cells)),
        &config,
    ));
    let placed = |entry: &Entry, customer: &_| residents.arbiter_of(entry.tenant, customer, None);
    let states = recovery::risk_states(&*reader, &head, &rules, &clock, arbiters.len(), placed)?;
    let risk = arbiters.iter().zip(states).map(|(arbiter, state)| {
        let (rules, order, with) = (Arc::clone(&rules), arbiter.order.clone(), (clock.clone(), Arc::clone(&cells)));
        Mailbox::start(arbiter, ActorKind::Risk, move |_| RiskActor::new(rules, state, with, order))
    });
    let risk = risk.collect();
    let door = |arbiter: &Arbiter| {
        let order = arbiter.order.clone();
        Mailbox::start(arbiter, ActorKind::Partition, move |_| DoorActor::new(order))
    };
    let doors: Vec<_> = arbiters.iter().map(door).collect();
    let admission = Arc::new(Admission::new(&config, Arc::clone(&tail), (Some(spare), damage), Arc::clone(&cells)));
    let bounds = Bounds {
        entries_max: config.commit_entries_max,
        bytes_max: config.commit_bytes_max,
        collect_max: match pace {
            Pace::Timed => Duration::from_micros(config.commit_collect_us_max),
            Pace::ByHand => Duration::MAX,
        },
        lingers_max: if pace == Pace::Timed { LINGERS_MAX } else { 0 },
    };
    let counted = Arc::clone(&cells);
    let in_flight = Box::new(move || counted.in_flight.load(std::sync::atomic::Ordering::Relaxed));
    let writer = Writer::new(journal, head, queue, (clock.clone(), in_flight), bounds);
    let watchers = Watchers::default();
    let passed_on = Arc::new(PassedOn::new(head.lsn));
    let hand_over = HandOver {
        tail: Arc::clone(&tail),
        desk: Arc::clone(&environment.desk),
        admission: Arc::clone(&admission),
        doors: doors.clone(),
        answering,
        passed_on: Arc::clone(&passed_on),
        watchers: watchers.clone(),
        cells: Arc::clone(&cells),
        clock: clock.clone(),
        on_fatal,
    };
    let objects = Objects::new(config.resident_accounts_max);
    let core = Core {
        house: config.house()?,
        config,
        clock,
        placement: hasher.placement(),
        hasher,
        claims: Claims::default(),
        admission,
        residents,
        objects,
        environment,
        doors,
        risk,
        tail,
        index,
        reader,
        loads,
        reads,
        passed_on,
        watchers,
        cells,
    };
    Ok(Assembled { engine: Engine(Arc::new(core)), writer, hand_over, builder, recovered, journal_ahead })
}
