//! What the description owes to the table, and the table to the description.

use std::collections::BTreeSet;

use http::Method;

use super::*;
use crate::http::rest::TABLE;

fn operations() -> Vec<(String, Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap().clone();
    let of_path = |(path, item): (String, Value)| {
        let methods = item.as_object().unwrap().clone();
        methods
            .into_iter()
            .map(move |(method, operation)| (format!("{} {path}", method.to_ascii_uppercase()), operation))
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

fn described(route: &Route) -> &'static Value {
    &DOCUMENT["paths"][format!("/{}", route.path)][route.method.as_str().to_ascii_lowercase()]
}

fn answers(route: &Route, status: &str) -> bool {
    described(route)["responses"].get(status).is_some()
}

fn takes(route: &Route, header: &str) -> bool {
    let parameters = described(route)["parameters"].as_array();
    parameters.is_some_and(|all| all.iter().any(|one| one["in"] == "header" && one["name"] == header))
}

fn rows() -> impl Iterator<Item = &'static Route> {
    TABLE.iter().flat_map(|rows| rows.iter())
}

/// Creating without `Idempotency-Key`: acts on what is there, which refuse the second time or change nothing.
const NOT_REPEATED: &[(&str, &str)] = &[
    ("api-retry-analysis", "one that is on its way stays as it is"),
    ("api-requeue-export", "one that is not dead is refused"),
    ("api-requeue-job", "one that is not dead is refused"),
    ("api-cancel-job", "one that does not wait is refused"),
];

#[test]
fn whatever_is_created_can_be_asked_for_twice() {
    let creating = rows().filter(|row| row.method == Method::POST);
    let creating: BTreeSet<&str> =
        creating.filter(|row| answers(row, "201") || answers(row, "202")).map(|row| row.name).collect();
    let excepted = NOT_REPEATED.iter().map(|(name, _)| *name);
    let known: BTreeSet<&str> = idempotency::ENDPOINTS.iter().copied().chain(excepted).collect();
    assert_eq!(creating, known);
}

#[test]
fn only_what_knows_the_key_says_so() {
    for row in rows() {
        let knows = idempotency::ENDPOINTS.contains(&row.name);
        assert_eq!(takes(row, "Idempotency-Key"), knows, "{}", row.name);
    }
}

/// Changes that heed no `If-Match`.
const UNCONDITIONAL: &[(&str, &str)] = &[
    ("api-upload", "creates"),
    ("tus-append", "Upload-Offset says what was read"),
    ("tus-override", "Upload-Offset says what was read"),
    ("tus-terminate", "an unfinished upload has no content to lose"),
    ("api-log-in", "begins a session"),
    ("api-refresh", "the token is good once"),
    ("api-log-out", "ends the session of the request"),
    ("api-change-password", "the old password says what was known"),
    ("api-confirm", "changes nothing but when a secret was shown"),
    ("api-echo-node", "changes nothing"),
];

#[test]
fn whatever_changes_something_heeds_the_tag_that_was_read() {
    for row in rows().filter(|row| row.method != Method::GET) {
        let creates = idempotency::ENDPOINTS.contains(&row.name);
        let excepted = UNCONDITIONAL.iter().any(|(name, _)| *name == row.name);
        assert_ne!(takes(row, "If-Match"), creates || excepted, "{}", row.name);
        assert_eq!(
            takes(row, "If-Match"),
            answers(row, "412") && !row.name.starts_with("tus-"),
            "{}",
            row.name
        );
    }
}

#[test]
fn what_is_held_against_a_tag_can_be_read_with_one() {
    for name in conditions::HELD {
        let row = rows().find(|row| row.name == *name).unwrap();
        let reading = conditions::reading(row).unwrap();
        assert!(answers(reading, "304") && !answers(row, "428"), "{name}");
    }
}

#[test]
fn one_resource_is_not_sent_again_to_whoever_has_it() {
    let single = rows().filter(|row| row.method == Method::GET && row.path.ends_with('}'));
    let untagged = single.filter(|row| !answers(row, "304")).map(|row| row.name).collect::<Vec<_>>();
    // tus asks by HEAD how far it has come, and is told each time.
    assert_eq!(untagged, ["tus-offset"]);
}

#[test]
fn an_operation_that_needs_the_header_describes_it() {
    for row in rows().filter(|row| answers(row, "428")) {
        let parameters = described(row)["parameters"].as_array().unwrap();
        let header = parameters.iter().find(|one| one["name"] == "If-Match").unwrap();
        assert_eq!(header["required"], true, "{}", row.name);
    }
}

#[test]
fn the_limiter_is_described_wherever_it_stands() {
    let silent: Vec<&str> = rows().filter(|row| !answers(row, "429")).map(|row| row.name).collect();
    assert!(silent.is_empty(), "{silent:?}");
}
