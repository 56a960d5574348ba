//! One run: an engine on a disk and an index in memory, clients, faults, and the reference that judges all of it.

mod judge;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arus_engine::{
    ALL_TIME, Command, Page, PaymentsOf, Position, Refusal, Reply, Window,
    clock::Clock,
    config::EngineConfig,
    index::memory::{MemoryIndex, STEPS},
    journal::memory::MemoryDisk,
    ledger::{commands::Request, entry::Committed, notes::Notes, wallet::AccountView},
    money::{AccountId, Lsn, TxId},
    runtime::deterministic::Deterministic,
};
use tokio::task::JoinHandle;

use crate::{
    commands::{self, CURRENCIES, OWNERS, Objects},
    disk,
    model::{Model, Sent, Wrong, must},
    script::{Action, Crash, Draw},
    support::{self, START, TENANT, account},
};

/// How many steps the engine gets to come to rest.
const STEPS_MAX: usize = 50_000;
/// From 8 o'clock, when other tests begin, to ten minutes before midnight.
const BEFORE_MIDNIGHT: Duration = Duration::from_secs(57_000);
/// How long a client waits.
const TIMEOUT: Duration = Duration::from_secs(3_600);

thread_local! {
    /// Whether runs say what they do.
    pub static TALKS: Cell<bool> = const { Cell::new(false) };
}

/// What a client heard.
enum Heard {
    /// The key, what was sent under it now, and the answer.
    Answer(String, Box<Request>, Result<Reply, Refusal>),
    Account(AccountId, Lsn, Result<Box<AccountView>, Refusal>),
    Payment(String, Lsn, Result<Committed, Refusal>),
    Lines(AccountId, Lsn, Result<Page<(Lsn, i128)>, Refusal>),
    Payments(Lsn, Result<Page<(Lsn, ())>, Refusal>),
}

type Inbox = Rc<RefCell<Vec<Heard>>>;

/// See the module.
pub struct Sim {
    engine: Deterministic,
    disk: MemoryDisk,
    clock: Clock,
    failed: Arc<AtomicBool>,
    config: EngineConfig,
    model: Model,
    /// Every command by its key.
    sent: BTreeMap<String, Sent>,
    /// Keys in the order they were sent.
    keys: Vec<String>,
    /// The entry that was acknowledged under a key.
    acknowledged: BTreeMap<String, Lsn>,
    /// Accounts that clients were told of.
    open: BTreeSet<AccountId>,
    /// Nothing that a client was told is behind this.
    told: Lsn,
    inbox: Inbox,
    calls: Vec<JoinHandle<()>>,
    digest: blake3::Hasher,
}

/// Runs of every fourth seed have a velocity rule.
fn config(seed: u64) -> EngineConfig {
    let mut config = support::config();
    if seed % 4 == 3 {
        config.risk.velocity_per_minute_max = 5;
    }
    config.commit_entries_max = 32;
    config.commit_bytes_max = 1 << 15;
    config
}

/// Runs a script. Gives back what the run was, as a digest of all that anybody was told and of the journal.
pub fn run(seed: u64, script: &[Action]) -> Result<String, Wrong> {
    support::catch_panics();
    // Without drivers of time and of sockets: nothing here waits for either.
    let runtime = || tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let ran = actix::System::with_tokio_rt(runtime).block_on(async {
        let mut sim = Sim::begin(seed)?;
        for (n, action) in script.iter().enumerate() {
            if TALKS.get() {
                println!("{n:4} at lsn {}: {action:?}", sim.model.head());
            }
            sim.act(*action).await.map_err(|wrong| format!("{wrong} (action {n}: {action:?})"))?;
        }
        Ok(sim.digest.finalize().to_hex().to_string())
    });
    support::panicked().map_or(ran, Err)
}

impl Sim {
    fn begin(seed: u64) -> Result<Self, Wrong> {
        // Shortly before a midnight of UTC: many runs get beyond it.
        let clock = Clock::manual(START.plus(BEFORE_MIDNIGHT), seed);
        let (disk, failed) = (MemoryDisk::new(), Arc::default());
        let config = config(seed);
        let velocity_max = usize::try_from(config.risk.velocity_per_minute_max).expect("it is small");
        let engine = start(&config, &disk, MemoryIndex::new(), &clock, &failed)?;
        let mut sim = Self {
            engine,
            disk,
            clock,
            failed,
            config,
            model: Model::with_velocity(velocity_max),
            sent: BTreeMap::new(),
            keys: Vec::new(),
            acknowledged: BTreeMap::new(),
            open: BTreeSet::new(),
            told: Lsn(0),
            inbox: Inbox::default(),
            calls: Vec::new(),
            digest: blake3::Hasher::new(),
        };
        for request in commands::beginnings() {
            sim.send_new(request, Notes::default());
        }
        Ok(sim)
    }

    async fn act(&mut self, action: Action) -> Result<(), Wrong> {
        match action {
            Action::Send(number) => {
                let (request, notes) = commands::command(number, &self.model.objects());
                self.send_new(request, notes);
            }
            Action::Again(number) => {
                // Half of them while the first may still be on its way.
                let last = self.keys.len().saturating_sub(4);
                let from = if number % 2 == 0 { last } else { 0 };
                let key = self.keys.get(from..).map(|keys| Draw::from(number).one_of_strings(keys));
                self.send(&key.unwrap_or_default(), None);
            }
            Action::Reuse(number) => {
                let key = Draw::from(number).one_of_strings(&self.keys);
                let (request, notes) = commands::command(number, &Objects::default());
                self.send(&key, Some((request, notes)));
            }
            Action::Read(number) => self.read(number),
            Action::Steps(steps) => return self.steps(steps).await,
            Action::Passivate(number) => self.engine.passivate(number),
            Action::Timers => self.fire().await,
            Action::Pass(milliseconds) => {
                self.clock.advance(Duration::from_millis(milliseconds));
                // The timers look at it several times a second.
                self.clock.tick();
            }
            Action::Jump(minutes) => {
                self.model.has_jumped = true;
                let by = Duration::from_secs(minutes.unsigned_abs() * 60);
                if minutes < 0 {
                    self.clock.set_back(by);
                } else {
                    self.clock.advance(by);
                }
                // A call that has not begun begins by this clock.
                let now = self.clock.now();
                self.sent.values_mut().for_each(|sent| sent.time = sent.time.min(now));
            }
            Action::FailSync(next) => self.disk.fail_from_sync(self.disk.syncs() + 1 + next),
            Action::FailWrite => self.disk.fail_writes(1),
            Action::FailRenames(count) => self.disk.fail_renames(count),
            Action::Fill => self.disk.set_full(true),
            Action::Free => self.disk.set_full(false),
            Action::FailIndex(step) => {
                self.engine.index_now().fail_before(usize::try_from(step).expect("it is small"));
            }
            Action::Crash(crash) => return self.crash(crash).await,
            Action::Settle => return self.settle().await,
        }
        self.steps(1).await
    }

    /// Submits what the timers ask for.
    async fn fire(&mut self) {
        for command in self.engine.due().await {
            let engine = self.engine.engine().clone();
            self.calls.push(tokio::task::spawn_local(async move {
                // What is refused is due again.
                let _ = engine.submit(command).await;
            }));
        }
    }

    fn send_new(&mut self, request: Request, notes: Notes) {
        let key = format!("k{}", self.keys.len());
        self.keys.push(key.clone());
        let is_known = self.model.knows_all_of(&request, |id| self.open.contains(id));
        let sent = Sent {
            key: key.clone(),
            request,
            others: Vec::new(),
            notes,
            after: self.told,
            time: self.clock.now(),
            is_known,
            calls: 0,
            ended: None,
        };
        self.sent.insert(key.clone(), sent);
        self.send(&key, None);
    }

    /// Sends what was sent under a key, or something else under the same one.
    fn send(&mut self, key: &str, other: Option<(Request, Notes)>) {
        let Some(sent) = self.sent.get_mut(key) else { return };
        // It may be decided now, if it was not before.
        sent.ended = None;
        sent.calls += 1;
        let (request, notes) = other.unwrap_or_else(|| (sent.request.clone(), sent.notes.clone()));
        if TALKS.get() {
            println!("     {key} {request:?}");
        }
        if request != sent.request {
            sent.others.push(request.clone());
        }
        let asked = Box::new(request.clone());
        let tx_id = TxId::parse(key).expect("a key");
        let command = Command { timeout: Some(TIMEOUT), ..Command::new(TENANT, tx_id, request, notes) };
        let (engine, inbox, key) = (self.engine.engine().clone(), Rc::clone(&self.inbox), key.to_owned());
        self.calls.push(tokio::task::spawn_local(async move {
            let answer = engine.submit(command).await;
            inbox.borrow_mut().push(Heard::Answer(key, asked, answer));
        }));
    }

    fn read(&mut self, number: u64) {
        let mut draw = Draw::from(number);
        let id = match draw.below(8) {
            0 => AccountId::parse_any(&format!("sys/fx/{}", draw.one_of(&CURRENCIES))).expect("an id"),
            _ => account(draw.one_of(&OWNERS), draw.one_of(&CURRENCIES)),
        };
        let key = draw.one_of_strings(&self.keys);
        let (engine, inbox, floor) = (self.engine.engine().clone(), Rc::clone(&self.inbox), self.told);
        let kind = draw.below(6);
        self.calls.push(tokio::task::spawn_local(async move {
            let heard = match kind {
                0..3 => {
                    let view = engine.account(TENANT, &id).await;
                    Heard::Account(id, floor, view.map(Box::new))
                }
                3 => {
                    let payment = engine.payment_by_key(TENANT, &TxId::parse(&key).expect("a key")).await;
                    Heard::Payment(key, floor, payment)
                }
                4 => {
                    let lines = lines(&engine, &id).await;
                    Heard::Lines(id, floor, lines)
                }
                _ => Heard::Payments(floor, payments(&engine).await),
            };
            inbox.borrow_mut().push(heard);
        }));
    }

    async fn steps(&mut self, steps: u64) -> Result<(), Wrong> {
        for _ in 0..steps {
            self.engine.step().await;
            self.judge()?;
        }
        Ok(())
    }

    /// Everything ends; then all that can be read is what the reference says, and the index is what the journal makes.
    async fn settle(&mut self) -> Result<(), Wrong> {
        self.disk.set_full(false);
        self.disk.fail_renames(0);
        self.disk.fail_writes(0);
        self.engine.index_now().fail_before(usize::MAX);
        self.rest().await?;
        // What is due expires, one round after another.
        for _ in 0..3 {
            self.fire().await;
            self.rest().await?;
        }
        if self.failed.load(Ordering::SeqCst) {
            return self.crash(Crash { keep: 0, index: 0, flip: None }).await;
        }
        let overdue = if self.model.has_jumped { Vec::new() } else { self.model.overdue(self.clock.now()) };
        must!(overdue.is_empty(), "the time of {overdue:?} is over, and the timers did not free them");
        let waiting = self.calls.iter().filter(|call| !call.is_finished()).count();
        must!(waiting == 0, "{waiting} calls are not answered");
        self.calls.clear();
        must!(self.engine.engine().in_flight() == 0, "commands are in flight and nobody waits for them");
        self.compare().await
    }

    async fn rest(&mut self) -> Result<(), Wrong> {
        let (mut idle, mut steps) = (0, 0);
        // Steps choose between things to do: only many idle ones in a row mean that nothing is left.
        while idle < 24 {
            idle = if self.engine.step().await { 0 } else { idle + 1 };
            self.judge()?;
            steps += 1;
            must!(steps < STEPS_MAX, "the engine does not come to rest");
            if self.failed.load(Ordering::SeqCst) {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn compare(&mut self) -> Result<(), Wrong> {
        let accounts: Vec<_> = self.model.accounts().cloned().collect();
        for id in &accounts {
            let (engine, key) = (self.engine.engine().clone(), id.clone());
            let view = self.call(async move { engine.account(TENANT, &key).await }).await?;
            let view = view.map_err(|refusal| format!("{id}: {refusal}"))?;
            self.model.check_view(id, &view, self.model.head())?;
            let pending = (view.pending_debits.minor, view.pending_credits.minor);
            must!(pending == (view.account.authorized, 0), "{id} has {pending:?} pending, and nothing is in flight");
        }
        let houses = CURRENCIES.map(|code| format!("sys/fx/{code}"));
        for id in accounts.iter().cloned().chain(houses.iter().map(|id| AccountId::parse_any(id).expect("an id"))) {
            let (engine, key) = (self.engine.engine().clone(), id.clone());
            if let (true, Ok(view)) =
                (id.is_system(), self.call(async move { engine.account(TENANT, &key).await }).await?)
            {
                self.check_house(&id, &view, self.model.head())?;
            }
            let (engine, key) = (self.engine.engine().clone(), id.clone());
            if let Ok(page) = self.call(async move { lines(&engine, &key).await }).await? {
                Model::check_list(&page.items, &self.model.lines(&id), self.model.head())?;
            }
        }
        let engine = self.engine.engine().clone();
        let page = self.call(async move { payments(&engine).await }).await?.map_err(|refusal| refusal.to_string())?;
        self.hear(Heard::Payments(self.model.head(), Ok(page)))?;
        let rates = self.engine.engine().rates();
        let rows = rates.rows().map(|row| {
            let (base, quote) = (row.base.to_string(), row.quote.to_string());
            let key = if base < quote { (base, quote) } else { (quote, base) };
            (key, row.mid.to_string().parse::<f64>().expect("a number"))
        });
        let rates: BTreeMap<_, _> = rows.collect();
        must!(rates == self.model.books.now(), "the rates are {rates:?}, and should be {:?}", self.model.books.now());
        let index = self.engine.index_now();
        let rebuilt = disk::rebuild(&self.disk, &self.clock, self.config.clone())?;
        must!(index.equals(&rebuilt), "the index is not what the journal makes of it");
        Ok(())
    }

    /// Waits for an answer while nothing else goes on.
    async fn call<T: 'static>(&mut self, call: impl Future<Output = T> + 'static) -> Result<T, Wrong> {
        let task = tokio::task::spawn_local(call);
        for _ in 0..STEPS_MAX {
            if task.is_finished() {
                return task.await.map_err(|error| error.to_string());
            }
            self.engine.step().await;
        }
        Err("a call is not answered".into())
    }

    /// The machine stops here and now, and starts again.
    async fn crash(&mut self, crash: Crash) -> Result<(), Wrong> {
        self.judge()?;
        self.calls.drain(..).for_each(|call| call.abort());
        // What was on its way to a client is lost.
        self.inbox = Inbox::default();
        let clock = self.clock.clone();
        let disk = self.disk.crash(|_, page| match crash.keep {
            0 => false,
            1 => true,
            salt => clock.random(page ^ salt ^ 0x5eed).is_multiple_of(2),
        });
        let index = self.engine.index_now().crash();
        let index = match crash.index {
            0 => MemoryIndex::new(),
            1..=7 => {
                index.lose(usize::try_from(crash.index).expect("it is small") % STEPS);
                index
            }
            _ => index,
        };
        let covered = index.covers();
        if let Some(number) = crash.flip {
            self.start_flipped(&disk, &index, number, covered)?;
        }
        self.restart(disk, index).await
    }

    /// With a byte changed in what is durable for sure, the engine refuses to start or has lost nothing.
    fn start_flipped(
        &mut self,
        disk: &MemoryDisk,
        index: &MemoryIndex,
        number: u64,
        covered: Lsn,
    ) -> Result<(), Wrong> {
        let flipped = disk.copy();
        if !disk::flip(&flipped, number, covered) {
            return Ok(());
        }
        let failed = Arc::default();
        let Ok(engine) = start(&self.config, &flipped, index.crash(), &self.clock, &failed) else { return Ok(()) };
        for committed in &self.model.entries {
            let read = engine.committed(committed.lsn);
            // An index that covers an entry answers for it until somebody reads it.
            let is_same = read.as_ref().is_none_or(|read| read.entry == committed.entry);
            must!(is_same, "lsn {} is another after a byte changed", committed.lsn);
        }
        let reached = engine.engine().progress().0;
        must!(reached >= self.model.head(), "a byte changed, and the journal ends at lsn {reached}");
        Ok(())
    }

    async fn restart(&mut self, disk: MemoryDisk, index: MemoryIndex) -> Result<(), Wrong> {
        self.failed = Arc::default();
        self.engine = start(&self.config, &disk, index, &self.clock, &self.failed)?;
        self.disk = disk;
        let reached = self.engine.engine().progress().0;
        must!(reached >= self.model.head(), "the journal ends at lsn {reached}, {} was durable", self.model.head());
        for committed in &self.model.entries {
            let read = self.engine.committed(committed.lsn);
            must!(
                read.as_ref().is_some_and(|read| read.entry == committed.entry && read.at == committed.at),
                "lsn {} is another after a restart",
                committed.lsn
            );
        }
        self.judge()?;
        self.open.extend(self.model.accounts().cloned());
        // Clients ask what became of what they sent.
        let head = self.model.head();
        for sent in self.sent.values_mut() {
            (sent.calls, sent.ended) = (0, sent.ended.or(Some(head)));
        }
        let unknown = self.keys.iter().rev().take(6).cloned().collect::<Vec<_>>();
        unknown.iter().for_each(|key| self.send(key, None));
        self.steps(1).await
    }
}

fn start(
    config: &EngineConfig,
    disk: &MemoryDisk,
    index: MemoryIndex,
    clock: &Clock,
    failed: &Arc<AtomicBool>,
) -> Result<Deterministic, Wrong> {
    let flag = Arc::clone(failed);
    let on_fatal = Arc::new(move |_: &str| flag.store(true, Ordering::SeqCst));
    Deterministic::start(disk, index, config.clone(), clock.clone(), on_fatal)
        .map_err(|error| format!("no start: {error}"))
}

async fn lines(engine: &arus_engine::Engine, id: &AccountId) -> Result<Page<(Lsn, i128)>, Refusal> {
    let show = |row: &arus_engine::index::HistoryRow, _: &Committed| {
        row.moved.as_ref().map(|moved| ((row.lsn, moved.balance_minor), 1))
    };
    engine.entries(TENANT, id, whole(), show).await
}

async fn payments(engine: &arus_engine::Engine) -> Result<Page<(Lsn, ())>, Refusal> {
    let show = |committed: &Committed| {
        let life = committed.entry.payment()?.life.as_ref();
        let before = life.and_then(|life| life.before.as_ref());
        Some(((before.map_or(committed.lsn, |before| before.origin.lsn), ()), 1))
    };
    engine.payments(TENANT, PaymentsOf::All, ALL_TIME, whole(), show).await
}

fn whole() -> Window {
    Window { below: Position::NEWEST, rows_max: 1_000, bytes_max: usize::MAX }
}
