//! The DIMSE nodes of the configuration.

use http::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::etag;
use super::page::{self, ConfiguredParameters, Page};
use super::routes::{Route, routes};
use crate::auth::{Permission, may};
use crate::causes;
use crate::config::Node as Configured;
use crate::export::scu::association;
use crate::http::State;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;

pub(super) const ROUTES: &[Route] = routes! {
    GET "nodes", "api-nodes", may(Permission::OperateServer), |call| list(&call.state, &call.asked);
    GET "nodes/{node}", "api-node", may(Permission::OperateServer),
        |call| one(&call.state, call.path.text("node"), &call.asked);
    POST "nodes/{node}/echo", "api-echo-node", may(Permission::OperateServer),
        |call| echo(&call.state, call.path.text("node")).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(list, one, echo))]
pub(super) struct Doc;

#[derive(Serialize, ToSchema)]
struct Node {
    ae_title: String,
    /// Where it listens; null where it cannot be called.
    host: Option<String>,
    port: u16,
    tls: bool,
    /// What it may do here: `store`, `query`, `retrieve`.
    may: Vec<String>,
    transfer_syntaxes: Vec<String>,
    links: NodeLinks,
}

#[derive(Serialize, ToSchema)]
struct NodeLinks {
    #[serde(rename = "self")]
    own: String,
    echo: Option<String>,
}

/// How a node answered C-ECHO.
#[derive(Serialize, ToSchema)]
struct Echo {
    success: bool,
    /// Of the response, in four digits; null where there was none.
    status: Option<String>,
    /// Why there was none.
    reason: Option<String>,
    took_ms: u64,
}

/// All nodes
#[utoipa::path(
    get, path = "/nodes", operation_id = "listNodes", tag = "nodes", params(ConfiguredParameters),
    responses((status = 200, description = "The nodes of the configuration", body = Page<Node>))
)]
fn list(state: &State, asked: &Asked) -> Answer {
    let nodes = state.commitments.directory().nodes().iter();
    page::configured(&asked.query, nodes.map(|node| described(node, &asked.urls)).collect())
}

/// One node
#[utoipa::path(
    get, path = "/nodes/{node}", operation_id = "getNode", tag = "nodes",
    params(("node" = String, Path, description = "Its AE title")),
    responses((status = 200, description = "The node", body = Node), (status = 304, description = "Known"))
)]
fn one(state: &State, ae_title: &str, asked: &Asked) -> Answer {
    etag::answer(&asked.headers, &asked.query, &described(find(state, ae_title)?, &asked.urls))
}

/// Ask a node whether it is there
///
/// By C-ECHO.
#[utoipa::path(
    post, path = "/nodes/{node}/echo", operation_id = "echoNode", tag = "nodes",
    params(("node" = String, Path, description = "Its AE title")),
    responses((status = 200, description = "How it answered, or why not", body = Echo),
        (status = 409, description = "It listens nowhere"))
)]
async fn echo(state: &State, ae_title: &str) -> Answer {
    let node = find(state, ae_title)?;
    let destination = state.commitments.directory().destination(&node.ae_title);
    let peer = destination.ok_or_else(|| HttpError::Conflict("the node has no host".to_owned()))?.peer;
    let begin = Instant::now();
    let answered = association::echo(&peer).await;
    let (status, reason) = match &answered {
        Ok(status) => (Some(format!("{status:04X}")), None),
        Err(error) => (None, Some(causes::chain(error))),
    };
    let took_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    super::json(StatusCode::OK, &Echo { success: matches!(answered, Ok(0)), status, reason, took_ms })
}

fn find<'a>(state: &'a State, ae_title: &str) -> Result<&'a Configured, HttpError> {
    let mut nodes = state.commitments.directory().nodes().iter();
    nodes.find(|node| node.ae_title.trim() == ae_title.trim()).ok_or(HttpError::NotFound("node"))
}

fn described(node: &Configured, urls: &Urls) -> Node {
    let ae_title = node.ae_title.trim();
    let own = urls.rest(&format!("nodes/{}", utf8_percent_encode(ae_title, NON_ALPHANUMERIC)));
    let service = |service| serde_json::to_value(service).ok()?.as_str().map(str::to_owned);
    Node {
        ae_title: ae_title.to_owned(),
        host: node.host.clone(),
        port: node.port,
        tls: node.tls,
        may: node.may.iter().filter_map(service).collect(),
        transfer_syntaxes: node.transfer_syntaxes.iter().map(ToString::to_string).collect(),
        links: NodeLinks { echo: node.host.as_ref().map(|_| format!("{own}/echo")), own },
    }
}
