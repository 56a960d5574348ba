//! Every message between actors, in the order of a payment's path.
//!
//! Answers come back as messages too, to the [`PaymentRef`] a question carries: a shared pointer, so that asking
//! clones no address. Money moves only by [`WalletMessage::Apply`].

use std::sync::Arc;

use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::{
    actors::{
        directory::{AccountRef, OwnerRef},
        mailbox::{Mailbox, Named},
        partition::Share,
        payment::{Launch, PaymentActor},
    },
    answer::Answer,
    journal::Block,
    ledger::{
        account::Account,
        failure::Failure,
        flow::Event,
        fx::PairPrice,
        rates::RateBook,
        request::UpdateAccount,
        risk::{Assessment, Counts, Verdict},
        time::Timestamp,
        wallet::AccountView,
    },
    money::{Money, OpId, OwnerId},
};

/// Where a command in flight hears its answers.
pub type PaymentRef = Arc<Mailbox<PaymentActor>>;

/// To an arbiter: a command begins there, or a durable block is passed on there.
#[derive(Debug)]
pub enum PartitionMessage {
    /// Start the actor of a command that the risk rules do not judge.
    Launch(Box<Launch>),
    /// 5. Pass your accounts' share of a block on (P1).
    Share(Share),
}

/// To the command in flight.
#[derive(Debug)]
pub enum PaymentMessage {
    /// An answer for its flow.
    Event(Event),
    /// One of the prices it asked for.
    Priced(usize, Result<Box<PairPrice>, Failure>),
}

/// 1. To the risk actor of the customer's arbiter.
#[derive(Debug)]
pub enum RiskMessage {
    /// Judge and count a payment, and start its actor with the verdict.
    Assess(Box<Launch>),
    /// A payment of this customer that was let through then came to nothing.
    TakeBack(OwnerId, Timestamp, Counts),
    /// Judge without counting.
    Score(Box<Assessment>, oneshot::Sender<Verdict>),
}

/// 2. To the actor of a currency pair.
#[derive(Debug)]
pub enum FxMessage {
    /// Price the pair for a payment; the number says which of its questions this is.
    Quote(usize, PaymentRef),
    /// Price the pair for a reader.
    Price(oneshot::Sender<Result<PairPrice, Failure>>),
    /// A new book took effect.
    Publish(Arc<RateBook>),
}

/// 3. and 5. To an account.
#[derive(Debug)]
pub enum WalletMessage {
    /// Will you take this money?
    Expect(OpId, Money, PaymentRef),
    /// Hold this money.
    Hold(OpId, Money, PaymentRef),
    /// The command ended without moving money here.
    Release(OpId),
    /// Become this account, if you are none yet.
    Open(Box<Account>, PaymentRef),
    /// The opening will not commit.
    AbandonOpen,
    /// Decide a change of settings.
    Change(Box<UpdateAccount>, PaymentRef),
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

/// 4. What goes to the journal with a record, for the hand-over of its commit.
#[derive(Debug)]
pub struct Handed {
    /// Every account the entry touches: pinned until it has its apply.
    pub accounts: SmallVec<[AccountRef; 4]>,
    /// The owner whose record the entry changes.
    pub owner: Option<OwnerRef>,
    /// Who waits.
    pub answer: Answer,
}

impl Named for PartitionMessage {
    fn name(&self) -> &'static str {
        match self {
            Self::Launch(_) => "launch",
            Self::Share(_) => "share",
        }
    }
}

impl Named for PaymentMessage {
    fn name(&self) -> &'static str {
        match self {
            Self::Event(Event::Start) => "start",
            Self::Event(Event::Assessed(_)) => "assessed",
            Self::Event(Event::Quoted(_)) => "quoted",
            Self::Event(Event::Granted(_)) => "granted",
            Self::Event(Event::Held(_)) => "held",
            Self::Event(Event::Changed(_)) => "changed",
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
