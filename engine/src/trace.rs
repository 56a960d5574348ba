//! The times of one command on its way: for each message its wait and its handling, for the journal its queue and its
//! sync.
//!
//! Only commands that somebody traces carry one. It travels along by itself: what an actor sends while it handles a
//! traced message is traced as well. The gateway turns the steps into spans; nothing here knows that format.

use std::{
    cell::RefCell,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Steps beyond these are left out: a command has about twenty.
const STEPS_MAX: usize = 128;

/// What a step was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It waited in a queue.
    Wait,
    /// It was worked on.
    Work,
}

/// One step; times count from the beginning of the trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where: a kind of actor, or a part of the engine.
    pub place: &'static str,
    /// What was done there.
    pub what: &'static str,
    /// Waiting or working.
    pub kind: Kind,
    /// Since the trace began.
    pub from: Duration,
    /// Since the trace began.
    pub to: Duration,
}

/// The block a traced command was committed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommittedIn {
    /// Its first position.
    pub first_lsn: u64,
    /// How many entries it holds.
    pub entries: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Trace {
    began: Instant,
    noted: Mutex<Noted>,
}

#[derive(Debug)]
struct Noted {
    steps: Vec<Step>,
    /// Up to when the command's own legs are known.
    mark: Instant,
    block: Option<CommittedIn>,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Trace>>> = const { RefCell::new(None) };
}

/// While this lives, what this thread sends belongs to the trace.
pub struct Entered(Option<Arc<Trace>>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

impl Trace {
    /// Begins one now.
    pub fn begin() -> Arc<Self> {
        let began = Instant::now();
        let noted = Noted { steps: Vec::with_capacity(32), mark: began, block: None };
        Arc::new(Self { began, noted: Mutex::new(noted) })
    }

    /// The trace that what this thread does now belongs to.
    pub fn current() -> Option<Arc<Self>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// What this thread sends belongs to `trace` until the guard goes.
    pub fn enter(trace: &Arc<Self>) -> Entered {
        Self::enter_only(Some(trace))
    }

    /// What this thread sends belongs to `trace`, or to none, until the guard goes: for work that somebody else's end
    /// begins.
    pub fn enter_only(trace: Option<&Arc<Self>>) -> Entered {
        Entered(CURRENT.replace(trace.cloned()))
    }

    /// Everything noted so far, in the order it ended.
    pub fn steps(&self) -> Vec<Step> {
        self.noted().steps.clone()
    }

    /// The block the command was committed with, if it was.
    pub fn block(&self) -> Option<CommittedIn> {
        self.noted().block
    }

    /// One message: sent, taken up, done.
    pub(crate) fn message(&self, place: &'static str, what: &'static str, times: [Instant; 3]) {
        let [sent, taken, done] = times;
        let mut noted = self.noted();
        noted.add(self.began, (place, what, Kind::Wait), sent, taken);
        noted.add(self.began, (place, what, Kind::Work), taken, done);
    }

    /// The command's next leg: from the end of the last one until `at`.
    pub(crate) fn leg(&self, place: &'static str, what: &'static str, kind: Kind, at: Instant) {
        let mut noted = self.noted();
        let from = std::mem::replace(&mut noted.mark, at);
        noted.add(self.began, (place, what, kind), from, at);
    }

    /// The next leg begins now.
    pub(crate) fn mark(&self) {
        self.noted().mark = Instant::now();
    }

    /// It is durable.
    pub(crate) fn committed(&self, block: CommittedIn) {
        self.noted().block = Some(block);
    }

    fn noted(&self) -> std::sync::MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Noted {
    fn add(&mut self, began: Instant, step: (&'static str, &'static str, Kind), from: Instant, to: Instant) {
        if self.steps.len() < STEPS_MAX {
            let (place, what, kind) = step;
            let since = |at: Instant| at.saturating_duration_since(began);
            self.steps.push(Step { place, what, kind, from: since(from), to: since(to) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_belongs_to_the_innermost_trace_and_only_while_it_is_entered() {
        let (outer, inner) = (Trace::begin(), Trace::begin());
        let is_current = |trace: &Arc<Trace>| Trace::current().is_some_and(|current| Arc::ptr_eq(&current, trace));
        let entered = Trace::enter(&outer);
        {
            let _entered = Trace::enter(&inner);
            assert!(is_current(&inner));
        }
        assert!(is_current(&outer));
        {
            let _entered = Trace::enter_only(None);
            assert!(Trace::current().is_none());
        }
        assert!(is_current(&outer));
        drop(entered);
        assert!(Trace::current().is_none());
    }

    #[test]
    fn legs_follow_each_other_and_are_bounded() {
        let trace = Trace::begin();
        for n in 1..=2 * STEPS_MAX as u64 {
            trace.leg("journal", "queue", Kind::Wait, trace.began + Duration::from_micros(n));
        }
        let steps = trace.steps();
        assert_eq!(steps.len(), STEPS_MAX);
        assert!(steps.windows(2).all(|two| two[0].to == two[1].from));
    }
}
