//! Whether the process lives, and whether it takes commands: for probes and load balancers. Readiness asks what
//! admission asks (P14).

use arus_engine::Engine;
use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Response, StatusCode},
    response::IntoResponse,
    routing::get,
};

use super::problem::Problem;

/// What probes ask.
pub(super) const PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// `/healthz` and `/readyz`.
pub(super) fn router(engine: &Engine) -> Router {
    Router::new().route("/healthz", get(|| async { "ok" })).route("/readyz", get(ready)).with_state(engine.clone())
}

async fn ready(State(engine): State<Engine>) -> Response<Body> {
    match engine.closed() {
        None => "ready".into_response(),
        Some(refusal) => {
            let detail = format!("no command is taken: {refusal}");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, refusal.reason(), detail).response()
        }
    }
}
