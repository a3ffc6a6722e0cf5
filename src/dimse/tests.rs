//! The server as its peers see it, over pipes and over TCP.

mod commitment;
mod harness;
mod hostile;
mod nodes;
mod odd;
mod operations;
mod retrieve;
mod standing;
mod tls;

use std::time::Duration;

use bytes::BytesMut;
use dicom_dictionary_std::{tags, uids};
use dicom_ul::pdu::{Pdu, UserVariableItem};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Listeners, Settings, serve};
use crate::export::scu::ScuError;
use crate::export::scu::association::{Association, ProposedContext};
use crate::ingest::Refusal;
use crate::ul::command::{CommandSet, field};
use crate::ul::connection::put_p_data_header;
use crate::ul::{Incoming, MessagePart, UlError};

pub(super) use harness::{Harness, node, request, settings, unknown_caller};
use harness::{ct, ct_context, object, peer, send_store_command};

#[tokio::test]
async fn echo_succeeds() {
    let mut association = Harness::new(settings()).associate(&[]).await.unwrap();
    assert_eq!(association.echo().await.unwrap(), 0x0000);
    association.release().await.unwrap();
}

#[tokio::test]
async fn an_object_of_many_pdus_arrives_as_it_was_sent() {
    let harness = Harness::new(settings());
    let mut association = harness.associate(&[ct_context()]).await.unwrap();
    let bytes = object(1_000_001);
    let reply = association.store(&ct("1.2.3"), &mut &bytes[..], 1_000_001).await.unwrap();
    assert_eq!((reply.status, reply.comment), (0x0000, None));
    assert_eq!(harness.sink.stored(), [("1.2.3".to_owned(), bytes)]);
}

#[tokio::test]
async fn a_released_association_that_delivered_is_reported_once() {
    let harness = Harness::new(settings());
    let mut association = harness.associate(&[ct_context()]).await.unwrap();
    for uid in ["1.2.1", "1.2.2"] {
        association.store(&ct(uid), &mut &object(10)[..], 10).await.unwrap();
    }
    association.release().await.unwrap();
    harness.all_ended().await;
    assert_eq!(harness.ended(), harness.sink.deliveries());
    assert_eq!(harness.ended().len(), 1);
}

#[tokio::test]
async fn an_association_that_delivered_nothing_is_not_reported() {
    let harness = Harness::new(settings());
    harness.associate(&[]).await.unwrap().release().await.unwrap();
    harness.all_ended().await;
    assert!(harness.ended().is_empty());
}

#[tokio::test]
async fn a_refused_object_costs_neither_the_rest_nor_the_association() {
    let harness = Harness::new(settings());
    let mut association = harness.associate(&[ct_context()]).await.unwrap();
    harness.sink.refuse_next(Refusal::TooLarge { limit_bytes: 9 });
    let reply = association.store(&ct("1.2.1"), &mut &object(700_000)[..], 700_000).await.unwrap();
    assert_eq!((reply.status, reply.comment.as_deref()), (0xA700, Some("the object is larger than 9 bytes")));
    let reply = association.store(&ct("1.2.2"), &mut &object(10)[..], 10).await.unwrap();
    assert!(reply.is_stored() && harness.sink.stored().len() == 1);
}

#[tokio::test]
async fn an_object_on_the_context_of_another_class_is_refused() {
    let harness = Harness::new(settings());
    let mut raw = harness.raw(&[(uids::CT_IMAGE_STORAGE, &[uids::IMPLICIT_VR_LITTLE_ENDIAN])]).await;
    send_store_command(&mut raw, 1, uids::MR_IMAGE_STORAGE, "1.2.3").await;
    harness::send_data(&mut raw, 1, b"x", true).await;
    assert_eq!(harness::status(&mut raw).await, 0xA900);
    assert!(harness.sink.stored().is_empty());
}

#[tokio::test]
async fn a_command_with_a_bad_uid_is_refused_and_its_data_set_skipped() {
    let harness = Harness::new(settings());
    let mut raw = harness.raw(&[(uids::CT_IMAGE_STORAGE, &[uids::IMPLICIT_VR_LITTLE_ENDIAN])]).await;
    for (uid, status) in [("1.02", 0xC000), ("", 0xC000), ("1.2", 0x0000)] {
        send_store_command(&mut raw, 1, uids::CT_IMAGE_STORAGE, uid).await;
        harness::send_data(&mut raw, 1, b"data", true).await;
        assert_eq!(harness::status(&mut raw).await, status, "{uid:?}");
    }
}

#[tokio::test]
async fn odd_and_empty_fragments_are_put_together() {
    let harness = Harness::new(settings());
    let mut raw = harness.raw(&[(uids::CT_IMAGE_STORAGE, &[uids::IMPLICIT_VR_LITTLE_ENDIAN])]).await;
    send_store_command(&mut raw, 1, uids::CT_IMAGE_STORAGE, "1.2.3").await;
    for (bytes, last) in [(&b"abc"[..], false), (b"", false), (b"d", false), (b"", true)] {
        harness::send_data(&mut raw, 1, bytes, last).await;
    }
    assert_eq!(harness::status(&mut raw).await, 0x0000);
    assert_eq!(harness.sink.stored(), [("1.2.3".to_owned(), b"abcd".to_vec())]);
}

#[tokio::test]
async fn a_command_and_its_data_set_may_share_a_pdu() {
    let harness = Harness::new(settings());
    let mut raw = harness.raw(&[(uids::CT_IMAGE_STORAGE, &[uids::IMPLICIT_VR_LITTLE_ENDIAN])]).await;
    let (command, mut pdu) =
        (harness::store_command(uids::CT_IMAGE_STORAGE, "1.2.3").encode(), BytesMut::new());
    put_p_data_header(&mut pdu, 1, MessagePart::Command, true, command.len());
    pdu.extend_from_slice(&command);
    let length = (command.len() + 6 + 8) as u32;
    pdu[2..6].copy_from_slice(&length.to_be_bytes());
    pdu.extend_from_slice(&[0, 0, 0, 4, 1, 2, b'a', b'b']);
    raw.write(&pdu).await.unwrap();
    assert_eq!(harness::status(&mut raw).await, 0x0000);
    assert_eq!(harness.sink.stored(), [("1.2.3".to_owned(), b"ab".to_vec())]);
}

#[tokio::test]
async fn an_unknown_operation_is_answered_and_a_cancel_is_not() {
    const C_FIND: u16 = 0x0020;
    let mut raw =
        Harness::new(settings()).raw(&[(uids::VERIFICATION, &[uids::IMPLICIT_VR_LITTLE_ENDIAN])]).await;
    let cancel = CommandSet::default().with_u16(tags::COMMAND_FIELD, field::C_CANCEL);
    raw.send_command(1, &cancel).await.unwrap();
    raw.send_command(1, &CommandSet::request(C_FIND, 1).announcing_data_set()).await.unwrap();
    harness::send_data(&mut raw, 1, b"identifier", true).await;
    assert_eq!(harness::status(&mut raw).await, 0x0211);
}

#[tokio::test]
async fn objects_are_received_while_earlier_ones_are_made_durable() {
    let harness = Harness::new(settings());
    let window = UserVariableItem::Unknown(0x53, vec![0, 2, 0, 1]);
    let contexts: &[(&str, &[&str])] = &[(uids::CT_IMAGE_STORAGE, &[uids::IMPLICIT_VR_LITTLE_ENDIAN])];
    let mut raw = harness.raw_asking(contexts, vec![window]).await;
    harness.sink.hold_next();
    for (message_id, uid) in [(1, "1.2.1"), (2, "1.2.2")] {
        let command =
            harness::store_command(uids::CT_IMAGE_STORAGE, uid).with_u16(tags::MESSAGE_ID, message_id);
        raw.send_command(1, &command).await.unwrap();
        harness::send_data(&mut raw, 1, b"data", true).await;
    }
    let mut answered = [harness::answered(&mut raw).await, harness::answered(&mut raw).await];
    answered.sort_unstable();
    assert_eq!(answered, [(1, 0x0000), (2, 0x0000)]);
    raw.send(&Pdu::ReleaseRQ).await.unwrap();
    assert!(matches!(raw.next().await, Ok(Incoming::Pdu(Pdu::ReleaseRP))));
    drop(raw);
    harness.all_ended().await;
    assert_eq!(harness.ended().len(), 1);
}

#[tokio::test]
async fn a_peer_that_waits_for_its_responses_is_not_idle() {
    let harness = Harness::new(Settings { idle_timeout: Duration::from_millis(100), ..settings() });
    let window = UserVariableItem::Unknown(0x53, vec![0, 2, 0, 1]);
    let contexts: &[(&str, &[&str])] = &[(uids::CT_IMAGE_STORAGE, &[uids::IMPLICIT_VR_LITTLE_ENDIAN])];
    let mut raw = harness.raw_asking(contexts, vec![window]).await;
    harness.sink.hold_next();
    send_store_command(&mut raw, 1, uids::CT_IMAGE_STORAGE, "1.2.1").await;
    harness::send_data(&mut raw, 1, b"data", true).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    harness.sink.let_go();
    assert_eq!(harness::status(&mut raw).await, 0x0000);
    assert!(matches!(raw.next().await, Ok(Incoming::Pdu(Pdu::AbortRQ { .. }))));
}

#[tokio::test]
async fn a_context_that_was_refused_is_told_by_name() {
    let context = ProposedContext { sop_class: "1.2.3".parse().unwrap(), ..ct_context() };
    let mut association = Harness::new(settings()).associate(&[context]).await.unwrap();
    let command = crate::ingest::StoreCommand { sop_class: "1.2.3".parse().unwrap(), ..ct("1.2") };
    let error = association.store(&command, &mut &b"x"[..], 1).await.unwrap_err();
    assert!(matches!(error, ScuError::ContextRefused { .. }), "{error}");
    assert_eq!(association.echo().await.unwrap(), 0);
}

async fn takes_one_at_a_time(settings: Settings) {
    let harness = Harness::new(settings);
    let first = harness.associate(&[]).await.unwrap();
    let error = harness.associate(&[]).await.unwrap_err();
    assert_eq!(error.to_string(), "the association was rejected: local limit exceeded");
    first.release().await.unwrap();
    harness.all_ended().await;
    assert!(harness.associate(&[]).await.is_ok());
}

#[tokio::test]
async fn one_association_too_many_is_rejected_until_another_ends() {
    takes_one_at_a_time(Settings { associations_max: 1, ..settings() }).await;
}

#[tokio::test]
async fn a_wrong_called_title_is_rejected() {
    let harness = Harness::new(Settings { ae_title: "OTHER".into(), ..settings() });
    let error = harness.associate(&[]).await.unwrap_err();
    assert_eq!(error.to_string(), "the association was rejected: called AE title not recognized");
}

#[tokio::test]
async fn a_stopping_server_finishes_the_object_and_aborts_the_association() {
    let harness = Harness::new(settings());
    let mut association = harness.associate(&[ct_context()]).await.unwrap();
    harness.sink.stop_when_stored(harness.stop.clone());
    let reply = association.store(&ct("1.2.3"), &mut &object(300_000)[..], 300_000).await.unwrap();
    assert!(reply.is_stored());
    let error = association.echo().await.unwrap_err();
    assert!(
        matches!(error, ScuError::UpperLayer(UlError::Aborted | UlError::Closed | UlError::Io(_))),
        "{error}"
    );
    harness.all_ended().await;
    assert_eq!(harness.ended().len(), 1);
}

#[tokio::test]
async fn serves_associations_side_by_side_over_tcp_and_stops() {
    let (harness, stop) = (Harness::new(settings()), CancellationToken::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = peer(&listener.local_addr().unwrap().to_string());
    let server = harness.server();
    let listeners = Listeners { plain: Some(listener), tls: None };
    let serving = tokio::spawn(serve(listeners, server, stop.clone()));
    let mut first = Association::connect(&peer, &[ct_context()]).await.unwrap();
    let mut second = Association::connect(&peer, &[ct_context()]).await.unwrap();
    assert!(second.store(&ct("1.2.3"), &mut &object(500_000)[..], 500_000).await.unwrap().is_stored());
    assert_eq!(first.echo().await.unwrap(), 0);
    stop.cancel();
    serving.await.unwrap();
    assert!(Association::connect(&peer, &[]).await.is_err());
}

#[tokio::test]
async fn a_small_maximum_length_of_the_peer_splits_the_response() {
    let harness = Harness::new(settings());
    let mut raw = harness.raw_taking(&[(uids::VERIFICATION, &[uids::IMPLICIT_VR_LITTLE_ENDIAN])], 100).await;
    let echo = CommandSet::request(field::C_ECHO, 1).with_uid(tags::AFFECTED_SOP_CLASS_UID, &"1.".repeat(32));
    raw.send_command(1, &echo).await.unwrap();
    let mut fragments = 0;
    while let Incoming::Fragment(fragment) = raw.next().await.unwrap() {
        fragments += 1;
        assert!(fragment.bytes.len() <= 100 - 6);
        if fragment.last {
            break;
        }
    }
    assert_eq!(fragments, 2);
}

#[tokio::test]
async fn a_release_is_confirmed() {
    let mut raw = Harness::new(settings()).raw(&[]).await;
    raw.send(&Pdu::ReleaseRQ).await.unwrap();
    assert!(matches!(raw.next().await, Ok(Incoming::Pdu(Pdu::ReleaseRP))));
    raw.close(Duration::ZERO).await;
}
