"""A byte-pair tokenizer of Gemma 3's construction, for two prompts and one JSON schema.

    python tokenizer.py ANSWERS.jsonl... OUT

Punctuation and digits never join with anything. A grammar forces keys and brackets on the model;
it must meet them as the same tokens that it was trained on, whatever stands beside them.
"""
import json
import string
import sys
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

import prompts

SCHEMA = Path(__file__).parents[3] / "schema" / "findings.schema.json"
SPACE = "▁"
WORD = SPACE + r"?[A-Za-z_]+|."


def build(answers: list[str]) -> Tokenizer:
    learnt = json.loads(learn(answers).to_str())["model"]
    tokenizer = json.loads(gemma().to_str())
    tokenizer["model"] |= {"vocab": learnt["vocab"], "merges": learnt["merges"]}
    tokenizer = Tokenizer.from_str(json.dumps(tokenizer))
    tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in prompts.SPECIAL])
    tokenizer.add_tokens([AddedToken(breaks, normalized=False) for breaks in ("\n", "\n\n")])
    first = [("<bos>", prompts.BOS)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=first
    )
    return tokenizer


def gemma() -> Tokenizer:
    """Normaliser, pre-tokenizer and decoder as in Gemma 3's own tokenizer.json."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer


def learn(answers: list[str]) -> Tokenizer:
    """Merges within words only."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), "isolated")
    fixed = prompts.SPECIAL + ["\n", "\n\n"] + [f"<0x{byte:02X}>" for byte in range(256)]
    alphabet = list(string.printable.strip()) + [SPACE]
    trainer = trainers.BpeTrainer(
        vocab_size=2000, min_frequency=2, special_tokens=fixed, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(corpus(answers), trainer)
    return tokenizer


def corpus(answers: list[str]) -> list[str]:
    texts = [part for kind in prompts.FILES for part in prompts.texts(kind).values() if isinstance(part, str)]
    blank = '{"findings":[],"impression":"No diagnostic image content."}'
    return answers + ([blank, "user", "model", SCHEMA.read_text()] + texts) * 50


if __name__ == "__main__":
    lines = [line for path in sys.argv[1:-1] for line in Path(path).read_text().splitlines()]
    build(lines).save(sys.argv[-1])
