//! RemoveRates: pairs that are published no longer, all at once (P8).

use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use crate::{
    ledger::{
        command::{Body, Command, Defaults, unlike},
        decision::{Change, Decision},
        failure::{Failure, FailureCode},
        flow::{Flow, decided},
        fx::Pair,
        needs::{Found, Need, Needs, Terms, Unknown},
        rates::PairRow,
        time::Timestamp,
    },
    money::{OpId, OwnerId},
};

/// Pairs that are published no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveRates {
    /// The pairs: a set, their order says nothing, nor which way round each is named.
    pub pairs: Vec<Pair>,
}

impl RemoveRates {
    /// The rows it makes, once it took effect.
    pub fn rows(&self, op: OpId) -> Vec<PairRow> {
        let at = Timestamp::of_id(op);
        self.pairs.iter().map(|pair| PairRow::Removed { pair: *pair, at }).collect()
    }
}

impl Command for RemoveRates {
    fn needs(&self, _: &Terms<'_>, found: &Found) -> Result<Needs, Unknown> {
        Ok(if found.rounds == 0 { smallvec![Need::Rates] } else { Needs::new() })
    }

    fn runs_with(&self, _: &Found) -> OwnerId {
        OwnerId::system()
    }

    /// Only what is published can be removed: a removal that names any other pair is declined whole.
    fn begin(&self, _: &Terms<'_>, found: &Found) -> Result<Box<dyn Flow>, Unknown> {
        let book = found.rates()?;
        Ok(decided(match self.pairs.iter().find(|pair| book.row(**pair).is_none()) {
            None => Decision::of(Change::Rates, Vec::new()),
            Some(Pair { base, quote }) => {
                let message =
                    format!("no rate {base}/{quote} is published, so none of the pairs was removed; see ListRates");
                Decision::declined(Failure::new(FailureCode::FxRateUnavailable, message))
            }
        }))
    }
}

impl Body for RemoveRates {
    fn spell_out(&mut self, _: &Defaults<'_>) {
        self.pairs.iter_mut().for_each(|pair| *pair = pair.unordered());
        self.pairs.sort_unstable();
    }

    fn difference(&self, again: &Self) -> Option<&'static str> {
        let Self { pairs } = self;
        unlike(&[("pairs", *pairs == again.pairs)])
    }
}
