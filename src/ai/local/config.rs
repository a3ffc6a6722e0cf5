//! `config.json` of a Gemma 3 multimodal model, in the two dialects that are about.
//!
//! Models on the hub write `rope_theta`, `rope_local_base_freq`, `rope_scaling` and
//! `sliding_window_pattern`, and leave out whatever equals the library's default. Models saved by
//! transformers 5 write `rope_parameters` and `layer_types`. Both end in one [`ModelConfig`].

use serde::Deserialize;

use super::error::LoadError;
use super::files::{CONFIG, ModelFiles};
use super::gguf;
use super::layout::Layout;
use raw::{RawConfig, RawText, RawVision};

mod raw;

/// Every so many layers one is global, where nothing else is said.
pub(super) const PATTERN: usize = 6;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct ModelConfig {
    pub(super) text: TextConfig,
    pub(super) vision: VisionConfig,
    /// Tokens that one image becomes in the prompt; a square number.
    pub(super) image_tokens: usize,
    /// `<image_soft_token>`: the placeholder whose embedding an image feature replaces.
    pub(super) image_token: u32,
    /// Tokens that end an answer, as far as this file knows them.
    pub(super) stops: Vec<u32>,
    pub(super) name: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct TextConfig {
    /// Rows of the embedding table; the tokenizer may have fewer entries.
    pub(super) vocabulary: usize,
    pub(super) hidden: usize,
    pub(super) intermediate: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) norm_eps: f64,
    /// What scores are multiplied with: `query_pre_attn_scalar ^ -0.5`, not the head width's.
    pub(super) score_scale: f64,
    /// Keys that a query of a sliding layer sees, itself included.
    pub(super) window: usize,
    pub(super) layers: Vec<Span>,
    pub(super) global_rope: Rope,
    pub(super) sliding_rope: Rope,
    pub(super) context: usize,
    pub(super) activation: Activation,
}

/// How far back a layer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    Sliding,
    Global,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rope {
    pub(super) base: f64,
    /// Linear scaling: positions are divided by it.
    pub(super) factor: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    GeluTanh,
    /// What the parity tests put in its place to see that they notice.
    #[cfg(test)]
    Silu,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct VisionConfig {
    pub(super) hidden: usize,
    pub(super) intermediate: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    /// Side of the square input, in pixels.
    pub(super) image_size: usize,
    pub(super) patch_size: usize,
    pub(super) norm_eps: f64,
}

impl ModelConfig {
    pub(super) fn parse(json: &[u8]) -> Result<Self, LoadError> {
        let raw: RawConfig = serde_json::from_slice(json)
            .map_err(|source| LoadError::ParseJson { file: CONFIG.into(), source })?;
        raw.refuse_unsupported()?;
        let config = Self {
            text: TextConfig::from_raw(&raw.text_config)?,
            vision: VisionConfig::from_raw(&raw.vision_config),
            image_tokens: raw.mm_tokens_per_image,
            image_token: raw.image_token_index,
            stops: raw.stops(),
            name: raw.name_or_path.filter(|name| !name.is_empty()),
        };
        config.check()?;
        Ok(config)
    }

    /// From whichever form the files have.
    pub(super) fn load(files: &ModelFiles) -> Result<Self, LoadError> {
        match files.layout()? {
            Layout::Safetensors => Self::parse(&files.read(CONFIG)?),
            Layout::Gguf { text, vision } => {
                let vision = vision.ok_or_else(|| LoadError::NoVisionTower(text.clone()))?;
                gguf::config::model(&files.gguf(&text)?, &files.gguf(&vision)?)
            }
        }
    }

    /// Patches and image tokens per side of the square.
    pub(super) fn image_sides(&self) -> (usize, usize) {
        (self.vision.side(), self.image_tokens.isqrt())
    }

    fn check(&self) -> Result<(), LoadError> {
        let refused = |part: &str, (key, problem): Fault| refusal(&format!("{part}.{key}"), problem);
        self.text.check().map_err(|fault| refused("text_config", fault))?;
        self.vision.check().map_err(|fault| refused("vision_config", fault))?;
        let (patches, tokens) = self.image_sides();
        require(
            tokens > 0 && tokens * tokens == self.image_tokens,
            "mm_tokens_per_image",
            "is not a square number",
        )?;
        require(patches % tokens == 0, "mm_tokens_per_image", "does not divide the patches of an image")?;
        let placeholder = self.image_token as usize;
        require(placeholder < self.text.vocabulary, "image_token_index", "is outside the vocabulary")
    }
}

impl TextConfig {
    /// Memory for the keys and values of so many positions that are read at most `chunk` at a time.
    pub(super) fn cache_bytes(&self, positions: usize, chunk: usize) -> usize {
        let row = 2 * self.kv_heads * self.head_dim * size_of::<f32>();
        let rows = |span: &Span| match span {
            Span::Sliding => positions.min(2 * self.window + chunk),
            Span::Global => positions,
        };
        self.layers.iter().map(rows).sum::<usize>() * row
    }

    fn from_raw(raw: &RawText) -> Result<Self, LoadError> {
        let (global_rope, sliding_rope) = raw.ropes()?;
        Ok(Self {
            vocabulary: raw.vocab_size,
            hidden: raw.hidden_size,
            intermediate: raw.intermediate_size,
            heads: raw.num_attention_heads,
            kv_heads: raw.num_key_value_heads,
            head_dim: raw.head_dim,
            norm_eps: raw.rms_norm_eps,
            score_scale: raw.query_pre_attn_scalar.powf(-0.5),
            window: raw.sliding_window,
            layers: raw.spans()?,
            global_rope,
            sliding_rope,
            context: raw.max_position_embeddings,
            activation: Activation::GeluTanh,
        })
    }

    /// Whether it can be computed at all.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let grouped = self.kv_heads > 0 && self.heads.is_multiple_of(self.kv_heads);
        hold(grouped, "num_key_value_heads", "does not divide num_attention_heads")?;
        hold(self.heads > 0, "num_attention_heads", "is 0")?;
        let even = self.head_dim > 0 && self.head_dim.is_multiple_of(2);
        hold(even, "head_dim", "is not a positive even number")?;
        hold(self.window > 0, "sliding_window", "is 0")?;
        hold(self.score_scale.is_finite(), "query_pre_attn_scalar", "is not positive")
    }
}

impl VisionConfig {
    /// Patches per side.
    pub(super) fn side(&self) -> usize {
        self.image_size / self.patch_size
    }

    pub(super) fn patches(&self) -> usize {
        self.side() * self.side()
    }

    /// Multiplications that one layer takes.
    pub(super) fn layer_products(&self) -> usize {
        let of_a_patch = 2 * self.hidden + self.intermediate + self.patches();
        2 * self.patches() * self.hidden * of_a_patch
    }

    fn from_raw(raw: &RawVision) -> Self {
        Self {
            hidden: raw.hidden_size,
            intermediate: raw.intermediate_size,
            layers: raw.num_hidden_layers,
            heads: raw.num_attention_heads,
            image_size: raw.image_size,
            patch_size: raw.patch_size,
            norm_eps: raw.layer_norm_eps,
        }
    }

    /// Whether it can be computed at all.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let divides = |part: usize, whole: usize| part > 0 && whole > 0 && whole.is_multiple_of(part);
        hold(divides(self.patch_size, self.image_size), "patch_size", "does not divide image_size")?;
        hold(divides(self.heads, self.hidden), "num_attention_heads", "does not divide hidden_size")
    }
}

/// Layer by layer, every `pattern`th one global.
pub(super) fn spans_of_pattern(layers: usize, pattern: usize) -> Vec<Span> {
    let is_global = |layer: usize| (layer + 1).is_multiple_of(pattern.max(1));
    (0..layers).map(|layer| if is_global(layer) { Span::Global } else { Span::Sliding }).collect()
}

/// A key of the configuration, and what is wrong with its value.
pub(super) type Fault = (&'static str, &'static str);

fn hold(holds: bool, key: &'static str, problem: &'static str) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err((key, problem)) }
}

fn require(holds: bool, key: &str, problem: &str) -> Result<(), LoadError> {
    if holds { Ok(()) } else { Err(refusal(key, problem)) }
}

fn refusal(key: &str, problem: &str) -> LoadError {
    LoadError::Config { file: CONFIG.into(), key: key.to_owned(), problem: problem.to_owned() }
}

/// A field that holds one token or a list of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum TokenList {
    One(u32),
    Many(Vec<u32>),
}

impl TokenList {
    pub(super) fn into_vec(self) -> Vec<u32> {
        match self {
            Self::One(id) => vec![id],
            Self::Many(ids) => ids,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V5: &[u8] = include_bytes!("../../../tests/it/golden/tiny-gemma3/config.json");
    const HUB: &[u8] = include_bytes!("../../../tests/it/golden/tiny-gemma3/config.hub.json");

    fn refused(edit: impl FnOnce(&mut serde_json::Value)) -> String {
        let mut json: serde_json::Value = serde_json::from_slice(HUB).unwrap();
        edit(&mut json);
        ModelConfig::parse(&serde_json::to_vec(&json).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn both_dialects_mean_the_same_model() {
        let config = ModelConfig::parse(HUB).unwrap();
        assert_eq!(config, ModelConfig::parse(V5).unwrap());
        assert_eq!(config.text.global_rope, Rope { base: 1e6, factor: 8.0 });
        assert_eq!(config.text.sliding_rope, Rope { base: 1e4, factor: 1.0 });
        assert_eq!(config.text.layers.iter().position(|&span| span == Span::Global), Some(5));
        assert_eq!(config.stops, [1, 5]);
    }

    #[test]
    fn absent_keys_take_the_library_defaults() {
        let config = ModelConfig::parse(br#"{"text_config":{"hidden_size":2560,"num_hidden_layers":34},"vision_config":{"hidden_size":1152,"image_size":896,"patch_size":14,"num_attention_heads":16}}"#).unwrap();
        assert_eq!((config.text.head_dim, config.text.kv_heads, config.text.window), (256, 4, 4096));
        assert_eq!((config.text.vocabulary, config.image_token), (262_208, 262_144));
        assert_eq!(config.text.layers.iter().filter(|&&span| span == Span::Global).count(), 5);
    }

    #[test]
    fn what_the_engine_does_not_compute_is_refused_by_key() {
        assert!(
            refused(|c| c["text_config"]["final_logit_softcapping"] = 30.0.into())
                .contains("final_logit_softcapping")
        );
        assert!(
            refused(|c| c["text_config"]["hidden_activation"] = "silu".into()).contains("hidden_activation")
        );
        assert!(
            refused(|c| c["text_config"]["rope_scaling"]["rope_type"] = "yarn".into()).contains("rope_type")
        );
        assert!(
            refused(|c| c["vision_config"]["patch_size"] = 13.into()).contains("vision_config.patch_size")
        );
        assert!(
            refused(|c| c["quantization_config"] = serde_json::json!({})).contains("quantization_config")
        );
        assert!(refused(|c| c["model_type"] = "llama".into()).contains("model_type"));
    }
}
