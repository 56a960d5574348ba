//! What follows a commit: the hand-over to the accounts, then the answers.

pub(crate) mod answers;
pub(crate) mod hand_over;
