//! Between claim and launch: finds everything a command needs and pins it, the same way for every command.
//!
//! What does not exist is refused here (NOT_FOUND, never recorded); what depends on state is left to the flow.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::{
    actors::{
        handles::{AccountRef, OwnerRef},
        objects::ObjectRef,
    },
    core::Core,
    gate::claims::{Claim, Claimed, Heard},
    ledger::{
        body::Body,
        needs::{Found, Need, Party, Terms, Turn},
        objects,
        time::Timestamp,
    },
    money::{AccountId, OpId, TenantId},
    planted::{Bug, is_planted},
    refusal::{OverloadReason, Refusal, internal, interrupted},
};

/// How often a command may ask for more.
const ROUNDS_MAX: usize = 8;

/// What a command needs, found.
#[derive(Default)]
pub(super) struct Resolved {
    /// As data, for its flow.
    pub(super) found: Found,
    /// Who and what takes part.
    pub(super) pinned: Pinned,
    /// What has to expire before it can be decided; then nothing else counts.
    pub(super) expired: Option<(OpId, Timestamp)>,
}

/// What a command holds on to until its entry is durable.
#[derive(Default)]
pub(super) struct Pinned {
    /// Every account that may take part.
    pub(super) cast: SmallVec<[AccountRef; 4]>,
    /// The owner whose record it may change.
    pub(super) owner: Option<OwnerRef>,
    /// The object it is about.
    pub(super) object: Option<ObjectRef>,
    /// The turns it took.
    pub(super) turns: SmallVec<[Claim; 2]>,
}

impl Core {
    /// Finds what a command needs, round by round, until it needs nothing more. What was found is filled in rather than
    /// given back: it is large, and every payment comes this way.
    pub(super) async fn resolve(
        self: &Arc<Self>,
        tenant: TenantId,
        body: &dyn Body,
        terms: &Terms<'_>,
        deadline: Timestamp,
        resolved: &mut Resolved,
    ) -> Result<(), Refusal> {
        loop {
            let needs = body.needs(terms, &resolved.found)?;
            if needs.is_empty() || resolved.expired.is_some() {
                return Ok(());
            }
            if resolved.found.rounds >= ROUNDS_MAX {
                return Err(internal("a command asks for ever more"));
            }
            for need in needs {
                match need {
                    Need::Owner(id) => {
                        let owner = self.residents.owner(&(tenant, id.clone())).await?;
                        resolved.found.owners.push((id, owner.record()));
                    }
                    Need::Account(id) => resolved.takes_part(self.known_account(tenant, &id).await?),
                    Need::AccountIfOpen(id) => {
                        let known = self.find_account(tenant, &id).await?;
                        known.into_iter().for_each(|known| resolved.takes_part(known));
                    }
                    Need::System(role, currency) => {
                        let desk = self.residents.system(tenant, role, currency).await?;
                        if !is_planted(Bug::PostingOutsideTheCast) {
                            resolved.pinned.cast.push(desk);
                        }
                    }
                    Need::Now => resolved.found.now = Some(self.clock.moment()),
                    Need::Rates => resolved.found.rates = Some(self.environment.desk.book()),
                    Need::Expired(id, due) => resolved.expired = Some((id, due)),
                    // Boxed, so that the future of a payment does not grow with the rare commands' ways.
                    Need::Turn(turn) => {
                        resolved.pinned.turns.push(Box::pin(self.take_turn(tenant, &turn, deadline)).await?);
                    }
                    rare => Box::pin(self.resolve_rare(tenant, rare, resolved)).await?,
                }
            }
            resolved.found.rounds += 1;
        }
    }

    /// What a payment does not need.
    async fn resolve_rare(
        self: &Arc<Self>,
        tenant: TenantId,
        need: Need,
        resolved: &mut Resolved,
    ) -> Result<(), Refusal> {
        let Resolved { found, pinned, .. } = resolved;
        match need {
            Need::OwnerToChange(id) => {
                let owner = self.residents.owner(&(tenant, id.clone())).await?;
                found.owners.push((id, owner.record()));
                pinned.owner = Some(owner);
            }
            Need::NewAccount(id, currency, owner) => {
                pinned.cast.push(self.residents.to_open((tenant, id), currency, owner).await?);
            }
            Need::AccountNow(id) => {
                let unknown = || Refusal::not_found("account", &id);
                let account = pinned.cast.iter().find(|account| *account.id() == id).ok_or_else(unknown)?;
                let view = account.view().await?.ok_or_else(unknown)?;
                found.account_now = Some(Box::new(view.account));
            }
            Need::Object(id) => {
                let object = self.objects.pin((tenant, id));
                let known = object.latest().or_else(|| self.tail.by_object(id));
                let latest = match known.filter(|committed| committed.entry.tenant == tenant) {
                    Some(latest) => Some(latest),
                    None => self.on_load_pool(move |core| core.object(tenant, id)).await?,
                };
                latest.iter().for_each(|latest| object.learn(latest.clone()));
                pinned.object = Some(object);
                found.object = latest.and_then(|committed| objects::found(&committed, id)).map(Box::new);
            }
            Need::Owner(_)
            | Need::Account(_)
            | Need::AccountIfOpen(_)
            | Need::System(..)
            | Need::Now
            | Need::Rates
            | Need::Turn(_)
            | Need::Expired(..) => return Err(internal("a need that is not rare")),
        }
        Ok(())
    }

    async fn known_account(&self, tenant: TenantId, id: &AccountId) -> Result<(AccountRef, Party), Refusal> {
        self.find_account(tenant, id).await?.ok_or_else(|| Refusal::not_found("account", id))
    }

    /// An open account, and what it is.
    async fn find_account(&self, tenant: TenantId, id: &AccountId) -> Result<Option<(AccountRef, Party)>, Refusal> {
        let handle = self.residents.account(&(tenant, id.clone())).await?;
        Ok(handle.and_then(|handle| handle.party().map(|party| (handle, party))))
    }

    /// Waits for a turn: whoever takes the same one is decided before or after.
    async fn take_turn(&self, tenant: TenantId, turn: &Turn, deadline: Timestamp) -> Result<Claim, Refusal> {
        let claim = match self.claims.take_turn(self.hasher.turn(tenant, turn)) {
            Claimed::Mine(claim) => claim,
            Claimed::Crowded => return Err(Refusal::overloaded(OverloadReason::Waiters)),
            Claimed::Theirs(heard) => match heard.await {
                Ok(Heard::Turn(claim)) => claim,
                Ok(Heard::End(_)) | Err(_) => return Err(interrupted()),
            },
        };
        if self.clock.now() > deadline { Err(Refusal::DeadlineExceeded) } else { Ok(claim) }
    }
}

impl Resolved {
    fn takes_part(&mut self, (account, party): (AccountRef, Party)) {
        self.pinned.cast.push(account);
        self.found.parties.push(party);
    }
}
