//! Pictures in the size that models see, the same whether the model runs here or elsewhere.
//!
//! The resize is the reference's: bilinear with a filter as wide as the reduction (no aliasing),
//! rounded to 8 bits after each pass, aspect ratio not kept.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::RgbImage;

/// `side * side * 3` bytes, row by row.
pub fn resize(image: &RgbImage, side: u32) -> Result<Vec<u8>, String> {
    let length = image.width as usize * image.height as usize * 3;
    if length == 0 || image.data.len() != length {
        return Err(format!(
            "an image of {} x {} pixels holds {} bytes",
            image.width,
            image.height,
            image.data.len()
        ));
    }
    let source = ImageRef::new(image.width, image.height, &image.data, PixelType::U8x3)
        .map_err(|error| error.to_string())?;
    let mut target = Image::new(side, side, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize(&source, &mut target, Some(&options)).map_err(|error| error.to_string())?;
    Ok(target.into_vec())
}
