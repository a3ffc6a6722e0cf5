"""GGUF files made from others: in another type, or from the safetensors of the tiny random model."""

import json

import numpy
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, RopeScalingType
from gguf.quants import dequantize, quantize
from safetensors import safe_open

# What the writer sets by itself.
OF_THE_CONTAINER = ("GGUF.", "general.architecture", "general.file_type", "general.quantization_version")
TEXT_LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
}
VISION_LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_out",
    "layer_norm1": "ln1",
    "layer_norm2": "ln2",
    "mlp.fc1": "ffn_up",
    "mlp.fc2": "ffn_down",
}
NORMAL, CONTROL, USER_DEFINED, BYTE = 1, 3, 4, 6


def requantised(source, target, kind):
    """The same model with all its matrices in one type."""
    reader = GGUFReader(source)
    writer = GGUFWriter(target, "gemma3")
    for name, field in reader.fields.items():
        if not name.startswith(OF_THE_CONTAINER):
            of_list = field.types[0] == GGUFValueType.ARRAY
            writer.add_key_value(name, field.contents(), field.types[0], field.types[-1] if of_list else None)
    for tensor in reader.tensors:
        if len(tensor.shape) == 1:
            writer.add_tensor(tensor.name, tensor.data)
        else:
            values = dequantize(tensor.data, tensor.tensor_type)
            writer.add_tensor(tensor.name, quantize(values, kind), raw_dtype=kind)
    write(writer)
    return target


def write(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tiny(source, folder, kind=GGMLQuantizationType.F32):
    """The decoder and the vision tower of the tiny model, each as a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((source / "config.json").read_text())
    with safe_open(source / "model.safetensors", "np") as tensors:
        write(decoder(folder / "tiny.gguf", source, config, tensors, kind))
        write(tower(folder / "mmproj-tiny.gguf", config, tensors))
    return folder / "tiny.gguf"


def decoder(path, source, config, tensors, kind):
    text = config["text_config"]
    rope = text["rope_parameters"]["full_attention"]
    writer = GGUFWriter(path, "gemma3")
    writer.add_name("tiny")
    writer.add_context_length(text["max_position_embeddings"])
    writer.add_embedding_length(text["hidden_size"])
    writer.add_block_count(text["num_hidden_layers"])
    writer.add_feed_forward_length(text["intermediate_size"])
    writer.add_head_count(text["num_attention_heads"])
    writer.add_head_count_kv(text["num_key_value_heads"])
    writer.add_key_length(text["head_dim"])
    writer.add_value_length(text["head_dim"])
    writer.add_layer_norm_rms_eps(text["rms_norm_eps"])
    writer.add_sliding_window(text["sliding_window"])
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_scaling_type(RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(rope["factor"])
    vocabulary(writer, json.loads((source / "tokenizer.json").read_text()), text["vocab_size"])
    names = {
        "embed_tokens.weight": "token_embd.weight",
        "norm.weight": "output_norm.weight",
    } | {
        f"layers.{layer}.{ours}.weight": f"blk.{layer}.{theirs}.weight"
        for layer in range(text["num_hidden_layers"])
        for ours, theirs in TEXT_LAYER.items()
    }
    for ours, theirs in names.items():
        values = tensors.get_tensor(f"language_model.model.{ours}").astype(numpy.float32)
        if values.ndim == 2:
            writer.add_tensor(theirs, quantize(values, kind), raw_dtype=kind)
            continue
        values = values + 1
        if theirs.endswith("attn_q_norm.weight"):
            # the architecture scales by the width of a head, and this model by something else
            values *= (text["head_dim"] / text["query_pre_attn_scalar"]) ** 0.5
        writer.add_tensor(theirs, values.astype(numpy.float32))
    return writer


def vocabulary(writer, tokenizer, rows):
    added = {token["id"]: token for token in tokenizer["added_tokens"]}
    entries = {number: piece for piece, number in tokenizer["model"]["vocab"].items()}
    entries |= {number: token["content"] for number, token in added.items()}
    ranks = {}
    for rank, rule in enumerate(tokenizer["model"]["merges"]):
        ranks.setdefault("".join(rule if isinstance(rule, list) else rule.split(" ")), rank)
    pieces, scores, types = [], [], []
    for number in range(rows):
        piece = entries.get(number, f"[PAD{number}]")
        pieces.append(piece)
        scores.append(-float(ranks.get(piece, len(ranks) + number)))
        types.append(kind_of(piece, added.get(number), number in entries))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(pieces)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_add_space_prefix(False)


def kind_of(piece, added, is_entry):
    if added is not None:
        return CONTROL if added["special"] else USER_DEFINED
    if not is_entry:
        return 5
    return BYTE if piece.startswith("<0x") else NORMAL


def tower(path, config, tensors):
    vision, side = config["vision_config"], int(config["mm_tokens_per_image"] ** 0.5)
    writer = GGUFWriter(path, "clip")
    writer.add_string("clip.projector_type", "gemma3")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_bool("clip.use_gelu", True)
    for key, value in {
        "image_size": vision["image_size"],
        "patch_size": vision["patch_size"],
        "embedding_length": vision["hidden_size"],
        "feed_forward_length": vision["intermediate_size"],
        "block_count": vision["num_hidden_layers"],
        "attention.head_count": vision["num_attention_heads"],
        "projection_dim": config["text_config"]["hidden_size"],
        "projector.scale_factor": vision["image_size"] // vision["patch_size"] // side,
    }.items():
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", vision["layer_norm_eps"])
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
    names = {"embeddings.position_embedding.weight": "v.position_embd.weight"}
    for kind in ("weight", "bias"):
        names[f"embeddings.patch_embedding.{kind}"] = f"v.patch_embd.{kind}"
        names[f"post_layernorm.{kind}"] = f"v.post_ln.{kind}"
        names |= {
            f"encoder.layers.{layer}.{ours}.{kind}": f"v.blk.{layer}.{theirs}.{kind}"
            for layer in range(vision["num_hidden_layers"])
            for ours, theirs in VISION_LAYER.items()
        }
    for ours, theirs in names.items():
        writer.add_tensor(theirs, tensors.get_tensor(f"vision_tower.{ours}").astype(numpy.float32))
    projector = "multi_modal_projector.mm_"
    writer.add_tensor("mm.input_projection.weight", tensors.get_tensor(f"{projector}input_projection_weight"))
    writer.add_tensor("mm.soft_emb_norm.weight", tensors.get_tensor(f"{projector}soft_emb_norm.weight") + 1)
    return writer
