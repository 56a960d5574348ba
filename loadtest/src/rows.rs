//! The rows of a transaction file: read, made into requests, and held against what was answered.

use std::path::Path;

use anyhow::Context;
use arus_proto::{
    common::v1::Money,
    payments::v1::{CreatePaymentRequest, Payment, PaymentStatus},
};

use crate::{
    dummy::{Layout, decimal, decimals},
    workload::{PLACES_MAX, units},
};

/// One transaction of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transaction {
    /// Where it is, from 1; the header does not count.
    pub(crate) row: usize,
    pub(crate) id: String,
    pub(crate) source: String,
    pub(crate) destination: String,
    /// In the currency of the source.
    pub(crate) amount: Money,
    /// The currency of the destination.
    pub(crate) currency_to: String,
    description: String,
}

/// What a payment moved, in units of [`PLACES_MAX`] decimal places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) debited: i128,
    pub(crate) credited: i128,
}

/// Reads a file; a bad row is named.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Transaction>> {
    let mut file = csv::Reader::from_path(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let header: Vec<String> = file.headers()?.iter().map(str::to_owned).collect();
    let layout = [Layout::Simple, Layout::Full].into_iter().find(|layout| layout.columns() == header);
    let layout = layout.with_context(|| {
        let known = [Layout::Simple, Layout::Full].map(|layout| layout.columns().join(","));
        format!("the header of {} is {}; allowed: {}", path.display(), header.join(","), known.join(" or "))
    })?;
    let rows = file.records().zip(1..).map(|(record, row)| {
        let record = record?;
        parse(layout, row, &record).with_context(|| format!("row {row} of {}", path.display()))
    });
    rows.collect()
}

fn parse(layout: Layout, row: usize, record: &csv::StringRecord) -> anyhow::Result<Transaction> {
    let field = |name: &str| {
        let place = layout.columns().iter().position(|column| *column == name);
        let value = place.and_then(|place| record.get(place)).filter(|value| !value.is_empty());
        value.map(str::to_owned).with_context(|| format!("{name} is missing"))
    };
    let (id, source, destination) = (field("id")?, field("source_account")?, field("destination_account")?);
    Ok(match layout {
        Layout::Simple => {
            let currency = field("currency")?;
            let amount = Money { currency: currency.clone(), amount: field("amount")? };
            Transaction { row, id, source, destination, amount, currency_to: currency, description: String::new() }
        }
        Layout::Full => {
            let (from, to, text) = (field("currency_src")?, field("currency_dst")?, field("amount_minor")?);
            let minor =
                text.parse().with_context(|| format!("amount_minor \"{text}\" is not a count of minor units"))?;
            let at = field("timestamp")?;
            let in_time = at.parse::<prost_types::Timestamp>();
            in_time.with_context(|| format!("timestamp \"{at}\" is not a time as RFC 3339 has it"))?;
            let places = decimals(&from).with_context(|| format!("currency_src \"{from}\" is not known here"))?;
            let amount = Money { currency: from, amount: decimal(minor, places) };
            let description = field("description").unwrap_or_default();
            Transaction { row, id, source, destination, amount, currency_to: to, description }
        }
    })
}

impl Transaction {
    /// For the wire.
    pub(crate) fn request(&self) -> CreatePaymentRequest {
        CreatePaymentRequest {
            tx_id: self.id.clone(),
            customer_id: owner(&self.source),
            amount: Some(self.amount.clone()),
            source_account: self.source.clone(),
            destination_account: self.destination.clone(),
            description: self.description.clone(),
            ..Default::default()
        }
    }

    /// What the payment moved, `None` if it was declined; an error says what is not as the row has it.
    pub(crate) fn moved(&self, payment: &Payment) -> Result<Option<Moved>, String> {
        let names = [
            ("tx_id", &payment.tx_id, &self.id),
            ("customer_id", &payment.customer_id, &owner(&self.source)),
            ("destination_account", &payment.destination_account, &self.destination),
        ];
        for (what, found, expected) in names {
            if found != expected {
                return Err(format!("was answered with the {what} \"{found}\" and not \"{expected}\""));
            }
        }
        let show = |money: &Option<Money>| {
            money.as_ref().map_or("nothing".into(), |money| format!("{} {}", money.amount, money.currency))
        };
        let odd = || {
            let [debited, credited] = [&payment.debited, &payment.credited].map(show);
            let status = payment.status().as_str_name();
            format!("ended as {status} with {debited} debited to {}, {credited} credited", payment.source_account)
        };
        if payment.payment_id.is_empty() || payment.lsn == 0 {
            return Err("was answered without a payment_id or an lsn".into());
        }
        match (payment.status(), &payment.debited, &payment.credited) {
            (PaymentStatus::Failed, None, None) if payment.failure.is_some() => Ok(None),
            (PaymentStatus::Captured, Some(debited), Some(credited)) if payment.source_account == self.source => {
                self.amounts(debited, credited).map(Some).ok_or_else(odd)
            }
            _ => Err(odd()),
        }
    }

    /// The payer is debited what the row says, the payee credited the same unless it is in another currency.
    fn amounts(&self, debited: &Money, credited: &Money) -> Option<Moved> {
        let is_currency = debited.currency == self.amount.currency && credited.currency == self.currency_to;
        let moved = Moved { debited: units(debited, PLACES_MAX)?, credited: units(credited, PLACES_MAX)? };
        let is_debited = units(&self.amount, PLACES_MAX) == Some(moved.debited);
        let is_credited = if self.is_converting() { moved.credited > 0 } else { moved.credited == moved.debited };
        (is_currency && is_debited && is_credited).then_some(moved)
    }

    /// Whether it goes across currencies.
    pub(crate) fn is_converting(&self) -> bool {
        self.amount.currency != self.currency_to
    }
}

/// Who owns an account of a file.
pub(crate) fn owner(account: &str) -> String {
    format!("of-{account}")
}

#[cfg(test)]
mod tests {
    use arus_proto::common::v1::Failure;

    use super::*;

    fn row(currency: &str, amount: &str) -> Transaction {
        let fields = ["t-1", currency, amount, "from", "to"];
        parse(Layout::Simple, 3, &csv::StringRecord::from(fields.to_vec())).expect("a row")
    }

    /// What is said of a row's answer that is as it should be but for a change.
    fn said(row: &Transaction, change: impl FnOnce(&mut Payment)) -> Result<Option<Moved>, String> {
        let request = row.request();
        let mut payment = Payment {
            payment_id: "p".into(),
            lsn: 1,
            tx_id: request.tx_id,
            customer_id: request.customer_id,
            status: PaymentStatus::Captured.into(),
            source_account: request.source_account,
            destination_account: request.destination_account,
            debited: request.amount.clone(),
            credited: request.amount,
            ..Default::default()
        };
        change(&mut payment);
        row.moved(&payment)
    }

    #[test]
    fn answers_are_held_against_the_row() {
        let row = row("KWD", "1.005");
        assert_eq!(said(&row, |_| ()), Ok(Some(Moved { debited: 10_050, credited: 10_050 })));
        let wrong = |change: fn(&mut Payment)| said(&row, change).expect_err("it is wrong");
        assert!(wrong(|p| p.destination_account = "thief".into()).contains("destination_account \"thief\""));
        assert!(wrong(|p| p.source_account = "other".into()).contains("debited to other"));
        assert!(wrong(|p| p.tx_id.push('x')).contains("tx_id"));
        assert!(wrong(|p| p.customer_id.clear()).contains("customer_id"));
        assert!(wrong(|p| p.payment_id.clear()).contains("payment_id"));
        assert!(wrong(|p| p.credited.as_mut().expect("moved").amount = "1.004".into()).contains("1.004 KWD credited"));
        assert!(wrong(|p| p.debited.as_mut().expect("moved").amount = "1.00".into()).contains("1.00 KWD debited"));
        assert!(wrong(|p| p.credited.as_mut().expect("moved").currency = "USD".into()).contains("USD credited"));
        // Told before or not, it must be as the row has it.
        assert!(wrong(|p| (p.replayed, p.credited) = (true, None)).contains("nothing credited"));
        assert!(wrong(|p| p.status = PaymentStatus::Pending.into()).contains("PENDING"));
    }

    #[test]
    fn declines_move_nothing() {
        let decline = |p: &mut Payment| {
            p.status = PaymentStatus::Failed.into();
            p.failure = Some(Failure::default());
        };
        let row = row("JPY", "2400");
        assert!(said(&row, decline).expect_err("money moved").contains("2400 JPY debited"));
        let moved = said(&row, |p| {
            decline(p);
            (p.debited, p.credited) = (None, None);
        });
        assert_eq!(moved, Ok(None));
    }

    #[test]
    fn a_row_has_a_time() {
        let full = |at: &str| {
            let fields = ["t-1", "from", "to", "5", "USD", "IDR", at, "rent"];
            parse(Layout::Full, 1, &csv::StringRecord::from(fields.to_vec())).map_err(|error| format!("{error:#}"))
        };
        assert!(full("2026-01-01T00:00:00Z").expect("a time").is_converting());
        assert!(full("yesterday").unwrap_err().contains("timestamp \"yesterday\""));
    }
}
