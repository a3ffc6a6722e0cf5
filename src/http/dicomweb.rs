//! DICOMweb services under `/dicom-web` (PS3.18 chapter 10).

mod etag;
mod instances;
mod json;
mod metadata;
mod search;
mod store;
mod stored;
mod transcode;

use std::sync::Arc;

use super::State;
use super::body::Inbound;
use super::endpoint::Dicomweb;
use super::service::{Answer, Asked};

pub(crate) async fn handle(state: Arc<State>, endpoint: Dicomweb, asked: Asked, body: Inbound) -> Answer {
    match endpoint {
        Dicomweb::Store { study } => store::store(&state, study, &asked, body).await,
        Dicomweb::Search { level, study, series } => search::search(&state, level, study, series, &asked).await,
        Dicomweb::Retrieve(scope) => instances::retrieve(state, scope, &asked).await,
        Dicomweb::Metadata(scope) => metadata::retrieve(state, scope, &asked).await,
        Dicomweb::Rendered(..) | Dicomweb::Thumbnail(..) | Dicomweb::Frames(..) | Dicomweb::Bulkdata { .. } => {
            Err(super::error::HttpError::NotFound("resource"))
        }
    }
}
