//! Refusals as gRPC statuses with `google.rpc` details: the one mapping (P3).

use std::{collections::HashMap, time::Duration};

use arus_engine::{FieldError, Refusal};
use arus_proto::codec::{ERROR_DOMAIN, UNDECODED, malformed};
use axum::http::HeaderMap;
use tonic::{Code, Status, metadata::MetadataValue};
use tonic_types::{ErrorDetails, StatusExt};

/// How many bad fields a status lists.
const VIOLATIONS_MAX: usize = 20;
/// All of a status travels in headers, which clients bound at 8 KiB: so many bytes of bad fields, which take a third more
/// on their way as details, and so many of a message, with what its text takes more on its way.
const VIOLATIONS_BYTES_MAX: usize = 3 << 10;
const MESSAGE_BYTES_MAX: usize = 2 << 10;
/// How many of them the message names with their rules.
const MESSAGE_FIELDS_MAX: usize = 5;
/// How much of an unknown path is told back, in characters.
const PATH_MAX: usize = 100;
/// When to try again what there was no room for.
const CROWDED_PAUSE: Duration = Duration::from_secs(1);
/// Where a status keeps its details.
const DETAILS: &str = "grpc-status-details-bin";

/// Code, `ErrorInfo` and what else helps: field violations, a pause, the thing that is missing.
pub fn status(refusal: &Refusal) -> Status {
    let mut details = ErrorDetails::new();
    let mut metadata = HashMap::new();
    let code = match refusal {
        Refusal::Invalid(fields) => {
            let bytes = |field: &FieldError| field.field.len() + field.rule.len();
            for field in within(fields, (VIOLATIONS_MAX, VIOLATIONS_BYTES_MAX), bytes) {
                details.add_bad_request_violation(&field.field, &field.rule);
            }
            Code::InvalidArgument
        }
        Refusal::NotFound { what, id } => {
            details.set_resource_info(*what, id, "", "does not exist");
            Code::NotFound
        }
        Refusal::KeyReused { field } => {
            metadata.insert("field".to_owned(), (*field).to_owned());
            Code::AlreadyExists
        }
        Refusal::Overloaded { retry_after, .. } => {
            details.set_retry_info(Some(*retry_after));
            Code::ResourceExhausted
        }
        Refusal::Unavailable { .. } => {
            details.set_retry_info(Some(Duration::from_secs(1)));
            Code::Unavailable
        }
        Refusal::DeadlineExceeded => Code::DeadlineExceeded,
        Refusal::Internal(_) => Code::Internal,
    };
    details.set_error_info(refusal.reason(), ERROR_DOMAIN, metadata);
    Status::with_error_details(code, message(refusal), details)
}

/// For people. What is wrong inside is the log's business; what is wrong with many fields is in the details.
fn message(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Internal(why) => {
            tracing::error!(why, "a request failed inside the server");
            "internal error; the server's log says more under this request's id".to_owned()
        }
        Refusal::Invalid(fields) => {
            // Not every client shows the details: the first fields are told here too.
            let bytes = |field: &FieldError| percent_coded(&field.field) + percent_coded(&field.rule);
            let told = within(fields, (MESSAGE_FIELDS_MAX, MESSAGE_BYTES_MAX), bytes);
            let more = fields.len() - told.len();
            let told =
                told.iter().map(|field| format!("{} {}", field.field, field.rule)).collect::<Vec<_>>().join("; ");
            match more {
                0 => format!("invalid request: {told}"),
                more => format!("invalid request: {told}; and {more} more bad fields, see the details"),
            }
        }
        _ => refusal.to_string(),
    }
}

/// The first fields that are not more than so many and so many bytes; one always fits.
fn within(
    fields: &[FieldError],
    (count, bytes_max): (usize, usize),
    bytes: impl Fn(&FieldError) -> usize,
) -> &[FieldError] {
    let mut left = bytes_max;
    let fits = fields.iter().take(count).take_while(|field| {
        let fits = left >= bytes(field);
        left = left.saturating_sub(bytes(field));
        fits
    });
    let fits = fits.count().max(1);
    fields.get(..fits).unwrap_or(fields)
}

/// How many bytes a text takes in `grpc-message`: what is not plain ASCII takes three each.
fn percent_coded(text: &str) -> usize {
    text.bytes().map(|byte| if (b' '..=b'~').contains(&byte) && byte != b'%' { 1 } else { 3 }).sum()
}

/// A code as gRPC spells it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// A message beyond the limit.
pub(crate) fn too_large(bytes_max: usize) -> Status {
    let limit = HashMap::from([("bytes_max".to_owned(), bytes_max.to_string())]);
    let message = format!("the message is larger than {bytes_max} bytes; send a smaller one");
    told(Code::InvalidArgument, "MESSAGE_TOO_LARGE", limit, message)
}

/// A message with more members than any list may have.
pub(crate) fn too_many_fields(max: usize) -> Status {
    let message = format!("the message has more than {max} fields, and no list here is as long; send fewer at once");
    told(Code::InvalidArgument, "MESSAGE_TOO_LARGE", HashMap::new(), message)
}

/// A message that ends before it is complete.
pub(crate) fn torn() -> Status {
    let message = "malformed message: it ends before the length that it says it has";
    told(Code::InvalidArgument, "MALFORMED_MESSAGE", HashMap::new(), message.to_owned())
}

/// A message whose first byte says neither that it is compressed nor that it is not, or that it is where no encoding is
/// agreed on.
pub(crate) fn flagged(flag: u8) -> Status {
    let message = format!("malformed message: its flag is {flag}; allowed: 0, as it is not compressed");
    told(Code::InvalidArgument, "MALFORMED_MESSAGE", HashMap::new(), message)
}

/// An encoding of messages that is not taken.
pub(crate) fn encoded(encoding: &str) -> Status {
    let encoding: String = encoding.chars().take(PATH_MAX).collect();
    let message = format!("grpc-encoding is {encoding:?}; allowed: identity, messages as they are");
    let mut status = told(Code::Unimplemented, "UNSUPPORTED_ENCODING", HashMap::new(), message);
    status.metadata_mut().insert("grpc-accept-encoding", MetadataValue::from_static("identity"));
    status
}

/// A deadline that cannot be read.
pub(crate) fn untimed(given: &str) -> Status {
    let given: String = given.chars().take(PATH_MAX).collect();
    let message =
        format!("grpc-timeout is {given:?}; allowed: up to eight digits and a unit (H, M, S, m, u or n), such as 250m");
    told(Code::InvalidArgument, "INVALID_TIMEOUT", HashMap::new(), message)
}

/// A unary call with another number of messages; gRPC's status codes call it a request cardinality violation.
pub(crate) fn not_one_message(came: &str) -> Status {
    let message = format!("the method takes exactly one message, and {came}; nothing was done");
    told(Code::Unimplemented, "NOT_ONE_MESSAGE", HashMap::new(), message)
}

/// A path at which nothing is, and what to do about it.
pub(crate) fn no_such_method(path: &str, hint: &str) -> Status {
    let path = path.chars().take(PATH_MAX).collect::<String>();
    told(Code::Unimplemented, "NO_SUCH_METHOD", HashMap::from([("path".to_owned(), path)]), hint.to_owned())
}

/// A deadline that passed.
pub(crate) fn late() -> Status {
    status(&Refusal::DeadlineExceeded)
}

/// Too much of something is open already.
pub(crate) fn crowded(reason: &str, message: String) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
    details.set_retry_info(Some(CROWDED_PAUSE));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

fn told(code: Code, reason: &str, metadata: HashMap<String, String>, message: String) -> Status {
    Status::with_error_details(code, message, ErrorDetails::with_error_info(reason, ERROR_DOMAIN, metadata))
}

/// What a library says for us (health, reflection, encodings) gets the details that every error here has.
pub(crate) fn in_our_form(headers: &mut HeaderMap) {
    let Some(code) = headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes())) else { return };
    if code == Code::Ok || headers.contains_key(DETAILS) {
        return;
    }
    if let Some(bare) = Status::from_header_map(headers) {
        let ours = match bare.message().strip_prefix(UNDECODED) {
            Some(what) if code == Code::Internal => malformed(what),
            Some(_) | None => told(code, code_name(code), HashMap::new(), bare.message().to_owned()),
        };
        // Only a message that no header can hold fails, and this one came out of a header.
        let _ = ours.add_header(headers);
    }
}

/// What a later build fills in: UNIMPLEMENTED naming the method or field, never a made-up result (P9).
pub fn unimplemented(what: &str) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info("UNIMPLEMENTED", ERROR_DOMAIN, HashMap::from([("name".to_owned(), what.to_owned())]));
    Status::with_error_details(Code::Unimplemented, format!("{what} is not available in this build"), details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_library_says_gets_details_and_what_we_say_keeps_its_own() {
        let said = |status: Status| {
            let mut headers = HeaderMap::new();
            status.add_header(&mut headers).expect("it fits");
            in_our_form(&mut headers);
            let told = Status::from_header_map(&headers).expect("a status");
            let reason = told.get_details_error_info().map(|info| info.reason);
            (told.code(), told.message().to_owned(), reason)
        };
        let bare = said(Status::not_found("service unknown, 100%"));
        assert_eq!(bare, (Code::NotFound, "service unknown, 100%".into(), Some("NOT_FOUND".into())));
        assert_eq!(said(torn()).2.as_deref(), Some("MALFORMED_MESSAGE"));
        assert_eq!(said(Status::ok("")), (Code::Ok, String::new(), None));
    }

    /// grpc-core's clients take 8 KiB of headers.
    #[test]
    fn a_status_fits_the_headers_of_every_client_whatever_its_fields_say() {
        for sign in ["x", "é", "金", "\u{202e}", "😀"] {
            let rule = format!("\"{}\" must be something else, such as EUR", sign.repeat(80 / sign.len()));
            let fields = (0..100).map(|n| FieldError::new(format!("rates[{n}].base"), rule.clone())).collect();
            let status = status(&Refusal::Invalid(fields));
            let mut headers = HeaderMap::new();
            status.add_header(&mut headers).expect("it is a header");
            let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
            assert!(bytes < 8 << 10, "{bytes} bytes of headers for {sign:?}");
            assert!(status.message().contains("rates[0].base") && status.message().contains("more bad fields"));
        }
    }
}
