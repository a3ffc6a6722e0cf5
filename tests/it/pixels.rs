//! Decoded pixels against pydicom's, for the test files of pydicom and pydicom-data.
//!
//! The files are not part of this repository: `conformance/pixels/run.sh` finds them, sets
//! `RADIANT_PYDICOM_FILES` and runs the ignored test here by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_object::{DefaultDicomObject, open_file};
use radiant::volume::pixels::{EncodedFrame, Frame, HeldIn, ImageDescription, STACK_BYTES, Samples, decode};
use sha2::{Digest, Sha256};

#[derive(serde::Deserialize)]
struct Golden {
    frames: usize,
    kind: String,
    rows: usize,
    columns: usize,
    sha256: Option<String>,
    probes: Option<Vec<i64>>,
}

/// How far a lossy decoder may be from another: the rounding of the inverse transform, of the
/// enlarged chroma and of the colour conversion.
const LOSSY_TOLERANCE: i64 = 2;

#[test]
#[ignore = "needs pydicom's files: run conformance/pixels/run.sh"]
fn decoded_pixels_are_those_of_pydicom() {
    let folders = std::env::var("RADIANT_PYDICOM_FILES")
        .expect("RADIANT_PYDICOM_FILES names the folders of pydicom's test files, separated by colons");
    let golden: BTreeMap<String, Golden> = serde_json::from_str(include_str!("golden/pixels.json")).unwrap();
    let on_known_stack =
        std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || differences(&folders, &golden));
    let (compared, differences) = on_known_stack.unwrap().join().unwrap();
    println!("{} of {compared} files decode as in pydicom", compared - differences.len());
    assert!(differences.is_empty(), "{differences:#?}");
}

fn differences(folders: &str, golden: &BTreeMap<String, Golden>) -> (usize, Vec<String>) {
    let find = |name: &String| {
        let mut places = folders.split(':').map(|folder| Path::new(folder).join(name));
        places.find(|path| path.is_file()).ok_or_else(|| "no such file".to_owned())
    };
    let outcome = |(name, golden): (&String, &Golden)| {
        let compared = find(name).and_then(|path| compare(path, golden));
        compared.err().map(|why| format!("{name}: {why}"))
    };
    (golden.len(), golden.iter().filter_map(outcome).collect())
}

fn compare(path: PathBuf, golden: &Golden) -> Result<(), String> {
    let object = open_file(path).map_err(|error| error.to_string())?;
    let frames = (0..golden.frames)
        .map(|index| frame(&object, golden.frames, index))
        .collect::<Result<Vec<_>, _>>()?;
    let first = &frames[0];
    let found = (kind(first), first.rows, first.columns);
    if found != (golden.kind.as_str(), golden.rows, golden.columns) {
        return Err(format!("{found:?}"));
    }
    match (&golden.sha256, &golden.probes) {
        (Some(digest), _) => same_digest(&frames, digest),
        (None, probes) => close(first, probes.as_deref().unwrap_or_default()),
    }
}

fn frame(object: &DefaultDicomObject, frames: usize, index: usize) -> Result<Frame, String> {
    let image = ImageDescription::from_object(object).map_err(|error| error.to_string())?;
    let bytes = frame_bytes(object, frames, index).ok_or("no bytes")?;
    let held_in = if is_words(object) { HeldIn::Words } else { HeldIn::Bytes };
    let encoded = EncodedFrame { held_in, ..EncodedFrame::new(object.meta().transfer_syntax(), &bytes) };
    decode(&image, encoded).map_err(|error| error.to_string())
}

fn is_words(object: &DefaultDicomObject) -> bool {
    object.get(tags::PIXEL_DATA).is_some_and(|element| element.vr() == VR::OW)
}

fn frame_bytes(object: &DefaultDicomObject, frames: usize, index: usize) -> Option<Vec<u8>> {
    let value = object.get(tags::PIXEL_DATA)?.value();
    match value.fragments() {
        Some(fragments) if frames == 1 => Some(fragments.concat()),
        Some(fragments) => fragments.get(index).cloned(),
        None => {
            let bytes = as_in_the_file(object, value.to_bytes().ok()?.into_owned());
            let length = bytes.len() / frames;
            Some(bytes[index * length..(index + 1) * length].to_vec())
        }
    }
}

/// The reader has put big-endian words into this machine's order; files hold them otherwise.
#[expect(deprecated, reason = "retired, and still to be read")]
fn as_in_the_file(object: &DefaultDicomObject, mut bytes: Vec<u8>) -> Vec<u8> {
    if object.meta().transfer_syntax() == uids::EXPLICIT_VR_BIG_ENDIAN && is_words(object) {
        bytes.chunks_exact_mut(2).for_each(|word| word.swap(0, 1));
    }
    bytes
}

fn kind(frame: &Frame) -> &'static str {
    match frame.samples {
        Samples::Gray(_) => "gray",
        Samples::WideGray(_) => "wide_gray",
        Samples::Rgb(_) => "rgb",
        Samples::DeepRgb { .. } => "deep_rgb",
        Samples::Real(_) => "real",
    }
}

fn same_digest(frames: &[Frame], expected: &str) -> Result<(), String> {
    let mut digest = Sha256::new();
    frames.iter().for_each(|frame| digest.update(le_bytes(frame)));
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if digest == expected { Ok(()) } else { Err("pixels differ".to_owned()) }
}

fn le_bytes(frame: &Frame) -> Vec<u8> {
    match &frame.samples {
        Samples::Gray(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Samples::WideGray(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Samples::Rgb(values) => values.iter().copied().collect(),
        Samples::Real(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Samples::DeepRgb { values, .. } => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

fn close(frame: &Frame, probes: &[i64]) -> Result<(), String> {
    let values: Vec<i64> = match &frame.samples {
        Samples::Gray(values) => values.iter().map(|value| i64::from(*value)).collect(),
        Samples::Rgb(values) => values.iter().map(|value| i64::from(*value)).collect(),
        Samples::WideGray(_) | Samples::DeepRgb { .. } | Samples::Real(_) => {
            return Err("lossy and of 32 bits".to_owned());
        }
    };
    let step = (values.len() - 1) as f64 / (probes.len() - 1) as f64;
    let off = |(at, probe): (usize, &i64)| (values[(at as f64 * step) as usize] - probe).abs();
    match probes.iter().enumerate().map(off).max() {
        Some(0..=LOSSY_TOLERANCE) => Ok(()),
        greatest => Err(format!("off by up to {greatest:?}")),
    }
}
