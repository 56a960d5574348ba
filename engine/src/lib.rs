//! Arus's engine: all money logic, no protobuf, no HTTP, no tonic.
//!
//! A payment's path: [`Engine::submit`] passes the `gate`, `intake` finds what it needs and launches its actor; the actor
//! asks risk, desk, payee and payer by message; the `journal` makes one entry durable; `commit` hands it over to the
//! accounts and answers. `money` and `ledger` are pure; `actors` are thin shells; `journal` is the truth and `index` an
//! index of it. Nothing changes a balance but a durable entry.

pub mod actors;
mod all_payments;
mod checked_text;
pub mod clock;
mod commit;
pub mod config;
mod core;
pub mod damage;
mod engine;
pub mod fatal;
pub mod gate;
pub mod index;
mod intake;
pub mod journal;
pub mod keys;
pub mod ledger;
pub mod metrics;
pub mod money;
mod pages;
pub mod passed_on;
pub mod planted;
mod pool;
mod queries;
mod refusal;
pub mod runtime;
mod statement;
pub mod trace;
mod watch;
pub mod watched_thread;

pub use crate::engine::Engine;
pub use crate::intake::command::{Command, Reply};
pub use crate::pages::{ALL_TIME, PAGE_MAX, Page, Position, Window};
pub use crate::queries::PaymentsOf;
pub use crate::refusal::{FieldError, OverloadReason, Refusal, UnavailableReason};
pub use crate::statement::{AsOf, BalanceAsOf, SUMMED_MAX, Statement, Totals};
pub use crate::watch::{Watch, WatchEnd, Watchers};
