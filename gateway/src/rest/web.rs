//! A router of HTTP behind the same bounds as gRPC: a call is let in while its caller reads what it asked for before.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{Request, Response},
};
use hyper::body::Incoming;
use tower::ServiceExt;

use super::{health, problem::Problem};
use crate::{
    budget::{Kind, Room, call::Call},
    outgoing::Answer,
    serving::Serve,
};

/// Where metrics are read: by whoever watches, as health is.
const METRICS_PATH: &str = "/metrics";

/// A port that speaks HTTP/1.1 and HTTP/2.
#[derive(Clone)]
pub(crate) struct Web(Router);

impl Web {
    pub(crate) fn new(router: Router) -> Self {
        Self(router.with_state(()))
    }
}

/// How many bytes a body holds beside those it has given out: it may be compressed step by step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held(pub(super) usize);

impl Serve for Web {
    type Body = Answer<Body>;

    async fn serve(self, request: Request<Incoming>, mut call: Call) -> Response<Answer<Body>> {
        let path = request.uri().path();
        let watches = health::PATHS.contains(&path) || path == METRICS_PATH;
        let kind = if watches { Kind::Probe } else { Kind::Unary };
        if let Err(status) = call.admit(kind, request.headers()) {
            return Problem::of(&status).response().map(|body| Answer::new(body, call));
        }
        let mut request = request.map(Body::new);
        let caller = Arc::clone(call.caller());
        request.extensions_mut().insert(Arc::clone(&caller));
        let mut response = match self.0.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let room: Option<Room> = response.extensions_mut().remove().map(|Held(bytes)| caller.reserve(bytes));
        response.map(|body| Answer::new(body, call).with_room(room))
    }
}
