//! Between claim and launch: finds everything a command may touch, pins it, and builds its flow.
//!
//! What is unknown is refused here (NOT_FOUND, never recorded); what depends on state is left to the flow.

use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use crate::{
    Refusal,
    actors::directory::{AccountRef, OwnerRef},
    engine::{Command, Engine, internal, interrupted},
    idempotency::Claim,
    ledger::{
        account::Account,
        command::{CommandFlow, CommandOrder, Subject},
        entry::{DefaultMark, Outcome},
        failure::{Failure, FailureCode},
        flow::{Flow, Party},
        payment::{PaymentFlow, PaymentOrder},
        request::{Capture, CreatePayment, OpenAccount, Request, Reserve, UpdateAccount},
        reservation::Reservation,
        time::Timestamp,
        wallet::AccountView,
    },
    messages::WalletMessage,
    money::{AccountId, Currency, OpId, OwnerId, TenantId},
};

/// A command ready to launch.
pub(crate) struct Prepared {
    pub(crate) flow: Flow,
    pub(crate) op: OpId,
    pub(crate) partition: usize,
    pub(crate) cast: SmallVec<[AccountRef; 4]>,
    pub(crate) owner: Option<OwnerRef>,
    pub(crate) claims: SmallVec<[Claim; 2]>,
}

/// What a command other than a payment works on.
struct Found {
    subject: Subject,
    /// Whose arbiter it runs on.
    owner_id: OwnerId,
    cast: SmallVec<[AccountRef; 4]>,
    owner: Option<OwnerRef>,
    claims: SmallVec<[Claim; 2]>,
}

impl Found {
    fn new(subject: Subject, owner_id: OwnerId, cast: SmallVec<[AccountRef; 4]>) -> Self {
        Self { subject, owner_id, cast, owner: None, claims: SmallVec::new() }
    }
}

impl Engine {
    pub(crate) async fn prepare(&self, command: Command, deadline: Timestamp) -> Result<Prepared, Refusal> {
        let op = self.0.clock.new_id();
        let tenant = command.tenant;
        let found = match &command.request {
            Request::CreatePayment(request) => {
                let request = request.clone();
                return self.prepare_payment(op, command, request).await;
            }
            // Boxed, so that the future of a payment does not grow with the rare commands' ways.
            Request::OpenAccount(open) => Box::pin(self.find_to_open(tenant, op, open, deadline)).await?,
            Request::UpdateAccount(update) => Box::pin(self.find_to_update(tenant, update, deadline)).await?,
            Request::Deposit(transfer) | Request::Withdraw(transfer) => {
                let (account, party) = self.known(tenant, &transfer.account).await?;
                let world = self.0.directory.system(tenant, "world", transfer.amount.currency).await?;
                Found::new(Subject::Request, party.owner, smallvec![account, world])
            }
            Request::Reserve(reserve) => Box::pin(self.find_to_reserve(tenant, reserve)).await?,
            Request::Capture(capture) => Box::pin(self.find_to_capture(tenant, capture, deadline)).await?,
            Request::Release(release) => Box::pin(self.find_to_free(tenant, release.reservation, deadline)).await?,
            Request::Expire(release) => Box::pin(self.find_to_expire(tenant, release.reservation, deadline)).await?,
            Request::PublishRates(set) => {
                Found::new(Subject::Rates(self.rates().check_room(set)), OwnerId::system(), SmallVec::new())
            }
            Request::RemoveRates(remove) => {
                Found::new(Subject::Rates(self.rates().check_published(remove)), OwnerId::system(), SmallVec::new())
            }
        };
        let partition = self.0.directory.partition(tenant, &found.owner_id, None);
        let order = CommandOrder {
            tenant,
            op,
            tx_id: command.tx_id,
            request: command.request,
            notes: command.notes,
            now: self.0.clock.believed(),
            subject: found.subject,
        };
        let flow = Flow::Command(Box::new(CommandFlow::new(order)));
        Ok(Prepared { flow, op, partition, cast: found.cast, owner: found.owner, claims: found.claims })
    }

    async fn prepare_payment(&self, op: OpId, command: Command, request: CreatePayment) -> Result<Prepared, Refusal> {
        let tenant = command.tenant;
        let customer = self.0.directory.owner(&(tenant, request.customer.clone())).await?.record();
        if !customer.exists() {
            return Err(Refusal::not_found("customer", &request.customer));
        }
        let mut cast: SmallVec<[AccountRef; 4]> = SmallVec::new();
        let mut candidates: SmallVec<[Party; 2]> = SmallVec::new();
        if let Some(source) = &request.source {
            let (account, party) = self.known(tenant, source).await?;
            cast.push(account);
            candidates.push(party);
        } else {
            for owned in customer.candidates(request.amount.currency) {
                // One whose opening is durable and not yet handed over: nobody was told of it, so it may be passed over.
                if let Some((account, party)) = self.find(tenant, &owned.account).await? {
                    cast.push(account);
                    candidates.push(party);
                }
            }
        }
        if candidates.is_empty() {
            return Err(Refusal::not_found("customer", &request.customer));
        }
        let (account, payee) = match &request.destination {
            Some(destination) => self.known(tenant, destination).await?,
            None => self.house_account(tenant, request.amount.currency).await?,
        };
        cast.push(account);
        for currency in desks(&candidates, &payee) {
            cast.push(self.0.directory.system(tenant, "fx", currency).await?);
        }
        let partition = self.0.directory.partition(tenant, &request.customer, None);
        let home = customer.default_account().or(customer.accounts.first()).map(|owned| owned.account.clone());
        let home = home.ok_or_else(|| Refusal::not_found("customer", &request.customer))?;
        let (tx_id, notes) = (command.tx_id, command.notes);
        let order = PaymentOrder { tenant, op, tx_id, request, notes, payee, candidates, home };
        let flow = Flow::Payment(Box::new(PaymentFlow::new(order)));
        Ok(Prepared { flow, op, partition, cast, owner: None, claims: SmallVec::new() })
    }

    /// Where the house merchant takes an amount: its account in that currency, else its default.
    pub(crate) async fn house_account(
        &self,
        tenant: TenantId,
        currency: Currency,
    ) -> Result<(AccountRef, Party), Refusal> {
        let id = OwnerId::parse(&self.0.config.house_owner).map_err(internal)?;
        let house = self.0.directory.owner(&(tenant, id.clone())).await?.record();
        let account = house.candidates(currency).next().map(|owned| owned.account.clone());
        match account {
            Some(account) => self.known(tenant, &account).await,
            None => Err(Refusal::not_found("house merchant", &id)),
        }
    }

    async fn find(&self, tenant: TenantId, id: &AccountId) -> Result<Option<(AccountRef, Party)>, Refusal> {
        let handle = self.0.directory.account(&(tenant, id.clone())).await?;
        Ok(handle.and_then(|handle| handle.party().map(|party| (handle, party))))
    }

    async fn known(&self, tenant: TenantId, id: &AccountId) -> Result<(AccountRef, Party), Refusal> {
        self.find(tenant, id).await?.ok_or_else(|| Refusal::not_found("account", id))
    }

    async fn find_to_open(
        &self,
        tenant: TenantId,
        op: OpId,
        open: &OpenAccount,
        deadline: Timestamp,
    ) -> Result<Found, Refusal> {
        let id = match &open.account {
            Some(id) => id.clone(),
            None => AccountId::parse(&format!("acct_{op}")).map_err(internal)?,
        };
        // Owner first, then account: the one order in which two such keys are ever claimed.
        let of_owner = self.claim_in_turn(self.0.hasher.owner(tenant, &open.owner), deadline).await?;
        let of_account = self.claim_in_turn(self.0.hasher.settings(tenant, &id), deadline).await?;
        let owner = self.0.directory.owner(&(tenant, open.owner.clone())).await?;
        let owned = owner.record().accounts.len();
        let default = if owned == 0 { DefaultMark::Default } else { DefaultMark::Unchanged };
        let mut account = Account::open(id.clone(), open.owner.clone(), open.currency);
        account.overdraft_limit = open.overdraft_limit;
        account.daily_debit_limit = open.daily_debit_limit;
        let allowed = self.0.config.accounts_per_owner_max;
        let subject = if owned < allowed {
            Ok(account)
        } else {
            let message = format!("owner {} has {owned} accounts, {allowed} are allowed", open.owner);
            Err(Failure::new(FailureCode::TooManyAccounts, message))
        };
        let handle = self.0.directory.to_open((tenant, id), open.currency, open.owner.clone()).await?;
        Ok(Found {
            subject: Subject::NewAccount(subject, default),
            owner_id: open.owner.clone(),
            cast: smallvec![handle],
            owner: Some(owner),
            claims: smallvec![of_owner, of_account],
        })
    }

    async fn find_to_update(
        &self,
        tenant: TenantId,
        update: &UpdateAccount,
        deadline: Timestamp,
    ) -> Result<Found, Refusal> {
        let claim = self.claim_in_turn(self.0.hasher.settings(tenant, &update.account), deadline).await?;
        let (handle, party) = self.known(tenant, &update.account).await?;
        let view = read_view(&handle).await?.ok_or_else(|| Refusal::not_found("account", &update.account))?;
        let owner = self.0.directory.owner(&(tenant, party.owner.clone())).await?;
        let default = if update.make_default { DefaultMark::Default } else { DefaultMark::Unchanged };
        let subject = Subject::Account(view.account, default);
        let found = Found::new(subject, party.owner, smallvec![handle]);
        Ok(Found { owner: Some(owner), claims: smallvec![claim], ..found })
    }

    async fn find_to_reserve(&self, tenant: TenantId, reserve: &Reserve) -> Result<Found, Refusal> {
        let (account, party) = self.known(tenant, &reserve.account).await?;
        if let Some(destination) = &reserve.destination {
            self.known(tenant, destination).await?;
        }
        let default = Duration::from_secs(self.0.config.reservation_default_s);
        let until = self.0.clock.latest().plus(reserve.expires_in.unwrap_or(default));
        Ok(Found::new(Subject::Until(until), party.owner, smallvec![account]))
    }

    async fn find_to_capture(
        &self,
        tenant: TenantId,
        capture: &Capture,
        deadline: Timestamp,
    ) -> Result<Found, Refusal> {
        let (mut reservation, mut claim) = self.take_reservation(tenant, capture.reservation, deadline).await?;
        if reservation.is_active() && self.0.clock.is_over(reservation.expires_at) {
            // The sweep has not come to it yet: it is freed first, so that the answer shows it as it is.
            drop(claim);
            self.expire_now(tenant, &reservation).await?;
            (reservation, claim) = self.take_reservation(tenant, capture.reservation, deadline).await?;
        }
        let (account, party) = self.known(tenant, &reservation.account).await?;
        let payee = capture.destination.clone().or_else(|| reservation.destination.clone());
        let mut cast: SmallVec<[AccountRef; 4]> = smallvec![account];
        if let Some(payee) = &payee {
            cast.push(self.known(tenant, payee).await?.0);
        }
        let subject = Subject::Reservation(reservation, payee);
        Ok(Found { claims: smallvec![claim], ..Found::new(subject, party.owner, cast) })
    }

    async fn find_to_free(&self, tenant: TenantId, id: OpId, deadline: Timestamp) -> Result<Found, Refusal> {
        let (reservation, claim) = self.take_reservation(tenant, id, deadline).await?;
        let (account, party) = self.known(tenant, &reservation.account).await?;
        let subject = Subject::Reservation(reservation, None);
        Ok(Found { claims: smallvec![claim], ..Found::new(subject, party.owner, smallvec![account]) })
    }

    /// An expiry that finds nothing to do makes no entry: the reservation ended before, or its time is not over.
    async fn find_to_expire(&self, tenant: TenantId, id: OpId, deadline: Timestamp) -> Result<Found, Refusal> {
        let found = self.find_to_free(tenant, id, deadline).await?;
        match &found.subject {
            Subject::Reservation(reservation, _)
                if reservation.is_active() && self.0.clock.is_over(reservation.expires_at) =>
            {
                Ok(found)
            }
            _ => Err(Refusal::not_found("reservation to expire", id)),
        }
    }

    /// A reservation as it is now; nobody else works on it while the claim is held.
    async fn take_reservation(
        &self,
        tenant: TenantId,
        id: OpId,
        deadline: Timestamp,
    ) -> Result<(Reservation, Claim), Refusal> {
        let claim = self.claim_in_turn(self.0.hasher.reservation(tenant, id), deadline).await?;
        let latest = self.object(tenant, id).await?;
        match latest.map(|committed| committed.entry.outcome.clone()) {
            Some(Outcome::Reservation { reservation, .. }) => Ok((reservation, claim)),
            _ => Err(Refusal::not_found("reservation", id)),
        }
    }
}

/// An account as its own actor knows it: behind every apply that was sent before.
pub(crate) async fn read_view(handle: &AccountRef) -> Result<Option<AccountView>, Refusal> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    handle.send(WalletMessage::Read(sender));
    receiver.await.map_err(|_| interrupted())
}

/// The currencies whose desk accounts the payment may post to.
fn desks(candidates: &[Party], payee: &Party) -> SmallVec<[Currency; 3]> {
    let mut currencies: SmallVec<[Currency; 3]> = SmallVec::new();
    for party in candidates.iter().filter(|party| party.currency != payee.currency) {
        for currency in [party.currency, payee.currency] {
            if !currencies.contains(&currency) {
                currencies.push(currency);
            }
        }
    }
    currencies
}
