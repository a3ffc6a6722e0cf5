//! Synthetic studies with known truth: what the demonstration sends to itself, and what its
//! model is trained and tested on.
//!
//! Everything follows from a seed. No picture is of a person.

pub mod chest;
pub mod ct;
pub mod dicom;
mod expected;
mod random;
mod shape;
pub mod truth;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::report::findings::Answer;

use self::chest::{ChestOptions, Photometric};
use self::ct::CtOptions;
use self::dicom::{Label, Object};
use self::expected::Expected;

/// The file beside the studies that says what they show.
pub const TRUTH_FILE: &str = "truth.json";
/// The same for `radiant eval`, by finding.
pub const EXPECTED_FILE: &str = "expected.csv";

/// Which studies to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Kind {
    Chest,
    Ct,
    /// A chest radiograph for every even seed, a CT for every odd one.
    #[default]
    Both,
}

/// What may be asked of phantoms beyond their seed.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Options {
    /// Which studies to draw.
    #[arg(long, value_enum, default_value_t)]
    pub kind: Kind,
    /// Pixels along the longer side of a radiograph; drawn from the seed when absent.
    #[arg(long, value_parser = clap::value_parser!(u16).range(64..=4096))]
    pub matrix: Option<u16>,
    /// Photometric Interpretation of a radiograph; drawn from the seed when absent.
    #[arg(long, value_enum)]
    pub photometric: Option<Photometric>,
    /// Only the slices of a CT that a model is shown: training sets need no others.
    #[arg(long)]
    pub shown_slices_only: bool,
    /// Give some studies a nodule. The demonstration model does not see them.
    #[arg(long)]
    pub nodules: bool,
}

/// One synthetic study.
pub struct Study {
    pub kind: Kind,
    pub study_uid: String,
    pub objects: Vec<Object>,
    /// Positions of the objects that a model is shown, as the truth counts them.
    pub shown: Vec<usize>,
    pub truth: Answer,
}

#[derive(Debug, thiserror::Error)]
pub enum PhantomError {
    #[error("cannot build the file meta information of a phantom")]
    Meta(#[from] Box<dicom_object::WithMetaError>),
    #[error("cannot write {}", path.display())]
    Object { path: PathBuf, source: Box<dicom_object::WriteError> },
    #[error("cannot write {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Table { path: PathBuf, source: csv::Error },
    #[error("cannot serialise the truth of a phantom")]
    Truth(#[from] serde_json::Error),
}

/// Draws the study of a seed.
pub fn study(seed: u64, options: &Options) -> Result<Study, PhantomError> {
    match options.kind {
        Kind::Chest => chest_study(seed, options),
        Kind::Ct => ct_study(seed, options),
        Kind::Both if seed.is_multiple_of(2) => chest_study(seed, options),
        Kind::Both => ct_study(seed, options),
    }
}

/// Writes the studies of the seeds `seed` to `seed + count - 1` below `dir`, one folder each, and
/// [`TRUTH_FILE`]: one line `{"study": UID, "seed": n, "answer": {…}}` per study; [`EXPECTED_FILE`] says the
/// same as a table.
pub fn write(dir: &Path, count: u64, seed: u64, options: &Options) -> Result<(), PhantomError> {
    create(dir)?;
    let path = dir.join(TRUTH_FILE);
    let failed = |source| PhantomError::File { path: path.clone(), source };
    let mut truths = BufWriter::new(File::create(&path).map_err(failed)?);
    let table = dir.join(EXPECTED_FILE);
    let of_table = |source| PhantomError::File { path: table.clone(), source };
    let of_record = |source| PhantomError::Table { path: table.clone(), source };
    let mut expected = Expected::new(File::create(&table).map_err(of_table)?).map_err(of_record)?;
    for seed in seed..seed.saturating_add(count) {
        let study = study(seed, options)?;
        let files = write_objects(dir, &format!("{seed:06}"), &study.objects)?;
        writeln!(truths, "{}", truth_line(seed, &study)?).map_err(failed)?;
        expected.add(&study, &files, options).map_err(of_record)?;
    }
    expected.finish().map_err(of_table)?;
    truths.flush().map_err(failed)
}

fn chest_study(seed: u64, options: &Options) -> Result<Study, PhantomError> {
    let label = Label { kind: "CHEST", seed };
    let Options { matrix, photometric, nodules, .. } = *options;
    let phantom = chest::chest(seed, &ChestOptions { matrix, photometric, nodules });
    let objects = vec![dicom::chest(label, &phantom).map_err(Box::new)?];
    Ok(Study {
        kind: Kind::Chest,
        study_uid: label.study_uid(),
        objects,
        shown: vec![0],
        truth: phantom.truth,
    })
}

fn ct_study(seed: u64, options: &Options) -> Result<Study, PhantomError> {
    let label = Label { kind: "CT", seed };
    let phantom = ct::ct(seed, CtOptions { nodules: options.nodules });
    let indices: Vec<usize> = match options.shown_slices_only {
        true => ct::shown(phantom.slices).to_vec(),
        false => (0..phantom.slices).collect(),
    };
    let objects = dicom::ct(label, &phantom, &indices).map_err(Box::new)?;
    let shown = match options.shown_slices_only {
        true => (0..indices.len()).collect(),
        false => ct::shown(phantom.slices).to_vec(),
    };
    Ok(Study { kind: Kind::Ct, study_uid: label.study_uid(), objects, shown, truth: phantom.truth })
}

/// The files, below `dir`.
fn write_objects(dir: &Path, folder: &str, objects: &[Object]) -> Result<Vec<String>, PhantomError> {
    create(&dir.join(folder))?;
    let write = |(number, object): (usize, &Object)| {
        let file = format!("{folder}/{number:03}.dcm");
        let path = dir.join(&file);
        let written = object.write_to_file(&path);
        written.map_err(|source| PhantomError::Object { path, source: Box::new(source) })?;
        Ok(file)
    };
    (1..).zip(objects).map(write).collect()
}

fn create(dir: &Path) -> Result<(), PhantomError> {
    let failed = |source| PhantomError::File { path: dir.to_owned(), source };
    std::fs::create_dir_all(dir).map_err(failed)
}

#[derive(serde::Serialize)]
struct TruthLine<'a> {
    study: &'a str,
    seed: u64,
    answer: &'a Answer,
}

fn truth_line(seed: u64, study: &Study) -> Result<String, serde_json::Error> {
    serde_json::to_string(&TruthLine { study: &study.study_uid, seed, answer: &study.truth })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Options = Options {
        kind: Kind::Both,
        matrix: Some(96),
        photometric: None,
        shown_slices_only: true,
        nodules: false,
    };

    #[test]
    fn written_studies_come_with_one_line_of_truth_each() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 2, 10, &SMALL).unwrap();
        let truths = std::fs::read_to_string(dir.path().join(TRUTH_FILE)).unwrap();
        let lines: Vec<serde_json::Value> =
            truths.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["study"], study(10, &SMALL).unwrap().study_uid.as_str());
        let files = |seed| std::fs::read_dir(dir.path().join(seed)).unwrap().count();
        assert_eq!((files("000010"), files("000011")), (1, 4));
    }

    #[test]
    fn what_an_evaluation_expects_names_every_finding_and_its_place() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 12, 10, &SMALL).unwrap();
        let table = std::fs::read_to_string(dir.path().join(EXPECTED_FILE)).unwrap();
        let rows = crate::report::evaluation::expected::from_csv(&table).unwrap();
        // Effusions of all, hearts of the radiographs.
        assert_eq!(rows.len(), 12 + 6);
        let placed: Vec<_> = rows.iter().filter_map(|row| row.place.as_ref()).collect();
        let image =
            |place: &crate::report::evaluation::Place| dir.path().join(place.sop_instance.clone().unwrap());
        assert!(!placed.is_empty() && placed.iter().all(|place| image(place).is_file()));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = write(&file.path().join("below"), 1, 0, &SMALL).unwrap_err();
        assert!(error.to_string().contains("below"), "{error}");
    }
}
