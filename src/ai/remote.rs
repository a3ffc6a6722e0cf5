//! A model that runs elsewhere: chat completions over HTTP, of servers with the API of OpenAI and of
//! Vertex AI.
//!
//! What leaves this machine are the words of a request, its pictures drawn anew from pixels, and the
//! credentials of the configuration. A conversation with several open turns is several exchanges, each
//! with the answers before it. What comes back is believed in nothing: it is bounded in time and
//! bytes, and an answer in JSON is held to its schema here.

mod account;
mod answer;
mod contract;
mod credentials;
mod failure;
mod gate;
mod listing;
mod picture;
mod places;
mod service;
mod sse;
mod talk;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use crate::ai::{
    AnswerFuture, Call, Cancel, Engine, EngineError, Form, Health, ModelIdentity, Progress, PromptSet, Reply,
    Request, Runs, Turn,
};
use crate::clock::{Clock, Timestamp};
use crate::config::{ContextKind, RemoteModel, RemotePixels, RemotePrompts, SchemaUse};
use crate::ids::hex;
use crate::outbound::AccessError;
use crate::telemetry::limits;

use account::Account;
use answer::{Answer, Finish};
use contract::Contract;
use listing::Listed;
use picture::Picture;
use places::Standing;
use service::{NoAnswer, Service};
use talk::{Asking, Talk};

/// How often it is looked whether a request was cancelled.
const LOOK: Duration = Duration::from_millis(20);
/// The service is asked again which models it has when this old an answer is used.
const LISTED_FOR: Duration = Duration::from_secs(60);

pub struct RemoteEngine {
    service: Service,
    clock: Clock,
    /// By the configuration alone.
    provisional: ModelIdentity,
    /// As the service names it, once it has; it stays the same until a restart.
    known: OnceLock<Known>,
    asked_at: Mutex<Option<Timestamp>>,
    /// The service has refused to hold answers to a schema.
    schema_refused: AtomicBool,
}

struct Known {
    identity: ModelIdentity,
    /// The name in requests.
    id: String,
    sees_images: Option<bool>,
}

/// What one conversation works with.
struct Errand<'a> {
    request: &'a Request,
    model: &'a str,
    call: &'a Call,
    standing: Standing,
    account: Account,
}

impl RemoteEngine {
    /// `priority_lead` is what one step of priority is worth to those who wait.
    ///
    /// # Errors
    /// A file of the configuration cannot be used.
    pub fn new(settings: &RemoteModel, priority_lead: Duration, clock: Clock) -> Result<Self, AccessError> {
        let service = Service::new(settings, priority_lead, &clock)?;
        let provisional = identity(&service, None);
        Ok(Self {
            service,
            clock,
            provisional,
            known: OnceLock::new(),
            asked_at: Mutex::default(),
            schema_refused: AtomicBool::new(false),
        })
    }

    /// Asks which model is there, unless that was heard a moment ago.
    pub async fn introduce(&self) -> Result<(), EngineError> {
        self.known(&mut Account::default()).await.map(drop)
    }

    /// Until the engine is gone: asks for the model that has not been heard of, and whether a service
    /// is back that was in trouble, so that readiness does not wait for the next study.
    pub async fn keep_in_touch(engine: std::sync::Weak<Self>) {
        let mut was_heard = false;
        while let Some(engine) = engine.upgrade() {
            if engine.known.get().is_none() || engine.health() != Health::Ready {
                match engine.introduce().await {
                    Ok(()) if !was_heard => {
                        was_heard = true;
                        let model = engine.identity();
                        tracing::info!(
                            model = model.name,
                            version = model.version,
                            "the model service has the model"
                        );
                    }
                    Ok(()) => {}
                    Err(error) => tracing::warn!(%error, "the model service does not show the model"),
                }
            }
            let pause = engine.service.settings.pause_first();
            drop(engine);
            tokio::time::sleep(pause).await;
        }
    }

    async fn known(&self, account: &mut Account) -> Result<&Known, EngineError> {
        let mut asked_at = self.asked_at.lock().await;
        let now = self.clock.now();
        if let (Some(known), Some(at)) = (self.known.get(), *asked_at)
            && now.since(at) < LISTED_FOR
            && self.service.gate.health() == Health::Ready
        {
            return Ok(known);
        }
        let listed = self.service.models(account).await?;
        let wanted = &self.service.settings.model;
        let refused = |reason| EngineError::Refused(format!("the model service: {reason}"));
        let chosen = match listed {
            Some(listed) => Some(listing::choose(&listed, wanted).map_err(refused)?),
            None if wanted.is_empty() => {
                return Err(refused("it lists no models; say model.remote.model".to_owned()));
            }
            None => None,
        };
        *asked_at = Some(now);
        let now_there = Known::new(&self.service, chosen);
        let known = self.known.get_or_init(|| now_there.copy());
        if known.identity.weights_sha256 != now_there.identity.weights_sha256 {
            let reason = "it has another model than at first under this name; restart this server to use it";
            return Err(refused(reason.to_owned()));
        }
        Ok(known)
    }

    async fn ask(&self, request: Request, call: Call) -> Result<Reply, EngineError> {
        (call.progress)(Progress::Queued);
        tokio::select! {
            biased;
            () = cancelled(&call.cancel) => Err(EngineError::Cancelled),
            reply = tokio::time::timeout(call.time_limit, self.converse(&request, &call)) => {
                reply.unwrap_or(Err(EngineError::TimedOut(call.time_limit)))
            }
        }
    }

    async fn converse(&self, request: &Request, call: &Call) -> Result<Reply, EngineError> {
        let mut account = Account::default();
        let standing = Standing { priority: request.priority, since: self.clock.now() };
        let known = self.known(&mut account).await?;
        self.check_images(request, known)?;
        let began = self.clock.now();
        let urls = self.pictures(request, call).await?;
        account.drew(self.clock.now().since(began));
        let mut errand = Errand { request, model: &known.id, call, standing, account };
        let (mut talk, mut urls) = (Talk::new(request.system.as_deref()), urls.into_iter());
        let mut answers = Vec::with_capacity(request.answers());
        for turn in &request.turns {
            match turn {
                Turn::User(parts) => talk.user(parts, &mut urls),
                Turn::Said(text) => talk.said(text),
                Turn::Open(form) => {
                    let answer = self.fill(&mut talk, form, &mut errand).await?;
                    talk.said(&answer);
                    answers.push(answer);
                }
            }
        }
        Ok(Reply { answers, usage: errand.account.close(&self.service.settings) })
    }

    fn check_images(&self, request: &Request, known: &Known) -> Result<(), EngineError> {
        let (images, most) = (request.images().count(), self.service.settings.images_max);
        if images > most {
            limits::hit("model.remote.images_max");
            let reason = format!("the prompt has {images} images, and model.remote.images_max is {most}");
            return Err(EngineError::Refused(reason));
        }
        match known.sees_images {
            Some(false) if images > 0 => Err(EngineError::Refused(format!(
                "the model {} of the service takes no images",
                known.identity.name
            ))),
            _ => Ok(()),
        }
    }

    /// Data URLs of the images, in their order.
    async fn pictures(&self, request: &Request, call: &Call) -> Result<Vec<String>, EngineError> {
        let settings = &self.service.settings;
        let (side, of) = (settings.image_side, request.images().count());
        let mut pictures = Vec::with_capacity(of);
        for image in request.images() {
            let image = Arc::clone(image);
            pictures.push(drawn(move || Picture::draw(&image, side)).await?);
            (call.progress)(Progress::EncodedImages { done: pictures.len(), of });
        }
        let (png_bytes_max, quality) = (settings.png_bytes_max, settings.jpeg_quality);
        drawn(move || picture::data_urls(&pictures, png_bytes_max, quality)).await
    }

    async fn fill(
        &self,
        talk: &mut Talk,
        form: &Form,
        errand: &mut Errand<'_>,
    ) -> Result<String, EngineError> {
        match form {
            Form::Text => self.words(talk, errand).await,
            Form::Json(schema) => self.object(talk, form, &Contract::new(schema)?, errand).await,
        }
    }

    async fn words(&self, talk: &Talk, errand: &mut Errand<'_>) -> Result<String, EngineError> {
        let answer = self.exchange(talk, &Form::Text, None, errand).await?;
        let is_cut = answer.finish == Some(Finish::Length);
        let text = if is_cut { answer.text } else { whole(answer, errand.request.settings.text_tokens_max)? };
        match text.trim() {
            "" => Err(EngineError::Service("the answer is empty".to_owned())),
            // What was written until then stands, and says that it was broken off.
            text if is_cut => {
                errand.account.cut();
                Ok(text.to_owned())
            }
            text => Ok(text.to_owned()),
        }
    }

    /// An answer that keeps the schema; one that does not goes back with what is wrong with it.
    async fn object(
        &self,
        talk: &mut Talk,
        form: &Form,
        contract: &Contract,
        errand: &mut Errand<'_>,
    ) -> Result<String, EngineError> {
        let (length, mut is_told, mut repairs) = (talk.length(), false, 0);
        loop {
            let schema = self.sends_schema().then(|| contract.schema());
            if schema.is_none() && !is_told {
                talk.add(&contract.in_words());
                is_told = true;
            }
            let answer = match self.exchange(talk, form, schema, errand).await {
                Err(reason) if self.may_do_without(schema, &reason) => continue,
                answer => whole(answer?, errand.request.settings.tokens_max)?,
            };
            let fault = match contract.held(&answer) {
                Ok(object) => {
                    talk.shorten(length);
                    return Ok(object);
                }
                Err(fault) => fault,
            };
            if repairs == self.service.settings.repairs_max {
                return Err(EngineError::Constraint(format!("the answer breaks its schema: {fault}")));
            }
            repairs += 1;
            errand.account.repaired();
            talk.said(&answer);
            talk.add(&contract::complaint(&fault));
            if !is_told {
                // The service was asked to hold the answer to the schema, and did not.
                talk.add(&contract.in_words());
                is_told = true;
            }
        }
    }

    async fn exchange(
        &self,
        talk: &Talk,
        form: &Form,
        schema: Option<&str>,
        errand: &mut Errand<'_>,
    ) -> Result<Answer, NoAnswer> {
        let asking = Asking {
            talk,
            model: errand.model,
            tokens_max: errand.request.settings.tokens_max_of(form),
            settings: &errand.request.settings,
            stream: self.service.streams(),
            schema,
            standing: errand.standing,
        };
        let (before, progress) = (errand.account.written(), &errand.call.progress);
        let written = |pieces| {
            if pieces > 0 {
                progress(Progress::Decoded { tokens: before + pieces });
            }
        };
        self.service.complete(&asking, &mut errand.account, &written).await
    }

    fn sends_schema(&self) -> bool {
        match self.service.settings.schema {
            SchemaUse::ResponseFormat => true,
            SchemaUse::None => false,
            SchemaUse::Auto => !self.schema_refused.load(Ordering::Relaxed),
        }
    }

    /// Whether the service refused the schema, and may be asked without one from now on.
    fn may_do_without(&self, schema: Option<&str>, reason: &NoAnswer) -> bool {
        let is_refused =
            schema.is_some() && self.service.settings.schema == SchemaUse::Auto && reason.is_about_schema();
        if is_refused && !self.schema_refused.swap(true, Ordering::Relaxed) {
            tracing::warn!("the model service holds no answer to a schema: it is told in words");
        }
        is_refused
    }
}

impl Engine for RemoteEngine {
    fn identity(&self) -> &ModelIdentity {
        self.known.get().map_or(&self.provisional, |known| &known.identity)
    }

    fn may_be_told(&self) -> &[ContextKind] {
        &self.service.settings.context
    }

    fn answer(&self, request: Request, call: Call) -> AnswerFuture<'_> {
        Box::pin(self.ask(request, call))
    }

    fn images_max(&self) -> usize {
        self.service.settings.images_max
    }

    fn pixels_that_leave(&self) -> Option<&RemotePixels> {
        Some(&self.service.settings.pixels)
    }

    fn health(&self) -> Health {
        self.service.gate.health()
    }
}

impl Known {
    fn new(service: &Service, chosen: Option<Listed>) -> Self {
        let identity = identity(service, chosen.as_ref());
        let sees_images = chosen.as_ref().and_then(|listed| listed.sees_images);
        let id = chosen.map_or_else(|| service.settings.model.clone(), |listed| listed.id);
        Self { identity, id, sees_images }
    }

    fn copy(&self) -> Self {
        Self { identity: self.identity.clone(), id: self.id.clone(), sees_images: self.sees_images }
    }
}

fn identity(service: &Service, listed: Option<&Listed>) -> ModelIdentity {
    let settings = &service.settings;
    let named = listed.map_or(settings.model.as_str(), |listed| listing::short_name(&listed.id));
    let version = if settings.version.is_empty() { "not stated" } else { &settings.version };
    let said = listed.map(|listed| listed.said.to_string()).unwrap_or_default();
    let place = format!("{:?}", settings.vertex);
    let told = [service.root().as_str(), &place, &settings.model, &settings.version, &said].join("\u{1f}");
    ModelIdentity {
        name: if named.is_empty() {
            "a model that has not been heard of".to_owned()
        } else {
            named.to_owned()
        },
        version: version.to_owned(),
        weights_sha256: hex(&Sha256::digest(told.as_bytes())),
        notice: Some(notice(service)),
        prompts: match settings.prompts {
            RemotePrompts::Medgemma => PromptSet::Medgemma,
            RemotePrompts::Demonstration => PromptSet::Demonstration,
        },
        runs: Runs::Elsewhere,
    }
}

fn notice(service: &Service) -> String {
    let settings = &service.settings;
    let name = match settings.service_name.as_str() {
        "" => "an external service".to_owned(),
        name => format!("the external service {name}"),
    };
    let url = reqwest::Url::parse(&service.root()).ok();
    let host =
        url.filter(|_| settings.show_host).and_then(|url| url.host_str().map(|host| format!(" ({host})")));
    format!("The images were sent to {name}{} and read there.", host.unwrap_or_default())
}

/// The text of an answer that is whole.
fn whole(answer: Answer, tokens_max: usize) -> Result<String, EngineError> {
    match answer.finish {
        Some(Finish::Stop) => Ok(answer.text),
        Some(Finish::Length) => Err(EngineError::TokenBudgetSpent(tokens_max)),
        Some(Finish::Other) | None => {
            Err(EngineError::Refused("the answer was ended by something else than its end".to_owned()))
        }
    }
}

/// Drawing takes a processor, which the async threads have no time for.
async fn drawn<T: Send + 'static>(
    draw: impl FnOnce() -> Result<T, picture::PictureError> + Send + 'static,
) -> Result<T, EngineError> {
    let drawn = tokio::task::spawn_blocking(draw).await;
    let drawn = drawn.map_err(|error| EngineError::Forward(error.to_string()))?;
    drawn.map_err(|error| EngineError::Forward(error.to_string()))
}

async fn cancelled(cancel: &Cancel) {
    while !cancel.is_cancelled() {
        tokio::time::sleep(LOOK).await;
    }
}
