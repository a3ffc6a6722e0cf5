//! Three objects of two patients, and a peer that asks for them.

use std::time::Duration;

use dicom_dictionary_std::{tags, uids};
use dicom_encoding::TransferSyntaxIndex;
use dicom_encoding::transfer_syntax::TransferSyntax;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use dicom_ul::pdu::{AssociationRQ, Pdu, UserVariableItem};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, DuplexStream};

use crate::clock::{Clock, Timestamp};
use crate::config::{OnDuplicate, Preamble};
use crate::dicom::charset::Encoder;
use crate::dicom::data_set;
use crate::dicom::header::Limits;
use crate::dimse::Settings;
use crate::dimse::tests::{Harness, request};
use crate::export::scu::association::{Association, Peer};
use crate::export::scu::find::{self, Root, Wishes};
use crate::ingest::{Body, Ingest, Origin, Policy, Received, Source, StoreCommand};
use crate::ul::Incoming;
use crate::ul::command::{CommandAssembler, CommandSet, field};
use crate::ul::connection::Connection;
use crate::ul::data_set::DataSet;

const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn text(vr: &str, text: &str) -> Value {
    let value = if vr == "PN" { json!({ "Alphabetic": text }) } else { text.into() };
    json!({ "vr": vr, "Value": [value] })
}

/// A key that matches everything.
pub(super) fn key(vr: &str) -> Value {
    json!({ "vr": vr })
}

fn implicit() -> &'static TransferSyntax {
    TransferSyntaxRegistry.get(uids::IMPLICIT_VR_LITTLE_ENDIAN).unwrap()
}

pub(super) struct Archive {
    harness: Harness,
}

impl Archive {
    pub(super) async fn new(settings: Settings) -> Self {
        let archive = Self { harness: Harness::new(settings) };
        for object in objects() {
            archive.store(&object).await;
        }
        archive
    }

    async fn store(&self, object: &Value) {
        let server = &self.harness.shared.server;
        let clock = Clock::manual(Timestamp(1_000_000));
        let ingest = Ingest::new(server.db.clone(), server.blobs.clone(), clock, policy());
        let bytes = data_set::write(object.as_object().unwrap(), implicit(), &Encoder::utf8()).unwrap();
        let uid = |tag: &str| object[tag]["Value"][0].as_str().unwrap();
        let command = StoreCommand {
            sop_class: uid("00080016").parse().unwrap(),
            sop_instance: uid("00080018").parse().unwrap(),
            transfer_syntax: uids::IMPLICIT_VR_LITTLE_ENDIAN.parse().unwrap(),
        };
        let origin = Origin::called(Source::Dimse, "CT1");
        let body = Body::DataSet { reader: &mut &bytes[..], command };
        ingest.store(Received { body, origin: &origin, only_study: None }).await.unwrap();
    }

    /// An association of our own requestor.
    pub(super) async fn associate(&self, root: Root, wishes: Wishes) -> Association<DuplexStream> {
        let (context, items) = find::proposal(root, wishes).unwrap();
        let peer = Peer::new("pipe", "RADIANT", "SENDER");
        Association::request_with(self.harness.connect(), &peer, &[context], items).await.unwrap()
    }

    /// An association for queries, with this service class application information.
    pub(super) async fn ask(&self, sop_class: &str, extended: &[u8]) -> Asking {
        let mut raw = Connection::new(self.harness.connect(), 1 << 20, PATIENCE);
        let item =
            UserVariableItem::SopClassExtendedNegotiationSubItem(sop_class.to_owned(), extended.to_vec());
        let items = if extended.is_empty() { Vec::new() } else { vec![item] };
        let proposed = request(&[(sop_class, &[uids::IMPLICIT_VR_LITTLE_ENDIAN])]);
        raw.send(&AssociationRQ { user_variables: items, ..proposed }.into()).await.unwrap();
        assert!(matches!(raw.next().await, Ok(Incoming::Pdu(Pdu::AssociationAC(_)))));
        raw.establish(self.harness.shared.server.settings.pdu_bytes_max, PATIENCE);
        Asking { raw, sop_class: sop_class.to_owned(), last_message_id: 0 }
    }
}

pub(super) struct Asking {
    pub(super) raw: Connection<DuplexStream>,
    sop_class: String,
    pub(super) last_message_id: u16,
}

/// Status and identifier of each match.
pub(super) type Found = Vec<(u16, Value)>;

impl Asking {
    pub(super) async fn find(&mut self, keys: &Value) -> (Found, CommandSet) {
        self.request(keys).await;
        self.answers().await
    }

    pub(super) async fn find_bytes(&mut self, identifier: &[u8]) -> (Found, CommandSet) {
        self.request_bytes(identifier).await;
        self.answers().await
    }

    pub(super) async fn request(&mut self, keys: &Value) {
        let declared = keys["00080005"]["Value"][0].as_str().unwrap_or("ISO_IR 192").to_owned();
        let encoder = Encoder::declared(&declared);
        let bytes = data_set::write(keys.as_object().unwrap(), implicit(), &encoder).unwrap();
        self.request_bytes(&bytes).await;
    }

    async fn request_bytes(&mut self, identifier: &[u8]) {
        self.last_message_id += 1;
        let request = CommandSet::request(field::C_FIND, self.last_message_id)
            .with_uid(tags::AFFECTED_SOP_CLASS_UID, &self.sop_class);
        self.raw.send_message(1, request, identifier).await.unwrap();
    }

    pub(super) async fn answers(&mut self) -> (Found, CommandSet) {
        let mut found = Vec::new();
        loop {
            let response = self.response().await;
            if !response.has_data_set().unwrap() {
                return (found, response);
            }
            let mut bytes = Vec::new();
            DataSet::new(&mut self.raw, 1).read_to_end(&mut bytes).await.unwrap();
            let set = data_set::read(&bytes, implicit()).unwrap();
            found.push((response.status().unwrap(), Value::Object(set)));
        }
    }

    async fn response(&mut self) -> CommandSet {
        let mut assembler = CommandAssembler::default();
        loop {
            let Ok(Incoming::Fragment(fragment)) = self.raw.next().await else { panic!("no response") };
            if let Some(response) = assembler.push(&fragment).unwrap() {
                return response.message;
            }
        }
    }
}

fn objects() -> [Value; 3] {
    let of_ann = |series: &str, instance: &str| {
        json!({"00080016": text("UI", uids::CT_IMAGE_STORAGE), "00080018": text("UI", instance),
            "00080020": text("DA", "20260110"), "00080030": text("TM", "0200"), "00080060": text("CS", "CT"),
            "00080201": text("SH", "+0000"), "00100010": text("PN", "A^Ann"), "00100020": text("LO", "P1"),
            "00101010": text("AS", "040Y"), "0020000D": text("UI", "1.1"), "0020000E": text("UI", series),
            "00200011": {"vr": "IS", "Value": [series.len()]},
            "00081032": {"vr": "SQ", "Value": [
                {"00080100": text("SH", "C1"), "00080104": text("LO", "One")},
                {"00080100": text("SH", "C2"), "00080104": text("LO", "Two"), "00080102": text("SH", "99X")}]}})
    };
    let of_bo = json!({"00080005": text("CS", "ISO_IR 192"), "00080016": text("UI", uids::MR_IMAGE_STORAGE),
        "00080018": text("UI", "1.2.1.1"), "00080060": text("CS", "MR"), "00090010": text("LO", "ACME"),
        "00091001": text("LO", "xyz"), "00100010": text("PN", "Müller^Bo"), "00100020": text("LO", "P2"),
        "0020000D": text("UI", "1.2"), "0020000E": text("UI", "1.2.1")});
    [of_ann("1.1.1", "1.1.1.1"), of_ann("1.1.2", "1.1.2.1"), of_bo]
}

fn policy() -> Policy {
    let header = Limits {
        inline_bytes_max: 1024,
        header_bytes_max: 1 << 19,
        depth_max: 8,
        elements_max: 1000,
        fragments_max: 100,
    };
    Policy {
        instance_bytes_max: 1 << 20,
        header,
        sop_classes_extra: Vec::new(),
        on_duplicate: OnDuplicate::Reject,
        preamble: Preamble::Keep,
        picture_bytes_max: 1 << 20,
        concurrency: 4,
        quiet_time: Duration::from_secs(1),
    }
}
