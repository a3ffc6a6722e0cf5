//! What a retrieval reads: the stored instances of a scope.

use crate::dicom::uid::{SeriesUid, SopClassUid, SopInstanceUid, StudyUid, TransferSyntaxUid};

/// Instances named by a list in one statement.
const INSTANCES_AT_ONCE: usize = 100;

/// A patient as a retrieval names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatientKey {
    pub patient_id: String,
    /// Issuer of Patient ID (0010,0021), where it is told.
    pub issuer: Option<String>,
}

/// What a C-MOVE or C-GET names: one entity of each level above, or none, and all that it wants of
/// the level asked (PS3.4 C.4.2.1.4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    pub patient: Option<PatientKey>,
    pub study: Option<StudyUid>,
    pub series: Option<SeriesUid>,
    pub wanted: Wanted,
}

/// The entities of the level asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Everything of the patient.
    Patient,
    Studies(Vec<StudyUid>),
    Series(Vec<SeriesUid>),
    Instances(Vec<SopInstanceUid>),
}

/// A piece of a selection that one statement finds by a unique key: a study, a series or some
/// instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portion {
    pub patient: Option<PatientKey>,
    pub study: Option<StudyUid>,
    pub series: Option<SeriesUid>,
    /// Empty: all of the others.
    pub instances: Vec<SopInstanceUid>,
}

impl Selection {
    /// Nothing for a whole patient, whose studies have to be looked up first.
    pub fn portions(&self) -> Vec<Portion> {
        let Self { patient, study, series, wanted } = self;
        let above = Portion {
            patient: patient.clone(),
            study: study.clone(),
            series: series.clone(),
            instances: Vec::new(),
        };
        match wanted {
            Wanted::Patient => Vec::new(),
            Wanted::Studies(studies) => {
                let portion = |study: &StudyUid| Portion { study: Some(study.clone()), ..above.clone() };
                studies.iter().map(portion).collect()
            }
            Wanted::Series(series) => {
                let portion = |series: &SeriesUid| Portion { series: Some(series.clone()), ..above.clone() };
                series.iter().map(portion).collect()
            }
            Wanted::Instances(instances) => {
                let some = instances.chunks(INSTANCES_AT_ONCE);
                some.map(|some| Portion { instances: some.to_vec(), ..above.clone() }).collect()
            }
        }
    }
}

/// How much a scope holds, and a version of it that is never the same for other content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub instances: u64,
    pub version: Vec<u8>,
}

/// Where an instance lies and what it is.
#[derive(Debug, Clone)]
pub struct StoredInstance {
    /// Position in the archive; pages of a retrieval go on behind it.
    pub row: i64,
    pub study: StudyUid,
    pub series: SeriesUid,
    pub sop_instance: SopInstanceUid,
    pub sop_class: SopClassUid,
    pub transfer_syntax: TransferSyntaxUid,
    pub blob_key: String,
    pub size_bytes: u64,
    /// Of what stands in front of the data set and of the digest of the data set; of the whole file
    /// in rows of the first version. It differs whenever the file does.
    pub sha256: Vec<u8>,
}

/// The metadata of an instance as it is stored: DICOM JSON, zstd.
#[derive(Debug, Clone)]
pub struct StoredMetadata {
    pub row: i64,
    pub series: SeriesUid,
    pub sop_instance: SopInstanceUid,
    pub json: Vec<u8>,
}
