//! Splits and fees between the wire and the domain.

use arus_engine::{
    ledger::{
        parts::{FeePart, Part, Parts},
        refund::{NamedSplit, Refund, RefundPart},
        splits::{Fee, Portion, SPLITS_MAX, Sharing, Split},
    },
    money::Money,
};
use arus_proto::{common::v1 as common, payments::v1 as wire};

use super::{Fields, bounds::TEXT_MAX, money};

/// How a payment is shared, if it is; nothing if it is not, or something of it is bad.
pub(super) fn sharing(
    fields: &mut Fields,
    splits: Vec<wire::Split>,
    fee: Option<&wire::Fee>,
    amount: Option<Money>,
) -> Option<Box<Sharing>> {
    if splits.len() > SPLITS_MAX {
        fields.miscounted("splits", format_args!("has {} splits; at most {SPLITS_MAX} share a payment", splits.len()));
        return None;
    }
    let (count, is_shared) = (splits.len(), !splits.is_empty() || fee.is_some());
    let splits = splits.into_iter().enumerate();
    let splits: Vec<Split> = splits.filter_map(|(n, of)| split(fields, n, of, amount)).collect();
    let taken = fee.and_then(|fee| self::fee(fields, fee, amount));
    if !is_shared || splits.len() < count || taken.is_some() != fee.is_some() {
        return None;
    }
    let sharing = Sharing { splits, fee: taken };
    if let Some(Err(unsound)) = amount.map(|amount| sharing.divide(amount)) {
        fields.miscounted(&unsound.at.to_string(), unsound.rule);
    }
    Some(Box::new(sharing))
}

fn split(fields: &mut Fields, n: usize, split: wire::Split, whole: Option<Money>) -> Option<Split> {
    use wire::split::Portion as Wire;
    let at = |name: &str| format!("splits[{n}].{name}");
    let destination = fields.account(&at("destination_account"), &split.destination_account);
    let portion = match split.portion {
        Some(Wire::Amount(amount)) => part(fields, &at("amount"), &amount, whole).map(Portion::Amount),
        Some(Wire::BasisPoints(bps)) => basis_points(fields, &at("basis_points"), bps).map(Portion::BasisPoints),
        Some(Wire::Remainder(true)) => Some(Portion::Remainder),
        Some(Wire::Remainder(false)) => {
            fields.bad(at("remainder"), "false", "can only be true; give amount or basis_points instead");
            None
        }
        None => {
            fields.miscounted(&format!("splits[{n}]"), "must say amount, basis_points or remainder");
            None
        }
    };
    let reference = fields.text(at("reference"), split.reference, TEXT_MAX);
    Some(Split { destination: destination?, portion: portion?, reference })
}

/// A part of the whole, in its currency.
fn part(fields: &mut Fields, field: &str, part: &common::Money, whole: Option<Money>) -> Option<Money> {
    let amount = fields.amount(field, Some(part))?;
    match whole.filter(|whole| whole.currency != amount.currency) {
        None => Some(amount),
        Some(whole) => {
            let rule = format_args!("must be {}, as the payment's amount", whole.currency);
            fields.bad(format_args!("{field}.currency"), &part.currency, rule);
            None
        }
    }
}

fn fee(fields: &mut Fields, fee: &wire::Fee, whole: Option<Money>) -> Option<Fee> {
    use wire::fee::Of;
    match &fee.of {
        Some(Of::Amount(amount)) => part(fields, "fee.amount", amount, whole).map(Fee::Amount),
        Some(Of::BasisPoints(bps)) => basis_points(fields, "fee.basis_points", *bps).map(Fee::BasisPoints),
        None => {
            fields.miscounted("fee", "must say amount or basis_points");
            None
        }
    }
}

/// How many it may be is a rule of the sharing as a whole.
fn basis_points(fields: &mut Fields, field: &str, bps: u32) -> Option<u16> {
    let rule = "must be 1 to 10000, such as 250 for 2.5 %";
    fields.take(field, &bps.to_string(), u16::try_from(bps).ok().filter(|bps| (1..=10_000).contains(bps)).ok_or(rule))
}

/// The splits that a refund names.
pub(super) fn named(fields: &mut Fields, splits: &[wire::RefundSplit]) -> Option<Vec<NamedSplit>> {
    if splits.len() > SPLITS_MAX {
        fields.miscounted("splits", format_args!("names {} splits; at most {SPLITS_MAX} can be", splits.len()));
        return None;
    }
    let named = splits.iter().enumerate().map(|(n, split)| {
        let amount = match &split.amount {
            None => Some(None),
            given => fields.amount(&format!("splits[{n}].amount"), given.as_ref()).map(Some),
        };
        if split.split_index.is_none() {
            fields.missing(format_args!("splits[{n}].split_index"));
        }
        Some(NamedSplit { index: split.split_index?, amount: amount? })
    });
    named.collect::<Vec<_>>().into_iter().collect()
}

/// The parts of a payment for the wire.
pub(super) fn parts(shared: Option<&Parts>) -> (Vec<wire::PaymentSplit>, Option<wire::PaymentFee>) {
    let Some(shared) = shared else { return (Vec::new(), None) };
    let splits = (0..).zip(&shared.splits).map(|(index, part)| split_of(index, part));
    (splits.collect(), shared.fee.as_ref().map(fee_of))
}

fn split_of(split_index: u32, part: &Part) -> wire::PaymentSplit {
    wire::PaymentSplit {
        split_index: Some(split_index),
        destination_account: part.account.to_string(),
        amount: Some(money(part.amount)),
        amount_captured: Some(money(part.captured)),
        amount_refunded: Some(money(part.refunded)),
        credited: Some(part.credited).filter(|credited| credited.minor > 0).map(money),
        reference: part.reference.clone(),
    }
}

fn fee_of(fee: &FeePart) -> wire::PaymentFee {
    wire::PaymentFee {
        account_id: fee.part.account.to_string(),
        amount: Some(money(fee.part.amount)),
        amount_captured: Some(money(fee.part.captured)),
        amount_refunded: Some(money(fee.part.refunded)),
        split_index: Some(fee.carrier),
    }
}

/// What each part gave back, for the wire: splits, then the fee, which was taken out of the split `carrier`.
pub(super) fn given_back(refund: &Refund, carrier: u32) -> (Vec<wire::RefundPart>, Option<wire::RefundPart>) {
    let part = |part: &RefundPart| wire::RefundPart {
        split_index: Some(part.split.unwrap_or(carrier)),
        source_account: part.account.to_string(),
        amount: Some(money(part.amount)),
        debited: part.debited.map(money),
    };
    let parts = refund.parts.as_deref().unwrap_or_default();
    let (splits, fee): (Vec<_>, Vec<_>) = parts.iter().partition(|part| part.split.is_some());
    (splits.into_iter().map(part).collect(), fee.first().map(|fee| part(fee)))
}
