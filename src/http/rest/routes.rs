//! The form of the table of the REST API: one row per method and path, with its name, what a
//! caller needs for it and who answers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use http::Method;
use percent_encoding::percent_decode_str;

use crate::auth::Needs;
use crate::dicom::uid::StudyUid;
use crate::http::State;
use crate::http::body::Inbound;
use crate::http::endpoint::RouteError;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};

/// One request, taken apart.
pub(crate) struct Call {
    pub(crate) state: Arc<State>,
    pub(crate) path: PathParameters,
    pub(crate) asked: Asked,
    pub(crate) body: Inbound,
}

pub(crate) type Handler = fn(Call) -> BoxFuture<'static, Answer>;

/// One row of the table.
pub struct Route {
    pub method: Method,
    /// Below `/api/v1/`, with its templates in braces; the OpenAPI document has the same.
    pub path: &'static str,
    /// For logs, metrics and the audit.
    pub name: &'static str,
    pub needs: Needs,
    pub(crate) handler: Handler,
}

/// `METHOD "path", "name", needs, |call| answer;` for each row.
macro_rules! routes {
    ($($method:ident $path:literal, $name:literal, $needs:expr, |$call:ident| $answer:expr;)+) => {
        &[$($crate::http::rest::routes::Route {
            method: http::Method::$method,
            path: $path,
            name: $name,
            needs: $needs,
            handler: |$call| Box::pin(async move { $answer }),
        }),+]
    };
}
pub(super) use routes;

/// A route that a request named, with the values of its templates.
pub struct Matched {
    pub route: &'static Route,
    pub parameters: PathParameters,
}

impl fmt::Debug for Matched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.route.name, self.parameters.0)
    }
}

/// What stands in the path for each template, decoded.
#[derive(Clone, Default)]
pub struct PathParameters(BTreeMap<&'static str, String>);

impl PathParameters {
    /// A template of the route; a name that it does not have is an empty text.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// All values, to tell one path of a route from another.
    pub(super) fn values(&self) -> String {
        self.0.values().map(String::as_str).collect::<Vec<_>>().join("/")
    }

    /// The template `{study}`.
    pub(crate) fn study(&self) -> Result<StudyUid, HttpError> {
        self.text("study").parse().map_err(|error| RouteError::Uid(error).into())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

impl Route {
    /// The names of the templates of its path.
    pub(crate) fn templates(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(template)
    }

    fn parameters(&self, segments: &[&str]) -> Option<PathParameters> {
        let mut found = BTreeMap::new();
        let mut templates = self.path.split('/');
        for segment in segments {
            let part = templates.next()?;
            match template(part) {
                Some(name) if !segment.is_empty() => {
                    found.insert(name, percent_decode_str(segment).decode_utf8().ok()?.into_owned());
                }
                _ if part == *segment => {}
                _ => return None,
            }
        }
        templates.next().is_none().then_some(PathParameters(found))
    }
}

/// The name of a part of a path that is a template.
fn template(part: &'static str) -> Option<&'static str> {
    part.strip_prefix('{').and_then(|inner| inner.strip_suffix('}'))
}

/// The row for a request among those of `table`. HEAD is answered as GET (RFC 9110 9.3.2); literal
/// segments win over templates because they stand first in the table.
pub(super) fn find(
    table: &[&'static [Route]],
    method: &Method,
    segments: &[&str],
) -> Result<Matched, RouteError> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let mut allowed: Vec<&'static Route> = Vec::new();
    for route in table.iter().flat_map(|rows| rows.iter()) {
        // The first path that fits names the resource: what fits a template too is not that one.
        if allowed.first().is_some_and(|first| first.path != route.path) {
            continue;
        }
        let Some(parameters) = route.parameters(segments) else { continue };
        if route.method == *method {
            return Ok(Matched { route, parameters });
        }
        allowed.push(route);
    }
    match allowed.is_empty() {
        true => Err(RouteError::UnknownPath),
        false => Err(RouteError::MethodNotAllowed { allow: allow(&allowed) }),
    }
}

/// RFC 9110 10.2.1.
fn allow(routes: &[&'static Route]) -> Cow<'static, str> {
    let mut methods: Vec<&str> = Vec::new();
    for route in routes {
        methods.push(route.method.as_str());
        if route.method == Method::GET {
            methods.push("HEAD");
        }
    }
    methods.push("OPTIONS");
    methods.dedup();
    methods.join(", ").into()
}
