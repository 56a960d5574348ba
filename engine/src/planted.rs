//! Planted bugs: places where the engine does the wrong thing while one is switched on, to prove that the simulator
//! (`engine/tests/sim`) finds such bugs. Switched on for the thread at hand only; a release build has no switch.

/// What can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Answers are given for a block that is written and not synced yet.
    ReplyBeforeSync,
    /// An account applies an entry twice.
    ApplyTwice,
    /// An account misses an entry.
    ApplySkipped,
    /// Who was asked for money is not told that nothing came of it.
    LostRelease,
    /// An account that declines holds the money all the same.
    HoldLeakedOnDecline,
    /// The tail does not know an entry by its key.
    KeyNotInTheEntry,
    /// The claim of a key ends when its entry goes to the journal, not when it is durable.
    ClaimFreedEarly,
    /// The tail drops blocks before their index run is taken in.
    TailFreedBeforeWatermark,
    /// The index says how far it is before its rows are there.
    WatermarkBeforeRun,
    /// A load reads the index before it looks at the tail.
    LoadRowBeforeTail,
    /// A start takes a torn last block for a whole one.
    TornBlockAccepted,
    /// A start cuts off a bad block although others follow.
    SealedBlockCut,
    /// A block's time follows a clock that goes back.
    ClockBack,
    /// A reservation that has ended expires.
    ExpiryTwice,
    /// A capture may take more than is left.
    CaptureAboveTheHold,
    /// An account leaves memory while a command holds its money.
    PassivatedWithAHold,
    /// Of a set of rates only the first takes effect.
    RateSetTorn,
    /// A key is looked for in the index alone.
    KeyOnlyInTheIndex,
    /// A posting on an account that takes no part in its command is not passed on.
    PostingOutsideTheCast,
    /// A lost table of the index is taken for an empty one.
    IndexTableLost,
    /// Refunds of one payment do not wait for each other.
    RefundWithoutATurn,
    /// An expiry does not wait for the captures of its payment.
    ExpiryWithoutATurn,
    /// Of several payees that agreed, only the first is told that nothing comes of it.
    HoldLeakedByAFailedSplit,
    /// What was taken back is taken back again.
    ReversedTwice,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::ReplyBeforeSync,
        Self::ApplyTwice,
        Self::ApplySkipped,
        Self::LostRelease,
        Self::HoldLeakedOnDecline,
        Self::KeyNotInTheEntry,
        Self::ClaimFreedEarly,
        Self::TailFreedBeforeWatermark,
        Self::WatermarkBeforeRun,
        Self::LoadRowBeforeTail,
        Self::TornBlockAccepted,
        Self::SealedBlockCut,
        Self::ClockBack,
        Self::ExpiryTwice,
        Self::CaptureAboveTheHold,
        Self::PassivatedWithAHold,
        Self::RateSetTorn,
        Self::KeyOnlyInTheIndex,
        Self::PostingOutsideTheCast,
        Self::IndexTableLost,
        Self::RefundWithoutATurn,
        Self::ExpiryWithoutATurn,
        Self::HoldLeakedByAFailedSplit,
        Self::ReversedTwice,
    ];
}

#[cfg(debug_assertions)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug on this thread, or none.
#[cfg(debug_assertions)]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether a bug is planted here.
#[cfg(debug_assertions)]
pub(crate) fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Nothing is planted in a release build.
#[cfg(not(debug_assertions))]
pub(crate) const fn is_planted(_: Bug) -> bool {
    false
}
