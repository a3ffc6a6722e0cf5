//! Who has the model when: several conversations at a time, on one thread.
//!
//! What is read (an image, a stretch of a prompt) is read for one conversation at a time, the first
//! in rank. Between its layers all that write get their next tokens, as one batch, for as long as
//! the layer took: neither way of working keeps the other waiting. A conversation that fails, is
//! cancelled or takes too long leaves; the others do not notice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use candle_core::Tensor;
use metrics::{counter, gauge, histogram};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::LocalOptions;
use super::conversation::{Conversation, Memory, Phase};
use super::model::Model;
use super::queue::Queue;
use super::watch::Watch;
use crate::ai::line::{Rank, Waiting};
use crate::ai::{Cancel, EngineError, Priority, Progress, Reply, Request, Stage};
use crate::clock::Timestamp;
use crate::telemetry::metrics::model as metric;

/// A request with those who wait for it.
pub(super) struct Job {
    pub(super) request: Request,
    pub(super) cancel: Cancel,
    pub(super) time_limit: Duration,
    pub(super) news: UnboundedSender<Progress>,
    pub(super) reply: oneshot::Sender<Result<Reply, EngineError>>,
    /// How many were before it when it was told last.
    pub(super) place: Option<usize>,
}

impl Job {
    fn tell_place(&mut self, ahead: usize) {
        if self.place != Some(ahead) {
            self.place = Some(ahead);
            // nobody listens any more: the caller gave up, which is its right
            let _ = self.news.send(Progress::Waiting { ahead });
        }
    }
}

pub(super) struct Scheduler<'a> {
    model: &'a Model,
    memory: &'a Memory,
    queue: &'a Queue<Job>,
    options: &'a LocalOptions,
    active: Vec<Active>,
}

/// A conversation that has the model, now and then.
struct Active {
    conversation: Conversation,
    reply: oneshot::Sender<Result<Reply, EngineError>>,
    rank: Rank,
    cache_bytes: usize,
    failed: Option<EngineError>,
}

impl Active {
    fn is_over(&self) -> bool {
        self.failed.is_some() || self.conversation.phase() == Phase::Done
    }

    fn end(self, memory: &Memory) {
        let outcome = match self.failed {
            Some(error) => Err(error),
            None => guarded(|| Ok(self.conversation.end(memory))),
        };
        answer(self.reply, outcome);
    }
}

impl<'a> Scheduler<'a> {
    pub(super) fn new(
        model: &'a Model,
        memory: &'a Memory,
        queue: &'a Queue<Job>,
        options: &'a LocalOptions,
    ) -> Self {
        Self { model, memory, queue, options, active: Vec::new() }
    }

    /// Until nobody asks any more and all are answered.
    pub(super) fn run(&mut self) {
        while !self.active.is_empty() || self.queue.wait() {
            self.admit();
            self.write();
            self.read();
        }
    }

    /// Lets in whom there is room for, the first in line first.
    fn admit(&mut self) {
        self.attend();
        while let Some(job) = self.next_in_line() {
            self.enter(job);
        }
        self.settle();
        self.queue.with(|line| {
            line.each().enumerate().for_each(|(ahead, job)| job.tell_place(ahead));
            gauge!(metric::QUEUE).set(line.len() as f64);
            gauge!(metric::QUEUE_OLDEST).set(line.age(self.options.clock.now()).as_secs_f64());
        });
        gauge!(metric::ACTIVE).set(self.active.len() as f64);
    }

    /// Sends away who gave up or has waited too long.
    fn attend(&self) {
        let (now, limit) = (self.options.clock.now(), self.options.limits.queue);
        let is_done = |job: &Waiting<Job>| job.item.cancel.is_cancelled() || now.since(job.since) > limit;
        for waiting in self.queue.with(|line| line.take_if(is_done)) {
            let error = match waiting.item.cancel.is_cancelled() {
                true => EngineError::Cancelled,
                false => EngineError::StageTimedOut { stage: Stage::Queue, limit },
            };
            answer(waiting.item.reply, Err(error));
        }
    }

    fn next_in_line(&self) -> Option<Waiting<Job>> {
        self.queue.with(|line| line.take_next(|waiting| self.has_room(waiting)))
    }

    /// What can never fit is let in, to be told so. Some places more are kept for what cannot wait.
    fn has_room(&self, waiting: &Waiting<Job>) -> bool {
        let extra = if waiting.priority == Priority::Stat { self.options.batch_stat } else { 0 };
        let needed = self.model.cache_bytes(&waiting.item.request);
        let fits = self.cache_bytes() + needed <= self.options.cache_bytes_max;
        self.active.is_empty() || (self.active.len() < self.options.batch_max.max(1) + extra && fits)
    }

    /// Of all conversations under way, as they were estimated.
    fn cache_bytes(&self) -> usize {
        self.active.iter().map(|active| active.cache_bytes).sum()
    }

    /// What was remembered makes room for what is under way.
    fn share_room(&self) {
        let held = self.cache_bytes();
        gauge!(metric::CACHE_BYTES, "cache" => "conversations").set(held as f64);
        self.memory.beginnings.borrow_mut().set_room(self.options.cache_bytes_max.saturating_sub(held));
    }

    fn enter(&mut self, waiting: Waiting<Job>) {
        let clock = &self.options.clock;
        histogram!(metric::STAGE_SECONDS, "stage" => Stage::Queue.name())
            .record(clock.now().since(waiting.since).as_secs_f64());
        let Waiting { rank, item, .. } = waiting;
        let Job { request, cancel, time_limit, news, reply, .. } = item;
        let watch = Watch::start(cancel, news, clock.clone(), time_limit, self.options.limits);
        let cache_bytes = self.model.cache_bytes(&request);
        let opened = self
            .affordable(cache_bytes)
            .and_then(|()| guarded(|| Conversation::open(self.model, self.memory, request, watch)));
        match opened {
            Ok(conversation) => {
                self.active.push(Active { conversation, reply, rank, cache_bytes, failed: None });
                self.active.sort_by_key(|active| active.rank);
                self.share_room();
            }
            Err(error) => answer(reply, Err(error)),
        }
    }

    fn affordable(&self, needed: usize) -> Result<(), EngineError> {
        let limit = self.options.cache_bytes_max;
        if needed > limit { Err(EngineError::CacheTooSmall { needed, limit }) } else { Ok(()) }
    }

    /// One unit for the first that reads. It is out of the row meanwhile, and comes back.
    fn read(&mut self) {
        let reads = |active: &Active| active.conversation.phase() == Phase::Reading;
        let Some(index) = self.active.iter().position(reads) else { return };
        let (mut reader, model, memory) = (self.active.remove(index), self.model, self.memory);
        let mut since = self.options.clock.now();
        let outcome = guarded(|| reader.conversation.read(model, memory, &mut || self.give_turn(&mut since)));
        reader.failed = outcome.err();
        let place = self.active.partition_point(|active| active.rank < reader.rank);
        self.active.insert(place, reader);
        self.settle();
    }

    /// Those who write get as long as the layer took that was run since.
    fn give_turn(&mut self, since: &mut Timestamp) {
        self.attend();
        let clock = &self.options.clock;
        let began = clock.now();
        let share = began.since(*since);
        while self.write() && self.options.clock.now().since(began) < share {}
        *since = self.options.clock.now();
    }

    /// A step of all that write; whether there was any.
    fn write(&mut self) -> bool {
        for active in &mut self.active {
            active.failed = active.conversation.check().err();
        }
        self.settle();
        let (model, began) = (self.model, self.options.clock.now());
        let mut writers: Vec<&mut Active> =
            self.active.iter_mut().filter(|active| active.conversation.phase() == Phase::Writing).collect();
        if writers.is_empty() {
            return false;
        }
        histogram!(metric::BATCH).record(writers.len() as f64);
        let outcomes = step_together(model, &mut writers);
        let took = self.options.clock.now().since(began);
        for (writer, logits) in writers.into_iter().zip(outcomes) {
            let wrote = |logits| guarded(|| writer.conversation.wrote(model, &logits, took));
            writer.failed = logits.and_then(wrote).err();
        }
        self.settle();
        true
    }

    /// Answers all that have come to an end.
    fn settle(&mut self) {
        let (over, stay) = self.active.drain(..).partition(Active::is_over);
        self.active = stay;
        if over.is_empty() {
            return;
        }
        self.share_room();
        for active in over {
            active.end(self.memory);
        }
    }
}

/// The word of the model for each of them. Where the pass of all fails, each is tried once alone, from
/// where it was: what ails one costs the others a step.
fn step_together(model: &Model, writers: &mut [&mut Active]) -> Vec<Result<Tensor, EngineError>> {
    let places: Vec<usize> = writers.iter().map(|writer| writer.conversation.positions()).collect();
    let mut steps: Vec<_> = writers.iter_mut().filter_map(|writer| writer.conversation.step()).collect();
    let error = match guarded(|| model.step_each(&mut steps)) {
        Ok(logits) => return logits.into_iter().map(Ok).collect(),
        Err(error) if writers.len() == 1 => return vec![Err(error)],
        Err(error) => error,
    };
    tracing::warn!(%error, conversations = writers.len(), "a step of several failed: each is tried alone");
    counter!(metric::BATCH_FAILED).increment(1);
    writers.iter_mut().zip(places).map(|(writer, place)| step_alone(model, writer, place)).collect()
}

fn step_alone(model: &Model, writer: &mut Active, from: usize) -> Result<Tensor, EngineError> {
    let nothing = || EngineError::Forward("there is nothing to read for the next token".to_owned());
    writer.conversation.go_back(from)?;
    let step = writer.conversation.step().ok_or_else(nothing)?;
    let logits = guarded(|| model.step_each(&mut [step]))?;
    logits.into_iter().next().ok_or_else(nothing)
}

fn answer(reply: oneshot::Sender<Result<Reply, EngineError>>, outcome: Result<Reply, EngineError>) {
    match &outcome {
        Ok(answered) => record(&answered.usage),
        Err(EngineError::StageTimedOut { stage, .. }) => timed_out(stage.name()),
        Err(EngineError::TimedOut(_)) => timed_out("whole"),
        Err(_) => {}
    }
    // nobody waits any more: the caller gave up, which is its right
    drop(reply.send(outcome));
}

fn timed_out(stage: &'static str) {
    counter!(metric::TIMED_OUT, "stage" => stage).increment(1);
}

fn record(usage: &crate::ai::Usage) {
    let seconds = |ms: u64| Duration::from_millis(ms).as_secs_f64();
    histogram!(metric::STAGE_SECONDS, "stage" => Stage::Prefill.name()).record(seconds(usage.prefill_ms));
    histogram!(metric::STAGE_SECONDS, "stage" => Stage::Decode.name()).record(seconds(usage.decode_ms));
    for (kind, tokens) in [
        ("prompt", usage.prompt_tokens),
        ("image", usage.image_tokens),
        ("kept", usage.kept_tokens),
        ("answer", usage.answer_tokens),
        ("forced", usage.forced_tokens),
    ] {
        counter!(metric::TOKENS, "kind" => kind).increment(tokens as u64);
    }
}

/// A panic in a kernel costs the request, not the server. The model is not changed by a request,
/// so the next one finds it whole.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(EngineError::Forward(format!("panicked: {}", message(panic.as_ref())))))
}

pub(super) fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use tokio::sync::mpsc;

    use super::super::fixture;
    use super::*;
    use crate::ai::line::Line;
    use crate::ai::{Form, Part, Settings, Turn};

    /// Forty choices, with keys that differ so that no answer loops.
    fn schema() -> String {
        let keys: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
        let properties: serde_json::Map<_, _> =
            keys.iter().map(|key| (key.clone(), serde_json::json!({ "type": "boolean" }))).collect();
        serde_json::json!({ "type": "object", "properties": properties, "required": keys, "additionalProperties": false })
            .to_string()
    }

    type Answer = oneshot::Receiver<Result<Reply, EngineError>>;

    fn ask(queue: &Queue<Job>, words: &str) -> Answer {
        let turns =
            vec![Turn::User(vec![Part::Text(words.to_owned())]), Turn::Open(Form::Json(schema().into()))];
        let priority = Priority::default();
        let request = Request { system: None, turns, settings: Settings::default(), priority };
        let ((reply, answer), news) = (oneshot::channel(), mpsc::unbounded_channel().0);
        let (cancel, time_limit) = (Cancel::default(), Duration::from_secs(3600));
        let job = Job { request, cancel, time_limit, news, reply, place: None };
        queue.join(job, priority, Timestamp(0)).unwrap();
        answer
    }

    /// What each is told when the `spoilt` one reads something that no model knows.
    fn answers(spoilt: Option<usize>) -> Vec<Result<Vec<String>, EngineError>> {
        let options =
            LocalOptions { clock: crate::clock::Clock::manual(Timestamp(0)), ..LocalOptions::default() };
        let model = Model::load(&fixture::files(), &Device::Cpu, &options).unwrap();
        let (memory, queue) = (Memory::default(), Queue::new(Line::new(9, options.priority_lead)));
        let asked = ["One.", "And two?", "Three, please."].map(|words| ask(&queue, words));
        queue.close();
        let mut scheduler = Scheduler::new(&model, &memory, &queue, &options);
        scheduler.admit();
        while scheduler.active.iter().any(|active| active.conversation.phase() == Phase::Reading) {
            scheduler.read();
        }
        assert_eq!(scheduler.active.len(), 3, "all are writing");
        spoilt.iter().for_each(|index| scheduler.active[*index].conversation.spoil());
        scheduler.run();
        let told = asked.into_iter().map(|mut answer| answer.try_recv().unwrap());
        told.map(|told| told.map(|reply| reply.answers)).collect()
    }

    #[test]
    fn a_step_that_fails_costs_the_conversation_it_belongs_to_and_no_other() {
        let (sound, spoilt) = (answers(None), answers(Some(1)));
        assert!(matches!(&spoilt[1], Err(EngineError::Forward(_))), "{:?}", spoilt[1]);
        for other in [0, 2] {
            assert_eq!(spoilt[other].as_ref().unwrap(), sound[other].as_ref().unwrap());
        }
    }
}
