//! Keys and claims: at most one command in flight per tx_id, and the same answer for everyone who asks (P2).
//!
//! A look-up follows the direction of travel: claim the key here (one atomic step), then the tail, then the index.
//! The claim goes only after the entry is in the tail, so no second command can slip between.

use std::{
    hash::{Hash as _, Hasher},
    sync::Arc,
};

use dashmap::{DashMap, mapref::entry::Entry as Slot};
use foldhash::fast::RandomState;
use siphasher::sip128::{Hasher128, SipHasher13};
use tokio::sync::oneshot;

use crate::{
    Refusal,
    ledger::entry::Committed,
    money::{AccountId, OpId, OwnerId, TenantId, TxId},
};

/// How many callers may wait for one key.
pub const WAITERS_MAX: usize = 16;

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

    /// The hash under which a reservation's commands run one after another.
    pub fn reservation(&self, tenant: TenantId, id: OpId) -> KeyHash {
        self.hash(1, tenant, &id.0.to_be_bytes())
    }

    /// The hash under which an account's opening and changes run one after another.
    pub fn settings(&self, tenant: TenantId, id: &AccountId) -> KeyHash {
        self.hash(2, tenant, id.as_bytes())
    }

    /// The hash under which an owner's openings run one after another.
    pub fn owner(&self, tenant: TenantId, id: &OwnerId) -> KeyHash {
        self.hash(3, tenant, id.as_bytes())
    }

    fn hash(&self, space: u8, tenant: TenantId, bytes: &[u8]) -> KeyHash {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write_u8(space);
        tenant.hash(&mut hasher);
        hasher.write(bytes);
        hasher.finish128().as_u128()
    }
}

/// What a claim ends in.
pub type ClaimEnd = Result<Committed, Refusal>;

#[derive(Default)]
struct Waiters(Vec<oneshot::Sender<ClaimEnd>>);

/// All keys in flight. Bounded by admission: a command holds at most three.
#[derive(Clone, Default)]
pub struct Claims(Arc<DashMap<KeyHash, Waiters, RandomState>>);

/// What came of asking for a key.
pub enum Claimed {
    /// It is yours.
    Mine(Claim),
    /// Somebody is at it: their end comes here.
    Theirs(oneshot::Receiver<ClaimEnd>),
    /// Too many are waiting already.
    Crowded,
}

impl Claims {
    /// Asks for a key: one atomic step.
    pub fn claim(&self, key: KeyHash) -> Claimed {
        match self.0.entry(key) {
            Slot::Vacant(slot) => {
                slot.insert(Waiters::default());
                Claimed::Mine(Claim { claims: self.clone(), key, ended: false })
            }
            Slot::Occupied(mut slot) => {
                let waiters = &mut slot.get_mut().0;
                waiters.retain(|waiter| !waiter.is_closed());
                if waiters.len() >= WAITERS_MAX {
                    return Claimed::Crowded;
                }
                let (sender, receiver) = oneshot::channel();
                waiters.push(sender);
                Claimed::Theirs(receiver)
            }
        }
    }

    /// How many keys are in flight.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The right to decide a key. Dropped without an end, all waiters are told to try again.
pub struct Claim {
    claims: Claims,
    key: KeyHash,
    ended: bool,
}

impl Claim {
    /// Its key.
    pub fn key(&self) -> KeyHash {
        self.key
    }

    /// Ends the claim: the entry is in the tail, or there will be none.
    pub fn end(mut self, end: &ClaimEnd) {
        self.release(end);
    }

    fn release(&mut self, end: &ClaimEnd) {
        self.ended = true;
        if let Some((_, waiters)) = self.claims.0.remove(&self.key) {
            for waiter in waiters.0 {
                // A waiter that went away needs no answer.
                let _ = waiter.send(end.clone());
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.ended {
            self.release(&Err(crate::UnavailableReason::Interrupted.into()));
        }
    }
}
