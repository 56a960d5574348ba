//! A small bounded pool for everything that may block on a disk: loads, lists, replays. Never an arbiter (P6).

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::AtomicBool,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use crate::{fatal::OnFatal, watched_thread};

/// Work for the pool.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Threads behind a bounded queue, or, in the deterministic wiring, jobs that wait until they are run by hand.
#[derive(Clone)]
pub(crate) enum Pool {
    /// A queue that the pool's threads take from.
    Threads(SyncSender<Job>),
    /// Run one by one by whoever steps the engine.
    ByHand(Arc<Mutex<VecDeque<Job>>>),
}

impl Pool {
    /// Starts `threads` threads behind a queue of `queue_max` jobs. They end when the last clone is dropped.
    pub(crate) fn start(
        name: &'static str,
        (threads, queue_max): (usize, usize),
        (stopping, on_fatal): (&Arc<AtomicBool>, &OnFatal),
    ) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel::<Job>(queue_max);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..threads {
            let receiver = Arc::clone(&receiver);
            watched_thread::spawn(name, stopping, on_fatal, move || work(&receiver))?;
        }
        Ok(Self::Threads(sender))
    }

    /// Queues a job; `false` if the queue is full.
    pub(crate) fn submit(&self, job: Job) -> bool {
        match self {
            Self::Threads(queue) => queue.try_send(job).is_ok(),
            Self::ByHand(jobs) => {
                jobs.lock().unwrap_or_else(PoisonError::into_inner).push_back(job);
                true
            }
        }
    }
}

fn work(receiver: &Mutex<Receiver<Job>>) {
    loop {
        let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}
