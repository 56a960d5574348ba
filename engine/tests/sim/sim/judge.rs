//! What a run makes of entries as they are committed, and of what clients hear.

use arus_engine::{
    Refusal, Reply,
    ledger::{
        commands::Request,
        entry::{Committed, Entry},
        wallet::AccountView,
    },
    money::{AccountId, Lsn},
};

use super::{Heard, Sim, TALKS, TIMEOUT};
use crate::{
    model::{Model, Sent, Wrong, must},
    support,
};

impl Sim {
    /// Judges all that is new: entries first, then what clients heard.
    pub(super) fn judge(&mut self) -> Result<(), Wrong> {
        self.model.latest = self.model.latest.max(self.clock.now());
        if let Some(panic) = support::panicked() {
            return Err(panic);
        }
        while self.engine.engine().progress().0 > self.model.head() {
            let lsn = Lsn(self.model.head().0 + 1);
            let committed = self.engine.committed(lsn).ok_or(format!("lsn {lsn} is committed and cannot be read"))?;
            self.take(&committed)?;
        }
        let heard = std::mem::take(&mut *self.inbox.borrow_mut());
        heard.into_iter().try_for_each(|heard| self.hear(heard))
    }

    fn take(&mut self, committed: &Committed) -> Result<(), Wrong> {
        let key = committed.entry.tx_id.to_string();
        let sent = self.sent.get(&key);
        let after = sent.map_or(Lsn(0), |sent| sent.after);
        let is_other = |other: &&Sent| other.key != key && other.ended.is_none_or(|ended| ended >= after);
        let others: Vec<_> = self.sent.values().filter(is_other).collect();
        if TALKS.get() {
            let decision = &committed.entry.decision;
            let failure = decision.failure.as_ref().map(|failure| &failure.message);
            println!("     {key} is lsn {}: {failure:?} {:?}", committed.lsn, decision.postings);
        }
        self.model.take(committed, sent, &others)?;
        self.digest.update(format!("{}{:?}", committed.lsn, committed.entry).as_bytes());
        if let Some(sent) = self.sent.get_mut(&key) {
            sent.ended = Some(committed.lsn);
        }
        Ok(())
    }

    pub(super) fn hear(&mut self, heard: Heard) -> Result<(), Wrong> {
        match heard {
            Heard::Answer(key, asked, answer) => {
                self.digest.update(format!("{key}{answer:?}").as_bytes());
                let head = self.model.head();
                if let Some(sent) = self.sent.get_mut(&key) {
                    sent.calls = sent.calls.saturating_sub(1);
                    // One call may hear of an overload while another is still at work.
                    sent.ended = sent.ended.or((sent.calls == 0).then_some(head));
                }
                self.check_answer(&key, &asked, answer)
            }
            Heard::Account(id, floor, Ok(view)) if !id.is_system() => self.model.check_view(&id, &view, floor),
            Heard::Account(id, floor, Ok(view)) => self.check_house(&id, &view, floor),
            Heard::Payment(key, floor, Ok(payment)) => {
                let made = self.model.under(&key).and_then(|made| made.entry.payment());
                let made = made.ok_or(format!("a payment under {key} was read, there is none"))?;
                let is_about = |entry: &Entry| entry.payment().is_some_and(|payment| payment.id == made.id);
                let known = self.model.entry(payment.lsn).filter(|known| is_about(&known.entry));
                must!(known.is_some_and(|known| known.entry == payment.entry), "{key} was read as another payment");
                let newest = self.model.entries.iter().rfind(|known| known.lsn <= floor && is_about(&known.entry));
                let newest = newest.map_or(Lsn(0), |known| known.lsn);
                must!(
                    newest <= payment.lsn,
                    "{key} was read as of {}, lsn {newest} had been acknowledged",
                    payment.lsn
                );
                self.told = self.told.max(payment.lsn);
                Ok(())
            }
            Heard::Payment(key, floor, Err(Refusal::NotFound { .. })) => {
                let is_made = |entry: &Entry| matches!(entry.request, Request::CreatePayment(_));
                let known = self.model.under(&key).filter(|known| is_made(&known.entry));
                must!(known.is_none_or(|known| known.lsn > floor), "the payment under {key} was not found");
                Ok(())
            }
            Heard::Lines(id, floor, Ok(page)) => Model::check_list(&page.items, &self.model.lines(&id), floor),
            Heard::Account(id, floor, Err(Refusal::NotFound { .. }))
            | Heard::Lines(id, floor, Err(Refusal::NotFound { .. })) => self.model.check_absent(&id, floor),
            Heard::Payments(floor, Ok(page)) => {
                let is_made = |committed: &&Committed| matches!(committed.entry.request, Request::CreatePayment(_));
                let entries = self.model.entries.iter().filter(is_made);
                let all: Vec<_> = entries.map(|committed| (committed.lsn, ())).collect();
                Model::check_list(&page.items, &all, floor)
            }
            Heard::Account(_, _, Err(refusal))
            | Heard::Payment(_, _, Err(refusal))
            | Heard::Lines(_, _, Err(refusal))
            | Heard::Payments(_, Err(refusal)) => self.check_refusal("a read", &refusal),
        }
    }

    fn check_answer(&mut self, key: &str, asked: &Request, answer: Result<Reply, Refusal>) -> Result<(), Wrong> {
        match answer {
            Ok(reply) => {
                let committed = reply.committed;
                let known = self.model.under(key).ok_or(format!("{key} was answered, and nothing is committed"))?;
                let is_known = known.lsn == committed.lsn && known.entry == committed.entry;
                must!(is_known, "{key} was answered with lsn {}, its entry is at {}", committed.lsn, known.lsn);
                must!(is_same_body(asked, &known.entry.request), "{key} was answered, and stands for another body");
                let first = self.acknowledged.entry(key.to_owned()).or_insert(committed.lsn);
                must!(*first == committed.lsn, "{key} was answered with lsn {first} and now with {}", committed.lsn);
                self.told = self.told.max(committed.lsn);
                let opened = committed.entry.decision.changed_account();
                self.open.extend(opened.map(|(account, _)| account.id.clone()));
                Ok(())
            }
            Err(Refusal::KeyReused { field }) => {
                let known = self.model.under(key).ok_or(format!("{key} is reused, and nothing is committed"))?;
                must!(known.entry.request != *asked, "{key} was refused as reused with another {field}");
                Ok(())
            }
            Err(refusal @ (Refusal::NotFound { .. } | Refusal::Invalid(_))) => {
                let names_splits = matches!(asked, Request::RefundPayment(refund) if !refund.splits.is_empty());
                must!(!matches!(refusal, Refusal::Invalid(_)) || names_splits, "{key}: {refusal}");
                let sent = &self.sent[key];
                must!(!sent.is_known || *asked != sent.request, "{key} names nothing that is not there: {refusal}");
                Ok(())
            }
            Err(Refusal::DeadlineExceeded) => {
                let waited = self.model.latest.since(self.sent[key].time);
                must!(waited >= TIMEOUT, "{key} was given up after {waited:?}");
                Ok(())
            }
            Err(refusal) => {
                must!(!self.acknowledged.contains_key(key) || is_passing(&refusal), "{key} is known: {refusal}");
                self.check_refusal(key, &refusal)
            }
        }
    }

    fn check_refusal(&self, what: &str, refusal: &Refusal) -> Result<(), Wrong> {
        match refusal {
            Refusal::Internal(why) => Err(format!("{what}: internal error: {why}")),
            Refusal::Invalid(_) => Err(format!("{what}: {refusal}")),
            Refusal::NotFound { .. }
            | Refusal::KeyReused { .. }
            | Refusal::Overloaded { .. }
            | Refusal::Unavailable { .. }
            | Refusal::DeadlineExceeded => Ok(()),
        }
    }

    /// The desk's accounts have no owner and no limits; only their balance counts.
    pub(super) fn check_house(&self, id: &AccountId, view: &AccountView, floor: Lsn) -> Result<(), Wrong> {
        let lines = self.model.lines(id);
        let least = lines.iter().rev().find(|(lsn, _)| *lsn <= floor).map_or(Lsn(0), |(lsn, _)| *lsn);
        let as_of = view.account.applied_lsn;
        must!(as_of >= least, "{id} was read as of lsn {as_of}, lsn {least} had been acknowledged before");
        let read = view.account.balance().minor;
        let as_of = lines.iter().rev().find(|(lsn, _)| *lsn <= view.account.applied_lsn).map_or(0, |(_, b)| *b);
        must!(read == as_of, "{id} was read with {read} as of {}, it had {as_of}", view.account.applied_lsn);
        Ok(())
    }
}

/// Whether a refusal says nothing of the command.
fn is_passing(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Overloaded { .. } | Refusal::Unavailable { .. } | Refusal::DeadlineExceeded)
}

/// Whether two bodies may count as one: the same, or payments of which one leaves the payee to the house.
fn is_same_body(one: &Request, other: &Request) -> bool {
    match (one, other) {
        (Request::CreatePayment(one), Request::CreatePayment(other)) => {
            let is_left_out = one.destination.is_none() || other.destination.is_none();
            let rest = (&one.customer, one.amount, &one.source, one.manual, &one.sharing);
            let rest = rest == (&other.customer, other.amount, &other.source, other.manual, &other.sharing);
            rest && (is_left_out || one.destination == other.destination)
        }
        // What is left out of a capture is as the reservation has it.
        (Request::Capture(one), Request::Capture(other)) => one.reservation == other.reservation,
        (Request::CapturePayment(one), Request::CapturePayment(other)) => {
            one.payment == other.payment && one.finality == other.finality
        }
        (Request::RefundPayment(one), Request::RefundPayment(other)) => {
            let rest = (one.payment, one.rate, one.refund_fees, one.splits.len());
            rest == (other.payment, other.rate, other.refund_fees, other.splits.len())
        }
        _ => one == other,
    }
}
