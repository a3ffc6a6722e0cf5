//! C-MOVE and C-GET against an archive that holds what the test says.

use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::TransferSyntaxIndex;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use dicom_ul::pdu::{RequestorRoles, UserVariableItem};
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::harness::{Harness, node, peer, settings};
use crate::config::Node;
use crate::dimse::{Listeners, Settings, serve};
use crate::export::scu::association::{Association, Message, ProposedContext};
use crate::ingest::testing::{file, image};
use crate::ul::command::{CommandSet, field};

const EXPLICIT: &str = uids::EXPLICIT_VR_LITTLE_ENDIAN;
const IMPLICIT: &str = uids::IMPLICIT_VR_LITTLE_ENDIAN;
const MOVE: &str = uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE;
const GET: &str = uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET;
const STUDY: &[(Tag, &str)] = &[(tags::QUERY_RETRIEVE_LEVEL, "STUDY"), (tags::STUDY_INSTANCE_UID, "1.2.3")];

fn context(sop_class: &str, syntax: &str) -> ProposedContext {
    ProposedContext::single(sop_class.parse().unwrap(), syntax.parse().unwrap())
}

fn in_series(sop_class: &str, series: &str, instance: &str) -> Vec<u8> {
    let mut object = image(sop_class, instance);
    object.put(DataElement::new(tags::SERIES_INSTANCE_UID, VR::UI, series));
    file(object, EXPLICIT)
}

/// Two series of CT and one MR image.
fn files() -> Vec<Vec<u8>> {
    let ct = uids::CT_IMAGE_STORAGE;
    vec![
        in_series(ct, "1.2.3.4", "1.2.3.4.1"),
        in_series(ct, "1.2.3.4", "1.2.3.4.2"),
        in_series(ct, "1.2.3.5", "1.2.3.5.1"),
        in_series(uids::MR_IMAGE_STORAGE, "1.2.3.6", "1.2.3.6.1"),
    ]
}

fn identifier(keys: &[(Tag, &str)]) -> Vec<u8> {
    let element = |(tag, value): &(Tag, &str)| {
        let vr = if *tag == tags::QUERY_RETRIEVE_LEVEL { VR::CS } else { VR::UI };
        DataElement::new(*tag, vr, *value)
    };
    let mut bytes = Vec::new();
    let implicit = TransferSyntaxRegistry.get(IMPLICIT).unwrap();
    let object = InMemDicomObject::from_element_iter(keys.iter().map(element));
    object.write_dataset_with_ts(&mut bytes, implicit).unwrap();
    bytes
}

fn count(message: &Message, tag: Tag) -> Option<u16> {
    message.command.u16(tag).unwrap()
}

/// Completed, failed and with a warning.
fn counts(message: &Message) -> [u16; 3] {
    let tags = [
        tags::NUMBER_OF_COMPLETED_SUBOPERATIONS,
        tags::NUMBER_OF_FAILED_SUBOPERATIONS,
        tags::NUMBER_OF_WARNING_SUBOPERATIONS,
    ];
    tags.map(|tag| count(message, tag).unwrap())
}

/// An archive that knows the destination ELSEWHERE.
struct Moves {
    archive: Harness,
    elsewhere: Harness,
    stop: CancellationToken,
}

impl Moves {
    async fn new() -> Self {
        let elsewhere = Harness::new(Settings { ae_title: "ELSEWHERE".into(), ..settings() });
        let (listener, stop) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), CancellationToken::new());
        let port = listener.local_addr().unwrap().port();
        let listeners = Listeners { plain: Some(listener), tls: None };
        tokio::spawn(serve(listeners, elsewhere.server(), stop.clone()));
        Self { archive: archive(port).await, elsewhere, stop }
    }

    async fn ask(&self, keys: &[(Tag, &str)]) -> Vec<Message> {
        ask(&self.archive, "ELSEWHERE", keys).await
    }

    fn arrived(&self) -> Vec<String> {
        self.elsewhere.sink.stored().into_iter().map(|(uid, _)| uid).collect()
    }
}

impl Drop for Moves {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn archive(port: u16) -> Harness {
    let elsewhere = Node { host: Some("127.0.0.1".into()), port, ..node("ELSEWHERE") };
    let nowhere = Node { host: None, ..node("NOWHERE") };
    let harness = Harness::new(Settings { nodes: vec![elsewhere, nowhere], ..settings() });
    harness.hold(&files()).await;
    harness
}

fn move_request(destination: &str) -> CommandSet {
    CommandSet::request(field::C_MOVE, 7)
        .with_uid(tags::AFFECTED_SOP_CLASS_UID, MOVE)
        .with_text(tags::MOVE_DESTINATION, destination)
}

/// All responses to a C-MOVE.
async fn ask(archive: &Harness, destination: &str, keys: &[(Tag, &str)]) -> Vec<Message> {
    let mut association = archive.associate(&[context(MOVE, IMPLICIT)]).await.unwrap();
    association.send(1, move_request(destination), Some(&identifier(keys))).await.unwrap();
    responses(&mut association).await
}

async fn responses(association: &mut Association<DuplexStream>) -> Vec<Message> {
    let mut responses = Vec::new();
    loop {
        let message = association.receive(1 << 20).await.unwrap();
        let is_pending = message.command.status() == Ok(0xFF00);
        responses.push(message);
        if !is_pending {
            return responses;
        }
    }
}

#[tokio::test]
async fn a_study_is_moved_and_told_with_what_remains() {
    let moves = Moves::new().await;
    let responses = moves.ask(STUDY).await;
    let (last, pending) = responses.split_last().unwrap();
    assert_eq!((last.command.status(), counts(last)), (Ok(0x0000), [4, 0, 0]));
    assert_eq!((count(last, tags::NUMBER_OF_REMAINING_SUBOPERATIONS), &last.data_set), (None, &None));
    assert_eq!(count(&pending[0], tags::NUMBER_OF_REMAINING_SUBOPERATIONS), Some(3));
    assert_eq!(moves.arrived(), ["1.2.3.4.1", "1.2.3.4.2", "1.2.3.5.1", "1.2.3.6.1"]);
}

#[tokio::test]
async fn series_and_instances_are_moved_by_lists() {
    let moves = Moves::new().await;
    let study = (tags::STUDY_INSTANCE_UID, "1.2.3");
    let level = |level| (tags::QUERY_RETRIEVE_LEVEL, level);
    moves.ask(&[level("SERIES"), study, (tags::SERIES_INSTANCE_UID, "1.2.3.5\\1.2.3.6")]).await;
    assert_eq!(moves.arrived(), ["1.2.3.5.1", "1.2.3.6.1"]);
    let series = (tags::SERIES_INSTANCE_UID, "1.2.3.4");
    let instances = (tags::SOP_INSTANCE_UID, "1.2.3.4.2\\1.2.3.5.1\\1.9");
    let responses = moves.ask(&[level("IMAGE"), study, series, instances]).await;
    // The second is of another series, the third of none.
    assert_eq!(counts(responses.last().unwrap()), [1, 0, 0]);
    assert_eq!(moves.arrived()[2..], ["1.2.3.4.2"]);
}

#[tokio::test]
async fn what_is_not_there_is_moved_with_success() {
    let moves = Moves::new().await;
    let keys = [(tags::QUERY_RETRIEVE_LEVEL, "STUDY"), (tags::STUDY_INSTANCE_UID, "1.9.9")];
    let responses = moves.ask(&keys).await;
    assert_eq!((responses.len(), responses[0].command.status()), (1, Ok(0x0000)));
}

#[tokio::test]
async fn a_destination_that_cannot_be_called_is_unknown() {
    let archive = archive(1).await;
    for destination in ["SOMEBODY", "NOWHERE", ""] {
        let responses = ask(&archive, destination, STUDY).await;
        assert_eq!(responses[0].command.status(), Ok(0xA801), "{destination:?}");
    }
}

#[tokio::test]
async fn a_destination_that_is_not_there_fails_them_all() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let responses = ask(&archive(closed).await, "ELSEWHERE", STUDY).await;
    let last = responses.last().unwrap();
    assert_eq!((last.command.status(), counts(last)), (Ok(0xA702), [0, 4, 0]));
    let failed = last.data_set.as_ref().unwrap();
    assert!(failed.starts_with(b"\x08\0\x58\0") && failed.windows(9).any(|uid| uid == b"1.2.3.6.1"));
}

#[tokio::test]
async fn a_refused_object_fails_alone_and_is_listed() {
    let moves = Moves::new().await;
    moves.elsewhere.sink.refuse_next(crate::ingest::Refusal::TooLarge { limit_bytes: 9 });
    let responses = moves.ask(STUDY).await;
    let last = responses.last().unwrap();
    assert_eq!((last.command.status(), counts(last)), (Ok(0xB000), [3, 1, 0]));
    assert_eq!(last.data_set.as_deref(), Some(&b"\x08\0\x58\0\x0a\0\0\x001.2.3.4.1\0"[..]));
}

#[tokio::test]
async fn an_identifier_without_its_keys_is_refused_and_the_association_stands() {
    let archive = archive(1).await;
    let mut association = archive.associate(&[context(MOVE, IMPLICIT)]).await.unwrap();
    let without_study = identifier(&STUDY[..1]);
    for data_set in [Some(&without_study[..]), None] {
        association.send(1, move_request("ELSEWHERE"), data_set).await.unwrap();
        assert_eq!(association.receive(0).await.unwrap().command.status(), Ok(0xA900));
    }
    assert_eq!(association.echo().await.unwrap(), 0);
}

#[tokio::test]
async fn a_cancelled_move_says_what_remains() {
    let moves = Moves::new().await;
    let mut association = moves.archive.associate(&[context(MOVE, IMPLICIT)]).await.unwrap();
    association.send(1, move_request("ELSEWHERE"), Some(&identifier(STUDY))).await.unwrap();
    association.send(1, cancel(), None).await.unwrap();
    let last = responses(&mut association).await.pop().unwrap();
    assert_eq!(last.command.status(), Ok(0xFE00));
    let remaining = count(&last, tags::NUMBER_OF_REMAINING_SUBOPERATIONS).unwrap();
    assert_eq!(usize::from(remaining), 4 - moves.arrived().len());
    assert_eq!(association.echo().await.unwrap(), 0);
}

fn cancel() -> CommandSet {
    let cancel = CommandSet::default().with_u16(tags::COMMAND_FIELD, field::C_CANCEL);
    cancel.with_u16(tags::MESSAGE_ID_BEING_RESPONDED_TO, 7).with_u16(tags::COMMAND_DATA_SET_TYPE, 0x0101)
}

/// An association that takes objects on these contexts.
async fn getting(archive: &Harness, objects: &[ProposedContext]) -> Association<DuplexStream> {
    let roles = RequestorRoles { scu: false, scp: true };
    let item = |context: &ProposedContext| {
        UserVariableItem::ScuScpRoleSelectionSubItem(context.sop_class.to_string(), roles)
    };
    let contexts = [&[context(GET, IMPLICIT)], objects].concat();
    let items = objects.iter().map(item).collect();
    Association::request_with(archive.connect(), &peer("pipe"), &contexts, items).await.unwrap()
}

fn get_request() -> CommandSet {
    CommandSet::request(field::C_GET, 7).with_uid(tags::AFFECTED_SOP_CLASS_UID, GET)
}

/// Takes objects in with `status` until the last response comes; what came, and that response.
async fn get(association: &mut Association<DuplexStream>, status: u16) -> (Vec<Message>, Message) {
    association.send(1, get_request(), Some(&identifier(STUDY))).await.unwrap();
    let mut objects = Vec::new();
    loop {
        let message = association.receive(1 << 20).await.unwrap();
        match (message.command.command_field().unwrap(), message.command.status()) {
            (field::C_STORE, _) => {
                let response = message.command.response(status).unwrap();
                association.send(message.context_id, response, None).await.unwrap();
                objects.push(message);
            }
            (_, Ok(0xFF00)) => {}
            _ => return (objects, message),
        }
    }
}

#[tokio::test]
async fn a_study_comes_over_the_association_that_asks_for_it() {
    let archive = archive(1).await;
    let (ct, mr) = (uids::CT_IMAGE_STORAGE, uids::MR_IMAGE_STORAGE);
    let mut association = getting(&archive, &[context(ct, EXPLICIT), context(mr, IMPLICIT)]).await;
    let (objects, last) = get(&mut association, 0x0000).await;
    assert_eq!((last.command.status(), counts(&last)), (Ok(0x0000), [4, 0, 0]));
    let contexts: Vec<u8> = objects.iter().map(|object| object.context_id).collect();
    assert_eq!(contexts, [3, 3, 3, 5]);
    let written = |instance, sop_class, syntax: &str| {
        let mut object = image(sop_class, instance);
        object.put(DataElement::new(tags::SERIES_INSTANCE_UID, VR::UI, &instance[..7]));
        let mut bytes = Vec::new();
        object.write_dataset_with_ts(&mut bytes, TransferSyntaxRegistry.get(syntax).unwrap()).unwrap();
        Some(bytes)
    };
    assert_eq!(objects[2].data_set, written("1.2.3.5.1", ct, EXPLICIT));
    assert_eq!(objects[3].data_set, written("1.2.3.6.1", mr, IMPLICIT));
}

#[tokio::test]
async fn a_class_that_the_requestor_does_not_take_fails_alone() {
    let archive = archive(1).await;
    let mut association = getting(&archive, &[context(uids::MR_IMAGE_STORAGE, EXPLICIT)]).await;
    let (objects, last) = get(&mut association, 0xB000).await;
    assert_eq!((objects.len(), last.command.status(), counts(&last)), (1, Ok(0xB000), [0, 3, 1]));
    assert!(last.data_set.is_some());
}

#[tokio::test]
async fn a_cancelled_get_ends_between_objects() {
    let archive = archive(1).await;
    let mut association = getting(&archive, &[context(uids::CT_IMAGE_STORAGE, EXPLICIT)]).await;
    association.send(1, get_request(), Some(&identifier(STUDY))).await.unwrap();
    let object = association.receive(1 << 20).await.unwrap();
    association.send(1, cancel(), None).await.unwrap();
    let stored = object.command.response(0).unwrap();
    association.send(object.context_id, stored, None).await.unwrap();
    let last = responses(&mut association).await.pop().unwrap();
    assert_eq!((last.command.status(), counts(&last)), (Ok(0xFE00), [1, 0, 0]));
    assert_eq!(count(&last, tags::NUMBER_OF_REMAINING_SUBOPERATIONS), Some(3));
}
