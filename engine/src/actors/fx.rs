//! One actor per currency pair, and the desk that keeps them on one rate book.
//!
//! A publication becomes the desk's book first and is then sent to every pair, so a pair that starts meanwhile has it
//! either way. Prices carry their book's version; a payment takes two only from one book (P8).

use std::sync::Arc;

use actix::{Actor, Context, Handler};
use arc_swap::ArcSwap;
use dashmap::{DashMap, mapref::entry::Entry as Slot};

use super::{
    mailbox::{Arbiter, Mailbox, Queued},
    messages::{CommandMessage, FxMessage},
};
use crate::{
    clock::{Clock, Trust},
    ledger::{
        failure::{Failure, FailureCode},
        fx::{FxPolicy, Pair, PairPrice},
        pricing::{clock_distrusted, unavailable},
        rates::RateBook,
    },
    metrics::{ActorKind, Live},
};

/// How many pairs have an actor at most.
const PAIRS_MAX: usize = 4_096;

/// The rates and the actors of their pairs.
pub struct Desk {
    book: ArcSwap<RateBook>,
    pairs: DashMap<Pair, Arc<Mailbox<FxRateActor>>>,
    policy: FxPolicy,
    clock: Clock,
    arbiters: Vec<Arbiter>,
}

impl Desk {
    /// A desk with the rates of the journal.
    pub fn new(book: RateBook, policy: FxPolicy, clock: Clock, arbiters: Vec<Arbiter>) -> Self {
        Self { book: ArcSwap::from_pointee(book), pairs: DashMap::new(), policy, clock, arbiters }
    }

    /// The rates now.
    pub fn book(&self) -> Arc<RateBook> {
        self.book.load_full()
    }

    /// All pairs switch to `book`. Called by the hand-over only, so publications follow one another.
    pub fn publish(&self, book: RateBook) {
        let book = Arc::new(book);
        self.book.store(Arc::clone(&book));
        for pair in &self.pairs {
            pair.send(FxMessage::Publish(Arc::clone(&book)));
        }
    }

    /// The actor of a pair.
    pub fn pair(&self, pair: Pair) -> Result<Arc<Mailbox<FxRateActor>>, Failure> {
        if let Some(mailbox) = self.pairs.get(&pair) {
            return Ok(Arc::clone(&mailbox));
        }
        // An actor is started only for what can be priced, so asking for all pairs there are fills nothing.
        if !self.book.load().knows(pair) {
            return Err(unavailable(pair));
        }
        let arbiter = usize::from(pair.base.numeric() ^ pair.quote.numeric()).checked_rem(self.arbiters.len());
        let arbiter = arbiter.and_then(|i| self.arbiters.get(i));
        let (Some(arbiter), true) = (arbiter, self.pairs.len() < PAIRS_MAX) else {
            return Err(Failure::new(FailureCode::FxRateUnavailable, "too many currency pairs are in use"));
        };
        match self.pairs.entry(pair) {
            Slot::Occupied(slot) => Ok(Arc::clone(slot.get())),
            Slot::Vacant(slot) => {
                // Read under the slot's guard: a publication after this finds the pair in the map.
                let (book, policy, clock) = (self.book(), self.policy, self.clock.clone());
                let build = move |_: &mut _| FxRateActor { pair, book, policy, clock, _live: Live::new(ActorKind::Fx) };
                let mailbox = Mailbox::start(arbiter, ActorKind::Fx, build);
                slot.insert(Arc::clone(&mailbox));
                Ok(mailbox)
            }
        }
    }
}

/// See the module.
pub struct FxRateActor {
    pair: Pair,
    book: Arc<RateBook>,
    policy: FxPolicy,
    clock: Clock,
    _live: Live,
}

impl FxRateActor {
    fn price(&self) -> Result<PairPrice, Failure> {
        match self.clock.trust() {
            Trust::Trusted => self.book.price(self.pair, self.clock.now(), &self.policy),
            Trust::Distrusted => Err(clock_distrusted()),
        }
    }
}

impl Actor for FxRateActor {
    type Context = Context<Self>;
}

impl Handler<Queued<FxMessage>> for FxRateActor {
    type Result = ();

    fn handle(&mut self, queued: Queued<FxMessage>, _: &mut Self::Context) {
        queued.handle(|message| match message {
            FxMessage::Quote(n, reply) => reply.tell(CommandMessage::Priced(n, self.price().map(Box::new))),
            FxMessage::Price(reply) => {
                // A reader that went away needs no answer.
                let _ = reply.send(self.price());
            }
            FxMessage::Publish(book) => self.book = book,
        });
    }
}
