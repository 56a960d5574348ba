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
    runtime::data_dir::DataDir,
};

/// How many accounts of the index are read at once.
const INDEX_PAGE: usize = 10_000;
/// Memory for the index while it is compared, in bytes.
const INDEX_CACHE_BYTES: u64 = 16 << 20;

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
    // With the lock nobody else writes, so the index can be opened; without it a server is running.
    let locked = DataDir::open(data_dir).ok();
    let dir = match &locked {
        Some(_) => None,
        None => Some(DataDir::open_read_only(data_dir)?),
    };
    let Some(dir) = locked.as_ref().or(dir.as_ref()) else { anyhow::bail!("no data directory") };
    let disk = RealDisk::open(&dir.journal(), Access::ReadOnly)?;
    let mut books = Books::default();
    let mut checks = Vec::new();
    let index = if locked.is_some() { open_index(&dir.index()) } else { Err(running()) };
    let upto = index.as_ref().map_or(Lsn(0), |(_, upto)| *upto);
    let walked = audit::walk(&disk, |_, block| books.take(block, upto));
    let chain = walked.map_err(|error| error.to_string()).map(|w| {
        let hash: String = w.head.hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!(
            "{} segments, {} blocks, {} entries, head lsn {} hash {hash}...",
            w.segments, w.blocks, w.entries, w.head.lsn
        )
    });
    let whole = chain.is_ok();
    checks.push(Check { name: "journal chain", outcome: chain });
    if whole {
        checks.push(Check { name: "zero sums", outcome: books.zero_sums() });
        checks.push(Check { name: "no overdrawn account", outcome: books.overdrawn() });
        let compared = index.and_then(|(index, upto)| books.compare(&index, upto));
        checks.push(Check { name: "balances against the index", outcome: compared });
    }
    // A server that runs holds its index; that alone is no fault of the data.
    if let Some(last) = checks.last_mut()
        && locked.is_none()
        && last.outcome == Err(running())
    {
        last.outcome = Ok(running());
    }
    Ok(checks)
}

fn running() -> String {
    "not compared: a running server holds the index (stop it to compare)".to_owned()
}

fn open_index(folder: &Path) -> Result<(FjallIndex, Lsn), String> {
    let index = FjallIndex::open(folder, INDEX_CACHE_BYTES).map_err(|error| error.to_string())?;
    let watermark = index.watermark().map_err(|error| error.to_string())?;
    Ok((index, watermark.map_or(Lsn(0), |watermark| watermark.lsn)))
}

/// Every account as the journal says, now and as of the index's watermark.
#[derive(Default)]
struct Books {
    accounts: HashMap<AccountKey, Account>,
    as_indexed: HashMap<AccountKey, Account>,
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

    /// Reservations and holds never take what is not there. A limit may be lowered below what is used.
    fn overdrawn(&self) -> Result<String, String> {
        let clients = self.accounts.values().filter(|account| !account.id.is_system());
        let mut count = 0;
        for account in clients {
            count += 1;
            let free = account.balance().minor - account.authorized;
            if account.authorized < 0 || (free < 0 && free < -account.overdraft_limit && account.overdraft_limit == 0) {
                return Err(format!("account {} has {}", account.id, Money::new(free, account.currency)));
            }
        }
        Ok(format!("{count} accounts"))
    }

    fn compare(&self, index: &FjallIndex, upto: Lsn) -> Result<String, String> {
        let mut after: Option<AccountKey> = None;
        let mut rows = 0;
        loop {
            let page = index.accounts(after.as_ref(), INDEX_PAGE).map_err(|error| error.to_string())?;
            let Some((tenant, last)) = page.last() else { break };
            after = Some((*tenant, last.id.clone()));
            rows += page.len();
            for (tenant, row) in page {
                let journal = self.as_indexed.get(&(tenant, row.id.clone()));
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
        if rows != self.as_indexed.len() {
            return Err(format!("the index has {rows} accounts, the journal {}", self.as_indexed.len()));
        }
        Ok(format!("{rows} accounts are equal at lsn {upto}"))
    }
}
