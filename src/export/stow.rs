//! Objects to a DICOMweb service (PS3.18 10.5): some of them in one request, streamed from where
//! they lie, and the answer taken apart object by object.

mod answer;
mod body;

use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Method, StatusCode};

use super::courier::{self, Fate, Round, Trouble};
use super::destination::Destination;
use super::{ExportError, Parts};
use crate::causes::chain;
use crate::config::exports;
use crate::db::DbError;
use crate::db::exports::Claimed;
use crate::dicom::uid::TransferSyntaxUid;
use crate::outbound::access::{Access, CONNECT_TIMEOUT, Progress};
use crate::query::retrieve::StoredInstance;

use body::Outgoing;

/// A service and how it wants to be sent to.
#[derive(Debug)]
pub(super) struct Service {
    access: Access,
    /// Where studies are stored.
    studies: String,
    pub(super) instances_max: usize,
    bytes_max: u64,
    transfer_syntaxes: Vec<TransferSyntaxUid>,
}

impl Service {
    pub(super) fn new(settings: &exports::Destination, url: &str) -> Result<Self, ExportError> {
        let studies = format!("{}/studies", url.trim_end_matches('/'));
        if reqwest::Url::parse(&studies).is_err() {
            return Err(ExportError::Url { name: settings.name.clone(), url: url.to_owned() });
        }
        Ok(Self {
            access: Access::new(&settings.name, &settings.access, CONNECT_TIMEOUT.min(settings.timeout()))?,
            studies,
            instances_max: settings.instances_max.max(1),
            bytes_max: settings.bytes_max,
            transfer_syntaxes: settings.transfer_syntaxes.clone(),
        })
    }
}

pub(super) struct StowCourier<'a> {
    pub(super) service: &'a Service,
    pub(super) destination: &'a Destination,
    pub(super) parts: &'a Parts,
}

/// A row with its object.
struct Loaded<'a> {
    at: usize,
    row: &'a Claimed,
    instance: StoredInstance,
}

impl StowCourier<'_> {
    pub(super) async fn bring(&mut self, rows: &[Claimed]) -> Result<Round, DbError> {
        let mut round = Round::all(rows.len(), &Fate::Untried, None);
        let mut loaded = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            match courier::stored(self.parts, row).await? {
                Some(instance) => loaded.push(Loaded { at, row, instance }),
                None => round.fates[at] = Fate::Gone,
            }
        }
        for request in requests(loaded, self.service.bytes_max) {
            let of_request = self.post(&request).await;
            for (loaded, fate) in request.iter().zip(of_request.fates) {
                round.fates[loaded.at] = fate;
            }
            if of_request.trouble.is_some() {
                round.trouble = of_request.trouble;
                break;
            }
        }
        Ok(round)
    }

    /// Any answer that is no failure of the server shows that it is there; what it says of itself
    /// matters only if it does not want us.
    pub(super) async fn ask(&self) -> Result<(), Trouble> {
        let request = self.service.access.request(Method::OPTIONS, &self.service.studies);
        let request = request.map_err(|error| Trouble::refusal(error.to_string()))?;
        let answer = request.timeout(self.destination.timeout).send().await;
        let answer = answer.map_err(|error| Trouble::passing(chain(&error.without_url())))?;
        match answer.status() {
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(Trouble::refusal(format!("OPTIONS was answered with {status}")))
            }
            status if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
                Err(Trouble::passing(format!("OPTIONS was answered with {status}")))
            }
            _ => Ok(()),
        }
    }

    async fn post(&self, request: &[Loaded<'_>]) -> Round {
        let mut fates = vec![Fate::Untried; request.len()];
        let mut outgoing = Vec::new();
        let mut sent = Vec::new();
        for (at, loaded) in request.iter().enumerate() {
            match body::open(self.parts, &loaded.instance, &self.service.transfer_syntaxes).await {
                Ok(opened) => {
                    outgoing.push(opened);
                    sent.push(at);
                }
                Err(fate) => fates[at] = fate,
            }
        }
        if sent.is_empty() {
            return Round { fates, trouble: None };
        }
        let rows: Vec<&Loaded<'_>> = sent.iter().map(|at| &request[*at]).collect();
        let round = self.send(&rows, outgoing).await;
        for (at, fate) in sent.into_iter().zip(round.fates) {
            fates[at] = fate;
        }
        Round { fates, trouble: round.trouble }
    }

    async fn send(&self, rows: &[&Loaded<'_>], outgoing: Vec<Outgoing>) -> Round {
        for _ in rows {
            self.destination.turn().await;
        }
        let request = match self.service.access.request(Method::POST, &self.service.studies) {
            Ok(request) => request,
            Err(error) => {
                let trouble = Trouble::refusal(format!("the credentials cannot be read: {error}"));
                return Round::all(rows.len(), &Fate::Untried, Some(trouble));
            }
        };
        let boundary = body::boundary();
        let length = body::length(&outgoing, &boundary);
        let content_type = format!("multipart/related; type=\"application/dicom\"; boundary={boundary}");
        let request = request.header(CONTENT_TYPE, content_type).header(ACCEPT, "application/dicom+json");
        let request = match length {
            Some(length) => request.header(CONTENT_LENGTH, length),
            None => request,
        };
        let progress = Progress::new(self.destination.timeout);
        let chunks = progress.watch(body::stream(outgoing, &boundary));
        let request = request.body(reqwest::Body::wrap_stream(chunks));
        match progress.send(request).await {
            Ok(reply) => answer::round(rows.iter().map(|loaded| loaded.about()), &reply),
            Err(error) if error.was_not_reached() => {
                Round::all(rows.len(), &Fate::Untried, Some(Trouble::passing(chain(&error))))
            }
            Err(error) => {
                let reason = chain(&error);
                Round::all(rows.len(), &Fate::Failed(reason.clone()), Some(Trouble::passing(reason)))
            }
        }
    }
}

impl Loaded<'_> {
    fn about(&self) -> answer::Asked<'_> {
        answer::Asked {
            instance: &self.instance.sop_instance,
            attempts: self.row.attempts,
            bytes: self.instance.size_bytes,
        }
    }
}

/// Objects that go together: as many bytes as a request may have. What failed before goes alone, so
/// that one object the service stumbles over does not take others with it.
fn requests<'a>(loaded: Vec<Loaded<'a>>, bytes_max: u64) -> Vec<Vec<Loaded<'a>>> {
    let mut requests: Vec<Vec<Loaded<'a>>> = Vec::new();
    let mut bytes = 0_u64;
    for one in loaded {
        let size = one.instance.size_bytes;
        let alone = one.row.attempts > 1 || size > bytes_max;
        match requests.last_mut() {
            Some(last) if !alone && bytes.saturating_add(size) <= bytes_max => {
                bytes += size;
                last.push(one);
            }
            _ => {
                bytes = if alone { bytes_max.saturating_add(1) } else { size };
                requests.push(vec![one]);
            }
        }
    }
    requests
}
