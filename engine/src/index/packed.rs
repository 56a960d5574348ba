//! Tables from a 16-byte number to the entry it stands in. The store's merges cost by the row, so a row holds all that
//! one run adds to a bucket:
//!
//! ```text
//! tenant:4 bucket:8 first_lsn:8 -> (number:16 lsn:8)*
//! ```
//! Buckets rise with time (`layout` makes them), so that rows far behind are never merged again.

use std::ops::Range;

use fjall::Keyspace;

use super::{
    IndexError,
    layout::{bucket_row, bucket_rows},
    store::store,
};
use crate::money::{Lsn, TenantId};

/// How many numbers stand in one row at most.
const PLACES_MAX: usize = 256;
/// A number and its lsn.
pub(super) const PLACE_BYTES: usize = 16 + 8;

/// Where one number is, in the order of rows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) tenant: TenantId,
    pub(super) bucket: u64,
    pub(super) lsn: Lsn,
    pub(super) number: u128,
}

/// The rows of one run, in order.
pub(super) fn rows(places: &mut [Place]) -> impl Iterator<Item = ([u8; 20], Option<Vec<u8>>)> {
    places.sort_unstable();
    let buckets = places.chunk_by(|a, b| (a.tenant, a.bucket) == (b.tenant, b.bucket));
    buckets.flat_map(|bucket| bucket.chunks(PLACES_MAX)).filter_map(|places| {
        let first = places.first()?;
        let mut value = Vec::with_capacity(places.len() * PLACE_BYTES);
        for place in places {
            value.extend_from_slice(&place.number.to_be_bytes());
            value.extend_from_slice(&place.lsn.0.to_be_bytes());
        }
        Some((bucket_row(first.tenant, first.bucket, first.lsn), Some(value)))
    })
}

/// The latest entry of a number: an object has one for each of its entries, so all rows of the bucket are read.
pub(super) fn find(
    table: (&'static str, &Keyspace),
    tenant: TenantId,
    bucket: u64,
    number: u128,
) -> Result<Option<Lsn>, IndexError> {
    let mut found = None;
    for_each(table, tenant, bucket..bucket.saturating_add(1), |other, lsn| {
        if other == number {
            found = found.max(Some(lsn));
        }
    })?;
    Ok(found)
}

/// Every number in some buckets of a tenant, with its entry.
pub(super) fn for_each(
    (name, table): (&'static str, &Keyspace),
    tenant: TenantId,
    buckets: Range<u64>,
    mut found: impl FnMut(u128, Lsn),
) -> Result<(), IndexError> {
    for row in table.range(bucket_rows(tenant, buckets)) {
        let row = row.value().map_err(store(name))?;
        let (places, rest) = row.as_chunks::<PLACE_BYTES>();
        if !rest.is_empty() {
            return Err(IndexError::Row(name));
        }
        for place in places {
            let (number, lsn) = place.split_first_chunk::<16>().ok_or(IndexError::Row(name))?;
            let lsn = lsn.try_into().map_err(|_| IndexError::Row(name))?;
            found(u128::from_be_bytes(*number), Lsn(u64::from_be_bytes(lsn)));
        }
    }
    Ok(())
}
