//! One entry: actor, action, resource, outcome.

use std::net::IpAddr;

use super::Action;
use crate::auth::{Caller, Role, Subject};
use crate::clock::Timestamp;
use crate::dicom::uid::StudyUid;

/// What kind of subject acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorKind {
    User,
    ApiKey,
    /// Another application entity.
    Node,
    /// This server, by itself.
    System,
    /// Nobody said who he is.
    Anonymous,
}

impl ActorKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ApiKey => "api-key",
            Self::Node => "node",
            Self::System => "system",
            Self::Anonymous => "anonymous",
        }
    }
}

/// Who acts, from where, and in the course of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub kind: ActorKind,
    /// Of a user or a key.
    pub id: Option<String>,
    /// What people call the subject: a log-in, an AE title, an address.
    pub name: String,
    /// By name, in their order, separated by commas.
    pub roles: String,
    /// How the subject proved who it is.
    pub means: &'static str,
    pub address: Option<IpAddr>,
    pub ae_title: Option<String>,
    /// The request, the association or the run.
    pub request_id: Option<String>,
}

impl Actor {
    /// This server, by itself.
    pub fn system() -> Self {
        Self::program("system")
    }

    /// A part of this program that has a name of its own, such as `import`.
    pub fn program(name: &str) -> Self {
        Self {
            kind: ActorKind::System,
            id: None,
            name: name.to_owned(),
            roles: String::new(),
            means: "none",
            address: None,
            ae_title: None,
            request_id: None,
        }
    }

    /// An application entity, by the title that it gives itself.
    pub fn node(ae_title: &str, address: Option<IpAddr>) -> Self {
        let ae_title = ae_title.trim().to_owned();
        let name = if ae_title.is_empty() { "unnamed".to_owned() } else { ae_title.clone() };
        Self { kind: ActorKind::Node, address, ae_title: Some(ae_title), ..Self::program(&name) }
    }

    /// Somebody of whom no more is known than the address.
    pub fn address(address: IpAddr) -> Self {
        let name = address.to_string();
        Self { kind: ActorKind::Anonymous, address: Some(address), ..Self::program(&name) }
    }

    /// The caller of a request.
    pub fn of(caller: &Caller, address: IpAddr, request_id: &str) -> Self {
        let known = match &caller.subject {
            Subject::Anonymous => Self::address(address),
            Subject::User { id, name, .. } => Self::identified(ActorKind::User, id, name),
            Subject::ApiKey { id, name } => Self::identified(ActorKind::ApiKey, id, name),
        };
        let roles: Vec<&str> = match known.kind {
            // Everybody has all of them where access control is off.
            ActorKind::Anonymous => Vec::new(),
            _ => caller.roles.iter().copied().map(Role::as_str).collect(),
        };
        Self {
            roles: roles.join(","),
            means: caller.means.as_str(),
            address: Some(address),
            request_id: Some(request_id.to_owned()),
            ..known
        }
    }

    /// A user or a key, by id and name.
    pub fn identified(kind: ActorKind, id: &str, name: &str) -> Self {
        Self { kind, id: Some(id.to_owned()), ..Self::program(name) }
    }

    #[must_use]
    pub fn in_request(self, id: &str) -> Self {
        Self { request_id: Some(id.to_owned()), ..self }
    }
}

/// How an action ended, EventOutcomeIndicator of PS3.15 A.5.2; or that it is about to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Written before the action; what became of it follows under the same request id.
    Begun,
    Success,
    /// The caller's mistake, or a part that failed.
    MinorFailure,
    Denied,
    /// The server's fault.
    Error,
}

impl Outcome {
    pub const ALL: [Self; 5] = [Self::Begun, Self::Success, Self::MinorFailure, Self::Denied, Self::Error];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Success => "success",
            Self::MinorFailure => "minor-failure",
            Self::Denied => "denied",
            Self::Error => "error",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name)
    }

    /// Success, minor, serious and major failure.
    pub fn indicator(self) -> &'static str {
        match self {
            Self::Begun | Self::Success => "0",
            Self::MinorFailure => "4",
            Self::Denied => "8",
            Self::Error => "12",
        }
    }
}

/// What an id is the id of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    Patient,
    Series,
    Instance,
    Transaction,
    Deletion,
    Hold,
    Analysis,
    Rule,
    Report,
    Finding,
    Export,
    Destination,
    Node,
    User,
    ApiKey,
    Session,
    Group,
    Job,
    Association,
    Upload,
    Download,
    Server,
    Audit,
}

impl ObjectKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::Series => "series",
            Self::Instance => "instance",
            Self::Transaction => "transaction",
            Self::Deletion => "deletion",
            Self::Hold => "hold",
            Self::Analysis => "analysis",
            Self::Rule => "rule",
            Self::Report => "report",
            Self::Finding => "finding",
            Self::Export => "export",
            Self::Destination => "destination",
            Self::Node => "node",
            Self::User => "user",
            Self::ApiKey => "api-key",
            Self::Session => "session",
            Self::Group => "group",
            Self::Job => "job",
            Self::Association => "association",
            Self::Upload => "upload",
            Self::Download => "download",
            Self::Server => "server",
            Self::Audit => "audit",
        }
    }
}

/// Something that has an id here. Of a patient that is the number of the row, never a Patient ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object<'a> {
    pub kind: ObjectKind,
    pub id: &'a str,
}

/// One row of the trail before it is chained.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    pub actor: &'a Actor,
    pub action: Action,
    pub study: Option<&'a StudyUid>,
    pub object: Option<Object<'a>>,
    pub outcome: Outcome,
    /// Without patient attributes: counts, reasons, names of keys, ids.
    pub detail: Option<&'a str>,
    /// When it began, where that is told together with the outcome.
    pub began_at: Option<Timestamp>,
}

impl<'a> Entry<'a> {
    /// Something that was done.
    pub fn new(actor: &'a Actor, action: Action) -> Self {
        let outcome = Outcome::Success;
        Self { actor, action, study: None, object: None, outcome, detail: None, began_at: None }
    }

    #[must_use]
    pub fn study(self, study: &'a StudyUid) -> Self {
        Self { study: Some(study), ..self }
    }

    #[must_use]
    pub fn object(self, kind: ObjectKind, id: &'a str) -> Self {
        Self { object: Some(Object { kind, id }), ..self }
    }

    #[must_use]
    pub fn outcome(self, outcome: Outcome) -> Self {
        Self { outcome, ..self }
    }

    #[must_use]
    pub fn detail(self, detail: &'a str) -> Self {
        Self { detail: Some(detail), ..self }
    }
}
