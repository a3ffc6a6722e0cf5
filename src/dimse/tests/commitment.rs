//! Storage commitment, asked of us and by us.

use std::sync::Arc;
use std::time::Duration;

use dicom_dictionary_std::{tags, uids};
use dicom_ul::pdu::UserVariableItem;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::harness::{self, Harness, node, settings};
use crate::clock::{Clock, Timestamp};
use crate::config::Node;
use crate::db::Db;
use crate::db::commitments::{self, Commitment, Outcome, State};
use crate::db::jobs as rows;
use crate::db::page::Page;
use crate::dicom::commitment::{Failed, Reference, Report, Request, WELL_KNOWN_INSTANCE};
use crate::dimse::{Listeners, Settings, serve};
use crate::export::commitment::{RequestError, Status};
use crate::export::scu::association::Association;
use crate::export::scu::commitment::contexts;
use crate::jobs::{Ending, Handler, Job, JobKind};
use crate::ul::command::{CommandSet, field};

const SYNTAX: &[(&str, &[&str])] = &[
    (uids::STORAGE_COMMITMENT_PUSH_MODEL, &[uids::IMPLICIT_VR_LITTLE_ENDIAN]),
    (uids::CT_IMAGE_STORAGE, &[uids::IMPLICIT_VR_LITTLE_ENDIAN]),
];
const PATIENCE: Duration = Duration::from_secs(20);

fn reference(sop_class: &str, sop_instance: &str) -> Reference {
    Reference { sop_class: sop_class.parse().unwrap(), sop_instance: sop_instance.parse().unwrap() }
}

fn request(sop_instances: &[&str]) -> Request {
    let references = sop_instances.iter().map(|uid| reference(uids::CT_IMAGE_STORAGE, uid)).collect();
    Request { transaction: "2.25.7".parse().unwrap(), references }
}

async fn associate(harness: &Harness) -> Association<DuplexStream> {
    harness.associate(&contexts().unwrap()).await.unwrap()
}

/// What the peer is told on the association that asked.
async fn told(association: &mut Association<DuplexStream>) -> Report {
    let reported = association.commitment_report(PATIENCE, 1 << 20, 99).await.unwrap();
    let (message, report) = reported.expect("a report");
    association.answer_report(&message, 0).await.unwrap();
    report.unwrap()
}

async fn claim(harness: &Harness, now: Timestamp) -> Option<Job> {
    let claim = rows::Claim {
        owner: "a",
        now,
        lease_until: now.plus(PATIENCE),
        priority_lead: Duration::ZERO,
        priority_least: 0,
    };
    rows::claim(harness.db(), JobKind::ReportCommitment, claim).await.unwrap()
}

/// Runs the job that is due, as the driver would.
async fn work(harness: &Harness) -> Ending {
    let now = Clock::System.now();
    let job = claim(harness, now).await.expect("a job");
    let ending = harness.commitments().run(&job).await;
    harness.db().run(rows::finish(&job, "a", "", now)).await.unwrap();
    ending
}

async fn newest(db: &Db) -> Option<Commitment> {
    commitments::list(db, &Page::first("id", true, 1)).await.unwrap().items.pop()
}

async fn state(harness: &Harness) -> (State, Option<String>) {
    let newest = newest(harness.db()).await.unwrap();
    (newest.state, newest.reason)
}

/// A place to listen, as a node of this name.
async fn bound(ae_title: &str) -> (TcpListener, Node) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, Node { port, ..node(ae_title) })
}

/// Serves over TCP until the guard is dropped.
fn listen(harness: &Harness, listener: TcpListener) -> DropGuard {
    let stop = CancellationToken::new();
    let listeners = Listeners { plain: Some(listener), tls: None };
    tokio::spawn(serve(listeners, harness.server(), stop.clone()));
    stop.drop_guard()
}

/// We, who ask RADIANT.
fn requester(provider: Node) -> Harness {
    Harness::new(Settings { ae_title: "SENDER".into(), nodes: vec![provider], ..settings() })
}

#[tokio::test]
async fn a_request_is_reported_on_the_association_that_asked() {
    let harness = Harness::new(settings());
    let mut association = associate(&harness).await;
    let mut asked = request(&["1.2.1", "1.2.2"]);
    asked.references.push(reference("1.2.3.4", "1.2.4"));
    assert_eq!(association.request_commitment(&asked).await.unwrap(), 0x0000);
    let (ending, report) = tokio::join!(work(&harness), told(&mut association));
    let reasons: Vec<u16> = report.failed.iter().map(|failed| failed.reason).collect();
    assert_eq!((report.transaction, reasons), (asked.transaction, vec![0x0112, 0x0112, 0x0122]));
    assert_eq!((report.committed, report.retrieve_aet.as_deref()), (vec![], Some("RADIANT")));
    assert_eq!(ending, Ending::Done("reported on the association that asked".into()));
    assert_eq!(association.echo().await.unwrap(), 0);
}

#[tokio::test]
async fn a_report_and_a_request_may_cross() {
    let harness = Harness::new(settings());
    let mut raw = harness.raw(SYNTAX).await;
    let (command, data_set) = action();
    raw.send_message(1, command, &data_set).await.unwrap();
    assert_eq!(harness::status(&mut raw).await, 0x0000);
    let crossing = async {
        let event = harness::command(&mut raw).await;
        assert_eq!(event.command_field(), Ok(field::N_EVENT_REPORT));
        crate::ul::data_set::DataSet::new(&mut raw, 1).finish(PATIENCE).await.unwrap();
        harness::send_store_command(&mut raw, 3, uids::CT_IMAGE_STORAGE, "1.2.3").await;
        harness::send_data(&mut raw, 3, b"x", true).await;
        assert_eq!(harness::status(&mut raw).await, 0x0000);
        raw.send_command(1, &event.response(0).unwrap()).await.unwrap();
    };
    let (ending, ()) = tokio::join!(work(&harness), crossing);
    assert_eq!(ending, Ending::Done("reported on the association that asked".into()));
}

#[tokio::test]
async fn a_report_waits_for_the_objects_that_are_not_yet_answered() {
    let harness = Harness::new(settings());
    let window = UserVariableItem::Unknown(0x53, vec![0, 2, 0, 1]);
    let mut raw = harness.raw_asking(SYNTAX, vec![window]).await;
    let (command, data_set) = action();
    raw.send_message(1, command, &data_set).await.unwrap();
    assert_eq!(harness::status(&mut raw).await, 0x0000);
    harness.sink.hold_next();
    harness::send_store_command(&mut raw, 3, uids::CT_IMAGE_STORAGE, "1.2.3").await;
    harness::send_data(&mut raw, 3, b"x", true).await;
    let hearing = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        harness.sink.let_go();
        assert_eq!(harness::status(&mut raw).await, 0x0000);
        let event = harness::command(&mut raw).await;
        crate::ul::data_set::DataSet::new(&mut raw, 1).finish(PATIENCE).await.unwrap();
        raw.send_command(1, &event.response(0).unwrap()).await.unwrap();
    };
    let (ending, ()) = tokio::join!(work(&harness), hearing);
    assert_eq!(ending, Ending::Done("reported on the association that asked".into()));
}

fn action() -> (CommandSet, Vec<u8>) {
    let command = CommandSet::request(field::N_ACTION, 5)
        .with_uid(tags::REQUESTED_SOP_CLASS_UID, uids::STORAGE_COMMITMENT_PUSH_MODEL)
        .with_uid(tags::REQUESTED_SOP_INSTANCE_UID, WELL_KNOWN_INSTANCE)
        .with_u16(tags::ACTION_TYPE_ID, 1);
    let syntax = uids::IMPLICIT_VR_LITTLE_ENDIAN.parse().unwrap();
    (command, request(&["1.2.1"]).encode(&syntax).unwrap())
}

#[track_caller]
fn check_action(change: impl FnOnce(CommandSet, Vec<u8>) -> (CommandSet, Vec<u8>), expected: u16) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let status = runtime.block_on(async {
        let harness = Harness::with(settings(), |limits| limits.references_max = 2);
        let mut raw = harness.raw(SYNTAX).await;
        let (command, data_set) = action();
        let (command, data_set) = change(command, data_set);
        raw.send_message(1, command, &data_set).await.unwrap();
        let status = harness::status(&mut raw).await;
        let kept = commitments::list(harness.db(), &Page::first("id", true, 1)).await.unwrap().total;
        assert_eq!(kept, i64::from(status == 0));
        status
    });
    assert_eq!(status, expected, "{status:04X}");
}

#[test]
fn what_is_no_request_is_refused_with_its_status() {
    let syntax = uids::IMPLICIT_VR_LITTLE_ENDIAN.parse().unwrap();
    let encoded = |request: Request| request.encode(&syntax).unwrap();
    check_action(|command, data_set| (command, data_set), 0x0000);
    check_action(|command, data| (command.with_uid(tags::REQUESTED_SOP_CLASS_UID, "1.2"), data), 0x0118);
    check_action(|command, data| (command.with_uid(tags::REQUESTED_SOP_INSTANCE_UID, "1.2"), data), 0x0112);
    check_action(|command, data| (command.with_u16(tags::ACTION_TYPE_ID, 2), data), 0x0123);
    check_action(|command, data| (command, data[..30].to_vec()), 0x0115);
    check_action(|command, _| (command, Vec::new()), 0x0115);
    check_action(|command, _| (command, encoded(request(&[]))), 0x0115);
    check_action(|command, _| (command, encoded(request(&["1.1", "1.2", "1.3"]))), 0x0213);
}

#[tokio::test]
async fn a_node_that_has_released_is_called() {
    let ((ours, sender), (theirs, radiant)) = (bound("SENDER").await, bound("RADIANT").await);
    let (requester, harness) =
        (requester(radiant), Harness::new(Settings { nodes: vec![sender], ..settings() }));
    let _guards = [listen(&requester, ours), listen(&harness, theirs)];
    let references = request(&["1.2.1", "1.2.2"]).references;
    let id = requester.commitments().request("RADIANT", references).await.unwrap();
    assert_eq!(requester.commitments().status(&id).await.unwrap(), Some(Status::Awaited));
    assert_eq!(work(&harness).await, Ending::Done("reported on an association of its own".into()));
    let Some(Status::Reported(said)) = requester.commitments().status(&id).await.unwrap() else { panic!() };
    assert!(said.iter().all(|one| one.outcome == Outcome::Failed(0x0112)) && said.len() == 2, "{said:?}");
    assert_eq!(state(&harness).await.0, State::Reported);
}

#[tokio::test]
async fn a_stranger_that_has_released_is_told_when_it_asks_again() {
    let harness = Harness::new(settings());
    let mut first = associate(&harness).await;
    first.request_commitment(&request(&["1.2.1"])).await.unwrap();
    first.release().await.unwrap();
    harness.all_ended().await;
    let reason = "its association has ended, and it is no node that can be called";
    assert_eq!(work(&harness).await, Ending::Done(reason.into()));
    assert_eq!(state(&harness).await, (State::Undelivered, Some(reason.into())));
    let mut second = associate(&harness).await;
    second.request_commitment(&request(&["1.2.1"])).await.unwrap();
    let (_, report) = tokio::join!(work(&harness), told(&mut second));
    assert_eq!((report.failed.len(), state(&harness).await.0), (1, State::Reported));
}

#[tokio::test]
async fn a_transaction_uid_that_is_in_use_for_something_else_commits_to_nothing() {
    let harness = Harness::new(settings());
    let mut association = associate(&harness).await;
    for (sop_instance, reason) in [("1.2.1", 0x0112), ("1.2.2", 0x0131), ("1.2.1", 0x0112), ("1.2.2", 0x0131)]
    {
        association.request_commitment(&request(&[sop_instance])).await.unwrap();
        let (_, report) = tokio::join!(work(&harness), told(&mut association));
        let reference = reference(uids::CT_IMAGE_STORAGE, sop_instance);
        assert_eq!(report.failed, [Failed { reference, reason }]);
    }
}

#[tokio::test]
async fn a_node_that_is_down_is_tried_again_and_in_the_end_kept() {
    let harness = Harness::new(Settings { nodes: vec![bound("SENDER").await.1], ..settings() });
    let mut association = associate(&harness).await;
    association.request_commitment(&request(&["1.2.1"])).await.unwrap();
    association.abort().await;
    harness.all_ended().await;
    let job = claim(&harness, Clock::System.now()).await;
    let (job, commitments) = (job.unwrap(), Arc::clone(harness.commitments()));
    let Ending::Retry(reason) = commitments.run(&job).await else { panic!("it was reported to nobody") };
    assert!(reason.contains("cannot be reached"), "{reason}");
    assert_eq!(state(&harness).await, (State::Checked, Some(reason)));
    let again = commitments.run(&job).await;
    assert_eq!(again, Ending::Retry("SENDER could not be reached a moment ago".into()));
    commitments.gave_up(&job, "after 100 attempts").await;
    assert_eq!(state(&harness).await, (State::Undelivered, Some("after 100 attempts".into())));
}

#[tokio::test]
async fn only_so_many_requests_may_be_open() {
    let harness = Harness::with(settings(), |limits| limits.open_max = 1);
    let mut association = associate(&harness).await;
    assert_eq!(association.request_commitment(&request(&["1.2.1"])).await.unwrap(), 0x0000);
    let other = Request { transaction: "2.25.8".parse().unwrap(), ..request(&["1.2.1"]) };
    assert_eq!(association.request_commitment(&other).await.unwrap(), 0x0213);
}

#[tokio::test]
async fn a_report_on_what_was_not_asked_is_refused() {
    let harness = Harness::new(settings());
    let mut association = associate(&harness).await;
    let report = Report {
        transaction: "2.25.7".parse().unwrap(),
        committed: request(&["1.2.1"]).references,
        failed: vec![],
        retrieve_aet: None,
    };
    assert_eq!(association.report_commitment(&report).await.unwrap(), 0x0115);
    assert_eq!(association.echo().await.unwrap(), 0);
}

#[tokio::test]
async fn a_node_that_reports_at_once_is_heard_on_the_same_association() {
    let (theirs, radiant) = bound("RADIANT").await;
    let (provider, requester) = (Harness::new(settings()), requester(radiant));
    let _guard = listen(&provider, theirs);
    let commitments = requester.commitments();
    let asking = commitments.request("RADIANT", request(&["1.2.1"]).references);
    let serving = async {
        while newest(provider.db()).await.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        work(&provider).await
    };
    let (id, ending) = tokio::join!(asking, serving);
    assert_eq!(ending, Ending::Done("reported on the association that asked".into()));
    let status = commitments.status(&id.unwrap()).await.unwrap();
    assert!(matches!(status, Some(Status::Reported(said)) if said[0].outcome == Outcome::Failed(0x0112)));
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_no_open_request() {
    let harness = requester(bound("RADIANT").await.1);
    let references = request(&["1.2.1"]).references;
    let error = harness.commitments().request("RADIANT", references.clone()).await.unwrap_err();
    assert!(matches!(error, RequestError::Call(_)), "{error}");
    assert_eq!(state(&harness).await.0, State::Refused);
    let error = harness.commitments().request("PACS", references).await.unwrap_err();
    assert_eq!(error.to_string(), "\"PACS\" is no node that can be called");
}
