//! How rows look on disk (the table of [`super::fjall`] has the picture): keys are big-endian, so that their order is
//! the order of what they hold; values are postcard.

use std::ops::Range;

use serde::{Serialize, de::DeserializeOwned};

use super::{AccountKey, IndexError, TimerKey};
use crate::{
    keys::KeyHash,
    ledger::time::Timestamp,
    money::{Lsn, OpId, TenantId},
};

/// A table's mark: behind the rows of all tenants, whose greatest number is not given to anybody.
pub(super) const MARK: [u8; 8] = *b"\xff\xff\xff\xffmark";
/// Where tenants' rows end.
pub(super) const ROWS_END: [u8; 4] = [0xff; 4];

/// Entries per partition, as a power of two.
pub(super) const PARTITION_BITS: u32 = 20;

/// Buckets of keys per partition, as a power of two: a few dozen keys of a full run stand in each.
const KEY_BUCKET_BITS: u32 = 12;

/// The stretch of the journal an entry stands in.
pub(super) fn partition(lsn: Lsn) -> u32 {
    u32::try_from(lsn.0 >> PARTITION_BITS).unwrap_or(u32::MAX)
}

/// Fixed parts one after another: a key of known length, without an allocation.
fn join<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut key = [0; N];
    let bytes = parts.iter().flat_map(|part| part.iter());
    key.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    key
}

/// A run's row in a bucket of numbers.
pub(super) fn bucket_row(tenant: TenantId, bucket: u64, first: Lsn) -> [u8; 20] {
    join(&[&tenant.0.to_be_bytes(), &bucket.to_be_bytes(), &first.0.to_be_bytes()])
}

/// All rows of some buckets.
pub(super) fn bucket_rows(tenant: TenantId, buckets: Range<u64>) -> Range<[u8; 20]> {
    bucket_row(tenant, buckets.start, Lsn(0))..bucket_row(tenant, buckets.end, Lsn(0))
}

/// Keys are random: a partition's buckets are told apart by their first bits.
pub(super) fn key_bucket(partition: u32, key: KeyHash) -> u64 {
    let first_bits = (key >> (KeyHash::BITS - KEY_BUCKET_BITS)) as u64;
    key_buckets(partition).start | first_bits
}

/// All buckets of a partition.
pub(super) fn key_buckets(partition: u32) -> Range<u64> {
    let start = u64::from(partition) << KEY_BUCKET_BITS;
    start..start + (1 << KEY_BUCKET_BITS)
}

/// Ids begin with the millisecond they were made in (RFC 9562): eight of them make a bucket.
pub(super) fn object_bucket(object: OpId) -> u64 {
    (object.0 >> (80 + 3)) as u64
}

pub(super) fn account_row(key: &AccountKey) -> Vec<u8> {
    [&key.0.0.to_be_bytes()[..], key.1.as_bytes()].concat()
}

/// Tenant and a name that is ended, so that no name is a prefix of another.
pub(super) fn named_row(tenant: TenantId, name: &str) -> Vec<u8> {
    [&tenant.0.to_be_bytes()[..], name.as_bytes(), &[0]].concat()
}

/// An account's rows of one partition, from one entry on.
pub(super) fn history_row(key: &AccountKey, partition: u32, first: Lsn) -> Vec<u8> {
    let (tenant, partition, first) = (key.0.0.to_be_bytes(), partition.to_be_bytes(), first.0.to_be_bytes());
    [&tenant[..], &partition, key.1.as_bytes(), &[0], &first].concat()
}

pub(super) fn timer_row((due, tenant, id): TimerKey) -> [u8; 28] {
    join(&[&tenant.0.to_be_bytes(), &due.0.to_be_bytes(), &id.0.to_be_bytes()])
}

pub(super) fn timer_of(key: &[u8]) -> Result<TimerKey, IndexError> {
    let parse = || {
        let (tenant, rest) = key.split_first_chunk::<4>()?;
        let (due, id) = rest.split_first_chunk::<8>()?;
        let id = u128::from_be_bytes(id.try_into().ok()?);
        Some((Timestamp(u64::from_be_bytes(*due)), TenantId(u32::from_be_bytes(*tenant)), OpId(id)))
    };
    parse().ok_or(IndexError::Row("timers"))
}

pub(super) fn filter_name(partition: u32) -> String {
    format!("filter/{partition:08}")
}

pub(super) fn tenant_of(table: &'static str, key: &[u8]) -> Result<TenantId, IndexError> {
    let (tenant, _) = key.split_first_chunk::<4>().ok_or(IndexError::Row(table))?;
    Ok(TenantId(u32::from_be_bytes(*tenant)))
}

pub(super) fn encode<T: Serialize>(table: &'static str, row: &T) -> Result<Vec<u8>, IndexError> {
    postcard::to_stdvec(row).map_err(|_| IndexError::Row(table))
}

pub(super) fn decode<T: DeserializeOwned>(table: &'static str, row: &[u8]) -> Result<T, IndexError> {
    postcard::from_bytes(row).map_err(|_| IndexError::Row(table))
}
