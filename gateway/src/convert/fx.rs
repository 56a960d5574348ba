//! Rates between the wire and the domain.

use std::collections::BTreeSet;

use arus_engine::{
    Command, Refusal,
    ledger::{
        bounds::{PUBLISHED_MAX, SPREAD_BPS_MAX},
        commands::{PublishRates, RemoveRates, Request, publish_rates::PublishedRate},
        fx::{Pair, PairPrice, RateSource},
        notes::Notes,
        time::Timestamp,
    },
    money::{Money, Rate},
};
use arus_proto::fx::v1 as wire;

use super::{Fields, timestamp};

/// Rates to publish; `now` is what "not in the future" means.
pub fn publish(request: &wire::PublishRatesRequest, now: Timestamp) -> Result<Command, Refusal> {
    let mut fields = Fields::default();
    let tx_id = fields.tx_id(&request.tx_id);
    let source = match wire::RateSource::try_from(request.source) {
        Ok(wire::RateSource::Ecb) => Some(RateSource::Ecb),
        Ok(wire::RateSource::Live) => Some(RateSource::Live),
        Ok(wire::RateSource::Demo) => Some(RateSource::Demo),
        Ok(wire::RateSource::Unspecified) => {
            fields.missing("source");
            None
        }
        Err(_) => {
            fields.bad("source", &request.source.to_string(), "is not a known RateSource, such as RATE_SOURCE_ECB");
            None
        }
    };
    if request.rates.is_empty() || request.rates.len() > PUBLISHED_MAX {
        let rule = format_args!("has {} pairs; publish 1 to {PUBLISHED_MAX} at once", request.rates.len());
        fields.miscounted("rates", rule);
    }
    let as_of = as_of(&mut fields, request.as_of.as_ref(), now);
    let mut seen = BTreeSet::new();
    let mut rates = Vec::with_capacity(request.rates.len().min(PUBLISHED_MAX));
    for (n, published) in request.rates.iter().take(PUBLISHED_MAX).enumerate() {
        if let Some(rate) = rate(&mut fields, n, published) {
            note_pair(&mut fields, &mut seen, format_args!("rates[{n}]"), Pair { base: rate.base, quote: rate.quote });
            rates.push(rate);
        }
    }
    match (tx_id, source, as_of) {
        (Some(tx_id), Some(source), Some(as_of)) if fields.is_good() => {
            Ok(fields.command(tx_id, Request::PublishRates(PublishRates { source, as_of, rates }), Notes::default()))
        }
        _ => Err(fields.refuse()),
    }
}

/// A pair stands once in a set: EUR/USD and USD/EUR are one pair.
fn note_pair(fields: &mut Fields, seen: &mut BTreeSet<Pair>, field: std::fmt::Arguments<'_>, pair: Pair) {
    if !seen.insert(pair.unordered()) {
        let rule = "is given twice; both directions of a pair have one rate, so give one of them";
        // An older build took both: what was published then is replayed.
        fields.beyond(field, &format!("{}/{}", pair.base, pair.quote), rule);
    }
}

/// Pairs to remove.
pub fn remove(request: &wire::RemoveRatesRequest) -> Result<Command, Refusal> {
    let mut fields = Fields::default();
    let tx_id = fields.tx_id(&request.tx_id);
    if request.pairs.is_empty() || request.pairs.len() > PUBLISHED_MAX {
        let rule = format_args!("has {} pairs; remove 1 to {PUBLISHED_MAX} at once", request.pairs.len());
        fields.miscounted("pairs", rule);
    }
    let (mut seen, mut pairs) = (BTreeSet::new(), Vec::with_capacity(request.pairs.len().min(PUBLISHED_MAX)));
    for (n, named) in request.pairs.iter().take(PUBLISHED_MAX).enumerate() {
        if let Some(pair) = two_currencies(&mut fields, format_args!("pairs[{n}]."), &named.base, &named.quote) {
            note_pair(&mut fields, &mut seen, format_args!("pairs[{n}]"), pair);
            pairs.push(pair);
        }
    }
    match tx_id {
        Some(tx_id) if fields.is_good() => {
            Ok(fields.command(tx_id, Request::RemoveRates(RemoveRates { pairs }), Notes::default()))
        }
        _ => Err(fields.refuse()),
    }
}

/// Two currencies that are not the same; `within` is what stands before their fields' names.
fn two_currencies(fields: &mut Fields, within: std::fmt::Arguments<'_>, base: &str, quote: &str) -> Option<Pair> {
    let (base, quote) =
        (fields.currency(format_args!("{within}base"), base), fields.currency(format_args!("{within}quote"), quote));
    let (base, quote) = (base?, quote?);
    if base == quote {
        fields.bad(format_args!("{within}quote"), quote.code(), "must not be the base");
        return None;
    }
    Some(Pair { base, quote })
}

fn as_of(fields: &mut Fields, at: Option<&arus_proto::Timestamp>, now: Timestamp) -> Option<Option<Timestamp>> {
    let Some(at) = at else { return Some(None) };
    let rule = "must be a time after 1970 and not in the future, such as 2026-01-31T09:30:00Z";
    let Some(micros) = super::micros(*at) else {
        fields.bad("as_of", &format!("{} s and {} ns", at.seconds, at.nanos), rule);
        return None;
    };
    if micros > now {
        fields.beyond("as_of", &at.to_string(), rule);
    }
    Some(Some(micros))
}

fn rate(fields: &mut Fields, n: usize, rate: &wire::PublishedRate) -> Option<PublishedRate> {
    let pair = two_currencies(fields, format_args!("rates[{n}]."), &rate.base, &rate.quote);
    let mid = fields.take(format_args!("rates[{n}].mid"), &rate.mid, Rate::parse(&rate.mid));
    let spread = rate.spread_bps.filter(|bps| *bps > u32::from(SPREAD_BPS_MAX));
    if let Some(bps) = spread {
        let field = format!("rates[{n}].spread_bps");
        fields.bad(&field, &bps.to_string(), format_args!("must be 0 to {SPREAD_BPS_MAX}, such as 25"));
    }
    let (Pair { base, quote }, mid) = (pair?, mid?);
    Some(PublishedRate { base, quote, mid, spread_bps: rate.spread_bps.and_then(|bps| u16::try_from(bps).ok()) })
}

/// Which pair to price.
pub fn pair(request: &wire::GetRateRequest) -> Result<Pair, Refusal> {
    let mut fields = Fields::default();
    let pair = two_currencies(&mut fields, format_args!(""), &request.base, &request.quote);
    pair.ok_or_else(|| fields.refuse())
}

/// What to convert, and by which pair.
pub fn convert(request: &wire::ConvertRequest) -> Result<(Money, Pair), Refusal> {
    let mut fields = Fields::default();
    let amount = fields.amount("amount", request.amount.as_ref());
    let to = fields.currency("to_currency", &request.to_currency);
    match (amount, to) {
        (Some(amount), Some(quote)) if amount.currency != quote => Ok((amount, Pair { base: amount.currency, quote })),
        (Some(_), Some(to)) => {
            fields.bad("to_currency", to.code(), "must not be the amount's currency");
            Err(fields.refuse())
        }
        _ => Err(fields.refuse()),
    }
}

/// A price for the wire, and whether it is too old to be used.
pub fn price(price: &PairPrice, stale: bool) -> wire::Rate {
    wire::Rate {
        base: price.pair.base.code().to_owned(),
        quote: price.pair.quote.code().to_owned(),
        bid: price.bid.to_string(),
        ask: price.ask.to_string(),
        mid: price.mid.to_string(),
        spread_bps: price.spread_bps.into(),
        via: price.via.map_or_else(String::new, |via| via.code().to_owned()),
        source: source(price.source).into(),
        at: Some(timestamp(price.at)),
        rate_id: price.rate_id.to_string(),
        stale,
    }
}

fn source(source: RateSource) -> wire::RateSource {
    match source {
        RateSource::Ecb => wire::RateSource::Ecb,
        RateSource::Live => wire::RateSource::Live,
        RateSource::Demo => wire::RateSource::Demo,
    }
}
