//! Every command but a payment: at most one question to one account, then one entry.

use std::sync::Arc;

use super::{
    account::Account,
    entry::{DefaultMark, Entry, Outcome},
    failure::{Failure, FailureCode},
    flow::{Effect, Event},
    request::{Capture, Notes, Request, Reserve, Transfer},
    reservation::{End, Reservation},
    time::Timestamp,
};
use crate::money::{AccountId, OpId, Posting, PostingKind, TenantId, TxId};

/// All a command is decided from.
#[derive(Debug, Clone)]
pub struct CommandOrder {
    /// Whose.
    pub tenant: TenantId,
    /// The command's id; a reservation's, if it makes one.
    pub op: OpId,
    /// The client's key.
    pub tx_id: TxId,
    /// What was asked.
    pub request: Request,
    /// What came with it.
    pub notes: Notes,
    /// When it was accepted.
    pub now: Timestamp,
    /// What it works on.
    pub subject: Subject,
}

/// What a command works on, as known when it was accepted.
#[derive(Debug, Clone)]
pub enum Subject {
    /// Only what the request names.
    Request,
    /// A publication or removal of rates; `Err` where it may not be.
    Rates(Result<(), Failure>),
    /// A reservation to be made, with the time it ends.
    Until(Timestamp),
    /// An account to be opened; `Err` where the owner may not have another.
    NewAccount(Result<Account, Failure>, DefaultMark),
    /// The account that is updated, for the record of a decline.
    Account(Account, DefaultMark),
    /// A reservation as it is now, and whom a capture credits. Nothing else works on it meanwhile, and whether its time
    /// is over has been judged.
    Reservation(Reservation, Option<AccountId>),
}

/// The flow.
#[derive(Debug)]
pub struct CommandFlow {
    order: CommandOrder,
    /// The UTC day a hold counts for; of money from outside, the day it came.
    held_on: u32,
}

impl CommandFlow {
    /// A command that has not begun.
    pub fn new(order: CommandOrder) -> Self {
        Self { held_on: order.now.utc_day(), order }
    }

    /// The next effect.
    pub fn on(&mut self, event: Event) -> Effect {
        match event {
            Event::Start => self.ask(),
            Event::Granted(granted) => self.decide(granted),
            Event::Held(held) => {
                self.held_on = *held.as_ref().unwrap_or(&self.held_on);
                self.decide(held.map(|_| ()))
            }
            Event::Changed(changed) => self.changed(changed),
            // A command asks neither risk nor the desk.
            Event::Assessed(_) | Event::Quoted(_) => self.decide(Ok(())),
        }
    }

    /// The one question, if there is one.
    fn ask(&mut self) -> Effect {
        match (&self.order.request, &self.order.subject) {
            (Request::Deposit(transfer), _) => Effect::Expect(transfer.account.clone(), transfer.amount),
            (Request::Withdraw(transfer), _) => Effect::Hold(transfer.account.clone(), transfer.amount),
            (Request::Reserve(reserve), _) => Effect::Hold(reserve.account.clone(), reserve.amount),
            (Request::UpdateAccount(update), _) => Effect::Change(Box::new(update.clone())),
            (Request::OpenAccount(_), Subject::NewAccount(Ok(account), _)) => Effect::Open(Box::new(account.clone())),
            (Request::Capture(capture), Subject::Reservation(reservation, Some(payee))) => {
                match reservation.check_capture(capture.amount) {
                    Ok(_) if *payee == reservation.account => {
                        let message = format!("account {payee} cannot pay itself");
                        self.decide(Err(Failure::new(FailureCode::SameAccount, message)))
                    }
                    Ok(amount) => Effect::Expect(payee.clone(), amount),
                    Err(failure) => self.decide(Err(failure)),
                }
            }
            _ => self.decide(Ok(())),
        }
    }

    fn changed(&mut self, changed: Result<Box<Account>, Failure>) -> Effect {
        let Subject::Account(before, default) = &self.order.subject else { return self.decide(Ok(())) };
        let (account, default, failure) = match changed {
            Ok(account) => (*account, *default, None),
            Err(failure) => (before.clone(), DefaultMark::Unchanged, Some(failure)),
        };
        self.append(Outcome::Account { account, default, failure }, Vec::new())
    }

    fn decide(&mut self, granted: Result<(), Failure>) -> Effect {
        let debit = PostingKind::Debit { held_on: self.held_on };
        let (outcome, postings) = match (&self.order.request, &self.order.subject) {
            (Request::Deposit(transfer), _) => transferred(granted, transfer, debit, PostingKind::Credit),
            (Request::Withdraw(transfer), _) => transferred(granted, transfer, PostingKind::Credit, debit),
            (Request::Reserve(reserve), Subject::Until(expires_at)) => {
                let reservation = Reservation::new(self.order.op, reserve, self.held_on, *expires_at);
                reserved(granted, reservation, reserve)
            }
            (Request::Capture(capture), Subject::Reservation(before, payee)) => {
                captured(granted, before, capture, payee.as_ref())
            }
            (Request::Release(_), Subject::Reservation(before, _)) => stepped(before, before.end(End::Released)),
            (Request::Expire(_), Subject::Reservation(before, _)) => stepped(before, before.end(End::Expired)),
            (_, Subject::NewAccount(Ok(account), default)) => {
                let default = if granted.is_ok() { *default } else { DefaultMark::Unchanged };
                (Outcome::Account { account: account.clone(), default, failure: granted.err() }, Vec::new())
            }
            (Request::OpenAccount(open), Subject::NewAccount(Err(failure), _)) => {
                let id = open.account.clone().unwrap_or_else(|| AccountId::system("none", open.currency));
                let account = Account::open(id, open.owner.clone(), open.currency);
                let failure = Some(failure.clone());
                (Outcome::Account { account, default: DefaultMark::Unchanged, failure }, Vec::new())
            }
            (_, Subject::Rates(checked)) => (Outcome::Rates { failure: checked.clone().err() }, Vec::new()),
            // No other request is ever paired with no other subject.
            _ => (Outcome::Rates { failure: granted.err() }, Vec::new()),
        };
        self.append(outcome, postings)
    }

    fn append(&mut self, outcome: Outcome, postings: Vec<Posting>) -> Effect {
        Effect::Append(Arc::new(Entry {
            tenant: self.order.tenant,
            op: self.order.op,
            tx_id: self.order.tx_id.clone(),
            request: self.order.request.clone(),
            notes: std::mem::take(&mut self.order.notes),
            outcome,
            postings,
        }))
    }
}

type Decided = (Outcome, Vec<Posting>);

/// Money in or out: the world's account takes the other side.
fn transferred(granted: Result<(), Failure>, transfer: &Transfer, world: PostingKind, own: PostingKind) -> Decided {
    match granted {
        Err(failure) => (Outcome::Transfer { failure: Some(failure) }, Vec::new()),
        Ok(()) => {
            let outside = AccountId::system("world", transfer.amount.currency);
            let lines = vec![
                Posting::new(outside, world, transfer.amount),
                Posting::new(transfer.account.clone(), own, transfer.amount),
            ];
            (Outcome::Transfer { failure: None }, lines)
        }
    }
}

fn reserved(granted: Result<(), Failure>, reservation: Reservation, request: &Reserve) -> Decided {
    match granted {
        Err(failure) => {
            (Outcome::Reservation { reservation: reservation.failed(), failure: Some(failure) }, Vec::new())
        }
        Ok(()) => {
            let kind = PostingKind::Authorize { held_on: reservation.held_on };
            let line = Posting::new(request.account.clone(), kind, request.amount);
            (Outcome::Reservation { reservation, failure: None }, vec![line])
        }
    }
}

fn captured(
    granted: Result<(), Failure>,
    before: &Reservation,
    capture: &Capture,
    payee: Option<&AccountId>,
) -> Decided {
    let step = granted.and_then(|()| {
        let amount = before.check_capture(capture.amount)?;
        let payee = payee.cloned().ok_or_else(|| {
            let message = format!("neither the capture nor reservation {} names a destination_account", before.id);
            Failure::new(FailureCode::DestinationRequired, message)
        })?;
        before.capture(amount, payee, capture.finality)
    });
    stepped(before, step)
}

fn stepped(before: &Reservation, step: Result<(Reservation, Vec<Posting>), Failure>) -> Decided {
    match step {
        Ok((reservation, lines)) => (Outcome::Reservation { reservation, failure: None }, lines),
        Err(failure) => (Outcome::Reservation { reservation: before.clone(), failure: Some(failure) }, Vec::new()),
    }
}
