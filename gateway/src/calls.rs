//! The calls of one HTTP/2 connection run in the connection's own task: no task and no wake-up across threads for each,
//! and what they answer is written together.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use hyper::rt::Executor;

/// A call, until it is answered.
type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Calls that hyper has begun and nobody polled yet. Clones share them. The connection's limit on streams bounds them.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Vec<Call>>>);

impl Calls {
    fn begun(&self) -> MutexGuard<'_, Vec<Call>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Polls a connection and its calls until none of them can go on; says how the connection ended, if it did.
    pub(crate) fn poll_all<T>(
        &self,
        mut connection: Pin<&mut impl Future<Output = T>>,
        under_way: &mut FuturesUnordered<Call>,
        context: &mut Context<'_>,
    ) -> Poll<T> {
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                return Poll::Ready(ended);
            }
            let begun = mem::take(&mut *self.begun());
            let mut goes_on = !begun.is_empty();
            under_way.extend(begun);
            while let Poll::Ready(Some(())) = under_way.poll_next_unpin(context) {
                goes_on = true;
            }
            if !goes_on {
                return Poll::Pending;
            }
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Calls {
    fn execute(&self, call: F) {
        self.begun().push(Box::pin(call));
    }
}
