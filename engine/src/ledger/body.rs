//! What every command is: a body that says what it needs, begins a flow, and is compared with another under its key (P2).
//!
//! Each command is one file of [`super::commands`], with these parts in this order.

use std::fmt;

use super::{
    decision::Decision,
    flow::Flow,
    needs::{Found, House, Missing, Needs, Terms},
    rates::PairRow,
    time::Timestamp,
    value::Field,
};
use crate::money::{AccountId, Currency, OpId, OwnerId};

/// A body, from what it needs to its flow.
pub trait Body: fmt::Debug + Sync {
    /// Whether it keeps the bounds that hold whatever the ledger's state, and whatever limits the house has today. Asked
    /// once its key is known to be new: a limit that changed since refuses no replay (P2).
    fn check(&self, house: &House) -> Result<(), Missing>;

    /// What it still needs, given what was found so far; nothing once it can begin.
    fn needs(&self, terms: &Terms<'_>, found: &Found) -> Result<Needs, Missing>;

    /// Whose thread it runs on, once all is found.
    fn runs_with(&self, found: &Found) -> OwnerId;

    /// Its flow, once all is found.
    fn begin(&self, terms: &Terms<'_>, found: &Found) -> Result<Box<dyn Flow>, Missing>;

    /// Every field by the name of the wire, in its order: what two bodies are held against each other by, and what is shown
    /// of one. Each is taken apart by name, so that a field which is left out here does not compile.
    fn fields(&self) -> Vec<Field>;

    /// The rows it makes in the rate book once it took effect, if it is about rates.
    fn rate_rows(&self, _op: OpId, _committed_at: Timestamp) -> Vec<PairRow> {
        Vec::new()
    }

    /// In which currency the house names the payee, if the command leaves that to it.
    fn house_payee(&self) -> Option<Currency> {
        None
    }
}

/// What the house puts where a request leaves a field out, when a second request comes under a key.
#[derive(Debug, Clone, Copy)]
pub struct Defaults<'a> {
    /// What the first one came to.
    pub first: &'a Decision,
    /// What the house says today.
    pub house: &'a House,
    /// Whom a payment credits: as the first one was decided, or as the house would name it today.
    pub payee: Option<&'a AccountId>,
}

/// A body that can be held against another: "same body" (P2), field by field, what is left out spelled out first.
///
/// Whoever spells a default out asks for the same as whoever leaves it out.
pub trait SameBody: Body + Clone {
    /// Puts in what is left out: what held when the first was decided, where that says so.
    fn spell_out(&mut self, _defaults: &Defaults<'_>) {}

    /// The first field in which two differ.
    fn difference(&self, again: &Self, defaults: &Defaults<'_>) -> Option<&'static str> {
        let (mut first, mut again) = (self.clone(), again.clone());
        first.spell_out(defaults);
        again.spell_out(defaults);
        let fields = first.fields().into_iter().zip(again.fields());
        fields.into_iter().find(|(first, again)| first != again).map(|((name, _), _)| name)
    }
}
