//! One act of a person on a report: checked, made into the next version, and written with its
//! audit.

use super::change::{Context, TextChanges};
use super::state::{Act, Status};
use super::values;
use super::{Author, Expected, Opened, Reporting, ReportingError};
use crate::clock::Timestamp;
use crate::db::audit::{self, Action, Actor, Entry, ObjectKind};
use crate::db::reports::{self, Advance, Head, NewVersion, Return};
use crate::report::content::{Content, Fault, Words};
use crate::report::document::ImageReference;
use crate::report::narrative::Narrative;

/// What a person does to a report, short of signing.
#[derive(Debug, Clone)]
pub enum Edit {
    Text(TextChanges),
    AddFinding(Words),
    ChangeFinding {
        finding: String,
        words: Words,
    },
    AcceptFinding {
        finding: String,
    },
    RejectFinding {
        finding: String,
        reason: String,
    },
    /// One that a person added; what a model said is rejected instead.
    RemoveFinding {
        finding: String,
    },
    Addendum {
        text: String,
    },
    ChangeAddendum {
        text: String,
    },
    /// Begins a correction.
    Correct,
}

impl Edit {
    fn act(&self) -> Act {
        match self {
            Self::Addendum { .. } => Act::Addend,
            Self::ChangeAddendum { .. } => Act::EditAddendum,
            Self::Correct => Act::Correct,
            _ => Act::Edit,
        }
    }

    /// As versions name it.
    fn name(&self) -> &'static str {
        match self {
            Self::Text(_) => "edit",
            Self::AddFinding(_) => "add-finding",
            Self::ChangeFinding { .. } => "edit-finding",
            Self::AcceptFinding { .. } => "accept-finding",
            Self::RejectFinding { .. } => "reject-finding",
            Self::RemoveFinding { .. } => "remove-finding",
            Self::Addendum { .. } => "addend",
            Self::ChangeAddendum { .. } => "edit-addendum",
            Self::Correct => "correct",
        }
    }

    /// As the trail names it.
    fn action(&self) -> Action {
        match self {
            Self::Text(_) | Self::AddFinding(_) | Self::RemoveFinding { .. } => Action::EditReport,
            Self::ChangeFinding { .. } => Action::EditFinding,
            Self::AcceptFinding { .. } => Action::AcceptFinding,
            Self::RejectFinding { .. } => Action::RejectFinding,
            Self::Addendum { .. } | Self::ChangeAddendum { .. } => Action::AddToReport,
            Self::Correct => Action::CorrectReport,
        }
    }

    fn words(&self) -> Option<&Words> {
        match self {
            Self::AddFinding(words) | Self::ChangeFinding { words, .. } => Some(words),
            _ => None,
        }
    }
}

impl Reporting {
    /// Makes the next version of a report.
    pub async fn edit(
        &self,
        who: &Author,
        id: &str,
        expected: &Expected,
        edit: &Edit,
        reason: Option<&str>,
    ) -> Result<Opened, ReportingError> {
        let opened = self.open_for(id, expected).await?;
        let status = allowed(&opened, edit.act())?;
        self.check_reason(edit, reason)?;
        let image = match edit.words() {
            Some(words) => self.image_of(&opened, words).await?,
            None => None,
        };
        let now = self.parts.clock.now();
        let mut content = opened.content.clone();
        let context = Context { by: &who.name, now, report: id, limits: self.limits() };
        context.apply(edit, &mut content, image)?;
        self.measure_anew(&opened.content, &mut content).await?;
        let follows = match edit.act() {
            Act::Addend | Act::Correct => Some(opened.version.number),
            _ => opened.version.follows,
        };
        let next = Next { status, act: edit.name(), action: edit.action(), content, reason, follows };
        self.write(who, &opened, next, now).await?;
        self.open(id).await
    }

    /// Numbers are those of the region that the finding has now.
    async fn measure_anew(&self, before: &Content, content: &mut Content) -> Result<(), ReportingError> {
        let Content { findings, evidence, .. } = content;
        for finding in findings {
            let own = before.finding(&finding.id).map(|own| (&own.words.image, own.words.region));
            if own == Some((&finding.words.image, finding.words.region)) {
                continue;
            }
            let place = finding.words.image.as_ref();
            let image = place.and_then(|place| evidence.iter().find(|image| place.is(image)));
            finding.measured = match (image, &finding.words.region) {
                (Some(image), Some(region)) => {
                    values::measured(&self.parts.db, &self.parts.blobs, image, region).await?
                }
                _ => Vec::new(),
            };
        }
        Ok(())
    }

    fn check_reason(&self, edit: &Edit, reason: Option<&str>) -> Result<(), ReportingError> {
        let given = reason.map(|reason| self.limits().faults_of("/reason", reason));
        match (edit, given) {
            (Edit::Correct, None) => Err(fault(Fault::new("/reason", "a correction needs its reason"))),
            (_, Some(Some(faulty))) => Err(fault(faulty)),
            _ => Ok(()),
        }
    }

    async fn image_of(
        &self,
        opened: &Opened,
        words: &Words,
    ) -> Result<Option<ImageReference>, ReportingError> {
        let Some(place) = &words.image else { return Ok(None) };
        match opened.content.image(place) {
            Some(index) => Ok(Some(opened.content.evidence[index].clone())),
            None => self.find_image(&opened.head.study, place).await,
        }
    }

    async fn write(
        &self,
        who: &Author,
        opened: &Opened,
        next: Next<'_>,
        now: Timestamp,
    ) -> Result<(), ReportingError> {
        let head = &opened.head;
        let version = NewVersion {
            report: &head.id,
            number: head.versions + 1,
            status: next.status.as_str(),
            act: next.act,
            content: serde_json::to_vec(&next.content)?,
            author: &who.id,
            author_name: &who.name,
            reason: next.reason,
            follows: next.follows,
            signature: None,
            objects: None,
            published_at: None,
        };
        let narrative = narrative(&next.content, next.status)?;
        let advance = Advance { study: &head.study, revision: head.revision, narrative, version };
        let entry = about(&who.actor, next.action, head).detail(next.act);
        let batch = reports::advance(&advance, now).then(audit::append(&entry, now));
        self.parts.db.run(batch).await?;
        Ok(())
    }

    /// Gives up what was begun on a signed report; its versions stay on record.
    pub async fn discard(
        &self,
        who: &Author,
        id: &str,
        expected: &Expected,
    ) -> Result<Opened, ReportingError> {
        let opened = self.open_for(id, expected).await?;
        allowed(&opened, Act::Discard)?;
        let signed = opened.version.follows.ok_or(ReportingError::UnknownVersion)?;
        let (version, content) = self.content(id, signed).await?;
        let status = Status::named(&version.status).ok_or(ReportingError::WithoutVersions)?;
        let (head, now) = (&opened.head, self.parts.clock.now());
        let back = Return {
            study: &head.study,
            report: id,
            revision: head.revision,
            status: status.as_str(),
            version: signed,
            narrative: narrative(&content, status)?,
        };
        let entry = about(&who.actor, Action::DiscardDraft, head);
        self.parts.db.run(reports::go_back(&back, now).then(audit::append(&entry, now))).await?;
        self.open(id).await
    }
}

/// What the next version is.
struct Next<'a> {
    status: Status,
    act: &'static str,
    action: Action,
    content: Content,
    reason: Option<&'a str>,
    follows: Option<i64>,
}

/// What is done to a report, for the trail.
pub(super) fn about<'a>(actor: &'a Actor, action: Action, head: &'a Head) -> Entry<'a> {
    Entry::new(actor, action).study(&head.study).object(ObjectKind::Report, &head.id)
}

pub(super) fn allowed(opened: &Opened, act: Act) -> Result<Status, ReportingError> {
    opened.status.after(act).ok_or(ReportingError::NotAllowed { status: opened.status, act })
}

pub(super) fn fault(fault: Fault) -> ReportingError {
    ReportingError::Faults(vec![fault])
}

/// The version in force, as readers of any kind get it.
pub(super) fn narrative(content: &Content, status: Status) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Narrative::of_content(content, status.is_signed()))
}
