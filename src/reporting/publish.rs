//! The documents of a signed version: SR and PDF, from the kept rows alone, into the study.
//!
//! Their UIDs follow from report and version, so that doing it twice is harmless: a stop anywhere
//! between the signature and the last row leaves a job that does it again.

use dicom_dictionary_std::uids as sop_classes;

use super::act::about;
use super::{Basis, Reporting, ReportingError};
use crate::ai::RgbImage;
use crate::causes::chain;
use crate::db::audit::{self, Action, Actor};
use crate::db::reports::{self, Head, Objects, Version};
use crate::db::{Batch, DbError, studies};
use crate::dicom::uid::{SopInstanceUid, UidError};
use crate::export::event::Event;
use crate::ingest::Refused;
use crate::jobs::Ending;
use crate::query::rendering::placement::Viewport;
use crate::query::rendering::{self, Format, Rendering};
use crate::report::content::Content;
use crate::report::document::{Device, Predecessor};
use crate::report::encapsulated;
use crate::report::pdf;
use crate::report::signed::{Earlier, Kind, Signed, Signing};
use crate::report::sr;
use crate::report::{DocumentError, file};

#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error(transparent)]
    Report(#[from] ReportingError),
    #[error("the kept content cannot be read")]
    Json(#[from] serde_json::Error),
    #[error("a kept UID is malformed")]
    Uid(#[from] UidError),
    #[error("the version was never signed")]
    NotSigned,
    #[error("the documents could not be made")]
    Documents(#[from] DocumentError),
    #[error("an object was refused")]
    Store(#[from] Refused),
    #[error("the index failed")]
    Index(#[from] DbError),
    #[error("making the objects stopped unexpectedly")]
    Worker(#[from] tokio::task::JoinError),
}

impl PublishError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Index(_) | Self::Report(ReportingError::Index(_) | ReportingError::Read(_)) => true,
            Self::Store(refused) => refused.refusal.is_ours(),
            _ => false,
        }
    }
}

/// As large as a picture on paper is of use.
const PAPER: Viewport = Viewport { columns: 1024, rows: 1024 };

impl Reporting {
    pub(super) async fn publish(&self, report: &str, version: i64) -> Ending {
        match self.try_publish(report, version).await {
            Ok(reason) => Ending::Done(reason.to_owned()),
            Err(error) if error.is_retryable() => Ending::Retry(chain(&error)),
            Err(error) => Ending::Fail(chain(&error)),
        }
    }

    pub(super) async fn note_failure(&self, report: &str, version: i64, reason: &str) {
        tracing::error!(report, version, reason, "the documents of a signed report could not be made");
        let batch = Batch::new().then(reports::publish_failed(report, version, reason));
        if let Err(error) = self.parts.db.run(batch).await {
            tracing::error!(report, version, %error, "the failure could not be recorded");
        }
    }

    async fn try_publish(&self, report: &str, number: i64) -> Result<&'static str, PublishError> {
        let Some(head) = reports::head(&self.parts.db, report).await? else {
            return Ok("the report is gone");
        };
        let (version, content) = self.content(report, number).await?;
        if version.published_at.is_some() {
            return Ok("published before");
        }
        let objects = version.objects.clone().ok_or(PublishError::NotSigned)?;
        let signed = self.signed(&head, &version, content).await?;
        let picture = match signed.key_image() {
            Some(index) => self.picture(&signed, index).await,
            None => None,
        };
        let made = objects.clone();
        let (sr, pdf) = tokio::task::spawn_blocking(move || documents(&signed, &made, picture)).await??;
        self.parts.ingest.store_result(&sr).await?;
        self.parts.ingest.store_result(&pdf).await?;
        self.finish(&head, number, &objects).await
    }

    /// The rows, the exports and the news: with them it is known that the documents are there.
    async fn finish(
        &self,
        head: &Head,
        number: i64,
        objects: &Objects,
    ) -> Result<&'static str, PublishError> {
        let now = self.parts.clock.now();
        let mut batch = reports::published(&head.study, &head.id, number, objects, now);
        let system = Actor::system();
        let entry = about(&system, Action::PublishReport, head);
        batch.push(audit::append(&entry, now));
        let members = studies::members(&self.parts.db, &head.study).await?;
        let results: [SopInstanceUid; 2] =
            [objects.sr_instance_uid.parse()?, objects.pdf_instance_uid.parse()?];
        batch.append(self.parts.exports.results(&members, &results, now));
        let event = Event::ReportSigned { study: &head.study, report: &head.id, version: number };
        batch.append(self.parts.exports.event(&event, now));
        match self.parts.db.run(batch).await {
            Ok(_) => {}
            Err(DbError::Affected { statement: reports::PUBLISHED, .. }) => return Ok("published before"),
            Err(error) => return Err(error.into()),
        }
        self.parts.bell.ring();
        tracing::info!(report = head.id, version = number, "a signed report is in its study");
        Ok("published")
    }

    /// Everything that the documents say.
    async fn signed(&self, head: &Head, version: &Version, content: Content) -> Result<Signed, PublishError> {
        let basis = head.basis.as_deref().ok_or(ReportingError::WithoutVersions)?;
        let basis: Basis = serde_json::from_slice(basis)?;
        let signature = version.signature.clone().ok_or(PublishError::NotSigned)?;
        let first = self.content(&head.id, 1).await?;
        let mut earlier: Vec<Earlier> = Vec::new();
        for document in reports::documents(&self.parts.db, &head.id).await? {
            if document.number < version.number && document.objects.is_some() {
                earlier.push(earlier_document(&document)?);
            }
        }
        let previous = match version.follows {
            Some(number) => Some(self.content(&head.id, number).await?.1),
            None => None,
        };
        Ok(Signed {
            report: head.id.clone(),
            version: version.number,
            kind: Kind::of(&version.status),
            subject: basis.subject,
            signing: Signing {
                name: signature.signer_name,
                organization: signature.organization,
                at: version.at,
                proof: signature.proof,
            },
            reason: version.reason.clone().or(self.reason_of(head, version).await?),
            draft: (first.0.author == "system").then_some(first.1),
            previous,
            content,
            provenance: basis.provenance,
            earlier,
            newer_draft: head.newer_draft.clone(),
            device: Device::radiant(self.parts.serial_number.clone()),
        })
    }

    /// Why a correction or an addendum was begun.
    async fn reason_of(&self, head: &Head, signed: &Version) -> Result<Option<String>, PublishError> {
        let Some(follows) = signed.follows else { return Ok(None) };
        let rows = reports::versions(&self.parts.db, &head.id, follows, 1000).await?;
        let begun = rows
            .into_iter()
            .rfind(|row| row.number < signed.number && matches!(row.act.as_str(), "addend" | "correct"));
        Ok(begun.and_then(|begun| begun.reason))
    }

    /// The image that the PDF shows; a report whose image cannot be drawn comes without.
    async fn picture(&self, signed: &Signed, index: usize) -> Option<(usize, RgbImage)> {
        match self.draw(signed, index).await {
            Ok(picture) => picture.map(|picture| (index, picture)),
            Err(reason) => {
                tracing::warn!(report = signed.report, reason, "a key image could not be drawn");
                None
            }
        }
    }

    async fn draw(&self, signed: &Signed, index: usize) -> Result<Option<RgbImage>, String> {
        let image = &signed.content.evidence[index];
        let members = studies::members(&self.parts.db, &image.study).await.map_err(|error| chain(&error))?;
        let Some(member) = members.iter().find(|member| member.sop_instance == image.sop_instance) else {
            return Ok(None);
        };
        let opened = self.open_image(&image.study, member).await.map_err(|error| chain(&error))?;
        let Some(opened) = opened else { return Ok(None) };
        let number = u64::from(image.frame.unwrap_or(1));
        let frame = opened.object.frame(number).await.map_err(|error| chain(&error))?;
        let Some(bytes) = frame else { return Ok(None) };
        let syntax = opened.object.instance.transfer_syntax.clone();
        let work = tokio::task::spawn_blocking(move || {
            let frame = bytes.encoded(syntax.as_str());
            let rendering = Rendering { viewport: Some(PAPER), ..Rendering::plain(Format::Png) };
            let drawn = rendering::draw(&opened.attributes, number as usize - 1, frame, &rendering, None);
            drawn.map(|drawn| drawn.picture.into_rgb8()).map_err(|error| chain(&error))
        });
        let picture = work.await.map_err(|error| chain(&error))??;
        let (width, height) = picture.dimensions();
        Ok(Some(RgbImage { width, height, data: picture.into_raw() }))
    }
}

fn earlier_document(version: &Version) -> Result<Earlier, PublishError> {
    // The caller has looked that there are some.
    let objects = version.objects.clone().ok_or(PublishError::NotSigned)?;
    let predecessor = |series: &str, class: &str, instance: &str| {
        Ok::<_, UidError>(Predecessor {
            series: series.parse()?,
            sop_class: class.parse()?,
            sop_instance: instance.parse()?,
        })
    };
    let sr_class = sop_classes::COMPREHENSIVE3_DSR_STORAGE;
    Ok(Earlier {
        version: version.number,
        signed: version.signature.as_ref().map(|signature| (signature.signer_name.clone(), version.at)),
        sr: predecessor(&objects.series_uid_sr, sr_class, &objects.sr_instance_uid)?,
        pdf: predecessor(
            &objects.series_uid_pdf,
            sop_classes::ENCAPSULATED_PDF_STORAGE,
            &objects.pdf_instance_uid,
        )?,
    })
}

/// CPU work.
fn documents(
    signed: &Signed,
    objects: &Objects,
    picture: Option<(usize, RgbImage)>,
) -> Result<(Vec<u8>, Vec<u8>), DocumentError> {
    let pdf = pdf::write_signed(signed, picture.as_ref().map(|(index, picture)| (*index, picture)))?;
    let sr = sr::signed::write(signed, &objects.series_uid_sr, &objects.sr_instance_uid)?;
    let pdf = encapsulated::write_signed(signed, &objects.series_uid_pdf, &objects.pdf_instance_uid, pdf)?;
    Ok((file(&sr)?, file(&pdf)?))
}
