//! A run as rows: what it adds to each table, in the order of their keys (P5; the pictures stand in `fjall`).

use super::{
    IndexError, OwnerRow, Run, Watermark,
    filters::KeyFilters,
    layout::{account_row, encode, history_row, key_bucket, named_row, object_bucket, partition, timer_row},
    packed::{self, Place},
    store::{Mark, Repeats, Store, Table},
};
use crate::{keys::Fingerprint, money::Lsn};

/// How many lines of one account's history stand in one row at most.
const CHUNK_LINES_MAX: usize = 128;

/// All tables of a run, in the order of P5; each is left out if its mark says that it is there.
pub(super) fn take_run(
    store: &Store,
    filters: &KeyFilters,
    run: &Run,
    upto: (Watermark, Fingerprint),
    marks: &mut [Mark; 7],
) -> Result<(), IndexError> {
    let [keys, objects, owners, history, accounts, timers, rates] = marks;
    for (_, key, lsn) in &run.keys {
        filters.insert(partition(*lsn), *key);
    }
    let places = run.keys.iter().map(|&(tenant, key, lsn)| {
        let bucket = key_bucket(partition(lsn), key);
        Place { tenant, bucket, lsn, number: key }
    });
    let mut places: Vec<_> = places.collect();
    store.ingest(Table::Keys, packed::rows(&mut places), Repeats::Refused, keys, upto)?;
    let places = run.objects.iter().map(|&(tenant, id, lsn)| {
        let bucket = object_bucket(id);
        Place { tenant, bucket, lsn, number: id.0 }
    });
    let mut places: Vec<_> = places.collect();
    store.ingest(Table::Objects, packed::rows(&mut places), Repeats::Refused, objects, upto)?;
    store.ingest(Table::Owners, owner_rows(run)?, Repeats::LastWins, owners, upto)?;
    store.ingest(Table::History, history_rows(run)?, Repeats::Refused, history, upto)?;
    let rows = run.accounts.iter().map(|(tenant, account)| {
        let row = account_row(&(*tenant, account.id.clone()));
        encode("accounts", account).map(|value| (row, Some(value)))
    });
    store.ingest(Table::Accounts, sorted(rows)?, Repeats::Refused, accounts, upto)?;
    let rows = run.timers.iter().map(|(timer, account)| {
        let account = account.as_ref().map(|account| encode("timers", account)).transpose();
        account.map(|account| (timer_row(*timer).to_vec(), account))
    });
    store.ingest(Table::Timers, sorted(rows)?, Repeats::LastWins, timers, upto)?;
    let rows = run.rates.iter().map(|row| {
        let [one, other] = [row.pair().base, row.pair().quote].map(|currency| currency.numeric().to_be_bytes());
        encode("rates", row).map(|value| ([&[0; 4][..], &one, &other].concat(), Some(value)))
    });
    store.ingest(Table::Rates, sorted(rows)?, Repeats::LastWins, rates, upto)
}

fn owner_rows(run: &Run) -> Result<Vec<Row>, IndexError> {
    sorted(run.owners.iter().map(|((tenant, owner), row)| {
        let mut key = named_row(*tenant, owner);
        let value = match row {
            OwnerRow::Account(owned) => {
                key.push(b'a');
                key.extend_from_slice(owned.account.as_bytes());
                encode("owners", owned)
            }
            OwnerRow::Default(account, since) => {
                key.push(b'd');
                encode("owners", &(account, since))
            }
        };
        value.map(|value| (key, Some(value)))
    }))
}

/// An account's rows of one run stand together in chunks: a hot account costs few rows, not one per line.
fn history_rows(run: &Run) -> Result<Vec<Row>, IndexError> {
    sorted(run.history.iter().flat_map(|(key, lines)| {
        // Which row a line stands in must not depend on the bounds of runs, so no row goes on into the next partition.
        let stretches = lines.chunk_by(|one, next| partition(one.lsn) == partition(next.lsn));
        stretches.flat_map(|stretch| stretch.chunks(CHUNK_LINES_MAX)).map(move |chunk| {
            let first = chunk.first().map_or(Lsn(0), |line| line.lsn);
            encode("history", &chunk).map(|value| (history_row(key, partition(first), first), Some(value)))
        })
    }))
}

type Row = (Vec<u8>, Option<Vec<u8>>);

/// Rows in the order of their keys; of equal keys the later row stays behind the earlier.
fn sorted(rows: impl Iterator<Item = Result<Row, IndexError>>) -> Result<Vec<Row>, IndexError> {
    let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
    rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(rows)
}
