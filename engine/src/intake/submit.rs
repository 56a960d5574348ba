//! The head of a command's path: admission, claim of the key, replay or launch (P2). From the launch on, the command is
//! its own actor and goes on whether or not the caller waits.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::{
    command::{Command, Reply},
    resolve::{Pinned, Resolved},
};
use crate::{
    actors::{command::Launch, door::DoorMessage, messages::RiskMessage},
    core::Core,
    gate::{
        admission::InFlight,
        caller::Answer,
        claims::{Claim, Claimed, Heard},
    },
    keys::KeyHash,
    ledger::{
        body::Defaults,
        commands::expire::NOTHING_TO_EXPIRE,
        entry::{Committed, Order},
        flow::Flow,
        needs::{Found, House, Terms},
        time::Timestamp,
    },
    metrics::payments::Ended,
    money::{AccountId, OpId, TenantId},
    planted::{Bug, is_planted},
    refusal::{OverloadReason, Refusal, UnavailableReason, internal, interrupted},
    trace::{Kind, Trace},
};

/// A command ready to launch.
struct Prepared {
    order: Order,
    flow: Box<dyn Flow>,
    /// Which arbiter it runs on.
    arbiter: usize,
    pinned: Pinned,
}

impl Core {
    /// Decides a command, exactly once per key. Dropping the future gives up waiting, not the command.
    pub(crate) async fn submit(self: &Arc<Self>, command: Command) -> Result<Reply, Refusal> {
        let is_house = command.request.is_house();
        let result = self.decide(command).await;
        if is_house { result } else { self.counted(result) }
    }

    async fn decide(self: &Arc<Self>, mut command: Command) -> Result<Reply, Refusal> {
        let mut in_flight = self.admission.enter(&command.request)?;
        let timeout = command.timeout.unwrap_or(Duration::from_millis(self.config.deadline_default_ms));
        if timeout.is_zero() {
            in_flight.note(Ended::Late);
            return Err(Refusal::DeadlineExceeded);
        }
        let deadline = self.clock.now().plus(timeout);
        let (key, trace) = (self.hasher.key(command.tenant, &command.tx_id), command.trace.clone());
        let claim = match self.claims.claim(key, command.bundle) {
            Claimed::Mine(claim) => claim,
            Claimed::Crowded => return Err(Refusal::overloaded(OverloadReason::Waiters)),
            Claimed::Theirs(heard) => match heard.await.unwrap_or_else(|_| Heard::End(Err(interrupted()))) {
                Heard::Turn(claim) => claim,
                Heard::End(Ok(committed)) => return self.replay(committed, &command, &mut in_flight).await,
                // The other caller's deadline; who joined it is told to ask again rather than to wait once more (P2).
                Heard::End(Err(Refusal::DeadlineExceeded)) => return Err(interrupted()),
                Heard::End(Err(refusal)) => return Err(refusal),
            },
        };
        // Direction of travel: the key is claimed, now the tail, then the index.
        match self.find_key(key, &command).await {
            Ok(None) => {}
            Ok(Some(committed)) => {
                claim.end(&Ok(committed.clone()));
                return self.replay(committed, &command, &mut in_flight).await;
            }
            Err(refusal) => return refuse(claim, refusal),
        }
        if let Some(objection) = command.objection.take() {
            return refuse(claim, *objection);
        }
        match self.prepare(command, deadline).await {
            Err(refusal) => refuse(claim, refusal),
            Ok(prepared) => self.launch(prepared, claim, in_flight, deadline, trace).await,
        }
    }

    /// Finds what the command needs, and begins its flow.
    async fn prepare(self: &Arc<Self>, command: Command, deadline: Timestamp) -> Result<Prepared, Refusal> {
        let (tenant, body) = (command.tenant, command.request.body());
        let mut terms = Terms { op: self.clock.new_id(), house: &self.house };
        // Whose home it is of may be known only once it is found whose account it is about.
        let named = body.runs_with(&Found::default());
        if !named.is_system() {
            terms.op = self.placement.at_home(terms.op, tenant, &named);
        }
        body.check(&self.house)?;
        let mut resolved = Resolved::default();
        self.resolve(tenant, body, &terms, deadline, &mut resolved).await?;
        if let Some((reservation, due)) = resolved.expired {
            // Its turn is given back first: the expiry takes it. One is enough: what has expired is active no more.
            resolved = Resolved::default();
            self.expire_first(tenant, (reservation, due), deadline).await?;
            self.resolve(tenant, body, &terms, deadline, &mut resolved).await?;
            if resolved.expired.is_some() {
                return Err(interrupted());
            }
        }
        let Resolved { found, pinned, .. } = resolved;
        let owner = body.runs_with(&found);
        if named.is_system() {
            terms.op = self.placement.at_home(terms.op, tenant, &owner);
        }
        let flow = body.begin(&terms, &found)?;
        let arbiter = self.residents.arbiter_of(tenant, &owner, None);
        let Command { tx_id, request, notes, .. } = command;
        Ok(Prepared { order: Order { tenant, op: terms.op, tx_id, request, notes }, flow, arbiter, pinned })
    }

    /// Expires a reservation whose time is over, for a command that found it before the timers did. Boxed here, as that
    /// command is itself on its way through.
    fn expire_first<'a>(
        self: &'a Arc<Self>,
        tenant: TenantId,
        (reservation, due): (OpId, Timestamp),
        deadline: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send + 'a>> {
        let expire = Command::expire(tenant, reservation, due);
        Box::pin(async move {
            let mut expire = expire.ok_or_else(|| internal("the key of an expiry is no key"))?;
            // Whoever waits for it waits as long as the command it is for.
            expire.timeout = Some(deadline.since(self.clock.now()));
            match self.submit(expire).await {
                // Somebody else did, or the clock is not trusted any more.
                Ok(_) => Ok(()),
                Err(Refusal::NotFound { what, .. }) if what == NOTHING_TO_EXPIRE => Ok(()),
                Err(refusal) => Err(refusal),
            }
        })
    }

    /// Starts the command's actor on its arbiter once there is a slot, and waits for the answer. From here on the
    /// command goes on by itself, also if nobody polls this.
    async fn launch(
        self: &Arc<Self>,
        prepared: Prepared,
        claim: Claim,
        in_flight: InFlight,
        deadline: Timestamp,
        trace: Option<Arc<Trace>>,
    ) -> Result<Reply, Refusal> {
        leg(trace.as_ref(), "engine", "prepare", Kind::Work);
        let (reply, told) = oneshot::channel();
        let Prepared { order, flow, arbiter, pinned } = prepared;
        // Without an arbiter whoever waits hears of it.
        let (Some(door), Some(judge)) = (self.doors.get(arbiter), self.risk.get(arbiter)) else {
            return Err(interrupted());
        };
        let Pinned { cast, owner, object, turns } = pinned;
        let claims: SmallVec<[Claim; 1]> = std::iter::once(claim).chain(turns).collect();
        let (op, is_judged) = (order.op, flow.is_judged());
        let mut launch = Box::new(Launch {
            environment: Arc::clone(&self.environment),
            op,
            order: Some(order),
            flow,
            cast,
            owner,
            object,
            risk: Arc::clone(judge),
            let_through: None,
            deadline,
            slot: None,
            answer: Answer { claims, in_flight, trace: trace.clone(), reply },
        });
        let door = Arc::clone(door);
        self.admission.slots().begin(move |slot| {
            let traced = launch.answer.trace.clone();
            leg(traced.as_ref(), "admission", "place", Kind::Wait);
            let _entered = Trace::enter_only(traced.as_ref());
            launch.slot = Some(slot);
            if is_judged {
                let judge = Arc::clone(&launch.risk);
                judge.send(RiskMessage::Assess(launch));
            } else {
                door.send(DoorMessage::Launch(launch));
            }
        });
        let told = told.await;
        leg(trace.as_ref(), "engine", "answer", Kind::Wait);
        let committed = told.unwrap_or_else(|_| Err(interrupted()))?;
        Ok(Reply { committed, replayed: false })
    }

    async fn find_key(self: &Arc<Self>, key: KeyHash, command: &Command) -> Result<Option<Committed>, Refusal> {
        if let Some(committed) = self.tail.by_key(key).filter(|_| !is_planted(Bug::KeyOnlyInTheIndex)) {
            return Ok(Some(committed));
        }
        if !self.index.may_have_key(key) {
            return Ok(None);
        }
        let (tenant, tx_id) = (command.tenant, command.tx_id.clone());
        let stored = self.on_load_pool(move |core| {
            let Some(lsn) = core.index.key(tenant, key)? else { return Ok(None) };
            let committed = core.read_entry(lsn)?;
            // A hash only points; the entry says whose it is. That two keys have one hash does not happen: the row is
            // damaged, and whether the key was decided is not known.
            if committed.entry.tenant != tenant || committed.entry.tx_id != tx_id {
                let why = format!("the index leads from a key to the entry at lsn {lsn}, which has another");
                core.index.condemn(&why);
                return Err(UnavailableReason::Damaged.into());
            }
            Ok(Some(committed))
        });
        Box::pin(stored).await
    }

    async fn replay(
        &self,
        committed: Committed,
        command: &Command,
        in_flight: &mut InFlight,
    ) -> Result<Reply, Refusal> {
        let payee = self.default_payee(&committed, command).await;
        let first = &committed.entry.decision;
        let defaults = Defaults { first, house: &self.house, payee: payee.as_ref() };
        if let Some(field) = committed.entry.request.first_difference(&command.request, &defaults) {
            return Err(Refusal::KeyReused { field });
        }
        in_flight.note(Ended::Replayed);
        if !command.request.is_house() {
            self.cells.replayed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Reply { committed, replayed: true })
    }

    /// Whom the house named the first time, or would name now, where one of the two leaves the payee to it.
    async fn default_payee(&self, committed: &Committed, command: &Command) -> Option<AccountId> {
        let entry = &committed.entry;
        if entry.request.method() != command.request.method() {
            return None;
        }
        let again = command.request.body().house_payee();
        if entry.request.body().house_payee().is_some() {
            return entry.payment().map(|payment| payment.payee.clone());
        }
        let currency = again?;
        let house = Box::pin(self.residents.owner(&(command.tenant, self.house.merchant.clone()))).await.ok()?;
        House::account_of(&house.record(), currency).cloned()
    }
}

/// Ends a claim without an entry.
fn refuse(claim: Claim, refusal: Refusal) -> Result<Reply, Refusal> {
    claim.end(&Err(refusal.clone()));
    Err(refusal)
}

/// Notes the next leg of a command that somebody traces.
fn leg(trace: Option<&Arc<Trace>>, place: &'static str, what: &'static str, kind: Kind) {
    trace.into_iter().for_each(|trace| trace.leg(place, what, kind, Instant::now()));
}
