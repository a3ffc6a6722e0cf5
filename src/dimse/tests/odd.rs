//! Peers beside the standard, and the optional items of requests: what does no harm is taken.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use dicom_dictionary_std::uids;
use dicom_ul::pdu::{AssociationAC, AssociationRQ, Pdu, UserIdentity, UserIdentityType, UserVariableItem};

use super::harness::{Harness, request, settings};
use crate::ul::Incoming;
use crate::ul::connection::Connection;

const PATIENCE: Duration = Duration::from_secs(20);

fn item(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 0], &(content.len() as u16).to_be_bytes()[..], content].concat()
}

/// An A-ASSOCIATE-RQ of these items, with AE titles of 16 bytes each.
fn associate(titles: &[u8; 32], items: &[Vec<u8>]) -> Bytes {
    let items = items.concat();
    let mut pdu = BytesMut::new();
    pdu.put_slice(&[1, 0]);
    pdu.put_u32(68 + items.len() as u32);
    pdu.put_slice(&[0, 1, 0, 0]);
    pdu.put_slice(titles);
    pdu.put_bytes(0, 32);
    pdu.put_slice(&items);
    pdu.freeze()
}

const TITLES: &[u8; 32] = b"RADIANT         SENDER          ";

fn application_context() -> Vec<u8> {
    item(0x10, uids::DICOM_APPLICATION_CONTEXT.as_bytes())
}

fn verification() -> Vec<u8> {
    let syntaxes = [item(0x30, b"1.2.840.10008.1.1"), item(0x40, b"1.2.840.10008.1.2")].concat();
    item(0x20, &[&[1, 0, 0, 0], &syntaxes[..]].concat())
}

async fn say(pdu: &[u8]) -> Pdu {
    let mut raw = Connection::new(Harness::new(settings()).connect(), 1 << 20, PATIENCE);
    raw.write(pdu).await.unwrap();
    let Ok(Incoming::Pdu(answer)) = raw.next().await else { panic!("no PDU") };
    answer
}

async fn check_accepted(pdu: &[u8]) -> AssociationAC {
    match say(pdu).await {
        Pdu::AssociationAC(answer) => answer,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_without_user_information_is_accepted() {
    check_accepted(&associate(TITLES, &[application_context(), verification()])).await;
}

#[tokio::test]
async fn items_of_unknown_types_are_passed_over() {
    let user = item(0x50, &[item(0x51, &[0, 0, 64, 0]), item(0x77, b"whatever"), item(0x5F, b"")].concat());
    let items = [application_context(), item(0x99, b"new"), verification(), user];
    check_accepted(&associate(TITLES, &items)).await;
}

#[tokio::test]
async fn padded_names_and_items_of_odd_lengths_are_understood() {
    let context = item(0x10, b"1.2.840.10008.3.1.1.1\0");
    let user = item(0x50, &[item(0x51, &[0, 0, 64, 0, 9, 9]), item(0x54, b"\0"), item(0x51, b"")].concat());
    let items = [context, verification(), user, vec![0, 0]];
    check_accepted(&associate(b" radiant\0\0\0\0\0\0\0\0SENDER\0\0\0\0\0\0\0\0\0\0", &items)).await;
}

#[tokio::test]
async fn a_context_without_an_abstract_syntax_is_refused_alone() {
    let items = [application_context(), item(0x20, &[3, 0, 0, 0]), item(0x20, &[5]), verification()];
    let answer = check_accepted(&associate(TITLES, &items)).await;
    let results: Vec<_> = answer
        .presentation_contexts
        .iter()
        .map(|context| (context.id, context.reason.clone() as u8))
        .collect();
    assert_eq!(results, [(3, 3), (1, 0)]);
}

#[tokio::test]
async fn a_request_without_an_application_context_is_rejected() {
    let answer = say(&associate(TITLES, &[verification()])).await;
    let Pdu::AssociationRJ(rejection) = answer else { panic!("{answer:?}") };
    assert_eq!(rejection.source.to_string(), "application context name not supported");
}

async fn with_identity(name: &[u8], wants_response: bool) -> Pdu {
    let kind = UserIdentityType::UsernamePassword;
    let identity = UserIdentity::new(wants_response, kind, name.to_vec(), b"passcode".to_vec());
    let items = vec![UserVariableItem::UserIdentityItem(identity)];
    let request = AssociationRQ { user_variables: items, ..request(&[(uids::VERIFICATION, &["1.2"])]) };
    let mut raw = Connection::new(Harness::new(settings()).connect(), 1 << 20, PATIENCE);
    raw.send(&request.into()).await.unwrap();
    let Ok(Incoming::Pdu(answer)) = raw.next().await else { panic!("no PDU") };
    answer
}

#[tokio::test]
async fn a_user_is_told_that_it_is_let_in_only_when_it_asks() {
    for (wants_response, expected) in [(true, Some(vec![0, 0])), (false, None)] {
        let Pdu::AssociationAC(answer) = with_identity(b"user", wants_response).await else { panic!() };
        let answers = answer.user_variables.into_iter().find_map(|item| match item {
            UserVariableItem::Unknown(0x59, bytes) => Some(bytes),
            _ => None,
        });
        assert_eq!(answers, expected);
    }
}

#[tokio::test]
async fn a_user_that_is_not_let_in_is_rejected() {
    let answer = with_identity(b"stranger", true).await;
    let Pdu::AssociationRJ(rejection) = answer else { panic!("{answer:?}") };
    assert_eq!(rejection.source.to_string(), "no reason given");
}
