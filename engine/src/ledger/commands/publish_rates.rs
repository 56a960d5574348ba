//! PublishRates: one atomic set of rates (P8).

use minicbor::{Decode, Encode};
use smallvec::smallvec;

use crate::{
    ledger::{
        bounds,
        body::{SameBody, Body, Defaults},
        decision::{Change, Decision},
        failure::{Failure, FailureCode},
        flow::{Flow, decided},
        fx::{Pair, RateSource},
        needs::{Found, House, Missing, Need, Needs, Terms, Turn},
        rates::{BOOK_PAIRS_MAX, BookRow, PairRow},
        time::Timestamp,
        value::Field,
    },
    money::{Currency, OpId, OwnerId, Rate},
};

/// One atomic set of rates.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PublishRates {
    /// Who says so: decides how old the rates may get.
    #[n(0)]
    pub source: RateSource,
    /// When they were true; when they were accepted if not named.
    #[n(1)]
    pub as_of: Option<Timestamp>,
    /// The rates: a set, their order says nothing.
    #[n(2)]
    pub rates: Vec<PublishedRate>,
}

/// One pair of a set.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PublishedRate {
    /// The currency that is priced.
    #[n(0)]
    pub base: Currency,
    /// The currency it is priced in.
    #[n(1)]
    pub quote: Currency,
    /// Quote units per base unit.
    #[n(2)]
    pub mid: Rate,
    /// What the desk adds to an ask and takes off a bid, in basis points; the configured default if `None`.
    #[n(3)]
    pub spread_bps: Option<u16>,
}

impl Body for PublishRates {
    fn check(&self, _: &House) -> Result<(), Missing> {
        bounds::pairs("rates", self.rates.len())?;
        self.rates.iter().try_for_each(|rate| {
            bounds::two_currencies("quote", rate.base == rate.quote)?;
            rate.spread_bps.map_or(Ok(()), |spread| bounds::spread("spread_bps", spread))
        })
    }

    fn needs(&self, _: &Terms<'_>, found: &Found) -> Result<Needs, Missing> {
        Ok(if found.rounds == 0 { smallvec![Need::Turn(Turn::Rates), Need::Rates] } else { Needs::new() })
    }

    fn runs_with(&self, _: &Found) -> OwnerId {
        OwnerId::system()
    }

    /// The book is bounded: a publication with new pairs beyond that is declined whole.
    fn begin(&self, _: &Terms<'_>, found: &Found) -> Result<Box<dyn Flow>, Missing> {
        let pairs = self.rates.iter().map(|rate| Pair { base: rate.base, quote: rate.quote });
        // One that adds none is taken whatever there is.
        let (stand, pairs) = (found.rates()?.rows().count(), found.rates()?.pairs_with(pairs));
        Ok(decided(if pairs <= BOOK_PAIRS_MAX.max(stand) {
            Decision::of(Change::Rates, Vec::new())
        } else {
            let message = format!(
                "there would be {pairs} published pairs, at most {BOOK_PAIRS_MAX} are kept; remove those that are not used"
            );
            Decision::declined(Failure::new(FailureCode::TooManyPairs, message))
        }))
    }

    fn fields(&self) -> Vec<Field> {
        let Self { source, as_of, rates } = self;
        let row = |rate: &PublishedRate| {
            let PublishedRate { base, quote, mid, spread_bps } = rate;
            vec![
                ("base", (*base).into()),
                ("quote", (*quote).into()),
                ("mid", (*mid).into()),
                ("spread_bps", spread_bps.map(u64::from).into()),
            ]
        };
        let rows: Vec<_> = rates.iter().map(row).collect();
        vec![("source", source.name().into()), ("as_of", (*as_of).into()), ("rates", rows.into())]
    }

    fn rate_rows(&self, rate_id: OpId, committed_at: Timestamp) -> Vec<PairRow> {
        // Not the block's time, which may lie ahead.
        let at = self.as_of.unwrap_or(Timestamp::of_id(rate_id).min(committed_at));
        let row = |rate: &PublishedRate| BookRow {
            base: rate.base,
            quote: rate.quote,
            mid: rate.mid,
            spread_bps: rate.spread_bps,
            source: self.source,
            at,
            rate_id,
        };
        self.rates.iter().map(|rate| PairRow::Rate(row(rate))).collect()
    }
}

impl SameBody for PublishRates {
    fn spell_out(&mut self, defaults: &Defaults<'_>) {
        self.rates.sort_by_key(|rate| (rate.base.numeric(), rate.quote.numeric()));
        for rate in &mut self.rates {
            rate.spread_bps = rate.spread_bps.or(Some(defaults.house.spread_bps_default));
        }
    }
}
