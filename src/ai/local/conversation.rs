//! One request on its way through the model: a chain of units, between which others have their
//! turn.
//!
//! An image is encoded when the stretch of the prompt that holds it is next, and its features are
//! let go of once they are read: a long prompt never has all of them in memory. What the model
//! keeps of the prompt is remembered before its first image, behind its last, and at the end.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use candle_core::Tensor;

use super::beginnings::Beginnings;
use super::blocks::ImageBlocks;
use super::cache::Cache;
use super::constrained::Constraint;
use super::decoder::Stretch;
use super::features::Features;
use super::generate::Writing;
use super::model::{Model, Section};
use super::watch::{Spell, Watch};
use crate::ai::{EngineError, PictureDigest, Progress, Reply, Request, RgbImage, Settings, Stage, Usage};

/// What conversations leave to those after them.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) features: RefCell<Option<Features>>,
    pub(super) beginnings: RefCell<Beginnings>,
}

/// What a conversation needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// An image is to be encoded, or a stretch of the prompt to be read.
    Reading,
    /// A token is to be written.
    Writing,
    Done,
}

pub(super) struct Conversation {
    watch: Watch,
    settings: Settings,
    images: Vec<Arc<RgbImage>>,
    pictures: Vec<PictureDigest>,
    script: VecDeque<Section>,
    ids: Vec<u32>,
    blocks: ImageBlocks,
    /// What is still to be read of the prompt.
    stretches: VecDeque<Range<usize>>,
    /// Of the images in the next stretch, as far as they are encoded.
    features: Vec<Tensor>,
    encoded: usize,
    /// What has been read so far, as the model keeps it.
    cache: Cache,
    /// Of the last token, once something was read.
    logits: Option<Tensor>,
    pen: Option<Pen>,
    answers: Vec<String>,
    spent: Spent,
    usage: Usage,
}

/// An answer that is being written, and what has to be read before its next token.
struct Pen {
    writing: Writing,
    feed: Vec<u32>,
    spent: Duration,
}

#[derive(Default)]
struct Spent {
    image: Duration,
    prefill: Duration,
    decode: Duration,
}

impl Conversation {
    /// Refuses a request that does not fit or asks for what cannot be.
    pub(super) fn open(
        model: &Model,
        memory: &Memory,
        request: Request,
        watch: Watch,
    ) -> Result<Self, EngineError> {
        watch.check()?;
        let script = model.script(&request)?;
        Self::follow(model, memory, script, request, watch)
    }

    fn follow(
        model: &Model,
        memory: &Memory,
        script: Vec<Section>,
        request: Request,
        watch: Watch,
    ) -> Result<Self, EngineError> {
        let mut conversation = Self {
            watch,
            script: script.into(),
            pictures: request.images().map(|image| image.digest()).collect(),
            images: request.images().map(Arc::clone).collect(),
            settings: request.settings,
            ids: Vec::new(),
            blocks: model.blocks(&[]),
            stretches: VecDeque::new(),
            features: Vec::new(),
            encoded: 0,
            cache: model.decoder.new_cache(),
            logits: None,
            pen: None,
            answers: Vec::new(),
            spent: Spent::default(),
            usage: Usage::default(),
        };
        conversation.recall(model, memory)?;
        conversation.turn(model)?;
        Ok(conversation)
    }

    /// Begins with what an earlier conversation has read of the same prompt.
    fn recall(&mut self, model: &Model, memory: &Memory) -> Result<(), EngineError> {
        let Some(Section::Read(ids)) = self.script.front() else { return Ok(()) };
        let Some(cache) = memory.beginnings.borrow_mut().find(ids, &self.pictures)? else { return Ok(()) };
        self.encoded = model.blocks(ids).images_before(cache.positions());
        self.usage.kept_tokens = cache.positions();
        self.usage.kept_images = self.encoded;
        self.cache = cache;
        if self.encoded > 0 {
            self.watch.report(Progress::EncodedImages { done: self.encoded, of: self.images.len() });
        }
        Ok(())
    }

    pub(super) fn phase(&self) -> Phase {
        match (&self.pen, self.stretches.is_empty()) {
            (Some(_), _) => Phase::Writing,
            (None, false) => Phase::Reading,
            (None, true) => Phase::Done,
        }
    }

    /// Whether it may go on.
    pub(super) fn check(&self) -> Result<(), EngineError> {
        self.watch.check()
    }

    /// Encodes the next image or reads the next stretch; `meanwhile` runs between layers.
    pub(super) fn read(
        &mut self,
        model: &Model,
        memory: &Memory,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<(), EngineError> {
        self.watch.check()?;
        let Some(stretch) = self.stretches.front().cloned() else { return Ok(()) };
        if self.encoded < self.blocks.images_before(stretch.end) {
            return self.take_image(model, memory, meanwhile);
        }
        self.read_stretch(model, stretch, meanwhile)?;
        self.stretches.pop_front();
        self.remember(memory)?;
        if self.stretches.is_empty() { self.turn(model) } else { Ok(()) }
    }

    /// The features of the next image, kept ones or new ones.
    fn take_image(
        &mut self,
        model: &Model,
        memory: &Memory,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<(), EngineError> {
        let missing = || EngineError::Forward("the prompt has more image tokens than images".to_owned());
        let picture = *self.pictures.get(self.encoded).ok_or_else(missing)?;
        let kept = memory.features.borrow_mut().as_mut().and_then(|kept| kept.get(&picture, model.device()));
        let features = match kept {
            Some(features) => {
                self.usage.kept_images += 1;
                features
            }
            None => self.encode(model, memory, meanwhile)?,
        };
        self.features.push(features);
        self.encoded += 1;
        self.watch.report(Progress::EncodedImages { done: self.encoded, of: self.images.len() });
        Ok(())
    }

    fn encode(
        &mut self,
        model: &Model,
        memory: &Memory,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<Tensor, EngineError> {
        let (watch, mut spell) = (&self.watch, self.watch.spell(Stage::Image, Duration::ZERO));
        let image = &self.images[self.encoded];
        let features = model.encode(image, &mut || between(watch, &mut spell, meanwhile))?;
        self.spent.image += spell.latest();
        spell.record();
        if let Some(kept) = memory.features.borrow_mut().as_mut() {
            kept.put(&self.pictures[self.encoded], &features);
        }
        Ok(features)
    }

    fn read_stretch(
        &mut self,
        model: &Model,
        stretch: Range<usize>,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<(), EngineError> {
        let (watch, mut spell) = (&self.watch, self.watch.spell(Stage::Prefill, self.spent.prefill));
        let embedded = model.embed(&self.ids[stretch], &std::mem::take(&mut self.features))?;
        let mut on_layer = |_: usize, _: &Tensor| between(watch, &mut spell, meanwhile);
        let hidden = model.decoder.forward(&embedded, &self.blocks, &mut self.cache, &mut on_layer)?;
        if self.unread().is_empty() {
            self.logits = Some(model.decoder.logits(&hidden)?);
        }
        self.spent.prefill = spell.spent();
        if self.encoded == self.images.len() {
            self.watch.report(Progress::Prefilled { tokens: self.cache.positions() });
        }
        Ok(())
    }

    /// What the model has to read for the next token, and what it keeps of all before.
    pub(super) fn step(&mut self) -> Option<Stretch<'_>> {
        let pen = self.pen.as_ref()?;
        Some(Stretch { ids: &pen.feed, cache: &mut self.cache })
    }

    /// What has been read so far.
    pub(super) fn positions(&self) -> usize {
        self.cache.positions()
    }

    /// As if what was read from there on had not been.
    pub(super) fn go_back(&mut self, to: usize) -> Result<(), EngineError> {
        self.cache.truncate(to).map_err(|forgotten| EngineError::Forward(forgotten.to_string()))
    }

    /// Has it read what no model knows.
    #[cfg(test)]
    pub(super) fn spoil(&mut self) {
        self.pen.iter_mut().for_each(|pen| pen.feed = vec![u32::MAX - 1]);
    }

    /// Takes the model's word for the next token, which came after `took`.
    pub(super) fn wrote(
        &mut self,
        model: &Model,
        logits: &Tensor,
        took: Duration,
    ) -> Result<(), EngineError> {
        let Some(mut pen) = self.pen.take() else { return Ok(()) };
        self.watch.report(Progress::Decoded { tokens: pen.writing.len() });
        let spell = self.watch.spell(Stage::Decode, pen.spent + took);
        spell.check()?;
        let next = pen.writing.go_on(logits, &model.tokens)?;
        pen.spent = spell.spent();
        self.carry_on(model, pen, next)
    }

    /// The answers, and for those who come after the beginning that this one was.
    pub(super) fn end(self, memory: &Memory) -> Reply {
        let (ids, pictures) = self.beginning();
        memory.beginnings.borrow_mut().keep(ids, pictures, self.cache);
        let spent = self.spent;
        let usage = Usage {
            image_ms: milliseconds(spent.image),
            prefill_ms: milliseconds(spent.prefill),
            decode_ms: milliseconds(spent.decode),
            ..self.usage
        };
        Reply { answers: self.answers, usage }
    }

    /// The next passage of the script begins.
    fn turn(&mut self, model: &Model) -> Result<(), EngineError> {
        match self.script.pop_front() {
            Some(Section::Read(ids)) => self.lay_out(model, &ids),
            Some(Section::Write(constraint, tokens_max)) => {
                return self.begin(model, constraint, tokens_max);
            }
            None => {}
        }
        Ok(())
    }

    /// What is new, and of the last answer what nobody has read yet.
    fn lay_out(&mut self, model: &Model, ids: &[u32]) {
        self.ids.extend(ids);
        self.usage.prompt_tokens += ids.len();
        self.blocks = model.blocks(&self.ids);
        self.usage.image_tokens = self.blocks.features_before(self.ids.len());
        let sections = sections(self.unread(), self.blocks.images());
        let stretches = sections.flat_map(|section| self.blocks.chunks(section, model.prefill_tokens_max));
        self.stretches = stretches.collect();
    }

    /// Where the images of the prompt begin and where they end, others may begin the same way.
    fn remember(&self, memory: &Memory) -> Result<(), EngineError> {
        let here = self.cache.positions();
        let Some(images) = self.blocks.images() else { return Ok(()) };
        if here != images.start && here != images.end {
            return Ok(());
        }
        let (ids, pictures) = self.beginning();
        let mut beginnings = memory.beginnings.borrow_mut();
        if !beginnings.spares(&ids, &pictures, self.cache.bytes()) {
            beginnings.keep(ids, pictures, self.cache.fork()?);
        }
        Ok(())
    }

    /// What has been read.
    fn beginning(&self) -> (Vec<u32>, Vec<PictureDigest>) {
        let here = self.cache.positions();
        (self.ids[..here].to_vec(), self.pictures[..self.blocks.images_before(here)].to_vec())
    }

    fn begin(&mut self, model: &Model, constraint: Constraint, tokens_max: usize) -> Result<(), EngineError> {
        let unread = || EngineError::Forward("the prompt is empty".to_owned());
        let logits = self.logits.take().ok_or_else(unread)?;
        let spell = self.watch.spell(Stage::Decode, Duration::ZERO);
        let mut writing = Writing::new(constraint, tokens_max, &self.settings);
        let next = writing.begin(&logits, &model.tokens)?;
        let pen = Pen { writing, feed: Vec::new(), spent: spell.spent() };
        self.carry_on(model, pen, next)
    }

    fn carry_on(&mut self, model: &Model, pen: Pen, next: Option<Vec<u32>>) -> Result<(), EngineError> {
        if let Some(feed) = next {
            self.pen = Some(Pen { feed, ..pen });
            return Ok(());
        }
        let answer = pen.writing.finish(&model.tokens)?;
        self.spent.decode += pen.spent;
        self.usage.answer_tokens += answer.ids.len();
        self.usage.forced_tokens += answer.forced;
        self.usage.cut = self.usage.cut.or(answer.cut);
        self.ids.extend(answer.ids);
        self.answers.push(answer.text);
        self.turn(model)
    }

    fn unread(&self) -> Range<usize> {
        self.cache.positions()..self.ids.len()
    }
}

/// Between two layers others have their turn, and what ends a request early is looked at.
fn between(watch: &Watch, spell: &mut Spell, meanwhile: &mut dyn FnMut()) -> Result<(), EngineError> {
    spell.lend(meanwhile);
    watch.check()?;
    spell.check()
}

/// The prompt cut where its images begin and where they end.
fn sections(unread: Range<usize>, images: Option<Range<usize>>) -> impl Iterator<Item = Range<usize>> {
    let images = images.unwrap_or(unread.end..unread.end);
    let [begin, end] = [images.start, images.end].map(|cut| cut.clamp(unread.start, unread.end));
    [unread.start..begin, begin..end, end..unread.end].into_iter().filter(|section| !section.is_empty())
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use tokio::sync::mpsc;

    use super::super::{LocalOptions, fixture};
    use super::*;
    use crate::ai::{Cancel, Form, Part, Priority, StageLimits, Turn};
    use crate::clock::Clock;

    fn reference_request(golden: &fixture::Golden) -> Request {
        let text = |text: &str| Part::Text(text.to_owned());
        let image = |n: usize| Part::Image(Arc::new(golden.picture(n)));
        let parts = vec![
            text("Two images of one patient follow."),
            image(0),
            text("SLICE 1"),
            image(1),
            text("SLICE 2 — report the findings."),
        ];
        let system = Some("You are an expert radiologist.".to_owned());
        let turns = vec![Turn::User(parts), Turn::Open(Form::Text)];
        Request { system, turns, settings: Settings::default(), priority: Priority::default() }
    }

    fn model(prefill_tokens_max: usize) -> Model {
        let options = LocalOptions { prefill_tokens_max, ..LocalOptions::default() };
        Model::load(&fixture::files(), &Device::Cpu, &options).unwrap()
    }

    fn watch() -> Watch {
        let (hour, news) = (Duration::from_secs(3600), mpsc::unbounded_channel().0);
        Watch::start(Cancel::default(), news, Clock::System, hour, StageLimits::default())
    }

    /// The conversation once the reference's question and what follows have been read and written.
    fn done(model: &Model, then: impl FnOnce(Vec<u32>) -> Vec<Section>) -> Conversation {
        let (memory, request) = (Memory::default(), reference_request(&fixture::golden()));
        let Some(Section::Read(ids)) = model.script(&request).unwrap().into_iter().next() else { panic!() };
        let mut conversation = Conversation::follow(model, &memory, then(ids), request, watch()).unwrap();
        loop {
            match conversation.phase() {
                Phase::Reading => conversation.read(model, &memory, &mut || ()).unwrap(),
                Phase::Writing => {
                    let logits = model.step_each(&mut [conversation.step().unwrap()]).unwrap();
                    conversation.wrote(model, &logits[0], Duration::ZERO).unwrap();
                }
                Phase::Done => return conversation,
            }
        }
    }

    fn distance(one: &Tensor, other: &Tensor) -> f32 {
        (one - other).unwrap().abs().unwrap().max(0).unwrap().to_scalar().unwrap()
    }

    /// The way of a request, from words and pictures on; a resized pixel may be a level off.
    #[test]
    fn words_and_pictures_lead_to_the_references_logits() {
        let expected = fixture::golden().tensor("logits").get(0).unwrap();
        for prefill_tokens_max in [24, 512] {
            let conversation = done(&model(prefill_tokens_max), |ids| vec![Section::Read(ids)]);
            let farthest = distance(&conversation.logits.unwrap(), &expected);
            assert!(farthest < 5e-3, "differs by {farthest:e}");
        }
    }

    #[test]
    fn a_later_turn_reads_the_answer_before_it() {
        let model = model(512);
        let schema = Form::Json(r#"{"type":"integer","minimum":10,"maximum":9999}"#.into());
        let spoken = done(&model, |ids| {
            let answer = Section::Write(model.constraint(&schema).unwrap(), 1024);
            vec![Section::Read(ids), answer, Section::Read(vec![107, 108])]
        });
        let anew = done(&model, |ids| {
            let rest = spoken.ids[ids.len()..].to_vec();
            vec![Section::Read(ids), Section::Read(rest)]
        });
        assert!(distance(&spoken.logits.unwrap(), &anew.logits.unwrap()) < 1e-4);
    }
}
