//! The rates that stand: one row per unordered pair, a pure function of the journal (P8).
//!
//! A [`RateBook`] is one immutable version of all rates; an entry makes the next one, so all its pairs switch together.
//! A newer rate replaces an older one whoever published it and whichever way round; an older one is recorded and
//! replaces nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    fx::{Pair, RateSource},
    time::{STEP_MAX, Timestamp},
};
use crate::money::{Currency, OpId, Rate};

/// How many pairs the book holds at most.
pub const BOOK_PAIRS_MAX: usize = 1_024;

/// One published rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookRow {
    /// The currency that is priced.
    pub base: Currency,
    /// The currency it is priced in.
    pub quote: Currency,
    /// Quote units per base unit.
    pub mid: Rate,
    /// Basis points added to an ask and taken off a bid; the configured default if none were published.
    pub spread_bps: Option<u16>,
    /// Who said so.
    pub source: RateSource,
    /// When it was true.
    pub at: Timestamp,
    /// The publication it came with.
    pub rate_id: OpId,
}

/// What stands for a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PairRow {
    /// A rate.
    Rate(BookRow),
    /// None: it was removed, and what is older than that does not bring it back.
    Removed {
        /// The pair.
        pair: Pair,
        /// When.
        at: Timestamp,
    },
}

impl PairRow {
    /// The pair, the same for both directions.
    pub fn pair(&self) -> Pair {
        match self {
            Self::Rate(row) => Pair { base: row.base, quote: row.quote }.unordered(),
            Self::Removed { pair, .. } => pair.unordered(),
        }
    }

    fn at(&self) -> Timestamp {
        match self {
            Self::Rate(row) => row.at,
            Self::Removed { at, .. } => *at,
        }
    }
}

/// One version of all rates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateBook {
    /// How many entries this book has seen: two prices are of one set if this is equal.
    pub version: u64,
    /// Rates are at most [`BOOK_PAIRS_MAX`]; with what was removed, at most one row for any two currencies.
    rows: BTreeMap<Pair, PairRow>,
}

impl RateBook {
    /// The book that rows describe.
    pub fn of(rows: impl IntoIterator<Item = PairRow>) -> Self {
        Self { version: 0, rows: rows.into_iter().map(|row| (row.pair(), row)).collect() }
    }

    /// Takes in the rows of one durable entry that was accepted at a time: the one place where it is decided what
    /// stands. Says which rows changed.
    pub fn take_all(&mut self, rows: Vec<PairRow>, accepted: Timestamp) -> Vec<PairRow> {
        self.version = self.version.saturating_add(1);
        rows.into_iter().filter(|row| self.take(row, accepted)).collect()
    }

    /// Puts a row in place of an older one. Times are compared as finely as ids tell them, in milliseconds.
    fn take(&mut self, row: &PairRow, accepted: Timestamp) -> bool {
        let stands = self.rows.get(&row.pair()).map(PairRow::at);
        // What lies further ahead of the moment this was accepted than a clock may step was written by a wrong clock, and
        // gives way. A clock that steps back a little makes nothing old new.
        let believable = accepted.plus(STEP_MAX);
        let is_older = stands.is_some_and(|at| at <= believable && row.at().millis() < at.millis());
        if !is_older {
            self.rows.insert(row.pair(), row.clone());
        }
        !is_older
    }

    /// The rate of a pair in either direction.
    pub fn row(&self, pair: Pair) -> Option<&BookRow> {
        match self.rows.get(&pair.unordered()) {
            Some(PairRow::Rate(row)) => Some(row),
            Some(PairRow::Removed { .. }) | None => None,
        }
    }

    /// All rates.
    pub fn rows(&self) -> impl Iterator<Item = &BookRow> {
        self.rows.values().filter_map(|row| match row {
            PairRow::Rate(row) => Some(row),
            PairRow::Removed { .. } => None,
        })
    }

    /// How many pairs there would be with these besides.
    pub fn pairs_with(&self, pairs: impl Iterator<Item = Pair>) -> usize {
        let new = pairs.filter(|pair| self.row(*pair).is_none()).map(Pair::unordered).collect::<BTreeSet<_>>();
        self.rows().count().saturating_add(new.len())
    }
}
