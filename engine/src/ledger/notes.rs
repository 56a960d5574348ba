//! What comes with a command and does not count for "same body" (P2): context, metadata, description.

use std::{
    ops::Deref,
    sync::{Arc, LazyLock},
};

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode, encode::Write};

/// What is kept with an entry but does not count for "same body". Personal data stays out of logs and metrics. Shared,
/// because payment, risk and entry all look at it; most commands come without, and then it takes no room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes(Option<Arc<NotesText>>);

impl<C> Encode<C> for Notes {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, context: &mut C) -> Result<(), encode::Error<W::Error>> {
        self.0.as_deref().encode(encoder, context)
    }
}

impl<'b, C> Decode<'b, C> for Notes {
    fn decode(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Self, decode::Error> {
        Ok(Option::<NotesText>::decode(decoder, context)?.unwrap_or_default().into())
    }
}

/// See [`Notes`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct NotesText {
    /// Where the payment was made.
    #[n(0)]
    pub context: RiskContext,
    /// The client's own keys and values.
    #[n(1)]
    pub metadata: Vec<(String, String)>,
    /// The client's own words: a description, or a deposit's reference.
    #[n(2)]
    pub description: String,
}

/// Where a payment was made, as the client says. All optional; empty means not given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct RiskContext {
    /// IP address.
    #[n(0)]
    pub ip: String,
    /// Device id.
    #[n(1)]
    pub device_id: String,
    /// ISO 3166-1 alpha-2 country of the customer.
    #[n(2)]
    pub country: String,
    /// ISO 3166-1 alpha-2 country of the billing address.
    #[n(3)]
    pub billing_country: String,
    /// Channel, such as web or pos.
    #[n(4)]
    pub channel: String,
    /// ISO 18245 merchant category code.
    #[n(5)]
    pub mcc: String,
}

impl NotesText {
    /// Whether nothing came with the command, as with most.
    fn is_empty(&self) -> bool {
        let Self { context, metadata, description } = self;
        let RiskContext { ip, device_id, country, billing_country, channel, mcc } = context;
        let texts = [description, ip, device_id, country, billing_country, channel, mcc];
        metadata.is_empty() && texts.into_iter().all(String::is_empty)
    }
}

impl From<NotesText> for Notes {
    fn from(text: NotesText) -> Self {
        Self((!text.is_empty()).then(|| Arc::new(text)))
    }
}

impl Deref for Notes {
    type Target = NotesText;

    fn deref(&self) -> &NotesText {
        static NONE: LazyLock<NotesText> = LazyLock::new(NotesText::default);
        self.0.as_deref().unwrap_or(&NONE)
    }
}
