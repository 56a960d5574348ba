//! How many payments of a customer the risk rules let through in a minute.

use std::time::Duration;

use arus_engine::{
    ledger::{commands::Request, entry::Committed, failure::FailureCode, time::Timestamp},
    money::{Lsn, OwnerId},
};

use super::{Model, Sent, Wrong, must};

/// What counts for sure, and what may count at most: the rule's minute is cut into slots, and begins when a payment is
/// judged, not when it is durable.
const SURELY: Duration = Duration::from_secs(40);
const AT_MOST: Duration = Duration::from_secs(80);

impl Model {
    /// A payment was judged by what was let through before it, also across restarts.
    pub(super) fn check_velocity(&self, committed: &Committed, sent: &Sent, others: &[&Sent]) -> Result<(), Wrong> {
        let Request::CreatePayment(request) = &committed.entry.request else { return Ok(()) };
        let is_rejected = committed.entry.failure().is_some_and(|failure| failure.code == FailureCode::RiskRejected);
        let surely = self.let_through(&request.customer, sent.after, |sent_at, _| sent_at >= self.latest.minus(SURELY));
        must!(is_rejected || surely < self.velocity_max, "{surely} had been let through in a minute, and one more was");
        let is_rival = |other: &&&Sent| {
            other
                .bodies()
                .any(|body| matches!(body, Request::CreatePayment(rival) if rival.customer == request.customer))
        };
        let at_most = self.let_through(&request.customer, self.head(), |_, at| at >= sent.time.minus(AT_MOST))
            + others.iter().filter(is_rival).count();
        must!(!is_rejected || at_most >= self.velocity_max, "{at_most} were let through in a minute, and one was not");
        Ok(())
    }

    /// A customer's captured payments up to an entry: those of which the time of sending and that of the block count.
    fn let_through(&self, customer: &OwnerId, upto: Lsn, counts: impl Fn(Timestamp, Timestamp) -> bool) -> usize {
        let known = self.entries.iter().zip(&self.sent_at).take_while(|(committed, _)| committed.lsn <= upto);
        let captured = known.filter(|(committed, sent_at)| {
            let request = &committed.entry.request;
            let is_theirs = matches!(request, Request::CreatePayment(request) if request.customer == *customer);
            is_theirs && committed.entry.failure().is_none() && counts(**sent_at, committed.at)
        });
        captured.count()
    }
}
