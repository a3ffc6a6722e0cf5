//! The tensors of a Gemma 3 multimodal model: every name and shape, stated once.
//!
//! Names here are canonical. On disk two dialects are about: the hub's
//! `vision_tower.vision_model.…` and the one transformers 5 saves, `vision_tower.…`; some files
//! put `model.` in front of everything.

use std::collections::BTreeMap;

use super::config::{ModelConfig, TextConfig, VisionConfig};

pub(super) const EMBEDDINGS: &str = "language_model.model.embed_tokens.weight";
/// The matrix that makes logits, where a GGUF file has one of its own.
pub(super) const OUTPUT: &str = "language_model.lm_head.weight";
pub(super) const FINAL_NORM: &str = "language_model.model.norm";
pub(super) const PROJECTION: &str = "multi_modal_projector.mm_input_projection_weight";
pub(super) const PROJECTOR_NORM: &str = "multi_modal_projector.mm_soft_emb_norm";
pub(super) const PATCHES: &str = "vision_tower.embeddings.patch_embedding";
pub(super) const POSITIONS: &str = "vision_tower.embeddings.position_embedding.weight";
pub(super) const POST_NORM: &str = "vision_tower.post_layernorm";

pub(super) type Shapes = BTreeMap<String, Vec<usize>>;

pub(super) fn text_layer(layer: usize) -> String {
    format!("language_model.model.layers.{layer}")
}

pub(super) fn vision_layer(layer: usize) -> String {
    format!("vision_tower.encoder.layers.{layer}")
}

/// What a file calls a tensor, turned into the name used here.
pub(super) fn canonical(name: &str) -> String {
    let bare = name.strip_prefix("model.").unwrap_or(name);
    if let Some(rest) = bare.strip_prefix("vision_tower.vision_model.") {
        return format!("vision_tower.{rest}");
    }
    match bare.strip_prefix("language_model.") {
        Some(rest) if !rest.starts_with("model.") && rest != "lm_head.weight" => {
            format!("language_model.model.{rest}")
        }
        _ => bare.to_owned(),
    }
}

/// A tensor that some writers add although it repeats the embeddings.
pub(super) fn is_tied_copy(canonical: &str) -> bool {
    matches!(canonical, "lm_head.weight" | "language_model.lm_head.weight")
}

pub(super) fn expected(config: &ModelConfig) -> Shapes {
    let mut shapes = Shapes::new();
    expect_vision(&mut shapes, &config.vision);
    expect_text(&mut shapes, &config.text);
    put(&mut shapes, format!("{PROJECTOR_NORM}.weight"), &[config.vision.hidden]);
    put(&mut shapes, PROJECTION.to_owned(), &[config.vision.hidden, config.text.hidden]);
    shapes
}

fn put(shapes: &mut Shapes, name: String, shape: &[usize]) {
    shapes.insert(name, shape.to_vec());
}

/// A matrix stored `[out, in]`, and its bias.
fn put_affine(shapes: &mut Shapes, name: &str, out: usize, input: usize) {
    put(shapes, format!("{name}.weight"), &[out, input]);
    put(shapes, format!("{name}.bias"), &[out]);
}

fn put_layer_norm(shapes: &mut Shapes, name: &str, width: usize) {
    put(shapes, format!("{name}.weight"), &[width]);
    put(shapes, format!("{name}.bias"), &[width]);
}

fn expect_vision(shapes: &mut Shapes, vision: &VisionConfig) {
    let (hidden, patch) = (vision.hidden, vision.patch_size);
    put(shapes, format!("{PATCHES}.weight"), &[hidden, 3, patch, patch]);
    put(shapes, format!("{PATCHES}.bias"), &[hidden]);
    put(shapes, POSITIONS.to_owned(), &[vision.patches(), hidden]);
    put_layer_norm(shapes, POST_NORM, hidden);
    for layer in (0..vision.layers).map(vision_layer) {
        for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            put_affine(shapes, &format!("{layer}.self_attn.{projection}"), hidden, hidden);
        }
        put_layer_norm(shapes, &format!("{layer}.layer_norm1"), hidden);
        put_layer_norm(shapes, &format!("{layer}.layer_norm2"), hidden);
        put_affine(shapes, &format!("{layer}.mlp.fc1"), vision.intermediate, hidden);
        put_affine(shapes, &format!("{layer}.mlp.fc2"), hidden, vision.intermediate);
    }
}

/// Of a decoder alone.
pub(super) fn expected_text(text: &TextConfig) -> Shapes {
    let mut shapes = Shapes::new();
    expect_text(&mut shapes, text);
    shapes
}

fn expect_text(shapes: &mut Shapes, text: &TextConfig) {
    put(shapes, EMBEDDINGS.to_owned(), &[text.vocabulary, text.hidden]);
    put(shapes, format!("{FINAL_NORM}.weight"), &[text.hidden]);
    for layer in (0..text.layers.len()).map(text_layer) {
        expect_text_layer(shapes, &layer, text);
    }
}

fn expect_text_layer(shapes: &mut Shapes, layer: &str, text: &TextConfig) {
    let (hidden, queries, keys) = (text.hidden, text.heads * text.head_dim, text.kv_heads * text.head_dim);
    let matrices = [
        ("self_attn.q_proj", [queries, hidden]),
        ("self_attn.k_proj", [keys, hidden]),
        ("self_attn.v_proj", [keys, hidden]),
        ("self_attn.o_proj", [hidden, queries]),
        ("mlp.gate_proj", [text.intermediate, hidden]),
        ("mlp.up_proj", [text.intermediate, hidden]),
        ("mlp.down_proj", [hidden, text.intermediate]),
    ];
    for (name, shape) in matrices {
        put(shapes, format!("{layer}.{name}.weight"), &shape);
    }
    for name in ["q_norm", "k_norm"] {
        put(shapes, format!("{layer}.self_attn.{name}.weight"), &[text.head_dim]);
    }
    for name in [
        "input_layernorm",
        "post_attention_layernorm",
        "pre_feedforward_layernorm",
        "post_feedforward_layernorm",
    ] {
        put(shapes, format!("{layer}.{name}.weight"), &[hidden]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_has_one_canonical_form() {
        for name in [
            "vision_tower.vision_model.post_layernorm.bias",
            "vision_tower.post_layernorm.bias",
            "model.vision_tower.post_layernorm.bias",
        ] {
            assert_eq!(canonical(name), "vision_tower.post_layernorm.bias");
        }
        for name in ["language_model.model.norm.weight", "model.language_model.norm.weight"] {
            assert_eq!(canonical(name), "language_model.model.norm.weight");
        }
        assert!(is_tied_copy(&canonical("language_model.lm_head.weight")));
    }
}
