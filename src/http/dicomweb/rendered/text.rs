//! Structured reports and key object selections as a page, PS3.18 Table 8.7.4-1.

use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Map, Value};

use super::super::etag::Etag;
use super::not_renderable;
use crate::db;
use crate::dicom::packed;
use crate::http::State;
use crate::http::body;
use crate::http::error::HttpError;
use crate::http::negotiation::{Accept, Offer};
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;
use crate::query::Scope;
use crate::query::rendering::structured_report::{Document, Form, Place};
use crate::query::retrieve::StoredInstance;

const HTML: &str = "text/html";
const PLAIN: &str = "text/plain";
const XML: &str = "text/xml";

pub(super) async fn rendered(state: &State, instance: &StoredInstance, asked: &Asked) -> Answer {
    let offers = [Offer::single(HTML), Offer::single(PLAIN), Offer::single(XML)];
    let offer = Accept::of(&asked.headers, asked.query.get("accept")).choose(&offers)?;
    let (form, content_type) = form(offer.media_type);
    let url = asked.urls.of_instance(instance);
    let etag = Etag::of([instance.sha256.as_slice()], &format!("{url} {}", offer.media_type));
    if let Some(response) = etag.not_modified(&asked.headers) {
        return Ok(response);
    }
    let stored = metadata(state, instance).await?;
    let urls = asked.urls.clone();
    let writing = tokio::task::spawn_blocking(move || page(&stored, form, &urls)).await;
    let mut response = Response::new(body::full(writing.map_err(HttpError::internal("writing a page"))??));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    etag.mark(&mut response);
    Ok(response)
}

fn form(media_type: &str) -> (Form, &'static str) {
    match media_type {
        PLAIN => (Form::Plain, "text/plain; charset=utf-8"),
        XML => (Form::Xml, "text/xml; charset=utf-8"),
        _ => (Form::Html, "text/html; charset=utf-8"),
    }
}

async fn metadata(state: &State, instance: &StoredInstance) -> Result<Vec<u8>, HttpError> {
    let StoredInstance { study, series, sop_instance, .. } = instance;
    let scope = Scope::Instance(study.clone(), series.clone(), sop_instance.clone());
    let mut rows = db::retrieve::metadata(&state.db, &scope, 0).await?;
    rows.pop().map(|row| row.json).ok_or(HttpError::NotFound("instance"))
}

fn page(stored: &[u8], form: Form, urls: &Urls) -> Result<Vec<u8>, HttpError> {
    let json = packed::unpack(stored).map_err(HttpError::internal("inflating stored attributes"))?;
    let data_set: Map<String, Value> =
        serde_json::from_slice(&json).map_err(HttpError::internal("reading stored attributes"))?;
    let document = Document::read(&data_set).map_err(|reason| {
        tracing::info!(%reason, "a document could not be rendered");
        not_renderable()
    })?;
    let locate = |place: &Place| locate(urls, place);
    document.write(form, &locate).map_err(HttpError::internal("writing a page"))
}

fn locate(urls: &Urls, place: &Place) -> Option<String> {
    let (study, series) = (place.study.parse().ok()?, place.series.parse().ok()?);
    Some(urls.instance(&study, &series, &place.instance.parse().ok()?))
}
