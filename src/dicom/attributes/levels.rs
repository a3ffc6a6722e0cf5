//! Which level an attribute belongs to, by the modules of PS3.3 A.1.2.
//!
//! What no list names belongs to the instance, private attributes among it.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::Level;

/// The level whose entity an attribute describes.
pub fn level_of(tag: Tag) -> Level {
    let listed = |list: &[Tag]| list.binary_search(&tag).is_ok();
    match tag {
        _ if listed(PATIENT) => Level::Patient,
        _ if listed(STUDY) => Level::Study,
        _ if listed(SERIES) => Level::Series,
        _ => Level::Instance,
    }
}

/// Whether the stored attributes of a level hold this one: its own, and what says how to read them.
pub fn belongs_to(tag: Tag, level: Level) -> bool {
    const SAYS_HOW_TO_READ: [Tag; 2] = [tags::SPECIFIC_CHARACTER_SET, tags::TIMEZONE_OFFSET_FROM_UTC];
    level_of(tag) == level || SAYS_HOW_TO_READ.contains(&tag)
}

/// PS3.3 C.7.1.1, C.7.1.3 and the patient attributes that left them.
#[expect(deprecated, reason = "objects of older devices carry attributes that are retired since")]
const PATIENT: &[Tag] = &[
    tags::REFERENCED_PATIENT_SEQUENCE,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::TYPE_OF_PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE,
    tags::SOURCE_PATIENT_GROUP_IDENTIFICATION_SEQUENCE,
    tags::GROUP_OF_PATIENTS_IDENTIFICATION_SEQUENCE,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_BIRTH_TIME,
    tags::PATIENT_BIRTH_DATE_IN_ALTERNATIVE_CALENDAR,
    tags::PATIENT_DEATH_DATE_IN_ALTERNATIVE_CALENDAR,
    tags::PATIENT_ALTERNATIVE_CALENDAR,
    tags::PATIENT_SEX,
    tags::PATIENT_INSURANCE_PLAN_CODE_SEQUENCE,
    tags::PATIENT_PRIMARY_LANGUAGE_CODE_SEQUENCE,
    tags::QUALITY_CONTROL_SUBJECT,
    tags::STRAIN_DESCRIPTION,
    tags::STRAIN_NOMENCLATURE,
    tags::STRAIN_STOCK_SEQUENCE,
    tags::STRAIN_ADDITIONAL_INFORMATION,
    tags::STRAIN_CODE_SEQUENCE,
    tags::GENETIC_MODIFICATIONS_SEQUENCE,
    tags::OTHER_PATIENT_I_DS,
    tags::OTHER_PATIENT_NAMES,
    tags::OTHER_PATIENT_I_DS_SEQUENCE,
    tags::PATIENT_BIRTH_NAME,
    tags::PATIENT_ADDRESS,
    tags::PATIENT_MOTHER_BIRTH_NAME,
    tags::MILITARY_RANK,
    tags::BRANCH_OF_SERVICE,
    tags::REFERENCED_PATIENT_PHOTO_SEQUENCE,
    tags::COUNTRY_OF_RESIDENCE,
    tags::REGION_OF_RESIDENCE,
    tags::PATIENT_TELEPHONE_NUMBERS,
    tags::PATIENT_TELECOM_INFORMATION,
    tags::ETHNIC_GROUP,
    tags::ETHNIC_GROUP_CODE_SEQUENCE,
    tags::ETHNIC_GROUPS,
    tags::PATIENT_RELIGIOUS_PREFERENCE,
    tags::PATIENT_SPECIES_DESCRIPTION,
    tags::PATIENT_SPECIES_CODE_SEQUENCE,
    tags::PATIENT_BREED_DESCRIPTION,
    tags::PATIENT_BREED_CODE_SEQUENCE,
    tags::BREED_REGISTRATION_SEQUENCE,
    tags::RESPONSIBLE_PERSON,
    tags::RESPONSIBLE_PERSON_ROLE,
    tags::RESPONSIBLE_ORGANIZATION,
    tags::PATIENT_COMMENTS,
    tags::CLINICAL_TRIAL_SPONSOR_NAME,
    tags::CLINICAL_TRIAL_PROTOCOL_ID,
    tags::CLINICAL_TRIAL_PROTOCOL_NAME,
    tags::ISSUER_OF_CLINICAL_TRIAL_PROTOCOL_ID,
    tags::OTHER_CLINICAL_TRIAL_PROTOCOL_I_DS_SEQUENCE,
    tags::CLINICAL_TRIAL_SITE_ID,
    tags::CLINICAL_TRIAL_SITE_NAME,
    tags::ISSUER_OF_CLINICAL_TRIAL_SITE_ID,
    tags::CLINICAL_TRIAL_SUBJECT_ID,
    tags::ISSUER_OF_CLINICAL_TRIAL_SUBJECT_ID,
    tags::CLINICAL_TRIAL_SUBJECT_READING_ID,
    tags::ISSUER_OF_CLINICAL_TRIAL_SUBJECT_READING_ID,
    tags::PATIENT_IDENTITY_REMOVED,
    tags::DEIDENTIFICATION_METHOD,
    tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE,
    tags::CLINICAL_TRIAL_PROTOCOL_ETHICS_COMMITTEE_NAME,
    tags::CLINICAL_TRIAL_PROTOCOL_ETHICS_COMMITTEE_APPROVAL_NUMBER,
];

/// PS3.3 C.7.2.1 to C.7.2.3, and of the request what holds for the whole study.
const STUDY: &[Tag] = &[
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::ACCESSION_NUMBER,
    tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::REFERRING_PHYSICIAN_ADDRESS,
    tags::REFERRING_PHYSICIAN_TELEPHONE_NUMBERS,
    tags::REFERRING_PHYSICIAN_IDENTIFICATION_SEQUENCE,
    tags::CONSULTING_PHYSICIAN_NAME,
    tags::CONSULTING_PHYSICIAN_IDENTIFICATION_SEQUENCE,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::STUDY_DESCRIPTION,
    tags::PROCEDURE_CODE_SEQUENCE,
    tags::PHYSICIANS_OF_RECORD,
    tags::PHYSICIANS_OF_RECORD_IDENTIFICATION_SEQUENCE,
    tags::NAME_OF_PHYSICIANS_READING_STUDY,
    tags::PHYSICIANS_READING_STUDY_IDENTIFICATION_SEQUENCE,
    tags::ADMITTING_DIAGNOSES_DESCRIPTION,
    tags::ADMITTING_DIAGNOSES_CODE_SEQUENCE,
    tags::REFERENCED_STUDY_SEQUENCE,
    tags::PERSON_NAMES_TO_USE_SEQUENCE,
    tags::THIRD_PERSON_PRONOUNS_SEQUENCE,
    tags::GENDER_IDENTITY_SEQUENCE,
    tags::SEX_PARAMETERS_FOR_CLINICAL_USE_CATEGORY_SEQUENCE,
    tags::PATIENT_AGE,
    tags::PATIENT_SIZE,
    tags::PATIENT_SIZE_CODE_SEQUENCE,
    tags::PATIENT_BODY_MASS_INDEX,
    tags::MEASURED_AP_DIMENSION,
    tags::MEASURED_LATERAL_DIMENSION,
    tags::PATIENT_WEIGHT,
    tags::MEDICAL_ALERTS,
    tags::ALLERGIES,
    tags::OCCUPATION,
    tags::SMOKING_STATUS,
    tags::ADDITIONAL_PATIENT_HISTORY,
    tags::PREGNANCY_STATUS,
    tags::LAST_MENSTRUAL_DATE,
    tags::PATIENT_SEX_NEUTERED,
    tags::CLINICAL_TRIAL_TIME_POINT_ID,
    tags::CLINICAL_TRIAL_TIME_POINT_DESCRIPTION,
    tags::LONGITUDINAL_TEMPORAL_OFFSET_FROM_EVENT,
    tags::LONGITUDINAL_TEMPORAL_EVENT_TYPE,
    tags::CLINICAL_TRIAL_TIME_POINT_TYPE_CODE_SEQUENCE,
    tags::ISSUER_OF_CLINICAL_TRIAL_TIME_POINT_ID,
    tags::CONSENT_FOR_CLINICAL_TRIAL_USE_SEQUENCE,
    tags::STUDY_INSTANCE_UID,
    tags::STUDY_ID,
    tags::REQUESTING_PHYSICIAN,
    tags::REQUESTING_SERVICE,
    tags::REQUESTING_SERVICE_CODE_SEQUENCE,
    tags::REQUESTED_PROCEDURE_DESCRIPTION,
    tags::REQUESTED_PROCEDURE_CODE_SEQUENCE,
    tags::REASON_FOR_VISIT,
    tags::REASON_FOR_VISIT_CODE_SEQUENCE,
    tags::VISIT_STATUS_ID,
    tags::ADMISSION_ID,
    tags::ISSUER_OF_ADMISSION_ID_SEQUENCE,
    tags::SPECIAL_NEEDS,
    tags::SERVICE_EPISODE_ID,
    tags::SERVICE_EPISODE_DESCRIPTION,
    tags::ISSUER_OF_SERVICE_EPISODE_ID_SEQUENCE,
    tags::CURRENT_PATIENT_LOCATION,
    tags::PATIENT_STATE,
    tags::PATIENT_CLINICAL_TRIAL_PARTICIPATION_SEQUENCE,
    tags::REASON_FOR_THE_REQUESTED_PROCEDURE,
    tags::REASON_FOR_REQUESTED_PROCEDURE_CODE_SEQUENCE,
    tags::REASON_FOR_PERFORMED_PROCEDURE_CODE_SEQUENCE,
];

/// PS3.3 C.7.3.1, C.7.3.2, C.7.4.1, C.7.5.1 and C.7.5.2: the series and the equipment it comes from.
const SERIES: &[Tag] = &[
    tags::SERIES_DATE,
    tags::SERIES_TIME,
    tags::MODALITY,
    tags::MANUFACTURER,
    tags::INSTITUTION_NAME,
    tags::INSTITUTION_ADDRESS,
    tags::INSTITUTION_CODE_SEQUENCE,
    tags::STATION_NAME,
    tags::SERIES_DESCRIPTION,
    tags::SERIES_DESCRIPTION_CODE_SEQUENCE,
    tags::INSTITUTIONAL_DEPARTMENT_NAME,
    tags::INSTITUTIONAL_DEPARTMENT_TYPE_CODE_SEQUENCE,
    tags::PERFORMING_PHYSICIAN_NAME,
    tags::PERFORMING_PHYSICIAN_IDENTIFICATION_SEQUENCE,
    tags::OPERATORS_NAME,
    tags::OPERATOR_IDENTIFICATION_SEQUENCE,
    tags::MANUFACTURER_MODEL_NAME,
    tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE,
    tags::RELATED_SERIES_SEQUENCE,
    tags::ANATOMICAL_ORIENTATION_TYPE,
    tags::CLINICAL_TRIAL_COORDINATING_CENTER_NAME,
    tags::CLINICAL_TRIAL_SERIES_ID,
    tags::CLINICAL_TRIAL_SERIES_DESCRIPTION,
    tags::ISSUER_OF_CLINICAL_TRIAL_SERIES_ID,
    tags::BODY_PART_EXAMINED,
    tags::DEVICE_SERIAL_NUMBER,
    tags::DEVICE_UID,
    tags::GANTRY_ID,
    tags::UDI_SEQUENCE,
    tags::MANUFACTURER_DEVICE_CLASS_UID,
    tags::SOFTWARE_VERSIONS,
    tags::PROTOCOL_NAME,
    tags::SPATIAL_RESOLUTION,
    tags::DATE_OF_LAST_CALIBRATION,
    tags::TIME_OF_LAST_CALIBRATION,
    tags::DATE_TIME_OF_LAST_CALIBRATION,
    tags::DATE_OF_MANUFACTURE,
    tags::DATE_OF_INSTALLATION,
    tags::PATIENT_POSITION,
    tags::SERIES_INSTANCE_UID,
    tags::SERIES_NUMBER,
    tags::FRAME_OF_REFERENCE_UID,
    tags::LATERALITY,
    tags::POSITION_REFERENCE_INDICATOR,
    tags::SMALLEST_PIXEL_VALUE_IN_SERIES,
    tags::LARGEST_PIXEL_VALUE_IN_SERIES,
    tags::PIXEL_PADDING_VALUE,
    tags::PERFORMED_STATION_AE_TITLE,
    tags::PERFORMED_STATION_NAME,
    tags::PERFORMED_LOCATION,
    tags::PERFORMED_PROCEDURE_STEP_START_DATE,
    tags::PERFORMED_PROCEDURE_STEP_START_TIME,
    tags::PERFORMED_PROCEDURE_STEP_END_DATE,
    tags::PERFORMED_PROCEDURE_STEP_END_TIME,
    tags::PERFORMED_PROCEDURE_STEP_ID,
    tags::PERFORMED_PROCEDURE_STEP_DESCRIPTION,
    tags::PERFORMED_PROTOCOL_CODE_SEQUENCE,
    tags::REQUEST_ATTRIBUTES_SEQUENCE,
    tags::COMMENTS_ON_THE_PERFORMED_PROCEDURE_STEP,
    tags::TREATMENT_SESSION_UID,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::attributes::ATTRIBUTES;

    #[test]
    fn the_lists_are_sorted_and_share_no_attribute() {
        for list in [PATIENT, STUDY, SERIES] {
            assert!(list.is_sorted_by(|a, b| a < b));
        }
        let all: std::collections::BTreeSet<_> = [PATIENT, STUDY, SERIES].concat().into_iter().collect();
        assert_eq!(all.len(), PATIENT.len() + STUDY.len() + SERIES.len());
    }

    #[test]
    fn the_lists_agree_with_the_table_of_the_index() {
        let computed = |keyword: &str| keyword.starts_with("NumberOf") || keyword.ends_with("InStudy");
        for attribute in ATTRIBUTES.iter().filter(|attribute| !computed(attribute.keyword)) {
            assert_eq!(level_of(attribute.tag), attribute.level, "{}", attribute.keyword);
        }
    }
}
