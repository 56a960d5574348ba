//! CreatePayment over REST: the same payments as JSON, one HTTP/1.1 connection for each in flight.

use std::{ops::Range, time::Instant};

use anyhow::{Context, anyhow};
use arus_proto::payments::v1::CreatePaymentResponse;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Deserialize;
use tokio::time::timeout;
use tonic::codegen::{Bytes, http::Request};

use crate::{
    clients::{ANSWER_MAX, Payments},
    ends::{ANSWERED, HTTP},
    run::{Call, Run},
};

/// See the module.
#[derive(Clone)]
pub(crate) struct Rest {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
}

/// What is read of a problem (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    status: u16,
    reason: String,
}

impl Rest {
    /// Calls at this gateway, such as `http://127.0.0.1:8080`.
    pub(crate) fn at(gateway: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { client, url: format!("{gateway}/v1/payments") }
    }

    /// A payment's answer, or how the call ended otherwise.
    async fn pay(&self, body: Vec<u8>) -> anyhow::Result<Result<CreatePaymentResponse, String>> {
        let request = Request::post(&self.url).header("content-type", "application/json").body(Full::from(body))?;
        let answer = self.client.request(request).await?;
        let is_ok = answer.status().is_success();
        let bytes = answer.into_body().collect().await?.to_bytes();
        if is_ok {
            return Ok(Ok(serde_json::from_slice(&bytes)?));
        }
        let Problem { status, reason } = serde_json::from_slice(&bytes).context("an error that is no problem")?;
        Ok(Err(format!("{status} {reason}")))
    }
}

impl Call for Rest {
    fn size(&self) -> u64 {
        1
    }

    async fn make(&self, run: &Run, _: &mut Payments, range: Range<u64>, begun: Instant) {
        let planned = run.plan.payment(range.start);
        let body = serde_json::to_vec(&run.request(&planned)).unwrap_or_default();
        let answer = timeout(ANSWER_MAX, self.pay(body)).await.unwrap_or_else(|_| Err(anyhow!("no answer in time")));
        let latency = begun.elapsed();
        let end = match (&run.oracle, answer) {
            (None, Ok(Ok(_))) => ANSWERED.into(),
            (Some(oracle), Ok(Ok(answer))) => oracle.answered(&planned, &answer.payment.unwrap_or_default()),
            (_, Ok(Err(problem))) => problem.into(),
            // The oracle asks in the end whether it happened.
            (_, Err(error)) => format!("{HTTP} {error:#}").into(),
        };
        run.note(&end, latency, 1);
    }
}
