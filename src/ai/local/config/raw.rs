//! The keys of `config.json` as they are written, with the defaults of transformers' classes
//! `Gemma3TextConfig`, `SiglipVisionConfig` and `Gemma3Config`.

use serde::Deserialize;

use super::{LoadError, PATTERN, Rope, Span, TokenList, refusal, require, spans_of_pattern};

#[derive(Deserialize)]
pub(super) struct RawConfig {
    #[serde(default = "gemma3")]
    model_type: String,
    pub(super) text_config: RawText,
    pub(super) vision_config: RawVision,
    #[serde(default = "mm_tokens_per_image")]
    pub(super) mm_tokens_per_image: usize,
    #[serde(default = "image_token_index")]
    pub(super) image_token_index: u32,
    eos_token_id: Option<TokenList>,
    tie_word_embeddings: Option<bool>,
    quantization_config: Option<serde_json::Value>,
    #[serde(rename = "_name_or_path")]
    pub(super) name_or_path: Option<String>,
}

fn gemma3() -> String {
    "gemma3".to_owned()
}

fn mm_tokens_per_image() -> usize {
    256
}

fn image_token_index() -> u32 {
    262_144
}

#[derive(Deserialize)]
#[serde(default)]
pub(super) struct RawText {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) num_key_value_heads: usize,
    pub(super) head_dim: usize,
    pub(super) rms_norm_eps: f64,
    pub(super) query_pre_attn_scalar: f64,
    pub(super) sliding_window: usize,
    pub(super) max_position_embeddings: usize,
    hidden_activation: String,
    attention_bias: bool,
    attn_logit_softcapping: Option<f64>,
    final_logit_softcapping: Option<f64>,
    use_bidirectional_attention: Option<bool>,
    sliding_window_pattern: Option<usize>,
    #[serde(rename = "_sliding_window_pattern")]
    saved_sliding_window_pattern: Option<usize>,
    layer_types: Option<Vec<String>>,
    rope_theta: f64,
    rope_local_base_freq: f64,
    rope_scaling: Option<RawRope>,
    rope_parameters: Option<RawRopes>,
    eos_token_id: Option<TokenList>,
}

impl Default for RawText {
    fn default() -> Self {
        Self {
            vocab_size: 262_208,
            hidden_size: 2304,
            intermediate_size: 9216,
            num_hidden_layers: 26,
            num_attention_heads: 8,
            num_key_value_heads: 4,
            head_dim: 256,
            rms_norm_eps: 1e-6,
            query_pre_attn_scalar: 256.0,
            sliding_window: 4096,
            max_position_embeddings: 131_072,
            hidden_activation: GELU_TANH.to_owned(),
            attention_bias: false,
            attn_logit_softcapping: None,
            final_logit_softcapping: None,
            use_bidirectional_attention: None,
            sliding_window_pattern: None,
            saved_sliding_window_pattern: None,
            layer_types: None,
            rope_theta: 1e6,
            rope_local_base_freq: 1e4,
            rope_scaling: None,
            rope_parameters: None,
            eos_token_id: None,
        }
    }
}

const GELU_TANH: &str = "gelu_pytorch_tanh";

/// One entry of `rope_scaling` or `rope_parameters`.
#[derive(Deserialize, Default)]
struct RawRope {
    rope_type: Option<String>,
    /// The older spelling of `rope_type`; some files carry both.
    #[serde(rename = "type")]
    kind: Option<String>,
    factor: Option<f64>,
    rope_theta: Option<f64>,
}

#[derive(Deserialize)]
struct RawRopes {
    full_attention: RawRope,
    sliding_attention: RawRope,
}

#[derive(Deserialize)]
#[serde(default)]
pub(super) struct RawVision {
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) image_size: usize,
    pub(super) patch_size: usize,
    pub(super) layer_norm_eps: f64,
    num_channels: usize,
    hidden_act: String,
}

impl Default for RawVision {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            image_size: 224,
            patch_size: 16,
            layer_norm_eps: 1e-6,
            num_channels: 3,
            hidden_act: GELU_TANH.to_owned(),
        }
    }
}

impl RawConfig {
    pub(super) fn stops(&self) -> Vec<u32> {
        let lists = [&self.eos_token_id, &self.text_config.eos_token_id];
        let mut stops: Vec<u32> =
            lists.into_iter().flatten().flat_map(|list| list.clone().into_vec()).collect();
        stops.sort_unstable();
        stops.dedup();
        stops
    }

    /// A value the forward pass does not honour would give plausible, wrong answers.
    pub(super) fn refuse_unsupported(&self) -> Result<(), LoadError> {
        require(self.model_type == "gemma3", "model_type", "is not gemma3")?;
        require(
            self.tie_word_embeddings != Some(false),
            "tie_word_embeddings",
            "is false: a separate output matrix is not supported",
        )?;
        require(
            self.quantization_config.is_none(),
            "quantization_config",
            "is set: quantised weights are not supported",
        )?;
        self.text_config.refuse_unsupported()?;
        self.vision_config.refuse_unsupported()
    }
}

impl RawText {
    fn refuse_unsupported(&self) -> Result<(), LoadError> {
        let key = |name: &str| format!("text_config.{name}");
        require(self.hidden_activation == GELU_TANH, &key("hidden_activation"), "is not gelu_pytorch_tanh")?;
        require(!self.attention_bias, &key("attention_bias"), "is true")?;
        require(self.attn_logit_softcapping.is_none(), &key("attn_logit_softcapping"), "is set")?;
        require(self.final_logit_softcapping.is_none(), &key("final_logit_softcapping"), "is set")?;
        require(
            self.use_bidirectional_attention != Some(true),
            &key("use_bidirectional_attention"),
            "is true",
        )
    }

    pub(super) fn spans(&self) -> Result<Vec<Span>, LoadError> {
        let Some(types) = &self.layer_types else {
            let written = self.sliding_window_pattern.or(self.saved_sliding_window_pattern);
            return Ok(spans_of_pattern(self.num_hidden_layers, written.unwrap_or(PATTERN)));
        };
        require(
            types.len() == self.num_hidden_layers,
            "text_config.layer_types",
            "does not have num_hidden_layers entries",
        )?;
        types.iter().map(|name| span_named(name)).collect()
    }

    /// Rotary embeddings of the global and of the sliding layers.
    pub(super) fn ropes(&self) -> Result<(Rope, Rope), LoadError> {
        if let Some(ropes) = &self.rope_parameters {
            let global = ropes.full_attention.rope(self.rope_theta)?;
            return Ok((global, ropes.sliding_attention.rope(self.rope_local_base_freq)?));
        }
        let scaling = self.rope_scaling.as_ref().map(|raw| raw.rope(self.rope_theta)).transpose()?;
        let global = scaling.unwrap_or(Rope { base: self.rope_theta, factor: 1.0 });
        Ok((global, Rope { base: self.rope_local_base_freq, factor: 1.0 }))
    }
}

impl RawRope {
    fn rope(&self, base: f64) -> Result<Rope, LoadError> {
        let factor = match self.rope_type.as_ref().or(self.kind.as_ref()).map(String::as_str) {
            None | Some("default") => 1.0,
            Some("linear") => self.factor.unwrap_or(1.0),
            Some(_) => return Err(refusal("rope_type", "is neither default nor linear")),
        };
        require(factor > 0.0, "factor", "is not positive")?;
        Ok(Rope { base: self.rope_theta.unwrap_or(base), factor })
    }
}

impl RawVision {
    fn refuse_unsupported(&self) -> Result<(), LoadError> {
        require(self.num_channels == 3, "vision_config.num_channels", "is not 3")?;
        require(self.hidden_act == GELU_TANH, "vision_config.hidden_act", "is not gelu_pytorch_tanh")
    }
}

fn span_named(name: &str) -> Result<Span, LoadError> {
    match name {
        "full_attention" => Ok(Span::Global),
        "sliding_attention" => Ok(Span::Sliding),
        _ => Err(refusal("text_config.layer_types", "names an unknown kind of layer")),
    }
}
