//! The accounts that files name. In a file one account id may hold several currencies; an account of Arus holds one. So
//! an account id and a currency make a wallet: `ACC-1` in USD is the account `ACC-1-USD`, and the id of the file, `ACC-1`,
//! is the customer who owns it and pays out of it.

use anyhow::{Context, bail, ensure};
use arus_proto::{
    common::v1::{FailureCode, Money, Operation, OperationStatus},
    wallet::v1::{Account, DepositRequest, GetAccountRequest, OpenAccountRequest},
};

use crate::clients::Wallets;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Wallet {
    /// The account id of the file, which is the owner's.
    pub(crate) owner: String,
    /// ISO 4217.
    pub(crate) currency: String,
}

/// What came of opening a wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    /// It was opened now.
    Now,
    /// The same call had opened it before.
    Before,
    /// Something else had opened it, for the same owner and in the same currency.
    Elsewhere,
}

impl Wallet {
    /// The currency may be spelled in small letters.
    pub(crate) fn new(owner: &str, currency: &str) -> Self {
        Self { owner: owner.to_owned(), currency: currency.to_ascii_uppercase() }
    }

    /// The account's id in Arus. No two wallets share one: a currency always has three letters.
    pub(crate) fn id(&self) -> String {
        format!("{}-{}", self.owner, self.currency)
    }

    /// An amount in its currency, without the zeros that programs write beyond its decimal places (`4200.00` JPY).
    pub(crate) fn money(&self, amount: &str) -> Money {
        let places = self.places().ok().and_then(|places| usize::try_from(places).ok());
        let amount = match (amount.split_once('.'), places) {
            (Some((whole, fraction)), Some(places)) => {
                let (kept, beyond) = fraction.split_at_checked(places).unwrap_or((fraction, ""));
                let kept = format!("{kept}{}", beyond.trim_end_matches('0'));
                if kept.is_empty() && places == 0 { whole.to_owned() } else { format!("{whole}.{kept}") }
            }
            _ => amount.to_owned(),
        };
        Money { currency: self.currency.clone(), amount }
    }

    /// Decimal places of its currency, as ISO 4217 has them.
    pub(crate) fn places(&self) -> anyhow::Result<u32> {
        let places = iso_currency::Currency::from_code(&self.currency).and_then(iso_currency::Currency::exponent);
        let none = || format!("currency \"{}\" is no currency of ISO 4217, such as USD", self.currency);
        places.map(u32::from).with_context(none)
    }

    /// Opens it; `by` begins the key, so that a second call by the same changes nothing.
    pub(crate) async fn open(
        &self,
        wallets: &mut Wallets,
        by: &str,
        daily_debit_limit: Option<Money>,
    ) -> anyhow::Result<Opened> {
        let open = OpenAccountRequest {
            tx_id: format!("{by}-open-{}", self.id()),
            account_id: self.id(),
            owner_id: self.owner.clone(),
            currency: self.currency.clone(),
            daily_debit_limit,
            ..Default::default()
        };
        let operation =
            wallets.open_account(open).await?.into_inner().operation.context("no operation was answered")?;
        if operation.failure.as_ref().is_some_and(|failure| failure.code() == FailureCode::AccountExists) {
            let found = self.read(wallets).await?;
            ensure!(
                found.owner_id == self.owner && found.currency == self.currency,
                "it is there already, but {} owns it, in {}; rename the account in the file",
                found.owner_id,
                found.currency
            );
            return Ok(Opened::Elsewhere);
        }
        let replayed = done(Some(operation))?.replayed;
        Ok(if replayed { Opened::Before } else { Opened::Now })
    }

    /// Puts money in, once for each `by`.
    pub(crate) async fn fund(&self, wallets: &mut Wallets, by: &str, amount: &str) -> anyhow::Result<()> {
        let fund = DepositRequest {
            tx_id: format!("{by}-fund-{}", self.id()),
            account_id: self.id(),
            amount: Some(self.money(amount)),
            ..Default::default()
        };
        done(wallets.deposit(fund).await?.into_inner().operation).map(drop)
    }

    /// The account as it is now.
    pub(crate) async fn read(&self, wallets: &mut Wallets) -> anyhow::Result<Account> {
        let answer = wallets.get_account(GetAccountRequest { account_id: self.id(), as_of: None }).await?.into_inner();
        answer.account.context("no account was answered")
    }
}

/// An operation that was carried out; one that was declined is an error.
pub(crate) fn done(operation: Option<Operation>) -> anyhow::Result<Operation> {
    let operation = operation.context("no operation was answered")?;
    match (operation.status(), &operation.failure) {
        (OperationStatus::Completed, None) => Ok(operation),
        (_, Some(failure)) => bail!("declined as {}: {}", failure.code().as_str_name(), failure.message),
        (status, None) => bail!("ended as {}", status.as_str_name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_beyond_a_currency_are_no_money() {
        let of = |currency, amount| Wallet::new("A", currency).money(amount).amount;
        for (currency, amount, expected) in [
            ("JPY", "4200.00", "4200"),
            ("JPY", "4200", "4200"),
            ("JPY", "4200.50", "4200.5"),
            ("USD", "19.990000", "19.99"),
            ("USD", "125.5", "125.5"),
            ("USD", "19.999", "19.999"),
            ("KWD", "1.0050", "1.005"),
            ("USD", "5.", "5."),
            ("XXX", "1.000", "1.000"),
        ] {
            assert_eq!(of(currency, amount), expected, "{amount} {currency}");
        }
        assert!(Wallet::new("A", "USX").places().unwrap_err().to_string().contains("\"USX\""));
    }

    #[test]
    fn an_account_has_a_wallet_for_each_currency() {
        let [dollars, rupiah] = ["USD", "idr"].map(|currency| Wallet::new("ACC-1", currency));
        assert_eq!((dollars.id(), rupiah.id()), ("ACC-1-USD".into(), "ACC-1-IDR".into()));
        assert_eq!((dollars.owner, rupiah.owner), ("ACC-1".into(), "ACC-1".into()));
        assert_ne!(Wallet::new("ACC", "USD").id(), Wallet::new("ACC-USD", "EUR").id());
    }
}
