//! The identifier of a C-MOVE or C-GET, PS3.4 C.4.2.1.4 and C.4.3.1.3: unique keys in, a selection
//! out.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::str::FromStr;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_encoding::TransferSyntaxIndex;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

use super::refusal::Refusal;
use crate::dicom::header::{self, Limits};
use crate::dicom::uid::TransferSyntaxUid;
use crate::dimse::services::InformationModel;
use crate::query::retrieve::{PatientKey, Selection, Wanted};

/// No identifier has them; whoever sends some is no worse off.
const DEPTH_MAX: usize = 16;
const ELEMENTS_MAX: usize = 10_000;

/// What was agreed on for a retrieval.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) model: InformationModel,
    /// Unique keys above the level may be missing, PS3.4 C.4.2.2.2.
    pub(super) relational: bool,
}

pub(super) fn selection(
    bytes: &[u8],
    syntax: &TransferSyntaxUid,
    terms: Terms,
) -> Result<Selection, Refusal> {
    let keys = Keys(read(bytes, syntax)?);
    match keys.text(tags::QUERY_RETRIEVE_LEVEL).as_str() {
        "PATIENT" if terms.model == InformationModel::PatientRoot => keys.patients(),
        "PATIENT" => Err(Refusal::NoPatientLevel),
        "STUDY" => keys.studies(terms),
        "SERIES" => keys.series(terms),
        "IMAGE" => keys.instances(terms),
        "" => Err(Refusal::Missing(tags::QUERY_RETRIEVE_LEVEL)),
        _ => Err(Refusal::UnknownLevel),
    }
}

fn read(bytes: &[u8], syntax: &TransferSyntaxUid) -> Result<InMemDicomObject, Refusal> {
    let limits = Limits {
        inline_bytes_max: u32::MAX,
        header_bytes_max: bytes.len() as u64,
        depth_max: DEPTH_MAX,
        elements_max: ELEMENTS_MAX,
        fragments_max: 0,
    };
    let syntax = TransferSyntaxRegistry.get(syntax.as_str()).ok_or(Refusal::Unreadable)?;
    // The words of the parser may quote values.
    let header = header::read(&mut Cursor::new(bytes), syntax, limits).map_err(|_| Refusal::Unreadable)?;
    Ok(header.elements)
}

struct Keys(InMemDicomObject);

impl Keys {
    fn patients(&self) -> Result<Selection, Refusal> {
        let patient = self.patient(InformationModel::PatientRoot)?;
        let patient = Some(patient.ok_or(Refusal::Missing(tags::PATIENT_ID))?);
        Ok(Selection { patient, study: None, series: None, wanted: Wanted::Patient })
    }

    fn studies(&self, terms: Terms) -> Result<Selection, Refusal> {
        let patient = self.above(terms, tags::PATIENT_ID, self.patient(terms.model)?)?;
        let wanted = Wanted::Studies(self.list(tags::STUDY_INSTANCE_UID)?);
        Ok(Selection { patient, study: None, series: None, wanted })
    }

    fn series(&self, terms: Terms) -> Result<Selection, Refusal> {
        let patient = self.above(terms, tags::PATIENT_ID, self.patient(terms.model)?)?;
        let study = self.single(tags::STUDY_INSTANCE_UID)?;
        let study = self.above(terms, tags::STUDY_INSTANCE_UID, study)?;
        let wanted = Wanted::Series(self.list(tags::SERIES_INSTANCE_UID)?);
        Ok(Selection { patient, study, series: None, wanted })
    }

    fn instances(&self, terms: Terms) -> Result<Selection, Refusal> {
        let patient = self.above(terms, tags::PATIENT_ID, self.patient(terms.model)?)?;
        let study = self.single(tags::STUDY_INSTANCE_UID)?;
        let study = self.above(terms, tags::STUDY_INSTANCE_UID, study)?;
        let series = self.single(tags::SERIES_INSTANCE_UID)?;
        let series = self.above(terms, tags::SERIES_INSTANCE_UID, series)?;
        let wanted = Wanted::Instances(self.list(tags::SOP_INSTANCE_UID)?);
        Ok(Selection { patient, study, series, wanted })
    }

    /// A key of a level above the one asked. The study root has no patients.
    fn above<T>(&self, terms: Terms, tag: Tag, key: Option<T>) -> Result<Option<T>, Refusal> {
        let is_of_model = tag != tags::PATIENT_ID || terms.model == InformationModel::PatientRoot;
        match key {
            None if is_of_model && !terms.relational => Err(Refusal::Missing(tag)),
            key => Ok(key),
        }
    }

    /// In the study root the Patient ID is an attribute of the study and no unique key (PS3.4 C.6.2.1).
    fn patient(&self, model: InformationModel) -> Result<Option<PatientKey>, Refusal> {
        let patient_id = self.text(tags::PATIENT_ID);
        if model == InformationModel::StudyRoot || patient_id.is_empty() {
            return Ok(None);
        }
        if patient_id.contains('\\') {
            return Err(Refusal::Several(tags::PATIENT_ID));
        }
        let issuer = Some(self.text(tags::ISSUER_OF_PATIENT_ID)).filter(|issuer| !issuer.is_empty());
        Ok(Some(PatientKey { patient_id, issuer }))
    }

    fn single<T: FromStr + Ord>(&self, tag: Tag) -> Result<Option<T>, Refusal> {
        let mut uids = self.uids(tag)?;
        match uids.len() {
            0 | 1 => Ok(uids.pop()),
            _ => Err(Refusal::Several(tag)),
        }
    }

    /// Each once, however often it is named.
    fn list<T: FromStr + Ord>(&self, tag: Tag) -> Result<Vec<T>, Refusal> {
        let uids = self.uids(tag)?;
        if uids.is_empty() { Err(Refusal::Missing(tag)) } else { Ok(uids) }
    }

    fn uids<T: FromStr + Ord>(&self, tag: Tag) -> Result<Vec<T>, Refusal> {
        let text = self.text(tag);
        let values = text.split('\\').map(trimmed).filter(|value| !value.is_empty());
        let uids = values.map(|value| value.parse().map_err(|_| Refusal::NotAUid(tag)));
        Ok(uids.collect::<Result<BTreeSet<T>, _>>()?.into_iter().collect())
    }

    fn text(&self, tag: Tag) -> String {
        let element = self.0.element(tag).ok();
        let text =
            element.and_then(|element| element.value().to_multi_str().ok().map(|text| text.join("\\")));
        text.map(|text| trimmed(&text).to_owned()).unwrap_or_default()
    }
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(['\0', ' '])
}

#[cfg(test)]
mod tests {
    use dicom_core::{DataElement, PrimitiveValue, VR};
    use dicom_dictionary_std::uids;

    use super::*;

    const PATIENT_ROOT: Terms = Terms { model: InformationModel::PatientRoot, relational: false };
    const STUDY_ROOT: Terms = Terms { model: InformationModel::StudyRoot, relational: false };

    fn parse(terms: Terms, keys: &[(Tag, &str)]) -> Result<Selection, Refusal> {
        let object = InMemDicomObject::from_element_iter(keys.iter().map(|(tag, value)| {
            let vr = if tag.group() == 0x0010 { VR::LO } else { VR::UI };
            let vr = if *tag == tags::QUERY_RETRIEVE_LEVEL { VR::CS } else { vr };
            DataElement::new(*tag, vr, PrimitiveValue::from(*value))
        }));
        let mut bytes = Vec::new();
        let uid = uids::IMPLICIT_VR_LITTLE_ENDIAN;
        object.write_dataset_with_ts(&mut bytes, TransferSyntaxRegistry.get(uid).unwrap()).unwrap();
        selection(&bytes, &uid.parse().unwrap(), terms)
    }

    #[track_caller]
    fn check_refused(terms: Terms, keys: &[(Tag, &str)], expected: Refusal) {
        assert_eq!(parse(terms, keys).unwrap_err().to_string(), expected.to_string());
    }

    const LEVEL: Tag = tags::QUERY_RETRIEVE_LEVEL;
    const STUDY: Tag = tags::STUDY_INSTANCE_UID;
    const SERIES: Tag = tags::SERIES_INSTANCE_UID;
    const INSTANCE: Tag = tags::SOP_INSTANCE_UID;

    #[test]
    fn each_level_names_its_entities_and_one_of_each_above() {
        let patient = parse(PATIENT_ROOT, &[(LEVEL, "PATIENT"), (tags::PATIENT_ID, "P1 ")]).unwrap();
        assert_eq!(patient.wanted, Wanted::Patient);
        assert_eq!(patient.patient.unwrap().patient_id, "P1");
        let studies = parse(STUDY_ROOT, &[(LEVEL, "STUDY "), (STUDY, "1.2\\1.3\\1.2")]).unwrap();
        assert_eq!(studies.wanted, Wanted::Studies(vec!["1.2".parse().unwrap(), "1.3".parse().unwrap()]));
        let keys = [(LEVEL, "IMAGE"), (STUDY, "1.2"), (SERIES, "1.3"), (INSTANCE, "1.4\\1.5")];
        let instances = parse(STUDY_ROOT, &keys).unwrap();
        assert_eq!(
            (instances.study, instances.series),
            (Some("1.2".parse().unwrap()), Some("1.3".parse().unwrap()))
        );
        assert!(matches!(instances.wanted, Wanted::Instances(uids) if uids.len() == 2));
    }

    #[test]
    fn missing_keys_are_named_unless_the_retrieval_is_relational() {
        let keys = [(LEVEL, "SERIES"), (SERIES, "1.3")];
        check_refused(STUDY_ROOT, &keys, Refusal::Missing(STUDY));
        check_refused(PATIENT_ROOT, &keys, Refusal::Missing(tags::PATIENT_ID));
        let relational = Terms { relational: true, ..PATIENT_ROOT };
        assert!(parse(relational, &keys).is_ok());
        check_refused(relational, &[(LEVEL, "SERIES"), (STUDY, "1.2")], Refusal::Missing(SERIES));
        check_refused(STUDY_ROOT, &[(STUDY, "1.2")], Refusal::Missing(LEVEL));
    }

    #[test]
    fn what_the_model_does_not_have_is_refused() {
        check_refused(STUDY_ROOT, &[(LEVEL, "PATIENT"), (tags::PATIENT_ID, "P")], Refusal::NoPatientLevel);
        check_refused(STUDY_ROOT, &[(LEVEL, "FRAME"), (STUDY, "1.2")], Refusal::UnknownLevel);
        check_refused(STUDY_ROOT, &[(LEVEL, "STUDY"), (STUDY, "*")], Refusal::NotAUid(STUDY));
        check_refused(
            STUDY_ROOT,
            &[(LEVEL, "SERIES"), (STUDY, "1.2\\1.3"), (SERIES, "1.4")],
            Refusal::Several(STUDY),
        );
        let garbage = selection(b"\x08\0\x52\0\xff\xff", &"1.2.840.10008.1.2".parse().unwrap(), STUDY_ROOT);
        assert!(matches!(garbage, Err(Refusal::Unreadable)));
    }
}
