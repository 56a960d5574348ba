//! What happens in a run, as data: made from a seed, so that one seed is one run, and shrunk when a run fails.

use serde::{Deserialize, Serialize};

/// One thing that happens. Numbers are draws: what exactly is sent, read or hit follows from them and from what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// A client sends a new command.
    Send(u64),
    /// A client sends an earlier command again, answered or not.
    Again(u64),
    /// A client sends another command under an earlier key.
    Reuse(u64),
    /// A client reads something.
    Read(u64),
    /// The engine does so many things: messages, jobs, commits, index runs.
    Steps(u64),
    /// Idle accounts and owners leave memory.
    Passivate(u64),
    /// The timers look.
    Timers,
    /// So many milliseconds pass.
    Pass(u64),
    /// The clock jumps by so many minutes.
    Jump(i64),
    /// Syncs fail from the so many next on.
    FailSync(u64),
    /// The next write fails half-way.
    FailWrite,
    /// The next renames fail.
    FailRenames(u64),
    /// No file can be made any more.
    Fill,
    /// Files can be made again.
    Free,
    /// Index runs fail before this step, until the next of these.
    FailIndex(u64),
    /// The machine stops and starts again.
    Crash(Crash),
    /// Everything in flight ends, and everything is compared.
    Settle,
}

/// How a machine stops, and what somebody did to its disk before it starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crash {
    /// Which pages of the unsynced block reach the disk: none, all, or those that the number picks.
    pub keep: u64,
    /// What is left of the index: all of it, all but one table, or nothing.
    pub index: u64,
    /// A byte that changes, if one does.
    pub flip: Option<u64>,
}

/// Draws numbers from one.
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// Draws from a seed.
    pub fn from(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (SplitMix64).
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `sides`.
    pub fn below(&mut self, sides: u64) -> u64 {
        self.number() % sides.max(1)
    }

    /// One of some texts, or an empty one.
    pub fn one_of_strings(&mut self, texts: &[String]) -> String {
        let n = usize::try_from(self.below(texts.len() as u64)).expect("it is small");
        texts.get(n).cloned().unwrap_or_default()
    }

    /// One of some things.
    pub fn one_of<T: Copy>(&mut self, things: &[T]) -> T {
        things[usize::try_from(self.below(things.len() as u64)).expect("it is small")]
    }
}

/// The run of a seed.
pub fn script(seed: u64) -> Vec<Action> {
    let mut draw = Draw::from(seed);
    let length = 60 + draw.below(60);
    // Each run is of its own kind: some see no fault at all, some many commands between two steps.
    let (faults, steps_max) = (draw.below(4), draw.one_of(&[2, 8, 30, 60]));
    let mut actions = Vec::new();
    for _ in 0..length {
        actions.push(action(&mut draw, faults));
        if draw.below(2) == 0 {
            actions.push(Action::Steps(1 + draw.below(steps_max)));
        }
    }
    actions.push(Action::Settle);
    actions
}

fn action(draw: &mut Draw, faults: u64) -> Action {
    let number = draw.number();
    match draw.below(100) {
        0..50 => Action::Send(number),
        50..58 => Action::Again(number),
        58..60 => Action::Reuse(number),
        60..70 => Action::Read(number),
        70..76 => Action::Passivate(number),
        76..82 => Action::Timers,
        82..89 => Action::Pass(number % 250_000),
        89..91 => Action::Settle,
        91..93 => Action::FailIndex(number % 12),
        93.. if faults == 0 => Action::Steps(20),
        93 => Action::Jump(i64::try_from(number % 240).expect("it is small") - 120),
        94 => Action::FailSync(number % 3),
        95 if number.is_multiple_of(2) => Action::FailWrite,
        95 => Action::FailRenames(1 + number % 3),
        96 if number.is_multiple_of(2) => Action::Fill,
        96 => Action::Free,
        _ => Action::Crash(Crash {
            keep: draw.below(6),
            index: draw.below(16),
            flip: (draw.below(3) == 0).then(|| draw.number()),
        }),
    }
}
