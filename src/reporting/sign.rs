//! Signing: the version that is closed, and the job that makes its documents, in one batch.

use super::act::{about, allowed, fault, narrative};
use super::state::Act;
use super::{Author, Basis, Expected, Opened, Reporting, ReportingError};
use crate::db::audit::{self, Action};
use crate::db::reports::{self, Advance, NewVersion, Objects, Signature};
use crate::db::{Batch, jobs};
use crate::jobs::Task;
use crate::report::content::{Content, Fault};
use crate::report::uids::{self, VersionRole};

/// Who signs, and how it is known that it is he.
#[derive(Debug, Clone)]
pub struct Signer {
    pub author: Author,
    pub proof: &'static str,
}

/// Verifying Organization (0040,A027) must have a value.
const NO_ORGANIZATION: &str = "Organization not given";

impl Reporting {
    /// Closes the version in force. `impression_confirmed` says that the signer has read an
    /// impression of the model again after he disagreed with one of its findings.
    pub async fn sign(
        &self,
        signer: &Signer,
        id: &str,
        expected: &Expected,
        impression_confirmed: bool,
        reason: Option<&str>,
    ) -> Result<Opened, ReportingError> {
        let opened = self.open_for(id, expected).await?;
        let status = allowed(&opened, Act::Sign)?;
        check(&opened.content, impression_confirmed)?;
        if let Some(faulty) = reason.and_then(|reason| self.limits().faults_of("/reason", reason)) {
            return Err(fault(faulty));
        }
        let head = &opened.head;
        let number = head.versions + 1;
        let signature = self.signature(signer, &opened)?;
        let objects = objects(id, number);
        let (who, now) = (&signer.author, self.parts.clock.now());
        let version = NewVersion {
            report: id,
            number,
            status: status.as_str(),
            act: "sign",
            content: opened.version.content.clone(),
            author: &who.id,
            author_name: &who.name,
            reason,
            follows: opened.version.follows,
            signature: Some(&signature),
            objects: Some(&objects),
            published_at: None,
        };
        let narrative = narrative(&opened.content, status)?;
        let advance = Advance { study: &head.study, revision: head.revision, narrative, version };
        let entry = about(&who.actor, Action::SignReport, head).detail(signer.proof);
        let task = Task::PublishReport { report: id.to_owned(), version: number };
        let batch = reports::advance(&advance, now).then(audit::append(&entry, now));
        self.parts.db.run(batch.then(jobs::enqueue(&task, now, now))).await?;
        self.parts.bell.ring();
        self.open(id).await
    }

    /// Who signs while access control is off.
    pub fn configured_signer(&self) -> Option<&str> {
        Some(self.parts.settings.signer.trim()).filter(|name| !name.is_empty())
    }

    fn signature(&self, signer: &Signer, opened: &Opened) -> Result<Signature, ReportingError> {
        let basis: Basis =
            serde_json::from_slice(opened.head.basis.as_deref().ok_or(ReportingError::WithoutVersions)?)?;
        let given = [&self.parts.settings.organization, &basis.institution];
        let organization = given.into_iter().find(|name| !name.trim().is_empty());
        Ok(Signature {
            signer_name: signer.author.name.clone(),
            organization: organization.map_or_else(|| NO_ORGANIZATION.to_owned(), Clone::clone),
            proof: signer.proof.to_owned(),
        })
    }

    /// What was signed before a stop, and is not in the study yet, finds its worker.
    pub async fn resume(&self) -> Result<usize, crate::db::DbError> {
        let unpublished = reports::unpublished(&self.parts.db).await?;
        let now = self.parts.clock.now();
        let mut batch = Batch::new();
        for (report, version) in &unpublished {
            let task = Task::PublishReport { report: report.clone(), version: *version };
            batch.push(jobs::enqueue(&task, now, now));
        }
        self.parts.db.run(batch).await?;
        self.parts.bell.ring();
        Ok(unpublished.len())
    }
}

/// What nobody may put his name to.
fn check(content: &Content, impression_confirmed: bool) -> Result<(), ReportingError> {
    if content.undecided() > 0 {
        return Err(ReportingError::Refused(
            "findings of the model are neither accepted, edited nor rejected",
        ));
    }
    if content.sections.impression.trim().is_empty() {
        return Err(fault(Fault::new("/sections/impression", "a signed report has an impression")));
    }
    if content.impression_is_doubtful() && !impression_confirmed {
        return Err(ReportingError::Refused(
            "the impression is the model's, and a finding it may rest on was changed or rejected: \
             write it anew or confirm it (impression_confirmed)",
        ));
    }
    Ok(())
}

fn objects(report: &str, version: i64) -> Objects {
    let uid = |role| uids::of_version(report, version, role);
    Objects {
        series_uid_sr: uid(VersionRole::SrSeries),
        sr_instance_uid: uid(VersionRole::SrInstance),
        series_uid_pdf: uid(VersionRole::PdfSeries),
        pdf_instance_uid: uid(VersionRole::PdfInstance),
    }
}
