//! [`Money`]: an exact count of minor units in one currency.
//!
//! Text is printed by `rust_decimal`; arithmetic is checked `i128`. There is no addition between
//! currencies: [`Money::checked_add`] refuses it.

use std::fmt;

use minicbor::{Decode, Encode};
use rust_decimal::Decimal;

use super::{Currency, CurrencyError};

/// The largest amount of one posting, in minor units (P8): a product with a rate stays exact in `i128`.
pub const POSTING_MINOR_MAX: i128 = 1_000_000_000_000_000_000;

/// The largest balance of an account, either sign, in minor units (P8).
pub const ACCOUNT_MINOR_MAX: i128 = 1_000_000_000_000_000_000_000_000_000;

/// An exact amount: `minor` units of `currency`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Money {
    /// Minor units: cents for USD, yen for JPY.
    #[cbor(n(0), with = "super::wide")]
    pub minor: i128,
    /// The ISO 4217 currency.
    #[n(1)]
    pub currency: Currency,
}

/// Why a text is not an amount in its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not a plain decimal number.
    #[error("must be a plain decimal number such as 250.00, without sign, exponent or separators")]
    Syntax,
    /// More fraction digits than the currency has.
    #[error("has more fraction digits than {currency} allows ({allowed}), such as {}", example(*currency))]
    TooPrecise {
        /// The currency.
        currency: Currency,
        /// How many fraction digits it has.
        allowed: u32,
    },
    /// Zero or less, where something must move.
    #[error("must be greater than zero, such as 250")]
    NotPositive,
    /// Above [`POSTING_MINOR_MAX`].
    #[error("must be at most 10^18 minor units, such as 250")]
    TooLarge,
    /// The currency is none.
    #[error("{0}")]
    Currency(#[from] CurrencyError),
}

impl Money {
    /// `minor` units of `currency`.
    pub const fn new(minor: i128, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// No money, in `currency`.
    pub const fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// Reads a decimal text exactly: never rounds, refuses what does not fit, zero included.
    pub fn parse_positive(text: &str, currency: Currency) -> Result<Self, AmountError> {
        let money = Self::parse(text, currency)?;
        if money.minor <= 0 {
            return Err(AmountError::NotPositive);
        }
        Ok(money)
    }

    /// Reads a decimal text exactly, as a request may have it where zero is allowed: without a sign.
    pub fn parse_unsigned(text: &str, currency: Currency) -> Result<Self, AmountError> {
        if text.starts_with('-') { Err(AmountError::Syntax) } else { Self::parse(text, currency) }
    }

    /// Whether a text is a plain decimal number, whatever its currency.
    pub fn check_shape(text: &str) -> Result<(), AmountError> {
        plain_parts(text.strip_prefix('-').unwrap_or(text)).map(|_| ()).ok_or(AmountError::Syntax)
    }

    /// Reads a decimal text exactly; zero and negative amounts are let through.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, AmountError> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = plain_parts(unsigned).ok_or(AmountError::Syntax)?;
        let allowed = currency.exponent();
        let missing = u32::try_from(fraction.len()).ok().and_then(|digits| allowed.checked_sub(digits));
        let missing = missing.ok_or(AmountError::TooPrecise { currency, allowed })?;
        let mut digits = whole.bytes().chain(fraction.bytes()).filter_map(|digit| char::from(digit).to_digit(10));
        let minor = digits
            .try_fold(0_i128, |minor, digit| minor.checked_mul(10)?.checked_add(digit.into()))
            .and_then(|minor| minor.checked_mul(10_i128.checked_pow(missing)?))
            .filter(|minor| *minor <= POSTING_MINOR_MAX)
            .ok_or(AmountError::TooLarge)?;
        let is_negative = unsigned.len() < text.len();
        Ok(Self::new(if is_negative { minor.saturating_neg() } else { minor }, currency))
    }

    /// The sum, or `None` between currencies or beyond `i128`.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let minor = self.minor.checked_add(other.minor)?;
        (self.currency == other.currency).then_some(Self::new(minor, self.currency))
    }

    /// The difference, or `None` between currencies or beyond `i128`.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        let minor = self.minor.checked_sub(other.minor)?;
        (self.currency == other.currency).then_some(Self::new(minor, self.currency))
    }

    /// The number alone, with all fraction digits of the currency: `250.00`.
    pub fn decimal(self) -> String {
        // The fallback is beyond 10^28 minor units, which no account of a client can reach.
        Decimal::try_from_i128_with_scale(self.minor, self.currency.exponent())
            .map_or_else(|_| format!("{}e-{}", self.minor, self.currency.exponent()), |decimal| decimal.to_string())
    }
}

/// A good amount.
fn example(currency: Currency) -> String {
    let minor = 10_i128.checked_pow(currency.exponent()).and_then(|unit| unit.checked_mul(250));
    Money::new(minor.unwrap_or_default(), currency).decimal()
}

/// Whole and fraction digits of a plain decimal number without a sign; the fraction may be left out with its point.
pub(super) fn plain_parts(digits: &str) -> Option<(&str, &str)> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let has_digits = !whole.is_empty() && (whole.len() == digits.len() || !fraction.is_empty());
    (has_digits && is_plain(whole) && is_plain(fraction)).then_some((whole, fraction))
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.decimal(), self.currency)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn currency(code: &str) -> Currency {
        Currency::from_code(code).expect("a test currency")
    }

    #[test]
    fn reads_exactly() {
        for (text, code, minor) in [
            ("250", "USD", 25_000),
            ("250.00", "USD", 25_000),
            ("0.01", "IDR", 1),
            ("7", "JPY", 7),
            ("1.234", "KWD", 1_234),
            ("0007.50", "USD", 750),
            ("00000000000000000000000000000000000000000000000000000000000000000000000000001", "JPY", 1),
            ("10000000000000000.00", "USD", POSTING_MINOR_MAX),
        ] {
            assert_eq!(Money::parse_positive(text, currency(code)).map(|m| m.minor), Ok(minor), "{text}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_hold_exactly() {
        let usd = currency("USD");
        let forty_digits = "1".repeat(40);
        for (text, error) in [
            ("", AmountError::Syntax),
            ("1e30", AmountError::Syntax),
            ("+1", AmountError::Syntax),
            ("1_000", AmountError::Syntax),
            (".5", AmountError::Syntax),
            ("5.", AmountError::Syntax),
            ("1,00", AmountError::Syntax),
            (" 1", AmountError::Syntax),
            ("--1", AmountError::Syntax),
            ("0", AmountError::NotPositive),
            ("0.00", AmountError::NotPositive),
            ("-5", AmountError::NotPositive),
            (forty_digits.as_str(), AmountError::TooLarge),
            ("10000000000000000.01", AmountError::TooLarge),
        ] {
            assert_eq!(Money::parse_positive(text, usd), Err(error), "{text}");
        }
        let too_precise = AmountError::TooPrecise { currency: usd, allowed: 2 };
        for digits in [3, 34, 100] {
            let text = format!("1.{}", "0".repeat(digits));
            assert_eq!(Money::parse_positive(&text, usd), Err(too_precise), "{text}");
        }
        // A request has no sign, whatever follows it.
        for text in ["-0", "-0.00", "-5"] {
            assert_eq!(Money::parse_unsigned(text, usd), Err(AmountError::Syntax), "{text}");
        }
        assert_eq!(Money::parse_unsigned("0.00", usd), Ok(Money::zero(usd)));
        assert!(Money::parse_positive("250.00", currency("JPY")).is_err());
    }

    #[test]
    fn currencies_do_not_mix() {
        let (usd, jpy) = (Money::new(1, currency("USD")), Money::new(1, currency("JPY")));
        assert_eq!(usd.checked_add(jpy), None);
        assert_eq!(usd.checked_sub(jpy), None);
        assert_eq!(usd.checked_add(usd), Some(Money::new(2, currency("USD"))));
    }

    proptest! {
        #[test]
        fn text_and_money_round_trip(
            minor in -POSTING_MINOR_MAX..=POSTING_MINOR_MAX,
            code in prop::sample::select(vec!["USD", "JPY", "KWD", "CLF", "IDR"]),
        ) {
            let money = Money::new(minor, currency(code));
            prop_assert_eq!(Money::parse(&money.decimal(), money.currency), Ok(money));
        }
    }
}
