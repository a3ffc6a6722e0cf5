//! The query parameters of rendered resources, PS3.18 8.3.5.

use crate::http::error::HttpError;
use crate::http::query_string::QueryString;
use crate::query::rendering::{THUMBNAIL, Viewport};
use crate::volume::grayscale::Window;
use crate::volume::grayscale::voi::{VoiFunction, WindowLevel};

/// What a picture is drawn with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Surface {
    pub(super) quality: u8,
    pub(super) window: Window,
    pub(super) viewport: Option<Viewport>,
}

const QUALITY: u8 = 90;

/// A side longer than this is more than a display has.
const VIEWPORT_MAX: u32 = 16_384;

pub(super) fn rendered(query: &QueryString) -> Result<Surface, HttpError> {
    Ok(Surface {
        quality: query.get("quality").map(quality).transpose()?.unwrap_or(QUALITY),
        window: query.get("window").map(window).transpose()?.unwrap_or(Window::First),
        viewport: query.get("viewport").map(viewport).transpose()?,
    })
}

pub(super) fn thumbnail(query: &QueryString) -> Result<Surface, HttpError> {
    let asked = query.get("viewport").map(viewport).transpose()?;
    Ok(Surface { quality: QUALITY, window: THUMBNAIL.window, viewport: asked.or(THUMBNAIL.viewport) })
}

fn quality(text: &str) -> Result<u8, HttpError> {
    let valid = text.parse().ok().filter(|quality| (1..=100).contains(quality));
    valid.ok_or_else(|| HttpError::bad_request("quality is a whole number from 1 to 100"))
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

/// `vw,vh`, 8.3.5.1.3. The source rectangle may be there empty; a region is not cropped.
fn viewport(text: &str) -> Result<Viewport, HttpError> {
    let bad = || HttpError::bad_request("viewport is width,height in pixels");
    let mut members = text.split(',').map(str::trim);
    let side = |text: Option<&str>| text?.parse().ok().filter(|side| (1..=VIEWPORT_MAX).contains(side));
    let (columns, rows) = (side(members.next()), side(members.next()));
    let has_region = members.any(|member| !member.is_empty());
    match (columns, rows, has_region) {
        (Some(columns), Some(rows), false) => Ok(Viewport { columns, rows }),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(query: &str) -> Result<Surface, HttpError> {
        rendered(&QueryString::parse(query).unwrap())
    }

    #[test]
    fn a_window_has_three_parts_w30_w31() {
        let level = WindowLevel { center: 40.0, width: 400.0, function: VoiFunction::Linear };
        assert_eq!(parsed("window=40,400,linear").unwrap().window, Window::Explicit(level));
        for bad in ["window=40,400", "window=40,0,linear", "window=a,1,linear", "window=40,400,cubic"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn quality_and_viewport_are_checked_w32_w33() {
        assert_eq!(
            parsed("viewport=512%2C256").unwrap().viewport,
            Some(Viewport { columns: 512, rows: 256 })
        );
        assert_eq!(parsed("").unwrap().quality, QUALITY);
        for bad in ["quality=0", "quality=101", "viewport=512", "viewport=0,5", "viewport=5,5,1,1,1,1"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
