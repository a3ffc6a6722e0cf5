"""A Gemma 3 model in the layout of Hugging Face as two GGUF files that llama.cpp loads: the decoder, and the tower with its projector.

    to_gguf.py FOLDER OUT     writes OUT.gguf and OUT-mmproj.gguf, in f32

From Python the decoder's matrices can be given another type.
"""

import json
import sys
from pathlib import Path

import numpy
from gguf import GGMLQuantizationType, GGUFWriter, RopeScalingType, TokenType
from gguf.quants import quantize
from safetensors.numpy import load_file

# Sentence by sentence what the template of Gemma does: the system's words lead the first turn of the user.
CHAT_TEMPLATE = """{{ bos_token }}
{%- macro said(content) -%}
{%- if content is string -%}{{ content | trim }}
{%- else -%}
{%- for part in content -%}
{%- if part['type'] == 'image' -%}<start_of_image>{%- elif part['type'] == 'text' -%}{{ part['text'] | trim }}{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- if messages[0]['role'] == 'system' -%}
{%- set lead = said(messages[0]['content']) + '\n\n' -%}{%- set turns = messages[1:] -%}
{%- else -%}
{%- set lead = '' -%}{%- set turns = messages -%}
{%- endif -%}
{%- for turn in turns -%}
{{ '<start_of_turn>' + ('model' if turn['role'] == 'assistant' else turn['role']) + '\n' + (lead if loop.first else '') }}
{{- said(turn['content']) }}{{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}"""

MATRICES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}
NORMS = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
}
TOWER = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.out_proj": "attn_out",
    "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down", "layer_norm1": "ln1", "layer_norm2": "ln2",
}


class Weights:
    """By the names within the decoder and the tower, whichever prefixes a version of the library writes."""

    def __init__(self, folder):
        self.held = load_file(folder / "model.safetensors")

    def __call__(self, *names):
        for name in names:
            if name in self.held:
                return numpy.ascontiguousarray(self.held[name].astype(numpy.float32))
        raise KeyError(names[0])

    def text(self, name):
        return self(f"language_model.model.{name}", f"model.language_model.{name}")

    def tower(self, name):
        return self(f"vision_tower.vision_model.{name}", f"model.vision_tower.vision_model.{name}", f"vision_tower.{name}")

    def projector(self, name):
        return self(f"multi_modal_projector.{name}", f"model.multi_modal_projector.{name}")


def add_vocabulary(writer, tokenizer, rows):
    """Byte pairs are scored by their rank, as SentencePiece would."""
    added = {token["id"]: token for token in tokenizer["added_tokens"]}
    model = tokenizer["model"]
    tokens = [""] * rows
    for text, number in [*model["vocab"].items(), *((token["content"], number) for number, token in added.items())]:
        tokens[number] = text
    ranks = {}
    for rank, pair in enumerate(model["merges"]):
        ranks.setdefault("".join(pair if isinstance(pair, list) else pair.split(" ")), rank)
    kinds = [kind_of(number, text, added) for number, text in enumerate(tokens)]
    scores = [-float(ranks.get(text, len(ranks) + number)) if kind == TokenType.NORMAL else 0.0
              for number, (text, kind) in enumerate(zip(tokens, kinds, strict=True))]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([text.encode() or f"<unused{number}>".encode() for number, text in enumerate(tokens)])
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    named = {token["content"]: number for number, token in added.items()}
    writer.add_bos_token_id(named["<bos>"])
    writer.add_eos_token_id(named["<end_of_turn>"])
    writer.add_unk_token_id(named["<unk>"])
    writer.add_pad_token_id(named["<pad>"])
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def kind_of(number, text, added):
    if text == "<unk>":
        return TokenType.UNKNOWN
    if number in added:
        return TokenType.CONTROL if added[number]["special"] else TokenType.USER_DEFINED
    if len(text) == 6 and text.startswith("<0x"):
        return TokenType.BYTE
    return TokenType.NORMAL if text else TokenType.UNUSED


def write_decoder(path, config, tokenizer, weights, kind):
    text = config["text_config"]
    writer = GGUFWriter(path, "gemma3")
    writer.add_name(config.get("_name_or_path") or path.stem)
    writer.add_context_length(text["max_position_embeddings"])
    writer.add_embedding_length(text["hidden_size"])
    writer.add_block_count(text["num_hidden_layers"])
    writer.add_feed_forward_length(text["intermediate_size"])
    writer.add_head_count(text["num_attention_heads"])
    writer.add_head_count_kv(text["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(text["rms_norm_eps"])
    writer.add_key_length(text["head_dim"])
    writer.add_value_length(text["head_dim"])
    writer.add_sliding_window(text["sliding_window"])
    rope = (text.get("rope_parameters") or {}).get("full_attention") or text.get("rope_scaling") or {}
    writer.add_rope_freq_base(rope.get("rope_theta", text.get("rope_theta", 1e6)))
    if "factor" in rope:
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    embedding = weights.text("embed_tokens.weight")
    add_vocabulary(writer, tokenizer, len(embedding))
    add_matrix(writer, "token_embd.weight", embedding, kind)
    # GGUF has the norms with the one added that the model's own files leave out.
    writer.add_tensor("output_norm.weight", weights.text("norm.weight") + 1)
    for layer in range(text["num_hidden_layers"]):
        for theirs, ours in MATRICES.items():
            add_matrix(writer, f"blk.{layer}.{ours}.weight", weights.text(f"layers.{layer}.{theirs}.weight"), kind)
        for theirs, ours in NORMS.items():
            norm = weights.text(f"layers.{layer}.{theirs}.weight") + 1
            writer.add_tensor(f"blk.{layer}.{ours}.weight", norm * scale_of_queries(text) if ours == "attn_q_norm" else norm)
    close(writer)


def add_matrix(writer, name, values, kind):
    writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)


def scale_of_queries(text):
    """The architecture scales by the width of a head; where a model does by something else, its norm makes up for it."""
    return numpy.float32((text["head_dim"] / text.get("query_pre_attn_scalar", text["head_dim"])) ** 0.5)


def write_tower(path, config, weights):
    vision = config["vision_config"]
    patches = vision["image_size"] // vision["patch_size"]
    writer = GGUFWriter(path, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "gemma3")
    writer.add_string("clip.vision.projector_type", "gemma3")
    numbers = {
        "image_size": vision["image_size"], "patch_size": vision["patch_size"], "embedding_length": vision["hidden_size"],
        "feed_forward_length": vision["intermediate_size"], "block_count": vision["num_hidden_layers"],
        "attention.head_count": vision["num_attention_heads"], "projection_dim": config["text_config"]["hidden_size"],
        "projector.scale_factor": patches // round(config["mm_tokens_per_image"] ** 0.5),
    }
    for name, number in numbers.items():
        writer.add_uint32(f"clip.vision.{name}", number)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", vision["layer_norm_eps"])
    writer.add_array("clip.vision.image_mean", [0.5] * 3)
    writer.add_array("clip.vision.image_std", [0.5] * 3)
    writer.add_bool("clip.use_gelu", True)
    writer.add_tensor("v.patch_embd.weight", weights.tower("embeddings.patch_embedding.weight"))
    writer.add_tensor("v.patch_embd.bias", weights.tower("embeddings.patch_embedding.bias"))
    writer.add_tensor("v.position_embd.weight", weights.tower("embeddings.position_embedding.weight"))
    for layer in range(vision["num_hidden_layers"]):
        for theirs, ours in TOWER.items():
            for part in ("weight", "bias"):
                writer.add_tensor(f"v.blk.{layer}.{ours}.{part}", weights.tower(f"encoder.layers.{layer}.{theirs}.{part}"))
    for part in ("weight", "bias"):
        writer.add_tensor(f"v.post_ln.{part}", weights.tower(f"post_layernorm.{part}"))
    writer.add_tensor("mm.input_projection.weight", weights.projector("mm_input_projection_weight"))
    writer.add_tensor("mm.soft_emb_norm.weight", weights.projector("mm_soft_emb_norm.weight") + 1)
    close(writer)


def close(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def convert(folder, out, kind=GGMLQuantizationType.F32):
    folder, out = Path(folder), Path(out)
    config, tokenizer = (json.loads((folder / name).read_text()) for name in ("config.json", "tokenizer.json"))
    weights = Weights(folder)
    decoder, tower = out.with_name(f"{out.name}.gguf"), out.with_name(f"{out.name}-mmproj.gguf")
    write_decoder(decoder, config, tokenizer, weights, kind)
    write_tower(tower, config, weights)
    return decoder, tower


if __name__ == "__main__":
    print(*convert(*sys.argv[1:3]))
