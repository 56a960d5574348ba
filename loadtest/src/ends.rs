//! How payments end, as reports spell it. A decision is `CAPTURED` or `FAILED` with its code; an answer that is not what
//! was asked for is wrong; every other end is an error, named by its status. The three are never added together: a wrong
//! answer did arrive, and says nothing about the connection.

use tonic::Status;
use tonic_types::StatusExt;

pub(crate) const CAPTURED: &str = "CAPTURED";
pub(crate) const FAILED: &str = "FAILED";
/// The echo decides nothing.
pub(crate) const ANSWERED: &str = "ANSWERED";
/// The answer contradicts the request, the plan, or an answer before.
pub(crate) const WRONG: &str = "WRONG ANSWER";
/// No outcome came: by the stream's or the batch's count, or over HTTP.
pub(crate) const NO_OUTCOME: &str = "NO OUTCOME";
pub(crate) const HTTP: &str = "HTTP";
/// What calls end with while a server is gone or hangs.
const LOST: [&str; 8] = ["Unavailable", "DeadlineExceeded", "Cancelled", "Unknown", NO_OUTCOME, HTTP, "503 ", "504 "];

/// Whether a payment that ended so was decided; the echo's count too.
pub(crate) fn is_decided(end: &str) -> bool {
    [CAPTURED, FAILED, ANSWERED].iter().any(|decided| end.starts_with(decided))
}

/// Whether an end means that the server may be gone, and not that it refused.
pub(crate) fn is_lost(end: &str) -> bool {
    LOST.iter().any(|lost| end.starts_with(lost))
}

/// The end of a declined payment, with its failure code as the wire names it.
pub(crate) fn failed(code: &str) -> String {
    format!("{FAILED} {}", code.trim_start_matches("FAILURE_CODE_"))
}

/// The end of a call that failed.
pub(crate) fn error(status: &Status) -> String {
    let reason = status.get_details_error_info().map_or_else(String::new, |info| info.reason);
    format!("{:?} {reason}", status.code())
}
