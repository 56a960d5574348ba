//! Between claim and launch: finds everything a command needs and pins it, the same way for every command.
//!
//! What does not exist is refused here (NOT_FOUND, never recorded); what depends on state is left to the flow.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use crate::{
    actors::handles::{AccountRef, OwnerRef},
    core::Core,
    gate::claims::{Claim, Claimed, Heard},
    ledger::{
        command::Command as Body,
        needs::{Found, Need, Party, Terms, Turn},
        time::Timestamp,
    },
    money::{AccountId, OpId, TenantId},
    refusal::{OverloadReason, Refusal, internal, interrupted},
};

/// How often a command may ask for more.
const ROUNDS_MAX: usize = 8;

/// What a command needs, found.
pub(super) struct Resolved {
    /// As data, for its flow.
    pub(super) found: Found,
    /// Every account that may take part, pinned.
    pub(super) cast: SmallVec<[AccountRef; 4]>,
    /// The owner whose record it may change, pinned.
    pub(super) owner: Option<OwnerRef>,
    /// The turns it took.
    pub(super) turns: SmallVec<[Claim; 2]>,
    /// What has to expire before it can be decided; then nothing else counts.
    pub(super) expired: Option<(OpId, Timestamp)>,
}

impl Core {
    /// Finds what `body` needs, round by round, until it needs nothing more.
    pub(super) async fn resolve(
        self: &Arc<Self>,
        tenant: TenantId,
        body: &dyn Body,
        terms: &Terms<'_>,
        deadline: Timestamp,
    ) -> Result<Resolved, Refusal> {
        let mut resolved =
            Resolved { found: Found::default(), cast: SmallVec::new(), owner: None, turns: smallvec![], expired: None };
        loop {
            let needs = body.needs(terms, &resolved.found)?;
            if needs.is_empty() || resolved.expired.is_some() {
                return Ok(resolved);
            }
            if resolved.found.rounds >= ROUNDS_MAX {
                return Err(internal(format!("{body:?} asks for ever more")));
            }
            for need in needs {
                match need {
                    Need::Owner(id) => {
                        let owner = self.residents.owner(&(tenant, id.clone())).await?;
                        resolved.found.owners.push((id, owner.record()));
                        resolved.owner = Some(owner);
                    }
                    Need::Account(id) => {
                        let known = self.find_account(tenant, &id).await?;
                        resolved.takes_part(known.ok_or_else(|| Refusal::not_found("account", id))?);
                    }
                    Need::AccountIfOpen(id) => {
                        let known = self.find_account(tenant, &id).await?;
                        known.into_iter().for_each(|known| resolved.takes_part(known));
                    }
                    Need::System(role, currency) => {
                        resolved.cast.push(self.residents.system(tenant, role, currency).await?);
                    }
                    // Boxed, so that the future of a payment does not grow with the rare commands' ways.
                    rare => Box::pin(self.resolve_rare(tenant, rare, &mut resolved, deadline)).await?,
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
        deadline: Timestamp,
    ) -> Result<(), Refusal> {
        match need {
            Need::Turn(turn) => resolved.turns.push(self.take_turn(tenant, &turn, deadline).await?),
            Need::NewAccount(id, currency, owner) => {
                resolved.cast.push(self.residents.to_open((tenant, id), currency, owner).await?);
            }
            Need::AccountNow(id) => {
                let unknown = || Refusal::not_found("account", &id);
                let account = resolved.cast.iter().find(|account| *account.id() == id).ok_or_else(unknown)?;
                let view = account.view().await?.ok_or_else(unknown)?;
                resolved.found.account_now = Some(view.account);
            }
            Need::Object(id) => {
                let latest = self.on_load_pool(move |core| core.object(tenant, id)).await?;
                let changes = latest.map(|committed| committed.entry.decision.changes.clone()).unwrap_or_default();
                resolved.found.object = changes.into_iter().find(|change| change.object() == Some(id));
            }
            Need::Rates => resolved.found.rates = Some(self.environment.desk.book()),
            Need::Expired(id, due) => resolved.expired = Some((id, due)),
            Need::Owner(_) | Need::Account(_) | Need::AccountIfOpen(_) | Need::System(..) => {
                return Err(internal(format!("{need:?} is no rare need")));
            }
        }
        Ok(())
    }

    /// An open account, and what it is.
    pub(super) async fn find_account(
        &self,
        tenant: TenantId,
        id: &AccountId,
    ) -> Result<Option<(AccountRef, Party)>, Refusal> {
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
        self.cast.push(account);
        self.found.parties.push(party);
    }
}
