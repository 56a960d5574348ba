//! The REST gateway: every unary RPC as JSON under `/v1`, its documentation, health and metrics, on one port.
//!
//! No decision is made here: a route turns HTTP into the message that the gRPC handler takes, and its answer back.

mod call;
mod console;
mod events;
mod guard;
mod health;
mod key;
mod key_name;
mod metrics;
mod openapi;
mod problem;
mod reading;
mod routes;
mod schema;
mod statement;
mod strict;
mod web;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use arus_engine::{Engine, clock::Clock};
use axum::{
    Router,
    body::Body,
    extract::{MatchedPath, Path, Request, State, rejection::PathRejection},
    http::{HeaderName, HeaderValue, Method as Verb, Response, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse},
    routing::{MethodRouter, any, get},
};
use call::{Parameters, REPLAYED, Reader, Route};
use guard::{Guard, guard};
use metrics::Counts;
use problem::Problem;
use schema::Types;
use tokio::sync::watch;
use tower_http::{compression::CompressionLayer, cors::CorsLayer};
pub(crate) use web::Web;

use crate::{
    config::{RestSettings, Settings},
    grpc::Services,
    metrics::OPEN_METRICS,
    observe::{REQUEST_ID, is_request_id},
    traces::{SERVER_TIMING, TRACEPARENT, TRACERESPONSE, TRACESTATE},
};

/// The page that shows `/openapi.json` to people.
const DOCS: &str = include_str!("docs.html");
const DOCS_STYLE: &str = include_str!("docs.css");
const DOCS_SCRIPT: &str = include_str!("docs.js");
/// What is served beside the routes and counted by its own path; parts of pages are not.
const PATHS_BESIDE: [&str; 11] = [
    "/",
    console::NOW,
    console::PAYMENT,
    "/docs",
    events::PATH,
    "/healthz",
    "/metrics",
    "/openapi.json",
    "/readyz",
    statement::PATH,
    NO_PATH,
];
/// What matches no path is counted as.
const NO_PATH: &str = "none";
/// Every answer says that it is what it says it is, and may be shown in no other page.
const SECURITY: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'self'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// Everything that is served on the REST port.
pub fn router(
    engine: &Engine,
    services: &Services,
    settings: &Settings,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<Router> {
    let types = Arc::new(Types::read()?);
    let routes = routes::routes(services);
    let document = serde_json::to_vec(&openapi::document(&routes, &types)?)?;
    let reader = Reader { bytes_max: settings.grpc.message_bytes_max, types };
    let document = ([(header::CONTENT_TYPE, "application/json")], axum::body::Bytes::from(document));
    let paths = by_path(routes, &reader);
    let counts = Counts::new(paths.keys().copied().chain(PATHS_BESIDE));
    let scraped = counts.clone();
    let mut router = Router::new()
        .route("/openapi.json", get(move || async move { document.into_response() }))
        .route("/docs", get(|| async { Html(DOCS) }))
        .route("/docs/docs.css", get(|| async { ([(header::CONTENT_TYPE, "text/css")], DOCS_STYLE) }))
        .route("/docs/docs.js", get(|| async { ([(header::CONTENT_TYPE, "text/javascript")], DOCS_SCRIPT) }))
        .route("/metrics", get(move || async move { ([(header::CONTENT_TYPE, OPEN_METRICS)], scraped.page()) }))
        .merge(health::router(engine))
        .merge(console::router(engine))
        .merge(statement::router(&services.wallet))
        .merge(events::router(engine, &counts.readers, stop));
    for (path, methods) in paths {
        router = router.route(path, methods);
    }
    Ok(router
        .fallback(|| async { not_found() })
        .method_not_allowed_fallback(|request: Request| async move { not_allowed(&request) })
        .layer(CompressionLayer::new())
        .layer(middleware::map_request(answerable))
        .layer(middleware::from_fn_with_state(Guard::new(settings), guard))
        .layer(cors(&settings.rest)?)
        .layer(middleware::from_fn_with_state((engine.clock().clone(), counts), observe)))
}

/// The routes of one path: `/x/{id}` and `/x/{id}:capture` are one to the router.
fn by_path(routes: Vec<Route>, reader: &Reader) -> BTreeMap<&'static str, MethodRouter> {
    let mut groups: BTreeMap<&'static str, Vec<Route>> = BTreeMap::new();
    for route in routes {
        groups.entry(plain(route.path)).or_default().push(route);
    }
    let methods = |group: Vec<Route>| {
        let (group, reader) = (Arc::new(group), reader.clone());
        any(move |path: Result<Path<Parameters>, PathRejection>, request: Request| {
            let (group, reader) = (Arc::clone(&group), reader.clone());
            async move { dispatch(&group, path, request, reader).await }
        })
    };
    groups.into_iter().map(|(path, group)| (path, methods(group))).collect()
}

/// Serves a request by the route of its custom verb, if it has one, and of its method.
async fn dispatch(
    group: &[Route],
    path: Result<Path<Parameters>, PathRejection>,
    request: Request,
    reader: Reader,
) -> Response<Body> {
    let mut parameters = match path {
        Ok(Path(parameters)) => parameters,
        Err(rejection) => return Problem::field("path", rejection.body_text()).response(),
    };
    let customs = group.iter().filter_map(|route| custom_verb(route.path));
    let named = customs.into_iter().find_map(|custom| {
        let (_, value) = parameters.last()?;
        Some((custom, value.strip_suffix(custom)?.strip_suffix(':')?.to_owned()))
    });
    let custom = named.as_ref().map(|(custom, _)| *custom);
    let is_unknown_custom = custom.is_none() && parameters.last().is_some_and(|(_, value)| value.contains(':'));
    if let (Some((_, named)), Some((_, value))) = (named, parameters.last_mut()) {
        *value = named;
    }
    let here: Vec<_> = group.iter().filter(|route| custom_verb(route.path) == custom).collect();
    let verb = if request.method() == Verb::HEAD { &Verb::GET } else { request.method() };
    match here.iter().find(|route| route.verb == *verb) {
        Some(route) => route.serve(request, parameters, reader).await,
        // An id may hold a colon, so only what no method serves is taken for a verb that there is not.
        None if here.is_empty() || is_unknown_custom => not_found(),
        None => {
            let mut response = not_allowed(&request);
            let verbs: Vec<_> = here.iter().map(|route| verb_name(&route.verb)).collect();
            let allowed = verbs.join(",").replace("GET", "GET,HEAD");
            response.headers_mut().extend(HeaderValue::try_from(allowed).ok().map(|allowed| (header::ALLOW, allowed)));
            response
        }
    }
}

/// A path without its custom verb (AIP-136), if that follows a parameter.
fn plain(path: &'static str) -> &'static str {
    path.rsplit_once("}:").map_or(path, |(head, _)| path.get(..=head.len()).unwrap_or(path))
}

fn custom_verb(path: &'static str) -> Option<&'static str> {
    path.rsplit_once("}:").map(|(_, custom)| custom)
}

fn verb_name(verb: &Verb) -> &'static str {
    match *verb {
        Verb::GET => "GET",
        Verb::PATCH => "PATCH",
        Verb::POST => "POST",
        _ => "other",
    }
}

fn not_found() -> Response<Body> {
    let detail = "there is nothing at this path; /docs lists what there is";
    Problem::new(StatusCode::NOT_FOUND, "NO_SUCH_PATH", detail).response()
}

fn not_allowed(request: &Request) -> Response<Body> {
    let detail = format!("{} is not possible here; the Allow header says what is", request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", detail).response()
}

/// Browsers of other sites may call only if the configuration names them.
fn cors(settings: &RestSettings) -> anyhow::Result<CorsLayer> {
    let origins = settings.cors_origins.iter().map(|origin| origin.parse::<HeaderValue>());
    let origins = origins.collect::<Result<Vec<_>, _>>()?;
    if origins.is_empty() {
        return Ok(CorsLayer::new());
    }
    Ok(CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Verb::GET, Verb::POST, Verb::PATCH])
        .allow_headers([
            header::CONTENT_TYPE,
            HeaderName::from_static(key_name::HEADER),
            HeaderName::from_static(REQUEST_ID),
            HeaderName::from_static(TRACEPARENT),
            HeaderName::from_static(TRACESTATE),
        ])
        .expose_headers([
            HeaderName::from_static(REQUEST_ID),
            REPLAYED,
            HeaderName::from_static(TRACERESPONSE),
            HeaderName::from_static(SERVER_TIMING),
            header::RETRY_AFTER,
        ]))
}

/// A caller that refuses plain answers (`identity;q=0`, `*;q=0`) gets one all the same (RFC 9110, 12.5.3 allows it): a
/// 406 would come after the payment was made.
async fn answerable(mut request: Request) -> Request {
    let accepted = request.headers().get_all(header::ACCEPT_ENCODING).iter();
    let mut codings = accepted.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let refuses_plain = codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let is_zero = weight.split_once('=').is_some_and(|(_, q)| q.trim().parse() == Ok(0.0_f32));
        is_zero && ["identity", "*"].iter().any(|plain| name.trim().eq_ignore_ascii_case(plain))
    });
    if refuses_plain {
        request.headers_mut().remove(header::ACCEPT_ENCODING);
    }
    request
}

/// Every request has an id: the caller's, or one of ours. It goes to the handler, the log and back. The answer counts.
async fn observe(State((clock, counts)): State<(Clock, Counts)>, mut request: Request, next: Next) -> Response<Body> {
    let (begun, verb) = (Instant::now(), verb_name(request.method()));
    let path = request.extensions().get::<MatchedPath>().cloned();
    let given = request.headers().get(REQUEST_ID).filter(|id| is_request_id(id.as_bytes())).cloned();
    let id = given.or_else(|| HeaderValue::try_from(clock.new_id().to_string()).ok());
    let id = id.unwrap_or_else(|| HeaderValue::from_static("unknown"));
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let mut response = next.run(request).await;
    let path = path.as_ref().map_or(NO_PATH, MatchedPath::as_str);
    counts.count(verb, path, response.status().as_u16(), begun.elapsed());
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    for (name, value) in SECURITY {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
