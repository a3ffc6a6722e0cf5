//! A server without a network, and a sink that remembers.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use dicom_dictionary_std::{tags, uids};
use dicom_ul::pdu::{AssociationRQ, Pdu, PresentationContextProposed, UserVariableItem};
use tokio::io::{AsyncRead, AsyncReadExt, DuplexStream, duplex};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::{Recorder, recorder};
use crate::auth::Reach;
use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::config::{self, Config, DimseTls, Node, Overrides, Service};
use crate::db::{Db, Statement};
use crate::dicom::temporal::Offset;
use crate::dimse::admission::{self, Caller};
use crate::dimse::association::{self, Shared};
use crate::dimse::audited;
use crate::dimse::{
    FindSettings, Identified, Identify, Placing, Server, Settings, SopClasses, StoreSink, Users,
};
use crate::export::commitment::{self, Commitments};
use crate::export::scu::association::{Association, Patience, Peer, ProposedContext};
use crate::export::scu::{Directory, ScuError};
use crate::ingest::testing;
use crate::ingest::{Body, InstanceIdentity, Outcome, Received, Refusal, Refused, StoreCommand, Stored};
use crate::jobs::Bell;
use crate::query::decoding::Decodes;
use crate::ul::command::{CommandAssembler, CommandSet, field};
use crate::ul::connection::{Connection, put_p_data_header};
use crate::ul::tls::Tls;
use crate::ul::{Incoming, MessagePart};

pub(in crate::dimse) fn settings() -> Settings {
    Settings {
        ae_title: "RADIANT".into(),
        called_aet_strict: true,
        sop_classes: SopClasses::default(),
        associations_max: 8,
        operations_max: 4,
        pdu_bytes_max: 64 << 10,
        idle_timeout: Duration::from_secs(20),
        data_rate_min: 0,
        artim_timeout: Duration::from_secs(20),
        stop_timeout: Duration::from_secs(20),
        identifier_bytes_max: 1 << 20,
        unknown_callers_may: BTreeSet::from([Service::Store, Service::Query, Service::Retrieve]),
        nodes: Vec::new(),
        find: FindSettings {
            results_max: 100,
            always_relational: false,
            scan_max: 100,
            stored_zone: Offset::UTC,
        },
        users: Users::default(),
        passcode_plain_ok: false,
        recheck: Duration::ZERO,
        rejections_recorded_every: Duration::from_secs(60),
        rejections_remembered_max: 10,
    }
}

pub(in crate::dimse) fn request(contexts: &[(&str, &[&str])]) -> AssociationRQ {
    let proposed = |(index, (abstract_syntax, transfer_syntaxes)): (usize, &(&str, &[&str]))| {
        PresentationContextProposed {
            id: index as u8 * 2 + 1,
            abstract_syntax: (*abstract_syntax).to_owned(),
            transfer_syntaxes: transfer_syntaxes.iter().map(|uid| (*uid).to_owned()).collect(),
        }
    };
    AssociationRQ {
        protocol_version: 1,
        calling_ae_title: "SENDER".into(),
        called_ae_title: "RADIANT".into(),
        application_context_name: uids::DICOM_APPLICATION_CONTEXT.into(),
        presentation_contexts: contexts.iter().enumerate().map(proposed).collect(),
        user_variables: vec![UserVariableItem::MaxLength(0)],
    }
}

/// A node that may do everything and can be called.
pub(in crate::dimse) fn node(ae_title: &str) -> Node {
    Node {
        ae_title: ae_title.into(),
        host: Some("127.0.0.1".into()),
        port: 104,
        tls: false,
        may: BTreeSet::from([Service::Store, Service::Query, Service::Retrieve]),
        transfer_syntaxes: Vec::new(),
        addresses: Vec::new(),
        groups: Vec::new(),
        associations_max: None,
    }
}

pub(in crate::dimse) fn unknown_caller(may: &[Service]) -> Caller {
    Caller::unknown("SENDER", may.iter().copied())
}

pub(super) fn peer(address: &str) -> Peer {
    Peer::new(address, "RADIANT", "SENDER")
}

pub(super) fn ct_context() -> ProposedContext {
    let ct = ct("1.2.3");
    ProposedContext::single(ct.sop_class, ct.transfer_syntax)
}

pub(super) fn ct(sop_instance: &str) -> StoreCommand {
    StoreCommand {
        sop_class: uids::CT_IMAGE_STORAGE.parse().unwrap(),
        sop_instance: sop_instance.parse().unwrap(),
        transfer_syntax: uids::JPEG2000_LOSSLESS.parse().unwrap(),
    }
}

pub(super) fn object(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i % 251) as u8).collect()
}

/// Keeps what it gets, unless it was told to refuse.
#[derive(Default)]
pub(in crate::dimse) struct Sink(Mutex<Seen>, Arc<Notify>);

#[derive(Default)]
struct Seen {
    stored: Vec<(String, Vec<u8>)>,
    deliveries: Vec<String>,
    interrupted: usize,
    refusal: Option<Refusal>,
    /// The next object is not durable before another one is.
    held: bool,
    stop: Option<CancellationToken>,
}

impl Sink {
    pub(super) fn stored(&self) -> Vec<(String, Vec<u8>)> {
        self.0.lock().unwrap().stored.clone()
    }

    pub(super) fn deliveries(&self) -> Vec<String> {
        let mut deliveries = self.0.lock().unwrap().deliveries.clone();
        deliveries.dedup();
        deliveries
    }

    pub(super) fn interrupted(&self) -> usize {
        self.0.lock().unwrap().interrupted
    }

    pub(super) fn refuse_next(&self, refusal: Refusal) {
        self.0.lock().unwrap().refusal = Some(refusal);
    }

    pub(super) fn hold_next(&self) {
        self.0.lock().unwrap().held = true;
    }

    /// What was held is durable now.
    pub(super) fn let_go(&self) {
        self.1.notify_one();
    }

    pub(super) fn stop_when_stored(&self, stop: CancellationToken) {
        self.0.lock().unwrap().stop = Some(stop);
    }

    fn keep(&self, uid: String, bytes: Vec<u8>, delivery: Option<String>) {
        let mut seen = self.0.lock().unwrap();
        seen.stored.push((uid, bytes));
        seen.deliveries.extend(delivery);
        if let Some(stop) = seen.stop.take() {
            stop.cancel();
        }
    }
}

impl StoreSink for Sink {
    async fn receive<R: AsyncRead + Unpin + Send>(
        &self,
        received: Received<'_, R>,
        _: &Reach,
    ) -> Result<Placing, Refused> {
        let Body::DataSet { mut reader, command } = received.body else {
            panic!("C-STORE brings bare data sets")
        };
        let refusal = self.0.lock().unwrap().refusal.take();
        if let Some(refusal) = refusal {
            return Err(Refused { refusal, sop_class: None, sop_instance: None });
        }
        let mut bytes = Vec::new();
        if let Err(error) = reader.read_to_end(&mut bytes).await {
            self.0.lock().unwrap().interrupted += 1;
            return Err(Refused {
                refusal: Refusal::Interrupted(error),
                sop_class: None,
                sop_instance: None,
            });
        }
        self.keep(command.sop_instance.to_string(), bytes, received.origin.delivery.clone());
        let held = std::mem::take(&mut self.0.lock().unwrap().held);
        let another = Arc::clone(&self.1);
        Ok(Box::pin(async move {
            match held {
                true => another.notified().await,
                false => another.notify_one(),
            }
            Ok(stored(command))
        }))
    }
}

fn stored(command: StoreCommand) -> Stored {
    let instance = InstanceIdentity {
        study: "1".parse().unwrap(),
        series: "1".parse().unwrap(),
        sop_instance: command.sop_instance,
        sop_class: command.sop_class,
    };
    Stored { instance, outcome: Outcome::New, coerced: false }
}

pub(in crate::dimse) struct Harness {
    pub(super) sink: Arc<Sink>,
    pub(super) stop: CancellationToken,
    pub(in crate::dimse) shared: Arc<Shared<Sink>>,
    ended: Arc<Mutex<Vec<String>>>,
    associations: TaskTracker,
    archive: EmptyArchive,
}

/// An index and objects in a folder of their own.
struct EmptyArchive {
    db: Db,
    blobs: Blobs,
    _dir: tempfile::TempDir,
}

impl EmptyArchive {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::for_test(dir.path());
        Self { db, blobs: Blobs::open_local(dir.path()).unwrap(), _dir: dir }
    }
}

impl Harness {
    pub(in crate::dimse) fn new(settings: Settings) -> Self {
        Self::with(settings, |_| ())
    }

    /// With other limits of storage commitment than the usual ones.
    pub(super) fn with(settings: Settings, limit: impl FnOnce(&mut config::Commitment)) -> Self {
        let (sink, stop, ended) = (Arc::default(), CancellationToken::new(), Arc::default());
        let archive = EmptyArchive::new();
        let commitments = commitments(&settings, limit, &archive);
        let server = server(settings, commitments, &sink, &ended, &archive);
        let shared = Arc::new(Shared::new(server, stop.clone()));
        Self { sink, stop, shared, ended, associations: TaskTracker::new(), archive }
    }

    /// With users.
    pub(super) fn identified_by(settings: Settings, identify: Identify) -> Self {
        let mut harness = Self::new(settings);
        let server = Server { identify, ..harness.server() };
        harness.shared = Arc::new(Shared::new(server, harness.stop.clone()));
        harness
    }

    pub(super) async fn associate_as(
        &self,
        identity: UserVariableItem,
        contexts: &[ProposedContext],
    ) -> Result<Association<DuplexStream>, ScuError> {
        Association::request_with(self.connect(), &peer("pipe"), contexts, vec![identity]).await
    }

    /// What the audit trail says of an action.
    pub(super) async fn audited(&self, action: &str) -> Vec<String> {
        self.shared.server.audit.flush().await;
        let sql = "select detail from audit where action = $1 order by sequence";
        let rows = self.db().read(Statement::named("audited", sql).bind(action)).await.unwrap();
        rows.iter().map(|row| row.text(0).unwrap().to_owned()).collect()
    }

    pub(super) async fn tell_rejections(&self) {
        audited::rejections(&self.shared).await;
    }

    /// Objects to query and retrieve.
    pub(super) async fn hold(&self, files: &[Vec<u8>]) {
        testing::hold(&self.archive.db, &self.archive.blobs, files).await;
    }

    pub(super) fn server(&self) -> Server<Sink> {
        let commitments = Arc::clone(self.commitments());
        server(self.shared.server.settings.clone(), commitments, &self.sink, &self.ended, &self.archive)
    }

    pub(super) fn commitments(&self) -> &Arc<Commitments> {
        &self.shared.server.commitments
    }

    pub(super) fn db(&self) -> &Db {
        &self.archive.db
    }

    /// The peer's end of a connection that is being served.
    pub(in crate::dimse) fn connect(&self) -> DuplexStream {
        let (ours, theirs) = duplex(16 << 10);
        let peer = admission::Peer { address: Ipv4Addr::LOCALHOST.into(), is_encrypted: false };
        self.associations.spawn(association::run(theirs, peer, Arc::clone(&self.shared)));
        ours
    }

    pub(super) async fn associate(
        &self,
        contexts: &[ProposedContext],
    ) -> Result<Association<DuplexStream>, ScuError> {
        Association::request(self.connect(), &peer("pipe"), contexts).await
    }

    /// An association whose next PDUs are up to the test.
    pub(super) async fn raw(&self, contexts: &[(&str, &[&str])]) -> Connection<DuplexStream> {
        self.raw_taking(contexts, 0).await
    }

    pub(super) async fn raw_taking(
        &self,
        contexts: &[(&str, &[&str])],
        pdu_bytes_max: u32,
    ) -> Connection<DuplexStream> {
        self.raw_asking(contexts, vec![UserVariableItem::MaxLength(pdu_bytes_max)]).await
    }

    pub(super) async fn raw_asking(
        &self,
        contexts: &[(&str, &[&str])],
        user_variables: Vec<UserVariableItem>,
    ) -> Connection<DuplexStream> {
        let mut raw = Connection::new(self.connect(), 1 << 20, Duration::from_secs(20));
        let request = AssociationRQ { user_variables, ..request(contexts) };
        raw.send(&request.into()).await.unwrap();
        assert!(matches!(raw.next().await, Ok(Incoming::Pdu(Pdu::AssociationAC(_)))));
        raw.establish(0, Duration::from_secs(20));
        raw
    }

    pub(super) async fn all_ended(&self) {
        self.associations.close();
        self.associations.wait().await;
        self.associations.reopen();
    }

    pub(super) fn ended(&self) -> Vec<String> {
        self.ended.lock().unwrap().clone()
    }
}

fn server(
    settings: Settings,
    commitments: Arc<Commitments>,
    sink: &Arc<Sink>,
    ended: &Arc<Mutex<Vec<String>>>,
    archive: &EmptyArchive,
) -> Server<Sink> {
    let ended = Arc::clone(ended);
    let association_ended = Arc::new(move |delivery| ended.lock().unwrap().push(delivery));
    let (db, blobs) = (archive.db.clone(), archive.blobs.clone());
    let tls = Tls::load(&DimseTls::default()).unwrap();
    let directory = Directory::new(&settings.nodes, &settings.ae_title, Patience::default(), tls);
    let identify: Identify = Arc::new(|user, _| {
        let identified = match user.primary().as_slice() {
            b"stranger" => Identified::Refused,
            _ => Identified::Accepted { response: Vec::new(), user: None },
        };
        Box::pin(std::future::ready(identified))
    });
    let decodes = Decodes::new(1);
    let sink = Arc::clone(sink);
    let (audit, writing) = Recorder::new(db.clone(), Clock::System, recorder::Settings::default());
    tokio::spawn(writing.run());
    Server { settings, sink, association_ended, db, blobs, decodes, directory, identify, audit, commitments }
}

fn commitments(
    settings: &Settings,
    limit: impl FnOnce(&mut config::Commitment),
    archive: &EmptyArchive,
) -> Arc<Commitments> {
    let usual = commitment::Settings::new(&Config::load(&Overrides::default()).unwrap());
    let tls = Tls::load(&DimseTls::default()).unwrap();
    let directory = Directory::new(&settings.nodes, &settings.ae_title, Patience::default(), tls);
    let mut settings = commitment::Settings { ae_title: settings.ae_title.clone(), ..usual };
    limit(&mut settings.limits);
    let (db, blobs) = (archive.db.clone(), archive.blobs.clone());
    let (clock, bell) = (Clock::System, Bell::default());
    Arc::new(Commitments::new(commitment::Parts { db, blobs, clock, bell, directory, settings }))
}

pub(super) fn store_command(sop_class: &str, sop_instance: &str) -> CommandSet {
    CommandSet::request(field::C_STORE, 9)
        .with_uid(tags::AFFECTED_SOP_CLASS_UID, sop_class)
        .with_uid(tags::AFFECTED_SOP_INSTANCE_UID, sop_instance)
        .announcing_data_set()
}

pub(super) async fn send_store_command(
    raw: &mut Connection<DuplexStream>,
    context_id: u8,
    sop_class: &str,
    sop_instance: &str,
) {
    raw.send_command(context_id, &store_command(sop_class, sop_instance)).await.unwrap();
}

pub(super) async fn send_data(raw: &mut Connection<DuplexStream>, context_id: u8, bytes: &[u8], last: bool) {
    let mut pdu = BytesMut::new();
    put_p_data_header(&mut pdu, context_id, MessagePart::DataSet, last, bytes.len());
    pdu.extend_from_slice(bytes);
    raw.write(&pdu).await.unwrap();
}

/// Which message the next response answers, and how.
pub(super) async fn answered(raw: &mut Connection<DuplexStream>) -> (u16, u16) {
    let Ok(Incoming::Fragment(fragment)) = raw.next().await else { panic!("no response") };
    let response = CommandAssembler::default().push(&fragment).unwrap().unwrap().message;
    (response.u16(tags::MESSAGE_ID_BEING_RESPONDED_TO).unwrap().unwrap(), response.status().unwrap())
}

/// The status of the next response.
pub(super) async fn status(raw: &mut Connection<DuplexStream>) -> u16 {
    command(raw).await.status().unwrap()
}

/// The next command set.
pub(super) async fn command(raw: &mut Connection<DuplexStream>) -> CommandSet {
    let Ok(Incoming::Fragment(fragment)) = raw.next().await else { panic!("no command set") };
    CommandAssembler::default().push(&fragment).unwrap().unwrap().message
}
