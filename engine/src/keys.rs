//! Hashes of keys, with the data directory's own secret (P2, P4), and where owners live (S1).

use std::hash::{Hash as _, Hasher};

use siphasher::sip128::{Hasher128, SipHasher13};
use smallvec::SmallVec;

use crate::{
    ledger::needs::Turn,
    money::{OpId, OwnerId, TenantId, TxId},
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

/// Places owners in slots, of which a partition has a stretch (S1). Fixed when the data is made, as it follows from the
/// secret, and never that of a build.
#[derive(Debug, Clone, Copy)]
pub struct Placement([u8; 32]);

impl Placement {
    /// How many slots there are, as a power of two.
    const SLOT_BITS: u32 = 10;

    /// The slot of an owner: the first 8 bytes of BLAKE3, keyed with the seed, of tenant and owner, modulo 1,024.
    pub fn slot(&self, tenant: TenantId, owner: &OwnerId) -> u16 {
        // In one piece: an owner's name is short, and most are one block of the hash.
        let mut text = SmallVec::<[u8; 64]>::from_slice(&tenant.0.to_be_bytes());
        text.extend_from_slice(owner.as_bytes());
        let [a, b, c, d, e, f, g, h, ..] = *blake3::keyed_hash(&self.0, &text).as_bytes();
        (u64::from_be_bytes([a, b, c, d, e, f, g, h]) % (1 << Self::SLOT_BITS)) as u16
    }

    /// An id that says in its last bits whose home it is of, so that it is routed without a look-up.
    #[must_use]
    pub fn at_home(&self, id: OpId, tenant: TenantId, owner: &OwnerId) -> OpId {
        let slot = u128::from(self.slot(tenant, owner));
        OpId(id.0 >> Self::SLOT_BITS << Self::SLOT_BITS | slot)
    }

    /// The slot that an id says.
    pub fn slot_of(id: OpId) -> u16 {
        (id.0 % (1 << Self::SLOT_BITS)) as u16
    }
}

impl KeyHasher {
    /// Where owners live.
    pub fn placement(&self) -> Placement {
        Placement(blake3::derive_key("arus 2026-11 placement of a data directory's owners", &self.0))
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids that were given out route by these for ever: frozen figures.
    #[test]
    fn an_owner_stays_in_its_slot_and_ids_say_it() {
        let placement = KeyHasher([7; 16]).placement();
        let slots = ["CUST-1", "CUST-2", "sys/house"].map(|owner| {
            let owner = OwnerId::parse_any(owner).expect("an id");
            let id = placement.at_home(OpId(u128::MAX), TenantId(0), &owner);
            assert_eq!(Placement::slot_of(id), placement.slot(TenantId(0), &owner));
            assert_eq!(id.0 >> 10, u128::MAX >> 10, "nothing else of the id changes");
            placement.slot(TenantId(0), &owner)
        });
        assert_eq!(slots, [301, 299, 666]);
        let owner = OwnerId::parse("CUST-1").expect("an id");
        assert_ne!(slots[0], placement.slot(TenantId(1), &owner), "tenants are told apart");
    }
}
