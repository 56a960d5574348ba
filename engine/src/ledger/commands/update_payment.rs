//! UpdatePayment: what a client notes about a payment, metadata and description; no money moves.

use minicbor::{Decode, Encode};
use smallvec::smallvec;

use crate::{
    ledger::{
        body::{Body, SameBody},
        bounds::{METADATA_BYTES_MAX, METADATA_MAX},
        decision::{Change, Decision},
        failure::{Failure, FailureCode},
        flow::{Flow, decided},
        life::Life,
        needs::{Found, House, Missing, Need, Needs, Terms, Turn},
        notes::NotesText,
        payment::Payment,
        value::{Field, Value},
    },
    money::{OpId, OwnerId},
};

/// Change what is noted about a payment.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct UpdatePayment {
    /// The payment.
    #[n(0)]
    pub payment: OpId,
    /// Keys to set; one with an empty value is taken away. Others stay.
    #[n(1)]
    pub metadata: Vec<(String, String)>,
    /// The new description, if it changes.
    #[n(2)]
    pub description: Option<String>,
}

impl Body for UpdatePayment {
    fn check(&self, _: &House) -> Result<(), Missing> {
        Ok(())
    }

    fn needs(&self, _: &Terms<'_>, found: &Found) -> Result<Needs, Missing> {
        Ok(match found.rounds {
            0 => smallvec![Need::Turn(Turn::Object(self.payment)), Need::Object(self.payment)],
            _ => Needs::new(),
        })
    }

    fn runs_with(&self, found: &Found) -> OwnerId {
        found.customer_of_payment(self.payment)
    }

    fn begin(&self, _: &Terms<'_>, found: &Found) -> Result<Box<dyn Flow>, Missing> {
        let (payment, life) = found.payment(self.payment)?;
        let mut life = Box::new(life.clone());
        let before = life.before.as_mut().ok_or(Missing::NotAsked("where the payment comes from"))?;
        let notes = self.noted(&before.origin.notes);
        if let Err(failure) = check(payment, &notes) {
            return Ok(decided(Decision::declined_with(failure, Change::Payment(payment.clone()))));
        }
        before.origin.notes = notes.into();
        let life = Life { version: life.version.saturating_add(1), ..*life };
        let after = Payment { life: Some(Box::new(life)), ..payment.clone() };
        Ok(decided(Decision::of(Change::Payment(after), Vec::new())))
    }

    fn fields(&self) -> Vec<Field> {
        let Self { payment, metadata, description } = self;
        let text = |text: &String| Value::Text(text.clone());
        let pair = |(key, value): &(String, String)| vec![("key", text(key)), ("value", text(value))];
        vec![
            ("payment_id", (*payment).into()),
            ("metadata", metadata.iter().map(pair).collect::<Vec<_>>().into()),
            ("description", description.as_ref().map(text).into()),
        ]
    }
}

impl SameBody for UpdatePayment {}

impl UpdatePayment {
    fn noted(&self, before: &NotesText) -> NotesText {
        let mut notes = before.clone();
        notes.metadata.retain(|(key, _)| self.metadata.iter().all(|(set, _)| set != key));
        notes.metadata.extend(self.metadata.iter().filter(|(_, value)| !value.is_empty()).cloned());
        notes.metadata.sort_unstable();
        if let Some(description) = &self.description {
            notes.description.clone_from(description);
        }
        notes
    }
}

/// What is noted in all is bounded as in a payment that is made.
fn check(payment: &Payment, notes: &NotesText) -> Result<(), Failure> {
    let bytes_of = |(key, value): &(String, String)| key.len().saturating_add(value.len());
    let (pairs, bytes) = (notes.metadata.len(), notes.metadata.iter().map(bytes_of).fold(0, usize::saturating_add));
    if pairs <= METADATA_MAX && METADATA_BYTES_MAX >= bytes {
        return Ok(());
    }
    let message = format!(
        "payment {} would have {pairs} pairs of metadata of {bytes} bytes; at most {METADATA_MAX} of {METADATA_BYTES_MAX} bytes \
         are allowed",
        payment.id
    );
    Err(Failure::new(FailureCode::MetadataTooLarge, message))
}
