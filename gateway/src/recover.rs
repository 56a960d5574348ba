//! `arus recover`: a journal that ends before the index once reached has lost acknowledged entries. This lists them, as
//! far as the index still shows them, and, told to, lets the data directory go on without. Nothing is deleted: what
//! proves the loss is set aside.

use std::{collections::HashMap, fmt::Write, path::Path, sync::Arc};

use anyhow::ensure;
use arus_engine::{
    index::{AccountKey, Index, fjall::FjallIndex, reach::ReachFile, unusable::Unusable},
    journal::{
        audit,
        disk::{Access, RealDisk},
        recovery,
    },
    ledger::account::Account,
    money::Lsn,
    runtime::data_dir::DataDir,
};

use crate::{books::Books, index_copy::IndexCopy};

/// How many accounts of the index are read at once.
const PAGE: usize = 10_000;
/// How many lines of one account's history are read at once.
const LINES: usize = 1_000;

/// The text about what is lost. With `accept_loss_after`, which must be where the journal ends, the next start goes on.
pub fn run(data_dir: &Path, accept_loss_after: Option<u64>) -> anyhow::Result<String> {
    let dir = DataDir::open_existing(data_dir)?;
    let fingerprint = dir.hasher().fingerprint();
    // Its files are locked as long as this runs.
    let disk = RealDisk::open(&dir.journal(), Access::Write)?;
    let journal = recovery::find(Arc::new(disk), fingerprint)?;
    // What is wrong with the journal besides is not a loss at its end: the start would refuse it all the same.
    journal.check_reaches(Lsn(0))?;
    let ends = journal.head().lsn;
    let reach = ReachFile::new(dir.indexed(), fingerprint).read_if_sound()?.map_or(Lsn(0), |reach| reach.upto.lsn);
    let copy = if dir.index().exists() { Some(IndexCopy::open(&dir)) } else { None };
    let mut text = String::new();
    let proven = match &copy {
        Some(Ok(copy)) => copy.index.watermark().map_or(Lsn(0), |watermark| watermark.lsn).max(reach),
        Some(Err(error)) => match error.downcast_ref() {
            Some(Unusable::Damaged { reaches, .. }) => reach.max(*reaches),
            Some(Unusable::Foreign { .. } | Unusable::Unreadable(_)) | None => reach,
        },
        None => reach,
    };
    let is_proven = proven > Lsn(0) || ends == Lsn(0);
    if proven <= ends && is_proven && !dir.damaged().exists() {
        return Ok(format!("nothing is lost: the journal ends at lsn {ends}, the index reached lsn {proven}"));
    }
    match proven.0.checked_sub(ends.0).filter(|lost| *lost > 0) {
        Some(lost) => {
            writeln!(text, "the journal ends at lsn {ends}, the index reached lsn {proven}: {lost} entries are lost")?;
        }
        None => writeln!(text, "the journal ends at lsn {ends}; nothing proves that it reached no further")?,
    }
    match copy {
        Some(Ok(copy)) => list(&mut text, &dir, &copy.index, ends)?,
        Some(Err(error)) => writeln!(text, "what they were cannot be said: {error:#}")?,
        None => writeln!(text, "what they were cannot be said: there is no index any more")?,
    }
    let Some(accepted) = accept_loss_after else {
        writeln!(
            text,
            "nothing was changed; to go on without them: arus recover --accept-loss-after {ends} --data-dir {}",
            data_dir.display()
        )?;
        return Ok(text);
    };
    ensure!(accepted == ends.0, "{text}nothing was changed: the journal ends at lsn {ends}, not at {accepted}");
    for kept in dir.accept_loss(&journal.head())? {
        writeln!(text, "kept      {}", kept.display())?;
    }
    writeln!(text, "accepted: the next start builds the index anew and goes on at lsn {}", ends.0 + 1)?;
    Ok(text)
}

/// Every payment and every line of an account that only the index still knows.
fn list(text: &mut String, dir: &DataDir, index: &FjallIndex, ends: Lsn) -> anyhow::Result<()> {
    let disk = RealDisk::open(&dir.journal(), Access::ReadOnly)?;
    let mut books = Books::default();
    audit::walk(&disk, dir.hasher().fingerprint(), |_, block| books.take(block))?;
    for (tenant, object, lsn) in index.objects_above(ends)? {
        writeln!(text, "lost      lsn {lsn} payment or reservation {object} of tenant {}", tenant.0)?;
    }
    let mut after: Option<AccountKey> = None;
    loop {
        let page = index.accounts(after.as_ref(), PAGE)?;
        let Some((tenant, last)) = page.last() else { return Ok(()) };
        after = Some((*tenant, last.id.clone()));
        for (tenant, account) in page.iter().filter(|(_, account)| account.applied_lsn > ends) {
            list_account(text, index, &books.accounts, (*tenant, account.id.clone()), account, ends)?;
        }
    }
}

fn list_account(
    text: &mut String,
    index: &FjallIndex,
    journal: &HashMap<AccountKey, Account>,
    key: AccountKey,
    account: &Account,
    ends: Lsn,
) -> anyhow::Result<()> {
    let without = journal.get(&key).map_or("is not there".to_owned(), |account| format!("has {}", account.balance()));
    writeln!(text, "account   {} has {}; without them it {without}", account.id, account.balance())?;
    let mut below = Lsn(u64::MAX);
    loop {
        let lines = index.history(&key, below, LINES)?;
        let read = lines.len();
        for line in lines.iter().take_while(|line| line.lsn > ends) {
            below = line.lsn;
            if let Some(moved) = line.moved {
                let amount = arus_engine::money::Money::new(moved.amount_minor, account.currency);
                writeln!(text, "lost      lsn {} {} of {}", line.lsn, moved.kind.name(), amount)?;
            }
        }
        if read < LINES || lines.last().is_none_or(|line| line.lsn <= ends) {
            return Ok(());
        }
    }
}
