//! RemoveRates: pairs that are published no longer, all at once (P8).

use minicbor::{Decode, Encode};
use smallvec::smallvec;

use crate::{
    ledger::{
        bounds,
        body::{SameBody, Body, Defaults},
        decision::{Change, Decision},
        failure::{Failure, FailureCode},
        flow::{Flow, decided},
        fx::Pair,
        needs::{Found, House, Missing, Need, Needs, Terms, Turn},
        rates::PairRow,
        time::Timestamp,
        value::Field,
    },
    money::{OpId, OwnerId},
};

/// Pairs that are published no longer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RemoveRates {
    /// The pairs: a set, their order says nothing, nor which way round each is named.
    #[n(0)]
    pub pairs: Vec<Pair>,
}

impl Body for RemoveRates {
    fn check(&self, _: &House) -> Result<(), Missing> {
        bounds::pairs("pairs", self.pairs.len())?;
        self.pairs.iter().try_for_each(|pair| bounds::two_currencies("quote", pair.base == pair.quote))
    }

    fn needs(&self, _: &Terms<'_>, found: &Found) -> Result<Needs, Missing> {
        Ok(if found.rounds == 0 { smallvec![Need::Turn(Turn::Rates), Need::Rates] } else { Needs::new() })
    }

    fn runs_with(&self, _: &Found) -> OwnerId {
        OwnerId::system()
    }

    /// Only what is published can be removed: a removal that names any other pair is declined whole.
    fn begin(&self, _: &Terms<'_>, found: &Found) -> Result<Box<dyn Flow>, Missing> {
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

    fn fields(&self) -> Vec<Field> {
        let Self { pairs } = self;
        let row = |pair: &Pair| vec![("base", pair.base.into()), ("quote", pair.quote.into())];
        let rows: Vec<_> = pairs.iter().map(row).collect();
        vec![("pairs", rows.into())]
    }

    fn rate_rows(&self, op: OpId, _: Timestamp) -> Vec<PairRow> {
        let at = Timestamp::of_id(op);
        self.pairs.iter().map(|pair| PairRow::Removed { pair: *pair, at }).collect()
    }
}

impl SameBody for RemoveRates {
    fn spell_out(&mut self, _: &Defaults<'_>) {
        self.pairs.iter_mut().for_each(|pair| *pair = pair.unordered());
        self.pairs.sort_unstable();
    }
}
