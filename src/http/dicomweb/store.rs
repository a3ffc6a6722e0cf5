//! STOW-RS, PS3.18 10.5 and annex I.
//!
//! Parts are stored one by one while they arrive; what one part does never touches another.

mod answers;
mod described;
mod packaging;
mod parts;
mod report;

use http::header::CONTENT_TYPE;

use super::json;
use crate::dicom::uid::StudyUid;
use crate::dicom::xml;
use crate::http::State;
use crate::http::body::Inbound;
use crate::http::multipart::Parts;
use crate::http::negotiation::{Accept, Offer};
use crate::http::service::{Answer, Asked};
use crate::ingest::{Ingest, Origin, Source};
use packaging::{Packaging, Root};

/// Accept is looked at first: nothing is stored for a client that cannot read the answer.
pub(crate) async fn store(
    state: &State,
    only_study: Option<StudyUid>,
    asked: &Asked,
    content: Inbound,
) -> Answer {
    let offers = [json::MEDIA_TYPE, "application/json", xml::MEDIA_TYPE].map(Offer::single);
    let accept = Accept::of(&asked.headers, asked.query.get("accept"));
    let media_type = accept.choose(&offers)?.media_type;
    let packaging = Packaging::of(asked.headers.get(CONTENT_TYPE))?;
    let ingest = state.ingest.within(&asked.caller.reach);
    let origin = Origin::by(Source::Stow, asked.who());
    let request = Request { state, ingest, only_study, origin };
    let report = match packaging {
        Packaging::Single => request.store_single(content).await,
        Packaging::Multipart { boundary, root: Root::Object } => {
            request.store_parts(Parts::of(content, &boundary)).await?
        }
        Packaging::Multipart { boundary, root } => {
            request.store_described(Parts::of(content, &boundary), root).await?
        }
    };
    report.into_response(media_type, &asked.urls)
}

/// What the parts of one request have in common.
struct Request<'a> {
    state: &'a State,
    /// For objects of who asks.
    ingest: Ingest,
    only_study: Option<StudyUid>,
    origin: Origin,
}
