//! One slice of a volume as a picture.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use image::GrayImage;

use super::{Wanted, finished};
use crate::http::body;
use crate::http::error::HttpError;
use crate::http::limit_hit;
use crate::http::query_string::QueryString;
use crate::http::rest::routes::Call;
use crate::http::service::Answer;
use crate::query::rendering::Format;
use crate::query::rendering::encoding::Drawn;
use crate::query::volumes::Loaded;
use crate::volume::geometry::{AnatomicalPlane, Vector};
use crate::volume::grayscale::voi::{VoiFunction, WindowLevel};
use crate::volume::plane::{self, Extent, Plane, PlaneError};

/// Which slice, and how it is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Wish {
    place: Place,
    window: Option<WindowLevel>,
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Parallel { plane: AnatomicalPlane, index: usize },
    Oblique { point: Vector, normal: Vector },
}

/// A slice of a volume
///
/// Parallel to a body plane, or through a point with a normal; interpolated at its true place. Seen as a radiologist
/// does: the patient's right on the left, his head on top.
#[utoipa::path(
    get, path = "/studies/{study}/series/{series}/volume/slice", operation_id = "getVolumeSlice", tag = "volumes",
    params(
        ("study" = crate::dicom::uid::StudyUid, Path),
        ("series" = crate::dicom::uid::SeriesUid, Path),
        ("plane" = Option<String>, Query, description = "`axial`, `coronal`, `sagittal` or `oblique`"),
        ("index" = Option<usize>, Query, description = "from 0: from the head, the front, the right"),
        ("point" = Option<String>, Query, description = "x,y,z in mm, for an oblique plane"),
        ("normal" = Option<String>, Query, description = "x,y,z, for an oblique plane"),
        ("window" = Option<String>, Query, description = "center,width"),
        ("format" = Option<String>, Query, description = "`png` or `jpeg`"),
    ),
    responses(
        (status = 200, description = "A picture", content_type = "image/png", body = String),
        (status = 304, description = "Known"),
        (status = 409, description = "The series is no volume, or larger than volumes may be"),
        (status = 503, description = "As many volumes are being read as may be"),
    )
)]
pub(super) async fn draw(call: Call) -> Answer {
    let wish = Wish::of(&call.asked.query)?;
    let wanted = Wanted::of(&call.state, &call.path).await?;
    let etag = wanted.etag(&format!("{wish:?}"))?;
    if let Some(known) = etag.not_modified(&call.asked.headers) {
        return Ok(known);
    }
    let picture = match call.state.answers.get(etag.as_str()) {
        Some(kept) => kept,
        None => {
            let volumes = &call.state.live.volumes;
            let loaded = volumes.load(&wanted.scope, &wanted.key()).await?;
            let pixels_max = volumes.settings().plane_pixels_max;
            let plane = wish.plane(&loaded, pixels_max).map_err(not_drawn)?;
            let drawn = call.state.decodes.run(move || wish.drawn(&loaded, &plane)).await?;
            let picture: Bytes = drawn?.into();
            call.state.answers.keep(etag.as_str(), picture.clone());
            picture
        }
    };
    let mut response = Response::new(body::full(picture));
    let media_type = HeaderValue::from_static(wish.format.media_type());
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    finished(&call.state, response, &etag)
}

fn not_drawn(error: PlaneError) -> HttpError {
    if matches!(error, PlaneError::TooLarge) {
        limit_hit("volumes.plane_pixels_max");
    }
    HttpError::bad_request(error)
}

const JPEG_QUALITY: u8 = 90;

impl Wish {
    fn of(query: &QueryString) -> Result<Self, HttpError> {
        let format = match query.get("format").unwrap_or("png") {
            "png" => Format::Png,
            "jpeg" => Format::Jpeg { quality: JPEG_QUALITY },
            _ => return Err(HttpError::bad_request("format is png or jpeg")),
        };
        let window = query.get("window").map(window).transpose()?;
        Ok(Self { place: place(query)?, window, format })
    }

    fn plane(&self, loaded: &Loaded, pixels_max: usize) -> Result<Plane, PlaneError> {
        let extent = Extent::from(&loaded.volume);
        match self.place {
            Place::Parallel { plane, index } => plane::parallel(&extent, plane, index, pixels_max),
            Place::Oblique { point, normal } => plane::oblique(&extent, point, normal, pixels_max),
        }
    }

    fn drawn(&self, loaded: &Arc<Loaded>, plane: &Plane) -> Result<Vec<u8>, HttpError> {
        let (low, high) = loaded.usual;
        let usual = WindowLevel {
            center: f32::midpoint(low, high),
            width: (high - low).max(f32::MIN_POSITIVE),
            function: VoiFunction::LinearExact,
        };
        let window = self.window.or(loaded.described.window).unwrap_or(usual);
        let values = plane.sample(&loaded.volume, loaded.least);
        let levels = values.iter().map(|value| (window.fraction(*value) * 255.0).round() as u8).collect();
        let size = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let picture = GrayImage::from_raw(size(plane.columns), size(plane.rows), levels).unwrap_or_default();
        let drawn = Drawn { picture: picture.into(), profile: None };
        drawn.encode(self.format).map_err(HttpError::internal("encoding a slice"))
    }
}

fn place(query: &QueryString) -> Result<Place, HttpError> {
    let plane = match query.get("plane").unwrap_or("axial") {
        "axial" => AnatomicalPlane::Axial,
        "coronal" => AnatomicalPlane::Coronal,
        "sagittal" => AnatomicalPlane::Sagittal,
        "oblique" => AnatomicalPlane::Oblique,
        _ => return Err(HttpError::bad_request("plane is axial, coronal, sagittal or oblique")),
    };
    if plane == AnatomicalPlane::Oblique {
        let part = |name: &str| {
            let bad = || HttpError::bad_request(format!("{name} is x,y,z, and an oblique plane needs it"));
            query.get(name).and_then(vector).ok_or_else(bad)
        };
        return Ok(Place::Oblique { point: part("point")?, normal: part("normal")? });
    }
    let index = query.get("index").unwrap_or("0").parse();
    let index = index.map_err(|_| HttpError::bad_request("index is a whole number from 0"))?;
    Ok(Place::Parallel { plane, index })
}

fn vector(text: &str) -> Option<Vector> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
    numbers?.try_into().ok().filter(|vector: &Vector| vector.iter().all(|component| component.is_finite()))
}

fn window(text: &str) -> Result<WindowLevel, HttpError> {
    let bad = || HttpError::bad_request("window is center,width, the width from 1");
    let numbers: Option<Vec<f32>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[center, width]) if center.is_finite() && width.is_finite() && width >= 1.0 => {
            Ok(WindowLevel { center, width, function: VoiFunction::Linear })
        }
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(query: &str) -> Result<Wish, HttpError> {
        Wish::of(&QueryString::parse(query).unwrap())
    }

    #[test]
    fn a_slice_is_named_by_index_or_by_point_and_normal() {
        let coronal = Place::Parallel { plane: AnatomicalPlane::Coronal, index: 7 };
        assert_eq!(wish("plane=coronal&index=7").unwrap().place, coronal);
        let oblique = wish("plane=oblique&point=1,2,-3.5&normal=0,0,1&format=jpeg").unwrap();
        assert_eq!(oblique.place, Place::Oblique { point: [1.0, 2.0, -3.5], normal: [0.0, 0.0, 1.0] });
        assert_eq!(oblique.format.media_type(), "image/jpeg");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for query in [
            "plane=axail",
            "index=-1",
            "plane=oblique",
            "plane=oblique&point=1,2&normal=0,0,1",
            "plane=oblique&point=1,2,nan&normal=0,0,1",
            "window=40",
            "window=40,0",
            "window=inf,400",
            "format=gif",
        ] {
            assert!(wish(query).is_err(), "{query}");
        }
    }
}
