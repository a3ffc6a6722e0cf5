"""Writes the parity fixture of the local engine: tests/it/golden/tiny-gemma3/.

A random Gemma 3 multimodal model, small enough to commit, and what the reference
implementation (transformers) computes with it. Every number is chosen so that a shortcut shows:
the attention scale is not the head width, heads times head width is not the hidden width, the
global layers have a rope factor, the prompt is several sliding windows long and holds two
images, no norm weight is zero, the projector is not zero (transformers starts it at zero, and
then no test can see the image), and the model has more rows than the tokenizer has entries.

    pip install torch transformers pillow numpy safetensors
    python conformance/model/make_tiny_golden.py tests/it/golden/tiny-gemma3
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import Gemma3Config, Gemma3ForConditionalGeneration

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>",
           "<start_of_image>", "<end_of_image>", "<image_soft_token>"]
BOS, SOFT = 2, 8
SIDE, IMAGE_TOKENS, VOCABULARY, DECODED = 96, 16, 512, 18
IMAGE_SIZES = [(180, 240), (301, 127), (64, 80)]  # height, width

CORPUS = [
    '{"findings":[{"finding":"pleural effusion","location":"pleural space","laterality":"left",'
    '"certainty":"probable","severity":"small","image":1,"box_2d":[610,55,930,410]}],"impression":"Small left effusion."}',
    '{"findings":[],"impression":"No acute abnormality."}',
    "You are an expert radiologist. Report the findings of this chest radiograph as one JSON object.",
    "SLICE 1 SLICE 2 Left and right are the patient's.",
]


def tokenizer():
    """BPE with byte fallback, the normaliser and the special names of Gemma's."""
    trained = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\d"), "isolated"), pre_tokenizers.Split(Regex(r"▁[^▁]*"), "isolated")])
    alphabet = [f"<0x{byte:02X}>" for byte in range(256)]
    trained.train_from_iterator(CORPUS * 4, trainers.BpeTrainer(
        vocab_size=480, min_frequency=2, special_tokens=SPECIAL + ["\n", "\n\n", "\n\n\n\n"] + alphabet))
    whole = json.loads(trained.to_str())
    bare = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    bare.normalizer = normalizers.Replace(" ", "▁")
    bare.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    bare.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    made = json.loads(bare.to_str())
    made["model"]["vocab"], made["model"]["merges"] = whole["model"]["vocab"], whole["model"]["merges"]
    final = Tokenizer.from_str(json.dumps(made))
    final.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    final.add_tokens([AddedToken(text, normalized=False) for text in ("\n", "\n\n", "\n\n\n\n")])
    final.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])
    return final


def config():
    text = dict(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=144, num_hidden_layers=7, num_attention_heads=4,
        num_key_value_heads=2, head_dim=24, max_position_embeddings=4096, sliding_window=20, sliding_window_pattern=6,
        rope_theta=1e6, rope_local_base_freq=1e4, rope_scaling={"rope_type": "linear", "factor": 8.0},
        query_pre_attn_scalar=40, rms_norm_eps=1e-6, hidden_activation="gelu_pytorch_tanh",
        bos_token_id=BOS, eos_token_id=1, pad_token_id=0)
    vision = dict(
        model_type="siglip_vision_model", hidden_size=48, intermediate_size=104, num_hidden_layers=3,
        num_attention_heads=4, image_size=SIDE, patch_size=12, layer_norm_eps=1e-6,
        hidden_act="gelu_pytorch_tanh", vision_use_head=False)
    top = dict(mm_tokens_per_image=IMAGE_TOKENS, boi_token_index=6, eoi_token_index=7, image_token_index=SOFT,
               bos_token_id=BOS, eos_token_id=[1, 5], pad_token_id=0)
    return text, vision, top


def randomise(model):
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=draw)
            if weight.dim() >= 2:
                weight.copy_(noise * (0.08 if "embed_tokens" in name else 0.6 / weight.shape[-1] ** 0.5))
            elif "norm" in name and "vision" not in name:
                weight.copy_(noise * 0.1)
            else:
                weight.copy_(noise * 0.05 + (1.0 if name.endswith("weight") else 0.0))


def pictures():
    """Smooth shapes with an edge and a little noise: what resizing filters differ on."""
    draw = np.random.RandomState(5)
    for height, width in IMAGE_SIZES:
        y, x = np.mgrid[0:height, 0:width] / max(height, width)
        waves = [np.sin(9 * x + 4 * y * k) + (((x - 0.4) ** 2 + (y - 0.5) ** 2) < 0.06) * k for k in (1, 2, 3)]
        grey = np.stack(waves, -1) * 50 + 110 + draw.normal(0, 6, (height, width, 3))
        yield np.clip(grey, 0, 255).round().astype(np.uint8)


def resized(picture):
    return np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def pixel_values(picture):
    scaled = (torch.from_numpy(resized(picture).copy()).float() / 255 - 0.5) / 0.5
    return scaled.permute(2, 0, 1)


def prompt():
    image = "\n\n<start_of_image>" + "<image_soft_token>" * IMAGE_TOKENS + "<end_of_image>\n\n"
    return ("<bos><start_of_turn>user\nYou are an expert radiologist.\n\nTwo images of one patient follow."
            f"{image}SLICE 1{image}SLICE 2 — report the findings.<end_of_turn>\n<start_of_turn>model\n")


def reference(model, ids, pixels):
    """One pass over prompt and answer: rows of the answer are what decoding step by step must give."""
    layers, record = model.model.language_model.layers, {}
    hooks = [layer.register_forward_hook(lambda _m, _i, out, n=n: record.update(
        {f"layer_{n}": (out[0] if isinstance(out, tuple) else out)[0]})) for n, layer in enumerate(layers)]
    row = torch.tensor([ids])
    with torch.no_grad():
        features = model.model.vision_tower(pixel_values=pixels).last_hidden_state
        out = model(input_ids=row, pixel_values=pixels, token_type_ids=(row == SOFT).long(),
                    attention_mask=torch.ones_like(row))
        record["vision"], record["projected"] = features, model.model.multi_modal_projector(features)
    for hook in hooks:
        hook.remove()
    return record, out.logits[0]


def main(out):
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    text, vision, top = config()
    model = Gemma3ForConditionalGeneration(Gemma3Config(text_config=text, vision_config=vision, **top)).eval()
    randomise(model)
    model.save_pretrained(out)
    hub = dict(architectures=["Gemma3ForConditionalGeneration"], model_type="gemma3", text_config=text,
               vision_config=vision, **top)
    (out / "config.hub.json").write_text(json.dumps(hub, indent=1) + "\n")
    words = tokenizer()
    words.save(str(out / "tokenizer.json"))
    ids = words.encode(prompt(), add_special_tokens=False).ids
    answer = np.random.RandomState(3).randint(270, words.get_vocab_size(), DECODED).tolist()
    images = list(pictures())
    pixels = torch.stack([pixel_values(images[0]), pixel_values(images[1])])
    record, logits = reference(model, ids + answer, pixels)
    record.update(pixel_values=pixels, ids=torch.tensor(ids), answer=torch.tensor(answer), logits=logits[len(ids) - 1:])
    for n, picture in enumerate(images):
        record[f"picture_{n}"] = torch.from_numpy(picture)
        record[f"resized_{n}"] = torch.from_numpy(resized(picture).copy())
    save_file({name: value.contiguous() for name, value in record.items()}, out / "golden.safetensors")
    (out / "prompt.txt").write_text(prompt())
    print(f"{len(ids)} prompt tokens, {words.get_vocab_size()} entries, logit std {logits.std():.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
