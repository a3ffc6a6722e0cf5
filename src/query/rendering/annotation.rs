//! What is written into a picture about the patient and the technique (PS3.18 8.3.5.1.1).

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use image::DynamicImage;

use super::lettering;
use crate::volume::attributes::text;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Annotation {
    pub patient: bool,
    pub technique: bool,
}

/// Lines of this many to the height of a picture, within what can be read and what is too large.
const LINES_TO_HEIGHT: f32 = 32.0;
const LINE_HEIGHTS: std::ops::RangeInclusive<f32> = 9.0..=28.0;
const MARGIN: f32 = 4.0;

impl Annotation {
    /// The patient at the upper left, the technique at the lower left.
    pub(super) fn burn(self, picture: &mut DynamicImage, attributes: &InMemDicomObject, frame: usize) {
        if self.patient {
            write(picture, &patient(attributes), Corner::Upper);
        }
        if self.technique {
            write(picture, &technique(attributes, frame), Corner::Lower);
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Corner {
    Upper,
    Lower,
}

fn write(picture: &mut DynamicImage, lines: &[String], corner: Corner) {
    let (columns, rows) = (picture.width() as f32, picture.height() as f32);
    let height = (rows / LINES_TO_HEIGHT).clamp(*LINE_HEIGHTS.start(), *LINE_HEIGHTS.end());
    let widest = lines.iter().map(|line| lettering::width(height, line)).fold(1.0, f32::max);
    let height = (height * ((columns - 2.0 * MARGIN) / widest).min(1.0)).max(*LINE_HEIGHTS.start());
    let top = match corner {
        Corner::Upper => MARGIN,
        Corner::Lower => rows - MARGIN - height * lines.len() as f32,
    };
    for (at, line) in lines.iter().enumerate() {
        lettering::write(picture, (MARGIN, top + height * at as f32), height, line);
    }
}

fn patient(attributes: &InMemDicomObject) -> Vec<String> {
    let name = text(attributes, tags::PATIENT_NAME).map(|name| spoken(&name));
    let id = labelled(attributes, "ID", &[tags::PATIENT_ID]);
    let person = joined(attributes, &[tags::PATIENT_BIRTH_DATE, tags::PATIENT_SEX, tags::PATIENT_AGE]);
    [name, id, person].into_iter().flatten().collect()
}

/// Components apart, groups of components (alphabetic, ideographic, phonetic) side by side.
fn spoken(name: &str) -> String {
    let groups = name.split('=').map(|group| {
        let components = group.split('^').map(str::trim).filter(|component| !component.is_empty());
        components.collect::<Vec<_>>().join(" ")
    });
    groups.filter(|group| !group.is_empty()).collect::<Vec<_>>().join("  ")
}

fn technique(attributes: &InMemDicomObject, frame: usize) -> Vec<String> {
    let place = joined(attributes, &[tags::MODALITY, tags::STUDY_DATE, tags::STUDY_TIME]);
    let study = joined(attributes, &[tags::STUDY_DESCRIPTION]);
    let series = joined(attributes, &[tags::SERIES_DESCRIPTION, tags::PROTOCOL_NAME]);
    let numbers = [
        labelled(attributes, "Ser", &[tags::SERIES_NUMBER]),
        labelled(attributes, "Im", &[tags::INSTANCE_NUMBER]),
        text(attributes, tags::NUMBER_OF_FRAMES).map(|frames| format!("Fr {}/{frames}", frame + 1)),
    ];
    let exposure = [
        labelled(attributes, "kV", &[tags::KVP]),
        labelled(attributes, "mA", &[tags::X_RAY_TUBE_CURRENT]),
        labelled(attributes, "TR", &[tags::REPETITION_TIME]),
        labelled(attributes, "TE", &[tags::ECHO_TIME]),
        labelled(attributes, "Thk", &[tags::SLICE_THICKNESS]),
        labelled(attributes, "Loc", &[tags::SLICE_LOCATION]),
    ];
    let line = |parts: Vec<String>| (!parts.is_empty()).then(|| parts.join("  "));
    let numbers = line(numbers.into_iter().flatten().collect());
    let exposure = line(exposure.into_iter().flatten().collect());
    [place, study, series, numbers, exposure].into_iter().flatten().collect()
}

fn labelled(attributes: &InMemDicomObject, label: &str, from: &[Tag]) -> Option<String> {
    joined(attributes, from).map(|value| format!("{label} {value}"))
}

fn joined(attributes: &InMemDicomObject, from: &[Tag]) -> Option<String> {
    let values: Vec<String> = from.iter().filter_map(|tag| text(attributes, *tag)).collect();
    (!values.is_empty()).then(|| values.join("  "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::testing::object;
    use image::GrayImage;

    fn attributes() -> InMemDicomObject {
        object(&[
            (tags::PATIENT_NAME, "Yamada^Tarou=山田^太郎"),
            (tags::PATIENT_ID, "P1"),
            (tags::MODALITY, "CT"),
            (tags::INSTANCE_NUMBER, "7"),
            (tags::KVP, "120"),
        ])
    }

    #[test]
    fn patient_and_technique_say_what_the_object_says_w33b() {
        assert_eq!(patient(&attributes()), ["Yamada Tarou  山田 太郎", "ID P1"]);
        assert_eq!(technique(&attributes(), 0), ["CT", "Im 7", "kV 120"]);
    }

    #[test]
    fn only_what_is_asked_for_is_burnt_in_w33b() {
        let marked = |annotation: Annotation| {
            let mut picture = DynamicImage::from(GrayImage::new(128, 128));
            annotation.burn(&mut picture, &attributes(), 0);
            let gray = picture.into_luma8();
            let rows = |range: std::ops::Range<u32>| {
                gray.enumerate_pixels().any(|(_, y, level)| range.contains(&y) && level.0 != [0])
            };
            (rows(0..64), rows(64..128))
        };
        assert_eq!(marked(Annotation::default()), (false, false));
        assert_eq!(marked(Annotation { patient: true, technique: false }), (true, false));
        assert_eq!(marked(Annotation { patient: false, technique: true }), (false, true));
    }
}
