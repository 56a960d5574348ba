//! Who may call, and how much they may say about it: headers, `Host` and `Origin` are looked at before any body.
//!
//! A page of another site could have its name point here (DNS rebinding), and browsers would then let it call. So a
//! port of this machine alone answers only to addresses, `localhost` and the sites that are named in `cors_origins`,
//! and what a browser sends changes something only if the page came from here or from such a site.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Method as Verb, Response, StatusCode, Version, header},
    middleware::Next,
};

use super::problem::Problem;
use crate::{
    config::Settings,
    origin::{authority, is_address},
};

/// What a header costs beside its name and value, as HTTP/2 counts (RFC 9113, 6.5.2).
const HEADER_OVERHEAD_BYTES: usize = 32;

/// What is allowed.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    /// Sites whose pages may call, as browsers name them.
    sites: Arc<[String]>,
    /// The name the port was told to listen by.
    named: Option<Arc<str>>,
    /// Whether only this machine reaches the port.
    is_local: bool,
    header_bytes_max: usize,
}

impl Guard {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            sites: settings.rest.cors_origins.as_slice().into(),
            named: settings.listen.rest.name().map(Into::into),
            is_local: settings.listen.rest.is_local(),
            header_bytes_max: settings.grpc.header_bytes_max as usize,
        }
    }

    fn check(&self, request: &Request) -> Result<(), Problem> {
        let bytes = header_bytes(request);
        if bytes > self.header_bytes_max {
            let detail = format!("path and headers are {bytes} bytes; allowed: {}", self.header_bytes_max);
            return Err(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "HEADERS_TOO_LARGE", detail));
        }
        check_coding(request.headers())?;
        let host = host(request)?;
        if let Some(host) = host.as_deref().filter(|host| self.is_local && !self.is_ours(host)) {
            let detail = format!(
                "this port answers to localhost and to addresses, not to {host:?}; name it in rest.cors_origins, as in \
                 \"http://{host}\", if it is right"
            );
            return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "HOST_NOT_ALLOWED", detail));
        }
        let origin = request.headers().get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
        match origin.filter(|_| [Verb::POST, Verb::PATCH].contains(request.method())) {
            Some(origin) if !self.may_change(origin, host.as_deref()) => {
                let detail = format!("pages of {origin:?} may change nothing here; name the site in rest.cors_origins");
                Err(Problem::new(StatusCode::FORBIDDEN, "ORIGIN_NOT_ALLOWED", detail))
            }
            _ => Ok(()),
        }
    }

    /// Whether a `Host` is one that this server is known by.
    fn is_ours(&self, host: &str) -> bool {
        self.is_own_name(host) || self.sites.iter().any(|site| authority(site) == Some(host))
    }

    /// Whether `host:port` is an address, or the name the port was told to listen by.
    fn is_own_name(&self, host: &str) -> bool {
        let is_named = self.named.as_deref().is_some_and(|name| host.split(':').next() == Some(name));
        is_named || is_address(host)
    }

    /// Whether pages of an origin may change anything: it is named, or it is where the request goes itself.
    fn may_change(&self, origin: &str, host: Option<&str>) -> bool {
        let is_named = self.sites.iter().any(|site| site == origin);
        is_named || authority(origin).is_some_and(|from| Some(from) == host && self.is_own_name(from))
    }
}

/// Refuses what the guard does not let by.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response<Body> {
    match guard.check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.response(),
    }
}

/// Everything but the body; HTTP/2 refuses too much of it by itself.
fn header_bytes(request: &Request) -> usize {
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let headers = request.headers().iter();
    path + headers.map(|(name, value)| name.as_str().len() + value.len() + HEADER_OVERHEAD_BYTES).sum::<usize>()
}

/// Of the transfer codings HTTP/1.1 knows, only chunks are undone; the rest would be read as if it were the body.
fn check_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match codings.find(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        Some(coding) => {
            let detail = format!("Transfer-Encoding is {coding:?}; allowed: chunked");
            Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "NOT_IMPLEMENTED", detail))
        }
        None => Ok(()),
    }
}

/// Whom a request is for, in lower case: the authority of its target (`:authority` in HTTP/2), else `Host`. HTTP/1.1
/// has exactly one `Host` (RFC 9112, 3.2), HTTP/2 one of both or both alike (RFC 9113, 8.3.1); HTTP/1.0 may have none.
fn host(request: &Request) -> Result<Option<String>, Problem> {
    let given = request.headers().get_all(header::HOST).iter();
    let given: Vec<_> = given.map(|host| String::from_utf8_lossy(host.as_bytes()).to_ascii_lowercase()).collect();
    let target = request.uri().authority().map(|target| target.as_str().to_ascii_lowercase());
    let rule = match (request.version(), given.as_slice(), &target) {
        (_, [_, _, ..], _) => Some("stands more than once"),
        (Version::HTTP_11, [], _) | (Version::HTTP_2, [], None) => Some("is missing"),
        (Version::HTTP_2, [host], Some(target)) if host != target => Some("differs from :authority"),
        _ => None,
    };
    match rule {
        Some(rule) => Err(Problem::field("Host", rule)),
        None => Ok(target.or(given.into_iter().next())),
    }
}
