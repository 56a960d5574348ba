//! Holds one index against another, table by table and row by row: what `arus verify` does with one it has just built.
//!
//! Runs of other bounds put the same lines into other rows, so rows are compared by what they hold: numbers by bucket,
//! lines by account.

use fjall::Iter;

use super::{
    HistoryRow, IndexError,
    fjall::FjallIndex,
    layout::{ROWS_END, decode, encode},
    packed::PLACE_BYTES,
    store::{Mark, Store, Table, store},
};

/// The end of a row's key that says where its run began.
const LSN_BYTES: usize = 8;

/// What belongs together: the part of the key that does not depend on a run, and what stands there, in order.
type Group = (Vec<u8>, Vec<Vec<u8>>);

impl FjallIndex {
    /// How far a table is filled.
    pub fn mark(&self, table: Table) -> Mark {
        Table::ALL
            .iter()
            .zip(self.marks())
            .find(|(other, _)| **other == table)
            .map(|(_, mark)| mark)
            .unwrap_or_default()
    }

    /// How many lines a table holds if they are those of `expected`; else the first difference.
    pub fn compare(&self, expected: &Self, table: Table) -> Result<Result<u64, String>, IndexError> {
        self.with(|found| {
            expected.with(|expected| {
                let rows = |store: &Store| {
                    let rows = store.table(table).range(..ROWS_END.to_vec());
                    Groups { table, rows, next: None }
                };
                compare(rows(found), rows(expected))
            })
        })
    }
}

fn compare(mut found: Groups, mut expected: Groups) -> Result<Result<u64, String>, IndexError> {
    let mut lines = 0;
    loop {
        match (found.read_group()?, expected.read_group()?) {
            (None, None) => return Ok(Ok(lines)),
            (Some(found), Some(expected)) if found == expected => lines += found.1.len() as u64,
            (Some(found), Some(expected)) if found.0 == expected.0 => {
                let (has, makes) = (found.1.len(), expected.1.len());
                let what = if has == makes { "other lines than".to_owned() } else { format!("{has} lines, not") };
                return Ok(Err(format!("row {}: the index has {what} the {makes} of the journal", printed(&found.0))));
            }
            (Some(found), Some(expected)) if found.0 < expected.0 => return Ok(Err(surplus(&found.0))),
            (_, Some(expected)) => {
                return Ok(Err(format!("row {}: the index has not what the journal makes", printed(&expected.0))));
            }
            (Some(found), None) => return Ok(Err(surplus(&found.0))),
        }
    }
}

fn surplus(key: &[u8]) -> String {
    format!("row {}: the index has what the journal does not make", printed(key))
}

/// Names as they are, other bytes as hexadecimal digits.
fn printed(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}

/// The rows of a table, those that belong together in one.
struct Groups {
    table: Table,
    rows: Iter,
    /// Read ahead: where the next group begins.
    next: Option<Group>,
}

impl Groups {
    fn read(&mut self) -> Result<Option<Group>, IndexError> {
        let Some(row) = self.rows.next() else { return Ok(None) };
        let name = self.table.name();
        let (key, value) = row.into_inner().map_err(store(name))?;
        let begin = |without: usize| key.get(..key.len().saturating_sub(without)).unwrap_or_default().to_vec();
        Ok(Some(match self.table {
            // Their keys end in the first lsn of what a run brought.
            Table::Keys | Table::Objects => (begin(LSN_BYTES), value.chunks(PLACE_BYTES).map(<[u8]>::to_vec).collect()),
            Table::History => {
                let lines: Vec<HistoryRow> = decode(name, &value)?;
                (begin(LSN_BYTES), lines.iter().map(|line| encode(name, line)).collect::<Result<_, _>>()?)
            }
            Table::Owners | Table::Accounts | Table::Timers | Table::Rates => (begin(0), vec![value.to_vec()]),
        }))
    }

    fn read_group(&mut self) -> Result<Option<Group>, IndexError> {
        let first = match self.next.take() {
            Some(first) => Some(first),
            None => self.read()?,
        };
        let Some(mut group) = first else { return Ok(None) };
        while let Some(row) = self.read()? {
            if row.0 != group.0 {
                self.next = Some(row);
                break;
            }
            group.1.extend(row.1);
        }
        group.1.sort_unstable();
        Ok(Some(group))
    }
}
