//! OpenAPI 3.1, made from the routes and the protos: what a field means stands there and nowhere else.

use axum::http::{Method as Verb, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    call::Route,
    events, health, key_name,
    schema::{Message, Types},
    statement,
};

/// A key as its header takes it: bare, or a string in quotes with what may follow it.
const KEY_OR_QUOTED: &str = r#"^([\x21-\x7e]{1,255}|"[\x20-\x7e]{1,510}"[\x20-\x7e]{0,255})$"#;
/// An example of each request, by its message.
pub(super) const EXAMPLES: &str = include_str!("examples.json");
/// What can go wrong everywhere: status, reason, example of a detail.
const PROBLEMS: &[(u16, &str, &str)] = &[
    (
        400,
        "INVALID_REQUEST",
        "invalid request: amount.currency \"US\" is not a currency of ISO 4217; codes are three capital letters, such as USD",
    ),
    (
        400,
        "MALFORMED_JSON",
        "the body must be one JSON object that names each field once, such as {\"customer_id\":\"CUST-1\"}: EOF while parsing a value at line 1 column 9",
    ),
    (400, "INVALID_BODY", "the body ended before it was complete"),
    (
        403,
        "ORIGIN_NOT_ALLOWED",
        "pages of \"https://evil.example\" may change nothing here; name the site in rest.cors_origins",
    ),
    (404, "NOT_FOUND", "account acct-CUST-9-USD does not exist"),
    (404, "NO_SUCH_PATH", "there is nothing at this path; /docs lists what there is"),
    (405, "METHOD_NOT_ALLOWED", "PUT is not possible here; the Allow header says what is"),
    (408, "BODY_TIMEOUT", "the body did not arrive within 10 s"),
    (413, "MESSAGE_TOO_LARGE", "the body is larger than 1048576 bytes; send a smaller one"),
    (415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type is \"text/plain\"; allowed: application/json, in UTF-8"),
    (
        421,
        "HOST_NOT_ALLOWED",
        "this port answers to localhost and to addresses, not to \"evil.example\"; name it in rest.cors_origins, as in \"http://evil.example\", if it is right",
    ),
    (
        422,
        "TX_ID_REUSED",
        "Idempotency-Key was used before with another amount; use a new Idempotency-Key for a new request",
    ),
    (429, "TOO_MANY_IN_FLIGHT", "as many payments as allowed are in flight"),
    (429, "TOO_MANY_WAITERS", "too many callers wait for the same Idempotency-Key, reservation, account or owner"),
    (429, "TOO_MANY_LOADS", "too many accounts are being loaded"),
    (429, "TOO_MANY_READS", "as many reads as allowed are under way"),
    (429, "INDEX_BEHIND", "the index is behind the journal"),
    (429, "DISK_FULL", "there is no room for the next journal segment; free disk space"),
    (429, "BODIES", "requests of 25165824 bytes from this address are on their way already; try again"),
    (
        429,
        "ANSWERS_NOT_READ",
        "answers of 16800000 bytes wait on this connection to be read; allowed: 16777216; read them first",
    ),
    (
        429,
        "TOO_MANY_ANSWERS",
        "answers of 100700000 bytes wait on all connections to be read; allowed: 100663296; try again",
    ),
    (429, "TOO_MANY_CALLS", "16384 calls are open; try again"),
    (429, "READERS", "100 readers follow already; try again later, or read /v1/payments"),
    (431, "HEADERS_TOO_LARGE", "path and headers are 30123 bytes; allowed: 16384"),
    (500, "INTERNAL", "something went wrong inside the server; its log says what"),
    (501, "UNIMPLEMENTED", "CreatePaymentRequest.quote_id is not available in this build"),
    (501, "NOT_IMPLEMENTED", "Transfer-Encoding is \"gzip\"; allowed: chunked"),
    (503, "DRAINING", "the server is shutting down"),
    (503, "INTERRUPTED", "the request under this Idempotency-Key ended without a decision"),
    (503, "JOURNAL_FAILED", "the journal failed and the server stops; the outcome is unknown until it is back"),
    (503, "INDEX_FAILED", "the index failed and is not catching up"),
    (503, "DISK_FULL", "no command is taken: there is no room for the next journal segment; free disk space"),
    (503, "DATA_DAMAGED", "the server met damaged data, named in its log, and must be restarted to check all of it"),
    (504, "DEADLINE_EXCEEDED", "the deadline passed before the request was decided; repeat the same Idempotency-Key"),
];

/// Every status that an answer may have, sorted.
pub(super) fn statuses() -> Vec<u16> {
    let mut statuses: Vec<_> = PROBLEMS.iter().map(|(status, ..)| *status).chain([200, 201]).collect();
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

/// The document.
pub(super) fn document(routes: &[Route], types: &Types) -> anyhow::Result<Value> {
    let examples: Map<String, Value> = serde_json::from_str(EXAMPLES)?;
    let mut paths = Map::new();
    for route in routes {
        let operation = operation(route, types, &examples)?;
        if route.rpc == "GetStatement" {
            paths.insert(statement::PATH.into(), json!({ "get": statement::as_csv(operation.clone()) }));
        }
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.verb.as_str().to_lowercase(), operation);
        }
    }
    paths.insert(events::PATH.into(), events());
    paths.extend(health::PATHS.into_iter().map(|path| (path.to_owned(), probe(path))));
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Arus",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": "Payments across currencies, exactly once per Idempotency-Key. The JSON twin of the gRPC \
                services: the same fields, codes and rules. Amounts are decimal strings in major units; 64-bit numbers \
                are strings (proto3 JSON); a field that is empty is left out. A declined payment is an answer (status \
                PAYMENT_STATUS_FAILED with a failure code), not an error. Errors are RFC 9457 problem details.",
        },
        "servers": [{ "url": "/" }],
        "tags": [{ "name": "payments" }, { "name": "accounts" }, { "name": "fx" }, { "name": "risk" }, { "name": "health" }],
        "paths": paths,
        "components": { "schemas": schemas(routes, types)?, "responses": responses() },
    }))
}

/// Payments as they commit: the one path that is no RPC.
fn events() -> Value {
    let text = format!(
        "Payments as they commit, as server-sent events: ready first, then for each commit block (its first_lsn and \
         how many entries) and every payment of it (data is a payments.v1.Payment, id its journal position), nearly in the order of commits. A reader that is too slow gets dropped with the reason \
         and the stream ends; what it missed is in /v1/payments. At most {} readers.",
        events::READERS_MAX
    );
    json!({ "get": {
        "operationId": "WatchEvents", "tags": ["payments"], "summary": text, "parameters": [],
        "responses": {
            "200": { "description": "The stream.", "content": { "text/event-stream": { "schema": { "type": "string" } } } },
            "421": { "$ref": "#/components/responses/421" },
            "429": { "$ref": "#/components/responses/429" },
            "431": { "$ref": "#/components/responses/431" },
        },
    } })
}

/// What probes and load balancers ask.
fn probe(path: &str) -> Value {
    let (id, summary, yes) = match path {
        "/readyz" => ("GetReadiness", "Whether the server takes commands, as gRPC health says it too.", "ready"),
        _ => ("GetLiveness", "Whether the process lives.", "ok"),
    };
    let content = json!({ "text/plain": { "schema": { "type": "string" }, "example": yes } });
    let mut answers = json!({
        "200": { "description": "Yes.", "content": content },
        "421": { "$ref": "#/components/responses/421" },
        "429": { "$ref": "#/components/responses/429" },
        "431": { "$ref": "#/components/responses/431" },
    });
    if let Some(answers) = answers.as_object_mut().filter(|_| path == "/readyz") {
        answers.insert("503".into(), json!({ "$ref": "#/components/responses/503" }));
    }
    json!({ "get": { "operationId": id, "tags": ["health"], "summary": summary, "parameters": [], "responses": answers } })
}

fn operation(route: &Route, types: &Types, examples: &Map<String, Value>) -> anyhow::Result<Value> {
    let request = types.message(&route.request)?;
    let in_path = path_parameters(route.path);
    let is_command = route.verb != Verb::GET && request.field("tx_id").is_some();
    let in_query = |name: &str| route.verb == Verb::GET && !in_path.contains(&name);
    let mut parameters = Vec::new();
    for field in &request.fields {
        let place = match field.name.as_str() {
            name if in_path.contains(&name) => "path",
            // The other names of a thing that the path names already.
            name if in_query(name) && (in_path.is_empty() || field.one_of.is_none()) => "query",
            _ => continue,
        };
        let mut parameter = json!({
            "name": field.name, "in": place, "required": place == "path" || field.is_required,
            "description": field.comment, "schema": types.field(field),
        });
        if let Some(parameter) = parameter.as_object_mut().filter(|_| field.is_map) {
            parameter.extend([("style".into(), "deepObject".into()), ("explode".into(), true.into())]);
        }
        parameters.push(parameter);
    }
    if is_command {
        parameters.push(json!({
            "name": key_name::NAME, "in": "header", "required": false, "schema": { "type": "string", "pattern": KEY_OR_QUOTED },
            "description": "The idempotency key, and the tx_id of what is decided under it: 1 to 255 visible ASCII \
                characters, bare or as a string in quotes (RFC 8941), which is the same key. The same key with the \
                same body gives the same answer again. Required, unless tx_id in the body stands in its place.",
        }));
    }
    let mut operation = json!({
        "operationId": if route.path.contains("by-tx-id") { "GetPaymentByTxId" } else { route.rpc },
        "tags": [route.path.split('/').nth(2).map(tag)],
        "summary": types.method_comment(&route.request),
        "parameters": parameters,
        "responses": answers(route, request, is_command, examples.get(&route.response)),
    });
    if route.verb != Verb::GET
        && let Some(operation) = operation.as_object_mut()
    {
        let schema = body(types, request, &in_path, is_command);
        let content = json!({ "schema": schema, "example": examples.get(&route.request) });
        let required = !request.fields.iter().all(|f| in_path.contains(&f.name.as_str()) || f.name == "tx_id");
        operation.insert(
            "requestBody".into(),
            json!({
                "required": required, "content": { "application/json": content },
            }),
        );
    }
    Ok(operation)
}

/// What is left for the body once path and header have their fields.
fn body(types: &Types, request: &Message, in_path: &[&str], is_command: bool) -> Value {
    let mut body = types.object(request, |field| !in_path.contains(&field.name.as_str()));
    // It may stand here in the header's place, or be absent like any other field.
    if is_command {
        if let Some(required) = body.get_mut("required").and_then(Value::as_array_mut) {
            required.retain(|name| name != "tx_id");
        }
        if let Some(key) = body.pointer_mut("/properties/tx_id") {
            *key = json!({ "anyOf": [key.take(), { "type": "null" }] });
        }
    }
    body
}

fn answers(route: &Route, request: &Message, is_command: bool, example: Option<&Value>) -> Value {
    let schema = json!({ "$ref": format!("#/components/schemas/{}", route.response) });
    let content = json!({ "application/json": { "schema": schema, "example": example } });
    let headers = headers(is_command);
    let ok = json!({
        "headers": headers.clone(),
        "description": if is_command { "Decided before under this key: the same answer." } else { "The answer." },
        "content": content.clone(),
    });
    let mut answers = Map::from_iter([("200".to_owned(), ok)]);
    if is_command && route.verb == Verb::POST {
        let created = json!({
            "headers": headers,
            "description": "Decided now and durable. What was declined is decided as well: see its status.",
            "content": content,
        });
        answers.insert("201".into(), created);
    }
    let with_body = route.verb != Verb::GET;
    for (status, ..) in PROBLEMS {
        if answers.contains_key(&status.to_string()) {
            continue;
        }
        let fits = match status {
            408 | 413 | 415 => with_body,
            422 => is_command,
            501 => request.has_later() || with_body,
            _ => true,
        };
        if fits {
            answers.insert(status.to_string(), json!({ "$ref": format!("#/components/responses/{status}") }));
        }
    }
    Value::Object(answers)
}

/// What every answer says of itself, and one to a command besides.
fn headers(is_command: bool) -> Value {
    let id =
        json!({ "description": "The request's id: as it was sent, or a new one.", "schema": { "type": "string" } });
    let mut headers = Map::from_iter([("X-Request-Id".to_owned(), id)]);
    if is_command {
        let replayed = json!({
            "description": "Whether it was decided before under this key.",
            "schema": { "type": "string", "enum": ["true", "false"] },
        });
        headers.insert("Idempotent-Replayed".into(), replayed);
    }
    Value::Object(headers)
}

/// One response per status, with an example for each of its reasons.
fn responses() -> Value {
    let one_status = PROBLEMS.chunk_by(|(a, ..), (b, ..)| a == b);
    let all = one_status.filter_map(|problems| {
        let (status, ..) = *problems.first()?;
        let title = StatusCode::from_u16(status).ok()?.canonical_reason()?;
        let examples = problems.iter().map(|(_, reason, detail)| {
            let value = json!({
                "type": format!("/docs#{reason}"), "title": title, "status": status, "reason": reason, "detail": detail,
            });
            ((*reason).to_owned(), json!({ "value": value }))
        });
        let examples: Map<String, Value> = examples.collect();
        let content = json!({ "schema": { "$ref": "#/components/schemas/Problem" }, "examples": examples });
        let mut response = json!({
            "description": title, "content": { "application/problem+json": content },
        });
        let mut headers = headers(false);
        let own = match status {
            405 => Some(("Allow", "What is possible here.", json!({ "type": "string" }))),
            429 | 503 => Some(("Retry-After", "Whole seconds to wait.", json!({ "type": "integer", "minimum": 1 }))),
            _ => None,
        };
        if let (Some((name, text, schema)), Some(headers)) = (own, headers.as_object_mut()) {
            headers.insert(name.into(), json!({ "description": text, "schema": schema }));
        }
        if let Some(response) = response.as_object_mut() {
            response.insert("headers".into(), headers);
        }
        Some((status.to_string(), response))
    });
    Value::Object(all.collect())
}

/// Every message that is answered with or sent inside another, and the problem.
fn schemas(routes: &[Route], types: &Types) -> anyhow::Result<Value> {
    let mut all = Map::new();
    for route in routes {
        types.collect(&route.response, &mut all)?;
        for nested in &types.message(&route.request)?.fields {
            if let Some(message) = &nested.message {
                types.collect(message, &mut all)?;
            }
        }
    }
    let text = json!({ "type": "string" });
    let field = json!({
        "type": "object", "required": ["field", "rule"],
        "properties": { "field": text.clone(), "rule": text.clone() },
    });
    let problem = json!({
        "type": "object",
        "description": "RFC 9457 problem details.",
        "required": ["type", "title", "status", "reason", "detail"],
        "properties": {
            "type": { "type": "string", "format": "uri-reference" },
            "title": text.clone(),
            "status": { "type": "integer" },
            "reason": { "type": "string", "description": "The stable reason, as in gRPC's ErrorInfo." },
            "detail": text,
            "errors": { "type": "array", "items": field, "description": "Every bad field." },
            "retry_after_s": { "type": "integer", "minimum": 1 },
        },
    });
    all.insert("Problem".into(), problem);
    Ok(Value::Object(all))
}

/// The names between braces.
fn path_parameters(path: &str) -> Vec<&str> {
    path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect()
}

fn tag(part: &str) -> &'static str {
    match part.split(':').next() {
        Some("payments") => "payments",
        Some("fx") => "fx",
        Some("risk") => "risk",
        _ => "accounts",
    }
}
