//! Arus's engine: all money logic, no protobuf, no HTTP, no tonic.
//!
//! A payment's path: [`Engine::submit`] claims its key and finds its accounts; a `PaymentActor` asks risk, desk,
//! payee and payer by message; the journal makes one entry durable; the hand-over applies it to the accounts and
//! releases the reply. `money` and `ledger` are pure; `actors` are thin shells; `journal` is the truth and `index` an
//! index of it. Nothing changes a balance but a durable entry.

pub mod actors;
pub mod admission;
mod all_payments;
pub mod answer;
pub mod at_work;
mod checked_text;
pub mod clock;
pub mod config;
pub mod damage;
mod engine;
pub mod fatal;
pub mod idempotency;
pub mod index;
pub mod journal;
pub mod ledger;
pub mod messages;
pub mod metrics;
pub mod money;
pub mod passed_on;
mod pool;
mod prepare;
mod queries;
pub mod recovery;
mod refusal;
pub mod runtime;
mod timers;
pub mod trace;
mod watch;

pub use engine::{Command, Core, Engine, Reply};
pub use queries::{PAGE_MAX, Page, PaymentsOf, Position, Window};
pub use refusal::{FieldError, OverloadReason, Refusal, UnavailableReason};
pub use watch::{Watch, WatchEnd, Watchers};
