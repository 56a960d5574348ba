//! Refusals as gRPC statuses with `google.rpc` details: the one mapping (P3).

use std::collections::HashMap;

use arus_engine::Refusal;
use arus_proto::codec::ERROR_DOMAIN;
use axum::http::Response;
use tonic::{Code, Status, body::Body};
use tonic_types::{ErrorDetails, StatusExt};

/// How many bad fields a status lists: all of it travels in headers, which clients bound at 8 to 16 KiB.
const VIOLATIONS_MAX: usize = 20;
/// How many of them the message names with their rules.
const MESSAGE_FIELDS_MAX: usize = 5;

/// Code, `ErrorInfo` and what else helps: field violations, a pause, the thing that is missing.
pub fn status(refusal: &Refusal) -> Status {
    let mut details = ErrorDetails::new();
    let mut metadata = HashMap::new();
    let code = match refusal {
        Refusal::Invalid(fields) => {
            for field in fields.iter().take(VIOLATIONS_MAX) {
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
            details.set_retry_info(Some(std::time::Duration::from_secs(1)));
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
            let told = fields.iter().take(MESSAGE_FIELDS_MAX).map(|field| format!("{} {}", field.field, field.rule));
            let told = told.collect::<Vec<_>>().join("; ");
            match fields.len().saturating_sub(MESSAGE_FIELDS_MAX) {
                0 => format!("invalid request: {told}"),
                more => format!("invalid request: {told}; and {more} more bad fields, see the details"),
            }
        }
        _ => refusal.to_string(),
    }
}

/// tonic refuses a message above the limit before any of our code sees it, with a bare OUT_OF_RANGE that nothing else
/// here answers with. It is malformed input, and says so (P3).
pub fn explain_too_large(response: Response<Body>, bytes_max: usize) -> Response<Body> {
    let code = response.headers().get(Status::GRPC_STATUS);
    if code.is_none_or(|code| Code::from_bytes(code.as_bytes()) != Code::OutOfRange) {
        return response;
    }
    let mut details = ErrorDetails::new();
    let limit = HashMap::from([("bytes_max".to_owned(), bytes_max.to_string())]);
    details.set_error_info("MESSAGE_TOO_LARGE", ERROR_DOMAIN, limit);
    let message = format!("the message is larger than {bytes_max} bytes; send a smaller one");
    Status::with_error_details(Code::InvalidArgument, message, details).into_http()
}

/// What a later build fills in: UNIMPLEMENTED naming the method or field, never a made-up result (P9).
pub fn unimplemented(what: &str) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info("UNIMPLEMENTED", ERROR_DOMAIN, HashMap::from([("name".to_owned(), what.to_owned())]));
    Status::with_error_details(Code::Unimplemented, format!("{what} is not available in this build"), details)
}
