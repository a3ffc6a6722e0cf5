//! WADO-URI, PS3.18 chapter 9: one object by the parameters of a query.
//!
//! `application/dicom` is given by [`instances`]; everything else is drawn by [`rendered`], whose
//! parameters this module makes out of the older ones. Parameters that it does not know are
//! ignored (9.1).

use std::str::FromStr;
use std::sync::Arc;

use http::header::ACCEPT;

use super::delete::explain_absence;
use super::{instances, rendered, stored};
use crate::dicom::uid::UidError;
use crate::http::State;
use crate::http::endpoint::FrameList;
use crate::http::error::HttpError;
use crate::http::negotiation::{Accept, Offer};
use crate::http::query_string::QueryString;
use crate::http::service::{Answer, Asked};
use crate::query::Scope;
use crate::query::stored_object::StoredObject;
use crate::volume::attributes::integer;

const DICOM: &str = "application/dicom";

pub(super) async fn retrieve(state: Arc<State>, asked: Asked) -> Answer {
    let query = &asked.query;
    if query.get("requestType") != Some("WADO") {
        return Err(HttpError::bad_request("requestType must be WADO"));
    }
    if query.get("anonymize").is_some_and(|value| value.eq_ignore_ascii_case("yes")) {
        return Err(HttpError::bad_request("anonymize is not supported: the object would name the patient"));
    }
    let scope = scope(query)?;
    super::visible(&state, &asked, &scope).await?;
    let answer = object(Arc::clone(&state), scope.clone(), asked).await;
    explain_absence(&state, &scope, answer).await
}

async fn object(state: Arc<State>, scope: Scope, asked: Asked) -> Answer {
    let query = &asked.query;
    let content_types = query.get("contentType").filter(|types| !types.is_empty());
    if wants_dicom(&asked, content_types) {
        return instances::instance(state, scope, query.get("transferSyntax"), &asked).await;
    }
    let frames = query.get("frameNumber").map(frame_number).transpose()?;
    let object = stored::open_one(&state, &scope).await?;
    let parameters = rendering_parameters(&state, &object, query, content_types).await?;
    let rendering = Asked { query: parameters, ..asked };
    rendered::rendered(state, scope, frames, &rendering).await
}

/// The object, by its three UIDs (9.1.2.1).
fn scope(query: &QueryString) -> Result<Scope, HttpError> {
    Ok(Scope::Instance(uid(query, "studyUID")?, uid(query, "seriesUID")?, uid(query, "objectUID")?))
}

fn uid<T: FromStr<Err = UidError>>(query: &QueryString, name: &str) -> Result<T, HttpError> {
    let text = query.get(name).ok_or_else(|| HttpError::BadRequest(format!("{name} is missing")))?;
    text.parse().map_err(|error| HttpError::BadRequest(format!("{name} is not a UID: {error}")))
}

/// Without contentType the Accept of the request says what is wanted; without both it is a
/// picture (9.1.2.2.1).
fn wants_dicom(asked: &Asked, content_types: Option<&str>) -> bool {
    let named = content_types.is_some() || asked.headers.contains_key(ACCEPT);
    let accept = Accept::of(&asked.headers, content_types);
    let rendered = ["image/jpeg", "image/png", "image/gif", "text/html", "application/pdf"];
    let mut offers: Vec<Offer> = rendered.into_iter().map(Offer::single).collect();
    offers.extend([
        Offer::single(DICOM),
        Offer::multipart(DICOM),
        Offer::multipart("application/octet-stream"),
    ]);
    let multipart = |offer: &Offer| offer.packaging == crate::http::negotiation::Packaging::Multipart;
    named && accept.choose(&offers).is_ok_and(|chosen| chosen.media_type == DICOM || multipart(chosen))
}

fn frame_number(text: &str) -> Result<FrameList, HttpError> {
    let number = text.trim().parse().ok().filter(|number: &u32| *number > 0);
    let number = number.ok_or_else(|| HttpError::bad_request("frameNumber is a whole number from 1"))?;
    Ok(FrameList(vec![number]))
}

/// The parameters of 9.1.2.2 as those of 8.3.5.
async fn rendering_parameters(
    state: &State,
    object: &StoredObject,
    query: &QueryString,
    content_types: Option<&str>,
) -> Result<QueryString, HttpError> {
    let mut parameters: Vec<(String, String)> = Vec::new();
    let mut put = |name: &str, value: String| parameters.push((name.to_owned(), value));
    if let Some(types) = content_types {
        put("accept", types.to_owned());
    }
    if let Some(quality) = query.get("imageQuality") {
        put("quality", quality.to_owned());
    }
    if let Some(annotation) = query.get("annotation") {
        put("annotation", annotation.to_owned());
    }
    if let Some(window) = window(query)? {
        put("window", window);
    }
    if let Some(viewport) = viewport(state, object, query).await? {
        put("viewport", viewport);
    }
    Ok(QueryString::from(parameters))
}

/// One is nothing without the other (9.1.2.2.8).
fn window(query: &QueryString) -> Result<Option<String>, HttpError> {
    match (query.get("windowCenter"), query.get("windowWidth")) {
        (None, None) => Ok(None),
        (Some(center), Some(width)) => Ok(Some(format!("{center},{width},linear"))),
        _ => Err(HttpError::bad_request("windowCenter and windowWidth come together")),
    }
}

/// Where only one side is named, the other is what the aspect ratio makes it.
const ANY_SIDE: &str = "16384";

async fn viewport(
    state: &State,
    object: &StoredObject,
    query: &QueryString,
) -> Result<Option<String>, HttpError> {
    let region = match query.get("region").map(region).transpose()? {
        Some(region) => Some(region.in_pixels(image_size(state, object).await?)),
        None => None,
    };
    let size = match (query.get("columns"), query.get("rows")) {
        (None, None) => None,
        (columns, rows) => Some(format!("{},{}", columns.unwrap_or(ANY_SIDE), rows.unwrap_or(ANY_SIDE))),
    };
    Ok(match (size, region) {
        (None, None) => None,
        (Some(size), None) => Some(size),
        (None, Some([x, y, width, height])) => Some(format!("{width},{height},{x},{y},{width},{height}")),
        (Some(size), Some([x, y, width, height])) => Some(format!("{size},{x},{y},{width},{height}")),
    })
}

async fn image_size(state: &State, object: &StoredObject) -> Result<(f64, f64), HttpError> {
    use dicom_dictionary_std::tags;
    let attributes = object.attributes(&state.db).await?;
    let side = |tag| integer(&attributes, tag).map_or(0.0, |side| side as f64);
    Ok((side(tags::COLUMNS), side(tags::ROWS)))
}

/// Left, top, right and bottom as fractions of the image (9.1.2.2.9).
#[derive(Debug, Clone, Copy, PartialEq)]
struct Region([f64; 4]);

fn region(text: &str) -> Result<Region, HttpError> {
    let bad = || HttpError::bad_request("region is left,top,right,bottom, each from 0 to 1, and not empty");
    let edges: Vec<f64> = text.split(',').map_while(|edge| edge.trim().parse().ok()).collect();
    let edges: [f64; 4] = edges.try_into().map_err(|_| bad())?;
    let [left, top, right, bottom] = edges;
    let inside = edges.iter().all(|edge| (0.0..=1.0).contains(edge));
    if inside && left < right && top < bottom { Ok(Region(edges)) } else { Err(bad()) }
}

impl Region {
    /// Left, top, width and height.
    fn in_pixels(self, (columns, rows): (f64, f64)) -> [u32; 4] {
        let Self([left, top, right, bottom]) = self;
        let at = |fraction: f64, side: f64| (fraction * side).round() as u32;
        let (x, y) = (at(left, columns), at(top, rows));
        let extent = |to: u32, from: u32| to.saturating_sub(from).max(1);
        [x, y, extent(at(right, columns), x), extent(at(bottom, rows), y)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> QueryString {
        QueryString::parse(text).unwrap()
    }

    #[test]
    fn the_three_uids_are_needed_w45() {
        assert!(scope(&query("studyUID=1.2&seriesUID=1.3&objectUID=1.4")).is_ok());
        assert!(scope(&query("studyUID=1.2&seriesUID=1.3")).is_err());
        assert!(scope(&query("studyUID=1.2&seriesUID=1.3&objectUID=x")).is_err());
    }

    #[test]
    fn a_window_has_two_parts_w45() {
        let both = window(&query("windowCenter=40&windowWidth=400")).unwrap();
        assert_eq!(both.as_deref(), Some("40,400,linear"));
        assert!(window(&query("windowCenter=40")).is_err());
    }

    #[test]
    fn a_region_is_a_part_of_the_image_w45() {
        let half = region("0,0.5,0.5,1").unwrap();
        assert_eq!(half.in_pixels((100.0, 50.0)), [0, 25, 50, 25]);
        for bad in ["0,0,1", "0.5,0,0.5,1", "0,0,2,1", "a,0,1,1"] {
            assert!(region(bad).is_err(), "{bad}");
        }
    }
}
