//! The service: where it is, and how often it is asked until it has answered.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, StatusCode};

use super::account::Account;
use super::answer::Answer;
use super::credentials::Credentials;
use super::failure::{Failure, Verdict};
use super::gate::{self, Closed, Gate, Pass};
use super::listing::{self, Listed};
use super::places::Standing;
use super::talk::Asking;
use super::wire::{self, Limits};
use crate::ai::{EngineError, Priority};
use crate::causes::chain;
use crate::clock::Clock;
use crate::config::{RemoteKind, RemoteModel, Secret, VertexForm};
use crate::outbound::AccessError;
use crate::outbound::access::Access;
use crate::outbound::breaker::Patience;
use crate::telemetry::limits;

/// As the configuration names it.
const NAME: &str = "model.remote";
/// A list of models is short.
const LISTING_BYTES_MAX: u64 = 1 << 20;
const LISTING_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Service {
    pub(super) settings: RemoteModel,
    pub(super) gate: Gate,
    access: Access,
    credentials: Credentials,
    clock: Clock,
    jitter: AtomicU64,
}

/// What a request is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// Whether the service is there, and what it has.
    Greet,
    /// An answer, by a body of so many bytes.
    Answer { length: usize, standing: Standing },
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    Failed(Failure),
    /// It was not even asked.
    Closed(Closed),
}

impl From<NoAnswer> for EngineError {
    fn from(reason: NoAnswer) -> Self {
        match reason {
            NoAnswer::Failed(failure) => failure.into(),
            NoAnswer::Closed(Closed { again_in, reason }) => Self::Away { reason, again_in },
        }
    }
}

impl NoAnswer {
    pub(super) fn is_about_schema(&self) -> bool {
        matches!(self, Self::Failed(failure) if failure.is_about_schema())
    }
}

impl From<Failure> for NoAnswer {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Service {
    pub(super) fn new(settings: &RemoteModel, lead: Duration, clock: &Clock) -> Result<Self, AccessError> {
        Ok(Self {
            settings: settings.clone(),
            gate: Gate::new(settings, lead, clock.clone()),
            access: Access::new(NAME, &settings.access(), settings.connect_timeout())?,
            credentials: Credentials::new(settings, clock)?,
            clock: clock.clone(),
            jitter: AtomicU64::new(gate::seed()),
        })
    }

    /// The root that results and digests know the service by.
    pub(super) fn root(&self) -> String {
        let RemoteModel { kind, url, vertex, .. } = &self.settings;
        let url = url.trim_end_matches('/');
        match (kind, url) {
            (RemoteKind::Vertex, "") => format!("https://{}-aiplatform.googleapis.com", vertex.location),
            _ => url.to_owned(),
        }
    }

    fn completions(&self) -> String {
        let (root, vertex) = (self.root(), &self.settings.vertex);
        let place = format!(
            "projects/{}/locations/{}/endpoints/{}",
            vertex.project, vertex.location, vertex.endpoint
        );
        match (self.settings.kind, vertex.form) {
            (RemoteKind::ChatCompletions, _) => format!("{root}/chat/completions"),
            (RemoteKind::Vertex, VertexForm::ChatCompletions) => {
                format!("{root}/v1beta1/{place}/chat/completions")
            }
            (RemoteKind::Vertex, VertexForm::Predict) => format!("{root}/v1/{place}:predict"),
        }
    }

    fn predicts(&self) -> bool {
        self.settings.kind == RemoteKind::Vertex && self.settings.vertex.form == VertexForm::Predict
    }

    pub(super) fn streams(&self) -> bool {
        self.settings.stream && !self.predicts()
    }

    /// What models it has; none where it does not tell.
    pub(super) async fn models(&self, account: &mut Account) -> Result<Option<Vec<Listed>>, NoAnswer> {
        if self.settings.kind == RemoteKind::Vertex {
            return Ok(None);
        }
        let url = format!("{}/models", self.root());
        let whole = LISTING_TIMEOUT.min(self.settings.request_timeout());
        let limits = Limits { silence: None, whole, bytes_max: LISTING_BYTES_MAX };
        let prepare = || self.access.request(Method::GET, &url);
        let body = self.persist(account, Purpose::Greet, prepare, |request| async move {
            match wire::body(request, limits, self.clock.now()).await {
                Err(Failure::Status { status, .. }) if tells_no_models(status) => Ok(None),
                body => body.map(Some),
            }
        });
        Ok(body.await?.and_then(|body| listing::read(&body)))
    }

    /// One answer; `written` hears of how many tokens it is so far.
    pub(super) async fn complete(
        &self,
        asking: &Asking<'_>,
        account: &mut Account,
        written: &(impl Fn(usize) + Sync),
    ) -> Result<Answer, NoAnswer> {
        let body = self.body(asking)?;
        let (url, length) = (self.completions(), body.len());
        let accepted = if asking.stream { "text/event-stream, application/json" } else { "application/json" };
        let prepare = || {
            let request = self.access.request(Method::POST, &url)?;
            Ok(request.header(CONTENT_TYPE, "application/json").header(ACCEPT, accepted).body(body.clone()))
        };
        let limits = Limits {
            silence: asking.stream.then(|| self.settings.silence_timeout()),
            whole: self.settings.request_timeout(),
            bytes_max: self.settings.answer_bytes_max,
        };
        let exchange = |request| async move {
            let now = self.clock.now();
            match self.predicts() {
                true => Answer::predicted(&wire::body(request, limits, now).await?),
                false => wire::streamed(request, limits, now, written).await,
            }
        };
        let began = self.clock.now();
        let answer = self
            .persist(account, Purpose::Answer { length, standing: asking.standing }, prepare, exchange)
            .await?;
        account.answered(&answer, self.clock.now().since(began), &self.settings);
        Ok(answer)
    }

    fn body(&self, asking: &Asking<'_>) -> Result<Bytes, Failure> {
        let body = if self.predicts() { asking.predict() } else { asking.chat() };
        let body = body.map_err(Failure::Body)?;
        let (length, most) = (body.len() as u64, self.settings.request_bytes_max);
        if length > most { Err(Failure::Oversized { length, most }) } else { Ok(body.into()) }
    }

    /// Asks until there is an answer, the failure is one that would come again, or it is enough.
    async fn persist<T, Fut>(
        &self,
        account: &mut Account,
        purpose: Purpose,
        prepare: impl Fn() -> std::io::Result<RequestBuilder>,
        exchange: impl Fn(RequestBuilder) -> Fut,
    ) -> Result<T, NoAnswer>
    where
        Fut: Future<Output = Result<T, Failure>>,
    {
        let (mut failures, mut is_renewed) = (0, false);
        loop {
            let Some(pass) = self.pass(purpose).await? else { continue };
            account.sent(purpose);
            let mut token = None;
            let failure = match self.once(&mut token, &prepare, &exchange).await {
                Ok(answer) => {
                    match purpose {
                        Purpose::Greet => pass.greeted(),
                        Purpose::Answer { .. } => pass.succeeded(),
                    }
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            pass.failed(&failure);
            let pause = match failure.verdict() {
                Verdict::Unauthorized if !is_renewed && self.credentials.forget(token.as_ref()).await => {
                    is_renewed = true;
                    Duration::ZERO
                }
                verdict => match self.pause(verdict, failures) {
                    Some(pause) if !failure.is_about_schema() => pause,
                    _ => return Err(failure.into()),
                },
            };
            failures += 1;
            account.retried(failure.why());
            tracing::warn!(error = chain(&failure), ?pause, "the model service is asked again");
            tokio::time::sleep(pause).await;
        }
    }

    /// None after a wait that was short enough to be waited here.
    async fn pass(&self, purpose: Purpose) -> Result<Option<Pass<'_>>, NoAnswer> {
        let standing = match purpose {
            // It is short, and others wait for what it says.
            Purpose::Greet => Standing { priority: Priority::Stat, since: self.clock.now() },
            Purpose::Answer { standing, .. } => standing,
        };
        match self.gate.enter(standing).await {
            Ok(pass) => Ok(Some(pass)),
            Err(closed) if closed.again_in > self.settings.retry_max() => Err(NoAnswer::Closed(closed)),
            Err(closed) => {
                tokio::time::sleep(closed.again_in).await;
                Ok(None)
            }
        }
    }

    /// One request; `used` is the access token that it carried.
    async fn once<T, Fut>(
        &self,
        used: &mut Option<Secret>,
        prepare: impl Fn() -> std::io::Result<RequestBuilder>,
        exchange: impl Fn(RequestBuilder) -> Fut,
    ) -> Result<T, Failure>
    where
        Fut: Future<Output = Result<T, Failure>>,
    {
        *used = self.credentials.token().await?;
        let request = prepare().map_err(Failure::Secrets)?;
        let request = match used {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        };
        exchange(request).await
    }

    /// How long to wait before the next try, if there is one.
    fn pause(&self, verdict: Verdict, failures: u32) -> Option<Duration> {
        let settings = &self.settings;
        let asked = match verdict {
            Verdict::Away { after } => after.unwrap_or_default(),
            Verdict::Again => Duration::ZERO,
            Verdict::Unauthorized | Verdict::Never => return None,
        };
        if failures >= settings.retries_max {
            limits::hit("model.remote.retries_max");
            return None;
        }
        if asked > settings.retry_max() {
            return None;
        }
        let patience =
            Patience { failures_max: 1, first: settings.retry_first(), longest: settings.retry_max() };
        let seed = self.jitter.fetch_add(1, Ordering::Relaxed);
        Some(patience.pause(failures + 1, seed).max(asked))
    }
}

/// Not every service lists its models.
fn tells_no_models(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED)
}
