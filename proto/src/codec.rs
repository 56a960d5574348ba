//! The protobuf codec, with one difference from tonic's own: a message that cannot be decoded is the sender's mistake.
//!
//! tonic answers INTERNAL there; for us it is malformed input (INVALID_ARGUMENT with details), such as a string that
//! is not UTF-8.

use std::{collections::HashMap, marker::PhantomData};

use prost::Message;
use tonic::{
    Code, Status,
    codec::{Codec, DecodeBuf, Decoder},
};
use tonic_prost::{ProstCodec, ProstEncoder};
use tonic_types::{ErrorDetails, StatusExt};

/// Who explains an error, in `google.rpc.ErrorInfo`.
pub const ERROR_DOMAIN: &str = "arus.dev";

/// See the module.
pub struct ArusCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for ArusCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for ArusCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ArusDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        ArusDecoder(PhantomData)
    }
}

/// The reading half.
pub struct ArusDecoder<U>(PhantomData<U>);

impl<U: Message + Default> Decoder for ArusDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        U::decode(buffer).map(Some).map_err(|error| {
            let error = error.to_string();
            malformed(error.strip_prefix(UNDECODED).unwrap_or(&error))
        })
    }
}

/// How prost begins what it says of a message that it cannot read.
pub const UNDECODED: &str = "failed to decode Protobuf message: ";

/// Behind that it names the fields from the inside to the outside, `Inner.field: Outer.field: what is wrong`.
pub fn malformed(what: &str) -> Status {
    let (mut fields, mut rule) = (Vec::new(), what);
    while let Some((field, rest)) = rule.split_once(": ").and_then(|(at, rest)| Some((at.split_once('.')?.1, rest))) {
        fields.insert(0, field);
        rule = rest;
    }
    let field = fields.join(".");
    let what = if field.is_empty() { rule.to_owned() } else { format!("{field}: {rule}") };
    let mut details = ErrorDetails::new();
    details.set_error_info("MALFORMED_MESSAGE", ERROR_DOMAIN, HashMap::new());
    details.add_bad_request_violation(field, rule);
    Status::with_error_details(Code::InvalidArgument, format!("malformed message: {what}"), details)
}
