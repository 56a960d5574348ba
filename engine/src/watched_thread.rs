//! Threads that must not end by themselves, and panics that must not pass unseen (P11).

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use crate::fatal::OnFatal;

/// Installs the one panic hook: log, then abort, so that no engine goes on without one of its actors. The log alone is
/// told, and `flush` waits for it within bounds: nothing that fails to write may keep the process from its end.
pub fn abort_on_panic(flush: fn()) {
    std::panic::set_hook(Box::new(move |info| {
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(backtrace));
        tracing::error!(panic = %info, backtrace, "a thread panicked; the process stops and will recover from its journal");
        flush();
        std::process::abort();
    }));
}

/// Starts a thread that may only end once `stopping` is set.
pub(crate) fn spawn(
    name: &'static str,
    stopping: &Arc<AtomicBool>,
    on_fatal: &OnFatal,
    body: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let guard = Guard::new(name, stopping, on_fatal);
    std::thread::Builder::new().name(name.into()).spawn(move || {
        let _guard = guard;
        body();
    })
}

/// What a thread holds as long as it runs: dropped before `stopping` is set, it ends the process.
pub(crate) struct Guard {
    name: &'static str,
    stopping: Arc<AtomicBool>,
    on_fatal: OnFatal,
}

impl Guard {
    /// Of the thread called `name`.
    pub(crate) fn new(name: &'static str, stopping: &Arc<AtomicBool>, on_fatal: &OnFatal) -> Self {
        Self { name, stopping: Arc::clone(stopping), on_fatal: Arc::clone(on_fatal) }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.stopping.load(Ordering::SeqCst) {
            (self.on_fatal)(&format!("thread {} ended though nobody asked it to", self.name));
        }
    }
}
