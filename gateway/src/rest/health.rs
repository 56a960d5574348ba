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
use crate::status::status;

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
            let mut problem = Problem::of(&status(&refusal)).with_status(StatusCode::SERVICE_UNAVAILABLE);
            problem.introduce("no command is taken");
            problem.response()
        }
    }
}
