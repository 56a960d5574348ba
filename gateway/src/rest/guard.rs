//! Who may call, and how much they may say about it: headers, `Host` and `Origin` are looked at before any body.
//!
//! A page of another site could have its name point here (DNS rebinding), and browsers would then let it call. So a
//! port of this machine alone answers only to addresses, `localhost` and the sites that are named in `cors_origins`,
//! and what a browser sends changes something only if the page came from here or from such a site.

use std::{net::IpAddr, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Method as Verb, Response, StatusCode, Uri, header, uri::Authority},
    middleware::Next,
};

use super::problem::Problem;
use crate::config::Settings;

/// What a header costs beside its name and value, as HTTP/2 counts (RFC 9113, 6.5.2).
const HEADER_OVERHEAD_BYTES: usize = 32;

/// What is allowed.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    /// Sites whose pages may call, as browsers name them.
    sites: Arc<[String]>,
    /// Whether only this machine reaches the port.
    is_local: bool,
    header_bytes_max: usize,
}

impl Guard {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            sites: settings.rest.cors_origins.as_slice().into(),
            is_local: settings.listen.rest.ip().is_loopback(),
            header_bytes_max: settings.grpc.header_bytes_max as usize,
        }
    }

    fn check(&self, request: &Request) -> Result<(), Problem> {
        let bytes = header_bytes(request);
        if bytes > self.header_bytes_max {
            let detail = format!("path and headers are {bytes} bytes; allowed: {}", self.header_bytes_max);
            return Err(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "HEADERS_TOO_LARGE", detail));
        }
        let host = host(request.uri(), request.headers());
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
        is_address(host) || self.sites.iter().any(|site| authority(site) == Some(host))
    }

    /// Whether pages of an origin may change anything: it is named, or it is where the request goes itself.
    fn may_change(&self, origin: &str, host: Option<&str>) -> bool {
        let is_named = self.sites.iter().any(|site| site == origin);
        is_named || authority(origin).is_some_and(|from| Some(from) == host && is_address(from))
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

/// Whom a request is for: `:authority` in HTTP/2, `Host` in HTTP/1.1.
fn host(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let given = headers.get(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    uri.authority().map(Authority::to_string).or(given)
}

/// `host:port` of an origin; browsers write nothing else.
fn authority(origin: &str) -> Option<&str> {
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))
}

/// Whether `host:port` has `localhost` or an address, which no name server can point elsewhere.
fn is_address(host: &str) -> bool {
    let Ok(parsed) = host.parse::<Authority>() else { return false };
    let (name, port) = (parsed.host(), parsed.port_u16());
    let is_plain = host == name || port.is_some_and(|port| host == format!("{name}:{port}"));
    is_plain && (name == "localhost" || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_cannot_be_pointed_elsewhere() {
        for fixed in ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "[::1]", "10.0.0.7"] {
            assert!(is_address(fixed), "{fixed}");
        }
        for other in [
            "",
            "null",
            "evil.example",
            "evil.example@127.0.0.1",
            "127.0.0.1.evil.example",
            "127.0.0.1:99999",
            "localhost.evil.example:80",
            "127.0.0.1:",
            "2130706433",
        ] {
            assert!(!is_address(other), "{other}");
        }
    }
}
