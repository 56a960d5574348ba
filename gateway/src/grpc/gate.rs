//! In front of the services of a port: what is no gRPC is turned away, and every call hears of us, not of a library.
//!
//! A call passes the gate only as the one message it has to be (or as a stream of them), with room for its answer; what
//! its handler or a library then says leaves with details of ours.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName, HeaderValue, Method as Verb, Request, Response, StatusCode, header, request::Parts},
};
use hyper::body::Incoming;
use tokio::time::Instant;
use tonic::{Status, body::Body, server::NamedService, service::Routes};
use tower::{Service, ServiceExt};

use super::{
    incoming::{Asked, Messages, fields, one},
    methods::{Method, Methods},
};
use crate::{
    bodies::{BODY_MAX, Room},
    budget::{self, Caller, Kind, Page, call::Call},
    observe::{GRPC_TIMEOUT, parse_timeout},
    outgoing::Answer,
    serving::Serve,
    status::{encoded, in_our_form, late, untimed},
};

/// What content type a call has, without parameters and the format's name.
const GRPC: &str = "application/grpc";
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// What a call takes until it is answered: as it came, and for the items of a list.
type Rooms = (Room, Option<budget::Room>);
/// The longest message of a health check: the name of a service.
const PROBE_BYTES_MAX: usize = 1 << 10;
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// The services of one port behind their gate.
pub(crate) struct Gate<S>(Arc<Port<S>>);

struct Port<S> {
    methods: Methods,
    service: S,
    /// Health and reflection.
    others: Routes,
    bytes_max: usize,
}

impl<S> Clone for Gate<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// What the gate asks of a service, as tonic generates it.
pub(crate) trait Own:
    Service<Request<Asked>, Response = Response<Body>, Error = Infallible, Future: Send>
    + NamedService
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Own for S where
    S: Service<Request<Asked>, Response = Response<Body>, Error = Infallible, Future: Send>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static
{
}

impl<S> Gate<S> {
    pub(crate) fn new(methods: Methods, service: S, others: Routes, bytes_max: usize) -> Self {
        Self(Arc::new(Port { methods, service, others: others.prepare(), bytes_max }))
    }
}

impl<S: Own> Serve for Gate<S> {
    type Body = Answer<Body>;

    async fn serve(self, request: Request<Incoming>, mut call: Call) -> Response<Answer<Body>> {
        let (parts, body) = request.into_parts();
        if let Some(refused) = no_grpc(&parts) {
            return refused.map(|body| Answer::new(body, call));
        }
        let (mut response, page) = match self.0.answer(&mut call, parts, body).await {
            Ok(answered) => answered,
            Err(status) => (status.into_http(), None),
        };
        in_our_form(response.headers_mut());
        response.map(|body| Answer::new(body, call).with_page(page).with_trailers(in_our_form))
    }
}

impl<S: Own> Port<S> {
    async fn answer(
        &self,
        call: &mut Call,
        mut parts: Parts,
        body: Incoming,
    ) -> Result<(Response<Body>, Option<Page>), Status> {
        let method = self.methods.find(parts.uri.path())?;
        call.admit(method.kind, &parts.headers)?;
        check_timeout(&parts.headers)?;
        let encodings = parts.headers.get_all(GRPC_ENCODING).iter();
        if let Some(encoding) = encodings.map(HeaderValue::as_bytes).find(|encoding| *encoding != b"identity") {
            return Err(encoded(&String::from_utf8_lossy(encoding)));
        }
        let (asked, _rooms) = if method.is_asked_by_stream {
            // Streams of payments take room for every item.
            parts.extensions.insert(Arc::clone(call.caller()));
            (Asked::Stream(Messages::new(body, self.bytes_max, call.caller().body_room())), None)
        } else {
            let bytes_max = if method.kind == Kind::Probe { PROBE_BYTES_MAX } else { self.bytes_max };
            let (message, rooms) = one_in_time(&mut parts, body, bytes_max, call.caller()).await?;
            (Asked::Whole(Some(message)), Some(rooms))
        };
        let page = if method.is_page { Some(call.caller().page().await?) } else { None };
        let answered = self.call(method, Request::from_parts(parts, asked)).await;
        Ok((answered, page))
    }

    async fn call(&self, method: Method, request: Request<Asked>) -> Response<Body> {
        let answered = if method.is_own {
            self.service.clone().oneshot(request).await
        } else {
            self.others.clone().oneshot(request).await
        };
        match answered {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// A deadline that cannot be read is none that anybody means.
fn check_timeout(headers: &HeaderMap) -> Result<(), Status> {
    let given = headers.get_all(GRPC_TIMEOUT).iter().map(|value| value.to_str().unwrap_or_default());
    given.into_iter().find(|given| parse_timeout(given).is_none()).map_or(Ok(()), |given| Err(untimed(given)))
}

/// The message of a unary call with the rooms it takes, which have to be there within the call's deadline. What that
/// leaves is the handler's.
async fn one_in_time(
    parts: &mut Parts,
    body: Incoming,
    bytes_max: usize,
    caller: &Arc<Caller>,
) -> Result<(Bytes, Rooms), Status> {
    let given = parts.headers.get(GRPC_TIMEOUT).and_then(|value| parse_timeout(value.to_str().ok()?));
    let begun = Instant::now();
    let ready = async {
        let came = tokio::time::timeout(BODY_MAX, one(body, bytes_max, caller.body_room())).await;
        let (message, room) = came.map_err(|_| late())??;
        let items = caller.room_for_items(fields(&message)?).await?;
        Ok::<_, Status>((message, (room, items)))
    };
    let message = match given {
        Some(given) => tokio::time::timeout(given, ready).await.map_err(|_| late())??,
        None => ready.await?,
    };
    let waited_ms = begun.elapsed().as_millis();
    if let Some(given) = given.filter(|_| waited_ms > 0) {
        let left_ms = given.as_millis().saturating_sub(waited_ms).min(99_999_999);
        parts.headers.insert(GRPC_TIMEOUT, HeaderValue::try_from(format!("{left_ms}m")).map_err(|_| late())?);
    }
    Ok(message)
}

/// The answer to what is no gRPC, in the words of HTTP: only a POST with gRPC's content type is a call.
fn no_grpc(parts: &Parts) -> Option<Response<Body>> {
    let refused = |status, header: (_, &'static str), text: String| {
        let mut response = Response::new(Body::new(http_body_util::Full::new(Bytes::from(text))));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response.headers_mut().insert(header.0, HeaderValue::from_static(header.1));
        Some(response)
    };
    if parts.method != Verb::POST {
        let text =
            format!("{} is not possible here: gRPC is POST over HTTP/2, and REST is on another port\n", parts.method);
        return refused(StatusCode::METHOD_NOT_ALLOWED, (header::ALLOW, "POST"), text);
    }
    if !is_grpc(&parts.headers) {
        let kind = parts.headers.get(header::CONTENT_TYPE);
        let kind = kind.map(|kind| String::from_utf8_lossy(kind.as_bytes()).into_owned()).unwrap_or_default();
        let text = format!("Content-Type is \"{kind}\"; allowed: application/grpc, application/grpc+proto\n");
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, (ACCEPT_POST, GRPC), text);
    }
    None
}

/// Whether the content type is gRPC with messages of protobuf. What begins alike (grpc-web) is something else.
fn is_grpc(headers: &HeaderMap) -> bool {
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(kind), None) = (kinds.next(), kinds.next()) else { return false };
    let kind = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    kind.split_at_checked(GRPC.len()).is_some_and(|(grpc, format)| {
        grpc.eq_ignore_ascii_case(GRPC.as_bytes()) && (format.is_empty() || format.eq_ignore_ascii_case(b"+proto"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_grpc_with_protobuf_is_grpc() {
        let with = |kinds: &[&'static str]| {
            let kinds = kinds.iter().map(|kind| (header::CONTENT_TYPE, HeaderValue::from_static(kind)));
            is_grpc(&kinds.collect())
        };
        for good in
            ["application/grpc", "Application/GRPC", "application/grpc+proto", "application/grpc; charset=utf-8"]
        {
            assert!(with(&[good]), "{good}");
        }
        for bad in ["application/grpc-web", "application/grpc+json", "application/grpcx", "text/plain", ""] {
            assert!(!with(&[bad]), "{bad}");
        }
        assert!(!with(&[]), "none");
    }
}
