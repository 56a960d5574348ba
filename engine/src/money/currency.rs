//! An ISO 4217 currency that knows its exponent, from the `iso_currency` table.
//!
//! Only currencies with minor units can hold money here (ISO 4217 gives gold or the SDR none), so a [`Currency`] in
//! hand can always price a minor unit. In the journal a currency is its alphabetic code: numeric ones are given away again
//! (532 was ANG and is XCG).

use std::{collections::HashMap, fmt, sync::LazyLock};

use foldhash::fast::FixedState;
use iso_currency::IntoEnumIterator as _;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode, encode::Write};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What the table still has and ISO 4217's list one does not: withdrawn, most of them for another currency. Accounts
/// that were opened before go on.
const WITHDRAWN: [&str; 5] = ["BGN", "CUC", "HRK", "SLL", "ZWL"];

/// A currency with minor units, by ISO 4217.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency(iso_currency::Currency);

impl Ord for Currency {
    /// By numeric code, as on disk.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.numeric().cmp(&other.numeric())
    }
}

impl PartialOrd for Currency {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Why a code names no currency that money can be kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CurrencyError {
    /// The code is not in ISO 4217.
    #[error("is not a currency of ISO 4217; codes are three capital letters, such as USD")]
    Unknown,
    /// ISO 4217 lists the code without minor units (XAU, XDR).
    #[error("is an ISO 4217 code without minor units; money cannot be kept in it")]
    NoMinorUnit,
}

impl Currency {
    /// The currency of an ISO 4217 alphabetic code, three capital letters.
    pub fn from_code(code: &str) -> Result<Self, CurrencyError> {
        // The table itself is searched from its beginning, and every payment names a currency.
        static BY_CODE: LazyLock<HashMap<&str, Currency, FixedState>> = LazyLock::new(|| {
            let all = iso_currency::Currency::iter().filter_map(|found| Currency::checked(Some(found)).ok());
            all.map(|currency| (currency.code(), currency)).collect()
        });
        match BY_CODE.get(code) {
            Some(currency) => Ok(*currency),
            None => Self::checked(iso_currency::Currency::from_code(code)),
        }
    }

    /// The currency of an ISO 4217 numeric code, as rows of the index keep it.
    pub fn from_numeric(numeric: u16) -> Result<Self, CurrencyError> {
        Self::checked(iso_currency::Currency::from_numeric(numeric))
    }

    fn checked(found: Option<iso_currency::Currency>) -> Result<Self, CurrencyError> {
        let currency = found.ok_or(CurrencyError::Unknown)?;
        currency.exponent().map(|_| Self(currency)).ok_or(CurrencyError::NoMinorUnit)
    }

    /// Whether ISO 4217 has withdrawn it.
    pub fn is_withdrawn(self) -> bool {
        WITHDRAWN.contains(&self.code())
    }

    /// The alphabetic code.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// The numeric code.
    pub fn numeric(self) -> u16 {
        self.0.numeric()
    }

    /// How many decimal digits the minor unit has: JPY 0, USD 2, KWD 3.
    pub fn exponent(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// By alphabetic code: numeric ones are given away again.
impl<C> Encode<C> for Currency {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        encoder.str(self.code())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Currency {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        Self::from_code(decoder.str()?).map_err(decode::Error::message)
    }
}

/// Of index rows, which are made anew where this changes.
impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.numeric())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_numeric(u16::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_follow_iso_4217() {
        for (code, exponent) in [("JPY", 0), ("USD", 2), ("IDR", 2), ("KWD", 3), ("CLF", 4)] {
            assert_eq!(Currency::from_code(code).map(Currency::exponent), Ok(exponent), "{code}");
        }
    }

    #[test]
    fn what_is_no_currency_is_refused() {
        for code in ["", "usd", "US", "USDD", "ZZZ", "U$D"] {
            assert_eq!(Currency::from_code(code), Err(CurrencyError::Unknown), "{code}");
        }
        assert_eq!(Currency::from_code("XAU"), Err(CurrencyError::NoMinorUnit));
    }

    #[test]
    fn withdrawn_currencies_are_known_and_marked() {
        let is_withdrawn = |code| Currency::from_code(code).map(Currency::is_withdrawn);
        for code in WITHDRAWN {
            assert_eq!(is_withdrawn(code), Ok(true), "{code}");
        }
        assert_eq!(is_withdrawn("EUR"), Ok(false));
    }
}
