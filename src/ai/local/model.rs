//! A loaded model, and the steps in which it reads and writes.

use candle_core::{Device, Tensor};

use super::LocalOptions;
use super::blocks::ImageBlocks;
use super::config::ModelConfig;
use super::constrained::{Constraint, Grammar};
use super::decoder::{Decoder, Stretch};
use super::error::LoadError;
use super::files::ModelFiles;
use super::identity;
use super::kernels;
use super::preprocess;
use super::projector::Projector;
use super::template::Passage;
use super::tokens::Tokens;
use super::vision::VisionTower;
use super::weights::Weights;
use crate::ai::{EngineError, Form, ModelIdentity, Request, RgbImage};

/// Of most languages; what is estimated with it need not be exact.
const TEXT_BYTES_PER_TOKEN: usize = 2;
/// What opens and closes an image in the prompt.
const IMAGE_FRAME_TOKENS: usize = 4;

pub(super) struct Model {
    pub(super) config: ModelConfig,
    pub(super) identity: ModelIdentity,
    pub(super) tokens: Tokens,
    pub(super) vision: VisionTower,
    pub(super) projector: Projector,
    pub(super) decoder: Decoder,
    grammar: Grammar,
    pub(super) prefill_tokens_max: usize,
}

/// A section of a conversation in tokens.
pub(super) enum Section {
    Read(Vec<u32>),
    /// So many tokens at most.
    Write(Constraint, usize),
}

impl Model {
    pub(super) fn load(
        files: &ModelFiles,
        device: &Device,
        options: &LocalOptions,
    ) -> Result<Self, LoadError> {
        let config = ModelConfig::load(files)?;
        let tokens = Tokens::load(files, &config)?;
        let weights = Weights::open(files, &config, device, options.precision)?;
        let vision = VisionTower::load(&weights, &config, &options.vision)?;
        tracing::info!(kernels = %kernels::describe(&vision.kernels), "the model computes");
        Ok(Self {
            identity: identity::identify(files, &config, &files.digest_weights()?)?
                .in_precision(files.packed(options.precision)?)
                .with_vision(vision.is_rounded()),
            grammar: Grammar::new(&tokens)?,
            vision,
            projector: Projector::load(&weights, &config)?,
            decoder: Decoder::load(&weights, &config.text)?,
            tokens,
            config,
            prefill_tokens_max: options.prefill_tokens_max.max(1),
        })
    }

    /// Runs a step of each conversation, in one pass; the logits are those of its last token.
    pub(super) fn step_each(&self, steps: &mut [Stretch<'_>]) -> Result<Vec<Tensor>, EngineError> {
        self.decoder.step_each(steps, &mut |_, _| Ok(()))
    }

    /// Where the images lie among these tokens.
    pub(super) fn blocks(&self, ids: &[u32]) -> ImageBlocks {
        ImageBlocks::find(ids, self.config.image_token)
    }

    /// The projected features of one image, one row per token.
    pub(super) fn encode(
        &self,
        image: &RgbImage,
        between_layers: &mut dyn FnMut() -> Result<(), EngineError>,
    ) -> Result<Tensor, EngineError> {
        let pixels = preprocess::pixels(image, self.config.vision.image_size, self.decoder.device())?;
        let encoded = self.vision.encode(&pixels, between_layers)?;
        Ok(self.projector.forward(&encoded)?)
    }

    /// A stretch of the prompt as the decoder takes it, given the features of the images in it.
    pub(super) fn embed(&self, ids: &[u32], features: &[Tensor]) -> Result<Tensor, EngineError> {
        let features = if features.is_empty() { None } else { Some(Tensor::cat(features, 0)?) };
        self.decoder.splice(ids, &self.blocks(ids), features.as_ref(), 0..ids.len())
    }

    /// A request in tokens, once it is known to fit.
    pub(super) fn script(&self, request: &Request) -> Result<Vec<Section>, EngineError> {
        let section = |passage| match passage {
            Passage::Read(text) => self.tokens.encode(&text).map(Section::Read),
            Passage::Write(form) => {
                let tokens_max = request.settings.tokens_max_of(&form);
                self.constraint(&form).map(|constraint| Section::Write(constraint, tokens_max))
            }
        };
        let script: Vec<Section> =
            self.tokens.markers().script(request).into_iter().map(section).collect::<Result<_, _>>()?;
        let room = |section: &Section| match section {
            Section::Read(ids) => ids.len(),
            Section::Write(_, tokens_max) => *tokens_max,
        };
        let (needed, limit) = (script.iter().map(room).sum(), self.config.text.context);
        if needed > limit { Err(EngineError::PromptTooLong { needed, limit }) } else { Ok(script) }
    }

    /// Rows of the features of one image, and their width.
    pub(super) fn features_shape(&self) -> (usize, usize) {
        (self.config.image_tokens, self.config.text.hidden)
    }

    pub(super) fn device(&self) -> &Device {
        self.decoder.device()
    }

    pub(super) fn constraint(&self, form: &Form) -> Result<Constraint, EngineError> {
        self.grammar.constraint(form)
    }

    /// Memory that the keys and values of a request take, about.
    pub(super) fn cache_bytes(&self, request: &Request) -> usize {
        let text = request.text_bytes() / TEXT_BYTES_PER_TOKEN;
        let images = request.images().count() * (self.config.image_tokens + IMAGE_FRAME_TOKENS);
        let answers: usize = request.open().map(|form| request.settings.tokens_max_of(form)).sum();
        self.config.text.cache_bytes(text + images + answers, self.prefill_tokens_max)
    }
}
