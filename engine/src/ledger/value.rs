//! A field of a body as a value: to be compared, and to be shown.

use std::time::Duration;

use super::time::Timestamp;
use crate::money::{AccountId, Currency, Money, OpId, OwnerId, Rate};

/// A field, by the name of the wire.
pub type Field = (&'static str, Value);

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// It was left out.
    Absent,
    /// An id, a code or a name.
    Text(String),
    /// An amount with its currency.
    Money(Money),
    /// Yes or no.
    Flag(bool),
    /// A plain number.
    Number(u64),
    /// A point in time.
    Time(Timestamp),
    /// A length of time.
    Length(Duration),
    /// Several of one kind.
    Rows(Vec<Vec<Field>>),
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

macro_rules! texts {
    ($($of:ty),+) => { $(
        impl From<$of> for Value {
            fn from(value: $of) -> Self {
                Self::Text(value.to_string())
            }
        }
    )+ };
}

texts!(&AccountId, &OwnerId, OpId, Currency, Rate, &'static str);

macro_rules! values {
    ($($of:ty => $kind:ident),+) => { $(
        impl From<$of> for Value {
            fn from(value: $of) -> Self {
                Self::$kind(value)
            }
        }
    )+ };
}

values!(Money => Money, bool => Flag, u64 => Number, Timestamp => Time, Duration => Length, Vec<Vec<Field>> => Rows);
