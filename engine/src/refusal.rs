//! Why a command or a read was not decided at all: the two classes of P3 that are never recorded, and overload.
//!
//! One narrow enum, mapped once to gRPC and once to HTTP by the gateway. What *was* decided, declined too, is an entry.

use std::time::Duration;

use crate::ledger::needs::Missing;

/// See the module. None of these binds a tx_id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Malformed, judged without state: every bad field at once.
    #[error("invalid request: {}", list(.0))]
    Invalid(Vec<FieldError>),
    /// No such account, customer, payment, reservation.
    #[error("{what} {id} does not exist")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The tx_id was used for another request.
    #[error("tx_id was used before with another {field}; use a new tx_id for a new request")]
    KeyReused {
        /// The first field that differs; `method` if it was another method.
        field: &'static str,
    },
    /// Too much to do: nothing was begun, try again later.
    #[error("{}; try again after {} ms", .reason.message(), .retry_after.as_millis())]
    Overloaded {
        /// What is full.
        reason: OverloadReason,
        /// When to try again.
        retry_after: Duration,
    },
    /// Not serving: try again, the same tx_id is safe.
    #[error("{}; try again with the same tx_id", .reason.message())]
    Unavailable {
        /// Why.
        reason: UnavailableReason,
    },
    /// The deadline passed. Whether it happened is unknown to the caller: repeat the same tx_id to learn it.
    #[error("the deadline passed before the request was decided; repeat the same tx_id")]
    DeadlineExceeded,
    /// A bug or a broken disk, with what is known.
    #[error("internal error: {0}")]
    Internal(String),
}

/// One bad field and the rule it breaks, with the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Path of the field, as the wire names it.
    pub field: String,
    /// What is wrong: the value and the rule.
    pub rule: String,
}

impl FieldError {
    /// A bad field.
    pub fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { field: field.into(), rule: rule.into() }
    }
}

/// What is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OverloadReason {
    /// As many commands as may be are in flight.
    InFlight,
    /// The index is too far behind the journal.
    IndexBehind,
    /// There is no room for the next journal segment.
    DiskFull,
    /// Too many callers wait for one tx_id or one reservation.
    Waiters,
    /// Too many account loads are queued.
    Loads,
    /// As many reads as allowed are under way.
    Reads,
}

impl OverloadReason {
    /// All reasons.
    pub const ALL: [Self; 6] =
        [Self::InFlight, Self::IndexBehind, Self::DiskFull, Self::Waiters, Self::Loads, Self::Reads];

    /// The stable reason code of the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::InFlight => "TOO_MANY_IN_FLIGHT",
            Self::IndexBehind => "INDEX_BEHIND",
            Self::DiskFull => "DISK_FULL",
            Self::Waiters => "TOO_MANY_WAITERS",
            Self::Loads => "TOO_MANY_LOADS",
            Self::Reads => "TOO_MANY_READS",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::InFlight => "as many payments as allowed are in flight",
            Self::IndexBehind => "the index is behind the journal",
            Self::DiskFull => "there is no room for the next journal segment; free disk space",
            Self::Waiters => "too many callers wait for the same tx_id, reservation, account or owner",
            Self::Loads => "too many accounts are being loaded",
            Self::Reads => "as many reads as allowed are under way",
        }
    }
}

/// Why nothing is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnavailableReason {
    /// The server is shutting down.
    Draining,
    /// The command under this key ended without a decision.
    Interrupted,
    /// The journal failed: the process stops and recovers from disk.
    JournalFailed,
    /// The index failed and the tail is full.
    IndexFailed,
    /// Something that was durable cannot be read any more.
    Damaged,
}

impl UnavailableReason {
    /// The stable reason code of the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Draining => "DRAINING",
            Self::Interrupted => "INTERRUPTED",
            Self::JournalFailed => "JOURNAL_FAILED",
            Self::IndexFailed => "INDEX_FAILED",
            Self::Damaged => "DATA_DAMAGED",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Draining => "the server is shutting down",
            Self::Interrupted => "the request under this tx_id ended without a decision",
            Self::JournalFailed => "the journal failed and the server stops; the outcome is unknown until it is back",
            Self::IndexFailed => "the index failed and is not catching up",
            Self::Damaged => "the server met damaged data, named in its log, and must be restarted to check all of it",
        }
    }
}

impl From<UnavailableReason> for Refusal {
    fn from(reason: UnavailableReason) -> Self {
        Self::Unavailable { reason }
    }
}

impl Refusal {
    /// The stable reason code of the wire.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_REQUEST",
            Self::NotFound { .. } => "NOT_FOUND",
            Self::KeyReused { .. } => "TX_ID_REUSED",
            Self::Overloaded { reason, .. } => reason.name(),
            Self::Unavailable { reason } => reason.name(),
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::Internal(_) => "INTERNAL",
        }
    }

    /// Something unknown.
    pub fn not_found(what: &'static str, id: impl ToString) -> Self {
        Self::NotFound { what, id: id.to_string() }
    }

    /// Overload with the usual pause.
    pub fn overloaded(reason: OverloadReason) -> Self {
        let pause_ms = match reason {
            OverloadReason::InFlight | OverloadReason::Waiters | OverloadReason::Loads | OverloadReason::Reads => 50,
            OverloadReason::IndexBehind => 250,
            OverloadReason::DiskFull => 5_000,
        };
        Self::Overloaded { reason, retry_after: Duration::from_millis(pause_ms) }
    }
}

/// What a command under a key comes to that ended without a decision.
pub(crate) fn interrupted() -> Refusal {
    UnavailableReason::Interrupted.into()
}

/// A bug or a broken disk.
pub(crate) fn internal(error: impl std::fmt::Display) -> Refusal {
    Refusal::Internal(error.to_string())
}

impl From<Missing> for Refusal {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::Unknown { what, id } => Self::NotFound { what, id },
            Missing::OutOfBounds { field, rule } => Self::Invalid(vec![FieldError::new(field, rule)]),
            Missing::NotAsked(what) => internal(format!("a command wants {what}, which it did not ask for")),
        }
    }
}

fn list(errors: &[FieldError]) -> String {
    let lines: Vec<_> = errors.iter().map(|error| format!("{} {}", error.field, error.rule)).collect();
    lines.join("; ")
}
