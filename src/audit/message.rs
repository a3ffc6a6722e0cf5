//! DICOM audit messages, PS3.15 A.5: a row of the trail as XML of the schema of A.5.1.
//!
//! Two things are ours. What the standard has no event for is a code of the scheme 99RADIANT, the name
//! of the action. And no message has a patient in it: the trail has none.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event as Xml};

use super::event::{self, Coded};
use super::{Action, Outcome};
use crate::db::audit::Record;

const OWN_SCHEME: &str = "99RADIANT";
/// Whose numbers of identifier types are no codes of DICOM.
const RFC_3881: &str = "RFC-3881";
/// Study Root Query/Retrieve Information Model - FIND: what every search here amounts to.
const STUDY_ROOT_FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";

const SOURCE: Coded = Coded { code: "110153", meaning: "Source Role ID" };
const DESTINATION: Coded = Coded { code: "110152", meaning: "Destination Role ID" };
const APPLICATION: Coded = Coded { code: "110150", meaning: "Application" };

const STUDY_INSTANCE_UID: Coded = Coded { code: "110180", meaning: "Study Instance UID" };
const SOP_CLASS_UID: Coded = Coded { code: "110181", meaning: "SOP Class UID" };
const NODE_ID: Coded = Coded { code: "110182", meaning: "Node ID" };

/// Who reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reporter {
    /// AuditSourceID.
    pub(super) source_id: String,
    pub(super) enterprise_site_id: String,
    pub(super) ae_title: String,
    pub(super) host: String,
}

/// Rows that one message tells of: the same but for the instance, in their order.
pub(super) type Rows<'a> = &'a [Record];

/// How many rows of the beginning one message can tell of.
pub(super) fn together(rows: Rows<'_>) -> usize {
    const INSTANCES_MAX: usize = 200;
    let Some(first) = rows.first() else { return 0 };
    if first.object_kind.as_deref() != Some("instance") {
        return 1;
    }
    let same = |row: &&Record| {
        let key = |row: &Record| {
            (row.action.clone(), row.outcome.clone(), row.study_uid.clone(), row.request_id.clone())
        };
        row.object_kind == first.object_kind
            && row.actor_name == first.actor_name
            && row.address == first.address
            && key(row) == key(first)
    };
    rows.iter().take(INSTANCES_MAX).take_while(same).count()
}

/// The message about some rows that belong [`together`].
pub(super) fn xml(rows: Rows<'_>, reporter: &Reporter) -> std::io::Result<Vec<u8>> {
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    let mut out = Message { writer: Writer::new(Vec::new()) };
    out.writer.write_event(Xml::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    out.writer.write_event(Xml::Start(BytesStart::new("AuditMessage")))?;
    out.event(row)?;
    out.participants(row, reporter)?;
    out.source(reporter)?;
    out.objects(rows, reporter)?;
    out.writer.write_event(Xml::End(BytesEnd::new("AuditMessage")))?;
    Ok(out.writer.into_inner())
}

struct Message {
    writer: Writer<Vec<u8>>,
}

/// What the row tells of: a transfer that begins has an event of its own.
fn event_of(row: &Record) -> event::Event {
    let known = Action::named(&row.action).map_or(event::OWN, Action::event);
    let is_begun = row.outcome == Outcome::Begun.as_str();
    if known == event::TRANSFERRED && is_begun { event::BEGIN_TRANSFER } else { known }
}

impl Message {
    fn event(&mut self, row: &Record) -> std::io::Result<()> {
        let event = event_of(row);
        let act = event.act.or_else(|| Action::named(&row.action).map(Action::act));
        let outcome = Outcome::named(&row.outcome).unwrap_or(Outcome::Success);
        let time = row.at.rfc3339();
        let mut start = BytesStart::new("EventIdentification");
        if let Some(act) = act {
            start.push_attribute(("EventActionCode", act.code()));
        }
        start.push_attribute(("EventDateTime", time.as_str()));
        start.push_attribute(("EventOutcomeIndicator", outcome.indicator()));
        self.writer.write_event(Xml::Start(start))?;
        match event.id {
            Some(id) => self.coded("EventID", id, "DCM")?,
            None => self.code("EventID", &row.action, OWN_SCHEME, &row.action.replace('-', " "))?,
        }
        if let Some(kind) = event.kind {
            self.coded("EventTypeCode", kind, "DCM")?;
        }
        if event.id.is_some() {
            self.code("EventTypeCode", &row.action, OWN_SCHEME, &row.action.replace('-', " "))?;
        }
        if outcome != Outcome::Success {
            let why = row.detail.as_deref().map(|detail| format!("{}: {detail}", row.outcome));
            self.text("EventOutcomeDescription", why.as_deref().unwrap_or(&row.outcome))?;
        }
        self.writer.write_event(Xml::End(BytesEnd::new("EventIdentification")))
    }

    /// Who asked, and this server on the other side.
    fn participants(&mut self, row: &Record, reporter: &Reporter) -> std::io::Result<()> {
        let event = event_of(row);
        let (theirs, ours) = if event == event::TRANSFERRED || event == event::BEGIN_TRANSFER {
            let arrives = Action::named(&row.action).is_some_and(|action| {
                [
                    Action::StoreInstance,
                    Action::ReplaceInstance,
                    Action::RefuseInstance,
                    Action::ReceiveObjects,
                ]
                .contains(&action)
            });
            if arrives { (Some(SOURCE), Some(DESTINATION)) } else { (Some(DESTINATION), Some(SOURCE)) }
        } else if event == event::QUERY {
            (Some(SOURCE), Some(DESTINATION))
        } else if event == event::EXPORT {
            (Some(SOURCE), Some(APPLICATION))
        } else if event == event::IMPORT {
            (Some(DESTINATION), Some(APPLICATION))
        } else {
            (None, Some(APPLICATION))
        };
        if row.actor_kind != "system" {
            self.participant(&Participant {
                id: row.actor_id.as_deref().unwrap_or(&row.actor_name),
                alternative: row.ae_title.as_ref().map(|title| format!("AETITLES={title}")),
                name: Some(&row.actor_name),
                is_requestor: true,
                address: row.address.as_deref(),
                role: theirs,
            })?;
        }
        self.participant(&Participant {
            id: &reporter.source_id,
            alternative: Some(format!("AETITLES={}", reporter.ae_title)),
            name: None,
            is_requestor: row.actor_kind == "system",
            address: None,
            role: ours,
        })
    }

    fn participant(&mut self, participant: &Participant<'_>) -> std::io::Result<()> {
        let mut start = BytesStart::new("ActiveParticipant");
        start.push_attribute(("UserID", participant.id));
        if let Some(alternative) = &participant.alternative {
            start.push_attribute(("AlternativeUserID", alternative.as_str()));
        }
        if let Some(name) = participant.name {
            start.push_attribute(("UserName", name));
        }
        start.push_attribute(("UserIsRequestor", if participant.is_requestor { "true" } else { "false" }));
        if let Some(address) = participant.address {
            start.push_attribute(("NetworkAccessPointID", address));
            start.push_attribute(("NetworkAccessPointTypeCode", "2"));
        }
        self.writer.write_event(Xml::Start(start))?;
        if let Some(role) = participant.role {
            self.coded("RoleIDCode", role, "DCM")?;
        }
        self.writer.write_event(Xml::End(BytesEnd::new("ActiveParticipant")))
    }

    fn source(&mut self, reporter: &Reporter) -> std::io::Result<()> {
        let mut start = BytesStart::new("AuditSourceIdentification");
        if !reporter.enterprise_site_id.is_empty() {
            start.push_attribute(("AuditEnterpriseSiteID", reporter.enterprise_site_id.as_str()));
        }
        start.push_attribute(("AuditSourceID", reporter.source_id.as_str()));
        self.writer.write_event(Xml::Start(start))?;
        // Application server process.
        let mut kind = BytesStart::new("AuditSourceTypeCode");
        kind.push_attribute(("csd-code", "4"));
        self.writer.write_event(Xml::Empty(kind))?;
        self.writer.write_event(Xml::End(BytesEnd::new("AuditSourceIdentification")))
    }

    fn objects(&mut self, rows: Rows<'_>, reporter: &Reporter) -> std::io::Result<()> {
        let [row, ..] = rows else { return Ok(()) };
        let event = event_of(row);
        if event == event::QUERY {
            self.query(row)?;
        }
        if event == event::AUDIT_LOG_USED {
            let uri = format!("urn:radiant:{}:audit", reporter.source_id);
            self.object(&Object {
                id: &uri,
                system: true,
                role: "13",
                kind: URI,
                name: "Security Audit Log",
            })?;
        }
        if let Some(study) = &row.study_uid {
            self.study(study, rows)?;
        }
        if let (Some(kind), Some(id)) = (&row.object_kind, &row.object_id) {
            self.named(kind, id)?;
        }
        if event.kind == event::NODE_AUTHENTICATION.kind {
            let node = row.ae_title.as_deref().unwrap_or(&row.actor_name);
            self.object(&Object {
                id: node,
                system: true,
                role: "13",
                kind: Kind::Dcm(NODE_ID),
                name: node,
            })?;
        }
        self.rows(rows, reporter)
    }

    fn study(&mut self, study: &str, rows: Rows<'_>) -> std::io::Result<()> {
        let mut start = object("2", "3", study);
        if let Some(cycle) = rows.first().and_then(|row| life_cycle(&row.action)) {
            start.push_attribute(("ParticipantObjectDataLifeCycle", cycle));
        }
        self.writer.write_event(Xml::Start(start))?;
        self.coded("ParticipantObjectIDTypeCode", STUDY_INSTANCE_UID, "DCM")?;
        self.text("ParticipantObjectName", "study")?;
        let instances: Vec<&str> = rows
            .iter()
            .filter(|row| row.object_kind.as_deref() == Some("instance"))
            .filter_map(|row| row.object_id.as_deref())
            .collect();
        if !instances.is_empty() {
            self.writer.write_event(Xml::Start(BytesStart::new("ParticipantObjectDescription")))?;
            let mut start = BytesStart::new("SOPClass");
            start.push_attribute(("NumberOfInstances", instances.len().to_string().as_str()));
            self.writer.write_event(Xml::Start(start))?;
            for uid in instances {
                let mut instance = BytesStart::new("Instance");
                instance.push_attribute(("UID", uid));
                self.writer.write_event(Xml::Empty(instance))?;
            }
            self.writer.write_event(Xml::End(BytesEnd::new("SOPClass")))?;
            self.writer.write_event(Xml::End(BytesEnd::new("ParticipantObjectDescription")))?;
        }
        self.writer.write_event(Xml::End(BytesEnd::new("ParticipantObjectIdentification")))
    }

    /// Which keys were asked; their values are not in the trail.
    fn query(&mut self, row: &Record) -> std::io::Result<()> {
        self.writer.write_event(Xml::Start(object("2", "3", STUDY_ROOT_FIND)))?;
        self.coded("ParticipantObjectIDTypeCode", SOP_CLASS_UID, "DCM")?;
        let query = BASE64.encode(row.detail.as_deref().unwrap_or(""));
        self.text("ParticipantObjectQuery", &query)?;
        self.writer.write_event(Xml::End(BytesEnd::new("ParticipantObjectIdentification")))
    }

    fn named(&mut self, kind: &str, id: &str) -> std::io::Result<()> {
        let (system, role) = match kind {
            "user" => (false, "6"),
            "api-key" | "session" => (true, "11"),
            "group" => (true, "12"),
            "report" | "finding" | "analysis" | "instance" | "series" => (true, "3"),
            "job" | "export" => (true, "20"),
            "destination" | "node" => (true, "16"),
            _ => (true, "13"),
        };
        self.object(&Object { id, system, role, kind: Kind::Own(kind), name: kind })
    }

    /// Which rows these are, so that a collector holds the trail against the server.
    fn rows(&mut self, rows: Rows<'_>, reporter: &Reporter) -> std::io::Result<()> {
        let ([first, ..], [.., last]) = (rows, rows) else { return Ok(()) };
        let uri = format!("urn:radiant:{}:audit:{}", reporter.source_id, last.sequence);
        self.writer.write_event(Xml::Start(object("2", "22", &uri)))?;
        self.kind(URI)?;
        self.text("ParticipantObjectName", "audit row")?;
        self.detail("first-sequence", &first.sequence.to_string())?;
        self.detail("sequence", &last.sequence.to_string())?;
        self.detail("sha256", &last.hash)?;
        for (name, value) in [("request", &first.request_id), ("detail", &first.detail)] {
            if let Some(value) = value {
                self.detail(name, value)?;
            }
        }
        for (name, value) in [("roles", &first.actor_roles), ("means", &first.actor_means)] {
            self.detail(name, value)?;
        }
        self.writer.write_event(Xml::End(BytesEnd::new("ParticipantObjectIdentification")))
    }

    fn detail(&mut self, name: &str, value: &str) -> std::io::Result<()> {
        let mut detail = BytesStart::new("ParticipantObjectDetail");
        detail.push_attribute(("type", name));
        detail.push_attribute(("value", BASE64.encode(value).as_str()));
        self.writer.write_event(Xml::Empty(detail))
    }

    fn object(&mut self, told: &Object<'_>) -> std::io::Result<()> {
        let type_code = if told.system { "2" } else { "1" };
        self.writer.write_event(Xml::Start(object(type_code, told.role, told.id)))?;
        self.kind(told.kind)?;
        self.text("ParticipantObjectName", told.name)?;
        self.writer.write_event(Xml::End(BytesEnd::new("ParticipantObjectIdentification")))
    }

    fn kind(&mut self, kind: Kind<'_>) -> std::io::Result<()> {
        let name = "ParticipantObjectIDTypeCode";
        match kind {
            Kind::Dcm(code) => self.coded(name, code, "DCM"),
            Kind::Rfc3881(code) => self.coded(name, code, RFC_3881),
            Kind::Own(text) => self.code(name, text, OWN_SCHEME, text),
        }
    }

    fn coded(&mut self, element: &str, coded: Coded, scheme: &str) -> std::io::Result<()> {
        self.code(element, coded.code, scheme, coded.meaning)
    }

    fn code(&mut self, element: &str, code: &str, scheme: &str, meaning: &str) -> std::io::Result<()> {
        let mut start = BytesStart::new(element);
        start.push_attribute(("csd-code", code));
        start.push_attribute(("codeSystemName", scheme));
        start.push_attribute(("originalText", meaning));
        self.writer.write_event(Xml::Empty(start))
    }

    fn text(&mut self, element: &str, text: &str) -> std::io::Result<()> {
        self.writer.write_event(Xml::Start(BytesStart::new(element)))?;
        self.writer.write_event(Xml::Text(BytesText::new(text)))?;
        self.writer.write_event(Xml::End(BytesEnd::new(element)))
    }
}

struct Participant<'a> {
    id: &'a str,
    alternative: Option<String>,
    name: Option<&'a str>,
    is_requestor: bool,
    address: Option<&'a str>,
    role: Option<Coded>,
}

struct Object<'a> {
    id: &'a str,
    /// A person otherwise.
    system: bool,
    role: &'static str,
    kind: Kind<'a>,
    name: &'a str,
}

/// What an id is the id of.
#[derive(Clone, Copy)]
enum Kind<'a> {
    Dcm(Coded),
    Rfc3881(Coded),
    Own(&'a str),
}

const URI: Kind<'static> = Kind::Rfc3881(Coded { code: "12", meaning: "URI" });

fn object<'a>(type_code: &'a str, role: &'a str, id: &'a str) -> BytesStart<'a> {
    let mut start = BytesStart::new("ParticipantObjectIdentification");
    start.push_attribute(("ParticipantObjectID", id));
    start.push_attribute(("ParticipantObjectTypeCode", type_code));
    start.push_attribute(("ParticipantObjectTypeCodeRole", role));
    start
}

/// PS3.15 A.5.1.2.3.
fn life_cycle(action: &str) -> Option<&'static str> {
    Some(match Action::named(action)? {
        Action::StoreInstance | Action::ImportFiles => "2",
        Action::ReplaceInstance | Action::EditReport | Action::CorrectReport | Action::AddToReport => "3",
        Action::SignReport => "4",
        Action::DeIdentifyStudy => "7",
        Action::RunModel | Action::CompleteAnalysis => "8",
        Action::ExportStudy | Action::Download | Action::SendStudy | Action::DeliverExport => "10",
        Action::Retrieve | Action::GetInstances | Action::MoveInstances => "11",
        Action::DeleteStudy | Action::DeleteSeries | Action::DeleteInstance => "14",
        Action::SweepDeleted => "15",
        _ => "6",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::export::record;

    fn reporter() -> Reporter {
        let text = |text: &str| text.to_owned();
        let (source_id, ae_title) = (text("RADIANT"), text("RADIANT"));
        Reporter { source_id, enterprise_site_id: String::new(), ae_title, host: text("host") }
    }

    fn written(rows: &[Record]) -> String {
        String::from_utf8(xml(rows, &reporter()).unwrap()).unwrap()
    }

    #[test]
    fn instances_of_one_request_go_together() {
        let other = Record { request_id: Some("r2".into()), ..record(3) };
        let rows = [record(1), record(2), other];
        assert_eq!((together(&rows), together(&rows[2..]), together(&[])), (2, 1, 0));
        let told = written(&rows[..2]);
        assert!(told.contains(r#"<SOPClass NumberOfInstances="2">"#), "{told}");
        assert!(told.contains(r#"csd-code="110104""#), "{told}");
    }

    #[test]
    fn a_transfer_that_begins_has_its_own_event() {
        let begun = Record { outcome: "begun".into(), ..record(1) };
        assert!(written(&[begun]).contains(r#"csd-code="110102""#));
    }

    #[test]
    fn what_others_chose_is_no_markup() {
        let named = Record { actor_name: "\"><x/>".into(), detail: Some("<y/>".into()), ..record(1) };
        let told = written(&[Record { outcome: "error".into(), ..named }]);
        assert!(!told.contains("<x/>") && !told.contains("<y/>"), "{told}");
    }

    #[test]
    fn every_action_has_a_message() {
        for action in Action::ALL {
            let told = written(&[Record { action: action.as_str().into(), ..record(1) }]);
            assert!(told.contains("<EventID csd-code="), "{told}");
        }
    }
}
