//! The only place that touches an actix address.
//!
//! actix's mailbox capacity is no bound and its depth is private, so every message travels with a ticket that counts
//! it until it is handled or thrown away, and admission bounds what can be sent. Sending never waits and is never
//! un-sent by a caller that goes away. In the deterministic wiring messages pass through a seeded [`Shuffle`].

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use actix::{Actor, Addr, ArbiterHandle, AsyncContext, Context, Handler, Message};

use crate::{
    clock::Clock,
    metrics::{ActorKind, Ticket},
};

/// A message with its ticket.
#[derive(Debug)]
pub struct Queued<M> {
    msg: M,
    ticket: Ticket,
}

impl<M> Message for Queued<M> {
    type Result = ();
}

/// What a trace calls a message.
pub trait Named {
    /// Its name.
    fn name(&self) -> &'static str;
}

impl<M: Named> Queued<M> {
    /// Runs the handler; the message counts as queued until it returns.
    pub fn handle(self, handler: impl FnOnce(M)) {
        let Self { msg, ticket } = self;
        ticket.run(msg.name(), || handler(msg));
    }
}

/// Where actors live: a thread, and how its messages are ordered.
#[derive(Clone)]
pub struct Arbiter {
    /// The thread.
    pub thread: ArbiterHandle,
    /// How messages are delivered.
    pub order: DeliveryOrder,
}

/// How messages are delivered.
#[derive(Clone)]
pub enum DeliveryOrder {
    /// At once.
    Direct,
    /// In a seeded order, first in first out per mailbox.
    Shuffled(Arc<Shuffle>),
}

impl DeliveryOrder {
    fn tag(&self) -> Option<(u64, Arc<Shuffle>)> {
        match self {
            Self::Direct => None,
            Self::Shuffled(shuffle) => Some((shuffle.next_mailbox(), Arc::clone(shuffle))),
        }
    }
}

/// An actor's address with what it counts.
pub struct Mailbox<A: Actor> {
    addr: Addr<A>,
    kind: ActorKind,
    order: Option<(u64, Arc<Shuffle>)>,
}

impl<A: Actor<Context = Context<A>>> Mailbox<A> {
    /// Starts an actor on its thread.
    pub fn start(
        arbiter: &Arbiter,
        kind: ActorKind,
        build: impl FnOnce(&mut Context<A>) -> A + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { addr: A::start_in_arbiter(&arbiter.thread, build), kind, order: arbiter.order.tag() })
    }

    /// Starts an actor on the thread this runs on. It is given its own mailbox, and lives until it stops itself.
    pub fn start_here(order: &DeliveryOrder, kind: ActorKind, build: impl FnOnce(Arc<Self>) -> A) {
        A::create(|context| build(Arc::new(Self { addr: context.address(), kind, order: order.tag() })));
    }

    /// Sends; never waits.
    pub fn send<M>(&self, msg: M)
    where
        M: Send + 'static,
        A: Handler<Queued<M>>,
    {
        let queued = Queued { msg, ticket: Ticket::new(self.kind) };
        match &self.order {
            None => self.addr.do_send(queued),
            Some((mailbox, shuffle)) => {
                let addr = self.addr.clone();
                shuffle.push(*mailbox, Box::new(move || addr.do_send(queued)));
            }
        }
    }
}

/// Who takes in messages of a kind, whichever actor that is: questions carry it so that the answer finds back, and
/// neither side names the other.
pub trait Hears<M>: Send + Sync + fmt::Debug {
    /// Sends; never waits.
    fn tell(&self, msg: M);
}

impl<M, A> Hears<M> for Mailbox<A>
where
    M: Send + 'static,
    A: Actor<Context = Context<A>> + Handler<Queued<M>>,
{
    fn tell(&self, msg: M) {
        self.send(msg);
    }
}

impl<A: Actor> fmt::Debug for Mailbox<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailbox({})", self.kind.name())
    }
}

type Delivery = Box<dyn FnOnce() + Send>;

/// Messages on their way, delivered one by one in an order that a seed decides.
pub struct Shuffle {
    clock: Clock,
    mailboxes: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    queues: BTreeMap<u64, VecDeque<Delivery>>,
    delivered: u64,
}

impl Shuffle {
    /// An order decided by the clock's seed.
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, mailboxes: AtomicU64::new(0), waiting: Mutex::default() })
    }

    fn next_mailbox(&self) -> u64 {
        self.mailboxes.fetch_add(1, Ordering::Relaxed)
    }

    fn push(&self, mailbox: u64, delivery: Delivery) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.queues.entry(mailbox).or_default().push_back(delivery);
    }

    /// Throws away what is on its way: it refers to those who would be told, and they to this.
    pub(crate) fn clear(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        drop(waiting);
    }

    /// Delivers one message; says whether there was one.
    pub fn deliver_one(&self) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(choices) = std::num::NonZeroU64::new(waiting.queues.len() as u64) else { return false };
        let pick = self.clock.random(waiting.delivered ^ (1 << 63)) % choices;
        waiting.delivered += 1;
        let mailbox = waiting.queues.keys().nth(usize::try_from(pick).unwrap_or_default()).copied();
        let Some((mailbox, queue)) = mailbox.and_then(|id| waiting.queues.get_mut(&id).map(|queue| (id, queue))) else {
            return false;
        };
        let delivery = queue.pop_front();
        if queue.is_empty() {
            waiting.queues.remove(&mailbox);
        }
        drop(waiting);
        if let Some(delivery) = delivery {
            delivery();
        }
        true
    }
}
