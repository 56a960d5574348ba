//! Ids as newtypes: never bare strings or integers.
//!
//! String ids of up to 23 characters stand in place and longer ones are shared (`SmolStr`), so a payment's path clones
//! bytes or a pointer and allocates nothing. Every string id is bounded and of visible ASCII characters, which keeps
//! index keys and log lines plain.

use std::{fmt, ops::Deref};

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode, encode::Write};
use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

/// The longest id of an account or an owner, in bytes.
const ID_MAX: usize = 64;
/// The longest idempotency key, in bytes: as long as other payment APIs take them.
const KEY_MAX: usize = 255;

/// What accounts of the house itself start with; clients can name none of their own so.
pub const SYSTEM_PREFIX: &str = "sys/";

/// Why a text is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Empty, too long, or with a character that is not visible ASCII.
    #[error("must be 1 to {max} visible ASCII characters, such as {example}")]
    Shape {
        /// How long it may be.
        max: usize,
        /// A good one.
        example: &'static str,
    },
    /// Starts with [`SYSTEM_PREFIX`].
    #[error("must not start with sys/, which is kept for the house's own accounts and keys")]
    Reserved,
}

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident, $max:ident, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(SmolStr);

        impl $name {
            /// A client's id: visible ASCII characters, not starting with `sys/`.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                if text.starts_with(SYSTEM_PREFIX) {
                    return Err(IdError::Reserved);
                }
                Self::parse_any(text)
            }

            /// Any well-formed id, those of the house included.
            pub fn parse_any(text: &str) -> Result<Self, IdError> {
                if text.is_empty() || text.len() > $max || !text.bytes().all(|b| b.is_ascii_graphic()) {
                    return Err(IdError::Shape { max: $max, example: $example });
                }
                Ok(Self(text.into()))
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
                encoder.str(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                Self::parse_any(decoder.str()?).map_err(decode::Error::message)
            }
        }

        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

string_id! {
    /// The client's idempotency key, unique per tenant over all mutating methods (P2).
    TxId, KEY_MAX, "order-1001"
}
string_id! {
    /// An account.
    AccountId, ID_MAX, "acct-CUST-1-USD"
}
string_id! {
    /// Who owns accounts: a customer, a merchant, or the house.
    OwnerId, ID_MAX, "CUST-1"
}

impl AccountId {
    /// Whether this is an account of the house, which is created on first use and has no limits.
    pub fn is_system(&self) -> bool {
        self.starts_with(SYSTEM_PREFIX)
    }

    /// An account of the house: `sys/{role}/{currency}`.
    pub fn system(role: &str, currency: super::Currency) -> Self {
        Self(format_smolstr!("{SYSTEM_PREFIX}{role}/{currency}"))
    }
}

impl OwnerId {
    /// The owner of all accounts of the house.
    pub fn system() -> Self {
        Self(SmolStr::new_static("sys/house"))
    }

    /// Whether it is the house.
    pub fn is_system(&self) -> bool {
        self.starts_with(SYSTEM_PREFIX)
    }
}

/// A tenant; 0 is the default. Every entry and every index key starts with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode)]
#[cbor(transparent)]
pub struct TenantId(#[n(0)] pub u32);

/// A position in the journal: 1 for the first entry, without gaps. 0 is before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode)]
#[cbor(transparent)]
pub struct Lsn(#[n(0)] pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What one command makes: a payment, a deposit, a reservation. A UUID version 7 (RFC 9562), so it rises with time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OpId(pub u128);

/// As the sixteen bytes of a UUID, in their order (RFC 9562).
impl<C> Encode<C> for OpId {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        encoder.bytes(&self.0.to_be_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for OpId {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let bytes = decoder.bytes()?.try_into().map_err(|_| decode::Error::message("an id has sixteen bytes"))?;
        Ok(Self(u128::from_be_bytes(bytes)))
    }
}

impl OpId {
    /// Reads the hyphenated or plain hexadecimal form.
    pub fn parse(text: &str) -> Result<Self, uuid::Error> {
        uuid::Uuid::parse_str(text).map(|uuid| Self(uuid.as_u128()))
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_u128(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_visible_ascii_and_bounded() {
        let (id, key) = ("x".repeat(ID_MAX), "x".repeat(KEY_MAX));
        assert!(AccountId::parse(&id).is_ok() && OwnerId::parse(&id).is_ok() && TxId::parse(&key).is_ok());
        for text in ["", &format!("{key}x"), "a b", "caf\u{e9}", "a\n", "\u{0}"] {
            let rule = TxId::parse(text).expect_err(text).to_string();
            assert_eq!(rule, "must be 1 to 255 visible ASCII characters, such as order-1001", "{text:?}");
        }
        assert!(matches!(OwnerId::parse(&format!("{id}x")), Err(IdError::Shape { max: ID_MAX, .. })));
        assert_eq!(AccountId::parse("sys/fx/USD"), Err(IdError::Reserved));
        assert!(AccountId::parse_any("sys/fx/USD").is_ok_and(|id| id.is_system()));
    }
}
