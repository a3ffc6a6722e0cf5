//! `fields=a,b.c`: what of an answer is wanted. Names are those of its schema.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{PartialSchema, ToSchema};

use super::openapi;
use crate::http::error::HttpError;
use crate::http::query_string::QueryString;

const FIELDS_MAX: usize = 100;

/// Paths of names; none stands for everything.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<Vec<String>>);

impl Fields {
    /// # Errors
    /// 400 for a name that the schema of `T` does not have.
    pub(super) fn of<T: ToSchema>(query: &QueryString) -> Result<Self, HttpError> {
        let Some(text) = query.get("fields") else { return Ok(Self::default()) };
        let paths: Vec<Vec<String>> = text
            .split(',')
            .take(FIELDS_MAX + 1)
            .map(|path| path.split('.').map(str::to_owned).collect())
            .collect();
        if paths.len() > FIELDS_MAX {
            return Err(HttpError::bad_request(format!("fields names at most {FIELDS_MAX}")));
        }
        let schema = <T as PartialSchema>::schema();
        match paths.iter().all(|path| openapi::has_field(&schema, path)) {
            true => Ok(Self(paths)),
            false => Err(HttpError::bad_request("fields names something that the answer does not have")),
        }
    }

    pub(super) fn everything(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn select<T: Serialize>(&self, value: &T) -> Result<Value, HttpError> {
        let full = serde_json::to_value(value).map_err(HttpError::internal("writing an answer"))?;
        let paths: Vec<&[String]> = self.0.iter().map(Vec::as_slice).collect();
        Ok(if self.everything() { full } else { selected(full, &paths) })
    }
}

/// A name that is wanted whole is not cut by one that is wanted in part.
fn selected(value: Value, paths: &[&[String]]) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(|item| selected(item, paths)).collect(),
        Value::Object(members) => Value::Object(members_of(members, paths)),
        other => other,
    }
}

fn members_of(members: Map<String, Value>, paths: &[&[String]]) -> Map<String, Value> {
    let member = |(name, value): (String, Value)| {
        let within: Vec<&[String]> =
            paths.iter().filter(|path| path[0] == name).map(|path| &path[1..]).collect();
        match within.iter().any(|path| path.is_empty()) {
            true => Some((name, value)),
            false if within.is_empty() => None,
            false => Some((name, selected(value, &within))),
        }
    };
    members.into_iter().filter_map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Serialize, ToSchema)]
    struct Inner {
        name: String,
        size: i64,
    }

    #[derive(Serialize, ToSchema)]
    struct Outer {
        id: i64,
        #[schema(inline)]
        one: Option<Inner>,
        #[schema(inline)]
        many: Vec<Inner>,
    }

    fn outer() -> Outer {
        let inner = |name: &str| Inner { name: name.into(), size: 1 };
        Outer { id: 1, one: Some(inner("a")), many: vec![inner("b"), inner("c")] }
    }

    fn select(fields: &str) -> Option<Value> {
        let query = QueryString::from(vec![("fields".to_owned(), fields.to_owned())]);
        Fields::of::<Outer>(&query).ok()?.select(&outer()).ok()
    }

    #[test]
    fn what_is_named_is_left() {
        assert_eq!(select("id"), Some(json!({ "id": 1 })));
        assert_eq!(
            select("many.name,id"),
            Some(json!({ "id": 1, "many": [{ "name": "b" }, { "name": "c" }] }))
        );
        assert_eq!(select("one,one.name"), Some(json!({ "one": { "name": "a", "size": 1 } })));
    }

    #[test]
    fn what_the_schema_does_not_have_is_refused() {
        assert!(["ids", "one.id", "many.name.first", "", "id,"].iter().all(|text| select(text).is_none()));
    }
}
