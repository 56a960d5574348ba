//! How rows look on disk (the table of [`super::fjall`] has the picture): keys are big-endian, so that their order is
//! the order of what they hold; values are postcard.

use serde::{Serialize, de::DeserializeOwned};

use super::{AccountKey, IndexError, TimerKey};
use crate::{
    idempotency::KeyHash,
    ledger::time::Timestamp,
    money::{Lsn, OpId, TenantId},
};

/// Fixed parts one after another: a key of known length, without an allocation.
fn join<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut key = [0; N];
    let bytes = parts.iter().flat_map(|part| part.iter());
    key.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    key
}

pub(super) fn key_row(tenant: TenantId, partition: u32, key: KeyHash) -> [u8; 24] {
    join(&[&tenant.0.to_be_bytes(), &partition.to_be_bytes(), &key.to_be_bytes()])
}

pub(super) fn object_row(tenant: TenantId, object: OpId) -> [u8; 20] {
    join(&[&tenant.0.to_be_bytes(), &object.0.to_be_bytes()])
}

pub(super) fn account_row(key: &AccountKey) -> Vec<u8> {
    [&key.0.0.to_be_bytes()[..], key.1.as_bytes()].concat()
}

/// Tenant and a name that is ended, so that no name is a prefix of another.
pub(super) fn named_row(tenant: TenantId, name: &str) -> Vec<u8> {
    [&tenant.0.to_be_bytes()[..], name.as_bytes(), &[0]].concat()
}

/// An account's rows from one entry on.
pub(super) fn history_row(key: &AccountKey, first: Lsn) -> Vec<u8> {
    let mut row = named_row(key.0, &key.1);
    row.extend_from_slice(&first.0.to_be_bytes());
    row
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

pub(super) fn lsn_of(table: &'static str, row: &[u8]) -> Result<Lsn, IndexError> {
    row.try_into().map(|bytes| Lsn(u64::from_be_bytes(bytes))).map_err(|_| IndexError::Row(table))
}

pub(super) fn encode<T: Serialize>(table: &'static str, row: &T) -> Result<Vec<u8>, IndexError> {
    postcard::to_stdvec(row).map_err(|_| IndexError::Row(table))
}

pub(super) fn decode<T: DeserializeOwned>(table: &'static str, row: &[u8]) -> Result<T, IndexError> {
    postcard::from_bytes(row).map_err(|_| IndexError::Row(table))
}
