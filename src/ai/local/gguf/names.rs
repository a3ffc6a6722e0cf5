//! What llama.cpp calls the tensors of Gemma 3, in the names used here.

use std::collections::BTreeMap;

use super::Gguf;
use crate::ai::local::store::Stored;
use crate::ai::local::tensors::{
    EMBEDDINGS, FINAL_NORM, OUTPUT, PATCHES, POSITIONS, POST_NORM, PROJECTION, PROJECTOR_NORM, text_layer,
    vision_layer,
};

/// The tensors of a file by canonical name; one that has none keeps its own.
pub(in crate::ai::local) fn canonical(gguf: Gguf) -> BTreeMap<String, Stored> {
    let exchanged = has_exchanged_feedforward(&gguf);
    let named = gguf.tensors.into_iter().map(|(name, stored)| {
        let canonical = text(&name).or_else(|| vision(&name, exchanged));
        (canonical.unwrap_or(name), stored)
    });
    named.collect()
}

/// Early converters of the vision tower wrote its widening matrix as `ffn_down` and the narrowing
/// one as `ffn_up`; the shape tells.
fn has_exchanged_feedforward(gguf: &Gguf) -> bool {
    let rows = |name: &str| gguf.tensors.get(name).and_then(|stored| stored.shape.first());
    rows("v.blk.0.ffn_down.weight") > rows("v.blk.0.ffn_up.weight")
}

pub(super) fn text(name: &str) -> Option<String> {
    let whole = match name {
        "token_embd.weight" => Some(EMBEDDINGS.to_owned()),
        "output.weight" => Some(OUTPUT.to_owned()),
        "output_norm.weight" => Some(format!("{FINAL_NORM}.weight")),
        _ => None,
    };
    whole.or_else(|| {
        let (layer, part) = layer(name.strip_prefix("blk.")?)?;
        let part = match part.strip_suffix(".weight")? {
            "attn_q" => "self_attn.q_proj",
            "attn_k" => "self_attn.k_proj",
            "attn_v" => "self_attn.v_proj",
            "attn_output" => "self_attn.o_proj",
            "attn_q_norm" => "self_attn.q_norm",
            "attn_k_norm" => "self_attn.k_norm",
            "attn_norm" => "input_layernorm",
            "post_attention_norm" => "post_attention_layernorm",
            "ffn_norm" => "pre_feedforward_layernorm",
            "post_ffw_norm" => "post_feedforward_layernorm",
            "ffn_gate" => "mlp.gate_proj",
            "ffn_up" => "mlp.up_proj",
            "ffn_down" => "mlp.down_proj",
            _ => return None,
        };
        Some(format!("{}.{part}.weight", text_layer(layer)))
    })
}

pub(super) fn vision(name: &str, exchanged: bool) -> Option<String> {
    let whole = match name {
        "v.position_embd.weight" => Some(POSITIONS.to_owned()),
        "mm.input_projection.weight" => Some(PROJECTION.to_owned()),
        "mm.soft_emb_norm.weight" => Some(format!("{PROJECTOR_NORM}.weight")),
        _ => None,
    };
    whole.or_else(|| {
        let (name, kind) = name.rsplit_once('.').filter(|(_, kind)| matches!(*kind, "weight" | "bias"))?;
        match name {
            "v.patch_embd" => return Some(format!("{PATCHES}.{kind}")),
            "v.post_ln" => return Some(format!("{POST_NORM}.{kind}")),
            _ => {}
        }
        let (layer, part) = layer(name.strip_prefix("v.blk.")?)?;
        let part = match part {
            "attn_q" => "self_attn.q_proj",
            "attn_k" => "self_attn.k_proj",
            "attn_v" => "self_attn.v_proj",
            "attn_out" => "self_attn.out_proj",
            "ln1" => "layer_norm1",
            "ln2" => "layer_norm2",
            "ffn_up" if !exchanged => "mlp.fc1",
            "ffn_down" if exchanged => "mlp.fc1",
            "ffn_up" | "ffn_down" => "mlp.fc2",
            _ => return None,
        };
        Some(format!("{}.{part}.{kind}", vision_layer(layer)))
    })
}

/// `12.attn_q.weight` is the part `attn_q.weight` of layer 12.
fn layer(name: &str) -> Option<(usize, &str)> {
    let (layer, part) = name.split_once('.')?;
    Some((layer.parse().ok()?, part))
}

/// What the file of a decoder holds.
#[cfg(test)]
pub(super) fn text_names(layers: usize) -> Vec<String> {
    const PARTS: [&str; 13] = [
        "attn_q",
        "attn_k",
        "attn_v",
        "attn_output",
        "attn_q_norm",
        "attn_k_norm",
        "attn_norm",
        "post_attention_norm",
        "ffn_norm",
        "post_ffw_norm",
        "ffn_gate",
        "ffn_up",
        "ffn_down",
    ];
    let mut names: Vec<String> = ["token_embd", "output_norm"].map(|name| format!("{name}.weight")).into();
    names.extend((0..layers).flat_map(|layer| PARTS.map(|part| format!("blk.{layer}.{part}.weight"))));
    names
}

/// What the file of a vision tower holds.
#[cfg(test)]
pub(super) fn vision_names(layers: usize) -> Vec<String> {
    const PARTS: [&str; 8] = ["attn_q", "attn_k", "attn_v", "attn_out", "ln1", "ln2", "ffn_up", "ffn_down"];
    let whole = ["v.position_embd.weight", "mm.input_projection.weight", "mm.soft_emb_norm.weight"];
    let mut names: Vec<String> = whole.map(str::to_owned).into();
    for kind in ["weight", "bias"] {
        names.extend(["patch_embd", "post_ln"].map(|part| format!("v.{part}.{kind}")));
        names.extend((0..layers).flat_map(|layer| PARTS.map(|part| format!("v.blk.{layer}.{part}.{kind}"))));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ai::local::{fixture, tensors};

    #[test]
    fn every_tensor_of_the_architecture_has_its_name() {
        let config = fixture::config();
        let (texts, towers) = (text_names(config.text.layers.len()), vision_names(config.vision.layers));
        let mut found: Vec<_> = texts.iter().filter_map(|name| text(name)).collect();
        found.extend(towers.iter().filter_map(|name| vision(name, false)));
        found.sort_unstable();
        assert_eq!(found, tensors::expected(&config).into_keys().collect::<Vec<_>>());
    }

    #[test]
    fn exchanged_matrices_are_put_right() {
        assert_eq!(vision("v.blk.3.ffn_down.bias", true), vision("v.blk.3.ffn_up.bias", false));
        assert_eq!(text("rope_freqs.weight"), None);
        assert_eq!(vision("v.blk.x.ln1.weight", false), None);
    }
}
