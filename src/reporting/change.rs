//! From one content to the next: what an act makes of it. No I/O.

use super::ReportingError;
use super::act::{Edit, fault};
use crate::clock::Timestamp;
use crate::ids::{derived_uid, row_id};
use crate::report::content::{
    Addendum, Content, Decided, Decision, Fault, Limits, Method, Origin, StatedFinding, Words, known_code,
};
use crate::report::document::ImageReference;

/// Texts that are to be changed; what is not named stays.
#[derive(Debug, Clone, Default)]
pub struct TextChanges {
    pub title: Option<String>,
    pub language: Option<String>,
    pub clinical_information: Option<String>,
    pub technique: Option<String>,
    pub comparison: Option<String>,
    pub findings: Option<String>,
    pub impression: Option<String>,
}

/// Who acts, when and within which bounds.
pub(super) struct Context<'a> {
    pub(super) by: &'a str,
    pub(super) now: Timestamp,
    pub(super) report: &'a str,
    pub(super) limits: Limits,
}

impl Context<'_> {
    /// `image` is what the words of the act name, where the study has it.
    pub(super) fn apply(
        &self,
        edit: &Edit,
        content: &mut Content,
        image: Option<ImageReference>,
    ) -> Result<(), ReportingError> {
        match edit {
            Edit::Text(changes) => changes.apply(content),
            Edit::AddFinding(words) => self.add(content, words, image)?,
            Edit::ChangeFinding { finding, words } => self.change(content, finding, words, image)?,
            Edit::AcceptFinding { finding } => self.accept(content, finding)?,
            Edit::RejectFinding { finding, reason } => self.reject(content, finding, reason)?,
            Edit::RemoveFinding { finding } => remove(content, finding)?,
            Edit::Addendum { text } => {
                self.check_text("/text", text)?;
                let (by, at) = (self.by.to_owned(), self.now);
                content.addenda.push(Addendum { text: text.clone(), by, at });
            }
            Edit::ChangeAddendum { text } => {
                self.check_text("/text", text)?;
                let last =
                    content.addenda.last_mut().ok_or(ReportingError::Refused("there is no addendum"))?;
                *last = Addendum { text: text.clone(), by: self.by.to_owned(), at: self.now };
            }
            Edit::Correct => {}
        }
        let faults = content.faults(&self.limits);
        if faults.is_empty() { Ok(()) } else { Err(ReportingError::Faults(faults)) }
    }

    fn check_text(&self, pointer: &str, text: &str) -> Result<(), ReportingError> {
        self.limits.faults_of(pointer, text).map_or(Ok(()), |faulty| Err(fault(faulty)))
    }

    fn decided(&self, reason: Option<&str>) -> Option<Decided> {
        Some(Decided { by: self.by.to_owned(), at: self.now, reason: reason.map(str::to_owned) })
    }

    fn add(
        &self,
        content: &mut Content,
        words: &Words,
        image: Option<ImageReference>,
    ) -> Result<(), ReportingError> {
        let words = checked(words, None, content, image)?;
        let id = row_id();
        let tracking_uid = derived_uid(&["report-finding", self.report, &id]);
        content.findings.push(StatedFinding {
            id,
            origin: Origin::Person,
            decision: Decision::Edited,
            decided: self.decided(None),
            words,
            original: None,
            measured: Vec::new(),
            remarks: Vec::new(),
            tracking_uid,
        });
        Ok(())
    }

    /// The model's own words stay beside those of the person.
    fn change(
        &self,
        content: &mut Content,
        id: &str,
        words: &Words,
        image: Option<ImageReference>,
    ) -> Result<(), ReportingError> {
        let before = content.finding(id).ok_or(ReportingError::UnknownFinding)?;
        let of_model =
            before.original.clone().or((before.origin == Origin::Model).then(|| before.words.clone()));
        let words = checked(words, of_model.as_ref(), content, image)?;
        let decided = self.decided(None);
        let finding = find(content, id)?;
        // What is as the model had it is no edit.
        let (decision, original) = match &of_model {
            Some(own) if *own == words => (Decision::Accepted, None),
            own => (Decision::Edited, own.clone()),
        };
        *finding = StatedFinding { decision, decided, words, original, ..finding.clone() };
        Ok(())
    }

    /// What a person has edited goes back to the words of the model.
    fn accept(&self, content: &mut Content, id: &str) -> Result<(), ReportingError> {
        let decided = self.decided(None);
        let finding = of_model(content, id)?;
        if let Some(original) = finding.original.take() {
            finding.words = original;
        }
        finding.decision = Decision::Accepted;
        finding.decided = decided;
        Ok(())
    }

    fn reject(&self, content: &mut Content, id: &str, reason: &str) -> Result<(), ReportingError> {
        self.check_text("/reason", reason)?;
        let decided = self.decided(Some(reason));
        let finding = of_model(content, id)?;
        if let Some(original) = finding.original.take() {
            finding.words = original;
        }
        finding.decision = Decision::Rejected;
        finding.decided = decided;
        Ok(())
    }
}

impl TextChanges {
    pub(super) fn apply(&self, content: &mut Content) {
        if self.impression.is_some() {
            content.impression_of_model = false;
        }
        let sections = &mut content.sections;
        for (new, place) in [
            (&self.title, &mut content.title),
            (&self.language, &mut content.language),
            (&self.clinical_information, &mut sections.clinical_information),
            (&self.technique, &mut sections.technique),
            (&self.comparison, &mut sections.comparison),
            (&self.findings, &mut sections.findings),
            (&self.impression, &mut sections.impression),
        ] {
            if let Some(new) = new {
                place.clone_from(new);
            }
        }
    }
}

fn find<'a>(content: &'a mut Content, id: &str) -> Result<&'a mut StatedFinding, ReportingError> {
    content.findings.iter_mut().find(|finding| finding.id == id).ok_or(ReportingError::UnknownFinding)
}

fn of_model<'a>(content: &'a mut Content, id: &str) -> Result<&'a mut StatedFinding, ReportingError> {
    let finding = find(content, id)?;
    match finding.origin {
        Origin::Model => Ok(finding),
        Origin::Person => Err(ReportingError::Refused(
            "only what a model said is accepted or rejected: edit or remove what a person added",
        )),
    }
}

fn remove(content: &mut Content, id: &str) -> Result<(), ReportingError> {
    let finding = find(content, id)?;
    if finding.origin == Origin::Model {
        return Err(ReportingError::Refused("what a model said is rejected with a reason, never removed"));
    }
    content.findings.retain(|finding| finding.id != id);
    Ok(())
}

/// The words with their code, once they keep the rules; their image joins the evidence. A number
/// that the model gave and nobody changed stays an estimate, whatever the request calls it.
fn checked(
    words: &Words,
    of_model: Option<&Words>,
    content: &mut Content,
    image: Option<ImageReference>,
) -> Result<Words, ReportingError> {
    let faults: Vec<Fault> = words.faults(image.as_ref());
    if !faults.is_empty() {
        return Err(ReportingError::Faults(faults));
    }
    let mut words = words.clone();
    words.code = words.code.or_else(|| known_code(&words.finding));
    for taken in &mut words.measurements {
        let same = |own: &&crate::report::content::Taken| {
            (own.name, own.unit) == (taken.name, taken.unit) && own.value == taken.value
        };
        let estimate = of_model.is_some_and(|own| own.measurements.iter().any(|own| same(&own)));
        taken.method = if estimate { Method::ModelEstimate } else { Method::Person };
    }
    if let Some(image) = image
        && words.image.as_ref().is_some_and(|place| content.image(place).is_none())
    {
        content.evidence.push(image);
    }
    Ok(words)
}
