//! What the server can do, for machines: the Retrieve Capabilities transaction (PS3.18 8.9).

mod resources;
mod wadl;

use std::borrow::Cow;

use http::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue, VARY};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use self::resources::{Operation, RESOURCES, Resource};
use super::body;
use super::endpoint::{Endpoint, RouteError};
use super::error::HttpError;
use super::negotiation::{Accept, Offer};
use super::query_string::QueryString;
use super::service::Answer;
use super::urls::Urls;

const WADL: &str = "application/vnd.sun.wadl+xml";
const ROOTS: [&str; 3] = ["", "dicom-web", "*"];

/// A resource and one of its methods, for the conformance statement.
pub struct Described {
    /// As PS3.18 calls it.
    pub transaction: &'static str,
    pub method: &'static str,
    pub path: &'static str,
    /// Media types of the answer, the default first.
    pub gives: &'static [&'static str],
}

pub fn described_resources() -> Vec<Described> {
    let of = |resource: &'static Resource| {
        resource.operations.iter().map(move |operation| Described {
            transaction: operation.id,
            method: operation.method,
            path: resource.path,
            gives: operation.gives,
        })
    };
    RESOURCES.iter().flat_map(of).collect()
}

/// The methods of a path, `OPTIONS` among them; a root has no other.
pub(super) fn allow(path: &str) -> Result<Cow<'static, str>, RouteError> {
    match path.trim_matches('/') {
        "dicom-web" | "*" => Ok("OPTIONS".into()),
        _ => Endpoint::allow(path),
    }
}

/// The whole service for its root, one resource for its own path.
pub(super) fn describe(
    path: &str,
    allow: &str,
    headers: &HeaderMap,
    query: &QueryString,
    urls: &Urls,
) -> Answer {
    let path = path.trim_matches('/');
    let own = path.strip_prefix("dicom-web/").unwrap_or(path);
    let listed: Vec<&Resource> =
        RESOURCES.iter().filter(|resource| ROOTS.contains(&path) || resource.names(own)).collect();
    let offers = [WADL, "application/xml", "text/xml", "application/json", "application/dicom+json"];
    let offers = offers.map(Offer::single);
    let media_type = Accept::of(headers, query.get("accept")).choose(&offers)?.media_type;
    let text = match media_type {
        "application/json" | "application/dicom+json" => json_text(&listed, urls).into_bytes(),
        _ => wadl::write(&listed, &urls.dicomweb())?,
    };
    let mut response = Response::new(body::full(text));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_str(allow).map_err(HttpError::internal("naming the methods"))?);
    response.headers_mut().append(VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

fn json_text(listed: &[&Resource], urls: &Urls) -> String {
    let resources: Vec<Value> = listed.iter().map(|resource| resource_json(resource)).collect();
    json!({ "application": { "resources": { "base": urls.dicomweb(), "resource": resources } } }).to_string()
}

fn resource_json(resource: &Resource) -> Value {
    let methods: Vec<Value> = resource.operations.iter().map(operation_json).collect();
    json!({ "path": resource.path, "method": methods })
}

fn operation_json(operation: &Operation) -> Value {
    json!({
        "name": operation.method,
        "id": operation.id,
        "request": { "param": operation.query, "representation": operation.takes },
        "response": { "status": operation.statuses, "representation": operation.gives },
    })
}
