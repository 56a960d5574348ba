//! Why an entry may be declined.

use arus_engine::{
    ledger::{commands::Request, entry::Entry, failure::FailureCode, settings::AccountStatus},
    money::{AccountId, Lsn, Money},
};

use super::{Model, Sent, Wrong, must};

impl Model {
    /// A decline needs a reason in what was, or in what was in flight at the same time.
    pub(super) fn check_decline(
        &self,
        entry: &Entry,
        code: FailureCode,
        after: Lsn,
        others: &[&Sent],
    ) -> Result<(), Wrong> {
        let is_step =
            matches!(entry.request, Request::CapturePayment(_) | Request::VoidPayment(_) | Request::RefundPayment(_));
        if is_step {
            self.check_declined_step(entry, code)?;
        }
        match code {
            FailureCode::InsufficientFunds => self.check_funds(entry, after, others),
            FailureCode::ReservationNotActive => {
                let (Request::Capture(_) | Request::Release(_)) = &entry.request else { return Ok(()) };
                let id = entry.decision.reservation().ok_or("no reservation")?.id;
                must!(self.active(id).is_err(), "reservation {id} is active");
                Ok(())
            }
            FailureCode::TransferNotHeld => {
                let id = entry.decision.transfer().ok_or("no transfer")?.id;
                must!(!self.transfer(id)?.is_held(), "transfer {id} is held");
                Ok(())
            }
            FailureCode::OperationAlreadyReversed | FailureCode::OperationNotReversible => {
                let Request::ReverseOperation(reverse) = &entry.request else {
                    return Err("it reverses nothing".into());
                };
                let id = reverse.operation;
                must!(!self.is_reversible(id), "operation {id} can be reversed");
                let was = self.is_reversed(id);
                must!(
                    was == (code == FailureCode::OperationAlreadyReversed),
                    "operation {id} was reversed before: {was}"
                );
                Ok(())
            }
            FailureCode::OverdraftAndMinimum => {
                let Request::UpdateAccount(update) = &entry.request else { return Err("this is no change".into()) };
                let goes_below = self.since(&update.account, after).any(|state| state.overdraft > 0);
                must!(goes_below && update.change.minimum_balance.is_some(), "one of both is zero");
                Ok(())
            }
            FailureCode::AmountExceedsReservation => {
                let Request::Capture(capture) = &entry.request else { return Err("this is no capture".into()) };
                let left = self.active(capture.reservation)?.remaining;
                must!(capture.amount.is_some_and(|amount| amount.minor > left), "{left} is left, which is enough");
                Ok(())
            }
            FailureCode::DailyLimitExceeded => {
                let limited = self.accounts.keys().any(|id| self.since(id, after).any(|state| state.limit.is_some()));
                must!(limited, "nobody has a daily limit");
                Ok(())
            }
            FailureCode::AccountFrozen => {
                let frozen = self
                    .accounts
                    .keys()
                    .any(|id| self.since(id, after).any(|state| state.status == AccountStatus::Frozen));
                let freezing = others
                    .iter()
                    .flat_map(|other| other.bodies())
                    .any(|body| matches!(body, Request::UpdateAccount(_)));
                must!(frozen || freezing, "nobody is frozen");
                Ok(())
            }
            FailureCode::AccountClosed => {
                let mut states = self.accounts.keys().flat_map(|id| self.since(id, after));
                let closed = states.any(|state| state.status == AccountStatus::Closed);
                let mut rivals = others.iter().flat_map(|other| other.bodies());
                let changing = rivals.any(|body| matches!(body, Request::UpdateAccount(_) | Request::OpenAccount(_)));
                must!(closed || changing, "nobody is closed");
                Ok(())
            }
            FailureCode::FxRateStale => {
                must!(self.has_jumped, "no rate is old and the clock did not jump");
                Ok(())
            }
            FailureCode::FxRateUnavailable => {
                must!(self.books.has_gap_since(after), "all rates are there");
                Ok(())
            }
            FailureCode::RefundDestinationClosed => {
                let Request::RefundPayment(refund) = &entry.request else { return Err("this is no refund".into()) };
                let payer = &self.paid(refund.payment)?.payer;
                let closed = self.since(payer, after).any(|state| state.status == AccountStatus::Closed);
                must!(closed, "{payer} is open");
                Ok(())
            }
            FailureCode::AccountExists => {
                let Request::OpenAccount(open) = &entry.request else { return Err("this is no opening".into()) };
                let exists = open.account.as_ref().is_some_and(|id| self.accounts.contains_key(id));
                must!(exists, "there is no such account");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn check_funds(&self, entry: &Entry, after: Lsn, others: &[&Sent]) -> Result<(), Wrong> {
        let (amount, accounts): (Money, Vec<AccountId>) = match &entry.request {
            Request::Withdraw(withdraw) => (withdraw.0.amount, vec![withdraw.0.account.clone()]),
            Request::Reserve(reserve) => (reserve.amount, vec![reserve.account.clone()]),
            Request::CreatePayment(request) => {
                let tried = entry.payment().map_or(&[][..], |payment| &payment.tried);
                let tried = tried.iter().filter(|tried| tried.code == FailureCode::InsufficientFunds);
                (request.amount, tried.map(|tried| tried.account.clone()).collect())
            }
            _ => return Ok(()),
        };
        let code = amount.currency.to_string();
        for id in accounts.iter().filter(|id| id.to_string().ends_with(&code)) {
            let Some((_, state)) = self.state(id, self.head()) else { continue };
            let mut competing = 0;
            for body in others.iter().flat_map(|other| other.bodies()) {
                match body {
                    Request::CreatePayment(request) if request.customer == state.owner => {
                        // What a conversion would hold is not known here.
                        if request.amount.currency != amount.currency {
                            return Ok(());
                        }
                        competing += request.amount.minor;
                    }
                    Request::Withdraw(withdraw) if withdraw.0.account == *id => competing += withdraw.0.amount.minor,
                    Request::Reserve(reserve) if reserve.account == *id => competing += reserve.amount.minor,
                    Request::CreateTransfer(create) if create.legs.iter().any(|leg| leg.from == *id) => return Ok(()),
                    Request::ReverseOperation(_) => return Ok(()),
                    // Nor what a refund would take back.
                    Request::RefundPayment(refund) if self.paid(refund.payment).is_ok_and(|paid| paid.has(id)) => {
                        return Ok(());
                    }
                    _ => {}
                }
            }
            let least =
                self.since(id, after).map(|state| state.balance - state.aside + state.overdraft - state.minimum).min();
            let least = least.unwrap_or_default() - competing;
            must!(least < amount.minor, "{id} had {least} at least, {amount} was declined for lack of funds");
        }
        Ok(())
    }
}
