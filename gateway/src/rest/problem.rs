//! Errors over HTTP: RFC 9457 problem details, made from the same statuses that gRPC answers with (P3).

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::key_name;
use crate::status::code_name;

/// RFC 9457.
const PROBLEM_JSON: &str = "application/problem+json";

/// What is wrong, for programs and people.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// The stable reason, as in gRPC's `ErrorInfo`.
    reason: String,
    /// For people.
    detail: String,
    /// Every bad field, if fields are what is wrong.
    errors: Vec<FieldProblem>,
    /// How long to wait before trying again, in seconds.
    retry_after_s: Option<u64>,
}

/// A problem as RFC 9457 has it, with members of our own.
#[derive(Serialize)]
struct Details<'a> {
    /// Where the reason is explained.
    r#type: String,
    /// The HTTP status in words.
    title: &'static str,
    status: u16,
    reason: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[FieldProblem]>::is_empty")]
    errors: &'a [FieldProblem],
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u64>,
}

/// How a missing key is given.
const KEY_HINT: &str = "is required; send it as the Idempotency-Key header, such as Idempotency-Key: order-1001";

/// A field that is wrong.
#[derive(Debug, Serialize)]
struct FieldProblem {
    field: String,
    rule: String,
}

impl Problem {
    /// A problem of HTTP itself.
    pub(super) fn new(status: StatusCode, reason: &str, detail: impl Into<String>) -> Self {
        Self { status, reason: reason.to_owned(), detail: detail.into(), errors: Vec::new(), retry_after_s: None }
    }

    /// A field that cannot be read.
    pub(super) fn field(field: &str, rule: impl Into<String>) -> Self {
        Self::fields(vec![(field.to_owned(), rule.into())])
    }

    /// Fields that cannot be read, each with what is wrong.
    pub(super) fn fields(wrong: Vec<(String, String)>) -> Self {
        let told: Vec<_> = wrong.iter().map(|(field, rule)| format!("{field} {rule}")).collect();
        let detail = format!("invalid request: {}", told.join("; "));
        let mut problem = Self::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", detail);
        problem.errors = wrong.into_iter().map(|(field, rule)| FieldProblem { field, rule }).collect();
        problem
    }

    /// What gRPC would have answered with.
    pub(super) fn of(status: &Status) -> Self {
        let details = status.get_error_details();
        let reason = details.error_info().map_or(code_name(status.code()), |info| &info.reason);
        let mut problem = Self::new(http_status(status.code()), reason, status.message());
        for violation in details.bad_request().into_iter().flat_map(|bad| &bad.field_violations) {
            let (mut field, mut rule) = (violation.field.clone(), violation.description.clone());
            if field == key_name::FIELD {
                let told = format!("{field} {rule}");
                field = key_name::NAME.to_owned();
                rule = rule.replace("is required", KEY_HINT);
                problem.detail = problem.detail.replacen(&told, &format!("{field} {rule}"), 1);
            }
            problem.errors.push(FieldProblem { field, rule });
        }
        problem.name_the_header(status.code());
        let pause = details.retry_info().and_then(|info| info.retry_delay);
        // Retry-After has whole seconds (RFC 9110): a shorter pause is one.
        problem.retry_after_s = pause.map(|pause| pause.as_secs().max(1));
        problem
    }

    /// What is a field in gRPC is a header here. Where a client's own words follow, only what stands before them is ours.
    fn name_the_header(&mut self, code: Code) {
        self.detail = match code {
            Code::InvalidArgument => return,
            Code::NotFound => self.detail.replacen("payment with tx_id", "payment with Idempotency-Key", 1),
            _ => self.detail.replace(key_name::FIELD, key_name::NAME),
        };
    }

    /// With another HTTP status.
    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Says first what it means here.
    pub(super) fn introduce(&mut self, words: &str) {
        self.detail = format!("{words}: {}", self.detail);
    }

    /// With a pause before the next try, in seconds.
    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The response.
    pub(super) fn response(&self) -> Response<Body> {
        let Self { status, reason, detail, errors, retry_after_s } = self;
        let details = Details {
            r#type: format!("/docs#{reason}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            reason,
            detail,
            errors,
            retry_after_s: *retry_after_s,
        };
        let mut body = serde_json::to_vec(&details).unwrap_or_default();
        body.push(b'\n');
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = *status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// A gRPC code as HTTP. The only ALREADY_EXISTS is a key that is bound to another body (P3).
pub(super) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists => StatusCode::UNPROCESSABLE_ENTITY,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::FailedPrecondition | Code::Aborted => StatusCode::CONFLICT,
        Code::Cancelled | Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
