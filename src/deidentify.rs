//! De-identified copies: the Basic Application Level Confidentiality Profile of PS3.15 Annex E with
//! its options.
//!
//! [`table`] is Table E.1-1, [`needs`] what IODs need where an action depends on that, [`action`]
//! makes one action of both. [`rewriting`] applies it to every element, in items too, while the data
//! set is re-encoded; pixel data pass. UIDs, pseudonyms and shifted dates follow from a [`Key`]: with
//! one key the objects of a patient stay together, and without it nobody finds the way back.

mod action;
pub mod burned_in;
mod cleaning;
mod dummy;
mod key;
mod marks;
mod needs;
pub mod options;
mod rewriting;
mod safe_private;
mod table;
mod vocabulary;

pub use key::Key;
pub use options::Options;

use crate::dicom::reencode::{Edits, Rewrite};
use crate::dicom::uid::{SopClassUid, SopInstanceUid, UidError};

use rewriting::Rewriting;

/// How copies are made: what is kept beyond the profile, and by which key names are replaced.
#[derive(Debug, Clone)]
pub struct Profile {
    pub options: Options,
    pub key: Key,
}

/// Whose object it is, as the stored attributes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub patient_id: String,
    pub issuer: String,
    /// Where no patient is named, the study is all that holds objects together.
    pub study: String,
}

impl Subject {
    fn text(&self) -> String {
        match self.patient_id.is_empty() {
            true => self.study.clone(),
            false => format!("{}\u{1f}{}", self.issuer, self.patient_id),
        }
    }
}

impl Profile {
    pub fn rewriting(&self, subject: &Subject, sop_class: &SopClassUid) -> impl Rewrite + Send + use<> {
        Rewriting::new(self, self.key.days(&subject.text()), sop_class.as_str())
    }

    /// What is new at the root, or other than the table has it.
    pub fn edits(&self, subject: &Subject) -> Edits {
        marks::edits(self.options, &self.key.pseudonym(&subject.text()))
    }

    pub fn sop_instance(&self, stored: &SopInstanceUid) -> Result<SopInstanceUid, UidError> {
        match self.options.has(options::UIDS) {
            true => Ok(stored.clone()),
            false => self.key.uid(stored.as_str()).parse(),
        }
    }
}

#[cfg(test)]
mod tests;
