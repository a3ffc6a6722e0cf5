//! Why a query is not answered, in the words of PS3.4 C.4.1.1.4.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use crate::audit::Unrecorded;
use crate::dicom::header::hex;
use crate::query::request::keys::BadKey;
use crate::query::search::SearchError;
use crate::telemetry::limits;
use crate::ul::command::{CommandError, CommandSet, ERROR_COMMENT_CHARACTERS_MAX};

/// No value of an identifier stands in these texts: they go into logs.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
    #[error("the identifier is missing")]
    NoIdentifier,
    #[error("the Affected SOP Class UID is not that of the context")]
    SopClass,
    #[error("the identifier is longer than {limit} bytes")]
    TooLong { limit: u64 },
    #[error("the identifier cannot be read")]
    Unreadable,
    #[error("Query/Retrieve Level is missing")]
    NoLevel,
    #[error("there is no PATIENT level in the study root")]
    NoPatientLevel,
    #[error("Query/Retrieve Level takes PATIENT, STUDY, SERIES or IMAGE")]
    UnknownLevel,
    #[error("Specific Character Set has more values than there are")]
    CharacterSet,
    #[error("one value is needed here, or relational queries negotiated")]
    UniqueKey(Tag),
    #[error("a sequence key takes one item at most")]
    SeveralItems(Tag),
    #[error("sequences are nested too deep")]
    TooDeep(Tag),
    #[error(transparent)]
    Key(#[from] BadKey),
    #[error(transparent)]
    Search(#[from] SearchError),
    #[error("the answer cannot be written")]
    Answer,
}

/// PS3.4 Table C.4-1.
const OUT_OF_RESOURCES: u16 = 0xA700;
const IDENTIFIER_DOES_NOT_MATCH: u16 = 0xA900;
/// Of the range that means "unable to process".
const UNREADABLE: u16 = 0xC000;
const BAD_VALUE: u16 = 0xC001;
const FAILED: u16 = 0xC002;

impl Refusal {
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Unrecorded(_) | Self::TooLong { .. } | Self::Search(SearchError::TooBroad { .. }) => {
                OUT_OF_RESOURCES
            }
            Self::Key(BadKey::ManyKeys | BadKey::ManyUids(_)) => OUT_OF_RESOURCES,
            Self::Key(
                BadKey::Sequence(_)
                | BadKey::NotASequence(_)
                | BadKey::Twice(_)
                | BadKey::NoCreator { .. }
                | BadKey::BelowLevel { .. },
            ) => IDENTIFIER_DOES_NOT_MATCH,
            Self::Key(_) | Self::CharacterSet => BAD_VALUE,
            Self::Unreadable => UNREADABLE,
            Self::Search(_) | Self::Answer => FAILED,
            Self::NoIdentifier
            | Self::SopClass
            | Self::NoLevel
            | Self::NoPatientLevel
            | Self::UnknownLevel
            | Self::UniqueKey(_)
            | Self::SeveralItems(_)
            | Self::TooDeep(_) => IDENTIFIER_DOES_NOT_MATCH,
        }
    }

    /// Offending Element (0000,0901).
    fn offending_element(&self) -> Option<Tag> {
        match self {
            Self::NoLevel | Self::NoPatientLevel | Self::UnknownLevel => Some(tags::QUERY_RETRIEVE_LEVEL),
            Self::CharacterSet => Some(tags::SPECIFIC_CHARACTER_SET),
            Self::UniqueKey(tag) | Self::SeveralItems(tag) | Self::TooDeep(tag) => Some(*tag),
            Self::Key(error) => error.path().map(|path| path.last()),
            _ => None,
        }
    }

    /// Error Comment (0000,0902), whole sentences within its 64 characters.
    pub(super) fn comment(&self) -> String {
        match self {
            Self::Key(BadKey::BelowLevel { name, .. }) => {
                format!("{} is of a level below the one asked for", hex(name.last()))
            }
            Self::Key(BadKey::NoCreator { name, creator }) => {
                format!("{} needs its private creator in {creator}", hex(name.last()))
            }
            Self::Key(BadKey::Sequence(path)) => {
                format!("{} is a sequence and takes an item of keys", hex(path.last()))
            }
            Self::Key(BadKey::DateTime(path)) => {
                format!("{} takes YYYYMMDDHHMMSS&ZZXX or a range of them", hex(path.last()))
            }
            Self::Key(error) => short(error),
            Self::UniqueKey(tag) => format!("{}: one value, or relational queries negotiated", hex(*tag)),
            Self::Search(SearchError::TooBroad { .. }) => {
                "too broad: add an identifier, a name, a date or a UID".to_owned()
            }
            // What failed inside is for the log.
            Self::Search(_) => "the search failed".to_owned(),
            other => other.to_string(),
        }
    }

    pub(super) fn response(&self, request: &CommandSet) -> Result<CommandSet, CommandError> {
        request.refusal(self.status(), &self.comment(), self.offending_element())
    }
}

/// The matches that may be sent were sent, and there are more.
pub(super) fn limited(request: &CommandSet, limit: usize) -> Result<CommandSet, CommandError> {
    limits::hit("dimse.find_results_max");
    let comment = format!("more than {limit} matches: narrow the query");
    Ok(request.response(OUT_OF_RESOURCES)?.with_error_comment(&comment))
}

/// With the digits of the attribute where its name takes too much of the room.
fn short(error: &BadKey) -> String {
    let text = error.to_string();
    match error.path().filter(|_| text.len() > ERROR_COMMENT_CHARACTERS_MAX) {
        Some(path) => text.replace(&path.to_string(), &hex(path.last())),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::attributes::{AttributeId, Level};
    use crate::query::request::keys::{self, Options};
    use crate::ul::command::field;

    #[track_caller]
    fn check(name: &str, value: &str, status: u16) {
        let options = Options { empty_values: true, multiple_values: true, ..Options::default() };
        let refusal = Refusal::from(keys::parse(Level::Study, [(name, value)], options).unwrap_err());
        assert_eq!(refusal.status(), status, "{name}");
        assert!(refusal.comment().len() <= 64, "{}", refusal.comment());
    }

    #[test]
    fn comments_fit_and_hold_no_value() {
        check("PerformedProcedureStepStartDate", "Secret", BAD_VALUE);
        check("TimezoneOffsetFromUTC", "Secret", BAD_VALUE);
        check("AcquisitionDateTime", "Secret", BAD_VALUE);
        check("ScheduledProcedureStepStartTime", "Secret", BAD_VALUE);
        check("StudyInstanceUID", "Secret", BAD_VALUE);
        check("PatientWeight", "Secret", BAD_VALUE);
        check("AdmittingDiagnosesDescription", r"A*\B", BAD_VALUE);
        check("PatientComments", &"x".repeat(1025), BAD_VALUE);
        check("SeriesDescription", "Secret", IDENTIFIER_DOES_NOT_MATCH);
        check("ProcedureCodeSequence", "Secret", IDENTIFIER_DOES_NOT_MATCH);
        check("00091002", "Secret", IDENTIFIER_DOES_NOT_MATCH);
    }

    #[test]
    fn the_response_names_the_element() {
        let request = CommandSet::request(field::C_FIND, 1);
        let refusal = Refusal::UniqueKey(tags::STUDY_INSTANCE_UID);
        let response = refusal.response(&request).unwrap();
        assert_eq!(response.status(), Ok(IDENTIFIER_DOES_NOT_MATCH));
        let comment = response.text(tags::ERROR_COMMENT).unwrap();
        assert_eq!(
            comment,
            format!("{}: one value, or relational queries negotiated", AttributeId(tags::STUDY_INSTANCE_UID))
        );
        let bytes = response.encode();
        assert!(bytes.windows(12).any(|window| window == b"\0\0\x01\x09\x04\0\0\0\x20\0\x0d\0"));
    }
}
