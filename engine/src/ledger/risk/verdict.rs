//! What the rules say of a payment, and why. It is part of the entry.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode, encode::Write};

/// What to do with a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum RiskDecision {
    /// Go on.
    #[n(0)]
    Accept,
    /// A person should look.
    #[n(1)]
    Review,
    /// Decline.
    #[n(2)]
    Reject,
}

impl RiskDecision {
    /// The decision as the wire and metrics spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Review => "REVIEW",
            Self::Reject => "REJECT",
        }
    }
}

/// Why a verdict is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The amount is above the maximum of one payment in its currency.
    AmountAboveMax,
    /// Too many of the customer's payments were let through within a minute.
    VelocityPerMinute,
    /// The customer, or one of the accounts, is on the block list.
    AccountBlocked,
    /// The country, or the billing country, is on the block list.
    CountryBlocked,
    /// Country and billing country differ.
    CountryMismatch,
    /// The customer was declined too often within ten minutes.
    RecentDeclines,
    /// The verdict was review, and this build has no reviewers: declined (P9).
    ReviewUnavailable,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::AmountAboveMax,
        Self::VelocityPerMinute,
        Self::AccountBlocked,
        Self::CountryBlocked,
        Self::CountryMismatch,
        Self::RecentDeclines,
        Self::ReviewUnavailable,
    ];

    /// The reason as the wire and metrics spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AmountAboveMax => "amount_above_max",
            Self::VelocityPerMinute => "velocity_per_minute",
            Self::AccountBlocked => "account_blocked",
            Self::CountryBlocked => "country_blocked",
            Self::CountryMismatch => "country_mismatch",
            Self::RecentDeclines => "recent_declines",
            Self::ReviewUnavailable => "review_unavailable",
        }
    }
}

/// By name: rules come and go.
impl<C> Encode<C> for Reason {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        encoder.str(self.name())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Reason {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let name = decoder.str()?;
        let known = Self::ALL.into_iter().find(|reason| reason.name() == name);
        known.ok_or_else(|| decode::Error::message(format!("there is no risk reason {name:?}")))
    }
}

/// The version of the rules: those of the configuration.
const RULES_VERSION: u32 = 1;

/// A decision with its score and reasons.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Verdict {
    /// What to do.
    #[n(0)]
    pub decision: RiskDecision,
    /// 0 (nothing found) to 100.
    #[n(1)]
    pub score: u8,
    /// Every rule that fired.
    #[n(2)]
    pub reasons: Vec<Reason>,
    /// The version of the rules that said so; 0 of entries from before rules had one.
    #[n(3)]
    pub rules_version: u32,
}

impl Verdict {
    /// Nothing was found.
    pub fn accept() -> Self {
        Self { decision: RiskDecision::Accept, score: 0, reasons: Vec::new(), rules_version: RULES_VERSION }
    }
}
