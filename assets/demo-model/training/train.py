"""Train the demonstration model on arrays made by prepare.py.

    python train.py DATA TOKENIZER OUT [--facts MINUTES] [--answers MINUTES] [--start MODEL] [--rate R]

DATA holds chest and ct (.npy and .jsonl). First the vision tower learns the facts of
each picture through heads that are thrown away; then the whole model learns to write the answer.
Without minutes for facts there are no such heads at all.
"""
import argparse
import json
import random
import re
import time
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional as F

import model as architecture
import prompts

BLANK = '{"findings":[],"impression":"No diagnostic image content."}'
BLANK_SHARE = 0.04
MIRRORED_SHARE = 0.25
BATCH = {"chest": 32, "ct": 10}
CHEST_SHARE = 0.6
FACTS_WEIGHT = 0.2
# Digits of boxes and ratios are many and never certain; words decide what is found.
DIGIT_WEIGHT = 0.2
SIDES, GRADES = ("right", "left"), ("small", "moderate", "large")


class Studies:
    """The pictures and answers of one kind."""

    def __init__(self, data: Path, kind: str):
        self.kind = kind
        self.images = np.load(data / f"{kind}.npy", mmap_mode="r")
        self.answers = (data / f"{kind}.jsonl").read_text().splitlines()

    def __len__(self) -> int:
        return len(self.answers)

    def draw(self, index: int) -> tuple[np.ndarray, str]:
        """One study, at times mirrored or emptied, its grey levels always a little off."""
        if random.random() < BLANK_SHARE:
            return blank(self.images.shape[1:]), BLANK
        images, answer = self.images[index], self.answers[index]
        if random.random() < MIRRORED_SHARE:
            images, answer = images[..., ::-1], mirrored(answer)
        return (jittered(images) if self.kind == "chest" else images), answer


def blank(shape: tuple) -> np.ndarray:
    """A constant picture or noise: there must be nothing to report."""
    level, deviation = random.uniform(0, 255), random.choice((0, 0, 5, 20, 60))
    noise = np.random.normal(level, deviation, shape) if deviation else np.full(shape, level)
    return np.clip(noise, 0, 255).astype(np.uint8)


def mirrored(answer: str) -> str:
    """Sides follow the picture: its left is always taken for the patient's right."""
    swapped = re.sub(r"\b(left|right)\b", lambda side: {"left": "right", "right": "left"}[side[0]], answer)
    box = r'"box_2d":\[(\d+),(\d+),(\d+),(\d+)\]'
    flip = lambda m: f'"box_2d":[{m[1]},{1000 - int(m[4])},{m[3]},{1000 - int(m[2])}]'
    return re.sub(box, flip, swapped)


def jittered(images: np.ndarray) -> np.ndarray:
    gain, offset = random.uniform(0.85, 1.15), random.uniform(-15, 15)
    return np.clip((images - 128.0) * gain + 128 + offset, 0, 255).astype(np.uint8)


class Facts(torch.nn.Module):
    """Heads that read an answer's facts off the image tokens. Only training has them."""

    CLASSES = (7, 2, 3)  # effusion by side and grade, enlarged heart, nodule by side
    NUMBERS = 10  # ratio; effusion: image and box; nodule: box

    def __init__(self, images: int, hidden: int):
        super().__init__()
        self.read = torch.nn.Linear(images * prompts.IMAGE_TOKENS * hidden, sum(self.CLASSES) + self.NUMBERS)

    def loss(self, features: torch.Tensor, answers: list[str]) -> torch.Tensor:
        read = self.read(features)
        facts = [facts_of(answer) for answer in answers]
        classes = torch.tensor([fact[0] for fact in facts])
        numbers = torch.tensor([fact[1] for fact in facts], dtype=torch.float32)
        *logits, told = read.split([*self.CLASSES, self.NUMBERS], dim=1)
        wrong = sum(F.cross_entropy(logit, classes[:, i]) for i, logit in enumerate(logits))
        known = ~numbers.isnan()
        squared = (told - numbers.nan_to_num()).square() * known
        return wrong + 4 * squared.sum() / known.sum().clamp(min=1)


def facts_of(answer: str) -> tuple[list[int], list[float]]:
    found = {finding["finding"]: finding for finding in json.loads(answer)["findings"]}
    effusion, heart, nodule = (found.get(n) for n in ("pleural effusion", "cardiomegaly", "pulmonary nodule"))
    side = lambda finding: SIDES.index(finding["laterality"])
    box = lambda finding: [edge / 1000 for edge in finding["box_2d"]] if finding else [float("nan")] * 4
    classes = [
        1 + 3 * side(effusion) + GRADES.index(effusion["severity"]) if effusion else 0,
        int(heart is not None),
        1 + side(nodule) if nodule else 0,
    ]
    ratio = heart["measurements"][0]["value"] if heart else float("nan")
    image = effusion["image"] / 4 if effusion else float("nan")
    return classes, [ratio, image, *box(effusion), *box(nodule)]


def token_weights(tokenizer: Tokenizer) -> torch.Tensor:
    weights = torch.ones(tokenizer.get_vocab_size())
    weights[[tokenizer.token_to_id(digit) for digit in "0123456789"]] = DIGIT_WEIGHT
    weights[prompts.PAD] = 0
    return weights


class Trainer:
    def __init__(self, given: argparse.Namespace):
        tokenizer, start = Tokenizer.from_file(str(given.tokenizer)), given.start
        self.rate, self.with_facts = given.rate, given.facts > 0
        self.model = architecture.load(start) if start else architecture.fresh(tokenizer.get_vocab_size())
        self.weights = token_weights(tokenizer)
        self.encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
        self.studies = {kind: Studies(given.data, kind) for kind in prompts.FILES}
        self.prompts = {kind: self.encode(prompts.prompt(kind)) for kind in prompts.FILES}
        hidden = architecture.TEXT["hidden_size"]
        self.facts = {kind: Facts(images, hidden) for kind, images in prompts.IMAGES.items()}
        heads = [parameter for head in self.facts.values() for parameter in head.parameters()]
        # A head adds up thousands of features: at the model's own rate it would overshoot.
        groups = [{"params": list(self.model.parameters()), "pace": 1.0}, {"params": heads, "pace": 0.1}]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.02)
        self.average = torch.optim.swa_utils.AveragedModel(
            self.model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
        )

    def batches(self, kind: str):
        """Four batches of similar answer length at a time: less padding to compute."""
        studies, size = self.studies[kind], BATCH[kind]
        while True:
            drawn = [studies.draw(random.randrange(len(studies))) for _ in range(4 * size)]
            drawn.sort(key=lambda study: len(study[1]))
            groups = [drawn[start : start + size] for start in range(0, len(drawn), size)]
            random.shuffle(groups)
            yield from groups

    def facts_loss(self, kind: str, batch: list) -> torch.Tensor:
        return self.facts[kind].loss(self.features(batch).flatten(1), [answer for _, answer in batch])

    def features(self, batch: list) -> torch.Tensor:
        images = torch.from_numpy(np.stack([images for images, _ in batch])).flatten(0, 1)
        return architecture.image_features(self.model, images).unflatten(0, (len(batch), -1))

    def answer_loss(self, kind: str, batch: list) -> torch.Tensor:
        """Cross entropy of the answers, and the facts' loss on the same image tokens."""
        features = self.features(batch)
        prompt = self.prompts[kind]
        answers = [self.encode(answer) + [prompts.END_OF_TURN] for _, answer in batch]
        longest = max(map(len, answers))
        ids = torch.tensor([prompt + a + [prompts.PAD] * (longest - len(a)) for a in answers])
        embedded = self.model.get_input_embeddings()(ids)
        embedded = embedded.masked_scatter((ids == prompts.SOFT).unsqueeze(-1), features)
        logits = self.model(
            inputs_embeds=embedded,
            token_type_ids=(ids == prompts.SOFT).long(),
            attention_mask=torch.ones_like(ids),
            logits_to_keep=longest + 1,
        ).logits[:, :-1]
        targets = ids[:, len(prompt) :]
        told = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), weight=self.weights)
        if not self.with_facts:
            return told
        return told + FACTS_WEIGHT * self.facts[kind].loss(features.flatten(1), [answer for _, answer in batch])

    def step(self, loss: torch.Tensor, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["pace"]
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.optimizer.param_groups[0]["params"], 1.0)
        self.optimizer.step()
        self.average.update_parameters(self.model)

    def run(self, name: str, loss_of, minutes: float, out: Path) -> None:
        feeds = {kind: self.batches(kind) for kind in prompts.FILES}
        start, step, smooth = time.process_time(), 0, {}
        while (done := (time.process_time() - start) / 60 / minutes) < 1:
            kind = "chest" if random.random() < CHEST_SHARE else "ct"
            loss = loss_of(kind, next(feeds[kind]))
            self.step(loss, self.rate * min(1, (step + 1) / 100, 0.02 + 1.3 * (1 - done)))
            smooth[kind] = 0.97 * smooth.get(kind, loss.item()) + 0.03 * loss.item()
            step += 1
            if step % 50 == 0:
                told = " ".join(f"{kind} {value:.4f}" for kind, value in smooth.items())
                print(f"{name} step {step} {100 * done:.0f}% {told}", flush=True)
            if step % 300 == 0:
                self.save(out)
        self.save(out)

    def save(self, out: Path) -> None:
        """The running average of the weights, in half precision."""
        config = self.average.module.config
        half = architecture.fresh(config.text_config.vocab_size)
        half.load_state_dict(self.average.module.state_dict())
        half.to(torch.float16).save_pretrained(out)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "tokenizer", "out"):
        arguments.add_argument(name, type=Path)
    arguments.add_argument("--facts", type=float, default=8, help="minutes of processor time")
    arguments.add_argument("--answers", type=float, default=24, help="minutes of processor time")
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--rate", type=float, default=1.2e-3, help="peak learning rate")
    arguments.add_argument("--start", type=Path, help="a model to go on from")
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)
    trainer = Trainer(given)
    if trainer.with_facts:
        trainer.run("facts", trainer.facts_loss, given.facts, given.out)
    trainer.run("answers", trainer.answer_loss, given.answers, given.out)


if __name__ == "__main__":
    main()
