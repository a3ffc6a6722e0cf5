//! A file-set in the making (PS3.10 8): each object gets its File ID, the directory comes last.
//!
//! File IDs are folders and files by number, of eight upper-case characters each (PS3.10 8.2 and 8.5),
//! and tell nothing about a patient.

use std::collections::HashMap;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use serde_json::{Map, Value};

use super::directory;
use super::records::{self, Kind};
use crate::dicom::data_set::{self, WriteError};
use crate::dicom::header::hex;
use crate::dicom::uid::{SopClassUid, SopInstanceUid, TransferSyntaxUid};

/// The name of the directory (PS3.10 8.6).
pub const DICOMDIR: &str = "DICOMDIR";

/// An object as it lies in the file-set.
pub struct Object {
    pub sop_class: SopClassUid,
    pub sop_instance: SopInstanceUid,
    pub transfer_syntax: TransferSyntaxUid,
    /// Its attributes, DICOM JSON; more than the directory needs do no harm.
    pub attributes: Map<String, Value>,
}

/// A record and the records below it.
pub(super) struct Node {
    /// The keys of the record and, of a file, where it lies.
    pub(super) elements: Map<String, Value>,
    pub(super) children: Vec<usize>,
    /// The folder of what is below.
    folder: Vec<String>,
}

/// Records of everything that was added.
#[derive(Default)]
pub struct FileSet {
    pub(super) nodes: Vec<Node>,
    pub(super) roots: Vec<usize>,
    patients: HashMap<String, usize>,
    studies: HashMap<(usize, String), usize>,
    series: HashMap<(usize, String), usize>,
}

impl FileSet {
    /// Where the object goes, with slashes.
    pub fn add(&mut self, object: &Object) -> String {
        let series = self.series_of(&object.attributes);
        let kind = Kind::of(&object.sop_class);
        let path = self.below(series, kind.prefix());
        let mut elements = kind.keys(&object.attributes);
        let mut put = |tag: Tag, vr: &str, values: Vec<Value>| {
            elements.insert(hex(tag), serde_json::json!({ "vr": vr, "Value": values }));
        };
        put(tags::REFERENCED_FILE_ID, "CS", path.iter().map(|part| part.as_str().into()).collect());
        put(tags::REFERENCED_SOP_CLASS_UID_IN_FILE, "UI", vec![object.sop_class.as_str().into()]);
        put(tags::REFERENCED_SOP_INSTANCE_UID_IN_FILE, "UI", vec![object.sop_instance.as_str().into()]);
        put(tags::REFERENCED_TRANSFER_SYNTAX_UID_IN_FILE, "UI", vec![object.transfer_syntax.as_str().into()]);
        let name = path.join("/");
        let node = self.push(elements, path);
        self.nodes[series].children.push(node);
        name
    }

    /// The directory as a file.
    pub fn directory(&self) -> Result<Vec<u8>, WriteError> {
        directory::write(self)
    }

    fn push(&mut self, elements: Map<String, Value>, folder: Vec<String>) -> usize {
        self.nodes.push(Node { elements, children: Vec::new(), folder });
        self.nodes.len() - 1
    }

    /// The next name below a record.
    fn below(&self, parent: usize, prefix: &str) -> Vec<String> {
        let Node { children, folder, .. } = &self.nodes[parent];
        folder.iter().cloned().chain([format!("{prefix}{:06}", children.len() + 1)]).collect()
    }

    fn series_of(&mut self, attributes: &Map<String, Value>) -> usize {
        let text = |tag| attributes.get(&hex(tag)).map(data_set::text_of).unwrap_or_default();
        let patient = format!("{}\u{1f}{}", text(tags::ISSUER_OF_PATIENT_ID), text(tags::PATIENT_ID));
        let patient = match self.patients.get(&patient) {
            Some(known) => *known,
            None => {
                let folder = vec![format!("PA{:06}", self.roots.len() + 1)];
                let node = self.push(Kind::Patient.keys(attributes), folder);
                self.roots.push(node);
                self.patients.insert(patient, node);
                node
            }
        };
        let study = (patient, text(tags::STUDY_INSTANCE_UID));
        let study = match self.studies.get(&study) {
            Some(known) => *known,
            None => {
                let node = self.folder(patient, Kind::Study, attributes);
                self.studies.insert(study, node);
                node
            }
        };
        let series = (study, text(tags::SERIES_INSTANCE_UID));
        match self.series.get(&series) {
            Some(known) => *known,
            None => {
                let node = self.folder(study, Kind::Series, attributes);
                self.series.insert(series, node);
                node
            }
        }
    }

    fn folder(&mut self, parent: usize, kind: Kind, attributes: &Map<String, Value>) -> usize {
        let mut elements = kind.keys(attributes);
        records::invent(kind, &mut elements, self.nodes[parent].children.len() + 1);
        let folder = self.below(parent, kind.prefix());
        let node = self.push(elements, folder);
        self.nodes[parent].children.push(node);
        node
    }
}
