//! Every message between actors, in the order of a payment's path; what a door takes in is in [`super::door`].
//!
//! Answers come back as messages too, to the [`CommandRef`] a question carries: a shared pointer, so that asking
//! clones no address. Money moves only by [`WalletMessage::Apply`].

use std::sync::Arc;

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::mailbox::{DeliveryOrder, Hears, Named};
use crate::{
    journal::Block,
    ledger::{
        account::Account,
        failure::Failure,
        flow::Event,
        fx::PairPrice,
        rates::RateBook,
        risk::{Assessment, Counts, Verdict},
        settings::SettingsChange,
        time::Timestamp,
        transfer::Demand,
        wallet::AccountView,
    },
    money::{Money, OpId, OwnerId},
};

/// Where a command in flight hears its answers.
pub type CommandRef = Arc<dyn Hears<CommandMessage>>;

/// To the command in flight.
#[derive(Debug)]
pub enum CommandMessage {
    /// An answer for its flow.
    Event(Event),
    /// One of the accounts it asked to take part.
    Joined(usize, Result<u32, Failure>),
    /// One of the prices it asked for.
    Priced(usize, Result<Box<PairPrice>, Failure>),
}

/// 1. To the risk actor of the customer's arbiter.
#[derive(Debug)]
pub enum RiskMessage {
    /// Judge and count a payment, which then begins with the verdict.
    Assess(Box<dyn Judged>),
    /// A payment of this customer that was let through then came to nothing.
    TakeBack(OwnerId, Timestamp, Counts),
    /// Judge without counting.
    Score(Box<Assessment>, oneshot::Sender<Verdict>),
}

/// A payment that waits for its verdict.
pub trait Judged: Send + std::fmt::Debug {
    /// Until when somebody waits for it.
    fn deadline(&self) -> Timestamp;

    /// Ends it: nobody waits any more, and nothing was begun.
    fn give_up(self: Box<Self>);

    /// What the rules are asked.
    fn assessment(&self) -> Option<Assessment>;

    /// Begins, on the thread this runs on, with what they say.
    fn begin(self: Box<Self>, told: Told, order: &DeliveryOrder);
}

/// What the rules say.
#[derive(Debug)]
pub enum Told {
    /// They were not asked.
    Nothing,
    /// Their verdict.
    Verdict(Verdict),
    /// They let the payment through, and counted it for a customer at a time.
    LetThrough(Verdict, OwnerId, Timestamp),
}

/// 2. To the actor of a currency pair.
#[derive(Debug)]
pub enum FxMessage {
    /// Price the pair for a payment; the number says which of its questions this is.
    Quote(usize, CommandRef),
    /// Price the pair for a reader.
    Price(oneshot::Sender<Result<PairPrice, Failure>>),
    /// A new book took effect.
    Publish(Arc<RateBook>),
}

/// 3. and 5. To an account.
#[derive(Debug)]
pub enum WalletMessage {
    /// Will you take this money?
    Expect(OpId, Money, CommandRef),
    /// Hold this money.
    Hold(OpId, Money, CommandRef),
    /// Take part in a transfer; the number says which of its accounts this is.
    Join(OpId, usize, Box<Demand>, CommandRef),
    /// Give back this money that you got.
    TakeBack(OpId, Money, CommandRef),
    /// The command ended without moving money here.
    Release(OpId),
    /// Become this account, if you are none yet.
    Open(Box<Account>, CommandRef),
    /// The opening will not commit.
    AbandonOpen,
    /// Decide a change of settings.
    Change(Box<SettingsChange>, CommandRef),
    /// The change will not commit.
    AbandonChange,
    /// Take in all that a durable block does to you.
    Apply(Apply),
    /// Tell a reader what you are.
    Read(oneshot::Sender<Option<AccountView>>),
}

/// One message per account per block, however many entries (P1).
#[derive(Debug)]
pub struct Apply {
    /// The block.
    pub block: Arc<Block>,
    /// Which of its entries, by position, in order.
    pub entries: SmallVec<[u32; 4]>,
}

impl Named for CommandMessage {
    fn name(&self) -> &'static str {
        match self {
            Self::Event(event) => event.name(),
            Self::Joined(..) => "joined",
            Self::Priced(..) => "priced",
        }
    }
}

impl Named for RiskMessage {
    fn name(&self) -> &'static str {
        match self {
            Self::Assess(..) => "assess",
            Self::TakeBack(..) => "take_back",
            Self::Score(..) => "score",
        }
    }
}

impl Named for FxMessage {
    fn name(&self) -> &'static str {
        match self {
            Self::Quote(..) => "quote",
            Self::Price(_) => "price",
            Self::Publish(_) => "publish",
        }
    }
}

impl Named for WalletMessage {
    fn name(&self) -> &'static str {
        match self {
            Self::Expect(..) => "expect",
            Self::Hold(..) => "hold",
            Self::Join(..) => "join",
            Self::TakeBack(..) => "take_back",
            Self::Release(_) => "release",
            Self::Open(..) => "open",
            Self::AbandonOpen => "abandon_open",
            Self::Change(..) => "change",
            Self::AbandonChange => "abandon_change",
            Self::Apply(_) => "apply",
            Self::Read(_) => "read",
        }
    }
}
