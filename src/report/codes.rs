//! From words to codes: the model writes words, this module alone writes codes.
//!
//! A row stands in a table only where the code is certain; its source is the comment beside it.
//! Words without a row become a code of our own scheme, `99RADIANT`, that carries the words as
//! its meaning (PS3.16 8.2), and are marked [`Mapping::Unmapped`].

mod finding;
mod site;

use std::borrow::Cow;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::findings::{Certainty, Laterality, Quantity, Severity, Unit};
use super::measure::{Measurand, MeasuredUnit};
use crate::volume::pixel_spacing::SpacingBasis;

/// Coding Scheme Designator of the codes that are ours.
pub const PRIVATE_SCHEME: &str = "99RADIANT";

/// Code Meaning is of VR LO.
const MEANING_MAX: usize = 64;

/// A coded entry, PS3.3 Table 8.8-1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Code {
    pub value: Cow<'static, str>,
    pub scheme: Cow<'static, str>,
    pub meaning: Cow<'static, str>,
}

impl Code {
    const fn new(value: &'static str, scheme: &'static str, meaning: &'static str) -> Self {
        Self { value: Cow::Borrowed(value), scheme: Cow::Borrowed(scheme), meaning: Cow::Borrowed(meaning) }
    }

    pub const fn sct(value: &'static str, meaning: &'static str) -> Self {
        Self::new(value, "SCT", meaning)
    }

    pub const fn dcm(value: &'static str, meaning: &'static str) -> Self {
        Self::new(value, "DCM", meaning)
    }

    pub const fn ln(value: &'static str, meaning: &'static str) -> Self {
        Self::new(value, "LN", meaning)
    }

    pub const fn ucum(value: &'static str, meaning: &'static str) -> Self {
        Self::new(value, "UCUM", meaning)
    }

    pub const fn umls(value: &'static str, meaning: &'static str) -> Self {
        Self::new(value, "UMLS", meaning)
    }

    pub const fn private(value: &'static str, meaning: &'static str) -> Self {
        Self::new(value, PRIVATE_SCHEME, meaning)
    }

    /// A code for free words. Equal words, but for case and spacing, have equal codes.
    fn of_words(words: &str) -> Self {
        let digest = Sha256::digest(normalised(words).as_bytes());
        let value = digest.iter().take(7).fold(String::from("W"), |text, byte| format!("{text}{byte:02X}"));
        Self {
            value: value.into(),
            scheme: PRIVATE_SCHEME.into(),
            meaning: shortened(words, MEANING_MAX).into(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mapping {
    Mapped,
    Unmapped,
}

/// Words and the code they were given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Concept {
    pub code: Code,
    pub mapping: Mapping,
}

impl Concept {
    fn of(row: Option<&Code>, words: &str) -> Self {
        match row {
            Some(code) => Self { code: code.clone(), mapping: Mapping::Mapped },
            None => Self { code: Code::of_words(words), mapping: Mapping::Unmapped },
        }
    }
}

/// One concept and the wordings it is known by, each as [`normalised`] leaves it.
struct Row {
    words: &'static [&'static str],
    code: Code,
}

const fn row(words: &'static [&'static str], code: Code) -> Row {
    Row { words, code }
}

/// By the whole wording: "no effusion" must not find the effusion.
fn look_up(rows: &'static [Row], words: &str) -> Option<&'static Code> {
    rows.iter().find(|row| row.words.contains(&words)).map(|row| &row.code)
}

/// The codes of all findings and sites that have one.
pub fn coded() -> impl Iterator<Item = &'static Code> {
    finding::ROWS.iter().chain(site::ROWS).map(|row| &row.code)
}

/// The codes of all findings that have one.
pub fn coded_findings() -> impl Iterator<Item = &'static Code> {
    finding::ROWS.iter().map(|row| &row.code)
}

/// The finding itself, without its place, side or size.
pub fn finding(words: &str) -> Concept {
    Concept::of(look_up(finding::ROWS, &normalised(words)), words)
}

/// The anatomical site; a side named in the words is left to the laterality.
pub fn site(words: &str) -> Concept {
    let plain = normalised(words);
    let row = look_up(site::ROWS, &plain).or_else(|| look_up(site::ROWS, &without_side(&plain)));
    Concept::of(row, words)
}

fn without_side(words: &str) -> String {
    const SIDES: [&str; 5] = ["the", "left", "right", "bilateral", "both"];
    words.split(' ').filter(|word| !SIDES.contains(word)).collect::<Vec<_>>().join(" ")
}

/// PS3.16 CID 245 Laterality with Median.
pub fn laterality(side: Laterality) -> Option<Code> {
    Some(match side {
        Laterality::Left => Code::sct("7771000", "Left"),
        Laterality::Right => Code::sct("24028007", "Right"),
        Laterality::Bilateral => Code::sct("51440002", "Bilateral"),
        Laterality::Midline => Code::dcm("130290", "Median"),
        Laterality::None => return None,
    })
}

/// How large or how bad: the concept, and its value.
pub fn severity(severity: Severity) -> (Code, Code) {
    match severity {
        // PS3.16 CID 6118, values under TID 4105's Size Descriptor.
        Severity::Small => (Code::dcm("112025", "Size Descriptor"), Code::sct("255507004", "Small")),
        Severity::Large => (Code::dcm("112025", "Size Descriptor"), Code::sct("255509001", "Large")),
        // PS3.16 CID 3716 Severity.
        Severity::Mild => (SEVERITY, Code::sct("255604002", "Mild")),
        Severity::Moderate => (SEVERITY, Code::sct("6736007", "Moderate")),
        Severity::Severe => (SEVERITY, Code::sct("24484000", "Severe")),
    }
}

const SEVERITY: Code = Code::sct("246112005", "Severity");

/// Concept name of [`certainty`]. Our own: the wording of a model is no probability, and
/// (111012, DCM, "Certainty of Finding") is a percentage.
pub const CERTAINTY: Code = Code::private("CERTAINTY", "Certainty, as worded by the model");

pub fn certainty(certainty: Certainty) -> Code {
    match certainty {
        Certainty::Definite => Code::private("DEFINITE", "Definite, as worded by the model"),
        Certainty::Probable => Code::private("PROBABLE", "Probable, as worded by the model"),
        Certainty::Possible => Code::private("POSSIBLE", "Possible, as worded by the model"),
        // PS3.16 CID 240 Present-Absent.
        Certainty::Absent => Code::sct("272519000", "Absent"),
    }
}

/// Concept name of [`certainty_of_reader`].
pub const CERTAINTY_OF_READER: Code = Code::private("CERTAINTYREADER", "Certainty, as worded by the reader");

/// As [`certainty`], of a person who answers for the words.
pub fn certainty_of_reader(certainty: Certainty) -> Code {
    match certainty {
        Certainty::Definite => Code::private("DEFINITEREADER", "Definite, as worded by the reader"),
        Certainty::Probable => Code::private("PROBABLEREADER", "Probable, as worded by the reader"),
        Certainty::Possible => Code::private("POSSIBLEREADER", "Possible, as worded by the reader"),
        Certainty::Absent => Code::sct("272519000", "Absent"),
    }
}

/// PS3.16 CID 5000 is RFC 5646 as a whole; the meaning is the English name where it is known here.
pub fn language(tag: &str) -> Code {
    let primary = tag.split('-').next().unwrap_or(tag).to_ascii_lowercase();
    let meaning = match primary.as_str() {
        "ar" => "Arabic",
        "de" => "German",
        "en" => "English",
        "es" => "Spanish",
        "fr" => "French",
        "hi" => "Hindi",
        "it" => "Italian",
        "ja" => "Japanese",
        "ko" => "Korean",
        "pt" => "Portuguese",
        "ru" => "Russian",
        "uk" => "Ukrainian",
        "zh" => "Chinese",
        _ => tag,
    };
    Code { value: tag.to_owned().into(), scheme: "RFC5646".into(), meaning: meaning.to_owned().into() }
}

pub fn quantity(quantity: Quantity) -> Code {
    match quantity {
        // PS3.16 CID 7470 Linear Measurements.
        Quantity::Diameter => Code::sct("81827009", "Diameter"),
        Quantity::LongAxis => Code::sct("103339001", "Long axis"),
        Quantity::ShortAxis => Code::sct("103340004", "Short axis"),
        // No general row for a thickness in PS3.16.
        Quantity::Thickness => Code::private("THICKNESS", "Thickness"),
        // PS3.16 CID 12303.
        Quantity::Ratio => Code::sct("118586006", "Ratio"),
        // PS3.16 CID 6141.
        Quantity::Attenuation => Code::dcm("112031", "Attenuation Coefficient"),
        // PS3.16 CID 7472 Volume Measurements.
        Quantity::Volume => Code::sct("118565006", "Volume"),
    }
}

/// What a number taken on a region is, and how it sums up the pixels (PS3.16 TID 1419).
pub fn measurand(measurand: Measurand) -> (Code, Option<Code>) {
    // PS3.16 CID 6141, with the modifiers of CID 7464.
    let attenuation = |derivation| (Code::dcm("112031", "Attenuation Coefficient"), Some(derivation));
    match measurand {
        // PS3.16 CID 7470 Linear Measurements.
        Measurand::Height => (Code::dcm("121207", "Height"), None),
        Measurand::Width => (Code::sct("103355008", "Width"), None),
        Measurand::LongAxis => (Code::sct("103339001", "Long axis"), None),
        Measurand::ShortAxis => (Code::sct("103340004", "Short axis"), None),
        // PS3.16 CID 7471 Area Measurements.
        Measurand::Area => (Code::sct("42798000", "Area"), None),
        Measurand::AttenuationMean => attenuation(Code::sct("373098007", "Mean")),
        Measurand::AttenuationStandardDeviation => attenuation(Code::sct("386136009", "Standard Deviation")),
        Measurand::AttenuationMinimum => attenuation(Code::sct("255605001", "Minimum")),
        Measurand::AttenuationMaximum => attenuation(Code::sct("56851009", "Maximum")),
    }
}

/// How a number was taken on a region, and by which spacing. Our own: PS3.16 has no code for a
/// method that says where the size of a pixel is from.
pub fn measuring(spacing: Option<SpacingBasis>) -> Code {
    let Some(basis) = spacing else { return Code::private("RGNVALUES", "Pixel values in the region") };
    let (value, meaning) = match basis {
        SpacingBasis::PixelSpacing => ("RGNPIXSPACING", "Region, by Pixel Spacing"),
        SpacingBasis::GeometryCalibration => {
            ("RGNGEOMETRY", "Region, by Pixel Spacing calibrated by GEOMETRY")
        }
        SpacingBasis::FiducialCalibration => {
            ("RGNFIDUCIAL", "Region, by Pixel Spacing calibrated by FIDUCIAL")
        }
        SpacingBasis::UnstatedCalibration => {
            ("RGNUNSTATED", "Region, by Pixel Spacing of unstated calibration")
        }
        SpacingBasis::ImagerPixelSpacing => {
            ("RGNIMAGER", "Region at detector, by Imager Pixel Spacing, magnified")
        }
        SpacingBasis::NominalScannedPixelSpacing => {
            ("RGNSCANNED", "Region on film, by Nominal Scanned Pixel Spacing")
        }
        SpacingBasis::UltrasoundRegion => ("RGNULTRASOUND", "Region, by Ultrasound Region Calibration"),
    };
    Code::private(value, meaning)
}

pub fn measured_unit(unit: MeasuredUnit) -> Code {
    match unit {
        MeasuredUnit::Millimetre => self::unit(Unit::Millimetre),
        // PS3.16 CID 7461.
        MeasuredUnit::SquareMillimetre => Code::ucum("mm2", "mm2"),
        MeasuredUnit::Hounsfield => self::unit(Unit::Hounsfield),
    }
}

/// PS3.16 CID 7181 and CID 7460.
pub fn unit(unit: Unit) -> Code {
    match unit {
        Unit::Millimetre => Code::ucum("mm", "mm"),
        Unit::Centimetre => Code::ucum("cm", "cm"),
        Unit::Hounsfield => Code::ucum("[hnsf'U]", "Hounsfield unit"),
        Unit::Millilitre => Code::ucum("mL", "mL"),
        Unit::One => Code::ucum("1", "no units"),
        Unit::Percent => Code::ucum("%", "Percent"),
    }
}

/// What was done to the patient, by modality: PS3.16 CID 100.
pub fn procedure(modality: &str) -> Code {
    match modality {
        "CR" | "DX" | "RG" => Code::ln("43468-8", "XR unspecified body region"),
        "CT" => Code::ln("25045-6", "CT unspecified body region"),
        "MR" => Code::ln("25056-3", "MRI unspecified body region"),
        "NM" => Code::ln("49118-3", "NM unspecified body region"),
        "PT" => Code::ln("44136-0", "PET unspecified body region"),
        _ => Code::sct("363679005", "Imaging procedure"),
    }
}

/// PS3.16 CID 29 Acquisition Modality, the ones that are analysed.
pub fn modality(modality: &str) -> Option<Code> {
    Some(match modality {
        "CR" => Code::dcm("CR", "Computed Radiography"),
        "DX" => Code::dcm("DX", "Digital Radiography"),
        "RG" => Code::dcm("RG", "Radiographic imaging"),
        "CT" => Code::dcm("CT", "Computed Tomography"),
        "MR" => Code::dcm("MR", "Magnetic Resonance"),
        "MG" => Code::dcm("MG", "Mammography"),
        "US" => Code::dcm("US", "Ultrasound"),
        _ => return None,
    })
}

/// Lower case, letters and digits in single-spaced words.
fn normalised(words: &str) -> String {
    let letters = |c: char| if c.is_alphanumeric() { c } else { ' ' };
    let plain: String = words.to_lowercase().chars().map(letters).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// At most `max` characters, an ellipsis in place of what is left out.
pub(super) fn shortened(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(concept: Concept, value: &str, scheme: &str) {
        assert_eq!((concept.code.value.as_ref(), concept.code.scheme.as_ref()), (value, scheme));
    }

    #[test]
    fn known_words_get_their_code() {
        check(finding("Pleural effusion"), "60046008", "SCT");
        check(finding("pulmonary  nodules"), "27925004", "SCT");
        check(finding("ground-glass opacity"), "112120", "DCM");
        check(site("left lower lobe"), "90572001", "SCT");
        check(site("upper lung zone"), "281392002", "SCT");
        check(site("Right middle lobe of the lung"), "72481006", "SCT");
        check(site("right atrium"), "73829009", "SCT");
    }

    #[test]
    fn unknown_words_keep_their_meaning_and_one_code() {
        let concept = finding("Shmoo sign");
        assert_eq!(concept.mapping, Mapping::Unmapped);
        assert_eq!(
            (concept.code.scheme.as_ref(), concept.code.meaning.as_ref()),
            ("99RADIANT", "Shmoo sign")
        );
        assert_eq!(concept.code.value, finding("shmoo  sign").code.value);
        assert_ne!(concept.code.value, finding("shmoo signs").code.value);
        assert!(concept.code.value.len() <= 16);
    }

    #[test]
    fn a_long_wording_fits_the_meaning() {
        let concept = finding(&"é".repeat(120));
        assert_eq!(concept.code.meaning.chars().count(), MEANING_MAX);
    }

    #[test]
    fn a_wording_that_denies_is_not_mapped_to_what_it_denies() {
        assert_eq!(finding("no pleural effusion").mapping, Mapping::Unmapped);
    }

    #[test]
    fn tables_have_no_word_twice() {
        for rows in [finding::ROWS, site::ROWS] {
            let words: Vec<&str> = rows.iter().flat_map(|row| row.words).copied().collect();
            let unique: std::collections::HashSet<&str> = words.iter().copied().collect();
            assert_eq!(unique.len(), words.len());
            assert!(words.iter().all(|word| normalised(word) == *word));
        }
    }
}
