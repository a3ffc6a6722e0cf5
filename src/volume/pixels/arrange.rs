//! From a codec's words to the arrays of a [`Frame`](super::Frame).

use ndarray::{Array2, Array3, ShapeBuilder};

use super::codec::{ColorSpace, Decoded, Depth, Layout, Words};
use super::color::{Ybr, split_422};
use super::{ImageDescription, Palette, Photometric, PixelError, Samples};

pub(super) fn arrange(image: &ImageDescription, decoded: Decoded) -> Result<Samples, PixelError> {
    match (&image.palette, image.samples_per_pixel) {
        (Some(palette), _) => through_palette(image, palette, decoded),
        (None, 1) => gray(image, decoded),
        (None, _) => color(image, decoded),
    }
}

fn gray(image: &ImageDescription, decoded: Decoded) -> Result<Samples, PixelError> {
    let Decoded { words, depth, .. } = decoded;
    let wide = !depth.signed && depth.bits == 32;
    match words {
        Words::U32(words) if wide => Ok(Samples::WideGray(plane(image, words)?)),
        words => Ok(Samples::Gray(plane(image, stored_values(words, depth))?)),
    }
}

/// Drops unused high and low bits, then extends the sign.
fn stored_values(words: Words, depth: Depth) -> Vec<i32> {
    match words {
        Words::U8(words) => values_of(&words, depth),
        Words::U16(words) => values_of(&words, depth),
        Words::U32(words) => values_of(&words, depth),
    }
}

/// One loop for each sign, so that neither looks for it at every sample.
fn values_of<W: Copy + Into<u32>>(words: &[W], depth: Depth) -> Vec<i32> {
    let (above, below) = (31 - depth.high_bit, 32 - depth.bits);
    let at_top = |word: &W| (*word).into() << above;
    match depth.signed {
        true => words.iter().map(|word| at_top(word).cast_signed() >> below).collect(),
        false => words.iter().map(|word| (at_top(word) >> below).cast_signed()).collect(),
    }
}

fn through_palette(
    image: &ImageDescription,
    palette: &Palette,
    decoded: Decoded,
) -> Result<Samples, PixelError> {
    let indices = stored_values(decoded.words, decoded.depth);
    let levels = indices.into_iter().take(image.pixels()).flat_map(|index| palette.color(index)).collect();
    Ok(Samples::Rgb(cube(image, Layout::ByPixel, levels)?))
}

fn color(image: &ImageDescription, decoded: Decoded) -> Result<Samples, PixelError> {
    let ybr = ybr(image.photometric, decoded.space);
    match (decoded.words, ybr) {
        (Words::U8(levels), Some(ybr)) if decoded.layout == Layout::Subsampled422 => {
            let pixels =
                levels.chunks_exact(4).flat_map(|quad| split_422([quad[0], quad[1], quad[2], quad[3]]));
            let rgb = pixels.flat_map(|pixel| ybr.to_rgb(pixel)).collect();
            Ok(Samples::Rgb(cube(image, Layout::ByPixel, rgb)?))
        }
        (words, ybr) if decoded.depth.bits > 8 => {
            deep_color(image, words, decoded.layout, decoded.depth, ybr)
        }
        (words, ybr) => {
            let mut rgb = cube(image, decoded.layout, levels(words, decoded.depth))?;
            if let Some(ybr) = ybr {
                to_rgb(&mut rgb, ybr);
            }
            Ok(Samples::Rgb(rgb))
        }
    }
}

/// Samples of at most 8 bits, stretched to full scale.
fn levels(words: Words, depth: Depth) -> Vec<u8> {
    match words {
        Words::U8(levels) if (depth.bits, depth.high_bit) == (8, 7) => levels,
        words => {
            let values = stored_values(words, Depth { signed: false, ..depth });
            values.into_iter().map(|level| full_scale(level, depth.bits)).collect()
        }
    }
}

/// How the samples are YCbCr, if they are.
pub(super) fn ybr(photometric: Photometric, space: ColorSpace) -> Option<Ybr> {
    match space {
        ColorSpace::Rgb => None,
        ColorSpace::YCbCr => Ybr::of(photometric).or(Some(Ybr::Full)),
        ColorSpace::AsDescribed => Ybr::of(photometric),
    }
}

/// Fewer than 8 stored bits are stretched to the 8 that a display expects.
fn full_scale(level: i32, bits: u16) -> u8 {
    match bits {
        8 => level as u8,
        bits => (level * 255 / ((1 << bits) - 1)) as u8,
    }
}

fn to_rgb(pixels: &mut Array3<u8>, ybr: Ybr) {
    for mut pixel in pixels.rows_mut() {
        let rgb = ybr.to_rgb([pixel[0], pixel[1], pixel[2]]);
        pixel.iter_mut().zip(rgb).for_each(|(level, new)| *level = new);
    }
}

fn deep_color(
    image: &ImageDescription,
    words: Words,
    layout: Layout,
    depth: Depth,
    ybr: Option<Ybr>,
) -> Result<Samples, PixelError> {
    if ybr.is_some() {
        return Err(PixelError::unsupported("Bits Stored of a YBR image", depth.bits));
    }
    let words = match words {
        Words::U8(words) => words.into_iter().map(u32::from).collect(),
        Words::U16(words) => words.into_iter().map(u32::from).collect(),
        Words::U32(words) => words,
    };
    Ok(Samples::DeepRgb { bits: depth.bits, values: cube(image, layout, words)? })
}

fn plane<T>(image: &ImageDescription, mut words: Vec<T>) -> Result<Array2<T>, PixelError> {
    let (found, needed) = (words.len(), image.pixels());
    words.truncate(needed);
    Array2::from_shape_vec((image.rows, image.columns), words)
        .map_err(|_| PixelError::Truncated { found, needed })
}

fn cube<T: Clone>(
    image: &ImageDescription,
    layout: Layout,
    mut words: Vec<T>,
) -> Result<Array3<T>, PixelError> {
    let (found, needed) = (words.len(), image.pixels() * 3);
    words.truncate(needed);
    let shape = (image.rows, image.columns, 3);
    let cube = match layout {
        Layout::ByPlane => Array3::from_shape_vec(shape.strides((image.columns, 1, image.pixels())), words),
        Layout::ByPixel | Layout::Subsampled422 => Array3::from_shape_vec(shape, words),
    };
    let cube = cube.map_err(|_| PixelError::Truncated { found, needed })?;
    Ok(cube.as_standard_layout().into_owned())
}
