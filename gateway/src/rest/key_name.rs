//! The header that carries a command's key over HTTP.

/// The header, as it is sent.
pub(super) const HEADER: &str = "idempotency-key";
/// The header, as it is told to people.
pub(super) const NAME: &str = "Idempotency-Key";
/// The field of requests that it fills.
pub(super) const FIELD: &str = "tx_id";
