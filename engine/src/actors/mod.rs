//! Thin shells around [`crate::ledger`]: they carry effects out by message and hold no rule of their own.
//!
//! Only [`mailbox`] touches an actix address. A handler is short, never blocks, and answers by another message.

pub mod directory;
pub mod fx;
pub mod handover;
mod loads;
pub mod mailbox;
pub mod partition;
pub mod payment;
pub mod risk;
pub mod wallet;
