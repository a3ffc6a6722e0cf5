//! Which slices of a stack, and which of several series, a model is shown.

use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

use super::attributes::{text, texts};
use super::description::VolumeDescription;
use super::geometry::AnatomicalPlane;
use super::series::Stacks;

/// At most `max` of `n` slices, evenly spread: all of them if they are no more than `max`, else
/// number `round(i / max * (n - 1))` for i from 1 to `max`. The last slice is among them, the
/// first is not. This is the rule the model's makers published their CT results with.
pub fn select(n: usize, max: usize) -> Vec<usize> {
    if n <= max {
        return (0..n).collect();
    }
    let at = |i: usize| (i as f64 / max as f64 * (n - 1) as f64).round_ties_even() as usize;
    (1..=max).map(at).collect()
}

/// One series that could be analysed.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesCandidate {
    /// Its largest stack; `None` when it has none.
    pub volume: Option<VolumeDescription>,
    /// Image Type of its frames: ORIGINAL or DERIVED, PRIMARY or SECONDARY, …
    pub image_type: Vec<String>,
    pub secondary_capture: bool,
    pub series_description: Option<String>,
    pub convolution_kernel: Option<String>,
}

impl SeriesCandidate {
    /// A series by the attributes of any of its instances and its frames sorted into stacks.
    pub fn of(object: &InMemDicomObject, stacks: &Stacks) -> Self {
        let sop_class = text(object, tags::SOP_CLASS_UID).unwrap_or_default();
        Self {
            volume: stacks.stacks.first().map(VolumeDescription::of),
            image_type: texts(object, tags::IMAGE_TYPE),
            secondary_capture: SECONDARY_CAPTURES.contains(&sop_class.as_str()),
            series_description: text(object, tags::SERIES_DESCRIPTION),
            convolution_kernel: text(object, tags::CONVOLUTION_KERNEL),
        }
    }
}

const SECONDARY_CAPTURES: [&str; 5] = [
    uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_SINGLE_BIT_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_GRAYSCALE_BYTE_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_GRAYSCALE_WORD_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_TRUE_COLOR_SECONDARY_CAPTURE_IMAGE_STORAGE,
];

/// Why a series is not chosen at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    #[error("secondary capture")]
    SecondaryCapture,
    #[error("localizer")]
    Localizer,
    #[error("no stack of slices")]
    NoStack,
    #[error("fewer than {SLICES_MIN} slices")]
    TooFewSlices,
}

/// A stack of fewer slices is a scout or a key image.
pub const SLICES_MIN: usize = 3;

/// The outcome over all candidates, by their index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub chosen: Option<usize>,
    /// One sentence for the decision record.
    pub reason: String,
    pub skipped: Vec<(usize, SkipReason)>,
}

/// Chooses the series to analyse. Axial goes before other planes, original before derived, a body
/// covered in 5 cm steps farther before less far, soft kernels before sharp ones, thin slices
/// before thick ones, and an earlier candidate before a later equal one.
pub fn choose(candidates: &[SeriesCandidate]) -> Choice {
    let mut skipped = Vec::new();
    let mut best: Option<(usize, Rank)> = None;
    for (index, candidate) in candidates.iter().enumerate() {
        match Rank::of(candidate) {
            Err(reason) => skipped.push((index, reason)),
            Ok(rank) if best.as_ref().is_none_or(|(_, found)| rank > *found) => best = Some((index, rank)),
            Ok(_) => {}
        }
    }
    let reason = match &best {
        Some((_, rank)) => format!("{rank}, best of {} usable series", candidates.len() - skipped.len()),
        None => format!("none of {} series is a usable stack", candidates.len()),
    };
    Choice { chosen: best.map(|(index, _)| index), reason, skipped }
}

/// Fields in order of weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    axial: bool,
    original: bool,
    extent_5_cm: u64,
    soft: bool,
    thinness: i64,
}

impl Rank {
    fn of(candidate: &SeriesCandidate) -> Result<Self, SkipReason> {
        let has_type = |wanted: &str| candidate.image_type.iter().any(|value| value == wanted);
        let volume = match &candidate.volume {
            _ if candidate.secondary_capture => return Err(SkipReason::SecondaryCapture),
            _ if has_type("LOCALIZER") => return Err(SkipReason::Localizer),
            None => return Err(SkipReason::NoStack),
            Some(volume) if volume.slices < SLICES_MIN => return Err(SkipReason::TooFewSlices),
            Some(volume) => volume,
        };
        let thickness_mm = volume.thickness_mm.unwrap_or(volume.geometry.spacing_mm[0]);
        Ok(Self {
            axial: volume.plane == AnatomicalPlane::Axial,
            original: !has_type("DERIVED"),
            extent_5_cm: (volume.extent_mm() / 50.0) as u64,
            soft: !is_sharp(candidate),
            thinness: -((thickness_mm * 10.0) as i64),
        })
    }
}

impl std::fmt::Display for Rank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plane = if self.axial { "axial" } else { "not axial" };
        let origin = if self.original { "original" } else { "derived" };
        let kernel = if self.soft { "soft" } else { "sharp" };
        let (extent, thickness) = (self.extent_5_cm * 5, -self.thinness as f64 / 10.0);
        write!(f, "{plane}, {origin}, at least {extent} cm, {kernel} kernel, slices of {thickness} mm")
    }
}

/// Lung and bone reconstructions, by the makers' kernel names or the series' own words.
fn is_sharp(candidate: &SeriesCandidate) -> bool {
    let upper = |value: &Option<String>| value.as_deref().unwrap_or_default().to_uppercase();
    let (kernel, description) = (upper(&candidate.convolution_kernel), upper(&candidate.series_description));
    let says_sharp = |words: &str| ["LUNG", "BONE", "EDGE", "SHARP"].iter().any(|word| words.contains(word));
    says_sharp(&kernel) || says_sharp(&description) || is_sharp_kernel(&kernel)
}

/// Siemens counts sharpness up in its kernels' numbers (B30f soft, B70f sharp), Canon keeps body
/// kernels below FC30; Philips calls its sharp ones D, E, L and YC to YE.
fn is_sharp_kernel(kernel: &str) -> bool {
    let letters: String = kernel.chars().take_while(char::is_ascii_alphabetic).collect();
    let digits: String = kernel[letters.len()..].chars().take_while(char::is_ascii_digit).collect();
    match (letters.as_str(), digits.parse::<u32>()) {
        ("FC", Ok(number)) => number >= 30,
        (_, Ok(number)) => number >= 50,
        (name, Err(_)) => ["D", "E", "L", "YC", "YD", "YE"].contains(&name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::functional_groups::FrameAttributes;
    use crate::volume::series::{SliceFrame, stacks};
    use crate::volume::testing::{object, slice};

    #[test]
    fn few_slices_are_all_taken() {
        assert_eq!(select(3, 3), [0, 1, 2]);
        assert_eq!(select(0, 85), [0; 0]);
    }

    #[test]
    fn many_slices_start_after_the_first_and_end_with_the_last() {
        let chosen = select(300, 85);
        assert_eq!((chosen.len(), chosen[0], chosen[1], chosen[84]), (85, 4, 7, 299));
        assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
    }

    fn candidate(slices: usize, step_mm: f64) -> SeriesCandidate {
        let frame = |at: usize| SliceFrame::of(&FrameAttributes::new(&slice(at as f64 * step_mm), 0), 0);
        let frames: Vec<_> = (0..slices).map(frame).collect();
        let attributes = object(&[(tags::IMAGE_TYPE, "ORIGINAL\\PRIMARY\\AXIAL")]);
        SeriesCandidate::of(&attributes, &stacks(&frames))
    }

    #[test]
    fn a_candidate_is_read_from_its_attributes() {
        let attributes = object(&[
            (tags::SOP_CLASS_UID, uids::SECONDARY_CAPTURE_IMAGE_STORAGE),
            (tags::CONVOLUTION_KERNEL, "B70f"),
        ]);
        let candidate = SeriesCandidate::of(&attributes, &Stacks::default());
        assert!(candidate.secondary_capture && candidate.volume.is_none() && is_sharp(&candidate));
    }

    fn kernel(name: &str, candidate: SeriesCandidate) -> SeriesCandidate {
        SeriesCandidate { convolution_kernel: Some(name.into()), ..candidate }
    }

    #[test]
    fn the_stack_that_covers_most_wins() {
        assert_eq!(choose(&[candidate(20, 2.0), candidate(60, 5.0), candidate(90, 1.0)]).chosen, Some(1));
    }

    #[test]
    fn of_equal_cover_soft_goes_before_thin_and_thin_before_thick() {
        let series = [kernel("B70f", candidate(301, 1.0)), kernel("B30f", candidate(61, 5.0))];
        assert_eq!(choose(&series).chosen, Some(1));
        assert_eq!(choose(&[candidate(61, 5.0), candidate(301, 1.0)]).chosen, Some(1));
    }

    #[test]
    fn axial_goes_before_more_of_another_plane() {
        let coronal = SeriesCandidate {
            volume: candidate(200, 2.0)
                .volume
                .map(|v| VolumeDescription { plane: AnatomicalPlane::Coronal, ..v }),
            ..candidate(3, 1.0)
        };
        let choice = choose(&[coronal, candidate(20, 2.0)]);
        assert_eq!(choice.chosen, Some(1));
        assert!(choice.reason.starts_with("axial, original"), "{}", choice.reason);
    }

    #[test]
    fn what_cannot_be_analysed_is_skipped_with_its_reason() {
        let localizer = SeriesCandidate { image_type: vec!["LOCALIZER".into()], ..candidate(5, 1.0) };
        let capture = SeriesCandidate { secondary_capture: true, ..candidate(5, 1.0) };
        let flat = SeriesCandidate { volume: None, ..candidate(5, 1.0) };
        let choice = choose(&[localizer, capture, flat, candidate(2, 1.0)]);
        let reasons: Vec<_> = choice.skipped.iter().map(|(_, reason)| *reason).collect();
        assert_eq!(choice.chosen, None);
        assert_eq!(
            reasons,
            [
                SkipReason::Localizer,
                SkipReason::SecondaryCapture,
                SkipReason::NoStack,
                SkipReason::TooFewSlices
            ]
        );
    }

    #[test]
    fn kernels_of_four_makers() {
        let sharp = |name| is_sharp(&kernel(name, candidate(3, 1.0)));
        assert!(["LUNG", "BONEPLUS", "B70f", "Bl57d", "FC51", "L", "YC"].into_iter().all(sharp));
        assert!(!["STANDARD", "SOFT", "B30f", "Br40d", "FC08", "B", "YA"].into_iter().any(sharp));
    }
}
