//! One run over the payments of a plan: which come next, and what is noted of each.

use std::{
    borrow::Cow,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arus_proto::payments::v1::BatchOutcome;

use crate::{
    clients::Payments,
    ends::ANSWERED,
    oracle::Oracle,
    progress::Bar,
    record::Recorder,
    workload::{Plan, Planned},
};

/// One run over the payments of a plan, and who hears what came of them.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) plan: Arc<Plan>,
    pub(crate) oracle: Option<Arc<Oracle>>,
    /// What is measured.
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) bar: Bar,
    /// The number of the first payment.
    pub(crate) first: u64,
    next: Arc<AtomicU64>,
    end: u64,
}

impl Run {
    /// Nothing is sent yet. Without an oracle nobody checks: for the ceiling, whose answers mean nothing.
    pub(crate) fn new(plan: &Plan, payments: Range<u64>, oracle: Option<Arc<Oracle>>) -> Self {
        Self {
            plan: Arc::new(plan.clone()),
            oracle,
            recorder: Arc::new(Recorder::start()),
            bar: Bar::new("payments", payments.end.saturating_sub(payments.start)),
            first: payments.start,
            next: Arc::new(AtomicU64::new(payments.start)),
            end: payments.end,
        }
    }

    /// The next payments to send; `None` once all are, or once nothing comes from the server any more.
    pub(crate) fn take(&self, count: u64) -> Option<Range<u64>> {
        if self.recorder.is_silent() {
            return None;
        }
        let from = self.next.fetch_add(count, Ordering::Relaxed);
        (from < self.end).then(|| from..(from + count).min(self.end))
    }

    /// A payment for the wire, on its way from now on.
    pub(crate) fn request(&self, planned: &Planned) -> arus_proto::payments::v1::CreatePaymentRequest {
        if let Some(oracle) = &self.oracle {
            oracle.sent(planned);
        }
        self.plan.request(planned)
    }

    /// How a payment that was sent as the `index`th of many ended.
    pub(crate) fn ended(&self, planned: &Planned, index: u32, outcome: &BatchOutcome) -> Cow<'static, str> {
        self.oracle.as_ref().map_or(ANSWERED.into(), |oracle| oracle.outcome(planned, index, outcome))
    }

    /// Notes how payments ended, now.
    pub(crate) fn note(&self, end: &str, latency: Duration, count: u64) {
        self.recorder.note(end, latency, count);
        self.bar.add(count);
    }
}

/// How a range of payments is sent.
pub(crate) trait Call: Clone + Send + Sync + 'static {
    /// How many payments one call sends.
    fn size(&self) -> u64;
    /// Sends them and notes what came of each; latency counts from `begun`.
    fn make(
        &self,
        run: &Run,
        client: &mut Payments,
        range: Range<u64>,
        begun: Instant,
    ) -> impl Future<Output = ()> + Send;
}
