//! One actor per arbiter: the door through which other threads reach the actors that live there.
//!
//! A command is launched by one message (a payment by way of the risk actor). A durable block comes as one message too,
//! however many accounts it touches (P1); from here each account's apply is a short hop on the same thread.

use std::{fmt, sync::Arc};

use actix::{Actor, Context, Handler};
use smallvec::SmallVec;

use super::{
    command::Launch,
    handles::AccountRef,
    mailbox::{DeliveryOrder, Named, Queued},
    messages::{Apply, Judged, Told, WalletMessage},
};
use crate::{
    journal::Block,
    metrics::{ActorKind, Live},
};

/// To an arbiter: a command begins there, or a durable block is passed on there.
#[derive(Debug)]
pub enum DoorMessage {
    /// Start the actor of a command that the risk rules do not judge.
    Launch(Box<Launch>),
    /// 5. Pass your accounts' share of a block on (P1).
    Share(Share),
}

impl Named for DoorMessage {
    fn name(&self) -> &'static str {
        match self {
            Self::Launch(_) => "launch",
            Self::Share(_) => "share",
        }
    }
}

/// The answers of a block (`commit/answers.rs`): dropping the last reference gives them.
pub trait GivenWhenDropped: Send + Sync {}

/// One arbiter's share of a durable block.
pub struct Share {
    /// The block.
    pub block: Arc<Block>,
    /// Each touched account that lives here, with the positions of its entries in order.
    pub touched: Vec<(AccountRef, SmallVec<[u32; 4]>)>,
    /// Once every share has let go of this, the block's answers are given.
    pub answers: Arc<dyn GivenWhenDropped>,
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({} accounts)", self.touched.len())
    }
}

/// See the module.
pub struct DoorActor {
    order: DeliveryOrder,
    _live: Live,
}

impl DoorActor {
    /// An actor that starts others whose messages are delivered in `order`.
    pub fn new(order: DeliveryOrder) -> Self {
        Self { order, _live: Live::new(ActorKind::Partition) }
    }
}

impl Actor for DoorActor {
    type Context = Context<Self>;
}

impl Handler<Queued<DoorMessage>> for DoorActor {
    type Result = ();

    fn handle(&mut self, queued: Queued<DoorMessage>, _: &mut Self::Context) {
        queued.handle(|message| match message {
            DoorMessage::Launch(launch) => launch.begin(Told::Nothing, &self.order),
            DoorMessage::Share(Share { block, touched, answers }) => {
                for (account, entries) in touched {
                    // First the apply: whoever finds the account open finds it behind this message.
                    account.send(WalletMessage::Apply(Apply { block: Arc::clone(&block), entries }));
                    account.mark_open();
                }
                drop(answers);
            }
        });
    }
}
