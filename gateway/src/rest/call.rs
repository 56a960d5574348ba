//! From an HTTP request to the tonic handler and back: the body, the query and the path make one message, the handler
//! is the one that gRPC calls.

use std::{pin::Pin, sync::Arc};

use axum::{
    body::{Body, HttpBody},
    http::{HeaderMap, HeaderName, HeaderValue, Method as Verb, Request, Response, StatusCode, header, request::Parts},
};
use http_body_util::BodyExt;
use prost::Name;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tonic::{Status, metadata::MetadataMap};

use super::{
    key, key_name,
    problem::Problem,
    reading::{decode, told},
    schema::Types,
    strict::Object,
    web::Held,
};
use crate::{
    bodies::{BODY_MAX, Room},
    budget::{self, Caller},
    convert::shown,
    grpc::methods::is_page,
    observe::{REQUEST_ID, Replayed},
    traces::{SERVER_TIMING, TRACEPARENT, TRACERESPONSE, TRACESTATE},
};

/// Whether an answer was given before under its key, as Stripe spells it.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Headers that the handler reads.
const TAKEN_OVER: [&str; 3] = [REQUEST_ID, TRACEPARENT, TRACESTATE];
/// How many times as large a body is once it is read as JSON, about, beside itself.
const JSON_TIMES: usize = 3;
/// More items than any list of a request may have.
const LIST_MAX: usize = 4_096;
/// What a request takes until it is answered: as it came, and for the items of a list.
type Rooms = (Room, Option<budget::Room>);
/// Parameters of a path or a query.
pub(super) type Parameters = Vec<(String, String)>;

/// What bodies are read by.
#[derive(Clone)]
pub(super) struct Reader {
    /// How large one may be.
    pub(super) bytes_max: usize,
    /// What the fields of each request are.
    pub(super) types: Arc<Types>,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Problem>> + Send>>;
/// A method of a tonic service, as its trait has it.
type Method<S, Q, A> = for<'a> fn(
    &'a S,
    tonic::Request<Q>,
) -> Pin<Box<dyn Future<Output = Result<tonic::Response<A>, Status>> + Send + 'a>>;

/// One RPC in HTTP's words.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) verb: Verb,
    /// With `{field}` for each parameter, and perhaps `:verb` at the end (AIP-136).
    pub(super) path: &'static str,
    /// The RPC's name.
    pub(super) rpc: &'static str,
    /// The full name of its request.
    pub(super) request: String,
    /// The full name of its response.
    pub(super) response: String,
    /// An example of each, read and written again.
    #[cfg(test)]
    pub(super) rewritten: [fn(&serde_json::Value) -> serde_json::Result<serde_json::Value>; 2],
    handler: Arc<dyn Fn(Parts, Body, Parameters, Reader) -> Answer + Send + Sync>,
}

#[cfg(test)]
fn rewritten<T: Serialize + DeserializeOwned>(example: &serde_json::Value) -> serde_json::Result<serde_json::Value> {
    serde_json::to_value(serde_json::from_value::<T>(example.clone())?)
}

impl Route {
    /// A route to a method of a service.
    pub(super) fn new<S, Q, A>(
        verb: &Verb,
        path: &'static str,
        rpc: &'static str,
        service: &S,
        method: Method<S, Q, A>,
    ) -> Self
    where
        S: Clone + Send + Sync + 'static,
        Q: Name + Default + Serialize + DeserializeOwned + 'static,
        A: Name + Serialize + DeserializeOwned + 'static,
    {
        let service = service.clone();
        let method_verb = verb.clone();
        let handler = move |parts: Parts, body: Body, parameters: Parameters, reader: Reader| {
            let (service, verb) = (service.clone(), method_verb.clone());
            let answer = async move {
                let (message, _rooms) = message::<Q>(&verb, &parts, body, parameters, &reader).await?;
                let mut request = tonic::Request::new(message);
                for name in TAKEN_OVER {
                    for value in
                        parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()?.parse().ok())
                    {
                        request.metadata_mut().append(name, value);
                    }
                }
                match method(&service, request).await {
                    Ok(answer) => Ok(with_trace(respond(&verb, &answer)?, answer.metadata())),
                    Err(status) => Ok(with_trace(Problem::of(&status).response(), status.metadata())),
                }
            };
            Box::pin(answer) as Answer
        };
        Self {
            verb: verb.clone(),
            path,
            rpc,
            request: Q::full_name(),
            response: A::full_name(),
            #[cfg(test)]
            rewritten: [rewritten::<Q>, rewritten::<A>],
            handler: Arc::new(handler),
        }
    }

    /// Serves one request.
    pub(super) async fn serve(&self, request: Request<Body>, parameters: Parameters, reader: Reader) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let page = match parts.extensions.get::<Arc<Caller>>().filter(|_| is_page(self.rpc)) {
            Some(caller) => caller.page().await.map(Some),
            None => Ok(None),
        };
        let answer = match &page {
            Ok(_) => (self.handler)(parts, body, parameters, reader).await,
            Err(status) => Err(Problem::of(status)),
        };
        answer.unwrap_or_else(|problem| problem.response())
    }
}

/// One message out of body or query, path and `Idempotency-Key`. What is said twice must be the same; what is null is
/// absent; a key that nothing is decided under is not looked at.
async fn message<Q: Name + DeserializeOwned>(
    verb: &Verb,
    parts: &Parts,
    body: Body,
    path: Parameters,
    reader: &Reader,
) -> Result<(Q, Option<Rooms>), Problem> {
    let name = Q::full_name();
    let (mut fields, rooms) = if verb == Verb::GET {
        (query(parts.uri.query().unwrap_or_default())?, None)
    } else {
        if let Some(name) = query(parts.uri.query().unwrap_or_default())?.keys().next() {
            return Err(Problem::field(
                &shown(name),
                "stands in the query, and only GET has one; put it into the body",
            ));
        }
        check_body(&parts.headers, &body, reader.bytes_max)?;
        let caller = parts.extensions.get::<Arc<Caller>>();
        let caller = caller.ok_or_else(|| Problem::of(&Status::internal("a request of no connection")))?;
        let (fields, rooms) = read(body, reader.bytes_max, caller).await?;
        (fields, Some(rooms))
    };
    reader.types.drop_nulls(&name, &mut fields);
    spell_keys(&mut fields)?;
    for (name, value) in path {
        let value = if name == key_name::FIELD { key::value(&value)? } else { value };
        set(&mut fields, &name, value, "the path")?;
    }
    if verb != Verb::GET && reader.types.message(&name).is_ok_and(|message| message.field(key_name::FIELD).is_some()) {
        for given in parts.headers.get_all(key_name::HEADER) {
            set(&mut fields, key_name::FIELD, key::of_header(given)?, "the Idempotency-Key header")?;
        }
    }
    Ok((decode(&reader.types, &name, Value::Object(fields))?, rooms))
}

/// A key in a body, or in an item of a list in it, may be spelled as in the header.
fn spell_keys(fields: &mut Map<String, Value>) -> Result<(), Problem> {
    for (name, value) in fields.iter_mut() {
        match value {
            Value::String(given) if name == key_name::FIELD || *name == camel_case(key_name::FIELD) => {
                *given = key::value(given)?;
            }
            Value::Array(items) => {
                items.iter_mut().filter_map(Value::as_object_mut).try_for_each(spell_keys)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Sets a field that may be in the request already, in either of its spellings (`tx_id` and `txId` are one in JSON).
fn set(fields: &mut Map<String, Value>, name: &str, value: String, from: &str) -> Result<(), Problem> {
    let value = Value::String(value);
    let spellings = [fields.remove(&camel_case(name)), fields.insert(name.to_owned(), value.clone())];
    match spellings.into_iter().flatten().find(|other| *other != value) {
        Some(other) => {
            let [other, value] = [&other, &value].map(told);
            Err(Problem::field(&shown(name), format!("is {other} in the request and {value} in {from}; give it once")))
        }
        None => Ok(()),
    }
}

/// A field's name as protobuf's JSON spells it.
fn camel_case(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |name, part| {
        let (head, rest) = part.split_at_checked(1).unwrap_or((part, ""));
        name + &head.to_ascii_uppercase() + rest
    })
}

/// A map's name and one of its keys: `metadata[order]`.
fn map_entry(name: &str) -> Option<(&str, &str)> {
    name.strip_suffix(']')?.split_once('[').filter(|(map, _)| !map.is_empty())
}

fn query(text: &str) -> Result<Map<String, Value>, Problem> {
    let mut fields = Map::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        match map_entry(&name) {
            Some((map, key)) => {
                let map = fields.entry(map).or_insert_with(|| Map::new().into());
                if let Some(map) = map.as_object_mut()
                    && map.insert(key.to_owned(), value.into_owned().into()).is_some()
                {
                    return Err(Problem::field(&shown(&name), "stands in the query twice; give it once"));
                }
            }
            None => set(&mut fields, &name, value.into_owned(), "the query a second time")?,
        }
    }
    Ok(fields)
}

/// A body's fields, and the room they take until they are done with.
async fn read(body: Body, bytes_max: usize, caller: &Arc<Caller>) -> Result<(Map<String, Value>, Rooms), Problem> {
    let collected = tokio::time::timeout(BODY_MAX, collect(body, bytes_max, caller.body_room())).await;
    let (bytes, mut room) = collected.unwrap_or_else(|_| {
        let detail = format!("the body did not arrive within {} s", BODY_MAX.as_secs());
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "BODY_TIMEOUT", detail))
    })?;
    // Others are read and done with soon: it waits for its turn.
    room.wait(bytes.len().saturating_mul(JSON_TIMES)).await.map_err(crowded)?;
    let fields = object(&bytes)?;
    let items = caller.room_for_items(longest_list(&fields)?).await.map_err(crowded)?;
    Ok((fields, (room, items)))
}

fn crowded(status: Status) -> Problem {
    Problem::of(&status)
}

/// How many items the longest list of a request has.
fn longest_list(fields: &Map<String, Value>) -> Result<usize, Problem> {
    let lists = fields.iter().filter_map(|(name, value)| Some((name, value.as_array()?.len())));
    let longest = lists.max_by_key(|(_, items)| *items);
    match longest {
        Some((name, items)) if items > LIST_MAX => Err(Problem::field(
            &shown(name),
            format!("has {items} items, and no list here is as long; send fewer at once"),
        )),
        longest => Ok(longest.map_or(0, |(_, items)| items)),
    }
}

async fn collect(mut body: Body, bytes_max: usize, mut room: Room) -> Result<(Vec<u8>, Room), Problem> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let cut = |_| Problem::new(StatusCode::BAD_REQUEST, "INVALID_BODY", "the body ended before it was complete");
        let Ok(data) = frame.map_err(cut)?.into_data() else { continue };
        if bytes.len() + data.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        room.add(data.len()).map_err(crowded)?;
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, room))
}

fn too_large(bytes_max: usize) -> Problem {
    let detail = format!("the body is larger than {bytes_max} bytes; send a smaller one");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "MESSAGE_TOO_LARGE", detail)
}

/// What the headers say of a body is judged before it is waited for.
fn check_body(headers: &HeaderMap, body: &Body, bytes_max: usize) -> Result<(), Problem> {
    if body.is_end_stream() {
        return Ok(());
    }
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large(bytes_max));
    }
    let kinds: Vec<_> =
        headers.get_all(header::CONTENT_TYPE).iter().map(|kind| kind.to_str().unwrap_or_default()).collect();
    if !matches!(kinds[..], [kind] if is_json(kind)) {
        let detail = format!("Content-Type is \"{}\"; allowed: application/json, in UTF-8", kinds.join(", "));
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", detail));
    }
    if let Some(coding) = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .find(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let detail = format!("Content-Encoding is {coding:?}; send the body as it is");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", detail));
    }
    Ok(())
}

/// Whether a media type is JSON; a charset is needless there (RFC 8259, section 11), and no other than UTF-8 is read.
fn is_json(kind: &str) -> bool {
    let mut parts = kind.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let mut charsets =
        parts.filter_map(|part| part.split_once('=')).filter(|(name, _)| name.eq_ignore_ascii_case("charset"));
    is_json && charsets.all(|(_, charset)| charset.trim_matches('"').eq_ignore_ascii_case("utf-8"))
}

/// The body as a JSON object; no body is an empty one.
fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(body).map(|Object(fields)| fields).map_err(|error| {
        let detail = format!(
            "the body must be one JSON object that names each field once, such as {{\"customer_id\":\"CUST-1\"}}: {error}"
        );
        Problem::new(StatusCode::BAD_REQUEST, "MALFORMED_JSON", detail)
    })
}

/// What a traced answer belongs to, and how long its steps took.
fn with_trace(mut response: Response<Body>, metadata: &MetadataMap) -> Response<Body> {
    for name in [TRACERESPONSE, SERVER_TIMING] {
        if let Some(value) = metadata.get(name).and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// 201 for what a POST under a key decided now, 200 for what it had decided before and for everything else.
fn respond<A: Serialize>(verb: &Verb, answer: &tonic::Response<A>) -> Result<Response<Body>, Problem> {
    let mut body = serde_json::to_vec(answer.get_ref())
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "the answer cannot be written"))?;
    body.push(b'\n');
    let held = Held(body.len());
    let mut response = Response::new(Body::from(body));
    response.extensions_mut().insert(held);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(Replayed(replayed)) = answer.extensions().get() {
        if !replayed && verb == Verb::POST {
            *response.status_mut() = StatusCode::CREATED;
        }
        let value = HeaderValue::from_static(if *replayed { "true" } else { "false" });
        response.headers_mut().insert(REPLAYED, value);
    }
    Ok(response)
}
