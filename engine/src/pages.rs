//! Lists, page by page, newest first: out of tail and index, merged by lsn, so nothing committed is ever missing.
//!
//! Pages are bounded in rows and in bytes; page tokens are positions: a page holds what lies strictly below one.

use std::{ops::Range, sync::Arc};

use crate::{
    core::Core,
    index::{AccountKey, HistoryRow, rows::fold_with_history},
    journal::{Block, block::account_hash},
    ledger::{bounds::LEGS_MAX, entry::Committed, time::Timestamp},
    money::Lsn,
    refusal::{Refusal, internal},
};

/// The longest page of any list.
pub const PAGE_MAX: usize = 1_000;

/// How many entries or rows one page may read in search of what is wanted; beyond it the page is short and says where to go on.
pub(crate) const SCAN_MAX: usize = 2_000;

/// As many lines as one entry has on one account at most, and more: two of each leg of a transfer. So a read always gets past
/// an entry.
const ENTRY_LINES_MAX: usize = 2 * LEGS_MAX + 2;

/// Whenever that was.
pub const ALL_TIME: Range<Timestamp> = Timestamp(0)..Timestamp(u64::MAX);

/// A place in a list: an entry, and which line of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The entry.
    pub lsn: Lsn,
    /// Which of its lines, in a statement.
    pub line: u16,
}

impl Position {
    /// Above all there is.
    pub const NEWEST: Self = Self::before(Lsn(u64::MAX));

    /// Above everything older than an entry.
    pub const fn before(lsn: Lsn) -> Self {
        Self { lsn, line: 0 }
    }

    pub(crate) fn of(row: &HistoryRow) -> Self {
        Self { lsn: row.lsn, line: row.line }
    }
}

/// Which part of a list is asked for: at most so much below a position.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Where it begins: strictly below.
    pub below: Position,
    /// How many rows at most.
    pub rows_max: usize,
    /// How many bytes at most, as whoever shows the rows counts them; one row always fits.
    pub bytes_max: usize,
}

/// A page of a list, newest first.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins, if there may be more: everything below.
    pub next_below: Option<Position>,
}

/// A page as it is filled with rows and their bytes.
pub(crate) struct Filling<T> {
    items: Vec<T>,
    bytes: usize,
    pub(crate) window: Window,
}

impl<T> Filling<T> {
    pub(crate) fn new(window: Window) -> Self {
        let rows_max = window.rows_max.clamp(1, PAGE_MAX);
        Self { items: Vec::new(), bytes: 0, window: Window { rows_max, ..window } }
    }

    /// Takes a row in, or says that the page is full.
    pub(crate) fn take(&mut self, (item, bytes): (T, usize)) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        let has_room =
            self.items.is_empty() || (self.items.len() < self.window.rows_max && self.bytes <= self.window.bytes_max);
        if has_room {
            self.items.push(item);
        }
        has_room
    }

    pub(crate) fn ends(self, next_below: Option<Position>) -> Page<T> {
        Page { items: self.items, next_below }
    }
}

impl Core {
    /// The first entry of a time [from, to), and a window that ends before it is over.
    pub(crate) fn within(&self, time: &Range<Timestamp>, window: Window) -> Result<(Lsn, Window), Refusal> {
        let newest = window.below;
        let first_at = |time| self.first_at(time, newest);
        let down_to = if time.start > ALL_TIME.start { first_at(time.start)? } else { Lsn(0) };
        let end = if time.end < ALL_TIME.end { Position::before(first_at(time.end)?) } else { newest };
        Ok((down_to, Window { below: newest.min(end), ..window }))
    }

    /// The first entry at a time or after it; the one after the newest if all are before. Block times never go back.
    pub(crate) fn first_at(&self, time: Timestamp, newest: Position) -> Result<Lsn, Refusal> {
        let (mut low, mut high) = (1, newest.lsn.0.max(1));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.read_entry(Lsn(middle))?.at < time { low = middle + 1 } else { high = middle }
        }
        Ok(Lsn(low))
    }

    /// One account's rows below a position, newest first: the tail's, folded on the indexed state, then the index's.
    pub(crate) fn history(
        &self,
        key: &AccountKey,
        below: Position,
        limit: usize,
        wanted: impl Fn(&HistoryRow) -> bool,
    ) -> Result<Page<HistoryRow>, Refusal> {
        let blocks = self.tail.touching(account_hash(key.0, &key.1));
        let mut account = self.index.account(key)?;
        let changed = account.as_ref().map_or(Lsn(0), |account| account.applied_lsn);
        // The index may show rows of a run whose account states are not visible yet: those are the tail's to tell.
        let indexed = changed.max(self.tail.indexed());
        let mut rows = Vec::new();
        for committed in blocks.iter().flat_map(|block| block.committed()) {
            if committed.entry.tenant == key.0 {
                fold_with_history(&mut account, &key.1, &committed, &mut rows).map_err(internal)?;
            }
        }
        let wanted = |row: &HistoryRow| Position::of(row) < below && wanted(row);
        rows.retain(|row| row.lsn > indexed && wanted(row));
        rows.reverse();
        let mut from = Lsn(below.lsn.0.saturating_add(1).min(indexed.0.saturating_add(1)));
        let read_max = limit + ENTRY_LINES_MAX;
        let mut scanned = 0;
        while rows.len() <= limit {
            if scanned >= SCAN_MAX {
                return Ok(Page { items: rows, next_below: Some(Position::before(from)) });
            }
            let older = self.index.history(key, from, read_max)?;
            let Some(last) = older.last() else { break };
            let complete = older.len() < read_max;
            scanned += older.len();
            // An entry's rows stay together: the last entry of a full read may be cut, so it is read again.
            let cut = if complete { Lsn(0) } else { last.lsn };
            from = if complete { Lsn(0) } else { Lsn(cut.0 + 1) };
            rows.extend(older.into_iter().filter(|row| row.lsn > cut && wanted(row)));
            if complete {
                break;
            }
        }
        let next_below = rows.get(limit).and_then(|_| rows.get(limit.checked_sub(1)?)).map(Position::of);
        rows.truncate(limit);
        Ok(Page { items: rows, next_below })
    }
}

/// Reads the entries of a page: neighbours often stand in one block, which is then read and decoded once.
pub(crate) struct Entries<'a> {
    core: &'a Core,
    block: Option<Arc<Block>>,
}

impl<'a> Entries<'a> {
    pub(crate) fn new(core: &'a Core) -> Self {
        Self { core, block: None }
    }

    pub(crate) fn read(&mut self, lsn: Lsn) -> Result<Committed, Refusal> {
        if let Some(committed) = self.block.as_ref().and_then(|block| block.get(lsn)) {
            return Ok(committed);
        }
        if let Some(committed) = self.core.tail.by_lsn(lsn) {
            return Ok(committed);
        }
        let (_, block) = self.core.reader.block(lsn)?.ok_or_else(|| internal("no such block"))?;
        let committed = block.get(lsn).ok_or_else(|| internal("the block does not hold its entry"))?;
        self.block = Some(block);
        Ok(committed)
    }
}
