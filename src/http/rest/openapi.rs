//! The description of `/api/v1` in OpenAPI 3.1, made of what every module says about its own
//! endpoints and of the table that they stand in.

use std::sync::LazyLock;

use http::StatusCode;
use serde_json::{Value, json};
use utoipa::OpenApi;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::etag::Etag;
use super::routes::{Route, routes};
use super::{conditions, idempotency};
use crate::auth::Needs;
use crate::http::error::{self, Problem};
use crate::http::service::{Answer, Asked};

pub(super) const ROUTES: &[Route] = routes! {
    GET "openapi.json", "api-openapi", Needs::Nothing, |call| describe(&call.asked);
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "radiant",
        description = "Studies, their analyses and reports. Every list has `limit`, `cursor`, `sort` and \
            `fields`; what can be changed has an entity tag, and a change needs it in `If-Match`; errors are \
            `application/problem+json` with a stable `type`.",
    ),
    servers((url = "/api/v1")),
    components(schemas(Problem)),
    paths(describe)
)]
pub(super) struct Doc;

static DOCUMENT: LazyLock<Value> = LazyLock::new(put_together);

/// The document, as `schema/openapi.json` keeps it.
pub fn document() -> String {
    let mut text = serde_json::to_string_pretty(&*DOCUMENT).unwrap_or_default();
    text.push('\n');
    text
}

/// This description
///
/// In OpenAPI 3.1.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "getOpenApi", tag = "server",
    responses((status = 200, description = "The document", body = Object), (status = 304, description = "Known"))
)]
fn describe(asked: &Asked) -> Answer {
    static TAG: LazyLock<Option<Etag>> = LazyLock::new(|| Etag::of_content(&*DOCUMENT).ok());
    let make = || super::json(StatusCode::OK, &*DOCUMENT);
    TAG.as_ref().map_or_else(make, |tag| tag.unless_known(&asked.headers, make))
}

fn put_together() -> Value {
    let mut whole = Doc::openapi();
    for part in super::documents() {
        whole.merge(part);
    }
    let mut document = serde_json::to_value(&whole).unwrap_or_default();
    document["info"]["license"] = json!({ "name": "Apache-2.0", "identifier": "Apache-2.0" });
    document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"] =
        error::KINDS.iter().map(|kind| error::type_of(kind)).collect();
    document["components"]["securitySchemes"] = security_schemes();
    open_parts(&mut document);
    for route in super::TABLE.iter().flat_map(|rows| rows.iter()) {
        let method = route.method.as_str().to_ascii_lowercase();
        let path = format!("/{}", route.path);
        if let Some(operation) = document["paths"].get_mut(&path).and_then(|item| item.get_mut(&method)) {
            complete(operation, route);
        }
    }
    document
}

/// What is flattened into another object cannot refuse the members of that, as it refuses what is
/// unknown where it stands alone.
fn open_parts(document: &mut Value) {
    let mut parts = Vec::new();
    find_parts(document, &mut parts);
    for name in parts {
        let schema = document["components"]["schemas"].get_mut(&name).and_then(Value::as_object_mut);
        schema.and_then(|schema| schema.remove("additionalProperties"));
    }
}

/// Names of the schemas that stand in an `allOf`.
fn find_parts(value: &Value, found: &mut Vec<String>) {
    let inner: Vec<&Value> = match value {
        Value::Object(members) => members.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => return,
    };
    for part in value.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        let name = part["$ref"].as_str().and_then(|text| text.strip_prefix("#/components/schemas/"));
        found.extend(name.map(str::to_owned));
    }
    inner.into_iter().for_each(|one| find_parts(one, found));
}

fn security_schemes() -> Value {
    json!({
        "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token" },
        "apiKey": { "type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "Of a device or program" },
        "basic": { "type": "http", "scheme": "basic", "description": "For old viewers, where it is turned on" },
    })
}

/// What follows from the row of an endpoint: who may call it, and how it refuses.
fn complete(operation: &mut Value, route: &Route) {
    let open = route.needs == Needs::Nothing;
    operation["security"] =
        if open { json!([]) } else { json!([{ "bearer": [] }, { "apiKey": [] }, { "basic": [] }]) };
    if idempotency::ENDPOINTS.contains(&route.name) {
        describe_idempotency(operation, route);
    }
    describe_conditions(operation, route);
    if let Needs::Permission(permission) = route.needs {
        operation["x-permission"] = json!(permission);
    }
    let mut refusals = vec![
        ("400", "The request is malformed"),
        ("429", "More requests than one may send; Retry-After says when the next may follow"),
        ("default", "Every other failure"),
    ];
    if !open {
        refusals.extend([("401", "Nobody is known"), ("403", "The caller lacks the permission")]);
    }
    if route.path.contains('{') {
        refusals.push(("404", "There is nothing of that name that the caller may see"));
    }
    refusals.into_iter().for_each(|refusal| add_response(operation, refusal));
    operation["responses"].as_object_mut().into_iter().flatten().for_each(describe_problem);
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    parameters.into_iter().flatten().for_each(never_null);
}

/// Where the endpoint says nothing of that status itself.
fn add_response(operation: &mut Value, (status, description): (&str, &str)) {
    if operation["responses"].get(status).is_none() {
        operation["responses"][status] = json!({ "description": description });
    }
}

fn add_header(operation: &mut Value, header: Value) {
    match operation.get_mut("parameters").and_then(Value::as_array_mut) {
        Some(parameters) if parameters.iter().any(|one| one["name"] == header["name"]) => {}
        Some(parameters) => parameters.push(header),
        None => operation["parameters"] = json!([header]),
    }
}

fn describe_idempotency(operation: &mut Value, route: &Route) {
    let description = match idempotency::WITH_SECRETS.contains(&route.name) {
        true => {
            "A request that is sent again with the same key is answered as the first time, with null in the \
             place of the secret, which nothing keeps"
        }
        false => "A request that is sent again with the same key is answered as the first time",
    };
    let schema = json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" });
    add_header(
        operation,
        json!({ "name": "Idempotency-Key", "in": "header", "required": false, "description": description,
            "schema": schema }),
    );
    add_response(operation, ("409", "The first request with this key is under way"));
    add_response(operation, ("422", "The key was used for a request with another content"));
}

/// `If-Match`: needed where 428 is what comes without it, heeded where it is sent to an act.
fn describe_conditions(operation: &mut Value, route: &Route) {
    let needed = operation["responses"].get("428").is_some();
    if !needed && !conditions::HELD.contains(&route.name) {
        return;
    }
    add_header(
        operation,
        json!({ "name": "If-Match", "in": "header", "required": needed,
            "description": "The entity tag of what was read; `*` is any", "schema": { "type": "string" } }),
    );
    add_response(operation, ("412", "It has changed since it was read"));
}

/// Refusals without a content of their own are problems.
fn describe_problem((status, response): (&String, &mut Value)) {
    if (status.starts_with(['4', '5']) || status == "default") && response.get("content").is_none() {
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        response["content"] = json!({ "application/problem+json": { "schema": schema } });
    }
}

/// A parameter that may be left out is not for that the word null.
fn never_null(parameter: &mut Value) {
    let Some(types) = parameter["schema"].get("type").and_then(Value::as_array) else { return };
    let left: Vec<Value> = types.iter().filter(|one| **one != "null").cloned().collect();
    if let [only] = left.as_slice() {
        parameter["schema"]["type"] = only.clone();
    }
}

/// Whether a schema has a member by this path of names; lists stand for their items.
pub(super) fn has_field(schema: &RefOr<Schema>, path: &[String]) -> bool {
    serde_json::to_value(schema).is_ok_and(|schema| reaches(&schema, path))
}

fn reaches(schema: &Value, path: &[String]) -> bool {
    let Some((name, rest)) = path.split_first() else { return true };
    if let Some(name_of) = schema["$ref"].as_str().and_then(|text| text.strip_prefix("#/components/schemas/"))
    {
        return DOCUMENT["components"]["schemas"].get(name_of).is_some_and(|found| reaches(found, path));
    }
    let within = ["oneOf", "allOf", "anyOf"].iter().filter_map(|key| schema[key].as_array()).flatten();
    let items = schema.get("items");
    if within.chain(items).any(|one| reaches(one, path)) {
        return true;
    }
    schema["properties"].get(name).is_some_and(|member| reaches(member, rest))
}

#[cfg(test)]
mod tests;
