//! Which part of an image is shown, which way round and how large (PS3.18 8.3.5.1.3, PS3.3
//! C.10.4 and C.10.6).

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, GrayImage, RgbImage};

use super::RenderingError;
use crate::volume::attributes::{decimal_array, decimals};
use crate::volume::functional_groups::FrameAttributes;

/// The rectangle that the picture is scaled to fit in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Viewport {
    pub columns: u32,
    pub rows: u32,
}

/// A part of the image in its pixels; what is left open reaches to the edge.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Region {
    pub left: f64,
    pub top: f64,
    pub columns: Option<f64>,
    pub rows: Option<f64>,
}

/// Turned clockwise first, then flipped (PS3.3 C.10.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Orientation {
    pub quarter_turns: u8,
    pub flip_horizontally: bool,
    pub flip_vertically: bool,
}

/// More pixels than this are no picture for a display.
pub(super) const PIXELS_MAX: f64 = (1_u32 << 27) as f64;

/// Pixels that are further from square are written by mistake.
const ASPECT_MAX: f64 = 16.0;

/// From pixels of the image to pixels of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Placement {
    left: u32,
    top: u32,
    columns: u32,
    rows: u32,
    orientation: Orientation,
    /// Width and height of the picture.
    size: (u32, u32),
}

/// What a picture is asked to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Layout {
    pub(super) region: Region,
    pub(super) orientation: Orientation,
    pub(super) viewport: Option<Viewport>,
    /// Pixels of the picture for one of the image, where no viewport decides.
    pub(super) magnification: f64,
    /// Height of a pixel for a width of 1.
    pub(super) pixel_aspect: f64,
}

impl Placement {
    /// # Errors
    /// The region lies outside the image, or the picture would be too large.
    pub(super) fn of(layout: &Layout, image: (u32, u32)) -> Result<Self, RenderingError> {
        let Layout { region, orientation, .. } = *layout;
        let (left, columns) = span(region.left, region.columns, image.0).ok_or(RenderingError::Region)?;
        let (top, rows) = span(region.top, region.rows, image.1).ok_or(RenderingError::Region)?;
        let size = layout.size(f64::from(columns), f64::from(rows));
        if f64::from(size.0) * f64::from(size.1) > PIXELS_MAX {
            return Err(RenderingError::TooLarge);
        }
        Ok(Self { left, top, columns, rows, orientation, size })
    }

    pub(super) fn apply(&self, image: DynamicImage) -> Result<DynamicImage, RenderingError> {
        let turned = match self.orientation.quarter_turns % 4 {
            0 => self.scaled(image, self.size)?,
            1 => self.scaled(image, (self.size.1, self.size.0))?.rotate90(),
            2 => self.scaled(image, self.size)?.rotate180(),
            _ => self.scaled(image, (self.size.1, self.size.0))?.rotate270(),
        };
        let flipped = if self.orientation.flip_horizontally { turned.fliph() } else { turned };
        Ok(if self.orientation.flip_vertically { flipped.flipv() } else { flipped })
    }

    fn scaled(&self, image: DynamicImage, size: (u32, u32)) -> Result<DynamicImage, RenderingError> {
        let whole = (self.left, self.top, self.columns, self.rows) == (0, 0, image.width(), image.height());
        match ((self.columns, self.rows) == size, whole) {
            (true, true) => Ok(image),
            (true, false) => Ok(image.crop_imm(self.left, self.top, self.columns, self.rows)),
            (false, _) => self.resize(&image, size),
        }
    }

    /// Bilinear, with a filter as wide as the reduction.
    fn resize(
        &self,
        image: &DynamicImage,
        (width, height): (u32, u32),
    ) -> Result<DynamicImage, RenderingError> {
        let kind = if matches!(image, DynamicImage::ImageLuma8(_)) { PixelType::U8 } else { PixelType::U8x3 };
        let scaling = |error: &dyn std::fmt::Display| RenderingError::Scaling(error.to_string());
        let source = ImageRef::new(image.width(), image.height(), image.as_bytes(), kind)
            .map_err(|error| scaling(&error))?;
        let mut target = Image::new(width, height, kind);
        let options = ResizeOptions::new()
            .crop(self.left.into(), self.top.into(), self.columns.into(), self.rows.into())
            .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        Resizer::new().resize(&source, &mut target, Some(&options)).map_err(|error| scaling(&error))?;
        let levels = target.into_vec();
        let resized = match kind {
            PixelType::U8 => GrayImage::from_raw(width, height, levels).map(DynamicImage::from),
            _ => RgbImage::from_raw(width, height, levels).map(DynamicImage::from),
        };
        resized.ok_or_else(|| scaling(&"the scaled picture has too few pixels"))
    }

    /// Where a point of the image lies in the picture; both count from the corner of the first pixel.
    pub(super) fn point(&self, x: f64, y: f64) -> (f64, f64) {
        let x = (x - f64::from(self.left)) / f64::from(self.columns);
        let y = (y - f64::from(self.top)) / f64::from(self.rows);
        let (x, y) = match self.orientation.quarter_turns % 4 {
            0 => (x, y),
            1 => (1.0 - y, x),
            2 => (1.0 - x, 1.0 - y),
            _ => (y, 1.0 - x),
        };
        let x = if self.orientation.flip_horizontally { 1.0 - x } else { x };
        let y = if self.orientation.flip_vertically { 1.0 - y } else { y };
        (x * f64::from(self.size.0), y * f64::from(self.size.1))
    }
}

impl Layout {
    /// As large as the viewport allows without changing the aspect ratio.
    fn size(&self, columns: f64, rows: f64) -> (u32, u32) {
        let aspect = self.pixel_aspect;
        let square = (columns * (1.0 / aspect).max(1.0), rows * aspect.max(1.0));
        let (width, height) = match self.orientation.quarter_turns % 2 {
            0 => square,
            _ => (square.1, square.0),
        };
        let scale = self.viewport.map_or(self.magnification, |viewport| {
            (f64::from(viewport.columns) / width).min(f64::from(viewport.rows) / height)
        });
        let side = |length: f64| (length * scale).round().max(1.0) as u32;
        (side(width), side(height))
    }
}

/// Whole pixels of a side: the first and how many.
fn span(first: f64, length: Option<f64>, side: u32) -> Option<(u32, u32)> {
    let begin = first.round();
    let end = length.map_or(f64::from(side), |length| (first + length).round().min(f64::from(side)));
    (begin >= 0.0 && begin < end).then_some((begin as u32, (end - begin) as u32))
}

/// Height of a pixel for a width of 1, as far as the object tells.
pub(super) fn pixel_aspect(attributes: &FrameAttributes<'_>) -> f64 {
    let measures = attributes.group_or_object(tags::PIXEL_MEASURES_SEQUENCE);
    let stated = aspect_ratio(attributes.object);
    let ratio = stated.or_else(|| spacing(measures)).map_or(1.0, |[height, width]| height / width);
    // Spacings are rounded: what is nearly square is.
    match (1.0 / ASPECT_MAX..=ASPECT_MAX).contains(&ratio) && (ratio - 1.0).abs() > 0.01 {
        true => ratio,
        false => 1.0,
    }
}

/// Pixel Aspect Ratio, vertical first (PS3.3 C.7.6.3.1.7).
fn aspect_ratio(object: &InMemDicomObject) -> Option<[f64; 2]> {
    let pair: [f64; 2] = decimals(object, tags::PIXEL_ASPECT_RATIO).try_into().ok()?;
    pair.iter().all(|side| *side > 0.0).then_some(pair)
}

fn spacing(group: &InMemDicomObject) -> Option<[f64; 2]> {
    let named = [tags::PIXEL_SPACING, tags::IMAGER_PIXEL_SPACING, tags::NOMINAL_SCANNED_PIXEL_SPACING];
    let pair = named.into_iter().find_map(|tag| decimal_array::<2>(group, tag))?;
    pair.iter().all(|side| *side > 0.0).then_some(pair)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::testing::object;

    const WHOLE: Layout = Layout {
        region: Region { left: 0.0, top: 0.0, columns: None, rows: None },
        orientation: Orientation { quarter_turns: 0, flip_horizontally: false, flip_vertically: false },
        viewport: None,
        magnification: 1.0,
        pixel_aspect: 1.0,
    };

    /// 3 by 2, the level ten times the row plus the column.
    fn numbered() -> DynamicImage {
        GrayImage::from_raw(3, 2, vec![0, 1, 2, 10, 11, 12]).unwrap().into()
    }

    fn placed(layout: Layout) -> (u32, u32, Vec<u8>) {
        let picture = Placement::of(&layout, (3, 2)).unwrap().apply(numbered()).unwrap();
        (picture.width(), picture.height(), picture.into_bytes())
    }

    #[test]
    fn a_region_is_cut_out_w32() {
        let region = Region { left: 1.0, top: 1.0, columns: Some(2.0), rows: Some(9.0) };
        assert_eq!(placed(Layout { region, ..WHOLE }), (2, 1, vec![11, 12]));
        let outside = Region { left: 3.0, ..Region::default() };
        assert!(Placement::of(&Layout { region: outside, ..WHOLE }, (3, 2)).is_err());
    }

    #[test]
    fn turning_comes_before_flipping_w34c() {
        let turned = Orientation { quarter_turns: 1, ..Orientation::default() };
        assert_eq!(placed(Layout { orientation: turned, ..WHOLE }), (2, 3, vec![10, 0, 11, 1, 12, 2]));
        let flipped = Orientation { flip_horizontally: true, ..turned };
        assert_eq!(placed(Layout { orientation: flipped, ..WHOLE }), (2, 3, vec![0, 10, 1, 11, 2, 12]));
    }

    #[test]
    fn points_go_where_their_pixels_go_w34c() {
        for quarter_turns in 0..4 {
            let orientation = Orientation { quarter_turns, flip_horizontally: true, flip_vertically: false };
            let placement = Placement::of(&Layout { orientation, ..WHOLE }, (3, 2)).unwrap();
            let picture = placement.apply(numbered()).unwrap().into_luma8();
            let (x, y) = placement.point(2.5, 1.5);
            assert_eq!(picture.get_pixel(x as u32, y as u32).0, [12], "{quarter_turns}");
        }
    }

    #[test]
    fn a_viewport_is_filled_without_changing_the_aspect_ratio_w32() {
        let size = |columns, rows, pixel_aspect| {
            let viewport = Some(Viewport { columns, rows });
            Placement::of(&Layout { viewport, pixel_aspect, ..WHOLE }, (30, 20)).unwrap().size
        };
        assert_eq!((size(15, 15, 1.0), size(300, 300, 1.0)), ((15, 10), (300, 200)));
        assert_eq!((size(60, 60, 2.0), size(60, 60, 0.5)), ((45, 60), (60, 20)));
        let huge = Some(Viewport { columns: 60_000, rows: 60_000 });
        assert!(Placement::of(&Layout { viewport: huge, ..WHOLE }, (30, 20)).is_err());
    }

    #[test]
    fn pixels_become_square_w34c() {
        let aspect =
            |values: &[(dicom_core::Tag, &str)]| pixel_aspect(&FrameAttributes::new(&object(values), 0));
        assert_eq!(aspect(&[(tags::PIXEL_ASPECT_RATIO, "4\\3")]), 4.0 / 3.0);
        assert_eq!(aspect(&[(tags::PIXEL_SPACING, "0.5\\0.25")]), 2.0);
        assert_eq!(aspect(&[(tags::PIXEL_SPACING, "0.501\\0.5")]), 1.0);
        assert_eq!(aspect(&[(tags::PIXEL_ASPECT_RATIO, "0\\1")]), 1.0);
    }
}
