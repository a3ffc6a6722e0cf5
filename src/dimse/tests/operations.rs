//! What the peer says and is asked while an operation runs.

use std::time::Duration;

use dicom_dictionary_std::{tags, uids};
use dicom_ul::pdu::{AssociationRQ, Pdu, RequestorRoles, UserVariableItem};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};

use super::harness::{self, Harness, Sink, ct, object, request, send_data, settings};
use crate::config::Service;
use crate::dimse::association::{Association, establish};
use crate::dimse::tests::unknown_caller;
use crate::ul::command::{CommandAssembler, CommandSet, field};
use crate::ul::connection::{Connection, Contextual};
use crate::ul::data_set::DataSet;
use crate::ul::{Incoming, UlError};

const PATIENCE: Duration = Duration::from_secs(20);

/// Both ends of a connection; no association yet.
struct Ends {
    harness: Harness,
    ours: Connection<DuplexStream>,
    peer: Connection<DuplexStream>,
}

impl Ends {
    fn new() -> Self {
        let (ours, peer) = duplex(16 << 10);
        let ends = [ours, peer].map(|end| Connection::new(end, 1 << 20, PATIENCE));
        let [ours, peer] = ends;
        Self { harness: Harness::new(settings()), ours, peer }
    }

    /// One that stands and serves nothing, so that the test can.
    async fn association(&mut self) -> (Association<'_, DuplexStream, Sink>, &mut Connection<DuplexStream>) {
        let roles = RequestorRoles { scu: true, scp: true };
        let item = UserVariableItem::ScuScpRoleSelectionSubItem(uids::CT_IMAGE_STORAGE.to_owned(), roles);
        let request = AssociationRQ {
            user_variables: vec![item],
            ..request(&[(uids::CT_IMAGE_STORAGE, &[uids::JPEG2000_LOSSLESS])])
        };
        let caller = unknown_caller(&[Service::Store, Service::Retrieve]);
        let association = establish(&mut self.ours, request, caller, &self.harness.shared).await.unwrap();
        assert!(matches!(self.peer.next().await, Ok(Incoming::Pdu(Pdu::AssociationAC(_)))));
        self.peer.establish(0, PATIENCE);
        (association, &mut self.peer)
    }
}

fn cancel_of(message_id: u16) -> CommandSet {
    CommandSet::default()
        .with_u16(tags::COMMAND_FIELD, field::C_CANCEL)
        .with_u16(tags::MESSAGE_ID_BEING_RESPONDED_TO, message_id)
        .with_u16(tags::COMMAND_DATA_SET_TYPE, 0x0101)
}

async fn command(peer: &mut Connection<DuplexStream>) -> Contextual<CommandSet> {
    let mut assembler = CommandAssembler::default();
    loop {
        let Ok(Incoming::Fragment(fragment)) = peer.next().await else { panic!("no command") };
        if let Some(command) = assembler.push(&fragment).unwrap() {
            return command;
        }
    }
}

#[tokio::test]
async fn a_cancel_is_seen_between_responses_and_only_of_its_message() {
    let mut ends = Ends::new();
    let (mut association, peer) = ends.association().await;
    assert!(!association.cancelled(7).await.unwrap());
    peer.send_command(1, &cancel_of(6)).await.unwrap();
    assert!(!association.cancelled(7).await.unwrap());
    peer.send_command(1, &cancel_of(7)).await.unwrap();
    assert!(association.cancelled(7).await.unwrap());
}

#[tokio::test]
async fn who_waits_for_something_else_hears_a_cancel() {
    let mut ends = Ends::new();
    let (mut association, peer) = ends.association().await;
    let brief = tokio::time::timeout(Duration::from_millis(20), association.given_up(7)).await;
    assert!(brief.is_err());
    peer.send_command(1, &cancel_of(7)).await.unwrap();
    association.given_up(7).await.unwrap();
}

#[tokio::test]
async fn a_release_gives_up_and_an_abort_ends() {
    let mut ends = Ends::new();
    let (mut association, peer) = ends.association().await;
    peer.send(&Pdu::ReleaseRQ).await.unwrap();
    assert!(association.cancelled(7).await.unwrap());
    let mut ends = Ends::new();
    let (mut association, peer) = ends.association().await;
    peer.send(&Pdu::AbortRQ { source: dicom_ul::pdu::AbortRQSource::ServiceUser }).await.unwrap();
    assert!(matches!(association.cancelled(7).await, Err(UlError::Aborted)));
}

#[tokio::test]
async fn a_stopping_server_gives_up_as_well() {
    let mut ends = Ends::new();
    let stop = ends.harness.stop.clone();
    let (mut association, _peer) = ends.association().await;
    stop.cancel();
    assert!(association.cancelled(7).await.unwrap());
    association.given_up(7).await.unwrap();
}

#[tokio::test]
async fn an_object_of_many_pdus_goes_to_the_peer_and_a_cancel_meanwhile_is_kept() {
    let mut ends = Ends::new();
    let (mut association, peer) = ends.association().await;
    let bytes = object(300_001);
    let (stored, mut data_set) = (ct("1.2.3"), &bytes[..]);
    let sending = association.send_object(7, 1, &stored, &mut data_set);
    let taking = async {
        let request = command(peer).await;
        let mut got = Vec::new();
        DataSet::new(peer, 1).read_to_end(&mut got).await.unwrap();
        peer.send_command(1, &cancel_of(7)).await.unwrap();
        peer.send_command(1, &request.message.response(0xB000).unwrap()).await.unwrap();
        got
    };
    let (response, got) = tokio::join!(sending, taking);
    assert_eq!((response.unwrap().status(), got == bytes), (Ok(0xB000), true));
    assert!(association.cancelled(7).await.unwrap());
}

#[tokio::test]
async fn a_request_that_comes_early_is_kept_for_its_turn() {
    let mut ends = Ends::new();
    let (mut association, peer) = ends.association().await;
    peer.send_command(1, &harness::store_command(uids::CT_IMAGE_STORAGE, "1.2.3")).await.unwrap();
    send_data(peer, 1, b"data", true).await;
    assert!(!association.cancelled(7).await.unwrap());
    let question = CommandSet::request(field::N_EVENT_REPORT, association.next_message_id());
    assert!(association.ask(1, question, b"information").await.unwrap().is_none());
}

#[tokio::test]
async fn a_report_may_be_confirmed_in_the_course_of_another_operation() {
    let mut ends = Ends::new();
    let (mut association, peer) = ends.association().await;
    let confirmation = |message_id| {
        let event = CommandSet::request(field::N_EVENT_REPORT, message_id);
        event.response(0x0000).unwrap()
    };
    let reported = association.next_message_id();
    peer.send_command(1, &confirmation(reported)).await.unwrap();
    assert!(!association.cancelled(7).await.unwrap());
    peer.send_command(1, &confirmation(reported)).await.unwrap();
    let (stored, mut data_set) = (ct("1.2.3"), &b"data"[..]);
    let sending = association.send_object(7, 1, &stored, &mut data_set);
    let taking = async {
        let request = command(peer).await.message;
        peer.send_command(1, &request.response(0x0000).unwrap()).await.unwrap();
    };
    let (response, ()) = tokio::join!(sending, taking);
    assert_eq!(response.unwrap().status(), Ok(0x0000));
    peer.send_command(1, &confirmation(99)).await.unwrap();
    assert!(association.cancelled(7).await.is_err());
}
