//! One association from the first byte to the last: a closed loop over events, PS3.8 9.2.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dicom_dictionary_std::tags;
use dicom_ul::pdu::{AbortRQSource, AssociationRQ, Pdu};
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::admission::{self, Caller, Peer, Place, Places, Rejection};
use super::commitment::Reports;
use super::negotiation::{self, Context, Contexts};
use super::operation::Meanwhile;
use super::outstanding::Outstanding;
use super::services::ServiceClass;
use super::standing::Standing;
use super::turned_away::TurnedAway;
use super::{Server, Settings, StoreSink, audited, metric, user_identity};
use crate::audit::{Actor, Begun, Unrecorded};
use crate::ids;
use crate::ingest::{Origin, Source};
use crate::telemetry::limits;
use crate::ul::command::{CommandAssembler, CommandSet, field, status};
use crate::ul::connection::{Connection, Contextual, Transport, maximum_length};
use crate::ul::data_set::DataSet;
use crate::ul::oddities::Oddities;
use crate::ul::{Fragment, Incoming, MessagePart, UlError};

/// How long a stopping server waits for a peer to close.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// What the associations of one server have in common.
pub(super) struct Shared<K> {
    pub(super) server: Server<K>,
    pub(super) stop: CancellationToken,
    pub(super) turned_away: TurnedAway,
    places: Places,
}

impl<K> Shared<K> {
    pub(super) fn new(server: Server<K>, stop: CancellationToken) -> Self {
        let places = Places::new(&server.settings);
        let turned_away = TurnedAway::new(server.settings.rejections_remembered_max);
        Self { server, stop, turned_away, places }
    }

    fn admit(&self, request: &AssociationRQ, address: IpAddr) -> Result<(Caller, Place), Rejection> {
        let caller = admission::admit(request, address, &self.server.settings)?;
        let place = self.places.take(&caller)?;
        Ok((caller, place))
    }

    /// Who uses the caller, and what that makes of it.
    async fn identify(
        &self,
        request: &AssociationRQ,
        peer: Peer,
        caller: &mut Caller,
    ) -> Result<(), Rejection> {
        let Server { identify, settings, db, .. } = &self.server;
        let known = user_identity::of_request(&request.user_variables, identify, peer, settings).await?;
        settings.users.admit(caller, known, db).await
    }
}

/// How an association came to its end without a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Released,
    Rejected(Rejection),
    Stopped,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Released => f.write_str("released"),
            Self::Rejected(rejection) => write!(f, "rejected: {}", rejection.as_str()),
            Self::Stopped => f.write_str("the server stops"),
        }
    }
}

/// Serves one connection and closes it.
pub(super) async fn run<S: Transport, K: StoreSink>(transport: S, peer: Peer, shared: Arc<Shared<K>>) {
    let settings = &shared.server.settings;
    let artim = settings.artim_timeout;
    let mut connection = Connection::new(transport, settings.pdu_bytes_max, artim);
    let ended = negotiate_and_serve(&mut connection, peer, &shared).await;
    count_end(&ended, settings);
    tell(connection.oddities());
    if let Some(source) = ended.err().and_then(|error| error.abort_source()) {
        // The fault that made us abort is already told; a failing goodbye adds nothing, and who does
        // not read is not waited for once more.
        let _ = timeout(artim, connection.send(&Pdu::AbortRQ { source })).await;
    }
    let cut = async {
        shared.stop.cancelled().await;
        sleep(STOP_GRACE).await;
    };
    tokio::select! {
        () = connection.close(artim) => {}
        () = cut => {}
    }
}

async fn negotiate_and_serve<S: Transport, K: StoreSink>(
    connection: &mut Connection<S>,
    peer: Peer,
    shared: &Arc<Shared<K>>,
) -> Result<Ended, UlError> {
    let request = tokio::select! {
        () = shared.stop.cancelled() => return Ok(Ended::Stopped),
        request = requested(connection) => request?,
    };
    tracing::Span::current().record("calling_aet", request.calling_ae_title.as_str());
    let (mut caller, place) = match shared.admit(&request, peer.address) {
        Ok(admitted) => admitted,
        Err(rejection) => return reject(connection, &request, peer.address, rejection, shared).await,
    };
    if let Err(rejection) = shared.identify(&request, peer, &mut caller).await {
        return reject(connection, &request, peer.address, rejection, shared).await;
    }
    if let Some(oddity) = admission::oddity(&request, &caller, &shared.server.settings) {
        connection.note(oddity);
    }
    let mut association = establish(connection, request, caller, shared).await?;
    let ended = match association.record_opened().await {
        Ok(()) => association.serve().await,
        // What cannot be recorded is not done.
        Err(Unrecorded) => association.on_stop().await,
    };
    association.count_unanswered().await;
    association.on_end(&ended);
    let (how, is_orderly) = match &ended {
        Ok(how) => (how.to_string(), true),
        Err(error) => (error.to_string(), false),
    };
    association.record_end(&how, is_orderly).await;
    drop(place);
    ended
}

/// State 2 of PS3.8 9.2: nothing but a request may come first.
async fn requested<S: Transport>(connection: &mut Connection<S>) -> Result<AssociationRQ, UlError> {
    match connection.next().await? {
        Incoming::Pdu(Pdu::AssociationRQ(request)) => Ok(request),
        Incoming::Pdu(Pdu::AbortRQ { .. }) => Err(UlError::Aborted),
        _ => Err(UlError::Unexpected("anything but A-ASSOCIATE-RQ as the first PDU")),
    }
}

async fn reject<S: Transport, K: StoreSink>(
    connection: &mut Connection<S>,
    request: &AssociationRQ,
    address: IpAddr,
    rejection: Rejection,
    shared: &Shared<K>,
) -> Result<Ended, UlError> {
    let ae_title = admission::unpadded(&request.calling_ae_title);
    if let Some(row) = shared.turned_away.note(address, ae_title, rejection) {
        audited::rejected(&shared.server, row).await;
    }
    metrics::counter!(metric::REJECTED, "reason" => rejection.as_str()).increment(1);
    if let Some(limit) = rejection.limit() {
        limits::hit(limit);
    }
    tracing::warn!(reason = rejection.as_str(), "association rejected");
    connection.send(&rejection.pdu().into()).await?;
    Ok(Ended::Rejected(rejection))
}

pub(super) async fn establish<'a, S: Transport, K: StoreSink>(
    connection: &'a mut Connection<S>,
    request: AssociationRQ,
    caller: Caller,
    shared: &'a Arc<Shared<K>>,
) -> Result<Association<'a, S, K>, UlError> {
    let settings = &shared.server.settings;
    let peer_pdu_bytes_max = maximum_length(&request.user_variables);
    let operations = negotiation::operations_window(&request.user_variables, settings).unwrap_or(1);
    let (answer, contexts) = negotiation::accept(request, &caller, settings);
    let operations = contexts.operations(operations);
    connection.send(&answer.into()).await?;
    connection.establish(peer_pdu_bytes_max, settings.idle_timeout);
    connection.require_rate(settings.data_rate_min);
    let id = ids::row_id();
    tracing::Span::current().record("id", id.as_str());
    let actor = actor(&caller, &id);
    let called = Origin::called(Source::Dimse, caller.ae_title.as_str());
    let origin = Origin { delivery: Some(id), actor: Some(Arc::new(actor)), ..called };
    Ok(Association {
        connection,
        shared,
        caller,
        standing: Standing::now(),
        contexts,
        origin,
        assembler: CommandAssembler::default(),
        meanwhile: Meanwhile::default(),
        reports: Reports::default(),
        outstanding: Outstanding::new(operations.into()),
        doing: None,
        last_message_id: 0,
        counts: Counts::default(),
    })
}

/// Whom the audit trail names: the user, where one is known, and the node.
fn actor(caller: &Caller, id: &str) -> Actor {
    let node = Actor::node(&caller.ae_title, Some(caller.address)).in_request(id);
    match &caller.user {
        Some(user) => Actor { ae_title: node.ae_title, ..Actor::of(user, caller.address, id) },
        None => node,
    }
}

/// An association that stands, state 6 of PS3.8 9.2.
pub(super) struct Association<'a, S, K> {
    pub(super) connection: &'a mut Connection<S>,
    pub(super) shared: &'a Shared<K>,
    /// Who asks, and what it may.
    pub(super) caller: Caller,
    /// Whether it may still.
    pub(super) standing: Standing,
    pub(super) contexts: Contexts,
    pub(super) origin: Origin,
    pub(super) assembler: CommandAssembler,
    pub(super) meanwhile: Meanwhile,
    pub(super) reports: Reports,
    pub(super) outstanding: Outstanding,
    /// The entry of the operation under way.
    pub(super) doing: Option<Begun>,
    pub(super) last_message_id: u16,
    pub(super) counts: Counts,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) stored: u64,
    pub(super) refused: u64,
}

impl<S: Transport, K: StoreSink> Association<'_, S, K> {
    async fn serve(&mut self) -> Result<Ended, UlError> {
        loop {
            if let Some(request) = self.meanwhile.next.take() {
                self.on_command(request).await?;
                continue;
            }
            if self.meanwhile.released {
                return self.on_release().await;
            }
            let is_owed_nothing = self.outstanding.is_empty();
            let incoming = tokio::select! {
                biased;
                () = self.shared.stop.cancelled() => return self.on_stop().await,
                Some(placed) = self.outstanding.next() => {
                    self.answer_store(placed).await?;
                    continue;
                }
                report = self.reports.next() => {
                    self.send_report(report).await?;
                    continue;
                }
                incoming = heard(self.connection, is_owed_nothing) => incoming?,
            };
            match incoming {
                Incoming::Fragment(fragment) => self.on_fragment(&fragment).await?,
                Incoming::Pdu(Pdu::ReleaseRQ) => return self.on_release().await,
                Incoming::Pdu(Pdu::AbortRQ { .. }) => return Err(UlError::Aborted),
                Incoming::Pdu(_) => {
                    return Err(UlError::Unexpected("a negotiation PDU within an association"));
                }
            }
        }
    }

    async fn on_fragment(&mut self, fragment: &Fragment) -> Result<(), UlError> {
        if fragment.part == MessagePart::DataSet {
            return Err(UlError::Unexpected("a data set without its command"));
        }
        match self.assembler.push(fragment)? {
            Some(request) => self.on_command(request).await,
            None => Ok(()),
        }
    }

    async fn on_command(&mut self, request: Contextual<CommandSet>) -> Result<(), UlError> {
        let Context { service, roles, .. } = *self.contexts.get(request.context_id)?;
        self.meanwhile.begin();
        let command_field = request.message.command_field()?;
        if command_field != field::C_STORE {
            self.settle().await?;
        }
        match self.record_begin(command_field).await {
            Ok(begun) => self.doing = begun,
            Err(Unrecorded) => return self.refuse(request, audited::UNRECORDED).await,
        }
        let done = match self.still_may(command_field, service).await {
            true => self.perform(request, command_field, service, roles.scp).await,
            false => self.refuse(request, status::NOT_AUTHORIZED).await,
        };
        // Whoever knows better has said so.
        let broken = if done.is_ok() { status::NOT_AUTHORIZED } else { status::PROCESSING_FAILURE };
        self.record_outcome(broken, if done.is_ok() { "refused" } else { "broken off" });
        done
    }

    async fn perform(
        &mut self,
        request: Contextual<CommandSet>,
        command_field: u16,
        service: ServiceClass,
        is_scp: bool,
    ) -> Result<(), UlError> {
        match (command_field, service) {
            (field::C_ECHO, _) => self.on_echo(request).await,
            // What it would cancel has been answered by the time it is read.
            (field::C_CANCEL, _) => Ok(()),
            (response, _) if response & field::RESPONSE != 0 => self.on_late_response(&request.message),
            // Whether it may say so is judged by what it was asked: not every peer takes the role first.
            (field::N_EVENT_REPORT, ServiceClass::StorageCommitment) => self.on_event_report(request).await,
            _ if !is_scp => self.refuse(request, status::NOT_AUTHORIZED).await,
            (field::C_STORE, _) => self.on_store(request).await,
            (field::C_FIND, ServiceClass::Find(_)) => self.on_find(request).await,
            (field::C_MOVE, ServiceClass::Move(_)) => self.on_move(request).await,
            (field::C_GET, ServiceClass::Get(_)) => self.on_get(request).await,
            (field::N_ACTION, ServiceClass::StorageCommitment) => self.on_action(request).await,
            // PS3.7 C.5.23.
            _ => self.refuse(request, status::UNRECOGNIZED_OPERATION).await,
        }
    }

    /// To something that [`Self::ask`] did not wait for to the end.
    pub(super) fn on_late_response(&mut self, response: &CommandSet) -> Result<(), UlError> {
        match response.u16(tags::MESSAGE_ID_BEING_RESPONDED_TO)? {
            Some(asked) if (1..=self.last_message_id).contains(&asked) => {
                self.reports.confirm(asked, response)
            }
            _ => Err(UlError::Unexpected("a response to nothing")),
        }
    }

    async fn refuse(&mut self, request: Contextual<CommandSet>, status: u16) -> Result<(), UlError> {
        self.skip_data_set(&request).await?;
        let response = request.message.response(status)?;
        self.connection.send_command(request.context_id, &response).await
    }

    pub(super) async fn skip_data_set(&mut self, request: &Contextual<CommandSet>) -> Result<(), UlError> {
        if request.message.has_data_set()? {
            let patience = self.shared.server.settings.idle_timeout;
            DataSet::new(self.connection, request.context_id).finish(patience).await?;
        }
        Ok(())
    }

    /// The data set of a message as a whole: an identifier or the information of an action.
    /// What is longer than the limit is read past and not returned.
    pub(super) async fn small_data_set(
        &mut self,
        request: &Contextual<CommandSet>,
    ) -> Result<Option<Vec<u8>>, UlError> {
        let Settings { identifier_bytes_max: limit, idle_timeout, .. } = self.shared.server.settings;
        let (mut bytes, mut data_set) = (Vec::new(), DataSet::new(self.connection, request.context_id));
        // A reader that fails says so again below, with the error of the connection.
        let _ = (&mut data_set).take(limit).read_to_end(&mut bytes).await;
        let length = data_set.finish(idle_timeout).await?;
        if length > limit {
            limits::hit("dimse.identifier_bytes_max");
        }
        Ok((length <= limit).then_some(bytes))
    }

    async fn on_release(&mut self) -> Result<Ended, UlError> {
        self.settle().await?;
        self.connection.send(&Pdu::ReleaseRP).await?;
        Ok(Ended::Released)
    }

    async fn on_stop(&mut self) -> Result<Ended, UlError> {
        self.settle().await?;
        self.connection.send(&Pdu::AbortRQ { source: AbortRQSource::ServiceUser }).await?;
        Ok(Ended::Stopped)
    }

    /// Objects that were received are placed whether or not anybody is left to be told.
    async fn count_unanswered(&mut self) {
        while let Some(placed) = self.outstanding.next().await {
            match placed.outcome {
                Ok(_) => self.counts.stored += 1,
                Err(_) => self.counts.refused += 1,
            }
        }
    }

    fn on_end(&self, ended: &Result<Ended, UlError>) {
        let Counts { stored, refused } = self.counts;
        match ended {
            Ok(how) => tracing::info!(stored, refused, "association ended: {how}"),
            Err(error) => tracing::warn!(stored, refused, "association ended: {error}"),
        }
        if let (1.., Some(delivery)) = (stored, &self.origin.delivery) {
            (self.shared.server.association_ended)(delivery.clone());
        }
    }
}

/// A peer that waits for responses of ours has nothing to say, and is not idle.
async fn heard<S: Transport>(
    connection: &mut Connection<S>,
    is_owed_nothing: bool,
) -> Result<Incoming, UlError> {
    if is_owed_nothing { connection.next().await } else { connection.wait().await }
}

/// What was taken although the standard has it otherwise.
fn tell(oddities: &Oddities) {
    if oddities.is_empty() {
        return;
    }
    let names: Vec<&str> = oddities.iter().map(|oddity| oddity.as_str()).collect();
    for name in &names {
        metrics::counter!(metric::TOLERATED, "what" => *name).increment(1);
    }
    tracing::info!(tolerated = names.join(" "), "the peer does not keep to the standard");
}

fn count_end(ended: &Result<Ended, UlError>, settings: &Settings) {
    let how = match ended {
        Ok(Ended::Released) => "released",
        Ok(Ended::Rejected(_)) => "rejected",
        Ok(Ended::Stopped) => "stopped",
        Err(UlError::Aborted | UlError::Closed | UlError::Io(_)) => "by_peer",
        Err(_) => "aborted",
    };
    metrics::counter!(metric::ENDED, "how" => how).increment(1);
    let limit = match ended {
        Err(UlError::TimedOut(limit)) if *limit == settings.artim_timeout => "dimse.artim_timeout_s",
        Err(UlError::TimedOut(_)) => "dimse.idle_timeout_s",
        Err(UlError::TooSlow { .. }) => "dimse.data_rate_min",
        Err(UlError::PduTooLong { .. }) => "dimse.pdu_bytes_max",
        _ => return,
    };
    limits::hit(limit);
}
