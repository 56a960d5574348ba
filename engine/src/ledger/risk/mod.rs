//! Risk: rules over the context of a payment, evaluated before any hold.
//!
//! Exact integers only. Every rule that fires adds its points and its name to the verdict, and the verdict is part of
//! the entry, so a decision can be explained later. State is a bounded window per customer: what was let through, and
//! declines that say something of the customer, never the rules' own refusals; it is rebuilt from the journal's last
//! minutes.

mod judge;
mod rules;
mod verdict;
mod window;

pub use judge::{Assessment, Counts, RiskState, WINDOW};
pub use rules::{RiskPoints, RiskRules};
pub use verdict::{Reason, RiskDecision, Verdict};
