//! The rows of a transaction file: read, made into requests, and held against what was answered.

use std::{collections::BTreeMap, fmt, path::Path};

use anyhow::{Context, ensure};
use arus_proto::{
    common::v1::Money,
    payments::v1::{CreatePaymentRequest, Payment, PaymentStatus},
};

use crate::{
    dummy::{Layout, decimal},
    time,
    wallets::Wallet,
    workload::{PLACES_MAX, units},
};

/// One transaction of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transaction {
    /// Where it is, from 1; the header does not count.
    pub(crate) row: usize,
    pub(crate) id: String,
    pub(crate) source: Wallet,
    pub(crate) destination: Wallet,
    /// In the currency of the source.
    pub(crate) amount: Money,
    description: String,
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} ({})", self.row, self.id)
    }
}

/// What a payment moved, in units of [`PLACES_MAX`] decimal places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) debited: i128,
    pub(crate) credited: i128,
}

/// Reads a file; a bad row is named. The header tells the layout: its columns, in any order, beside any others.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Transaction>> {
    let name = path.display();
    let open = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path);
    let mut file = open.with_context(|| format!("{name} cannot be read"))?;
    let header = file.headers().with_context(|| format!("{name} cannot be read"))?.clone();
    let has = |layout: &Layout| layout.columns().iter().all(|column| header.iter().any(|found| found == *column));
    let layout = [Layout::Simple, Layout::Full].into_iter().find(has).with_context(|| {
        let known = [Layout::Simple, Layout::Full].map(|layout| layout.columns().join(","));
        let found = header.iter().collect::<Vec<_>>().join(",");
        format!("the header of {name} is {found}; it needs the columns {}", known.join(" or "))
    })?;
    let rows = file
        .records()
        .zip(1..)
        .map(|(record, row)| parse(layout, row, &header, &record?).with_context(|| format!("row {row} of {name}")));
    let rows = rows.collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(!rows.is_empty(), "{name} has no transactions");
    Ok(rows)
}

fn parse(
    layout: Layout,
    row: usize,
    header: &csv::StringRecord,
    record: &csv::StringRecord,
) -> anyhow::Result<Transaction> {
    let field = |name: &str| {
        let place = header.iter().position(|column| column == name);
        let value = place.and_then(|place| record.get(place)).filter(|value| !value.is_empty());
        value.with_context(|| format!("{name} is missing"))
    };
    let id = field("id")?.to_owned();
    let wallet = |account: &str, currency: &str| anyhow::Ok(Wallet::new(field(account)?, field(currency)?));
    Ok(match layout {
        Layout::Simple => {
            let source = wallet("source_account", "currency")?;
            let destination = wallet("destination_account", "currency")?;
            let amount = source.money(field("amount")?);
            Transaction { row, id, source, destination, amount, description: String::new() }
        }
        Layout::Full => {
            let source = wallet("source_account", "currency_src")?;
            let destination = wallet("destination_account", "currency_dst")?;
            let (text, at) = (field("amount_minor")?, field("timestamp")?);
            let minor =
                text.parse().with_context(|| format!("amount_minor \"{text}\" is not a count of minor units"))?;
            time::parse(at)
                .with_context(|| format!("timestamp \"{at}\" is no time, such as 2025-09-16T10:28:31.427875Z"))?;
            let amount = source.money(&decimal(minor, source.places()?));
            let description = field("description").unwrap_or_default().to_owned();
            Transaction { row, id, source, destination, amount, description }
        }
    })
}

/// The wallets that transactions name, and whether each pays.
pub(crate) fn wallets(transactions: &[Transaction]) -> BTreeMap<Wallet, bool> {
    let mut wallets = BTreeMap::new();
    for transaction in transactions {
        wallets.insert(transaction.source.clone(), true);
        wallets.entry(transaction.destination.clone()).or_insert(false);
    }
    wallets
}

impl Transaction {
    /// For the wire.
    pub(crate) fn request(&self) -> CreatePaymentRequest {
        CreatePaymentRequest {
            tx_id: self.id.clone(),
            customer_id: self.source.owner.clone(),
            amount: Some(self.amount.clone()),
            source_account: self.source.id(),
            destination_account: self.destination.id(),
            description: self.description.clone(),
            ..Default::default()
        }
    }

    /// What the payment moved, `None` if it was declined; an error says what is not as the row has it.
    pub(crate) fn moved(&self, payment: &Payment) -> Result<Option<Moved>, String> {
        let names = [
            ("tx_id", &payment.tx_id, &self.id),
            ("customer_id", &payment.customer_id, &self.source.owner),
            ("destination_account", &payment.destination_account, &self.destination.id()),
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
            (PaymentStatus::Captured, Some(debited), Some(credited)) if payment.source_account == self.source.id() => {
                self.amounts(debited, credited).map(Some).ok_or_else(odd)
            }
            _ => Err(odd()),
        }
    }

    /// The payer is debited what the row says, the payee credited the same unless it is in another currency.
    fn amounts(&self, debited: &Money, credited: &Money) -> Option<Moved> {
        let is_currency = debited.currency == self.source.currency && credited.currency == self.destination.currency;
        let moved = Moved { debited: units(debited, PLACES_MAX)?, credited: units(credited, PLACES_MAX)? };
        let is_debited = units(&self.amount, PLACES_MAX) == Some(moved.debited);
        let is_credited = if self.is_converting() { moved.credited > 0 } else { moved.credited == moved.debited };
        (is_currency && is_debited && is_credited).then_some(moved)
    }

    /// Whether it goes across currencies.
    pub(crate) fn is_converting(&self) -> bool {
        self.source.currency != self.destination.currency
    }
}

#[cfg(test)]
mod tests {
    use arus_proto::common::v1::Failure;

    use super::*;

    fn row(currency: &str, amount: &str) -> Transaction {
        parsed(Layout::Simple, &["t-1", currency, amount, "from", "to"]).expect("a row")
    }

    fn parsed(layout: Layout, fields: &[&str]) -> Result<Transaction, String> {
        let [header, record] = [layout.columns(), fields].map(csv::StringRecord::from);
        parse(layout, 3, &header, &record).map_err(|error| format!("{error:#}"))
    }

    fn sample(name: &str) -> Vec<Transaction> {
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name)).expect("the sample is read")
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
    fn a_row_has_a_time_and_a_currency() {
        let full = |currency: &str, at: &str| parsed(Layout::Full, &["t", "from", "to", "5", currency, "IDR", at, ""]);
        assert!(full("USD", "2026-01-01T00:00:00Z").expect("a time").is_converting());
        assert!(full("USD", "2025-09-16T10:28:31.427875+00:00Z").is_ok());
        assert!(full("USD", "yesterday").unwrap_err().contains("timestamp \"yesterday\""));
        assert!(full("USX", "2026-01-01T00:00:00Z").unwrap_err().contains("currency \"USX\""));
        assert_eq!(full("kwd", "2026-01-01T00:00:00Z").expect("three places").amount.amount, "0.005");
    }

    #[test]
    fn one_account_of_a_sample_has_a_wallet_for_each_currency() {
        for (name, payers, payees) in [
            ("payments-simple.csv", 9, ["ACC-1-EUR", "ACC-2-IDR", "ACC-3-JPY", "ACC-3-KWD", "ACC-3-SGD"].as_slice()),
            ("payments-full.csv", 8, &["ACC-1-EUR", "ACC-1-JPY", "ACC-2-GBP", "ACC-2-IDR", "ACC-2-MYR", "ACC-3-JPY"]),
        ] {
            let transactions = sample(name);
            let wallets = wallets(&transactions);
            assert_eq!(wallets.values().filter(|pays| **pays).count(), payers, "{name}: {wallets:?}");
            let only_paid: Vec<_> = wallets.iter().filter(|(_, pays)| !**pays).map(|(wallet, _)| wallet.id()).collect();
            assert_eq!(only_paid, payees, "{name}");
            let request = transactions[0].request();
            let named = [request.customer_id, request.source_account, request.destination_account];
            assert_eq!(named, ["ACC-1", "ACC-1-USD", "ACC-2-USD"]);
            assert_eq!(request.amount.expect("an amount").amount, "125.50");
        }
    }

    #[test]
    fn columns_stand_in_any_order_beside_others() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let text = "\u{feff}note,amount, currency ,id,destination_account,source_account\nx, 5.00,usd ,t-1,to,from\n";
        std::fs::write(file.path(), text).expect("written");
        let mut expected = row("USD", "5.00");
        expected.row = 1;
        assert_eq!(read(file.path()).expect("it is read"), [expected]);
        std::fs::write(file.path(), "id,amount\n1,2\n").expect("written");
        assert!(read(file.path()).unwrap_err().to_string().contains("is id,amount; it needs the columns id,currency"));
    }
}
