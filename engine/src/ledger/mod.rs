//! Pure state machines: what a command does to accounts, decided without actors, disks or clocks.
//!
//! A flow ([`flow::Flow`]) takes events and returns effects as data; the shells in [`crate::actors`] carry them out.
//! Nothing here waits, and time comes in as an argument. Next on a payment's path: [`crate::actors`].
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test may overflow: that is a failure"))]
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
#![warn(clippy::as_conversions, clippy::float_arithmetic, clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

pub mod account;
pub mod apply;
pub mod body;
pub mod bounds;
pub mod commands;
pub mod decision;
pub mod entry;
pub mod failure;
pub mod flow;
pub mod fx;
pub mod invariants;
pub mod life;
mod movements;
pub mod moves;
pub mod needs;
pub mod notes;
pub mod objects;
pub mod operation;
pub mod owner;
pub mod parts;
pub mod payment;
pub mod plan;
pub mod pricing;
pub mod rates;
pub mod refund;
pub mod reservation;
pub mod reversal;
pub mod risk;
pub mod settings;
pub mod shares;
pub mod splits;
pub mod steps;
pub mod time;
pub mod transfer;
pub mod value;
pub mod wallet;
