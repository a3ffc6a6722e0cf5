//! Which abstract syntaxes there are, what they are for, and in which transfer syntaxes.

use dicom_dictionary_std::uids;

use crate::config::Service;
use crate::dicom::uid::TransferSyntaxUid;

/// What a presentation context is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServiceClass {
    Verification,
    Storage,
    StorageCommitment,
    Find(InformationModel),
    Move(InformationModel),
    Get(InformationModel),
}

/// Where the hierarchy of a query or retrieval begins, PS3.4 C.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InformationModel {
    PatientRoot,
    StudyRoot,
}

/// Everything but storage classes.
pub(super) const SERVICES: &[(&str, ServiceClass)] = &[
    (uids::VERIFICATION, ServiceClass::Verification),
    (uids::STORAGE_COMMITMENT_PUSH_MODEL, ServiceClass::StorageCommitment),
    (
        uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND,
        ServiceClass::Find(InformationModel::PatientRoot),
    ),
    (uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND, ServiceClass::Find(InformationModel::StudyRoot)),
    (
        uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE,
        ServiceClass::Move(InformationModel::PatientRoot),
    ),
    (uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE, ServiceClass::Move(InformationModel::StudyRoot)),
    (
        uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET,
        ServiceClass::Get(InformationModel::PatientRoot),
    ),
    (uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET, ServiceClass::Get(InformationModel::StudyRoot)),
];

/// What identifiers and the information of actions can be read and written in.
#[expect(deprecated, reason = "retired, and still what older peers propose")]
pub(super) const IDENTIFIER_SYNTAXES: [&str; 3] =
    [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_BIG_ENDIAN];

impl ServiceClass {
    /// Of abstract syntaxes other than storage classes.
    pub(super) fn of(abstract_syntax: &str) -> Option<Self> {
        SERVICES.iter().find(|(uid, _)| *uid == abstract_syntax).map(|(_, service)| *service)
    }

    /// What a caller must be allowed, to ask for it.
    pub(super) fn needs(self) -> Option<Service> {
        match self {
            Self::Verification => None,
            Self::Storage | Self::StorageCommitment => Some(Service::Store),
            Self::Find(_) => Some(Service::Query),
            Self::Move(_) | Self::Get(_) => Some(Service::Retrieve),
        }
    }

    /// Objects are kept as they come, and Verification has no data set: any will do there.
    pub(super) fn takes(self, transfer_syntax: &TransferSyntaxUid) -> bool {
        match self {
            Self::Verification | Self::Storage => true,
            _ => IDENTIFIER_SYNTAXES.contains(&transfer_syntax.as_str()),
        }
    }
}
