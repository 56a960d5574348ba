//! How long texts may be, as the wire says it (OpenAPI) and as requests are held against it.

pub(crate) use arus_engine::ledger::bounds::{METADATA_BYTES_MAX, METADATA_MAX};

/// The longest description or reference, in bytes.
pub(crate) const TEXT_MAX: usize = 500;
/// The longest text of a payment's context, in bytes.
pub(crate) const CONTEXT_TEXT_MAX: usize = 64;
/// The longest metadata key, in bytes.
pub(crate) const METADATA_KEY_MAX: usize = 40;
/// The longest metadata value, in bytes.
pub(crate) const METADATA_VALUE_MAX: usize = 500;
