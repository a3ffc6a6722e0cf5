"""What the demonstration model gets right on phantoms it has never seen.

    python accept.py RADIANT MODEL [--count 200] [--seed 1] [--nodules]

Studies are drawn at their full size by `radiant phantom`, rendered as the server renders them, and
answered greedily. Controls break the input on purpose: a model that looks at the picture must
follow a mirrored one, find nothing in an empty one and fall to chance on another study's.
"""
import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

import model as architecture
import prompts
import render
from train import BLANK, mirrored

TOKENS_MAX = 320
BATCH = 20


class Reader:
    """Greedy answers of one model."""

    def __init__(self, folder: Path):
        self.model = architecture.load(folder).eval()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def answers(self, kind: str, studies: list[np.ndarray]) -> list[str]:
        starts = range(0, len(studies), BATCH)
        return [text for start in starts for text in self.batch(kind, studies[start : start + BATCH])]

    @torch.no_grad()
    def batch(self, kind: str, studies: list[np.ndarray]) -> list[str]:
        prompt = self.tokenizer.encode(prompts.prompt(kind), add_special_tokens=False).ids
        ids = torch.tensor([prompt] * len(studies))
        written = self.model.generate(
            input_ids=ids,
            pixel_values=architecture.pixels(torch.from_numpy(np.concatenate(studies))),
            token_type_ids=(ids == prompts.SOFT).long(),
            attention_mask=torch.ones_like(ids),
            max_new_tokens=TOKENS_MAX,
            do_sample=False,
        )
        return [self.tokenizer.decode(row[len(prompt) :].tolist(), skip_special_tokens=True) for row in written]


def held_out(radiant: str, kind: str, count: int, seed: int, *more: str) -> tuple[list, list[str]]:
    """Studies `[images, channels, 224, 224]` and what they show."""
    with tempfile.TemporaryDirectory() as folder:
        command = [radiant, "phantom", folder, "--kind", kind, "--count", str(count), "--seed", str(seed), *more]
        subprocess.run(command, check=True)
        lines = [json.loads(line) for line in Path(folder, "truth.json").read_text().splitlines()]
        studies = [render.study(Path(folder, f"{line['seed']:06d}")) for line in lines]
    return studies, [json.dumps(line["answer"], separators=(",", ":")) for line in lines]


def found(answer: str) -> dict:
    """Findings by name; None stands for text that is no answer."""
    try:
        return {finding["finding"]: finding for finding in json.loads(answer)["findings"]}
    except (ValueError, KeyError, TypeError):
        return {"unreadable": None}


def effusion(answer: str) -> tuple | None:
    told = found(answer).get("pleural effusion")
    return told and (told["laterality"], told.get("severity"))


def nodule(answer: str) -> str | None:
    told = found(answer).get("pulmonary nodule")
    return told and told["laterality"]


def guaranteed(answer: str) -> tuple:
    """What the model must get right: effusion with side and grade, and the size of the heart."""
    return effusion(answer), "cardiomegaly" in found(answer), "unreadable" in found(answer)


def overlap(answer: str, truth: str, name: str) -> float:
    """Intersection over union of the boxes, 0 where one is missing or on another image."""
    a, b = (found(text).get(name) for text in (answer, truth))
    if not (a and b and a.get("box_2d") and a.get("image") == b["image"]):
        return 0.0
    (a0, a1, a2, a3), (b0, b1, b2, b3) = a["box_2d"], b["box_2d"]
    shared = max(0, min(a2, b2) - max(a0, b0)) * max(0, min(a3, b3) - max(a1, b1))
    return shared / max(1, (a2 - a0) * (a3 - a1) + (b2 - b0) * (b3 - b1) - shared)


def share(name: str, hits: list) -> None:
    if hits:
        print(f"  {name:<44}{sum(map(bool, hits)):4d} / {len(hits):<4d}{100 * sum(map(bool, hits)) / len(hits):6.1f} %")


def figures(answers: list[str], truths: list[str]) -> None:
    pairs = list(zip(answers, truths))
    normal = [(a, t) for a, t in pairs if not found(t)]
    wet = [(a, t) for a, t in pairs if effusion(t)]
    dry = [(a, t) for a, t in pairs if not effusion(t)]
    big = [(a, t) for a, t in pairs if "cardiomegaly" in found(t)]
    nodules = [(a, t) for a, t in pairs if nodule(t)]
    share("readable answer", ["unreadable" not in found(a) for a, _ in pairs])
    share("normal study: no finding", [a == t for a, t in normal])
    share("effusion: present", [effusion(a) for a, _ in wet])
    share("effusion: side", [effusion(a) and effusion(a)[0] == effusion(t)[0] for a, t in wet])
    share("effusion: side and grade", [effusion(a) == effusion(t) for a, t in wet])
    share("effusion: box (and image) overlaps by half", [overlap(a, t, "pleural effusion") > 0.5 for a, t in wet])
    share("no effusion: none claimed", [not effusion(a) for a, _ in dry])
    share("enlarged heart: found", ["cardiomegaly" in found(a) for a, _ in big])
    small = [(a, t) for a, t in pairs if "cardiomegaly" not in found(t)]
    share("heart of normal size: not called enlarged", ["cardiomegaly" not in found(a) for a, _ in small])
    share("heart: ratio within 0.02", [ratio_is_near(a, t) for a, t in big])
    share("nodule: found on its side", [nodule(a) == nodule(t) for a, t in nodules])
    share("nodule: box overlaps by a third", [overlap(a, t, "pulmonary nodule") > 0.33 for a, t in nodules])
    share("no nodule: none claimed", [not nodule(a) for a, t in pairs if not nodule(t)])
    share("effusion and heart both right", [guaranteed(a) == guaranteed(t) for a, t in pairs])


def ratio_is_near(answer: str, truth: str) -> bool:
    ratio = lambda text: found(text)["cardiomegaly"]["measurements"][0]["value"]
    return "cardiomegaly" in found(answer) and abs(ratio(answer) - ratio(truth)) < 0.0201


def controls(reader: Reader, kind: str, studies: list, answers: list[str], truths: list[str]) -> None:
    flipped = reader.answers(kind, [study[..., ::-1].copy() for study in studies])
    wet = [i for i, truth in enumerate(truths) if effusion(truth)]
    share("mirrored: effusion on the other side", [effusion(flipped[i]) == effusion(mirrored(truths[i])) for i in wet])
    share("mirrored: effusion still on the old side", [effusion(flipped[i]) == effusion(truths[i]) for i in wet])
    levels = [np.full_like(studies[0], level) for level in range(0, 256, 15)]
    share("constant picture: no finding", [answer == BLANK for answer in reader.answers(kind, levels)])
    moved = answers[1:] + answers[:1]
    share("another study's picture (chance)", [guaranteed(a) == guaranteed(t) for a, t in zip(moved, truths)])


def photometrics(reader: Reader, radiant: str, count: int, seed: int) -> None:
    one, two = (
        reader.answers("chest", held_out(radiant, "chest", count, seed, "--photometric", value)[0])
        for value in ("monochrome1", "monochrome2")
    )
    share("MONOCHROME1 and MONOCHROME2 agree", [a == b for a, b in zip(one, two)])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("radiant")
    arguments.add_argument("model", type=Path)
    arguments.add_argument("--count", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--nodules", action="store_true", help="studies with nodules too")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    reader = Reader(given.model)
    for kind in prompts.FILES:
        more = ["--nodules"] if given.nodules else []
        studies, truths = held_out(given.radiant, kind, given.count, given.seed, *more)
        answers = reader.answers(kind, studies)
        print(kind)
        figures(answers, truths)
        controls(reader, kind, studies, answers, truths)
    photometrics(reader, given.radiant, given.count, given.seed)


if __name__ == "__main__":
    main()
