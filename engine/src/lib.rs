//! Arus's engine.
pub mod ledger;
pub mod money;
