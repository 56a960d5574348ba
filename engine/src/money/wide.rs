//! How the journal keeps an `i128`: as a plain integer of CBOR where that is large enough, else as sixteen bytes.

use minicbor::{
    Decoder, Encoder,
    data::Type,
    decode::Error as Undecoded,
    encode::{Error as Unencoded, Write},
};

/// What is kept so.
pub trait Wide: Sized {
    /// The number, or none.
    fn get(&self) -> Option<i128>;
    /// The other way round; `None` if there must be a number.
    fn of(number: Option<i128>) -> Option<Self>;
}

impl Wide for i128 {
    fn get(&self) -> Option<i128> {
        Some(*self)
    }

    fn of(number: Option<i128>) -> Option<Self> {
        number
    }
}

impl Wide for Option<i128> {
    fn get(&self) -> Option<i128> {
        *self
    }

    fn of(number: Option<i128>) -> Option<Self> {
        Some(number)
    }
}

/// Writes it.
pub fn encode<C, W: Write>(number: &impl Wide, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), Unencoded<W::Error>> {
    match number.get().map(|number| (i64::try_from(number), number)) {
        Some((Ok(small), _)) => encoder.i64(small)?.ok(),
        Some((Err(_), large)) => encoder.bytes(&large.to_be_bytes())?.ok(),
        None => encoder.null()?.ok(),
    }
}

/// Reads it.
pub fn decode<C, T: Wide>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<T, Undecoded> {
    let kind = decoder.datatype()?;
    let number = if kind == Type::Null {
        decoder.null()?;
        None
    } else if kind == Type::Bytes {
        let bytes = decoder.bytes()?.try_into();
        Some(i128::from_be_bytes(bytes.map_err(|_| Undecoded::message("a number has sixteen bytes"))?))
    } else {
        Some(decoder.i64()?.into())
    };
    T::of(number).ok_or_else(|| Undecoded::message("a number is missing"))
}

#[cfg(test)]
mod tests {
    use minicbor::{Decode, Encode};
    use proptest::prelude::*;

    #[derive(Debug, PartialEq, Encode, Decode)]
    struct Both {
        #[cbor(n(0), with = "super")]
        one: i128,
        #[cbor(n(1), with = "super")]
        other: Option<i128>,
    }

    proptest! {
        #[test]
        fn any_number_comes_back(one: i128, other: Option<i128>, small: i32) {
            for one in [one, small.into(), i64::MAX.into(), i128::from(i64::MAX) + 1, i128::MIN] {
                let both = Both { one, other };
                let bytes = minicbor::to_vec(&both).expect("it is written");
                prop_assert_eq!(minicbor::decode::<Both>(&bytes).expect("it is read"), both);
            }
        }
    }

    #[test]
    fn a_number_that_must_be_there_is_not_made_up() {
        assert!(minicbor::decode::<Both>(&[0x82, 0xf6, 0xf6]).is_err(), "null where a number belongs");
        assert!(minicbor::decode::<Both>(&[0x82, 0x41, 0x00, 0xf6]).is_err(), "one byte for sixteen");
    }
}
