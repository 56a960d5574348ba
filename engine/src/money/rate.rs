//! [`Rate`]: an exact exchange rate, and the one place where money changes currency (P8).
//!
//! A rate is `mantissa / 10^scale`, counted in major units of the quote currency per major unit of the base. A
//! conversion multiplies once in `i128` and divides once, rounding in a named direction; what the rounding moved is
//! returned, so it can be shown.

use std::fmt;

use minicbor::{Decode, Encode};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Currency, Money, POSTING_MINOR_MAX, amount::plain_parts};

/// The largest mantissa: 18 significant digits (P8).
const MANTISSA_MAX: i128 = 1_000_000_000_000_000_000;
/// The largest scale (P8).
const SCALE_MAX: u32 = 18;
/// One hundred percent, in basis points.
const BASIS_POINTS: i128 = 10_000;
/// What a rounding is counted in: millionths of a minor unit.
const MICRO: i128 = 1_000_000;

/// Which way a division is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Away from zero: what a payer is debited.
    Up,
    /// Toward zero: what a payee is credited.
    Down,
}

/// Quote units per base unit: `mantissa / 10^scale`, never zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
pub struct Rate {
    #[n(0)]
    mantissa: u64,
    #[n(1)]
    scale: u8,
}

/// Why there is no such rate or conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// Not a plain positive decimal number.
    #[error("must be a plain decimal number greater than zero, such as 1.0835")]
    Syntax,
    /// More than 18 significant or fraction digits, or too large.
    #[error("must have at most 18 significant digits and 18 fraction digits, such as 1.0835")]
    OutOfRange,
    /// The converted value is less than one minor unit.
    #[error("is worth less than one minor unit after conversion")]
    TooSmall,
    /// The converted value is above 10^18 minor units.
    #[error("is above 10^18 minor units after conversion")]
    TooLarge,
}

/// A converted amount, and what the rounding moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conversion {
    /// The result.
    pub money: Money,
    /// Result minus exact value, in millionths of a minor unit of the result (toward zero).
    pub rounding_micro: i64,
}

/// A cross rate as it is rounded, and the two rates that the exact one lies between; all equal where it is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crossed {
    /// Rounded down.
    pub below: Rate,
    /// Rounded half up: what is recorded.
    pub mid: Rate,
    /// Rounded up.
    pub above: Rate,
}

impl Rate {
    /// One to one.
    pub const ONE: Self = Self { mantissa: 1, scale: 0 };

    /// Reads a positive decimal text exactly.
    pub fn parse(text: &str) -> Result<Self, RateError> {
        let (whole, fraction) = plain_parts(text).ok_or(RateError::Syntax)?;
        if whole.bytes().chain(fraction.bytes()).all(|digit| digit == b'0') {
            return Err(RateError::Syntax);
        }
        // More digits than a decimal has room for are more than a rate has.
        let decimal = Decimal::from_str_exact(text).map_err(|_| RateError::OutOfRange)?.normalize();
        Self::exact(decimal.mantissa(), decimal.scale())
    }

    fn exact(mantissa: i128, scale: u32) -> Result<Self, RateError> {
        if !(1..=MANTISSA_MAX).contains(&mantissa) || scale > SCALE_MAX {
            return Err(RateError::OutOfRange);
        }
        let mantissa = u64::try_from(mantissa).map_err(|_| RateError::OutOfRange)?;
        let scale = u8::try_from(scale).map_err(|_| RateError::OutOfRange)?;
        Ok(Self { mantissa, scale })
    }

    /// `(n0 * n1) / (d0 * d1)`, rounded once, half up, to 18 significant digits or 18 fraction digits: a cross rate,
    /// with its two neighbours. Use [`Rate::ONE`] for a factor that is not there. Long division keeps every step exact
    /// in `i128`.
    pub fn cross(numerators: [Self; 2], denominators: [Self; 2]) -> Result<Crossed, RateError> {
        let (n, n_scale) = Self::product(numerators)?;
        let (d, d_scale) = Self::product(denominators)?;
        let mut scale = n_scale.checked_sub(d_scale).ok_or(RateError::OutOfRange)?;
        let (mut quotient, mut rest) = (whole(n, d)?, remainder(n, d)?);
        // One digit more than is kept, so that the last one can be rounded.
        while rest != 0 && quotient < MANTISSA_MAX && scale <= i64::from(SCALE_MAX) {
            let next = rest.checked_mul(10).ok_or(RateError::OutOfRange)?;
            let digit = whole(next, d)?;
            rest = remainder(next, d)?;
            quotient = quotient.checked_mul(10).and_then(|q| q.checked_add(digit)).ok_or(RateError::OutOfRange)?;
            scale = scale.checked_add(1).ok_or(RateError::OutOfRange)?;
        }
        let mut dropped = 0;
        while quotient >= MANTISSA_MAX || scale > i64::from(SCALE_MAX) {
            rest |= dropped;
            dropped = remainder(quotient, 10)?;
            quotient = whole(quotient, 10)?;
            scale = scale.checked_sub(1).ok_or(RateError::OutOfRange)?;
        }
        let step = i128::from(dropped != 0 || rest != 0);
        let rounded = |up: i128| {
            let mut mantissa = quotient.checked_add(up).ok_or(RateError::OutOfRange)?;
            let mut scale = scale;
            while scale < 0 {
                mantissa = mantissa.checked_mul(10).ok_or(RateError::OutOfRange)?;
                scale = scale.checked_add(1).ok_or(RateError::OutOfRange)?;
            }
            Self::reduced(mantissa, u32::try_from(scale).map_err(|_| RateError::OutOfRange)?)
        };
        Ok(Crossed { below: rounded(0)?, mid: rounded(i128::from(dropped >= 5))?, above: rounded(step)? })
    }

    /// The product of two rates as mantissa (at most 10^36) and scale.
    fn product(rates: [Self; 2]) -> Result<(i128, i64), RateError> {
        let [a, b] = rates;
        let mantissa = i128::from(a.mantissa).checked_mul(i128::from(b.mantissa));
        let scale = i64::from(a.scale).checked_add(i64::from(b.scale));
        mantissa.zip(scale).ok_or(RateError::OutOfRange)
    }

    /// This rate with `spread_bps` basis points added ([`Rounding::Up`], an ask) or taken off ([`Rounding::Down`], a
    /// bid), rounded to 18 digits in that same direction, which is the desk's favour.
    pub fn with_spread(self, spread_bps: u16, rounding: Rounding) -> Result<Self, RateError> {
        let factor = match rounding {
            Rounding::Up => BASIS_POINTS.checked_add(i128::from(spread_bps)),
            Rounding::Down => BASIS_POINTS.checked_sub(i128::from(spread_bps)),
        };
        let mut mantissa = factor
            .filter(|factor| *factor > 0)
            .and_then(|factor| i128::from(self.mantissa).checked_mul(factor))
            .ok_or(RateError::OutOfRange)?;
        let mut scale = u32::from(self.scale).checked_add(4).ok_or(RateError::OutOfRange)?;
        while (mantissa > MANTISSA_MAX || scale > SCALE_MAX) && scale > 0 {
            mantissa = divide(mantissa, 10, rounding).ok_or(RateError::OutOfRange)?;
            scale = scale.checked_sub(1).ok_or(RateError::OutOfRange)?;
        }
        Self::reduced(mantissa, scale)
    }

    /// Converts `amount` (of the base currency) into `to`, dividing once. Less than one minor unit is
    /// [`RateError::TooSmall`] in either direction: nobody is charged a unit for a fraction of one.
    pub fn convert(self, amount: Money, to: Currency, rounding: Rounding) -> Result<Conversion, RateError> {
        let (exact, down) = self.exact_worth(amount, to)?;
        let whole = divide(exact, down, Rounding::Down).ok_or(RateError::TooLarge)?;
        let minor = divide(exact, down, rounding).ok_or(RateError::TooLarge)?;
        if whole == 0 {
            return Err(RateError::TooSmall);
        }
        if minor > POSTING_MINOR_MAX {
            return Err(RateError::TooLarge);
        }
        let moved = minor.checked_mul(down).and_then(|m| m.checked_sub(exact));
        // |moved| < down <= 10^22, so the product with MICRO stays inside i128.
        let rounding_micro = moved
            .and_then(|moved| moved.checked_mul(MICRO))
            .and_then(|moved| moved.checked_div(down))
            .and_then(|moved| i64::try_from(moved).ok())
            .ok_or(RateError::TooLarge)?;
        Ok(Conversion { money: Money::new(minor, to), rounding_micro })
    }

    /// Converts so that not even the smallest amount is worth nothing.
    pub fn convert_up(self, amount: Money, to: Currency) -> Result<Money, RateError> {
        let (exact, down) = self.exact_worth(amount, to)?;
        let minor = divide(exact, down, Rounding::Up).ok_or(RateError::TooLarge)?;
        if minor > POSTING_MINOR_MAX { Err(RateError::TooLarge) } else { Ok(Money::new(minor, to)) }
    }

    /// The exact worth in minor units, as numerator and denominator.
    fn exact_worth(self, amount: Money, to: Currency) -> Result<(i128, i128), RateError> {
        let product = amount.minor.checked_mul(i128::from(self.mantissa)).ok_or(RateError::TooLarge)?;
        let up = 10_i128.checked_pow(to.exponent()).ok_or(RateError::TooLarge)?;
        let down = u32::from(self.scale)
            .checked_add(amount.currency.exponent())
            .and_then(|power| 10_i128.checked_pow(power))
            .ok_or(RateError::TooLarge)?;
        // Cancel the common power of ten first, so that the product stays inside i128.
        let (up, down) = if up <= down {
            (1, down.checked_div(up).ok_or(RateError::TooLarge)?)
        } else {
            (up.checked_div(down).ok_or(RateError::TooLarge)?, 1)
        };
        let exact = product.checked_mul(up).ok_or(RateError::TooLarge)?;
        Ok((exact, down))
    }

    fn reduced(mut mantissa: i128, mut scale: u32) -> Result<Self, RateError> {
        while scale > 0 && mantissa != 0 && mantissa.checked_rem(10) == Some(0) {
            mantissa = mantissa.checked_div(10).ok_or(RateError::OutOfRange)?;
            scale = scale.checked_sub(1).ok_or(RateError::OutOfRange)?;
        }
        Self::exact(mantissa, scale)
    }
}

/// `numerator / denominator` of non-negative numbers, rounded as said.
fn divide(numerator: i128, denominator: i128, rounding: Rounding) -> Option<i128> {
    let quotient = numerator.checked_div(denominator)?;
    let rest = numerator.checked_rem(denominator)?;
    match rounding {
        Rounding::Up if rest != 0 => quotient.checked_add(1),
        Rounding::Up | Rounding::Down => Some(quotient),
    }
}

fn whole(numerator: i128, denominator: i128) -> Result<i128, RateError> {
    numerator.checked_div(denominator).ok_or(RateError::OutOfRange)
}

fn remainder(numerator: i128, denominator: i128) -> Result<i128, RateError> {
    numerator.checked_rem(denominator).ok_or(RateError::OutOfRange)
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimal = Decimal::try_from_i128_with_scale(i128::from(self.mantissa), u32::from(self.scale));
        decimal.map_or(Err(fmt::Error), |decimal| write!(f, "{decimal}"))
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn money(text: &str, code: &str) -> Money {
        Money::parse(text, Currency::from_code(code).expect("a currency")).expect("an amount")
    }

    fn rate(text: &str) -> Rate {
        Rate::parse(text).expect("a rate")
    }

    #[test]
    fn converts_between_exponents_in_the_named_direction() {
        let idr = Currency::from_code("IDR").expect("IDR");
        let jpy = Currency::from_code("JPY").expect("JPY");
        let up = rate("16012.345").convert(money("250.01", "USD"), idr, Rounding::Up).expect("fits");
        assert_eq!(up.money, money("4003246.38", "IDR"));
        let down = rate("154.329").convert(money("0.99", "USD"), jpy, Rounding::Down).expect("fits");
        assert_eq!(down.money, money("152", "JPY"));
        assert!(down.rounding_micro < 0 && up.rounding_micro > 0);
    }

    #[test]
    fn a_fraction_of_a_minor_unit_is_too_small_in_both_directions() {
        let usd = Currency::from_code("USD").expect("USD");
        for rounding in [Rounding::Up, Rounding::Down] {
            let tiny = rate("0.0000625").convert(money("0.01", "IDR"), usd, rounding);
            assert_eq!(tiny, Err(RateError::TooSmall));
        }
    }

    #[test]
    fn a_cross_rate_is_rounded_once_to_18_digits() {
        let one = Rate::ONE;
        let cross = |n, d| Rate::cross(n, d).expect("in range").mid.to_string();
        assert_eq!(cross([rate("18756.21"), one], [rate("1.1598"), one]), "16171.9348163476461");
        assert_eq!(cross([one, one], [rate("3"), one]), "0.333333333333333333");
        assert_eq!(cross([rate("2"), one], [rate("4"), one]), "0.5");
        assert_eq!(cross([rate("1.1598"), rate("16000.5")], [one, one]), "18557.3799");
        assert_eq!(cross([one, one], [rate("1.1598"), rate("16000.5")]), "0.000053886917516842");
    }

    #[test]
    fn a_spread_is_rounded_in_the_desks_favour() {
        let mid = rate("0.333333333333333333");
        assert_eq!(mid.with_spread(50, Rounding::Up).expect("fits").to_string(), "0.335");
        assert_eq!(mid.with_spread(50, Rounding::Down).expect("fits").to_string(), "0.331666666666666666");
        assert!(mid.with_spread(10_000, Rounding::Down).is_err());
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in ["", "0", "0.0", "-1", "1e5", "abc", "1.1.1", ".5", "5.", "."] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
        for text in ["0.0000000000000000001", "1234567890123456789", &format!("1.{}", "0".repeat(29)), &"9".repeat(100)]
        {
            assert_eq!(Rate::parse(text), Err(RateError::OutOfRange), "{text}");
        }
    }

    proptest! {
        /// There and back at one rate never makes money: the desk rounds in its own favour.
        #[test]
        fn a_round_trip_is_no_faucet(minor in 1_i128..1_000_000_000_000, mantissa in 1_u64..1_000_000_000, scale in 0_u8..9) {
            let usd = Currency::from_code("USD").expect("USD");
            let idr = Currency::from_code("IDR").expect("IDR");
            let rate = Rate { mantissa, scale };
            let amount = Money::new(minor, usd);
            if let Ok(bought) = rate.convert(amount, idr, Rounding::Down)
                && let Ok(paid) = rate.convert(amount, idr, Rounding::Up)
            {
                prop_assert!(paid.money.minor >= bought.money.minor);
                prop_assert!(paid.money.minor - bought.money.minor <= 1);
                // The exact product lies between the two.
                let exact = minor * i128::from(mantissa);
                let unit = 10_i128.pow(u32::from(scale));
                prop_assert!(bought.money.minor * unit <= exact && exact <= paid.money.minor * unit);
            }
        }
    }
}
