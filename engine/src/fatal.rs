//! How the process ends when it must not go on: a poisoned journal, a broken invariant, a thread that ended unasked.

use std::sync::Arc;

/// Told why; it does not come back in service.
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;
