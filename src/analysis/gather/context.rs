//! What the order, the patient's data and earlier reports say beside the images, as far as the
//! configuration lets it be told.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::{GatherError, Gatherer};
use crate::ai::ContextKind;
use crate::ai::prompt::{Context, Identifying, Template};
use crate::db::priors;
use crate::dicom::temporal;
use crate::dicom::uid::StudyUid;
use crate::report::content::{Content, StatedFinding};
use crate::report::document::{PriorStudy, Subject};
use crate::telemetry::limits;
use crate::volume::attributes::{items, text};

/// People whose names may stand in the words of others.
const NAMES: [Tag; 7] = [
    tags::PATIENT_NAME,
    tags::PATIENT_MOTHER_BIRTH_NAME,
    tags::PATIENT_BIRTH_NAME,
    tags::RESPONSIBLE_PERSON,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::REQUESTING_PHYSICIAN,
    tags::OPERATORS_NAME,
];

/// Other Patient IDs, retired and still about.
const OTHER_PATIENT_IDS: Tag = Tag(0x0010, 0x1000);

const IDENTIFIERS: [Tag; 4] =
    [tags::PATIENT_ID, tags::ACCESSION_NUMBER, OTHER_PATIENT_IDS, tags::PATIENT_TELEPHONE_NUMBERS];

impl Gatherer<'_> {
    /// Of an answer that is there already nothing is told any more.
    pub(super) async fn context(
        &self,
        template: &Template,
        subject: &Subject,
        object: &InMemDicomObject,
        compared: Option<&PriorStudy>,
    ) -> Result<Context, GatherError> {
        if self.earlier.is_some() || !template.takes_context() {
            return Ok(Context::default());
        }
        let mut told = Vec::new();
        for kind in &self.settings.context {
            let text = match kind {
                ContextKind::PriorReport => self.prior_report(subject, object, compared).await?,
                kind => of_header(*kind, object),
            };
            told.extend(text.map(|text| (*kind, text)));
        }
        let values = |tags: &[Tag]| tags.iter().filter_map(|tag| text(object, *tag)).collect::<Vec<_>>();
        let (names, identifiers) = (values(&NAMES), values(&IDENTIFIERS));
        let identifying = Identifying {
            names: &names.iter().map(String::as_str).collect::<Vec<_>>(),
            identifiers: &identifiers.iter().map(String::as_str).collect::<Vec<_>>(),
            birth_date: &subject.patient.birth_date,
        };
        let most = self.settings.context_characters_max;
        if told.iter().map(|(_, text)| text.chars().count()).sum::<usize>() > most {
            limits::hit("analysis.context_characters_max");
        }
        Ok(Context::of(told, identifying, most))
    }

    /// Of the study that is compared, else of the last one before with such images that has one.
    async fn prior_report(
        &self,
        subject: &Subject,
        object: &InMemDicomObject,
        compared: Option<&PriorStudy>,
    ) -> Result<Option<String>, GatherError> {
        let candidates = match compared {
            Some(prior) => vec![prior.uid.clone()],
            None => {
                let modality = text(object, tags::MODALITY).unwrap_or_default();
                self.before(&subject.study.uid, &subject.study.date, &[&modality]).await?
            }
        };
        for study in candidates {
            if let Some(content) = priors::signed_report(self.db, &study).await? {
                // A report that a later version wrote is left out rather than told in part.
                return Ok(serde_json::from_slice(&content).ok().as_ref().map(in_words));
            }
        }
        Ok(None)
    }

    /// Earlier studies of the patient, as old as the configuration allows.
    pub(super) async fn before(
        &self,
        study: &StudyUid,
        date: &str,
        modalities: &[&str],
    ) -> Result<Vec<StudyUid>, GatherError> {
        if date.is_empty() {
            return Ok(Vec::new());
        }
        let earliest = temporal::shifted(date, -i64::from(self.settings.prior_days_max));
        Ok(priors::before(self.db, study, modalities, &earliest).await?)
    }
}

/// From the Request Attributes Sequence where there is one, else from the object itself.
fn of_order(object: &InMemDicomObject, tag: Tag) -> Option<String> {
    let item = items(object, tags::REQUEST_ATTRIBUTES_SEQUENCE).first();
    item.and_then(|item| text(item, tag)).or_else(|| text(object, tag))
}

fn of_header(kind: ContextKind, object: &InMemDicomObject) -> Option<String> {
    match kind {
        ContextKind::Reason => of_order(object, tags::REASON_FOR_THE_REQUESTED_PROCEDURE),
        ContextKind::Procedure => of_order(object, tags::REQUESTED_PROCEDURE_DESCRIPTION),
        ContextKind::StudyDescription => text(object, tags::STUDY_DESCRIPTION),
        ContextKind::History => text(object, tags::ADDITIONAL_PATIENT_HISTORY),
        ContextKind::Age => age(&text(object, tags::PATIENT_AGE)?),
        ContextKind::Sex => sex(&text(object, tags::PATIENT_SEX)?),
        ContextKind::PriorReport => None,
    }
}

/// VR AS in words. Ages above 89 tell who somebody is more than how old.
fn age(value: &str) -> Option<String> {
    let (number, unit) = value.trim().split_at_checked(3)?;
    let number: u32 = number.parse().ok()?;
    match unit {
        "Y" if number > 89 => Some("90 years or older".to_owned()),
        "Y" => Some(format!("{number} years")),
        "M" => Some(format!("{number} months")),
        "W" => Some(format!("{number} weeks")),
        "D" => Some(format!("{number} days")),
        _ => None,
    }
}

fn sex(value: &str) -> Option<String> {
    match value.trim() {
        "F" => Some("female".to_owned()),
        "M" => Some("male".to_owned()),
        _ => None,
    }
}

/// What a signed report says, without headings.
fn in_words(content: &Content) -> String {
    let findings = content.stated().map(|finding: &StatedFinding| finding.words.sentence());
    let parts = [content.sections.findings.clone()].into_iter().chain(findings);
    let parts = parts.chain([content.sections.impression.clone()]);
    let addenda = content.addenda.iter().map(|addendum| addendum.text.clone());
    parts.chain(addenda).filter(|part| !part.trim().is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_words_and_the_very_old_are_not_told_apart() {
        let told = ["055Y", "003M", "097Y", "12", "05xY"].map(age);
        assert_eq!(
            told,
            [
                Some("55 years".to_owned()),
                Some("3 months".to_owned()),
                Some("90 years or older".to_owned()),
                None,
                None
            ]
        );
        assert_eq!((sex("F"), sex("O")), (Some("female".to_owned()), None));
    }
}
