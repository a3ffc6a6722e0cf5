//! From a scope in a path to what is stored there.

use crate::db;
use crate::http::State;
use crate::http::error::HttpError;
use crate::http::negotiation::NotAcceptable;
use crate::query::Scope;
use crate::query::retrieve::{Held, StoredInstance};
use crate::query::stored_object::{ReadError, StoredObject};

impl From<ReadError> for HttpError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Gone => Self::Conflict(error.to_string()),
            ReadError::LargeFrame(_) => NotAcceptable { available: AS_STORED.to_owned() }.into(),
            error => Self::internal("reading a stored object")(error),
        }
    }
}

/// What there is of every object.
pub(super) const AS_STORED: &str = "multipart/related; type=\"application/dicom\"";

impl From<crate::blobs::BlobError> for HttpError {
    fn from(error: crate::blobs::BlobError) -> Self {
        Self::internal("reading stored bytes")(error)
    }
}

/// What a scope is, for people.
pub(super) fn noun(scope: &Scope) -> &'static str {
    match scope {
        Scope::Study(_) | Scope::Released(_) => "study",
        Scope::Series(..) => "series",
        Scope::Instance(..) => "instance",
    }
}

/// How much a scope holds; nothing is 404 (PS3.18 10.4.3.1).
pub(super) async fn held(state: &State, scope: &Scope) -> Result<Held, HttpError> {
    db::retrieve::held(&state.db, scope).await?.ok_or(HttpError::NotFound(noun(scope)))
}

/// The first instances of a scope; none is 404 (PS3.18 10.4.3.1).
pub(super) async fn first_page(state: &State, scope: &Scope) -> Result<Vec<StoredInstance>, HttpError> {
    let page = db::retrieve::instances(&state.db, scope, 0).await?;
    if page.is_empty() { Err(HttpError::NotFound(noun(scope))) } else { Ok(page) }
}

pub(super) async fn open(state: &State, instance: StoredInstance) -> Result<StoredObject, HttpError> {
    Ok(StoredObject::open(&state.db, &state.blobs, instance).await?)
}

/// The one instance of a scope, opened.
pub(super) async fn open_one(state: &State, scope: &Scope) -> Result<StoredObject, HttpError> {
    let mut page = first_page(state, scope).await?;
    open(state, page.remove(0)).await
}
