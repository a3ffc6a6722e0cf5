//! A loaded model, and how it answers one request.

use candle_core::{Device, Tensor};

use super::LocalOptions;
use super::blocks::ImageBlocks;
use super::cache::Cache;
use super::config::ModelConfig;
use super::constrained::Grammar;
use super::decoder::Decoder;
use super::error::LoadError;
use super::files::{CONFIG, ModelFiles};
use super::generate::Generation;
use super::identity;
use super::preprocess;
use super::projector::Projector;
use super::tokens::Tokens;
use super::vision::VisionTower;
use super::watch::Watch;
use super::weights::Weights;
use crate::ai::{EngineError, ModelIdentity, Part, Progress, Reply, Request, Usage};

pub(super) struct Model {
    pub(super) config: ModelConfig,
    pub(super) identity: ModelIdentity,
    pub(super) tokens: Tokens,
    pub(super) vision: VisionTower,
    pub(super) projector: Projector,
    pub(super) decoder: Decoder,
    grammar: Grammar,
    prefill_tokens_max: usize,
}

/// A tokenised request.
struct Prompt {
    ids: Vec<u32>,
    images: ImageBlocks,
}

impl Model {
    pub(super) fn load(
        files: &ModelFiles,
        device: &Device,
        options: &LocalOptions,
    ) -> Result<Self, LoadError> {
        let config = ModelConfig::parse(&files.read(CONFIG)?)?;
        let tokens = Tokens::load(files, &config)?;
        let weights = Weights::open(files, &config, device, options.precision)?;
        Ok(Self {
            identity: identity::identify(files, &config, &files.digest_weights()?)?
                .in_precision(options.precision),
            grammar: Grammar::new(&tokens)?,
            vision: VisionTower::load(&weights, &config)?,
            projector: Projector::load(&weights, &config)?,
            decoder: Decoder::load(&weights, &config)?,
            tokens,
            config,
            prefill_tokens_max: options.prefill_tokens_max.max(1),
        })
    }

    pub(super) fn answer(&self, request: &Request, watch: &Watch<'_>) -> Result<Reply, EngineError> {
        let prompt = self.prompt(request)?;
        let constraint = self.grammar.constraint(&request.schema)?;
        let (features, image_ms) = watch.timed(|| self.encode_images(request, watch))?;
        let mut cache = self.decoder.new_cache();
        let (logits, prefill_ms) =
            watch.timed(|| self.prefill(&prompt, features.as_ref(), &mut cache, watch))?;
        let generation = Generation::new(self, constraint, cache, &request.settings, watch);
        let (answer, decode_ms) = watch.timed(|| generation.run(logits))?;
        let usage = Usage {
            prompt_tokens: prompt.ids.len(),
            image_tokens: prompt.images.features_before(prompt.ids.len()),
            answer_tokens: answer.tokens,
            forced_tokens: answer.forced,
            image_ms,
            prefill_ms,
            decode_ms,
        };
        Ok(Reply { text: answer.text, usage })
    }

    /// Runs tokens that follow what is in the cache; the logits are those of the last one.
    pub(super) fn step(
        &self,
        ids: &[u32],
        cache: &mut Cache,
        watch: &Watch<'_>,
    ) -> Result<Tensor, EngineError> {
        let text = ImageBlocks::find(&[], self.config.image_token);
        let embedded = self.decoder.embed(ids)?;
        let hidden = self.decoder.forward(&embedded, &text, cache, &mut |_, _| watch.check())?;
        Ok(self.decoder.logits(&hidden)?)
    }

    fn prompt(&self, request: &Request) -> Result<Prompt, EngineError> {
        let ids = self.tokens.encode(&self.tokens.markers().render(request))?;
        let (needed, limit) = (ids.len() + request.settings.tokens_max, self.config.text.context);
        if needed > limit {
            return Err(EngineError::PromptTooLong { needed, limit });
        }
        let images = ImageBlocks::find(&ids, self.config.image_token);
        Ok(Prompt { ids, images })
    }

    /// The projected features of all images, one below the other; `None` without images.
    fn encode_images(&self, request: &Request, watch: &Watch<'_>) -> Result<Option<Tensor>, EngineError> {
        let images: Vec<_> = request.parts.iter().filter_map(Part::image).collect();
        let mut features = Vec::with_capacity(images.len());
        for (done, image) in images.iter().enumerate() {
            watch.check()?;
            let pixels = preprocess::pixels(image, self.config.vision.image_size, self.decoder.device())?;
            let encoded = self.vision.encode(&pixels, &mut || watch.check())?;
            features.push(self.projector.forward(&encoded)?);
            watch.report(Progress::EncodedImages { done: done + 1, of: images.len() });
        }
        Ok(if features.is_empty() { None } else { Some(Tensor::cat(&features, 0)?) })
    }

    fn prefill(
        &self,
        prompt: &Prompt,
        features: Option<&Tensor>,
        cache: &mut Cache,
        watch: &Watch<'_>,
    ) -> Result<Tensor, EngineError> {
        let mut last = None;
        for chunk in prompt.images.chunks(self.prefill_tokens_max) {
            let embedded = self.decoder.splice(&prompt.ids, &prompt.images, features, chunk)?;
            last = Some(self.decoder.forward(&embedded, &prompt.images, cache, &mut |_, _| watch.check())?);
            watch.report(Progress::Prefilled { tokens: cache.positions() });
        }
        let hidden = last.ok_or_else(|| EngineError::Forward("the prompt is empty".to_owned()))?;
        Ok(self.decoder.logits(&hidden)?)
    }
}

impl Part {
    fn image(&self) -> Option<&crate::ai::RgbImage> {
        match self {
            Self::Image(image) => Some(image),
            Self::Text(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::fixture;
    use super::*;
    use crate::ai::{Call, Cancel, Settings};
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
        Request { system, parts, schema: "{}".into(), settings: Settings::default() }
    }

    fn logits(prefill_tokens_max: usize) -> Tensor {
        let options = LocalOptions { prefill_tokens_max, ..LocalOptions::default() };
        let model = Model::load(&fixture::files(), &Device::Cpu, &options).unwrap();
        let time_limit = Duration::from_secs(600);
        let call = Call { cancel: Cancel::default(), progress: Arc::new(|_| ()), time_limit };
        let watch = Watch::start(&call, &Clock::System);
        let request = reference_request(&fixture::golden());
        let prompt = model.prompt(&request).unwrap();
        let features = model.encode_images(&request, &watch).unwrap();
        let mut cache = model.decoder.new_cache();
        model.prefill(&prompt, features.as_ref(), &mut cache, &watch).unwrap()
    }

    /// The way of a request, from words and pictures on; a resized pixel may be a level off.
    #[test]
    fn words_and_pictures_lead_to_the_references_logits() {
        let expected = fixture::golden().tensor("logits").get(0).unwrap();
        for prefill_tokens_max in [24, 512] {
            let distance = (logits(prefill_tokens_max) - &expected).unwrap().abs().unwrap();
            let farthest = distance.max(0).unwrap().to_scalar::<f32>().unwrap();
            assert!(farthest < 5e-3, "differs by {farthest:e}");
        }
    }
}
