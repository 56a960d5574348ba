//! Records of journal format 2, as builds before format 4 wrote them: `postcard` of the structs below. Frozen: only
//! [`super::migration`] reads them. Names, numbers and lengths are those of postcard (LEB128), a choice is its number.
//!
//! `engine/tests/fixtures` has journals of this format.

use serde::Deserialize;
use smallvec::SmallVec;

use crate::{
    ledger::{
        account::Account,
        commands::{self, Request},
        decision::{Change, Decision},
        entry::Entry,
        failure::{Failure, FailureCode},
        fx::{FxLeg, LegSide, Pair, RateSource},
        notes::{Notes, NotesText, RiskContext},
        payment::{Payment, PaymentStatus, Tried},
        reservation::{Finality, Reservation, ReservationStatus},
        risk::{Reason, RiskDecision, Verdict},
        settings::{AccountStatus, DailyLimit, DefaultMark, SettingsChange},
        time::Timestamp,
    },
    money::{AccountId, Currency, Lsn, Money, OpId, OwnerId, Posting, PostingKind, Rate, TenantId, TxId},
};

const CODES: [FailureCode; 20] = [
    FailureCode::InsufficientFunds,
    FailureCode::RiskRejected,
    FailureCode::AccountFrozen,
    FailureCode::AccountClosed,
    FailureCode::CurrencyMismatch,
    FailureCode::DailyLimitExceeded,
    FailureCode::AccountLimitExceeded,
    FailureCode::FxRateUnavailable,
    FailureCode::FxRateStale,
    FailureCode::AmountTooSmall,
    FailureCode::AmountTooLarge,
    FailureCode::SameAccount,
    FailureCode::SourceNotOwned,
    FailureCode::AccountExists,
    FailureCode::AccountNotEmpty,
    FailureCode::TooManyAccounts,
    FailureCode::ReservationNotActive,
    FailureCode::AmountExceedsReservation,
    FailureCode::DestinationRequired,
    FailureCode::TooManyPairs,
];
const REASONS: [Reason; 7] = [
    Reason::AmountAboveMax,
    Reason::VelocityPerMinute,
    Reason::AccountBlocked,
    Reason::CountryBlocked,
    Reason::CountryMismatch,
    Reason::RecentDeclines,
    Reason::ReviewUnavailable,
];
const RISK_DECISIONS: [RiskDecision; 3] = [RiskDecision::Accept, RiskDecision::Review, RiskDecision::Reject];
const STATUSES: [AccountStatus; 3] = [AccountStatus::Active, AccountStatus::Frozen, AccountStatus::Closed];
const DEFAULTS: [DefaultMark; 2] = [DefaultMark::Default, DefaultMark::Unchanged];
const PAYMENTS: [PaymentStatus; 2] = [PaymentStatus::Captured, PaymentStatus::Failed];
const RESERVATIONS: [ReservationStatus; 5] = [
    ReservationStatus::Active,
    ReservationStatus::Captured,
    ReservationStatus::Released,
    ReservationStatus::Expired,
    ReservationStatus::Failed,
];
const FINALITIES: [Finality; 2] = [Finality::Partial, Finality::Final];
const SIDES: [LegSide; 3] = [LegSide::Payer, LegSide::Payee, LegSide::Both];
const SOURCES: [RateSource; 3] = [RateSource::Ecb, RateSource::Live, RateSource::Demo];

/// Why bytes are no record of format 2.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error(transparent)]
    Postcard(#[from] postcard::Error),
    #[error("{0} bytes stand behind the entry")]
    Rest(usize),
    #[error("there is no {0} of number {1}")]
    Number(&'static str, u32),
}

/// Decodes an entry.
pub(super) fn decode(bytes: &[u8]) -> Result<Entry, Unread> {
    let (stored, rest) = postcard::take_from_bytes::<Stored>(bytes)?;
    if !rest.is_empty() {
        return Err(Unread::Rest(rest.len()));
    }
    let Stored { tenant, op, tx_id, request, notes, outcome, postings } = stored;
    let (change, failure) = outcome.read()?;
    let failure = failure.map(StoredFailure::read).transpose()?;
    let changes: SmallVec<_> = change.into_iter().collect();
    let postings = postings.into_iter().map(StoredPosting::read).collect();
    let decision = Box::new(Decision { failure, changes, postings });
    Ok(Entry { tenant, op, tx_id, request: request.read()?, notes: notes.read(), decision })
}

fn of<T: Copy>(all: &[T], what: &'static str, number: u32) -> Result<T, Unread> {
    all.get(number as usize).copied().ok_or(Unread::Number(what, number))
}

#[derive(Deserialize)]
struct Stored {
    tenant: TenantId,
    op: OpId,
    tx_id: TxId,
    request: StoredRequest,
    notes: StoredNotes,
    outcome: Outcome,
    postings: Vec<StoredPosting>,
}

#[derive(Clone, Copy, Deserialize)]
struct StoredMoney {
    minor: i128,
    currency: Currency,
}

impl StoredMoney {
    fn read(self) -> Money {
        Money::new(self.minor, self.currency)
    }
}

#[derive(Deserialize)]
struct StoredPosting {
    account: AccountId,
    kind: StoredKind,
    amount: StoredMoney,
}

#[derive(Deserialize)]
enum StoredKind {
    Debit { held_on: u32 },
    Credit,
    Authorize { held_on: u32 },
    Settle,
    Void { held_on: u32 },
}

impl StoredPosting {
    fn read(self) -> Posting {
        let kind = match self.kind {
            StoredKind::Debit { held_on } => PostingKind::Debit { held_on },
            StoredKind::Credit => PostingKind::Credit,
            StoredKind::Authorize { held_on } => PostingKind::Authorize { held_on },
            StoredKind::Settle => PostingKind::Settle,
            StoredKind::Void { held_on } => PostingKind::Void { held_on },
        };
        Posting::new(self.account, kind, self.amount.read())
    }
}

#[derive(Deserialize)]
struct StoredFailure {
    code: u32,
    message: String,
}

impl StoredFailure {
    fn read(self) -> Result<Failure, Unread> {
        Ok(Failure::new(of(&CODES, "failure code", self.code)?, self.message))
    }
}

#[derive(Deserialize)]
struct StoredNotes(Option<StoredText>);

#[derive(Deserialize)]
struct StoredText {
    context: StoredContext,
    metadata: Vec<(String, String)>,
    description: String,
}

#[derive(Deserialize)]
struct StoredContext {
    ip: String,
    device_id: String,
    country: String,
    billing_country: String,
    channel: String,
    mcc: String,
}

impl StoredNotes {
    fn read(self) -> Notes {
        let Some(StoredText { context, metadata, description }) = self.0 else { return Notes::default() };
        let StoredContext { ip, device_id, country, billing_country, channel, mcc } = context;
        let context = RiskContext { ip, device_id, country, billing_country, channel, mcc };
        NotesText { context, metadata, description }.into()
    }
}

#[derive(Deserialize)]
enum StoredRequest {
    CreatePayment { customer: OwnerId, amount: StoredMoney, source: Option<AccountId>, destination: Option<AccountId> },
    OpenAccount(StoredOpening),
    UpdateAccount { account: AccountId, change: StoredChange, make_default: bool },
    Deposit(StoredTransfer),
    Withdraw(StoredTransfer),
    Reserve(StoredReserve),
    Capture { reservation: OpId, amount: Option<StoredMoney>, destination: Option<AccountId>, finality: u32 },
    Release { reservation: OpId },
    Expire { reservation: OpId },
    PublishRates { source: u32, as_of: Option<Timestamp>, rates: Vec<StoredRate> },
    RemoveRates { pairs: Vec<(Currency, Currency)> },
}

#[derive(Deserialize)]
struct StoredOpening {
    account: Option<AccountId>,
    owner: OwnerId,
    currency: Currency,
    overdraft_limit: i128,
    daily_debit_limit: Option<i128>,
}

#[derive(Deserialize)]
struct StoredChange {
    status: Option<u32>,
    overdraft_limit: Option<StoredMoney>,
    daily_debit_limit: Option<StoredDailyLimit>,
}

#[derive(Deserialize)]
enum StoredDailyLimit {
    AtMost(StoredMoney),
    Unlimited,
}

#[derive(Deserialize)]
struct StoredTransfer {
    account: AccountId,
    amount: StoredMoney,
}

#[derive(Deserialize)]
struct StoredReserve {
    account: AccountId,
    amount: StoredMoney,
    destination: Option<AccountId>,
    expires_in: Option<std::time::Duration>,
}

#[derive(Deserialize)]
struct StoredRate {
    base: Currency,
    quote: Currency,
    mid: Rate,
    spread_bps: Option<u16>,
}

impl StoredTransfer {
    fn read(self) -> commands::funds::Funds {
        commands::funds::Funds { account: self.account, amount: self.amount.read() }
    }
}

impl StoredChange {
    fn read(self) -> Result<SettingsChange, Unread> {
        Ok(SettingsChange {
            status: self.status.map(|status| of(&STATUSES, "account status", status)).transpose()?,
            overdraft_limit: self.overdraft_limit.map(StoredMoney::read),
            daily_debit_limit: self.daily_debit_limit.map(|limit| match limit {
                StoredDailyLimit::AtMost(limit) => DailyLimit::AtMost(limit.read()),
                StoredDailyLimit::Unlimited => DailyLimit::Unlimited,
            }),
            minimum_balance: None,
        })
    }
}

impl StoredRequest {
    fn read(self) -> Result<Request, Unread> {
        Ok(match self {
            Self::CreatePayment { customer, amount, source, destination } => {
                let amount = amount.read();
                Request::CreatePayment(commands::CreatePayment {
                    customer,
                    amount,
                    source,
                    destination,
                    manual: None,
                    sharing: None,
                })
            }
            Self::OpenAccount(opening) => {
                let StoredOpening { account, owner, currency, overdraft_limit, daily_debit_limit } = opening;
                Request::OpenAccount(commands::OpenAccount {
                    account,
                    owner,
                    currency,
                    overdraft_limit,
                    daily_debit_limit,
                    minimum_balance: None,
                })
            }
            Self::UpdateAccount { account, change, make_default } => {
                let change = Box::new(change.read()?);
                Request::UpdateAccount(commands::UpdateAccount { account, change, make_default })
            }
            Self::Deposit(transfer) => Request::Deposit(commands::Deposit(transfer.read())),
            Self::Withdraw(transfer) => Request::Withdraw(commands::Withdraw(transfer.read())),
            Self::Reserve(StoredReserve { account, amount, destination, expires_in }) => {
                Request::Reserve(commands::Reserve { account, amount: amount.read(), destination, expires_in })
            }
            Self::Capture { reservation, amount, destination, finality } => {
                let (amount, finality) = (amount.map(StoredMoney::read), of(&FINALITIES, "finality", finality)?);
                Request::Capture(commands::Capture { reservation, amount, destination, finality })
            }
            Self::Release { reservation } => Request::Release(commands::Release { reservation }),
            Self::Expire { reservation } => Request::Expire(commands::Expire { object: reservation }),
            Self::PublishRates { source, as_of, rates } => {
                let rates = rates.into_iter().map(|StoredRate { base, quote, mid, spread_bps }| {
                    commands::publish_rates::PublishedRate { base, quote, mid, spread_bps }
                });
                let source = of(&SOURCES, "rate source", source)?;
                Request::PublishRates(commands::PublishRates { source, as_of, rates: rates.collect() })
            }
            Self::RemoveRates { pairs } => {
                let pairs = pairs.into_iter().map(|(base, quote)| Pair { base, quote });
                Request::RemoveRates(commands::RemoveRates { pairs: pairs.collect() })
            }
        })
    }
}

#[derive(Deserialize)]
enum Outcome {
    Payment(StoredPayment),
    Funds { failure: Option<StoredFailure> },
    Reservation { reservation: StoredReservation, failure: Option<StoredFailure> },
    Account { account: StoredAccount, default: u32, failure: Option<StoredFailure> },
    Rates { failure: Option<StoredFailure> },
}

#[derive(Deserialize)]
struct StoredPayment {
    id: OpId,
    status: u32,
    payer: AccountId,
    payee: AccountId,
    debited: Option<StoredMoney>,
    credited: Option<StoredMoney>,
    fx: Vec<StoredLeg>,
    risk: StoredVerdict,
    failure: Option<StoredFailure>,
    tried: Vec<(AccountId, u32)>,
}

#[derive(Deserialize)]
struct StoredLeg {
    side: u32,
    from: StoredMoney,
    to: StoredMoney,
    mid: Rate,
    rate: Rate,
    spread_bps: u16,
    via: Option<Currency>,
    rate_id: OpId,
    source: u32,
    rounding_micro: i64,
}

#[derive(Deserialize)]
struct StoredVerdict {
    decision: u32,
    score: u8,
    reasons: Vec<u32>,
}

#[derive(Deserialize)]
struct StoredReservation {
    id: OpId,
    account: AccountId,
    destination: Option<AccountId>,
    amount: StoredMoney,
    captured: StoredMoney,
    remaining: StoredMoney,
    status: u32,
    expires_at: Timestamp,
    held_on: u32,
}

#[derive(Deserialize)]
struct StoredAccount {
    id: AccountId,
    owner: OwnerId,
    currency: Currency,
    status: u32,
    debits_posted: i128,
    credits_posted: i128,
    authorized: i128,
    overdraft_limit: i128,
    daily_debit_limit: Option<i128>,
    day: u32,
    day_debits: i128,
    opened_lsn: Lsn,
    applied_lsn: Lsn,
}

impl Outcome {
    fn read(self) -> Result<(Option<Change>, Option<StoredFailure>), Unread> {
        Ok(match self {
            Self::Payment(mut payment) => {
                let failure = payment.failure.take();
                (Some(Change::Payment(payment.read()?)), failure)
            }
            Self::Reservation { reservation, failure } => (Some(Change::Reservation(reservation.read()?)), failure),
            Self::Account { account, default, failure } => {
                let default = of(&DEFAULTS, "default mark", default)?;
                (Some(Change::Account { account: account.read()?, default }), failure)
            }
            Self::Rates { failure: None } => (Some(Change::Rates), None),
            Self::Funds { failure } | Self::Rates { failure } => (None, failure),
        })
    }
}

impl StoredPayment {
    fn read(self) -> Result<Payment, Unread> {
        let Self { id, status, payer, payee, debited, credited, fx, risk, failure: _, tried } = self;
        let StoredVerdict { decision, score, reasons } = risk;
        let reasons =
            reasons.into_iter().map(|reason| of(&REASONS, "risk reason", reason)).collect::<Result<_, _>>()?;
        let risk =
            Verdict { decision: of(&RISK_DECISIONS, "risk decision", decision)?, score, reasons, rules_version: 0 };
        let tried = tried.into_iter().map(|(account, code)| {
            let code = of(&CODES, "failure code", code)?;
            Ok(Tried { account, code })
        });
        Ok(Payment {
            id,
            status: of(&PAYMENTS, "payment status", status)?,
            payer,
            payee,
            debited: debited.map(StoredMoney::read),
            credited: credited.map(StoredMoney::read),
            fx: fx.into_iter().map(StoredLeg::read).collect::<Result<_, _>>()?,
            risk,
            tried: tried.collect::<Result<_, Unread>>()?,
            life: None,
            shared: None,
        })
    }
}

impl StoredLeg {
    fn read(self) -> Result<FxLeg, Unread> {
        let Self { side, from, to, mid, rate, spread_bps, via, rate_id, source, rounding_micro } = self;
        let (side, source) = (of(&SIDES, "side", side)?, of(&SOURCES, "rate source", source)?);
        let (from, to) = (from.read(), to.read());
        Ok(FxLeg { side, from, to, mid, rate, spread_bps, via, rate_id, source, rounding_micro })
    }
}

impl StoredReservation {
    fn read(self) -> Result<Reservation, Unread> {
        let Self { id, account, destination, amount, captured, remaining, status, expires_at, held_on } = self;
        let [amount, captured, remaining] = [amount, captured, remaining].map(StoredMoney::read);
        let status = of(&RESERVATIONS, "reservation status", status)?;
        Ok(Reservation {
            id,
            account,
            destination,
            amount,
            captured,
            remaining,
            status,
            expires_at,
            held_on,
            changed: None,
        })
    }
}

impl StoredAccount {
    fn read(self) -> Result<Account, Unread> {
        let Self { id, owner, currency, status, debits_posted, credits_posted, authorized, .. } = self;
        let Self { overdraft_limit, daily_debit_limit, day, day_debits, opened_lsn, applied_lsn, .. } = self;
        Ok(Account {
            status: of(&STATUSES, "account status", status)?,
            debits_posted,
            credits_posted,
            authorized,
            overdraft_limit,
            daily_debit_limit,
            day,
            day_debits,
            opened_lsn,
            applied_lsn,
            ..Account::open(id, owner, currency)
        })
    }
}
