//! The query parameters of rendered resources, PS3.18 8.3.5.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::http::error::HttpError;
use crate::http::query_string::QueryString;
use crate::query::rendering::annotation::Annotation;
use crate::query::rendering::color_profile::ColorProfile;
use crate::query::rendering::placement::{Orientation, Region, Viewport};
use crate::query::rendering::{Format, Overlays, Rendering};
use crate::volume::grayscale::Window;
use crate::volume::grayscale::voi::{VoiFunction, WindowLevel};

/// What a picture is drawn with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Surface {
    pub(super) quality: u8,
    pub(super) window: Window,
    pub(super) view: View,
    pub(super) annotation: Annotation,
    pub(super) profile: ColorProfile,
    pub(super) overlays: Overlays,
    /// Annotations asked for that there are none of.
    unknown_annotations: Vec<String>,
}

/// `viewport`, 8.3.5.1.3.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct View {
    pub(super) viewport: Option<Viewport>,
    pub(super) region: Region,
    pub(super) orientation: Orientation,
}

const QUALITY: u8 = 90;

/// What PS3.18 10.4.1.1.4 leaves to the server, chosen for viewers' lists.
const THUMBNAIL_QUALITY: u8 = 80;
const THUMBNAIL_VIEWPORT: Viewport = Viewport { columns: 128, rows: 128 };

/// More pixels than this are more than a display has.
const VIEWPORT_PIXELS_MAX: u64 = 1 << 25;

const WARNING: HeaderName = HeaderName::from_static("warning");

impl Surface {
    pub(super) fn rendered(query: &QueryString) -> Result<Self, HttpError> {
        let (annotation, unknown_annotations) =
            query.get("annotation").map(annotation).transpose()?.unwrap_or_default();
        Ok(Self {
            quality: query.get("quality").map(quality).transpose()?.unwrap_or(QUALITY),
            window: query.get("window").map(window).transpose()?.unwrap_or(Window::First),
            view: query.get("viewport").map(view).transpose()?.unwrap_or_default(),
            annotation,
            profile: query.get("iccprofile").map(profile).transpose()?.unwrap_or_default(),
            overlays: Overlays::Drawn,
            unknown_annotations,
        })
    }

    /// A thumbnail has no parameter but the size of its viewport.
    pub(super) fn thumbnail(query: &QueryString) -> Result<Self, HttpError> {
        let asked = query.get("viewport").map(view).transpose()?.unwrap_or_default();
        asked.of_whole_image()?;
        let viewport = asked.viewport.or(Some(THUMBNAIL_VIEWPORT));
        Ok(Self {
            quality: THUMBNAIL_QUALITY,
            window: Window::First,
            view: View { viewport, ..View::default() },
            annotation: Annotation::default(),
            profile: ColorProfile::None,
            overlays: Overlays::LeftOut,
            unknown_annotations: Vec::new(),
        })
    }

    /// # Errors
    /// The media type cannot carry the colour profile (8.3.5.1.5).
    pub(super) fn rendering(&self, media_type: &str) -> Result<Rendering, HttpError> {
        let format = match media_type {
            "image/png" => Format::Png,
            "image/gif" => Format::Gif,
            _ => Format::Jpeg { quality: self.quality },
        };
        if format == Format::Gif && self.profile != ColorProfile::None {
            return Err(HttpError::bad_request("image/gif cannot carry an ICC profile"));
        }
        Ok(Rendering {
            format,
            window: self.window,
            viewport: self.view.viewport,
            region: self.view.region,
            orientation: self.view.orientation,
            annotation: self.annotation,
            profile: self.profile,
            overlays: self.overlays,
        })
    }

    /// Names the annotations that were asked for and are not there (8.3.5.1.1).
    pub(super) fn warn(&self, headers: &mut HeaderMap) {
        if self.unknown_annotations.is_empty() {
            return;
        }
        let names = self.unknown_annotations.join(", ");
        let text = format!("299 radiant \"The following annotation values are not supported: {names}\"");
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.append(WARNING, value);
        }
    }
}

impl View {
    /// # Errors
    /// A thumbnail or a presentation state has a source region of its own (8.3.5.1.3).
    pub(super) fn of_whole_image(&self) -> Result<(), HttpError> {
        match (self.region, self.orientation) == (Region::default(), Orientation::default()) {
            true => Ok(()),
            false => Err(HttpError::bad_request("viewport is vw,vh for this resource")),
        }
    }
}

fn quality(text: &str) -> Result<u8, HttpError> {
    let valid = text.parse().ok().filter(|quality| (1..=100).contains(quality));
    valid.ok_or_else(|| HttpError::bad_request("quality is a whole number from 1 to 100"))
}

/// Keywords, known and unknown. An unknown one comes back in a header and must be a word.
fn annotation(text: &str) -> Result<(Annotation, Vec<String>), HttpError> {
    let mut found = Annotation::default();
    let mut unknown = Vec::new();
    for keyword in text.split(',').map(str::trim).filter(|keyword| !keyword.is_empty()) {
        match keyword {
            "patient" => found.patient = true,
            "technique" => found.technique = true,
            word if word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => {
                unknown.push(word.to_owned());
            }
            _ => return Err(HttpError::bad_request("annotation is a list of patient and technique")),
        }
    }
    Ok((found, unknown))
}

fn profile(text: &str) -> Result<ColorProfile, HttpError> {
    match text {
        "no" => Ok(ColorProfile::None),
        "yes" => Ok(ColorProfile::OfImage),
        "srgb" => Ok(ColorProfile::Srgb),
        "adobergb" => Ok(ColorProfile::AdobeRgb),
        "rommrgb" => Ok(ColorProfile::RommRgb),
        _ => Err(HttpError::bad_request("iccprofile is no, yes, srgb, adobergb or rommrgb")),
    }
}

/// `center,width,function`, 8.3.5.1.4.
fn window(text: &str) -> Result<Window, HttpError> {
    let bad =
        || HttpError::bad_request("window is center,width,function with linear, linear-exact or sigmoid");
    let [center, width, function] = text.split(',').collect::<Vec<_>>()[..] else { return Err(bad()) };
    let number = |text: &str| text.trim().parse().ok().filter(|number: &f32| number.is_finite());
    let function = match function.trim() {
        "linear" => VoiFunction::Linear,
        "linear-exact" => VoiFunction::LinearExact,
        "sigmoid" => VoiFunction::Sigmoid,
        _ => return Err(bad()),
    };
    match (number(center), number(width)) {
        (Some(center), Some(width)) if width >= 1.0 || (width > 0.0 && function != VoiFunction::Linear) => {
            Ok(Window::Explicit(WindowLevel { center, width, function }))
        }
        _ => Err(bad()),
    }
}

/// `vw,vh[,sx,sy,sw,sh]`: the corner and the size of the region may be empty, but their commas are
/// there; a negative size flips.
fn view(text: &str) -> Result<View, HttpError> {
    let bad = || HttpError::bad_request("viewport is vw,vh or vw,vh,sx,sy,sw,sh in pixels");
    let members: Vec<&str> = text.split(',').map(str::trim).collect();
    let side = |text: &str| text.parse::<u32>().ok().filter(|side| *side > 0);
    let (columns, rows, region) = match members[..] {
        [columns, rows, ref region @ ..] if matches!(region.len(), 0 | 4) => {
            (side(columns), side(rows), region)
        }
        _ => return Err(bad()),
    };
    let (columns, rows) = columns.zip(rows).ok_or_else(bad)?;
    if u64::from(columns) * u64::from(rows) > VIEWPORT_PIXELS_MAX {
        return Err(HttpError::bad_request(format!("a viewport has at most {VIEWPORT_PIXELS_MAX} pixels")));
    }
    let number = |at: usize| match region.get(at) {
        None | Some(&"") => Ok(None),
        Some(text) => text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Some).ok_or_else(bad),
    };
    let (left, top, wide, high) = (number(0)?, number(1)?, number(2)?, number(3)?);
    if left.is_some_and(|left| left < 0.0)
        || top.is_some_and(|top| top < 0.0)
        || [wide, high].contains(&Some(0.0))
    {
        return Err(bad());
    }
    let is_flip = |size: Option<f64>| size.is_some_and(|size| size < 0.0);
    Ok(View {
        viewport: Some(Viewport { columns, rows }),
        region: Region {
            left: left.unwrap_or(0.0),
            top: top.unwrap_or(0.0),
            columns: wide.map(f64::abs),
            rows: high.map(f64::abs),
        },
        orientation: Orientation {
            quarter_turns: 0,
            flip_horizontally: is_flip(wide),
            flip_vertically: is_flip(high),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(query: &str) -> Result<Surface, HttpError> {
        Surface::rendered(&QueryString::parse(query).unwrap())
    }

    #[track_caller]
    fn refused(queries: &[&str]) {
        for bad in queries {
            assert!(matches!(parsed(bad), Err(HttpError::BadRequest(_))), "{bad}");
        }
    }

    #[test]
    fn a_window_has_three_parts_w30_w31() {
        let level = WindowLevel { center: 40.0, width: 400.0, function: VoiFunction::Linear };
        assert_eq!(parsed("window=40,400,linear").unwrap().window, Window::Explicit(level));
        refused(&["window=40,400", "window=40,0,linear", "window=a,1,linear", "window=40,400,cubic"]);
    }

    #[test]
    fn a_viewport_may_cut_a_region_out_and_flip_it_w32() {
        let view = |query: &str| parsed(query).unwrap().view;
        let viewport = Some(Viewport { columns: 512, rows: 256 });
        assert_eq!(view("viewport=512%2C256"), View { viewport, ..View::default() });
        let region = Region { left: 10.5, top: 0.0, columns: Some(100.0), rows: Some(50.0) };
        let orientation = Orientation { quarter_turns: 0, flip_horizontally: true, flip_vertically: false };
        assert_eq!(view("viewport=512,256,10.5,,-100,50"), View { viewport, region, orientation });
        assert_eq!(view("viewport=512,256,,,,"), View { viewport, ..View::default() });
        refused(&["viewport=512", "viewport=0,5", "viewport=,5", "viewport=5,5,1,1,1,1,1"]);
        refused(&["viewport=5,5,-1,,,", "viewport=5,5,,,0,5", "viewport=5,5,x,,,", "viewport=65535,65535"]);
        refused(&["viewport=5,5,1", "viewport=5,5,1,1"]);
    }

    #[test]
    fn a_thumbnail_takes_a_size_alone_w32_w35() {
        let thumbnail = |query: &str| Surface::thumbnail(&QueryString::parse(query).unwrap());
        assert_eq!(thumbnail("").unwrap().view.viewport, Some(THUMBNAIL_VIEWPORT));
        let surface = thumbnail("viewport=20,10&annotation=patient").unwrap();
        assert_eq!(surface.view.viewport, Some(Viewport { columns: 20, rows: 10 }));
        assert_eq!((surface.annotation, surface.overlays), (Annotation::default(), Overlays::LeftOut));
        assert!(thumbnail("viewport=20,10,1,1,5,5").is_err());
    }

    #[test]
    fn quality_is_from_1_to_100_w33() {
        assert_eq!((parsed("").unwrap().quality, parsed("quality=1").unwrap().quality), (QUALITY, 1));
        refused(&["quality=0", "quality=101", "quality=-1", "quality=x", "quality="]);
    }

    #[test]
    fn an_unknown_annotation_is_warned_of_w33b() {
        let surface = parsed("annotation=patient,technique,weather").unwrap();
        assert_eq!(surface.annotation, Annotation { patient: true, technique: true });
        let mut headers = HeaderMap::new();
        surface.warn(&mut headers);
        let text = "299 radiant \"The following annotation values are not supported: weather\"";
        assert_eq!(headers[WARNING], text);
        refused(&["annotation=pat%22ient"]);
    }

    #[test]
    fn a_profile_goes_where_the_media_type_carries_it_w33c() {
        let surface = parsed("iccprofile=adobergb").unwrap();
        assert_eq!(surface.rendering("image/png").unwrap().profile, ColorProfile::AdobeRgb);
        assert!(surface.rendering("image/gif").is_err());
        assert!(parsed("iccprofile=no").unwrap().rendering("image/gif").is_ok());
        refused(&["iccprofile=cmyk"]);
    }
}
