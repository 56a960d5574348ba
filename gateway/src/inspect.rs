//! `arus inspect LSN|PAYMENT_ID|TX_ID`: one entry whole: its block, itself, its postings, its index rows. Read-only.

mod picture;
mod record;

use std::{path::Path, sync::Arc};

use anyhow::Context;
use arus_engine::{
    index::Index,
    journal::{
        Block, BlockHead, JournalReader, audit,
        block::for_each_account,
        disk::{Access, RealDisk},
        recovery,
    },
    keys::Fingerprint,
    ledger::entry::{Committed, Entry},
    money::{Lsn, OpId},
    runtime::data_dir::{Beside, DataDir},
};

pub use self::record::{Record, Value};
use crate::index_copy::IndexCopy;

/// How many earlier entries of a payment are shown.
const EARLIER_MAX: usize = 256;

/// All about one entry.
pub fn run(data_dir: &Path, what: &str) -> anyhow::Result<Record> {
    let (dir, beside) = DataDir::open_read_only(data_dir)?;
    let disk = RealDisk::open(&dir.journal(), Access::ReadOnly)?;
    let fingerprint = dir.hasher().fingerprint();
    let (head, block, lsn) = find(&disk, fingerprint, what)?;
    let committed = block.get(lsn).context("the block does not hold the entry")?;
    let index = match beside {
        Beside::Server => unread("a running server holds it (stop it to see the rows)"),
        Beside::NoServer if !dir.index().exists() => unread("there is none; the next start builds it"),
        Beside::NoServer => index_rows(&IndexCopy::open(&dir)?.index, &dir, &committed)?,
    };
    let earlier = earlier(&disk, fingerprint, &committed)?;
    Ok(describe(&head, &committed).with_some("earlier", (!earlier.is_empty()).then_some(earlier)).with("index", index))
}

/// The entries before about the same payment, newest first.
fn earlier(disk: &RealDisk, fingerprint: Fingerprint, committed: &Committed) -> anyhow::Result<Vec<Record>> {
    let before = |entry: &Entry| entry.payment()?.life.as_ref()?.before.as_ref().map(|before| before.previous);
    let (reader, _) = recovery::open_read_only(disk, fingerprint)?;
    let (mut found, mut next) = (Vec::new(), before(&committed.entry));
    while let Some(lsn) = next.filter(|_| found.len() < EARLIER_MAX) {
        let committed = reader.read(lsn)?;
        found.push(
            Record::default()
                .with("lsn", lsn.0)
                .with("at", committed.at)
                .with("method", committed.entry.request.method())
                .with("tx_id", committed.entry.tx_id.to_string())
                .with("request", picture::request(&committed.entry.request))
                .with("outcome", picture::outcome(&committed.entry.decision)),
        );
        next = before(&committed.entry);
    }
    Ok(found)
}

fn unread(why: &str) -> Record {
    Record::default().with("not_read", why)
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

fn describe(head: &BlockHead, committed: &Committed) -> Record {
    let hex = |hash: &[u8; 32]| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let entry = &committed.entry;
    let block = Record::default()
        .with("first_lsn", head.first_lsn.0)
        .with("entries", u64::from(head.count))
        .with("bytes", head.records_bytes as u64)
        .with("hash", hex(&head.hash))
        .with("previous_hash", hex(&head.prev_hash))
        .with("merkle_root", hex(&head.merkle_root));
    let postings = (0..).zip(entry.postings()).map(|(n, posting)| picture::posting(n, posting));
    Record::default()
        .with("lsn", committed.lsn.0)
        .with("at", committed.at)
        .with("method", entry.request.method())
        .with("tenant", u64::from(entry.tenant.0))
        .with("tx_id", entry.tx_id.to_string())
        .with("id", entry.op.to_string())
        .with("request", picture::request(&entry.request))
        .with_some("notes", picture::notes(&entry.notes))
        .with("outcome", picture::outcome(&entry.decision))
        .with("postings", postings.collect::<Vec<_>>())
        .with("block", block)
}

/// What the index says of the entry: where its key and its object lead, and the rows of its accounts.
fn index_rows(index: &dyn Index, dir: &DataDir, committed: &Committed) -> anyhow::Result<Record> {
    let entry = &committed.entry;
    let at = |lsn: Option<Lsn>| lsn.map_or(Value::from("no row"), |lsn| lsn.0.into());
    let key = dir.hasher().key(entry.tenant, &entry.tx_id);
    let mut found = Record::default()
        .with("upto_lsn", index.watermark().map_or(0, |watermark| watermark.lsn.0))
        .with("key", format!("{key:032x}"))
        .with("key_lsn", at(index.key(entry.tenant, key)?));
    if let Some(object) = entry.object() {
        found = found.with("object_lsn", at(index.object(entry.tenant, object)?));
    }
    let mut keys = Vec::new();
    for_each_account(entry, |account| keys.push((entry.tenant, account.clone())));
    keys.sort();
    keys.dedup();
    let (mut history, mut accounts) = (Vec::new(), Vec::new());
    for key in &keys {
        let Some(account) = index.account(key)? else { continue };
        for row in index.history(key, Lsn(committed.lsn.0 + 1), 8)?.iter().filter(|row| row.lsn == committed.lsn) {
            let line = Record::default().with("account", key.1.to_string()).with("line", u64::from(row.line));
            history.push(picture::moved(line, row.moved, account.currency));
        }
        let row = Record::default().with("account", key.1.to_string()).with("balance", account.balance());
        accounts.push(row.with("lsn", account.applied_lsn.0));
    }
    Ok(found.with("history", history).with("accounts", accounts))
}
