//! Groups 0000 to 0012: who, when, by whom.

use super::{D, Row, U, X, XD, XZ, XZD, XZU, Z, ZD, row};
use crate::deidentify::options::{
    DESCRIPTORS, DEVICE, FULL_DATES, INSTITUTION, MODIFIED_DATES, NONE, PATIENT, UIDS,
};

pub(super) const ROWS: &[Row] = &[
    row(0x0000_1000, X, UIDS, NONE),                   // AffectedSOPInstanceUID
    row(0x0000_1001, U, UIDS, NONE),                   // RequestedSOPInstanceUID
    row(0x0002_0003, U, UIDS, NONE),                   // MediaStorageSOPInstanceUID
    row(0x0004_1511, U, UIDS, NONE),                   // ReferencedSOPInstanceUIDInFile
    row(0x0008_0012, XD, FULL_DATES, MODIFIED_DATES),  // InstanceCreationDate
    row(0x0008_0013, XZD, FULL_DATES, MODIFIED_DATES), // InstanceCreationTime
    row(0x0008_0014, U, UIDS, NONE),                   // InstanceCreatorUID
    row(0x0008_0015, X, FULL_DATES, MODIFIED_DATES),   // InstanceCoercionDateTime
    row(0x0008_0017, U, UIDS, NONE),                   // AcquisitionUID
    row(0x0008_0018, U, UIDS, NONE),                   // SOPInstanceUID
    row(0x0008_0019, U, UIDS, NONE),                   // PyramidUID
    row(0x0008_0020, Z, FULL_DATES, MODIFIED_DATES),   // StudyDate
    row(0x0008_0021, XD, FULL_DATES, MODIFIED_DATES),  // SeriesDate
    row(0x0008_0022, XZ, FULL_DATES, MODIFIED_DATES),  // AcquisitionDate
    row(0x0008_0023, ZD, FULL_DATES, MODIFIED_DATES),  // ContentDate
    row(0x0008_0024, X, FULL_DATES, MODIFIED_DATES),   // OverlayDate
    row(0x0008_0025, X, FULL_DATES, MODIFIED_DATES),   // CurveDate
    row(0x0008_002A, XZD, FULL_DATES, MODIFIED_DATES), // AcquisitionDateTime
    row(0x0008_0030, Z, FULL_DATES, MODIFIED_DATES),   // StudyTime
    row(0x0008_0031, XD, FULL_DATES, MODIFIED_DATES),  // SeriesTime
    row(0x0008_0032, XZ, FULL_DATES, MODIFIED_DATES),  // AcquisitionTime
    row(0x0008_0033, ZD, FULL_DATES, MODIFIED_DATES),  // ContentTime
    row(0x0008_0034, X, FULL_DATES, MODIFIED_DATES),   // OverlayTime
    row(0x0008_0035, X, FULL_DATES, MODIFIED_DATES),   // CurveTime
    row(0x0008_0050, Z, NONE, NONE),                   // AccessionNumber
    row(0x0008_0054, X, NONE, DEVICE),                 // RetrieveAETitle
    row(0x0008_0055, X, NONE, DEVICE),                 // StationAETitle
    row(0x0008_0058, U, UIDS, NONE),                   // FailedSOPInstanceUIDList
    row(0x0008_0080, XZD, INSTITUTION, NONE),          // InstitutionName
    row(0x0008_0081, X, INSTITUTION, NONE),            // InstitutionAddress
    row(0x0008_0082, XZD, INSTITUTION, NONE),          // InstitutionCodeSequence
    row(0x0008_0090, Z, NONE, NONE),                   // ReferringPhysicianName
    row(0x0008_0092, X, NONE, NONE),                   // ReferringPhysicianAddress
    row(0x0008_0094, X, NONE, NONE),                   // ReferringPhysicianTelephoneNumbers
    row(0x0008_0096, X, NONE, NONE),                   // ReferringPhysicianIdentificationSequence
    row(0x0008_009C, Z, NONE, NONE),                   // ConsultingPhysicianName
    row(0x0008_009D, X, NONE, NONE),                   // ConsultingPhysicianIdentificationSequence
    row(0x0008_0106, D, FULL_DATES, MODIFIED_DATES),   // ContextGroupVersion
    row(0x0008_0107, D, FULL_DATES, MODIFIED_DATES),   // ContextGroupLocalVersion
    row(0x0008_0201, X, FULL_DATES, MODIFIED_DATES),   // TimezoneOffsetFromUTC
    row(0x0008_1000, X, NONE, DEVICE),                 // NetworkID
    row(0x0008_1010, XZD, DEVICE, NONE),               // StationName
    row(0x0008_1030, X, NONE, DESCRIPTORS),            // StudyDescription
    row(0x0008_103E, X, NONE, DESCRIPTORS),            // SeriesDescription
    row(0x0008_1040, X, INSTITUTION, NONE),            // InstitutionalDepartmentName
    row(0x0008_1041, X, INSTITUTION, NONE),            // InstitutionalDepartmentTypeCodeSequence
    row(0x0008_1048, X, NONE, NONE),                   // PhysiciansOfRecord
    row(0x0008_1049, X, NONE, NONE),                   // PhysiciansOfRecordIdentificationSequence
    row(0x0008_1050, X, NONE, NONE),                   // PerformingPhysicianName
    row(0x0008_1052, X, NONE, NONE),                   // PerformingPhysicianIdentificationSequence
    row(0x0008_1060, X, NONE, NONE),                   // NameOfPhysiciansReadingStudy
    row(0x0008_1062, X, NONE, NONE),                   // PhysiciansReadingStudyIdentificationSequence
    row(0x0008_1070, XZD, NONE, NONE),                 // OperatorsName
    row(0x0008_1072, XD, NONE, NONE),                  // OperatorIdentificationSequence
    row(0x0008_1080, X, NONE, DESCRIPTORS),            // AdmittingDiagnosesDescription
    row(0x0008_1084, X, NONE, DESCRIPTORS),            // AdmittingDiagnosesCodeSequence
    row(0x0008_1088, X, NONE, DESCRIPTORS),            // PyramidDescription
    row(0x0008_1110, XZ, UIDS, NONE),                  // ReferencedStudySequence
    row(0x0008_1111, XZD, UIDS, NONE),                 // ReferencedPerformedProcedureStepSequence
    row(0x0008_1120, X, UIDS, NONE),                   // ReferencedPatientSequence
    row(0x0008_1140, XZU, UIDS, NONE),                 // ReferencedImageSequence
    row(0x0008_1155, U, UIDS, NONE),                   // ReferencedSOPInstanceUID
    row(0x0008_1195, U, UIDS, NONE),                   // TransactionUID
    row(0x0008_1301, X, NONE, NONE),
    row(0x0008_1302, X, NONE, NONE),
    row(0x0008_1303, X, NONE, NONE),
    row(0x0008_1304, X, NONE, NONE),
    row(0x0008_2111, X, NONE, DESCRIPTORS), // DerivationDescription
    row(0x0008_2112, XZU, UIDS, NONE),      // SourceImageSequence
    row(0x0008_3010, U, UIDS, NONE),        // IrradiationEventUID
    row(0x0008_4000, X, NONE, DESCRIPTORS), // IdentifyingComments
    row(0x0010_0010, Z, NONE, NONE),        // PatientName
    row(0x0010_0011, X, NONE, NONE),
    row(0x0010_0012, X, NONE, NONE),
    row(0x0010_0013, X, NONE, NONE),
    row(0x0010_0014, X, NONE, NONE),
    row(0x0010_0015, X, NONE, NONE),
    row(0x0010_0016, X, NONE, NONE),
    row(0x0010_0020, ZD, NONE, NONE),   // PatientID
    row(0x0010_0021, X, NONE, NONE),    // IssuerOfPatientID
    row(0x0010_0030, Z, NONE, NONE),    // PatientBirthDate
    row(0x0010_0032, X, NONE, NONE),    // PatientBirthTime
    row(0x0010_0040, Z, PATIENT, NONE), // PatientSex
    row(0x0010_0041, X, NONE, NONE),
    row(0x0010_0042, X, NONE, NONE),
    row(0x0010_0043, X, NONE, NONE),
    row(0x0010_0044, X, NONE, NONE),
    row(0x0010_0045, X, NONE, NONE),
    row(0x0010_0046, X, NONE, NONE),
    row(0x0010_0047, X, NONE, NONE),
    row(0x0010_0050, X, NONE, NONE),        // PatientInsurancePlanCodeSequence
    row(0x0010_0101, X, NONE, NONE),        // PatientPrimaryLanguageCodeSequence
    row(0x0010_0102, X, NONE, NONE),        // PatientPrimaryLanguageModifierCodeSequence
    row(0x0010_1000, X, NONE, NONE),        // OtherPatientIDs
    row(0x0010_1001, X, NONE, NONE),        // OtherPatientNames
    row(0x0010_1002, X, NONE, NONE),        // OtherPatientIDsSequence
    row(0x0010_1005, X, NONE, NONE),        // PatientBirthName
    row(0x0010_1010, X, PATIENT, NONE),     // PatientAge
    row(0x0010_1020, X, PATIENT, NONE),     // PatientSize
    row(0x0010_1030, X, PATIENT, NONE),     // PatientWeight
    row(0x0010_1040, X, NONE, NONE),        // PatientAddress
    row(0x0010_1050, X, NONE, NONE),        // InsurancePlanIdentification
    row(0x0010_1060, X, NONE, NONE),        // PatientMotherBirthName
    row(0x0010_1080, X, NONE, NONE),        // MilitaryRank
    row(0x0010_1081, X, NONE, NONE),        // BranchOfService
    row(0x0010_1090, X, NONE, NONE),        // MedicalRecordLocator
    row(0x0010_1100, X, NONE, NONE),        // ReferencedPatientPhotoSequence
    row(0x0010_2000, X, NONE, DESCRIPTORS), // MedicalAlerts
    row(0x0010_2110, X, NONE, PATIENT.and(DESCRIPTORS)), // Allergies
    row(0x0010_2150, X, NONE, NONE),        // CountryOfResidence
    row(0x0010_2152, X, NONE, NONE),        // RegionOfResidence
    row(0x0010_2154, X, NONE, NONE),        // PatientTelephoneNumbers
    row(0x0010_2155, X, NONE, NONE),        // PatientTelecomInformation
    row(0x0010_2160, X, PATIENT, NONE),     // EthnicGroup
    row(0x0010_2161, X, PATIENT, NONE),     // EthnicGroupCodeSequence
    row(0x0010_2162, X, NONE, NONE),
    row(0x0010_2180, X, NONE, DESCRIPTORS),          // Occupation
    row(0x0010_21A0, X, PATIENT, NONE),              // SmokingStatus
    row(0x0010_21B0, X, NONE, DESCRIPTORS),          // AdditionalPatientHistory
    row(0x0010_21C0, X, PATIENT, NONE),              // PregnancyStatus
    row(0x0010_21D0, X, FULL_DATES, MODIFIED_DATES), // LastMenstrualDate
    row(0x0010_21F0, X, NONE, NONE),                 // PatientReligiousPreference
    row(0x0010_2203, XZ, PATIENT, NONE),             // PatientSexNeutered
    row(0x0010_2297, X, NONE, NONE),                 // ResponsiblePerson
    row(0x0010_2299, X, NONE, NONE),                 // ResponsibleOrganization
    row(0x0010_4000, X, NONE, DESCRIPTORS),          // PatientComments
    row(0x0012_0010, D, NONE, NONE),                 // ClinicalTrialSponsorName
    row(0x0012_0020, D, NONE, NONE),                 // ClinicalTrialProtocolID
    row(0x0012_0021, Z, NONE, NONE),                 // ClinicalTrialProtocolName
    row(0x0012_0022, X, NONE, NONE),                 // IssuerOfClinicalTrialProtocolID
    row(0x0012_0023, X, NONE, NONE),                 // OtherClinicalTrialProtocolIDsSequence
    row(0x0012_0030, Z, INSTITUTION, NONE),          // ClinicalTrialSiteID
    row(0x0012_0031, Z, INSTITUTION, NONE),          // ClinicalTrialSiteName
    row(0x0012_0032, X, NONE, NONE),                 // IssuerOfClinicalTrialSiteID
    row(0x0012_0040, D, NONE, NONE),                 // ClinicalTrialSubjectID
    row(0x0012_0041, X, NONE, NONE),                 // IssuerOfClinicalTrialSubjectID
    row(0x0012_0042, D, NONE, NONE),                 // ClinicalTrialSubjectReadingID
    row(0x0012_0043, X, NONE, NONE),                 // IssuerOfClinicalTrialSubjectReadingID
    row(0x0012_0050, Z, NONE, NONE),                 // ClinicalTrialTimePointID
    row(0x0012_0051, X, NONE, DESCRIPTORS),          // ClinicalTrialTimePointDescription
    row(0x0012_0055, X, NONE, NONE),                 // IssuerOfClinicalTrialTimePointID
    row(0x0012_0060, Z, INSTITUTION, NONE),          // ClinicalTrialCoordinatingCenterName
    row(0x0012_0071, X, NONE, NONE),                 // ClinicalTrialSeriesID
    row(0x0012_0072, X, NONE, DESCRIPTORS),          // ClinicalTrialSeriesDescription
    row(0x0012_0073, X, NONE, NONE),                 // IssuerOfClinicalTrialSeriesID
    row(0x0012_0081, D, INSTITUTION, NONE),          // ClinicalTrialProtocolEthicsCommitteeName
    row(0x0012_0082, X, NONE, NONE),                 // ClinicalTrialProtocolEthicsCommitteeApprovalNumber
    row(0x0012_0086, X, FULL_DATES, MODIFIED_DATES), // EthicsCommitteeApprovalEffectivenessStartDate
    row(0x0012_0087, X, FULL_DATES, MODIFIED_DATES), // EthicsCommitteeApprovalEffectivenessEndDate
];
