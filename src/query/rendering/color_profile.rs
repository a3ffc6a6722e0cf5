//! ICC profiles of pictures (PS3.18 8.3.5.1.5): the one of the image out, the one asked for in.

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use image::RgbImage;
use moxcms::{CmsError, Layout, TransformOptions};

/// What the client wants to have in the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColorProfile {
    /// No profile: colours are sRGB, which is what a viewer takes a bare picture for.
    #[default]
    None,
    /// The profile of the image, its colours unchanged; sRGB where it has none.
    OfImage,
    Srgb,
    AdobeRgb,
    /// ROMM RGB, ISO 22028-2.
    RommRgb,
}

/// Larger ones are not read.
const PROFILE_BYTES_MAX: usize = 4 << 20;

/// Brings the colours of `picture` to the space that is asked for, and answers with the profile to
/// embed.
pub(super) fn apply(
    wanted: ColorProfile,
    attributes: &InMemDicomObject,
    picture: &mut RgbImage,
) -> Result<Option<Vec<u8>>, CmsError> {
    let own = embedded(attributes);
    let target = match (wanted, &own) {
        (ColorProfile::None, None) => return Ok(None),
        (ColorProfile::OfImage, Some((bytes, _))) => return Ok(Some(bytes.clone())),
        (ColorProfile::None | ColorProfile::OfImage | ColorProfile::Srgb, _) => {
            moxcms::ColorProfile::new_srgb()
        }
        (ColorProfile::AdobeRgb, _) => moxcms::ColorProfile::new_adobe_rgb(),
        (ColorProfile::RommRgb, _) => moxcms::ColorProfile::new_pro_photo_rgb(),
    };
    let source = own.map_or_else(moxcms::ColorProfile::new_srgb, |(_, profile)| profile);
    convert(&source, &target, picture)?;
    if wanted == ColorProfile::None { Ok(None) } else { target.encode().map(Some) }
}

/// An input profile for RGB; any other, and one that cannot be read, says nothing about the colours.
fn embedded(attributes: &InMemDicomObject) -> Option<(Vec<u8>, moxcms::ColorProfile)> {
    let item = crate::volume::attributes::items(attributes, tags::OPTICAL_PATH_SEQUENCE).first();
    let at = |object: &InMemDicomObject| object.get(tags::ICC_PROFILE).cloned();
    let element = at(attributes).or_else(|| item.and_then(at))?;
    let bytes = element.to_bytes().ok()?.into_owned();
    let readable = (1..=PROFILE_BYTES_MAX).contains(&bytes.len());
    let profile = readable.then(|| moxcms::ColorProfile::new_from_slice(&bytes).ok()).flatten()?;
    (profile.color_space == moxcms::DataColorSpace::Rgb).then_some((bytes, profile))
}

fn convert(
    source: &moxcms::ColorProfile,
    target: &moxcms::ColorProfile,
    picture: &mut RgbImage,
) -> Result<(), CmsError> {
    let transform =
        source.create_transform_8bit(Layout::Rgb, target, Layout::Rgb, TransformOptions::default())?;
    let before = picture.as_raw().clone();
    transform.transform(&before, picture)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_core::{DataElement, PrimitiveValue, VR};

    fn with_profile(profile: &moxcms::ColorProfile) -> InMemDicomObject {
        let bytes = profile.encode().unwrap();
        let element = DataElement::new(tags::ICC_PROFILE, VR::OB, PrimitiveValue::from(bytes));
        InMemDicomObject::from_element_iter([element])
    }

    fn applied(wanted: ColorProfile, attributes: &InMemDicomObject) -> ([u8; 3], Option<Vec<u8>>) {
        let mut picture = RgbImage::from_pixel(1, 1, image::Rgb([0, 200, 0]));
        let profile = apply(wanted, attributes, &mut picture).unwrap();
        (picture.get_pixel(0, 0).0, profile)
    }

    #[test]
    fn a_picture_without_profiles_is_left_alone_w33c() {
        assert_eq!(applied(ColorProfile::None, &InMemDicomObject::new_empty()), ([0, 200, 0], None));
    }

    #[test]
    fn colors_of_the_image_become_srgb_w33c() {
        let (color, profile) =
            applied(ColorProfile::None, &with_profile(&moxcms::ColorProfile::new_adobe_rgb()));
        assert!(color[0] < 5 && color[1] > 200 && profile.is_none(), "{color:?}");
    }

    #[test]
    fn the_profile_of_the_image_goes_with_its_colors_w33c() {
        let attributes = with_profile(&moxcms::ColorProfile::new_adobe_rgb());
        let (color, profile) = applied(ColorProfile::OfImage, &attributes);
        let own = attributes.get(tags::ICC_PROFILE).unwrap().to_bytes().unwrap().into_owned();
        assert_eq!((color, profile), ([0, 200, 0], Some(own)));
    }

    #[test]
    fn a_named_space_is_converted_to_and_embedded_w33c() {
        for wanted in [ColorProfile::Srgb, ColorProfile::AdobeRgb, ColorProfile::RommRgb] {
            let (color, profile) = applied(wanted, &InMemDicomObject::new_empty());
            assert!(moxcms::ColorProfile::new_from_slice(&profile.unwrap()).is_ok());
            assert_eq!(color == [0, 200, 0], wanted == ColorProfile::Srgb, "{wanted:?} {color:?}");
        }
    }
}
