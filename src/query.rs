//! Questions to the archive, independent of the protocol that asks.
//!
//! QIDO-RS and C-FIND build the same [`request::SearchRequest`]; WADO-RS, C-GET and C-MOVE name
//! what they want with the same [`Scope`].

pub mod decoding;
pub mod integrity;
pub mod matching;
pub mod rendering;
pub mod request;
pub mod retrieve;
pub mod search;
pub mod stored_object;
pub mod transcoding;
pub mod volumes;

use crate::dicom::uid::{SeriesUid, SopInstanceUid, StudyUid};

/// A part of the archive, named by UIDs from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    Study(StudyUid),
    /// Of a study what is no draft.
    Released(StudyUid),
    Series(StudyUid, SeriesUid),
    Instance(StudyUid, SeriesUid, SopInstanceUid),
}

impl Scope {
    pub fn study(&self) -> &StudyUid {
        match self {
            Self::Study(study)
            | Self::Released(study)
            | Self::Series(study, _)
            | Self::Instance(study, _, _) => study,
        }
    }

    pub fn series(&self) -> Option<&SeriesUid> {
        match self {
            Self::Study(_) | Self::Released(_) => None,
            Self::Series(_, series) | Self::Instance(_, series, _) => Some(series),
        }
    }

    pub fn instance(&self) -> Option<&SopInstanceUid> {
        match self {
            Self::Instance(_, _, instance) => Some(instance),
            Self::Study(_) | Self::Released(_) | Self::Series(..) => None,
        }
    }
}
