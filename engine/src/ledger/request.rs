//! The normalised request of every mutating command, as kept in its entry; [`super::same_body`] compares two (P2).
//!
//! Amounts are minor units, so `250` and `250.00` are one body. Context, metadata and description do not count and
//! are kept apart in [`Notes`].

use std::{
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

/// See [`Request::RemoveRates`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveRates {
    /// The pairs: a set, their order says nothing, nor which way round each is named.
    pub pairs: Vec<Pair>,
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
}
