//! Writes the tiny random model as GGUF, so that tests can hold both forms against each other.

use std::collections::HashMap;
use std::path::Path;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use serde_json::Value;

use super::names;
use crate::ai::local::fixture;

/// A file under construction.
#[derive(Default)]
pub(in crate::ai::local) struct Writer {
    entries: u64,
    metadata: Vec<u8>,
    pub(in crate::ai::local) tensors: Vec<Written>,
}

pub(in crate::ai::local) struct Written {
    pub(in crate::ai::local) name: String,
    pub(in crate::ai::local) shape: Vec<usize>,
    /// ggml's number of the type.
    pub(in crate::ai::local) kind: u32,
    pub(in crate::ai::local) data: Vec<u8>,
}

impl Writer {
    fn entry(&mut self, key: &str, kind: u32, value: &[u8]) {
        self.entries += 1;
        self.metadata.extend([text(key).as_slice(), &kind.to_le_bytes(), value].concat());
    }

    pub(super) fn whole(&mut self, key: &str, value: usize) {
        self.entry(key, 4, &(value as u32).to_le_bytes());
    }

    pub(super) fn real(&mut self, key: &str, value: f64) {
        self.entry(key, 6, &(value as f32).to_le_bytes());
    }

    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.entry(key, 8, &text(value));
    }

    fn list(&mut self, key: &str, kind: u32, elements: &[Vec<u8>]) {
        let head = [kind.to_le_bytes().to_vec(), (elements.len() as u64).to_le_bytes().to_vec()].concat();
        self.entry(key, 9, &[head, elements.concat()].concat());
    }

    /// A row that is no whole number of blocks stays f32.
    pub(super) fn tensor(&mut self, name: &str, tensor: &Tensor, kind: GgmlDType) {
        let whole_blocks = tensor.dims().last().unwrap().is_multiple_of(kind.block_size());
        let kind = if whole_blocks { kind } else { GgmlDType::F32 };
        let (kind, data) = encoded(tensor, kind);
        self.tensors.push(Written { name: name.to_owned(), shape: tensor.dims().to_vec(), kind, data });
    }

    pub(in crate::ai::local) fn save(&self, path: &Path) {
        let mut file = b"GGUF".to_vec();
        file.extend(3_u32.to_le_bytes());
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend(self.entries.to_le_bytes());
        file.extend(&self.metadata);
        let mut offset = 0_u64;
        for tensor in &self.tensors {
            file.extend([text(&tensor.name), (tensor.shape.len() as u32).to_le_bytes().to_vec()].concat());
            file.extend(tensor.shape.iter().rev().flat_map(|&side| (side as u64).to_le_bytes()));
            file.extend([tensor.kind.to_le_bytes().as_slice(), &offset.to_le_bytes()].concat());
            offset += (tensor.data.len() as u64).next_multiple_of(32);
        }
        for tensor in &self.tensors {
            file.resize(file.len().next_multiple_of(32), 0);
            file.extend(&tensor.data);
        }
        std::fs::write(path, file).unwrap();
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn encoded(tensor: &Tensor, kind: GgmlDType) -> (u32, Vec<u8>) {
    let flat = tensor.flatten_all().unwrap();
    let halves = |dtype| flat.to_dtype(dtype).unwrap();
    match kind {
        GgmlDType::F32 => (0, flat.to_vec1::<f32>().unwrap().iter().flat_map(|v| v.to_le_bytes()).collect()),
        GgmlDType::F16 => {
            let values = halves(DType::F16).to_vec1::<half::f16>().unwrap();
            (1, values.iter().flat_map(|v| v.to_le_bytes()).collect())
        }
        GgmlDType::BF16 => {
            let values = halves(DType::BF16).to_vec1::<half::bf16>().unwrap();
            (30, values.iter().flat_map(|v| v.to_le_bytes()).collect())
        }
        GgmlDType::Q8_0 => (8, QTensor::quantize(tensor, kind).unwrap().data().unwrap().into_owned()),
        GgmlDType::Q5_0 => (6, QTensor::quantize(tensor, kind).unwrap().data().unwrap().into_owned()),
        other => panic!("{other:?}"),
    }
}

/// `text.gguf` and `mmproj.gguf`, with the matrices of the decoder in `kind`.
pub(in crate::ai::local) fn save(folder: &Path, kind: GgmlDType) {
    decoder(kind).save(&folder.join("text.gguf"));
    tower().save(&folder.join("mmproj.gguf"));
}

fn tensors() -> HashMap<String, Tensor> {
    candle_core::safetensors::load(fixture::folder().join("model.safetensors"), &Device::Cpu).unwrap()
}

/// The scores of this architecture are always scaled by the width of a head; what the tiny model
/// has instead goes into the norm of its queries.
pub(in crate::ai::local) fn decoder(kind: GgmlDType) -> Writer {
    let (text, tensors) = (fixture::config().text, tensors());
    let mut writer = Writer::default();
    writer.text("general.architecture", super::TEXT);
    writer.text("general.name", "tiny");
    writer.whole("gemma3.block_count", text.layers.len());
    writer.whole("gemma3.context_length", text.context);
    writer.whole("gemma3.embedding_length", text.hidden);
    writer.whole("gemma3.feed_forward_length", text.intermediate);
    writer.whole("gemma3.attention.head_count", text.heads);
    writer.whole("gemma3.attention.head_count_kv", text.kv_heads);
    writer.whole("gemma3.attention.key_length", text.head_dim);
    writer.whole("gemma3.attention.value_length", text.head_dim);
    writer.whole("gemma3.attention.sliding_window", text.window);
    writer.real("gemma3.attention.layer_norm_rms_epsilon", text.norm_eps);
    writer.real("gemma3.rope.freq_base", text.global_rope.base);
    writer.text("gemma3.rope.scaling.type", "linear");
    writer.real("gemma3.rope.scaling.factor", text.global_rope.factor);
    vocabulary(&mut writer);
    let to_width_of_head = text.score_scale * (text.head_dim as f64).sqrt();
    for name in names::text_names(text.layers.len()) {
        let tensor = &tensors[&names::text(&name).unwrap()];
        match tensor.dims().len() {
            1 if name.contains("attn_q_norm") => {
                let scale = ((tensor + 1.0).unwrap() * to_width_of_head).unwrap();
                writer.tensor(&name, &scale, GgmlDType::F32);
            }
            1 => writer.tensor(&name, &(tensor + 1.0).unwrap(), GgmlDType::F32),
            _ => writer.tensor(&name, tensor, kind),
        }
    }
    writer
}

/// In the form that early converters wrote: with the two matrices of the feed-forward exchanged.
fn tower() -> Writer {
    let (config, tensors) = (fixture::config(), tensors());
    let vision = &config.vision;
    let (patches, tokens) = config.image_sides();
    let mut writer = Writer::default();
    writer.text("general.architecture", super::VISION);
    writer.text("clip.projector_type", "gemma3");
    writer.whole("clip.vision.image_size", vision.image_size);
    writer.whole("clip.vision.patch_size", vision.patch_size);
    writer.whole("clip.vision.embedding_length", vision.hidden);
    writer.whole("clip.vision.feed_forward_length", vision.intermediate);
    writer.whole("clip.vision.block_count", vision.layers);
    writer.whole("clip.vision.projection_dim", config.text.hidden);
    writer.whole("clip.vision.projector.scale_factor", patches / tokens);
    writer.whole("clip.vision.attention.head_count", vision.heads);
    writer.real("clip.vision.attention.layer_norm_epsilon", vision.norm_eps);
    for key in ["clip.vision.image_mean", "clip.vision.image_std"] {
        writer.list(key, 6, &[0.5_f32, 0.5, 0.5].map(|value| value.to_le_bytes().to_vec()));
    }
    for name in names::vision_names(vision.layers) {
        let tensor = &tensors[&names::vision(&name, true).unwrap()];
        let is_norm = name == "mm.soft_emb_norm.weight";
        let tensor = if is_norm { (tensor + 1.0).unwrap() } else { tensor.clone() };
        writer.tensor(&name, &tensor, GgmlDType::F32);
    }
    writer
}

/// Pieces with scores, the way converters make them from `tokenizer.json`.
fn vocabulary(writer: &mut Writer) {
    let json = std::fs::read(fixture::folder().join("tokenizer.json")).unwrap();
    let json: Value = serde_json::from_slice(&json).unwrap();
    let mut ranks: HashMap<String, usize> = HashMap::new();
    for (rank, rule) in json["model"]["merges"].as_array().unwrap().iter().enumerate() {
        let pair = rule.as_array().map_or_else(
            || rule.as_str().unwrap().replacen(' ', "", 1),
            |pair| pair.iter().map(|part| part.as_str().unwrap()).collect(),
        );
        ranks.entry(pair).or_insert(rank);
    }
    let added = json["added_tokens"].as_array().unwrap();
    let mut pieces: Vec<(u64, String, u32)> = json["model"]["vocab"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, id)| !added.iter().any(|token| token["id"] == **id))
        .map(|(piece, id)| {
            (id.as_u64().unwrap(), piece.clone(), if piece.starts_with("<0x") { 6 } else { 1 })
        })
        .collect();
    pieces.extend(added.iter().map(|token| {
        let kind = if token["special"] == true { 3 } else { 4 };
        (token["id"].as_u64().unwrap(), token["content"].as_str().unwrap().to_owned(), kind)
    }));
    pieces.sort_unstable();
    let score = |piece: &String| -(*ranks.get(piece).unwrap_or(&9999) as f32);
    let texts: Vec<_> = pieces.iter().map(|(_, piece, _)| text(piece)).collect();
    let scores: Vec<_> = pieces.iter().map(|(_, piece, _)| score(piece).to_le_bytes().to_vec()).collect();
    let kinds: Vec<_> = pieces.iter().map(|(_, _, kind)| (*kind as i32).to_le_bytes().to_vec()).collect();
    writer.text("tokenizer.ggml.model", "llama");
    writer.list("tokenizer.ggml.tokens", 8, &texts);
    writer.list("tokenizer.ggml.scores", 6, &scores);
    writer.list("tokenizer.ggml.token_type", 5, &kinds);
    writer.whole("tokenizer.ggml.eos_token_id", 1);
}
