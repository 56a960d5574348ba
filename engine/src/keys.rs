//! Hashes of keys, with the data directory's own secret (P2, P4).

use std::hash::{Hash as _, Hasher};

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::{
    ledger::needs::Turn,
    money::{TenantId, TxId},
};

/// A keyed 128-bit hash of tenant and key.
pub type KeyHash = u128;

/// Hashes keys with the data directory's own secret, so that nobody can prepare collisions.
#[derive(Debug, Clone, Copy)]
pub struct KeyHasher(pub [u8; 16]);

/// Names a data directory's secret without giving it away: stands in every segment and in the index, so that one
/// that belongs to another directory is refused (P4).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 16]);

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl KeyHasher {
    /// The fingerprint of the secret.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut fingerprint = [0; 16];
        let hash = blake3::derive_key("arus 2026-11 fingerprint of a data directory's key", &self.0);
        fingerprint.iter_mut().zip(hash).for_each(|(place, byte)| *place = byte);
        Fingerprint(fingerprint)
    }

    /// The hash of a client's key.
    pub fn key(&self, tenant: TenantId, tx_id: &TxId) -> KeyHash {
        self.hash(0, tenant, tx_id.as_bytes())
    }

    /// The hash of what commands take turns at.
    pub fn turn(&self, tenant: TenantId, turn: &Turn) -> KeyHash {
        match turn {
            Turn::Object(id) => self.hash(1, tenant, &id.0.to_be_bytes()),
            Turn::Settings(account) => self.hash(2, tenant, account.as_bytes()),
            Turn::Owner(owner) => self.hash(3, tenant, owner.as_bytes()),
            Turn::Rates => self.hash(4, tenant, &[]),
        }
    }

    fn hash(&self, space: u8, tenant: TenantId, bytes: &[u8]) -> KeyHash {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write_u8(space);
        tenant.hash(&mut hasher);
        hasher.write(bytes);
        hasher.finish128().as_u128()
    }
}
