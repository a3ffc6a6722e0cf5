//! What phantoms show, as an evaluation expects to be told.

use std::io::Write;

use dicom_dictionary_std::tags;

use super::dicom::Object;
use super::{Kind, Options, Study};
use crate::report::findings::{Finding, Laterality};
use crate::report::region::{Framing, Region};

const COLUMNS: [&str; 9] =
    ["study", "finding", "presence", "side", "image", "left", "top", "right", "bottom"];

/// A table with a row for everything that the phantoms have, and one for everything they lack.
pub(super) struct Expected<W: Write> {
    writer: csv::Writer<W>,
}

impl<W: Write> Expected<W> {
    pub(super) fn new(writer: W) -> Result<Self, csv::Error> {
        let mut writer = csv::Writer::from_writer(writer);
        writer.write_record(COLUMNS)?;
        Ok(Self { writer })
    }

    /// `files` are those of the objects, below the folder of the table.
    pub(super) fn add(
        &mut self,
        study: &Study,
        files: &[String],
        options: &Options,
    ) -> Result<(), csv::Error> {
        for finding in drawn(study, options) {
            let own = study.truth.findings.iter().filter(|one| one.finding == finding);
            let rows: Vec<_> = own.map(|one| present(study, files, one)).collect();
            match rows.is_empty() {
                true => self.writer.write_record(row(study, finding, "absent", "", None))?,
                false => rows.iter().try_for_each(|row| self.writer.write_record(row))?,
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}

/// What a phantom of the kind may have.
fn drawn(study: &Study, options: &Options) -> Vec<&'static str> {
    let heart = (study.kind == Kind::Chest).then_some("cardiomegaly");
    let nodule = options.nodules.then_some("pulmonary nodule");
    [Some("pleural effusion"), heart, nodule].into_iter().flatten().collect()
}

fn present(study: &Study, files: &[String], finding: &Finding) -> [String; 9] {
    let side = match finding.laterality {
        Laterality::Left => "left",
        Laterality::Right => "right",
        Laterality::Bilateral => "bilateral",
        Laterality::Midline => "midline",
        Laterality::None => "",
    };
    let shown = finding.image.and_then(|image| study.shown.get(image as usize - 1).copied());
    let place = shown.zip(finding.box_2d).and_then(|(index, square)| {
        let [rows, columns] = [tags::ROWS, tags::COLUMNS].map(|tag| size(&study.objects[index], tag));
        Region::of(square, Framing::Padded, rows, columns).map(|region| (files[index].as_str(), region))
    });
    row(study, &finding.finding, "present", side, place)
}

fn size(object: &Object, tag: dicom_core::Tag) -> u32 {
    object.element(tag).ok().and_then(|element| element.to_int().ok()).unwrap_or(0)
}

fn row(
    study: &Study,
    finding: &str,
    presence: &str,
    side: &str,
    place: Option<(&str, Region)>,
) -> [String; 9] {
    let edge =
        |edge: fn(&Region) -> f32| place.map_or(String::new(), |(_, region)| edge(&region).to_string());
    [
        study.study_uid.clone(),
        finding.to_owned(),
        presence.to_owned(),
        side.to_owned(),
        place.map_or(String::new(), |(file, _)| file.to_owned()),
        edge(|region| region.left),
        edge(|region| region.top),
        edge(|region| region.right),
        edge(|region| region.bottom),
    ]
}
