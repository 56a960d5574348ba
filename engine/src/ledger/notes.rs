//! What comes with a command and does not count for "same body" (P2): context, metadata, description.

use std::{
    ops::Deref,
    sync::{Arc, LazyLock},
};

use serde::{Deserialize, Serialize};

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

/// Where a payment was made, as the client says. All optional; empty means not given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskContext {
    /// IP address.
    pub ip: String,
    /// Device id.
    pub device_id: String,
    /// ISO 3166-1 alpha-2 country of the customer.
    pub country: String,
    /// ISO 3166-1 alpha-2 country of the billing address.
    pub billing_country: String,
    /// Channel, such as web or pos.
    pub channel: String,
    /// ISO 18245 merchant category code.
    pub mcc: String,
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
