//! An entry as the records of journal format 2 hold it: `postcard` of the structs below, in this order of fields.
//!
//! Entry, decision and payment of the ledger may change; these bytes may not. What stands in them (requests, accounts,
//! reservations, verdicts, postings) is still written as the ledger has it: `engine/tests/stored.rs` holds the bytes of
//! one entry of each kind against those of format 2. What cannot be said in this format is refused before it is written,
//! and so is a record with more bytes than its entry has.

use serde::{Deserialize, Serialize};
use smallvec::{SmallVec, smallvec};

use crate::{
    ledger::{
        account::Account,
        commands::Request,
        decision::{Change, Decision},
        entry::Entry,
        failure::Failure,
        fx::FxLeg,
        notes::Notes,
        payment::{Payment, PaymentStatus, Tried},
        reservation::Reservation,
        risk::Verdict,
        settings::DefaultMark,
    },
    money::{AccountId, Money, OpId, Posting, TenantId, TxId},
};

/// How long almost all entries are at most, in bytes.
const SHORT_BYTES: usize = 768;

/// An entry that this format has no words for.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// The decision is of a shape that no command of this format has.
    #[error("a decision of {0} cannot be written in journal format 2")]
    Shape(&'static str),
    /// More bytes than an entry has.
    #[error("{0} bytes stand behind the entry")]
    Rest(usize),
    /// The bytes are not those of an entry.
    #[error(transparent)]
    Postcard(#[from] postcard::Error),
}

/// Encodes an entry.
pub(super) fn encode(entry: &Entry) -> Result<Vec<u8>, StoredError> {
    let Entry { tenant, op, tx_id, request, notes, decision } = entry;
    let outcome = OutcomeRef::of(request, decision)?;
    let stored = EntryRef { tenant: *tenant, op: *op, tx_id, request, notes, outcome, postings: &decision.postings };
    // Into a plain slice: pushing byte by byte into a vector costs more, and few entries are longer.
    let mut short = [0; SHORT_BYTES];
    match postcard::to_slice(&stored, &mut short) {
        Ok(bytes) => Ok(bytes.to_vec()),
        Err(postcard::Error::SerializeBufferFull) => Ok(postcard::to_stdvec(&stored)?),
        Err(error) => Err(error.into()),
    }
}

/// Decodes an entry.
pub(super) fn decode(bytes: &[u8]) -> Result<Entry, StoredError> {
    let (stored, rest) = postcard::take_from_bytes::<StoredEntry>(bytes)?;
    if !rest.is_empty() {
        return Err(StoredError::Rest(rest.len()));
    }
    let StoredEntry { tenant, op, tx_id, request, notes, outcome, postings } = stored;
    let decision = Box::new(outcome.decision(postings));
    Ok(Entry { tenant, op, tx_id, request, notes, decision })
}

#[derive(Serialize)]
struct EntryRef<'a> {
    tenant: TenantId,
    op: OpId,
    tx_id: &'a TxId,
    request: &'a Request,
    notes: &'a Notes,
    outcome: OutcomeRef<'a>,
    postings: &'a [Posting],
}

#[derive(Deserialize)]
struct StoredEntry {
    tenant: TenantId,
    op: OpId,
    tx_id: TxId,
    request: Request,
    notes: Notes,
    outcome: Outcome,
    postings: Vec<Posting>,
}

#[derive(Serialize)]
enum OutcomeRef<'a> {
    Payment(PaymentRef<'a>),
    Transfer { failure: Option<&'a Failure> },
    Reservation { reservation: &'a Reservation, failure: Option<&'a Failure> },
    Account { account: &'a Account, default: DefaultMark, failure: Option<&'a Failure> },
    Rates { failure: Option<&'a Failure> },
}

#[derive(Deserialize)]
enum Outcome {
    Payment(StoredPayment),
    Transfer { failure: Option<Failure> },
    Reservation { reservation: Reservation, failure: Option<Failure> },
    Account { account: Account, default: DefaultMark, failure: Option<Failure> },
    Rates { failure: Option<Failure> },
}

#[derive(Serialize)]
struct PaymentRef<'a> {
    id: OpId,
    status: PaymentStatus,
    payer: &'a AccountId,
    payee: &'a AccountId,
    debited: Option<Money>,
    credited: Option<Money>,
    fx: &'a [FxLeg],
    risk: &'a Verdict,
    failure: Option<&'a Failure>,
    tried: &'a [Tried],
}

#[derive(Deserialize)]
struct StoredPayment {
    id: OpId,
    status: PaymentStatus,
    payer: AccountId,
    payee: AccountId,
    debited: Option<Money>,
    credited: Option<Money>,
    fx: Vec<FxLeg>,
    risk: Verdict,
    failure: Option<Failure>,
    tried: Vec<Tried>,
}

impl<'a> OutcomeRef<'a> {
    fn of(request: &Request, decision: &'a Decision) -> Result<Self, StoredError> {
        let failure = decision.failure.as_ref();
        match (request, decision.changes.as_slice()) {
            (_, [Change::Payment(payment)]) => {
                let Payment { id, status, payer, payee, debited, credited, fx, risk, tried } = payment;
                Ok(Self::Payment(PaymentRef {
                    id: *id,
                    status: *status,
                    payer,
                    payee,
                    debited: *debited,
                    credited: *credited,
                    fx,
                    risk,
                    failure,
                    tried,
                }))
            }
            (_, [Change::Reservation(reservation)]) => Ok(Self::Reservation { reservation, failure }),
            (_, [Change::Account { account, default }]) => Ok(Self::Account { account, default: *default, failure }),
            (_, [Change::Rates]) if failure.is_none() => Ok(Self::Rates { failure }),
            // What changed nothing says only whether it was declined.
            (Request::PublishRates(_) | Request::RemoveRates(_), []) if failure.is_some() => {
                Ok(Self::Rates { failure })
            }
            (_, []) => Ok(Self::Transfer { failure }),
            _ => Err(StoredError::Shape(request.method())),
        }
    }
}

impl Outcome {
    fn decision(self, postings: Vec<Posting>) -> Decision {
        let (change, failure) = match self {
            Self::Payment(stored) => {
                let StoredPayment { id, status, payer, payee, debited, credited, fx, risk, failure, tried } = stored;
                let payment = Payment { id, status, payer, payee, debited, credited, fx, risk, tried };
                (Some(Change::Payment(payment)), failure)
            }
            Self::Reservation { reservation, failure } => (Some(Change::Reservation(reservation)), failure),
            Self::Account { account, default, failure } => (Some(Change::Account { account, default }), failure),
            Self::Rates { failure: None } => (Some(Change::Rates), None),
            Self::Transfer { failure } | Self::Rates { failure } => (None, failure),
        };
        let changes = change.map_or_else(SmallVec::new, |change| smallvec![change]);
        Decision { failure, changes, postings }
    }
}
