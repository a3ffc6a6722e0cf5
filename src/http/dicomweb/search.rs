//! QIDO-RS, PS3.18 8.3.4 and 10.6.

mod answer;
mod parameters;

use futures::stream;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, WARNING};
use http::{Response, StatusCode};

use super::etag::Etag;
use super::json;
use super::xml;
use crate::dicom::attributes::Level;
use crate::dicom::uid::{SeriesUid, StudyUid};
use crate::http::State;
use crate::http::body::{self, Body};
use crate::http::error::HttpError;
use crate::http::negotiation::{Accept, Offer};
use crate::http::service::{Answer, Asked};
use crate::query::search::{self, SearchError};

pub(in crate::http) use parameters::parse;

pub(crate) async fn search(
    state: &State,
    level: Level,
    study: Option<StudyUid>,
    series: Option<SeriesUid>,
    asked: &Asked,
) -> Answer {
    let offers = [
        Offer::single(json::MEDIA_TYPE),
        Offer::single("application/json"),
        Offer::multipart(xml::MEDIA_TYPE),
    ];
    let offer = Accept::of(&asked.headers, asked.query.get("accept")).choose(&offers)?;
    let mut request = parse(level, (study, series), &asked.query, &state.settings)?;
    request.reach = asked.caller.reach.clone();
    let scan_max = state.settings.search_scan_max;
    let page = search::search(&state.db, &state.live.places, &request, scan_max).await?;
    let (remaining, is_empty) = (page.remaining, page.found.is_empty());
    let matches = answer::write(page, request, asked.urls.clone()).await?;
    let json = answer::array(&matches);
    let etag = Etag::of([&json[..], &remaining.to_be_bytes()], offer.media_type);
    if let Some(response) = etag.not_modified(&asked.headers) {
        return Ok(response);
    }
    let mut response = match offer.media_type {
        _ if is_empty && state.settings.search_empty_204 => no_content(),
        xml::MEDIA_TYPE => xml::multipart(&etag, stream::iter([Ok(|| answer::described(matches))])),
        media_type => json_response(json, media_type),
    };
    etag.mark(&mut response);
    announce(response.headers_mut(), remaining);
    Ok(response)
}

fn no_content() -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn json_response(json: Vec<u8>, media_type: &'static str) -> Response<Body> {
    let mut response = Response::new(body::full(json));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// PS3.18 8.3.4.4.1.
fn announce(headers: &mut HeaderMap, remaining: u64) {
    let text = format!("299 radiant: \"There are {remaining} additional results that can be requested\"");
    if let Some(value) = HeaderValue::from_str(&text).ok().filter(|_| remaining > 0) {
        headers.append(WARNING, value);
    }
}

impl From<SearchError> for HttpError {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::TooBroad { .. } => Self::TooBroad(error.to_string()),
            SearchError::Index(error) => error.into(),
            error => Self::internal("the search")(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_results_are_announced_q16() {
        let mut headers = HeaderMap::new();
        announce(&mut headers, 0);
        assert!(headers.is_empty());
        announce(&mut headers, 3);
        assert_eq!(headers[WARNING], "299 radiant: \"There are 3 additional results that can be requested\"");
    }
}
