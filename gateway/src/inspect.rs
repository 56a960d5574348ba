//! `arus inspect LSN|PAYMENT_ID|TX_ID`: one entry whole: its block, itself, its postings, its index rows. Read-only.

use std::{fmt::Write, path::Path, sync::Arc};

use anyhow::Context;
use arus_engine::{
    index::{Index, fjall::FjallIndex},
    journal::{
        Block, BlockHead, JournalReader, audit,
        block::for_each_account,
        disk::{Access, RealDisk},
        recovery,
    },
    ledger::{
        entry::{Committed, Entry},
        request::Notes,
    },
    money::{Lsn, OpId},
    runtime::data_dir::{Beside, DataDir},
};

/// Memory for the index while its rows are read, in bytes.
const INDEX_CACHE_BYTES: u64 = 16 << 20;

/// The text about one entry.
pub fn run(data_dir: &Path, what: &str) -> anyhow::Result<String> {
    let (dir, beside) = DataDir::open_read_only(data_dir)?;
    let disk = RealDisk::open(&dir.journal(), Access::ReadOnly)?;
    let (head, block, lsn) = match (what.parse::<u64>(), OpId::parse(what)) {
        (Ok(lsn), _) => {
            let (reader, _) = recovery::open_read_only(&disk)?;
            let found = reader.block(Lsn(lsn))?.with_context(|| format!("there is no entry at lsn {lsn}"))?;
            (found.0, found.1, Lsn(lsn))
        }
        (_, Ok(id)) => {
            let is_it = |entry: &Entry| entry.object() == Some(id) || entry.op == id;
            search(&disk, is_it)?.with_context(|| format!("there is no payment {id}"))?
        }
        _ => search(&disk, |entry| &*entry.tx_id == what)?.with_context(|| {
            format!("\"{what}\" is neither an lsn, nor a payment id (a UUID), nor a tx_id that was used")
        })?,
    };
    let committed = block.get(lsn).context("the block does not hold the entry")?;
    let mut text = String::new();
    describe(&mut text, &head, &committed)?;
    match beside {
        Beside::Server => writeln!(text, "index     not read: a running server holds it (stop it to see the rows)")?,
        Beside::NoServer if !dir.index().exists() => writeln!(text, "index     is missing; the next start builds it")?,
        Beside::NoServer => {
            index_rows(&mut text, &FjallIndex::open(&dir.index(), INDEX_CACHE_BYTES)?, &dir, &committed)?;
        }
    }
    Ok(text)
}

type Found = (BlockHead, Arc<Block>, Lsn);

/// The latest entry that is wanted, by walking the journal: needs no index.
fn search(disk: &RealDisk, is_it: impl Fn(&Entry) -> bool) -> anyhow::Result<Option<Found>> {
    let mut found = None;
    audit::walk(disk, |head, block| {
        for committed in block.committed() {
            if is_it(&committed.entry) {
                found = Some((*head, Arc::clone(block), committed.lsn));
            }
        }
        Ok(())
    })?;
    Ok(found)
}

fn describe(text: &mut String, head: &BlockHead, committed: &Committed) -> anyhow::Result<()> {
    let hex = |hash: &[u8; 32]| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let entry = &committed.entry;
    writeln!(
        text,
        "entry     lsn {} at {} us ({} of tenant {})",
        committed.lsn,
        committed.at,
        entry.request.method(),
        entry.tenant.0
    )?;
    writeln!(text, "block     first lsn {}, {} entries, {} bytes", head.first_lsn, head.count, head.records_bytes)?;
    writeln!(text, "          hash     {}", hex(&head.hash))?;
    writeln!(text, "          previous {}", hex(&head.prev_hash))?;
    writeln!(text, "          merkle   {}", hex(&head.merkle_root))?;
    writeln!(text, "key       tx_id {}", entry.tx_id)?;
    writeln!(text, "id        {}", entry.op)?;
    writeln!(text, "request   {:#?}", entry.request)?;
    if entry.notes != Notes::default() {
        writeln!(text, "notes     {:#?}", *entry.notes)?;
    }
    writeln!(text, "outcome   {:#?}", entry.outcome)?;
    if entry.postings.is_empty() {
        writeln!(text, "postings  none: nothing moved")?;
    }
    for (n, posting) in entry.postings.iter().enumerate() {
        writeln!(text, "posting {n} {:<32} {:<10} {}", posting.account, format!("{:?}", posting.kind), posting.amount)?;
    }
    Ok(())
}

fn index_rows(text: &mut String, index: &dyn Index, dir: &DataDir, committed: &Committed) -> anyhow::Result<()> {
    let entry = &committed.entry;
    let at = |lsn: Option<Lsn>| lsn.map_or("no row".to_owned(), |lsn| format!("lsn {lsn}"));
    let watermark = index.watermark()?.map_or(Lsn(0), |watermark| watermark.lsn);
    writeln!(text, "index     up to lsn {watermark}")?;
    let key = dir.hasher().key(entry.tenant, &entry.tx_id);
    writeln!(text, "  keys     {key:032x} -> {}", at(index.key(entry.tenant, key)?))?;
    if let Some(object) = entry.object() {
        writeln!(text, "  objects  {object} -> {}", at(index.object(entry.tenant, object)?))?;
    }
    let mut accounts = Vec::new();
    for_each_account(entry, |account| accounts.push((entry.tenant, account.clone())));
    accounts.sort();
    accounts.dedup();
    for key in &accounts {
        for row in index.history(key, Lsn(committed.lsn.0 + 1), 8)?.iter().filter(|row| row.lsn == committed.lsn) {
            writeln!(text, "  history  {} line {} -> {:?}", key.1, row.line, row.moved)?;
        }
        if let Some(account) = index.account(key)? {
            writeln!(text, "  accounts {} -> balance {} at lsn {}", key.1, account.balance(), account.applied_lsn)?;
        }
    }
    Ok(())
}
