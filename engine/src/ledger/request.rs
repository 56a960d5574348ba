//! The normalised request of every mutating command, as kept in its entry: what "same body" means (P2).
//!
//! Amounts are minor units, so `250` and `250.00` are one body. Context, metadata and description do not count and
//! are kept apart in [`Notes`].

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    sync::{Arc, LazyLock},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{account::AccountStatus, fx::Pair, risk::RiskContext, time::Timestamp};
use crate::money::{AccountId, Currency, Money, OpId, OwnerId, Rate};

/// A mutating command, normalised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Pay `amount` to the payee from one of the customer's accounts.
    CreatePayment(CreatePayment),
    /// Open an account.
    OpenAccount(OpenAccount),
    /// Change an account's status, limits or default mark.
    UpdateAccount(UpdateAccount),
    /// Money in from outside.
    Deposit(Transfer),
    /// Money out to outside.
    Withdraw(Transfer),
    /// Set money aside for a while.
    Reserve(Reserve),
    /// Take money that was set aside.
    Capture(Capture),
    /// Free money that was set aside.
    Release(Release),
    /// The house itself frees what was not taken in time.
    Expire(Release),
    /// One atomic set of rates.
    PublishRates(PublishRates),
    /// Pairs that are published no longer, all at once.
    RemoveRates(RemoveRates),
}

/// See [`Request::CreatePayment`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatePayment {
    /// Who pays.
    pub customer: OwnerId,
    /// What the payee asked for, in its currency.
    pub amount: Money,
    /// The only account that may pay, if named.
    pub source: Option<AccountId>,
    /// The payee's account; the house merchant's if not named.
    pub destination: Option<AccountId>,
}

/// See [`Request::OpenAccount`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenAccount {
    /// The id; the engine makes one if not named.
    pub account: Option<AccountId>,
    /// Whose it is.
    pub owner: OwnerId,
    /// Its one currency.
    pub currency: Currency,
    /// How far below zero it may go, in minor units.
    pub overdraft_limit: i128,
    /// How much may leave it on one UTC day, in minor units.
    pub daily_debit_limit: Option<i128>,
}

/// See [`Request::UpdateAccount`]. `None` leaves a setting as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateAccount {
    /// The account.
    pub account: AccountId,
    /// The new status.
    pub status: Option<AccountStatus>,
    /// The new overdraft limit.
    pub overdraft_limit: Option<Money>,
    /// The new daily debit limit.
    pub daily_debit_limit: Option<DailyLimit>,
    /// Make it the owner's default account.
    pub make_default: bool,
}

/// A new daily limit, or none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DailyLimit {
    /// At most this much.
    AtMost(Money),
    /// No limit.
    Unlimited,
}

/// See [`Request::Deposit`] and [`Request::Withdraw`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// The account.
    pub account: AccountId,
    /// How much.
    pub amount: Money,
}

/// See [`Request::Reserve`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserve {
    /// The account that will pay.
    pub account: AccountId,
    /// How much.
    pub amount: Money,
    /// Whom captures credit, unless they name another.
    pub destination: Option<AccountId>,
    /// How long it lasts; the configured time if not named.
    pub expires_in: Option<Duration>,
}

/// See [`Request::Capture`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// The reservation.
    pub reservation: OpId,
    /// How much; all that is left if not named.
    pub amount: Option<Money>,
    /// Whom to credit; the reservation's destination if not named.
    pub destination: Option<AccountId>,
    /// Whether what is left afterwards is freed.
    pub finality: Finality,
}

/// Whether more captures may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finality {
    /// What is left stays set aside.
    Partial,
    /// What is left is freed.
    Final,
}

/// See [`Request::Release`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The reservation.
    pub reservation: OpId,
}

/// See [`Request::PublishRates`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishRates {
    /// Who says so: decides how old the rates may get.
    pub source: RateSource,
    /// When they were true; when they were accepted if not named.
    pub as_of: Option<Timestamp>,
    /// The rates: a set, their order says nothing.
    pub rates: Vec<PublishedRate>,
}

impl PublishRates {
    fn set(&self) -> BTreeMap<Pair, &PublishedRate> {
        self.rates.iter().map(|rate| (Pair { base: rate.base, quote: rate.quote }, rate)).collect()
    }
}

/// See [`Request::RemoveRates`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveRates {
    /// The pairs: a set, their order says nothing, nor which way round each is named.
    pub pairs: Vec<Pair>,
}

impl RemoveRates {
    fn set(&self) -> BTreeSet<Pair> {
        self.pairs.iter().map(|pair| pair.unordered()).collect()
    }
}

/// Where a rate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RateSource {
    /// European Central Bank daily reference rates.
    Ecb,
    /// A live market feed.
    Live,
    /// The built-in random walk of the demo.
    Demo,
}

impl RateSource {
    /// The source as the wire and logs spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ecb => "ecb",
            Self::Live => "live",
            Self::Demo => "demo",
        }
    }
}

/// One pair of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedRate {
    /// The currency that is priced.
    pub base: Currency,
    /// The currency it is priced in.
    pub quote: Currency,
    /// Quote units per base unit.
    pub mid: Rate,
    /// What the desk adds to an ask and takes off a bid, in basis points; the configured default if `None`.
    pub spread_bps: Option<u16>,
}

/// What is kept with an entry but does not count for "same body". Personal data stays out of logs and metrics. Shared,
/// because payment, risk and entry all look at it; most commands come without, and then it takes no room.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes(Option<Arc<NotesText>>);

/// See [`Notes`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotesText {
    /// Where the payment was made.
    pub context: RiskContext,
    /// The client's own keys and values.
    pub metadata: Vec<(String, String)>,
    /// The client's own words: a description, or a deposit's reference.
    pub description: String,
}

impl From<NotesText> for Notes {
    fn from(text: NotesText) -> Self {
        Self((text != NotesText::default()).then(|| Arc::new(text)))
    }
}

impl Deref for Notes {
    type Target = NotesText;

    fn deref(&self) -> &NotesText {
        static NONE: LazyLock<NotesText> = LazyLock::new(NotesText::default);
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl Request {
    /// The method's name, as the wire spells it.
    pub fn method(&self) -> &'static str {
        match self {
            Self::CreatePayment(_) => "CreatePayment",
            Self::OpenAccount(_) => "OpenAccount",
            Self::UpdateAccount(_) => "UpdateAccount",
            Self::Deposit(_) => "Deposit",
            Self::Withdraw(_) => "Withdraw",
            Self::Reserve(_) => "Reserve",
            Self::Capture(_) => "Capture",
            Self::Release(_) => "Release",
            Self::Expire(_) => "Expire",
            Self::PublishRates(_) => "PublishRates",
            Self::RemoveRates(_) => "RemoveRates",
        }
    }

    /// Whether it is the house's own: no client asked for it, so it counts in nobody's figures.
    pub fn is_house(&self) -> bool {
        matches!(self, Self::Expire(_))
    }

    /// The first field in which two requests under one key differ; `method` if they are not even of one kind.
    pub fn first_difference(&self, other: &Self) -> Option<&'static str> {
        let fields: &[(&'static str, bool)] = match (self, other) {
            (Self::CreatePayment(a), Self::CreatePayment(b)) => &[
                ("customer_id", a.customer == b.customer),
                ("amount", a.amount == b.amount),
                ("source_account", a.source == b.source),
                ("destination_account", a.destination == b.destination),
            ],
            (Self::OpenAccount(a), Self::OpenAccount(b)) => &[
                ("account_id", a.account == b.account),
                ("owner_id", a.owner == b.owner),
                ("currency", a.currency == b.currency),
                ("overdraft_limit", a.overdraft_limit == b.overdraft_limit),
                ("daily_debit_limit", a.daily_debit_limit == b.daily_debit_limit),
            ],
            (Self::UpdateAccount(a), Self::UpdateAccount(b)) => &[
                ("account_id", a.account == b.account),
                ("status", a.status == b.status),
                ("overdraft_limit", a.overdraft_limit == b.overdraft_limit),
                ("daily_debit_limit", a.daily_debit_limit == b.daily_debit_limit),
                ("make_default", a.make_default == b.make_default),
            ],
            (Self::Deposit(a), Self::Deposit(b)) | (Self::Withdraw(a), Self::Withdraw(b)) => {
                &[("account_id", a.account == b.account), ("amount", a.amount == b.amount)]
            }
            (Self::Reserve(a), Self::Reserve(b)) => &[
                ("account_id", a.account == b.account),
                ("amount", a.amount == b.amount),
                ("destination_account", a.destination == b.destination),
                ("expires_in", a.expires_in == b.expires_in),
            ],
            (Self::Capture(a), Self::Capture(b)) => &[
                ("reservation_id", a.reservation == b.reservation),
                ("amount", a.amount == b.amount),
                ("destination_account", a.destination == b.destination),
                ("final", a.finality == b.finality),
            ],
            (Self::Release(a), Self::Release(b)) | (Self::Expire(a), Self::Expire(b)) => {
                &[("reservation_id", a.reservation == b.reservation)]
            }
            (Self::PublishRates(a), Self::PublishRates(b)) => {
                &[("source", a.source == b.source), ("as_of", a.as_of == b.as_of), ("rates", a.set() == b.set())]
            }
            (Self::RemoveRates(a), Self::RemoveRates(b)) => &[("pairs", a.set() == b.set())],
            (first, second) => &[("method", first.method() == second.method())],
        };
        fields.iter().find(|(_, same)| !same).map(|(name, _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payment(amount: &str, source: Option<&str>) -> Request {
        let usd = Currency::from_code("USD").expect("USD");
        Request::CreatePayment(CreatePayment {
            customer: OwnerId::parse("CUST-1").expect("an id"),
            amount: Money::parse(amount, usd).expect("an amount"),
            source: source.map(|id| AccountId::parse(id).expect("an id")),
            destination: None,
        })
    }

    #[test]
    fn one_body_is_compared_field_by_field() {
        assert_eq!(payment("250", None).first_difference(&payment("250.00", None)), None);
        assert_eq!(payment("250", None).first_difference(&payment("251", None)), Some("amount"));
        assert_eq!(payment("250", None).first_difference(&payment("250", Some("a"))), Some("source_account"));
        let release = Request::Release(Release { reservation: OpId(1) });
        assert_eq!(payment("250", None).first_difference(&release), Some("method"));
    }

    #[test]
    fn rates_are_compared_as_a_set() {
        let rate = |quote: &str, mid: &str| PublishedRate {
            base: Currency::from_code("EUR").expect("EUR"),
            quote: Currency::from_code(quote).expect("a currency"),
            mid: Rate::parse(mid).expect("a rate"),
            spread_bps: None,
        };
        let set = |rates: Vec<PublishedRate>| {
            Request::PublishRates(PublishRates { source: RateSource::Ecb, as_of: None, rates })
        };
        let first = set(vec![rate("USD", "1.1"), rate("CZK", "25")]);
        assert_eq!(first.first_difference(&set(vec![rate("CZK", "25.0"), rate("USD", "1.10")])), None);
        assert_eq!(first.first_difference(&set(vec![rate("CZK", "26"), rate("USD", "1.1")])), Some("rates"));
        assert_eq!(first.first_difference(&set(vec![rate("USD", "1.1")])), Some("rates"));
        let pair = |base: &str, quote: &str| [base, quote].map(|code| Currency::from_code(code).expect("a currency"));
        let remove = |pairs: &[[Currency; 2]]| {
            let pairs = pairs.iter().map(|[base, quote]| Pair { base: *base, quote: *quote }).collect();
            Request::RemoveRates(RemoveRates { pairs })
        };
        let both = remove(&[pair("EUR", "USD"), pair("EUR", "CZK")]);
        assert_eq!(both.first_difference(&remove(&[pair("CZK", "EUR"), pair("EUR", "USD")])), None);
        assert_eq!(both.first_difference(&remove(&[pair("CZK", "EUR")])), Some("pairs"));
    }
}
