//! The events of DICOM audit messages, PS3.15 A.5.3 with the codes of PS3.16 CID 400 and 401.

use super::Act;

/// What an audit message tells of: an event and, for some, its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// None for what the standard has no event for: the action is a code of our own then.
    pub id: Option<Coded>,
    pub kind: Option<Coded>,
    /// Where the event fixes it; else that of the action.
    pub act: Option<Act>,
}

/// A code of the DICOM Controlled Terminology, coding scheme DCM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coded {
    pub code: &'static str,
    pub meaning: &'static str,
}

const fn coded(code: &'static str, meaning: &'static str) -> Coded {
    Coded { code, meaning }
}

const fn event(id: Coded, act: Option<Act>) -> Event {
    Event { id: Some(id), kind: None, act }
}

/// Those that have types are executed.
const fn typed(id: Coded, kind: Coded) -> Event {
    Event { id: Some(id), kind: Some(kind), act: Some(Act::Execute) }
}

const APPLICATION_ACTIVITY: Coded = coded("110100", "Application Activity");
const SECURITY_ALERT: Coded = coded("110113", "Security Alert");
const USER_AUTHENTICATION: Coded = coded("110114", "User Authentication");

/// Nothing that the standard knows.
pub const OWN: Event = Event { id: None, kind: None, act: None };
pub const START: Event = typed(APPLICATION_ACTIVITY, coded("110120", "Application Start"));
pub const STOP: Event = typed(APPLICATION_ACTIVITY, coded("110121", "Application Stop"));
pub const AUDIT_LOG_USED: Event = event(coded("110101", "Audit Log Used"), Some(Act::Read));
pub const BEGIN_TRANSFER: Event =
    event(coded("110102", "Begin Transferring DICOM Instances"), Some(Act::Execute));
pub const ACCESSED: Event = event(coded("110103", "DICOM Instances Accessed"), None);
pub const TRANSFERRED: Event = event(coded("110104", "DICOM Instances Transferred"), None);
pub const STUDY_DELETED: Event = event(coded("110105", "DICOM Study Deleted"), Some(Act::Delete));
pub const EXPORT: Event = event(coded("110106", "Export"), Some(Act::Read));
pub const IMPORT: Event = event(coded("110107", "Import"), Some(Act::Create));
pub const PROCEDURE_RECORD: Event = event(coded("110111", "Procedure Record"), None);
pub const QUERY: Event = event(coded("110112", "Query"), Some(Act::Execute));
pub const LOGIN: Event = typed(USER_AUTHENTICATION, coded("110122", "Login"));
pub const LOGOUT: Event = typed(USER_AUTHENTICATION, coded("110123", "Logout"));
pub const NODE_AUTHENTICATION: Event = typed(SECURITY_ALERT, coded("110126", "Node Authentication"));
pub const NETWORK_CONFIGURATION: Event = typed(SECURITY_ALERT, coded("110128", "Network Configuration"));
pub const SECURITY_CONFIGURATION: Event = typed(SECURITY_ALERT, coded("110129", "Security Configuration"));
pub const SOFTWARE_CONFIGURATION: Event = typed(SECURITY_ALERT, coded("110131", "Software Configuration"));
pub const RESTRICTED_FUNCTION: Event = typed(SECURITY_ALERT, coded("110132", "Use of Restricted Function"));
pub const OBJECT_SECURITY: Event =
    typed(SECURITY_ALERT, coded("110135", "Object Security Attributes Changed"));
pub const SECURITY_ROLES: Event = typed(SECURITY_ALERT, coded("110136", "Security Roles Changed"));
pub const USER_SECURITY: Event = typed(SECURITY_ALERT, coded("110137", "User Security Attributes Changed"));
