//! `arus verify`: walks the whole journal and holds everything against it. Read-only; beside a running server it
//! checks the synced prefix.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use arus_engine::{
    index::{AccountKey, Index, fjall::FjallIndex},
    journal::{
        Block, audit,
        block::for_each_account,
        disk::{Access, RealDisk},
    },
    ledger::{
        account::{Account, fold},
        invariants,
    },
    money::{Currency, Lsn, Money},
    runtime::data_dir::{Beside, DataDir},
};

use crate::index_copy::IndexCopy;

/// How many accounts of the index are read at once.
const INDEX_PAGE: usize = 10_000;

/// One check with its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// What was found; `Err` where it is wrong.
    pub outcome: Result<String, String>,
}

/// All checks, in the order they were made; a broken journal ends them.
pub fn run(data_dir: &Path) -> anyhow::Result<Vec<Check>> {
    let (dir, beside) = DataDir::open_read_only(data_dir)?;
    let disk = RealDisk::open(&dir.journal(), Access::ReadOnly)?;
    let index = match beside {
        Beside::Server => None,
        Beside::NoServer => Some(open_index(&dir.index())),
    };
    let upto = match &index {
        Some(Ok(Some((_, upto)))) => *upto,
        Some(Ok(None) | Err(_)) | None => Lsn(0),
    };
    let mut books = Books::default();
    let walked = audit::walk(&disk, |_, block| books.take(block, upto));
    let chain = walked.map_err(|error| error.to_string()).map(|w| {
        let hash: String = w.head.hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let (lsn, blocks) = (w.head.lsn, w.blocks);
        format!("{} segments, {blocks} blocks, {} entries, head lsn {lsn} hash {hash}...", w.segments, w.entries)
    });
    let whole = chain.is_ok();
    let mut checks = vec![Check { name: "journal chain", outcome: chain }];
    if whole {
        let compared = match index {
            None => Ok("not compared: a running server holds the index (stop it to compare)".to_owned()),
            Some(Ok(None)) => Ok("not compared: there is no index folder; the next start builds it".to_owned()),
            Some(Ok(Some((copy, upto)))) => books.compare(&copy.index, upto),
            Some(Err(why)) => Err(why),
        };
        checks.push(Check { name: "zero sums", outcome: books.zero_sums() });
        checks.push(Check { name: "no overdrawn account", outcome: books.overdrawn() });
        checks.push(Check { name: "balances against the index", outcome: compared });
    }
    Ok(checks)
}

/// The index with its watermark; `None` where the folder is missing, which is allowed.
fn open_index(folder: &Path) -> Result<Option<(IndexCopy, Lsn)>, String> {
    if !folder.exists() {
        return Ok(None);
    }
    let copy = IndexCopy::open(folder).map_err(|error| format!("{error:#}"))?;
    let watermark = copy.index.watermark().map_err(|error| error.to_string())?;
    Ok(Some((copy, watermark.map_or(Lsn(0), |watermark| watermark.lsn))))
}

/// Every account as the journal says, now and as of the index's watermark.
#[derive(Default)]
struct Books {
    accounts: HashMap<AccountKey, Account>,
    as_indexed: HashMap<AccountKey, Account>,
    limits: HashMap<AccountKey, i128>,
    overdrawn: Option<String>,
    entries: u64,
}

impl Books {
    fn take(&mut self, block: &Block, indexed: Lsn) -> Result<(), String> {
        for committed in block.committed() {
            let entry = &committed.entry;
            invariants::check(entry).map_err(|error| format!("lsn {}: {error}", committed.lsn))?;
            let mut failed = None;
            for_each_account(entry, |id| {
                let key = (entry.tenant, id.clone());
                let mut state = self.accounts.remove(&key);
                failed = fold(&mut state, id, entry, committed.lsn, committed.at).err().or(failed.take());
                if let Some(account) = state {
                    self.watch_overdraft(&key, &account, committed.lsn);
                    if committed.lsn <= indexed {
                        self.as_indexed.insert(key.clone(), account.clone());
                    }
                    self.accounts.insert(key, account);
                }
            });
            failed.map_or(Ok(()), |error| Err(error.to_string()))?;
            self.entries += 1;
        }
        Ok(())
    }

    fn zero_sums(&self) -> Result<String, String> {
        let mut sums: BTreeMap<(u32, u16), (Currency, i128)> = BTreeMap::new();
        for ((tenant, _), account) in &self.accounts {
            let key = (tenant.0, account.currency.numeric());
            let (_, sum) = sums.entry(key).or_insert((account.currency, 0));
            *sum += account.balance().minor;
        }
        match sums.values().find(|(_, sum)| *sum != 0) {
            Some((currency, sum)) => Err(format!("{} is left over", Money::new(*sum, *currency))),
            None => Ok(format!("{} entries and {} currencies sum to zero", self.entries, sums.len())),
        }
    }

    fn overdrawn(&self) -> Result<String, String> {
        match &self.overdrawn {
            Some(what) => Err(what.clone()),
            None => Ok(format!("{} accounts, at every entry", self.accounts.len())),
        }
    }

    /// Nothing ever takes what is not there. A hold is judged by the limit of its moment, and a limit may be lowered
    /// below what is used: so the highest limit the account ever had is what counts.
    fn watch_overdraft(&mut self, key: &AccountKey, account: &Account, lsn: Lsn) {
        let limit = self.limits.entry(key.clone()).or_default();
        *limit = account.overdraft_limit.max(*limit);
        let free = account.balance().minor - account.authorized;
        if !account.id.is_system() && free < -*limit && self.overdrawn.is_none() {
            let free = Money::new(free, account.currency);
            self.overdrawn = Some(format!("account {} has {free} at lsn {lsn}", account.id));
        }
    }

    fn compare(&self, index: &FjallIndex, upto: Lsn) -> Result<String, String> {
        let mut after: Option<AccountKey> = None;
        let (mut rows, mut ahead) = (0, 0);
        loop {
            let page = index.accounts(after.as_ref(), INDEX_PAGE).map_err(|error| error.to_string())?;
            let Some((tenant, last)) = page.last() else { break };
            after = Some((*tenant, last.id.clone()));
            rows += page.len();
            for (tenant, row) in page {
                let key = (tenant, row.id.clone());
                // A crash between the account rows of a run and its watermark leaves rows that are ahead; the next start
                // builds that run again, so they are held against the journal's end, if they reach it.
                let is_ahead = row.applied_lsn > upto;
                let journal = if is_ahead { self.accounts.get(&key) } else { self.as_indexed.get(&key) };
                if is_ahead && journal.is_some_and(|journal| journal.applied_lsn > row.applied_lsn) {
                    ahead += 1;
                    continue;
                }
                if journal != Some(&row) {
                    return Err(format!(
                        "account {}: the index has {} at lsn {}, the journal {}",
                        row.id,
                        row.balance(),
                        row.applied_lsn,
                        journal.map_or("nothing".to_owned(), |a| format!("{} at lsn {}", a.balance(), a.applied_lsn))
                    ));
                }
            }
        }
        if rows < self.as_indexed.len() {
            return Err(format!("the index has {rows} accounts, the journal {}", self.as_indexed.len()));
        }
        match ahead {
            0 => Ok(format!("{rows} accounts are equal at lsn {upto}")),
            _ => Ok(format!(
                "{} accounts are equal at lsn {upto}, {ahead} more wait for a crashed run to be built again",
                rows - ahead
            )),
        }
    }
}
