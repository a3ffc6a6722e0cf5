//! The description of `/api/v1` in OpenAPI 3.1, made of what every module says about its own
//! endpoints and of the table that they stand in.

use std::sync::LazyLock;

use http::StatusCode;
use serde_json::{Value, json};
use utoipa::OpenApi;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::etag::Etag;
use super::idempotency;
use super::routes::{Route, routes};
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
        describe_idempotency(operation);
    }
    if let Needs::Permission(permission) = route.needs {
        operation["x-permission"] = json!(permission);
    }
    let mut refusals = vec![("400", "The request is malformed"), ("default", "Every other failure")];
    if !open {
        refusals.extend([("401", "Nobody is known"), ("403", "The caller lacks the permission")]);
    }
    if route.path.contains('{') {
        refusals.push(("404", "There is nothing of that name that the caller may see"));
    }
    for (status, description) in refusals {
        if operation["responses"].get(status).is_none() {
            operation["responses"][status] = json!({ "description": description });
        }
    }
    operation["responses"].as_object_mut().into_iter().flatten().for_each(describe_problem);
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    parameters.into_iter().flatten().for_each(never_null);
}

fn describe_idempotency(operation: &mut Value) {
    let header = json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "A request that is sent again with the same key is answered as the first time",
        "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
    });
    match operation.get_mut("parameters").and_then(Value::as_array_mut) {
        Some(parameters) => parameters.push(header),
        None => operation["parameters"] = json!([header]),
    }
    for (status, description) in [
        ("409", "The first request with this key is under way"),
        ("422", "The key was used for a request with another content"),
    ] {
        if operation["responses"].get(status).is_none() {
            operation["responses"][status] = json!({ "description": description });
        }
    }
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
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn operations() -> Vec<(String, Value)> {
        let paths = DOCUMENT["paths"].as_object().unwrap().clone();
        let of_path = |(path, item): (String, Value)| {
            let methods = item.as_object().unwrap().clone();
            methods.into_iter().map(move |(method, operation)| {
                (format!("{} {path}", method.to_ascii_uppercase()), operation)
            })
        };
        paths.into_iter().flat_map(of_path).collect()
    }

    #[test]
    fn the_document_has_the_rows_of_the_table_and_no_others() {
        let rows = super::super::TABLE.iter().flat_map(|rows| rows.iter());
        let table: BTreeSet<String> = rows.map(|row| format!("{} /{}", row.method, row.path)).collect();
        let described: BTreeSet<String> = operations().into_iter().map(|(name, _)| name).collect();
        let missing: Vec<_> = table.symmetric_difference(&described).collect();
        assert!(missing.is_empty(), "in one of them alone: {missing:?}");
    }

    #[test]
    fn operations_have_names_of_their_own_and_a_tag() {
        let mut seen = BTreeSet::new();
        for (name, operation) in operations() {
            let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
            assert!(id.chars().all(|c| c.is_ascii_alphanumeric()) && !id.is_empty(), "{name}: {id:?}");
            assert!(seen.insert(id.clone()), "{id} twice");
            assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{name}");
            assert!(operation["summary"].is_string(), "{name} has no summary");
        }
    }

    #[test]
    fn nothing_is_described_as_null() {
        let null = |operation: &Value| operation.as_object().unwrap().values().any(Value::is_null);
        let found: Vec<String> =
            operations().into_iter().filter(|(_, operation)| null(operation)).map(|(name, _)| name).collect();
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn templates_are_described_as_parameters() {
        for (name, operation) in operations() {
            let templates = name.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let of_path = parameters.iter().filter(|one| one["in"] == "path");
            let described: BTreeSet<&str> = of_path.filter_map(|one| one["name"].as_str()).collect();
            assert_eq!(described, templates.collect(), "{name}");
        }
    }

    #[test]
    fn no_two_modules_mean_something_else_by_the_same_name() {
        let mut seen = std::collections::BTreeMap::new();
        for part in super::super::documents() {
            let part = serde_json::to_value(&part).unwrap();
            for (name, schema) in part["components"]["schemas"].as_object().into_iter().flatten() {
                let first = seen.entry(name.clone()).or_insert_with(|| schema.clone());
                assert_eq!(first, schema, "{name}");
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let text = DOCUMENT.to_string();
        let names = text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next());
        for name in names {
            assert!(DOCUMENT["components"]["schemas"].get(name).is_some(), "{name} is not described");
        }
    }

    #[test]
    fn what_is_open_asks_for_nobody() {
        let description = &DOCUMENT["paths"]["/openapi.json"]["get"];
        assert_eq!(description["security"], json!([]));
        assert!(description["responses"].get("401").is_none());
    }
}
