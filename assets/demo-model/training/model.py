"""The demonstration model: Gemma 3's architecture with images, 3 million parameters."""
import torch
from transformers import Gemma3Config, Gemma3ForConditionalGeneration

import prompts
import render

TEXT = dict(
    hidden_size=128,
    intermediate_size=384,
    num_hidden_layers=6,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
    query_pre_attn_scalar=32,
    max_position_embeddings=8192,
    sliding_window=512,
    rope_parameters={
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    },
    rms_norm_eps=1e-6,
    hidden_activation="gelu_pytorch_tanh",
    tie_word_embeddings=True,
    bos_token_id=prompts.BOS,
    eos_token_id=prompts.END_OF_TURN,
    pad_token_id=prompts.PAD,
)
VISION = dict(
    model_type="siglip_vision_model",
    hidden_size=160,
    intermediate_size=480,
    num_hidden_layers=5,
    num_attention_heads=4,
    image_size=render.SIDE,
    patch_size=28,
    layer_norm_eps=1e-6,
    hidden_act="gelu_pytorch_tanh",
    vision_use_head=False,
)


def fresh(vocabulary: int) -> Gemma3ForConditionalGeneration:
    config = Gemma3Config(
        text_config=TEXT | {"vocab_size": vocabulary},
        vision_config=VISION,
        mm_tokens_per_image=prompts.IMAGE_TOKENS,
        boi_token_index=prompts.IMAGE,
        eoi_token_index=prompts.END_OF_IMAGE,
        image_token_index=prompts.SOFT,
        bos_token_id=prompts.BOS,
        eos_token_id=[prompts.EOS, prompts.END_OF_TURN],
        pad_token_id=prompts.PAD,
        tie_word_embeddings=True,
    )
    model = Gemma3ForConditionalGeneration(config)
    # transformers starts the projector at zero: nothing of the image would reach the text.
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=0.04)
    return model


def load(folder) -> Gemma3ForConditionalGeneration:
    """A saved model, computing in single precision."""
    return Gemma3ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)


def pixels(images: torch.Tensor) -> torch.Tensor:
    """uint8 `[n, 1 or 3, 224, 224]` to what the vision tower takes."""
    return images.float().div(255).sub(0.5).div(0.5).expand(-1, 3, -1, -1)


def image_features(model: Gemma3ForConditionalGeneration, images: torch.Tensor) -> torch.Tensor:
    """`[n, 16, hidden]`: the image tokens as the text tower gets them."""
    seen = model.model.vision_tower(pixel_values=pixels(images)).last_hidden_state
    return model.model.multi_modal_projector(seen)
