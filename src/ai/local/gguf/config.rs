//! A model's configuration from the metadata of its GGUF files.
//!
//! What llama.cpp holds to be part of the architecture is written nowhere: the base of the sliding
//! layers' rotation, every sixth layer being global, and the scale of the scores.

use super::metadata::Metadata;
use super::{Gguf, TEXT, VISION};
use crate::ai::local::config::{
    Activation, ModelConfig, PATTERN, Rope, TextConfig, VisionConfig, spans_of_pattern,
};
use crate::ai::local::error::LoadError;

const TABLE: &str = "token_embd.weight";
const IMAGE_TOKEN: &str = "<image_soft_token>";
const SLIDING_BASE: f64 = 1e4;
/// The 27B model alone has so many layers, and scales its scores by the width per head of the
/// residual stream instead of by the width of a head.
const LAYERS_OF_27B: usize = 62;
/// Patches per image token and side, where the file does not say.
const SCALE_FACTOR: usize = 4;
/// Mean and standard deviation that pixels are normalised with before they come here.
const PIXEL_NORM: f64 = 0.5;

/// Of both files.
pub(in crate::ai::local) fn model(text: &Gguf, vision: &Gguf) -> Result<ModelConfig, LoadError> {
    let metadata = &text.metadata;
    let (tower, image_tokens) = vision_config(&vision.metadata)?;
    let config = ModelConfig {
        text: text_config(text)?,
        vision: tower,
        image_tokens,
        image_token: image_token(metadata)?,
        stops: stops(metadata)?,
        name: metadata.text("general.name")?.map(str::to_owned).filter(|name| !name.is_empty()),
    };
    let width = vision.metadata.whole("clip.vision.projection_dim")?;
    if width.is_some_and(|width| width != config.text.hidden) {
        let problem = format!("is not {}, the width of the decoder", config.text.hidden);
        return Err(vision.metadata.refusal("clip.vision.projection_dim", &problem));
    }
    Ok(config)
}

/// Of the file with the decoder.
pub(in crate::ai::local) fn text_config(gguf: &Gguf) -> Result<TextConfig, LoadError> {
    let metadata = &gguf.metadata;
    require(metadata, "general.architecture", TEXT)?;
    for cap in ["gemma3.attn_logit_softcapping", "gemma3.final_logit_softcapping"] {
        if metadata.real(cap)?.is_some_and(|cap| cap != 0.0) {
            return Err(metadata.refusal(cap, "is set"));
        }
    }
    let table = gguf.tensors.get(TABLE).map(|table| table.shape.as_slice());
    let Some(&[vocabulary, _]) = table else {
        let (tensor, problem) = (TABLE.to_owned(), "is missing, or no matrix".to_owned());
        return Err(LoadError::Tensor { tensor, problem });
    };
    let (global_rope, sliding_rope) = ropes(metadata)?;
    let layers = metadata.need_whole("gemma3.block_count")?;
    let pattern = metadata.whole("gemma3.attention.sliding_window_pattern")?.unwrap_or(PATTERN);
    let config = heads(metadata, layers)?;
    let config = TextConfig {
        vocabulary,
        layers: spans_of_pattern(layers, pattern),
        global_rope,
        sliding_rope,
        ..config
    };
    config.check().map_err(|(key, problem)| metadata.refusal(key, problem))?;
    Ok(config)
}

/// The widths; what else a configuration holds is for the caller to fill in.
fn heads(metadata: &Metadata, layers: usize) -> Result<TextConfig, LoadError> {
    let need = |key: &str| metadata.need_whole(&format!("gemma3.{key}"));
    let (hidden, heads) = (need("embedding_length")?, need("attention.head_count")?);
    let head_dim = need("attention.key_length")?;
    if need("attention.value_length")? != head_dim {
        return Err(metadata.refusal("gemma3.attention.value_length", "is not the key length"));
    }
    let scaled_by = if layers == LAYERS_OF_27B { hidden / heads.max(1) } else { head_dim };
    let none = Rope { base: SLIDING_BASE, factor: 1.0 };
    Ok(TextConfig {
        vocabulary: 0,
        hidden,
        intermediate: need("feed_forward_length")?,
        heads,
        kv_heads: need("attention.head_count_kv")?,
        head_dim,
        norm_eps: metadata.need_real("gemma3.attention.layer_norm_rms_epsilon")?,
        score_scale: (scaled_by as f64).powf(-0.5),
        window: need("attention.sliding_window")?,
        layers: Vec::new(),
        global_rope: none,
        sliding_rope: none,
        context: need("context_length")?,
        activation: Activation::GeluTanh,
    })
}

/// Rotary embeddings of the global and of the sliding layers; only the former are scaled.
fn ropes(metadata: &Metadata) -> Result<(Rope, Rope), LoadError> {
    let base = metadata.need_real("gemma3.rope.freq_base")?;
    let factor = match metadata.text("gemma3.rope.scaling.type")? {
        None => metadata.real("gemma3.rope.scale_linear")?.unwrap_or(1.0),
        Some("none") => 1.0,
        Some("linear") => metadata.need_real("gemma3.rope.scaling.factor")?,
        Some(_) => return Err(metadata.refusal("gemma3.rope.scaling.type", "is neither none nor linear")),
    };
    if factor <= 0.0 {
        return Err(metadata.refusal("gemma3.rope.scaling.factor", "is not positive"));
    }
    let sliding = metadata.real("gemma3.rope.freq_base_swa")?.unwrap_or(SLIDING_BASE);
    Ok((Rope { base, factor }, Rope { base: sliding, factor: 1.0 }))
}

/// Of the file with the vision tower; and how many tokens an image becomes.
fn vision_config(metadata: &Metadata) -> Result<(VisionConfig, usize), LoadError> {
    require(metadata, "general.architecture", VISION)?;
    let of_projector = ["clip.projector_type", "clip.vision.projector_type"];
    let projector = if metadata.text(of_projector[0])?.is_some() { of_projector[0] } else { of_projector[1] };
    require(metadata, projector, TEXT)?;
    for key in ["clip.vision.image_mean", "clip.vision.image_std"] {
        let values = metadata.numbers(key)?.unwrap_or_default();
        if values.iter().any(|value| *value != PIXEL_NORM) {
            return Err(metadata.refusal(key, "is not 0.5 for every channel"));
        }
    }
    if metadata.flag("clip.use_silu")? == Some(true) {
        return Err(metadata.refusal("clip.use_silu", "is true"));
    }
    let need = |key: &str| metadata.need_whole(&format!("clip.vision.{key}"));
    let config = VisionConfig {
        hidden: need("embedding_length")?,
        intermediate: need("feed_forward_length")?,
        layers: need("block_count")?,
        heads: need("attention.head_count")?,
        image_size: need("image_size")?,
        patch_size: need("patch_size")?,
        norm_eps: metadata.need_real("clip.vision.attention.layer_norm_epsilon")?,
    };
    config.check().map_err(|(key, problem)| metadata.refusal(key, problem))?;
    let key = "clip.vision.projector.scale_factor";
    let scale = metadata.whole(key)?.unwrap_or(SCALE_FACTOR);
    if scale == 0 || !config.side().is_multiple_of(scale) {
        return Err(metadata.refusal(key, "does not divide the patches of an image"));
    }
    let side = config.side() / scale;
    Ok((config, side * side))
}

/// The placeholder for image features. Some files leave it out, as nothing ever looks it up: it is
/// the entry after the last one then.
fn image_token(metadata: &Metadata) -> Result<u32, LoadError> {
    let key = "tokenizer.ggml.tokens";
    let tokens = metadata.texts(key)?.ok_or_else(|| metadata.refusal(key, "is missing"))?;
    let place = tokens.iter().position(|token| token == IMAGE_TOKEN).unwrap_or(tokens.len());
    u32::try_from(place).map_err(|_| metadata.refusal(key, "has too many entries"))
}

fn stops(metadata: &Metadata) -> Result<Vec<u32>, LoadError> {
    let mut stops = Vec::new();
    for key in ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"] {
        let stop = metadata.whole(key)?.map(u32::try_from).transpose();
        stops.extend(stop.map_err(|_| metadata.refusal(key, "is no token"))?);
    }
    Ok(stops)
}

fn require(metadata: &Metadata, key: &str, value: &str) -> Result<(), LoadError> {
    match metadata.text(key)? {
        Some(written) if written == value => Ok(()),
        _ => Err(metadata.refusal(key, &format!("is not {value}"))),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::GgmlDType;
    use candle_core::{DType, Device, Tensor};

    use super::super::writing::{self, Writer};
    use super::*;
    use crate::ai::local::bytes::Bytes;
    use crate::ai::local::config::Span;

    fn written(writer: &Writer) -> Gguf {
        let file = tempfile::NamedTempFile::new().unwrap();
        writer.save(file.path());
        Gguf::parse("m.gguf", &Bytes::map(file.path()).unwrap()).unwrap()
    }

    /// As converters write it; the embedding table has a few rows only.
    fn of_shape(layers: usize, hidden: usize, [heads, kv_heads, width]: [usize; 3]) -> TextConfig {
        let mut writer = Writer::default();
        writer.text("general.architecture", TEXT);
        writer.whole("gemma3.block_count", layers);
        writer.whole("gemma3.context_length", 131_072);
        writer.whole("gemma3.embedding_length", hidden);
        writer.whole("gemma3.feed_forward_length", 4 * hidden);
        writer.whole("gemma3.attention.head_count", heads);
        writer.whole("gemma3.attention.head_count_kv", kv_heads);
        writer.whole("gemma3.attention.key_length", width);
        writer.whole("gemma3.attention.value_length", width);
        writer.whole("gemma3.attention.sliding_window", 1024);
        writer.real("gemma3.attention.layer_norm_rms_epsilon", 1e-6);
        writer.real("gemma3.rope.freq_base", 1e6);
        writer.text("gemma3.rope.scaling.type", "linear");
        writer.real("gemma3.rope.scaling.factor", 8.0);
        let table = Tensor::zeros((7, hidden), DType::F32, &Device::Cpu).unwrap();
        writer.tensor(TABLE, &table, GgmlDType::F16);
        text_config(&written(&writer)).unwrap()
    }

    #[test]
    fn what_no_file_writes_is_part_of_the_architecture() {
        let config = of_shape(34, 2560, [8, 4, 256]);
        assert_eq!(config.sliding_rope, Rope { base: 1e4, factor: 1.0 });
        assert_eq!(config.global_rope, Rope { base: 1e6, factor: 8.0 });
        assert_eq!(config.layers.iter().filter(|&&span| span == Span::Global).count(), 5);
        assert_eq!((config.vocabulary, config.score_scale), (7, 256_f64.powf(-0.5)));
    }

    #[test]
    fn the_largest_model_scales_its_scores_by_another_width() {
        let config = of_shape(62, 5376, [32, 16, 128]);
        assert_eq!(config.score_scale, 168_f64.powf(-0.5));
        assert_eq!((config.head_dim, config.layers.len()), (128, 62));
    }

    #[test]
    fn what_the_engine_does_not_compute_is_refused_by_key() {
        let refusal = |key: &str, value: &str| {
            let mut writer = writing::decoder(GgmlDType::F32);
            writer.text(key, value);
            text_config(&written(&writer)).unwrap_err().to_string()
        };
        assert!(
            refusal("gemma3.rope.scaling.type", "yarn").starts_with("m.gguf: gemma3.rope.scaling.type is")
        );
        assert!(refusal("general.architecture", "llama").contains("is not gemma3"));
        assert!(refusal("gemma3.attention.sliding_window", "1024").contains("is no whole number"));
    }
}
