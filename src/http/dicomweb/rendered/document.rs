//! Encapsulated documents, given as the document that they hold.

use super::super::bulkdata::Value;
use crate::http::State;
use crate::http::error::HttpError;
use crate::http::negotiation::{Accept, Offer};
use crate::http::service::{Answer, Asked};
use crate::query::stored_object::StoredObject;

const DOCUMENT_PATH: &str = "00420011";

pub(super) async fn rendered(
    state: &State,
    object: StoredObject,
    media_type: &'static str,
    asked: &Asked,
) -> Answer {
    let accept = Accept::of(&asked.headers, asked.query.get("accept"));
    let offer = accept.choose(&[Offer::single(media_type)])?.clone();
    let value = Value::find(state, object, DOCUMENT_PATH).await?.ok_or(HttpError::NotFound("document"))?;
    value.single(&offer, &asked.headers).await
}
