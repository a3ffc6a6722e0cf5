//! From an RGB image to the pixels the vision tower takes.
//!
//! Padding is the caller's business.

use candle_core::{Device, Tensor};

use crate::ai::resize::resize;
use crate::ai::{EngineError, RgbImage};

/// `[3, side, side]`, each value in -1 to 1.
pub(super) fn pixels(image: &RgbImage, side: usize, device: &Device) -> Result<Tensor, EngineError> {
    let resized = resize(image, side as u32).map_err(EngineError::Forward)?;
    let values: Vec<f32> = resized.into_iter().map(|level| (f32::from(level) / 255.0 - 0.5) / 0.5).collect();
    let rows = Tensor::from_vec(values, (side, side, 3), &Device::Cpu)?;
    Ok(rows.permute((2, 0, 1))?.contiguous()?.to_device(device)?)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn resized_pixels_are_those_of_the_reference() {
        let golden = fixture::golden();
        for n in 0..3 {
            let ours = resize(&golden.picture(n), 96).unwrap();
            let theirs = golden.bytes(&format!("resized_{n}"));
            let farthest = ours.iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(farthest <= Some(1), "picture {n} differs by {farthest:?} levels");
        }
    }

    #[test]
    fn levels_become_minus_one_to_one_channel_by_channel() {
        let image = RgbImage { width: 1, height: 1, data: vec![0, 255, 51] };
        let pixels =
            pixels(&image, 2, &Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let expected = [-1.0, -1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0, -0.6, -0.6, -0.6, -0.6];
        assert!(pixels.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{pixels:?}");
    }

    #[test]
    fn an_image_with_too_few_bytes_is_refused() {
        let image = RgbImage { width: 4, height: 4, data: vec![0; 47] };
        assert!(resize(&image, 8).unwrap_err().contains("47 bytes"));
        assert!(resize(&RgbImage { width: 0, height: 4, data: vec![] }, 8).is_err());
    }
}
