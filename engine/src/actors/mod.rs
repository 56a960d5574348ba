//! Thin shells around [`crate::ledger`]: they carry effects out by message and hold no rule of their own.
//!
//! Only [`mailbox`] touches an actix address. A handler is short, never blocks, and answers by another message. From
//! below: mailboxes and messages, what pins an account, the actors, the door of an arbiter, who is in memory.

pub mod command;
pub mod door;
pub mod fx;
pub mod handles;
mod loads;
pub mod mailbox;
pub mod messages;
pub mod objects;
pub mod residents;
pub mod risk;
pub mod sink;
pub mod wallet;
