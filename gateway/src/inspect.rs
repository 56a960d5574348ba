//! `arus inspect LSN|PAYMENT_ID|TX_ID`: one entry whole: its block, itself, its postings, its index rows. Read-only.

use std::{fmt::Write, path::Path, sync::Arc};

use anyhow::Context;
use arus_engine::{
    idempotency::Fingerprint,
    index::Index,
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

use crate::index_copy::IndexCopy;

/// The text about one entry.
pub fn run(data_dir: &Path, what: &str) -> anyhow::Result<String> {
    let (dir, beside) = DataDir::open_read_only(data_dir)?;
    let disk = RealDisk::open(&dir.journal(), Access::ReadOnly)?;
    let fingerprint = dir.hasher().fingerprint();
    let (head, block, lsn) = find(&disk, fingerprint, what)?;
    let committed = block.get(lsn).context("the block does not hold the entry")?;
    let mut text = String::new();
    describe(&mut text, &head, &committed)?;
    match beside {
        Beside::Server => writeln!(text, "index     not read: a running server holds it (stop it to see the rows)")?,
        Beside::NoServer if !dir.index().exists() => writeln!(text, "index     is missing; the next start builds it")?,
        Beside::NoServer => {
            index_rows(&mut text, &IndexCopy::open(&dir)?.index, &dir, &committed)?;
        }
    }
    Ok(text)
}

type Found = (BlockHead, Arc<Block>, Lsn);

/// A number is an lsn, a UUID a payment id or else a tx_id; `tx_id=` says that it is one whatever it looks like.
fn find(disk: &RealDisk, fingerprint: Fingerprint, what: &str) -> anyhow::Result<Found> {
    let by_key = |key: &str| search(disk, fingerprint, |entry| &*entry.tx_id == key);
    if let Some(key) = what.strip_prefix("tx_id=") {
        return by_key(key)?.with_context(|| format!("there is no entry under tx_id {key}"));
    }
    if let Ok(lsn) = what.parse::<u64>() {
        let (reader, _) = recovery::open_read_only(disk, fingerprint)?;
        let (head, block) = reader.block(Lsn(lsn))?.with_context(|| format!("there is no entry at lsn {lsn}"))?;
        return Ok((head, block, Lsn(lsn)));
    }
    let id = OpId::parse(what).ok();
    let by_id = id
        .map(|id| search(disk, fingerprint, |entry| entry.object() == Some(id) || entry.op == id))
        .transpose()?
        .flatten();
    match by_id {
        Some(found) => Ok(found),
        None => by_key(what)?.with_context(|| format!("\"{what}\" is no lsn, payment id or tx_id of this journal")),
    }
}

/// The latest entry that is wanted, by walking the journal: needs no index.
fn search(disk: &RealDisk, fingerprint: Fingerprint, is_it: impl Fn(&Entry) -> bool) -> anyhow::Result<Option<Found>> {
    let mut found = None;
    audit::walk(disk, fingerprint, |head, block| {
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
    let watermark = index.watermark().map_or(Lsn(0), |watermark| watermark.lsn);
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
