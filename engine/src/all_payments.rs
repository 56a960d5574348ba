//! All payments, newest first: read out of the journal itself, backwards, block by block.
//!
//! No index holds them: the journal is in their order already. A page is bounded in rows, in bytes, and in how many
//! entries it looks at in search of payments; one that ends early says where to go on.

use std::{ops::Range, sync::Arc};

use crate::{
    core::Core,
    engine::Engine,
    journal::Block,
    ledger::{entry::Committed, time::Timestamp},
    money::{Lsn, TenantId},
    pages::{Filling, Page, Position, Window},
    refusal::{Refusal, internal},
};

/// How many entries one page looks at.
const SCAN_MAX: u64 = 20_000;

impl Engine {
    /// A page of all payments that were made within a time. `show` makes a row and says how many bytes it takes.
    pub(crate) async fn all_payments<T: Send + 'static>(
        &self,
        tenant: TenantId,
        made: Range<Timestamp>,
        window: Window,
        show: impl Fn(&Committed) -> Option<(T, usize)> + Send + 'static,
    ) -> Result<Page<T>, Refusal> {
        let window = self.up_to_now(window).await;
        let page = self.0.on_read_pool(move |core| {
            let (down_to, window) = core.within(&made, window)?;
            core.all_payments_page(tenant, down_to, window, show)
        });
        self.0.read(page).await
    }
}

impl Core {
    fn all_payments_page<T>(
        &self,
        tenant: TenantId,
        down_to: Lsn,
        window: Window,
        show: impl Fn(&Committed) -> Option<(T, usize)>,
    ) -> Result<Page<T>, Refusal> {
        let mut next = window.below.lsn;
        let first = down_to.max(Lsn(1));
        let floor = Lsn(next.0.saturating_sub(SCAN_MAX)).max(first);
        let mut page = Filling::new(window);
        while next > floor {
            let block = self.block_of(Lsn(next.0.saturating_sub(1)))?;
            let older = block.committed().rev().filter(|committed| (first..next).contains(&committed.lsn));
            for committed in older.filter(|committed| committed.entry.tenant == tenant) {
                let row = self.now(&committed)?.and_then(|now| show(&now));
                if row.is_some_and(|row| !page.take(row)) {
                    return Ok(page.ends(Some(Position::before(Lsn(committed.lsn.0.saturating_add(1))))));
                }
            }
            next = block.first_lsn;
        }
        Ok(page.ends((next > first).then_some(Position::before(next))))
    }

    /// The block of an entry, from the tail or from its segment. What leaves the tail has long been in the journal.
    fn block_of(&self, lsn: Lsn) -> Result<Arc<Block>, Refusal> {
        if let Some(block) = self.tail.block_of(lsn) {
            return Ok(block);
        }
        let stored = self.reader.block(lsn)?;
        stored.map(|(_, block)| block).ok_or_else(|| internal(format!("no block holds entry {}", lsn.0)))
    }
}
