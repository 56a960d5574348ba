//! Rates between the wire and the domain.

use std::collections::BTreeSet;

use arus_engine::{
    Command, Refusal,
    ledger::{
        fx::{Pair, PairPrice},
        request::{Notes, PublishRates, PublishedRate, RateSource, Request},
        time::Timestamp,
    },
    money::{Money, Rate},
};
use arus_proto::fx::v1 as wire;

use super::{Fields, timestamp};

/// How many pairs one publication may have.
const PUBLISHED_MAX: usize = 512;
/// The widest spread, in basis points.
const SPREAD_BPS_MAX: u32 = 2_000;

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
            if !seen.insert((rate.base.numeric(), rate.quote.numeric())) {
                fields.bad(
                    format_args!("rates[{n}]"),
                    &format!("{}/{}", rate.base, rate.quote),
                    "is given twice; give each pair once",
                );
            }
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

fn as_of(fields: &mut Fields, at: Option<&arus_proto::Timestamp>, now: Timestamp) -> Option<Option<Timestamp>> {
    let Some(at) = at else { return Some(None) };
    let rule = "must be a time after 1970 and not in the future, such as 2026-01-31T09:30:00Z";
    let parts = u64::try_from(at.seconds).ok().zip(u64::try_from(at.nanos).ok()).filter(|_| at.is_valid());
    let Some(micros) = parts.and_then(|(s, n)| s.checked_mul(1_000_000)?.checked_add(n / 1_000)).map(Timestamp) else {
        fields.bad("as_of", &format!("{} s and {} ns", at.seconds, at.nanos), rule);
        return None;
    };
    if micros > now {
        fields.beyond("as_of", &at.to_string(), rule);
    }
    Some(Some(micros))
}

fn rate(fields: &mut Fields, n: usize, rate: &wire::PublishedRate) -> Option<PublishedRate> {
    let base = fields.currency(format_args!("rates[{n}].base"), &rate.base);
    let quote = fields.currency(format_args!("rates[{n}].quote"), &rate.quote);
    let mid = fields.take(format_args!("rates[{n}].mid"), &rate.mid, Rate::parse(&rate.mid));
    let spread = rate.spread_bps.filter(|bps| *bps > SPREAD_BPS_MAX);
    if let Some(bps) = spread {
        let field = format!("rates[{n}].spread_bps");
        fields.bad(&field, &bps.to_string(), format_args!("must be 0 to {SPREAD_BPS_MAX}, such as 25"));
    }
    let (base, quote, mid) = (base?, quote?, mid?);
    if base == quote {
        fields.bad(format_args!("rates[{n}].quote"), quote.code(), "must not be the base");
        return None;
    }
    Some(PublishedRate { base, quote, mid, spread_bps: rate.spread_bps.and_then(|bps| u16::try_from(bps).ok()) })
}

/// Which pair to price.
pub fn pair(request: &wire::GetRateRequest) -> Result<Pair, Refusal> {
    let mut fields = Fields::default();
    let base = fields.currency("base", &request.base);
    let quote = fields.currency("quote", &request.quote);
    match (base, quote) {
        (Some(base), Some(quote)) if base != quote => Ok(Pair { base, quote }),
        (Some(_), Some(quote)) => {
            fields.bad("quote", quote.code(), "must not be the base");
            Err(fields.refuse())
        }
        _ => Err(fields.refuse()),
    }
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

/// A price for the wire.
pub fn price(price: &PairPrice) -> wire::Rate {
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
    }
}

fn source(source: RateSource) -> wire::RateSource {
    match source {
        RateSource::Ecb => wire::RateSource::Ecb,
        RateSource::Live => wire::RateSource::Live,
        RateSource::Demo => wire::RateSource::Demo,
    }
}
