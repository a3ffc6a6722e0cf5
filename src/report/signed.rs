//! A signed version as its documents tell it: who answers for it, what he kept and what he
//! rejected, and how it came about.

use super::codes::Code;
use super::content::{self, By, Content, FindingChange, Origin as FindingOrigin, StatedFinding};
use super::document::{Device, ImageReference, Predecessor, Provenance, Subject};
use super::elements::Origin;
use crate::clock::Timestamp;

#[derive(Debug, Clone, PartialEq)]
pub struct Signed {
    /// Id of the report.
    pub report: String,
    pub version: i64,
    pub kind: Kind,
    pub subject: Subject,
    pub content: Content,
    pub signing: Signing,
    /// Why it was added to or corrected.
    pub reason: Option<String>,
    /// What a model had drafted.
    pub draft: Option<Content>,
    /// The signed version that this one adds to or corrects.
    pub previous: Option<Content>,
    /// Of the draft.
    pub provenance: Option<Provenance>,
    /// Documents of the report before this one, oldest first.
    pub earlier: Vec<Earlier>,
    /// A later draft, of more images, that nobody has taken in.
    pub newer_draft: Option<String>,
    pub device: Device,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Report,
    Addendum,
    Correction,
}

impl Kind {
    /// By the state that the signature leads to.
    pub fn of(status: &str) -> Self {
        match status {
            "addended" => Self::Addendum,
            "corrected" => Self::Correction,
            _ => Self::Report,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Signing {
    /// As people write it.
    pub name: String,
    pub organization: String,
    pub at: Timestamp,
    /// `password`, `recent-authentication`, `configured`.
    pub proof: String,
}

impl Signing {
    /// VR PN: one group of at most 64 characters, without what parts groups, components or values
    /// (PS3.5 6.2). The whole name stands as the family name where its parts are not known.
    pub fn person_name(&self) -> String {
        let plain = |c: char| if c.is_control() || matches!(c, '\\' | '=' | '^') { ' ' } else { c };
        self.name.trim().chars().map(plain).take(64).collect::<String>().trim().to_owned()
    }

    /// "2026-11-23 13:05 UTC".
    pub fn time(&self) -> String {
        let text = self.at.rfc3339();
        format!("{} {} UTC", text.get(..10).unwrap_or(&text), text.get(11..16).unwrap_or_default())
    }
}

/// Documents of an earlier version.
#[derive(Debug, Clone, PartialEq)]
pub struct Earlier {
    pub version: i64,
    /// By whom and when; `None` for the draft of a model.
    pub signed: Option<(String, Timestamp)>,
    pub sr: Predecessor,
    pub pdf: Predecessor,
}

impl Signed {
    pub(super) fn origin(&self) -> Origin<'_> {
        Origin { subject: &self.subject, device: &self.device, made: self.signing.at }
    }

    pub fn title(&self) -> String {
        let kind = match self.kind {
            Kind::Report => "Signed report",
            Kind::Addendum => "Signed report with addendum",
            Kind::Correction => "Corrected report",
        };
        format!("{kind}: {}", self.content.title)
    }

    pub fn image_of(&self, finding: &StatedFinding) -> Option<&ImageReference> {
        let place = finding.words.image.as_ref()?;
        self.content.image(place).map(|index| &self.content.evidence[index])
    }

    /// Position in the evidence of the image that shows most: the first with a region, else the
    /// first of a finding. `None` where no finding names one.
    pub fn key_image(&self) -> Option<usize> {
        let with_region = self.content.stated().filter(|finding| finding.words.region.is_some());
        let places = with_region.chain(self.content.stated());
        places.filter_map(|finding| finding.words.image.as_ref()).find_map(|place| self.content.image(place))
    }

    /// What must be known of the model and its words, whoever signed.
    pub fn notices(&self) -> Vec<String> {
        let model = self.provenance.as_ref().map(|provenance| &provenance.model);
        let drafted = model.map(|model| {
            format!(
                "{} version {} drafted findings for this report; each was accepted, edited or rejected by the signer.",
                model.name, model.version
            )
        });
        let newer = self.newer_draft.as_ref().map(|id| {
            format!("More images of the study came after this report was begun: draft {id} of them was not taken in.")
        });
        let own = model.and_then(|model| model.notice.clone());
        let configured = (self.signing.proof == "configured")
            .then(|| "Signed in the name that is configured, on a server without access control.".to_owned());
        [drafted, own, newer, configured].into_iter().flatten().collect()
    }

    /// What a person changed in the draft of the model, a sentence each.
    pub fn changes_of_draft(&self) -> Vec<String> {
        self.draft.as_ref().map(|draft| changes(draft, &self.content)).unwrap_or_default()
    }

    /// What changed since the version that was signed before.
    pub fn changes_of_previous(&self) -> Vec<String> {
        self.previous.as_ref().map(|previous| changes(previous, &self.content)).unwrap_or_default()
    }
}

/// The code of a finding: the person's, that of the tables, or one of the words.
pub(super) fn code_of(finding: &StatedFinding) -> Code {
    match &finding.words.code {
        Some(code) => Code {
            value: code.value.clone().into(),
            scheme: code.scheme.clone().into(),
            meaning: code.meaning.clone().into(),
        },
        None => super::codes::finding(&finding.words.finding).code,
    }
}

fn changes(old: &Content, new: &Content) -> Vec<String> {
    let difference = content::between(old, new, By::Line);
    let fields = difference.fields.iter().map(|change| format!("The {} was changed.", change.field));
    let sections = difference.sections.iter().map(|change| match change.section.split_once('/') {
        Some(_) => "An addendum was written.".to_owned(),
        None => format!("The section \"{}\" was changed.", change.section.replace('_', " ")),
    });
    let findings = difference.findings.iter().filter_map(|change| finding_change(change, old, new));
    fields.chain(sections).chain(findings).collect()
}

/// What was only accepted is no change.
fn finding_change(change: &FindingChange, old: &Content, new: &Content) -> Option<String> {
    match change {
        FindingChange::Added { sentence, .. } => Some(format!("Added: {sentence}")),
        FindingChange::Removed { sentence, .. } => Some(format!("Removed: {sentence}")),
        FindingChange::Changed { id, fields, .. } => {
            let (before, after) = (old.finding(id)?, new.finding(id)?);
            match (before.is_stated(), after.is_stated()) {
                (true, false) => Some(format!("Rejected: {}", before.words.sentence())),
                (false, true) => Some(format!("Taken back in: {}", after.words.sentence())),
                _ if before.words != after.words => {
                    let words = fields.iter().map(|change| change.field.as_str());
                    let named: Vec<&str> =
                        words.filter(|field| !matches!(*field, "decision" | "reason")).collect();
                    Some(format!(
                        "Edited ({}): \"{}\" became \"{}\"",
                        named.join(", "),
                        before.words.sentence(),
                        after.words.sentence()
                    ))
                }
                _ => None,
            }
        }
    }
}

/// Whether a model said it first.
pub(super) fn is_of_model(finding: &StatedFinding) -> bool {
    finding.origin == FindingOrigin::Model
}
