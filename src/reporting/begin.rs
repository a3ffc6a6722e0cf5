//! A report that a person begins, with no model at all.

use std::collections::BTreeSet;

use super::act::narrative;
use super::change::TextChanges;
use super::state::Status;
use super::{Author, Basis, Opened, Reporting, ReportingError, evidence, subject};
use crate::db::audit::{self, Action, Entry, ObjectKind};
use crate::db::reports::{self, Begun, NewVersion};
use crate::db::studies::{self, Member};
use crate::dicom::uid::StudyUid;
use crate::ids::row_id;
use crate::report::content::{Content, Sections};

/// What a person gives to begin with.
#[derive(Debug, Clone, Default)]
pub struct Beginning {
    pub texts: TextChanges,
    pub reason: Option<String>,
}

const TITLE: &str = "Imaging report";

impl Reporting {
    pub async fn begin(
        &self,
        who: &Author,
        study: &StudyUid,
        beginning: &Beginning,
    ) -> Result<Opened, ReportingError> {
        let members = studies::members(&self.parts.db, study).await?;
        let (basis, mut content) = self.look_at(study, &members).await?;
        beginning.texts.apply(&mut content);
        let faults = content.faults(&self.limits());
        if !faults.is_empty() {
            return Err(ReportingError::Faults(faults));
        }
        let (id, now) = (row_id(), self.parts.clock.now());
        let first = NewVersion {
            report: &id,
            number: 1,
            status: Status::Draft.as_str(),
            act: "begin",
            content: serde_json::to_vec(&content)?,
            author: &who.id,
            author_name: &who.name,
            reason: beginning.reason.as_deref(),
            follows: None,
            signature: None,
            objects: None,
            published_at: None,
        };
        let narrative = narrative(&content, Status::Draft)?;
        let begun = Begun { study, narrative, basis: serde_json::to_vec(&basis)?, first };
        let entry = Entry::new(&who.actor, Action::DraftReport).study(study);
        let entry = entry.object(ObjectKind::Report, &id);
        self.parts.db.run(reports::begin(&begun, now).then(audit::append(&entry, now))).await?;
        self.open(&id).await
    }

    /// Patient and study, and the first image of each series: the report is about them until it
    /// names others.
    async fn look_at(
        &self,
        study: &StudyUid,
        members: &[Member],
    ) -> Result<(Basis, Content), ReportingError> {
        let (mut basis, mut evidence, mut seen) = (None, Vec::new(), BTreeSet::new());
        for member in members.iter().filter(|member| member.rows > 0) {
            if evidence.len() >= self.parts.settings.images_max || !seen.insert(member.series.to_string()) {
                continue;
            }
            let Some(opened) = self.open_image(study, member).await? else { continue };
            basis.get_or_insert_with(|| Basis {
                subject: subject::of(study, &opened.attributes),
                institution: subject::institution(&opened.attributes),
                provenance: None,
                earlier_draft: None,
            });
            evidence.push(evidence::reference(&opened.object, &opened.attributes, &member.modality, 0));
        }
        let none = match members.is_empty() {
            true => ReportingError::UnknownStudy,
            false => ReportingError::Refused("the study has no images to report on"),
        };
        let basis = basis.ok_or(none)?;
        let reason = &basis.subject.request.reason;
        let content = Content {
            title: TITLE.into(),
            language: self.parts.settings.language.clone(),
            sections: Sections { clinical_information: reason.clone(), ..Sections::default() },
            impression_of_model: false,
            findings: Vec::new(),
            addenda: Vec::new(),
            limitations: Vec::new(),
            evidence,
        };
        Ok((basis, content))
    }
}
