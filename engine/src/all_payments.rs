//! All payments, newest first: read out of the journal itself, backwards, block by block.
//!
//! No index holds them: the journal is in their order already. A page is bounded in rows, in bytes, and in how many
//! entries it looks at in search of payments; one that ends early says where to go on.

use std::sync::Arc;

use crate::{
    Refusal,
    engine::{Core, Engine, internal},
    journal::Block,
    ledger::{entry::Committed, request::NotesText},
    money::{Lsn, TenantId},
    queries::Page,
};

/// About how many bytes of clients' own words one page holds at most: with all that JSON adds, it stays within the
/// 4 MiB that gRPC clients take.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// What a payment takes beside its texts, about, in bytes: ids, amounts, times, conversions.
const PAYMENT_BYTES: usize = 1_024;
/// How many entries one page looks at.
const SCAN_MAX: u64 = 20_000;

impl Engine {
    /// A page of all payments below an lsn.
    pub(crate) async fn all_payments(
        &self,
        tenant: TenantId,
        below: Lsn,
        limit: usize,
    ) -> Result<Page<Committed>, Refusal> {
        self.read(self.on_read_pool(move |core| core.all_payments_page(tenant, below, limit))).await
    }
}

impl Core {
    fn all_payments_page(&self, tenant: TenantId, below: Lsn, limit: usize) -> Result<Page<Committed>, Refusal> {
        let below = below.min(Lsn(self.tail.committed().0.saturating_add(1)));
        let floor = Lsn(below.0.saturating_sub(SCAN_MAX));
        let (mut items, mut bytes) = (Vec::new(), 0);
        let mut next = below;
        // Lsns begin at 1.
        while next > floor.max(Lsn(1)) {
            let block = self.block_of(Lsn(next.0.saturating_sub(1)))?;
            let older = block.committed().rev().filter(|committed| committed.lsn < next);
            for committed in older {
                if committed.entry.tenant == tenant && committed.entry.payment().is_some() {
                    bytes += PAYMENT_BYTES + text_bytes(&committed.entry.notes);
                    // A page has one payment at least, or nobody would get past a large one.
                    if items.len() == limit || (bytes > PAGE_BYTES_MAX && !items.is_empty()) {
                        return Ok(Page { items, next_below: Some(Lsn(committed.lsn.0.saturating_add(1))) });
                    }
                    items.push(committed);
                }
            }
            next = block.first_lsn;
        }
        Ok(Page { items, next_below: (next > Lsn(1)).then_some(next) })
    }

    /// The block of an entry, from the tail or from its segment. What leaves the tail has long been in the journal.
    fn block_of(&self, lsn: Lsn) -> Result<Arc<Block>, Refusal> {
        if let Some(block) = self.tail.block_of(lsn) {
            return Ok(block);
        }
        let stored = self.reader.block(lsn).map_err(internal)?;
        stored.map(|(_, block)| block).ok_or_else(|| internal(format!("no block holds entry {}", lsn.0)))
    }
}

/// The client's own words that come with a payment.
fn text_bytes(notes: &NotesText) -> usize {
    let context = &notes.context;
    let texts = [&context.ip, &context.device_id, &context.country, &context.billing_country, &context.channel];
    let metadata: usize = notes.metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    texts.iter().map(|text| text.len()).sum::<usize>() + context.mcc.len() + notes.description.len() + metadata
}
