"""The server's own prompts in Gemma 3's chat template, and its special tokens."""
import tomllib
from pathlib import Path

PROMPTS = Path(__file__).parents[3] / "src" / "ai" / "prompts" / "demonstration"
FILES = {"chest": "chest-radiograph.toml", "ct": "ct.toml"}
IMAGE_TOKENS = 16
IMAGES = {"chest": 1, "ct": 4}

SPECIAL = [
    "<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>",
    "<start_of_image>", "<end_of_image>", "<image_soft_token>",
]
PAD, EOS, BOS, UNK, TURN, END_OF_TURN, IMAGE, END_OF_IMAGE, SOFT = range(len(SPECIAL))

IMAGE_TEXT = "\n\n<start_of_image>" + "<image_soft_token>" * IMAGE_TOKENS + "<end_of_image>\n\n"


def texts(kind: str) -> dict:
    return tomllib.loads((PROMPTS / FILES[kind]).read_text())


def prompt(kind: str) -> str:
    """The whole prompt; parts are trimmed and joined without a separator, as the template does."""
    text = texts(kind)
    parts = [text["before"].strip()]
    for number in range(1, IMAGES[kind] + 1):
        parts += [IMAGE_TEXT, text["image_label"].replace("{i}", str(number)).strip()]
    parts.append(text["after"].strip())
    turn = f"{text['system']}\n\n{''.join(parts)}"
    return f"<bos><start_of_turn>user\n{turn}<end_of_turn>\n<start_of_turn>model\n"
