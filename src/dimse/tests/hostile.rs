//! Peers that break the protocol, stall, or leave: each is told why, and nothing is kept.

use std::time::Duration;

use dicom_dictionary_std::uids;
use dicom_ul::pdu::{AbortRQServiceProviderReason as Reason, AbortRQSource, Pdu};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::harness::{Harness, send_data, send_store_command, settings};
use crate::dimse::Settings;
use crate::ul::Incoming;
use crate::ul::command::{CommandSet, field};
use crate::ul::connection::Connection;

const CT: &[(&str, &[&str])] = &[(uids::CT_IMAGE_STORAGE, &[uids::IMPLICIT_VR_LITTLE_ENDIAN])];

fn impatient() -> Settings {
    Settings {
        idle_timeout: Duration::from_millis(60),
        artim_timeout: Duration::from_millis(60),
        ..settings()
    }
}

#[track_caller]
fn check_abort(incoming: &Result<Incoming, crate::ul::UlError>, reason: Reason) {
    let expected = AbortRQSource::ServiceProvider(reason);
    let Ok(Incoming::Pdu(Pdu::AbortRQ { source })) = incoming else { panic!("no abort but {incoming:?}") };
    assert_eq!(*source, expected);
}

/// What the server says to the first bytes of a connection, until it closes.
async fn answer_to(harness: &Harness, bytes: &[u8]) -> Vec<u8> {
    let mut stream = harness.connect();
    stream.write_all(bytes).await.unwrap();
    let mut answer = vec![0; 10];
    stream.read_exact(&mut answer).await.unwrap();
    drop(stream);
    harness.all_ended().await;
    answer
}

async fn within_a_data_set(harness: &Harness) -> Connection<DuplexStream> {
    let mut raw = harness.raw(CT).await;
    send_store_command(&mut raw, 1, uids::CT_IMAGE_STORAGE, "1.2.3").await;
    send_data(&mut raw, 1, b"the first part", false).await;
    raw
}

async fn check_nothing_is_kept(harness: &Harness) {
    harness.all_ended().await;
    assert_eq!((harness.sink.stored().len(), harness.sink.interrupted(), harness.ended().len()), (0, 1, 0));
}

#[tokio::test]
async fn a_pdu_of_four_gigabytes_is_refused_by_its_header() {
    let harness = Harness::new(settings());
    assert_eq!(answer_to(&harness, &[1, 0, 0xFF, 0xFF, 0xFF, 0xFF]).await, [7, 0, 0, 0, 0, 4, 0, 0, 2, 6]);
    let mut raw = within_a_data_set(&harness).await;
    raw.write(&[4, 0, 0xFF, 0xFF, 0xFF, 0xFF]).await.unwrap();
    check_abort(&raw.next().await, Reason::InvalidPduParameter);
    drop(raw);
    check_nothing_is_kept(&harness).await;
}

#[tokio::test]
async fn another_protocol_is_told_that_it_is_unknown() {
    let harness = Harness::new(settings());
    assert_eq!(answer_to(&harness, b"GET / HTTP/1.1\r\n\r\n").await, [7, 0, 0, 0, 0, 4, 0, 0, 2, 1]);
}

#[tokio::test]
async fn a_first_pdu_other_than_a_request_is_unexpected() {
    let harness = Harness::new(settings());
    assert_eq!(answer_to(&harness, &[5, 0, 0, 0, 0, 4, 0, 0, 0, 0]).await, [7, 0, 0, 0, 0, 4, 0, 0, 2, 2]);
}

#[tokio::test]
async fn a_request_with_broken_items_is_aborted() {
    let harness = Harness::new(settings());
    let mut request = vec![1, 0, 0, 0, 0, 72, 0, 1];
    request.resize(6 + 68, 0);
    request.extend([0x10, 0, 0xFF, 0xFF]);
    assert_eq!(answer_to(&harness, &request).await, [7, 0, 0, 0, 0, 4, 0, 0, 2, 6]);
}

#[tokio::test]
async fn a_silent_peer_is_cut_off() {
    let harness = Harness::new(impatient());
    assert_eq!(answer_to(&harness, b"").await, [7, 0, 0, 0, 0, 4, 0, 0, 2, 0]);
}

#[tokio::test]
async fn a_peer_that_drips_bytes_is_cut_off() {
    let harness = Harness::new(impatient());
    let mut raw = within_a_data_set(&harness).await;
    for byte in [4, 0, 0, 0, 1, 0].into_iter().chain(std::iter::repeat(0)) {
        tokio::time::sleep(Duration::from_millis(15)).await;
        if raw.write(&[byte]).await.is_err() {
            break;
        }
    }
    check_nothing_is_kept(&harness).await;
}

#[tokio::test]
async fn a_peer_that_sends_whole_fragments_of_single_bytes_is_cut_off() {
    let harness = Harness::new(Settings { data_rate_min: 1000, ..impatient() });
    let mut raw = within_a_data_set(&harness).await;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if raw.write(&[4, 0, 0, 0, 0, 7, 0, 0, 0, 3, 1, 0, b'x']).await.is_err() {
            break;
        }
    }
    check_abort(&raw.next().await, Reason::ReasonNotSpecified);
    drop(raw);
    check_nothing_is_kept(&harness).await;
}

#[tokio::test]
async fn tls_on_a_plain_connection_is_no_pdu() {
    let harness = Harness::new(settings());
    assert_eq!(answer_to(&harness, b"\x16\x03\x01\x02\0\x01").await, [7, 0, 0, 0, 0, 4, 0, 0, 2, 1]);
}

#[tokio::test]
async fn a_refused_object_that_never_ends_is_cut_off() {
    let harness = Harness::new(impatient());
    harness.sink.refuse_next(crate::ingest::Refusal::TooLarge { limit_bytes: 1 });
    let mut raw = within_a_data_set(&harness).await;
    let mut pdu = bytes::BytesMut::new();
    crate::ul::connection::put_p_data_header(&mut pdu, 1, crate::ul::MessagePart::DataSet, false, 2);
    pdu.extend_from_slice(b"..");
    while raw.write(&pdu).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    harness.all_ended().await;
    assert!(harness.sink.stored().is_empty());
}

#[tokio::test]
async fn a_peer_that_vanishes_within_a_data_set_leaves_nothing() {
    let harness = Harness::new(settings());
    let mut raw = within_a_data_set(&harness).await;
    raw.write(&[4, 0, 0, 0, 0, 100, 0, 0, 0, 96, 1]).await.unwrap();
    drop(raw);
    check_nothing_is_kept(&harness).await;
}

#[tokio::test]
async fn an_abort_within_a_data_set_leaves_nothing() {
    let harness = Harness::new(settings());
    let mut raw = within_a_data_set(&harness).await;
    raw.send(&Pdu::AbortRQ { source: AbortRQSource::ServiceUser }).await.unwrap();
    drop(raw);
    check_nothing_is_kept(&harness).await;
}

#[tokio::test]
async fn another_message_within_a_data_set_is_unexpected() {
    let harness = Harness::new(settings());
    let mut raw = within_a_data_set(&harness).await;
    raw.send_command(1, &CommandSet::request(field::C_ECHO, 2)).await.unwrap();
    check_abort(&raw.next().await, Reason::UnexpectedPdu);
}

#[tokio::test]
async fn a_data_set_without_a_command_is_unexpected() {
    let mut raw = Harness::new(settings()).raw(CT).await;
    send_data(&mut raw, 1, b"x", true).await;
    check_abort(&raw.next().await, Reason::UnexpectedPdu);
}

#[tokio::test]
async fn a_context_that_was_never_accepted_is_invalid() {
    let mut raw = Harness::new(settings()).raw(CT).await;
    raw.send_command(3, &CommandSet::request(field::C_ECHO, 1)).await.unwrap();
    check_abort(&raw.next().await, Reason::InvalidPduParameter);
}

#[tokio::test]
async fn a_command_set_that_cannot_be_read_aborts() {
    let mut raw = Harness::new(settings()).raw(CT).await;
    raw.send_command(1, &CommandSet::default()).await.unwrap();
    let incoming = raw.next().await;
    assert!(
        matches!(incoming, Ok(Incoming::Pdu(Pdu::AbortRQ { source: AbortRQSource::ServiceUser }))),
        "{incoming:?}"
    );
}
