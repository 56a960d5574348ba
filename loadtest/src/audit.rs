//! The books in the end, held against what was acknowledged: every balance, the desks, the sums, a sample of statements
//! line by line, and the server's own counts. What differs is named down to the payment.

use anyhow::{Context, bail, ensure};
use arus_proto::wallet::v1::{LineKind, StatementLine};

use crate::{
    oracle::Oracle,
    tally::{NAMED, Tally},
    workload::minor,
    world::{self, Held, World},
};

/// How many statements are read whole: the hottest account's and some others'.
const STATEMENTS: usize = 20;

/// What is held against what.
pub(crate) struct Audit<'a> {
    /// What was acknowledged.
    pub(crate) oracle: &'a Oracle,
    /// What there was at the start.
    pub(crate) world: &'a World,
    /// The last journal entry before the run.
    pub(crate) began_lsn: u64,
    /// Payments that the server says it captured and failed since; `None` if it was restarted.
    pub(crate) counted: Option<[u64; 2]>,
}

/// What an account should hold, and how many payments should have touched it.
#[derive(Debug, Clone, Copy)]
struct Expected {
    held: Held,
    lines: u64,
}

impl Audit<'_> {
    /// Says what was checked, or what is wrong.
    pub(crate) async fn check(&self) -> anyhow::Result<String> {
        let mut expected: Vec<_> = self.world.start.iter().map(|held| Expected { held: *held, lines: 0 }).collect();
        let mut desks = self.world.desks;
        let mut decided = [0, 0];
        for n in 0..self.oracle.payments() {
            decided[1] += u64::from(self.oracle.is_failed(n));
            if !self.oracle.is_captured(n) {
                continue;
            }
            decided[0] += 1;
            let planned = self.oracle.plan.payment(n);
            let (debited, credited) = self.oracle.amounts(&planned)?;
            if let Some([rupiah, dollars]) = &mut desks {
                (*rupiah, *dollars) = (*rupiah + debited, *dollars - credited);
            }
            for (account, change) in [(planned.payer, -debited), (planned.payee, credited)] {
                let account = expected.get_mut(usize::try_from(account)?).context("a known account")?;
                account.held.balance += change;
                account.lines += 1;
            }
        }
        self.check_balances(&expected, desks).await?;
        for (n, Expected { lines, .. }) in (0..).zip(&expected).take(STATEMENTS) {
            if let Some(differences) = self.differences(n, *lines).await? {
                bail!("the statement of {}: {differences}", self.oracle.plan.account(n));
            }
        }
        let counts = self.check_counts(decided)?;
        let desks = if desks.is_some() { ", both desks, the sums in IDR and USD with them" } else { ", their sum" };
        let [captured, failed] = decided;
        Ok(format!(
            "{captured} captured and {failed} failed payments: all {} balances{desks}, {} statements line by line{counts} are as acknowledged",
            expected.len(),
            STATEMENTS.min(expected.len()),
        ))
    }

    fn check_counts(&self, decided: [u64; 2]) -> anyhow::Result<&'static str> {
        let Some(counted) = self.counted else { return Ok(" (not the server's counts: it was restarted)") };
        ensure!(
            counted == decided,
            "the server counts {counted:?} payments captured and failed, acknowledged were {decided:?}, unless somebody else paid"
        );
        Ok(" and the server's counts")
    }

    async fn check_balances(&self, expected: &[Expected], desks: Option<[i128; 2]>) -> anyhow::Result<()> {
        let plan = &self.oracle.plan;
        let balances = world::balances(&self.world.wallets, plan).await?;
        let differ = |(_, (found, Expected { held, .. })): &(u64, (&Held, &Expected))| *found != held;
        let differing: Vec<_> = (0..).zip(balances.iter().zip(expected)).filter(differ).collect();
        let mut named = Vec::new();
        for (n, (found, Expected { held, lines })) in differing.iter().take(NAMED) {
            let lines =
                self.differences(*n, *lines).await?.unwrap_or_else(|| "its statement is as acknowledged".into());
            let account = plan.account(*n);
            named.push(format!("{account} has {found:?}, acknowledged were {held:?} (minor units): {lines}"));
        }
        ensure!(named.is_empty(), "{} accounts differ; {}", differing.len(), named.join("; "));
        let found = if desks.is_some() { Some(world::desks(&self.world.wallets).await?) } else { None };
        ensure!(
            found == desks,
            "the desks in IDR and USD hold {found:?}, acknowledged were {desks:?} (minor units), unless somebody else converted"
        );
        // Within each currency money only moves, between the run's accounts and the desks.
        let (found, funded) = (self.sums(&balances, found), self.sums(&self.world.start, self.world.desks));
        ensure!(
            found == funded,
            "accounts and desks hold {found:?} by currency, at first it was {funded:?} (minor units)"
        );
        Ok(())
    }

    /// What accounts and desks hold in IDR and in USD; in a run that does not convert, all is in one currency.
    fn sums(&self, held: &[Held], desks: Option<[i128; 2]>) -> [i128; 2] {
        let [mut rupiah, mut dollars] = desks.unwrap_or_default();
        for (n, Held { balance, .. }) in (0..).zip(held) {
            *(if self.oracle.plan.currency(n) == "IDR" { &mut rupiah } else { &mut dollars }) += balance;
        }
        [rupiah, dollars]
    }

    /// What an account's statement and the acknowledgements do not have in common; `None` if they agree.
    async fn differences(&self, account: u64, lines: u64) -> anyhow::Result<Option<String>> {
        let plan = &self.oracle.plan;
        let mut seen = vec![false; usize::try_from(self.oracle.payments())?];
        let (mut missing, mut surplus) = (Tally::default(), Tally::default());
        let (mut amounts, mut others) = (Tally::default(), Tally::default());
        let mut right = 0;
        let visit = |line: StatementLine| {
            if line.lsn <= self.began_lsn {
                return;
            }
            let Some(n) = plan.number(&line.tx_id) else { return others.add(&line.tx_id) };
            let first = usize::try_from(n)
                .ok()
                .and_then(|n| seen.get_mut(n))
                .is_some_and(|seen| !std::mem::replace(seen, true));
            match (self.change(n, account), moved(&line)) {
                (Some(change), moved) if first && moved == Some(change) => right += 1,
                (Some(change), moved) if first => {
                    let moved = moved.map_or_else(|| "unreadable".to_owned(), |moved| moved.to_string());
                    amounts.add(format_args!("{}: {moved} and not {change}", line.tx_id));
                }
                _ => surplus.add(&line.tx_id),
            }
        };
        world::statement(&self.world.wallets, plan.account(account), visit).await?;
        if right < lines {
            for (n, _) in (0..).zip(&seen).filter(|(n, seen)| !**seen && self.change(*n, account).is_some()) {
                missing.add(plan.tx_id(n));
            }
        }
        let all = [
            ("acknowledged without a line", missing),
            ("lines not acknowledged", surplus),
            ("lines of another amount (minor units)", amounts),
            ("moved by others", others),
        ];
        let named = all.iter().filter(|(_, of)| of.count() > 0);
        let named: Vec<_> = named.map(|(what, of)| format!("{what}: {} ({of})", of.count())).collect();
        Ok((!named.is_empty()).then(|| named.join("; ")))
    }

    /// What an acknowledged payment did to an account.
    fn change(&self, n: u64, account: u64) -> Option<i128> {
        let planned = self.oracle.is_captured(n).then(|| self.oracle.plan.payment(n))?;
        let (debited, credited) = self.oracle.amounts(&planned).ok()?;
        match account {
            _ if account == planned.payer => Some(-debited),
            _ if account == planned.payee => Some(credited),
            _ => None,
        }
    }
}

/// What a line did to the balance, in minor units; `None` if that cannot be read.
fn moved(line: &StatementLine) -> Option<i128> {
    let amount = line.amount.as_ref().and_then(minor)?;
    match line.kind() {
        LineKind::Debit | LineKind::Settle | LineKind::Return => Some(-amount),
        LineKind::Credit => Some(amount),
        LineKind::Authorize | LineKind::Void => Some(0),
        LineKind::Unspecified => None,
    }
}
