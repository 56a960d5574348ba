//! Opens the accounts of a JSON file: with the balance, the daily limit and the status that the file gives each.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, bail, ensure};
use arus_proto::{
    common::v1::Money,
    wallet::v1::{Account, AccountStatus, UpdateAccountRequest},
};
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    clients::{self, Wallets},
    console::say,
    progress::Bar,
    wallets::{Opened, Wallet, done},
    workload::{PLACES_MAX, units},
    world,
};

/// Begins the keys of what is opened here.
const BY: &str = "accounts";

/// Which accounts to open, and where.
#[derive(Args, Debug)]
pub(crate) struct AccountsArgs {
    /// The file: a JSON array, or one object per line, of {"id", "currency", "balance", "daily_limit", "status"}.
    #[arg(long)]
    file: PathBuf,
    /// WalletService.
    #[arg(long, default_value = "http://127.0.0.1:9093")]
    wallet: String,
}

/// An account as a file spells it. Amounts stay text: a number of JSON is no float here.
#[derive(Deserialize)]
struct Entry {
    #[serde(alias = "account_id")]
    id: String,
    currency: String,
    balance: Box<RawValue>,
    #[serde(default, alias = "daily_debit_limit", alias = "dailyLimit")]
    daily_limit: Option<Box<RawValue>>,
    #[serde(default)]
    status: Option<String>,
}

/// An account to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Opening {
    wallet: Wallet,
    balance: Money,
    daily_debit_limit: Option<Money>,
    status: AccountStatus,
}

/// `arus-load accounts`.
pub(crate) async fn accounts(args: &AccountsArgs) -> anyhow::Result<()> {
    let wallets = Wallets::new(clients::channel("WalletService", &args.wallet).await?);
    load(&args.file, &wallets).await
}

/// Opens the accounts of a file and holds each against it. Doing it twice changes nothing.
pub(crate) async fn load(file: &Path, wallets: &Wallets) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let openings = Arc::new(read(&text).with_context(|| file.display().to_string())?);
    let (opened, bar) = (Arc::new(AtomicUsize::new(0)), Bar::new("accounts", openings.len() as u64));
    world::for_each(openings.len() as u64, |n| {
        let (mut wallets, openings) = (wallets.clone(), Arc::clone(&openings));
        let (opened, bar) = (Arc::clone(&opened), bar.clone());
        async move {
            let opening = openings.get(usize::try_from(n)?).context("an account")?;
            let is_new = opening.open(&mut wallets).await.with_context(|| format!("account {opening}"))?;
            opened.fetch_add(usize::from(is_new), Ordering::Relaxed);
            bar.add(1);
            Ok(())
        }
    })
    .await?;
    bar.done();
    let (all, opened) = (openings.len(), opened.load(Ordering::Relaxed));
    let count = |status| openings.iter().filter(|opening| opening.status == status).count();
    say(&format!(
        "accounts {opened} opened and as the file says, {} opened by a run before; {} frozen, {} closed",
        all - opened,
        count(AccountStatus::Frozen),
        count(AccountStatus::Closed)
    ));
    Ok(())
}

/// Reads a file's text; a bad entry is named.
fn read(text: &str) -> anyhow::Result<Vec<Opening>> {
    let entries = if text.trim_start().starts_with('[') {
        serde_json::from_str(text)
    } else {
        serde_json::Deserializer::from_str(text).into_iter().collect::<Result<Vec<Entry>, _>>()
    };
    let entries = entries.context(
        "it is not what it should be: an array, or one object per line, such as \
         {\"id\":\"ACC-1\",\"currency\":\"USD\",\"balance\":\"100.00\",\"daily_limit\":\"50.00\",\"status\":\"active\"}",
    )?;
    ensure!(!entries.is_empty(), "it has no accounts");
    let mut openings: Vec<Opening> = Vec::with_capacity(entries.len());
    let mut known = std::collections::HashMap::new();
    for (n, entry) in (1..).zip(&entries) {
        let opening = Opening::of(entry).with_context(|| format!("entry {n} ({})", entry.id))?;
        if let Some(first) = known.insert(opening.wallet.clone(), n) {
            bail!("entries {first} and {n} are both account {opening}; allowed: one for an id in a currency");
        }
        openings.push(opening);
    }
    Ok(openings)
}

impl Opening {
    fn of(entry: &Entry) -> anyhow::Result<Self> {
        let wallet = Wallet::new(&entry.id, &entry.currency);
        wallet.places()?;
        let balance = amount(&wallet, "balance", &entry.balance)?;
        let limit = entry.daily_limit.as_ref();
        let daily_debit_limit = limit.map(|limit| amount(&wallet, "daily_limit", limit)).transpose()?;
        let status = status(entry.status.as_deref().unwrap_or_default())?;
        let is_empty = units(&balance, PLACES_MAX) == Some(0);
        ensure!(
            status != AccountStatus::Closed || is_empty,
            "status \"closed\" with the balance {}: only an empty account can be closed",
            balance.amount
        );
        Ok(Self { wallet, balance, daily_debit_limit, status })
    }

    /// Opens, funds, then freezes or closes: a frozen account takes no money. Says whether it was opened now.
    async fn open(&self, wallets: &mut Wallets) -> anyhow::Result<bool> {
        let opened = self.wallet.open(wallets, BY, self.daily_debit_limit.clone()).await?;
        ensure!(opened != Opened::Elsewhere, "it is there already, and was not opened out of such a file");
        if units(&self.balance, PLACES_MAX) != Some(0) {
            self.wallet.fund(wallets, BY, &self.balance.amount).await?;
        }
        if self.status != AccountStatus::Active {
            let update = UpdateAccountRequest {
                tx_id: format!("{BY}-status-{}", self.wallet.id()),
                account_id: self.wallet.id(),
                status: self.status.into(),
                ..Default::default()
            };
            done(wallets.update_account(update).await?.into_inner().operation)?;
        }
        if opened == Opened::Now {
            self.check(&self.wallet.read(wallets).await?)?;
        }
        Ok(opened == Opened::Now)
    }

    /// An account that was just opened is as the file has it.
    fn check(&self, found: &Account) -> anyhow::Result<()> {
        let same = |found: &Option<Money>, expected: Option<&Money>| {
            let of = |money: &Money| (money.currency.clone(), units(money, PLACES_MAX));
            found.as_ref().map(of) == expected.map(of)
        };
        ensure!(
            same(&found.balance, Some(&self.balance))
                && same(&found.daily_debit_limit, self.daily_debit_limit.as_ref())
                && found.status() == self.status,
            "it was opened and is not as the file says: {found:?}"
        );
        Ok(())
    }
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.wallet.owner, self.wallet.currency)
    }
}

/// An amount, given as text or as a number.
fn amount(wallet: &Wallet, name: &str, raw: &RawValue) -> anyhow::Result<Money> {
    let text = serde_json::from_str::<String>(raw.get()).unwrap_or_else(|_| raw.get().to_owned());
    let amount = wallet.money(&text);
    ensure!(
        units(&amount, PLACES_MAX).is_some_and(|units| units >= 0),
        "{name} {} is no amount; allowed: a decimal of 0 and more, such as 1500.25",
        raw.get()
    );
    Ok(amount)
}

/// A status in the words of most systems.
fn status(word: &str) -> anyhow::Result<AccountStatus> {
    let word = word.to_ascii_lowercase();
    match word.trim_start_matches("account_status_") {
        "" | "active" | "open" | "enabled" => Ok(AccountStatus::Active),
        "frozen" | "blocked" | "locked" | "suspended" | "inactive" | "disabled" => Ok(AccountStatus::Frozen),
        "closed" => Ok(AccountStatus::Closed),
        _ => {
            bail!("status \"{word}\" is not known; allowed: active, frozen (also blocked, suspended, inactive), closed")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str) -> Vec<Opening> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name);
        read(&std::fs::read_to_string(path).expect("the sample")).expect("accounts")
    }

    #[test]
    fn an_array_and_lines_are_read_alike() {
        let openings = sample("accounts.json");
        assert_eq!(openings, sample("accounts.jsonl"));
        let shown = openings.iter().map(|of| {
            let limit = of.daily_debit_limit.as_ref().map(|limit| limit.amount.as_str());
            (of.wallet.id(), of.balance.amount.as_str(), limit, of.status)
        });
        let of = |id: &str, balance, limit, status| (id.to_owned(), balance, limit, status);
        let expected = [
            of("ACC-1-USD", "10000.00", Some("5000.00"), AccountStatus::Active),
            of("ACC-1-IDR", "250000000", None, AccountStatus::Active),
            of("ACC-2-USD", "2500.75", Some("1000"), AccountStatus::Active),
            of("ACC-2-JPY", "0", None, AccountStatus::Frozen),
            of("ACC-3-KWD", "10.005", None, AccountStatus::Frozen),
            of("ACC-4-EUR", "0", None, AccountStatus::Closed),
        ];
        assert!(shown.eq(expected), "{openings:?}");
    }

    #[test]
    fn a_bad_entry_is_named_with_what_is_wrong() {
        let wrong = |text: &str| format!("{:#}", read(text).expect_err("it is wrong"));
        let entry = |rest: &str| format!(r#"{{"id":"A","currency":"USD",{rest}}}"#);
        assert!(wrong(&entry(r#""balance":-5"#)).contains("entry 1 (A): balance -5"));
        assert!(wrong(&entry(r#""balance":1e3"#)).contains("balance 1e3"), "no float near money");
        assert!(wrong(&entry(r#""balance":"much""#)).contains("balance \"much\""));
        assert!(wrong(&entry(r#""balance":1,"daily_limit":true"#)).contains("daily_limit true"));
        assert!(wrong(&entry(r#""balance":1,"status":"asleep""#)).contains("status \"asleep\""));
        assert!(wrong(&entry(r#""balance":1,"status":"closed""#)).contains("only an empty account"));
        assert!(wrong(&entry(r#""status":"active""#)).contains("missing field `balance`"));
        let twice = entry(r#""balance":1"#).repeat(2);
        assert!(wrong(&twice).contains("entries 1 and 2 are both account A in USD"));
        assert!(wrong("[]").contains("no accounts") && wrong("{").contains("line 1"));
    }

    #[test]
    fn an_account_is_held_against_the_file() {
        let openings = sample("accounts.json");
        let opening = openings.first().expect("an account");
        let right = Account {
            balance: Some(opening.wallet.money("10000.00")),
            daily_debit_limit: Some(opening.wallet.money("5000.00")),
            status: AccountStatus::Active.into(),
            ..Default::default()
        };
        assert!(opening.check(&right).is_ok());
        for change in [
            |of: &mut Account| of.balance.as_mut().expect("a balance").amount = "10000.01".into(),
            |of: &mut Account| of.daily_debit_limit = None,
            |of: &mut Account| of.status = AccountStatus::Frozen.into(),
        ] {
            let mut found = right.clone();
            change(&mut found);
            assert!(opening.check(&found).is_err(), "{found:?}");
        }
    }
}
