//! Pictures for people (PS3.18 10.4.1.1, Rendered Media Types).
//!
//! ```text
//! frame ─ grayscale ─> levels ─ overlays, shutter ─> placement ─ graphics, text ─> profile ─> file
//! ```

pub mod annotation;
pub mod category;
pub mod color_profile;
mod drawing;
pub mod encoding;
mod lettering;
pub mod placement;
pub mod presentation_state;
pub mod structured_report;

use std::time::Duration;

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use image::{DynamicImage, GrayImage, RgbImage};

use annotation::Annotation;
use color_profile::ColorProfile;
use encoding::Drawn;
use placement::{Layout, Orientation, Placement, Region, Viewport};
use presentation_state::View;

use crate::volume::attributes::{decimal, decimals};
use crate::volume::functional_groups::FrameAttributes;
use crate::volume::grayscale::{self, GrayscaleError, Picture, Softcopy, Window};
use crate::volume::overlays::{self, Overlay};
use crate::volume::pixels::{self, EncodedFrame, ImageDescription, PixelError, StoredWords};
use crate::volume::shutter::Shutter;

/// Raised with whatever draws a frame otherwise: pictures are kept, and outlive the program that drew them.
pub const VERSION: u32 = 1;

/// How a frame becomes a file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rendering {
    pub format: Format,
    pub window: Window,
    /// The picture is scaled, keeping its aspect ratio, to fit in here (PS3.18 8.3.5.1.3).
    pub viewport: Option<Viewport>,
    pub region: Region,
    pub orientation: Orientation,
    pub annotation: Annotation,
    pub profile: ColorProfile,
    pub overlays: Overlays,
}

impl Rendering {
    /// The whole frame as the object says that it is to be seen.
    pub const fn plain(format: Format) -> Self {
        Self {
            format,
            window: Window::First,
            viewport: None,
            region: Region { left: 0.0, top: 0.0, columns: None, rows: None },
            orientation: Orientation { quarter_turns: 0, flip_horizontally: false, flip_vertically: false },
            annotation: Annotation { patient: false, technique: false },
            profile: ColorProfile::None,
            overlays: Overlays::Drawn,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `quality` is 1 to 100 (PS3.18 8.3.5.1.2).
    Jpeg {
        quality: u8,
    },
    Png,
    Gif,
}

/// Whether the overlays of an image are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlays {
    Drawn,
    /// A thumbnail carries no text of the patient, and an overlay may be such.
    LeftOut,
}

impl Format {
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg { .. } => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RenderingError {
    #[error("the frame cannot be decoded")]
    Pixels(#[from] PixelError),
    #[error("the frame has no displayable values")]
    Grayscale(#[from] GrayscaleError),
    #[error("the region lies outside the image")]
    Region,
    #[error("the picture would be too large")]
    TooLarge,
    #[error("the picture cannot be scaled: {0}")]
    Scaling(String),
    #[error("the colours cannot be converted")]
    Profile(#[from] moxcms::CmsError),
    #[error("the picture cannot be encoded")]
    Encoding(#[from] image::ImageError),
    #[error("the picture cannot be encoded as JPEG")]
    Jpeg(#[from] jpeg_encoder::EncodingError),
}

/// Decodes, displays, scales and encodes one frame; `frame_index` counts from 0.
///
/// This takes milliseconds of CPU: call it where blocking is allowed, with the stack that
/// [`pixels::decode`] asks for.
pub fn render(
    attributes: &InMemDicomObject,
    frame_index: usize,
    frame: EncodedFrame<'_>,
    rendering: &Rendering,
) -> Result<Vec<u8>, RenderingError> {
    draw(attributes, frame_index, frame, rendering, None)?.encode(rendering.format)
}

/// [`render`] up to the encoding. A `view` is what a presentation state makes of the frame.
pub fn draw(
    attributes: &InMemDicomObject,
    frame_index: usize,
    frame: EncodedFrame<'_>,
    rendering: &Rendering,
    view: Option<&View>,
) -> Result<Drawn, RenderingError> {
    let of_frame = FrameAttributes::new(attributes, frame_index);
    let picture = match view {
        Some(view) => {
            let picture = displayed(frame, &of_frame, &view.softcopy)?;
            let picture = view.colored(picture);
            view.covered(picture, overlays::of_frame(attributes, frame_index, Some(frame))?)
        }
        None => {
            let softcopy = Softcopy { window: rendering.window, ..Softcopy::default() };
            let mut picture = displayed(frame, &of_frame, &softcopy)?;
            if rendering.overlays == Overlays::Drawn {
                let planes = overlays::of_frame(attributes, frame_index, Some(frame))?;
                planes.iter().for_each(|plane| lay(plane, 255, &mut picture));
            }
            picture
        }
    };
    let picture = shut(picture, &of_frame, view);
    let picture = place(into_image(picture), &of_frame, rendering, view)?;
    finish(picture, attributes, frame_index, rendering, view)
}

fn displayed(
    frame: EncodedFrame<'_>,
    attributes: &FrameAttributes<'_>,
    softcopy: &Softcopy,
) -> Result<Picture, RenderingError> {
    let image = ImageDescription::from_object(attributes.object)?;
    Ok(match StoredWords::of(&image, frame) {
        Some(words) => grayscale::display_words(words, attributes, softcopy)?,
        None => grayscale::display_as(&pixels::decode(&image, frame)?, attributes, softcopy)?,
    })
}

fn shut(mut picture: Picture, attributes: &FrameAttributes<'_>, view: Option<&View>) -> Picture {
    let own = || Shutter::of(attributes.group_or_object(tags::FRAME_DISPLAY_SHUTTER_SEQUENCE));
    let shutter = match view {
        Some(view) => view.shutter.clone(),
        None => own(),
    };
    if let Some(shutter) = shutter {
        shutter.close(&mut picture);
    }
    picture
}

fn place(
    picture: DynamicImage,
    attributes: &FrameAttributes<'_>,
    rendering: &Rendering,
    view: Option<&View>,
) -> Result<DynamicImage, RenderingError> {
    let layout = Layout {
        region: rendering.region,
        orientation: rendering.orientation,
        viewport: rendering.viewport,
        magnification: 1.0,
        pixel_aspect: placement::pixel_aspect(attributes),
    };
    match view {
        Some(view) => view.place(picture, layout),
        None => Placement::of(&layout, (picture.width(), picture.height()))?.apply(picture),
    }
}

/// Text last, so that it keeps its size; a profile is for RGB alone.
fn finish(
    mut picture: DynamicImage,
    attributes: &InMemDicomObject,
    frame_index: usize,
    rendering: &Rendering,
    view: Option<&View>,
) -> Result<Drawn, RenderingError> {
    rendering.annotation.burn(&mut picture, attributes, frame_index);
    let grey = matches!(picture, DynamicImage::ImageLuma8(_));
    if grey && rendering.profile == ColorProfile::None {
        return Ok(Drawn { picture, profile: None });
    }
    let mut rgb = picture.into_rgb8();
    let source = view.and_then(View::profile).unwrap_or(attributes);
    let profile = color_profile::apply(rendering.profile, source, &mut rgb)?;
    Ok(Drawn { picture: rgb.into(), profile })
}

/// Marks the points of an overlay.
fn lay(plane: &Overlay, level: u8, picture: &mut Picture) {
    for (row, column) in plane.points() {
        let (Ok(row), Ok(column)) = (usize::try_from(row), usize::try_from(column)) else { continue };
        match picture {
            Picture::Gray(levels) => {
                if let Some(pixel) = levels.get_mut((row, column)) {
                    *pixel = level;
                }
            }
            Picture::Rgb(levels) => {
                for channel in 0..3 {
                    if let Some(pixel) = levels.get_mut((row, column, channel)) {
                        *pixel = level;
                    }
                }
            }
        }
    }
}

fn into_image(picture: Picture) -> DynamicImage {
    match picture {
        Picture::Gray(levels) => {
            let (rows, columns) = levels.dim();
            let levels = levels.into_raw_vec_and_offset().0;
            GrayImage::from_raw(columns as u32, rows as u32, levels).unwrap_or_default().into()
        }
        Picture::Rgb(levels) => {
            let (rows, columns, _) = levels.dim();
            let levels = levels.into_raw_vec_and_offset().0;
            RgbImage::from_raw(columns as u32, rows as u32, levels).unwrap_or_default().into()
        }
    }
}

/// Shown where the object does not say how fast it runs.
const FRAME_TIME: Duration = Duration::from_millis(100);
const FRAME_TIMES_MS: std::ops::RangeInclusive<f64> = 1.0..=60_000.0;

/// How long a frame (from 0) is shown (PS3.3 C.7.6.5).
pub fn frame_time(attributes: &InMemDicomObject, frame_index: usize) -> Duration {
    let vector = decimals(attributes, tags::FRAME_TIME_VECTOR);
    // Each element is the time since the frame before; the first is 0.
    let step = vector.get(frame_index + 1).or(vector.last()).copied();
    let rate = |tag| decimal(attributes, tag).filter(|rate| *rate > 0.0).map(|rate| 1000.0 / rate);
    let ms = decimal(attributes, tags::FRAME_TIME)
        .or(step)
        .or_else(|| rate(tags::RECOMMENDED_DISPLAY_FRAME_RATE))
        .or_else(|| rate(tags::CINE_RATE))
        .filter(|ms| FRAME_TIMES_MS.contains(ms));
    ms.map_or(FRAME_TIME, |ms| Duration::from_micros((ms * 1000.0) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::grayscale::voi::{VoiFunction, WindowLevel};
    use crate::volume::testing::object;
    use dicom_dictionary_std::uids;

    const PLAIN: Rendering = Rendering::plain(Format::Png);

    fn rendered(bytes: &[u8], window: Window) -> Result<Vec<u8>, RenderingError> {
        let attributes = object(&[
            (tags::ROWS, "1"),
            (tags::COLUMNS, "3"),
            (tags::BITS_ALLOCATED, "16"),
            (tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2"),
            (tags::RESCALE_INTERCEPT, "-1000"),
        ]);
        let frame = EncodedFrame::new(uids::EXPLICIT_VR_LITTLE_ENDIAN, bytes);
        let file = render(&attributes, 0, frame, &Rendering { window, ..PLAIN })?;
        Ok(image::load_from_memory(&file)?.into_luma8().into_raw())
    }

    #[test]
    fn a_frame_is_decoded_windowed_and_encoded_w30() {
        let bytes: Vec<u8> = [900_u16, 1000, 1100].into_iter().flat_map(u16::to_le_bytes).collect();
        let window = WindowLevel { center: 0.0, width: 400.0, function: VoiFunction::LinearExact };
        assert_eq!(rendered(&bytes, Window::Explicit(window)).unwrap(), [64, 128, 191]);
        assert_eq!(rendered(&bytes, Window::First).unwrap(), [0, 128, 255]);
    }

    #[test]
    fn a_short_frame_is_refused() {
        let refused = rendered(&[0; 5], Window::First).unwrap_err();
        assert!(matches!(refused, RenderingError::Pixels(PixelError::Truncated { found: 5, needed: 6 })));
    }

    #[test]
    fn a_profile_makes_a_grey_picture_rgb_w33c() {
        let attributes = object(&[
            (tags::ROWS, "1"),
            (tags::COLUMNS, "1"),
            (tags::BITS_ALLOCATED, "8"),
            (tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2"),
        ]);
        let frame = EncodedFrame::new(uids::EXPLICIT_VR_LITTLE_ENDIAN, &[7]);
        let rendering = Rendering { profile: ColorProfile::Srgb, ..PLAIN };
        let drawn = draw(&attributes, 0, frame, &rendering, None).unwrap();
        assert!(matches!(drawn.picture, DynamicImage::ImageRgb8(_)) && drawn.profile.is_some());
    }

    #[test]
    fn frames_are_shown_as_long_as_the_object_says_w28() {
        let time = |values: &[(dicom_core::Tag, &str)]| frame_time(&object(values), 0).as_millis();
        assert_eq!(time(&[(tags::FRAME_TIME, "33")]), 33);
        assert_eq!(time(&[(tags::FRAME_TIME_VECTOR, "0\\50\\60")]), 50);
        assert_eq!(time(&[(tags::CINE_RATE, "25")]), 40);
        assert_eq!((time(&[]), time(&[(tags::FRAME_TIME, "0")])), (100, 100));
    }
}
