"""Draw phantoms with `radiant phantom` and keep them as arrays.

    python prepare.py RADIANT KIND COUNT SEED OUT

writes OUT.npy (`[studies, images, channels, 224, 224]` uint8) and OUT.jsonl, one answer per line
exactly as the server serialises it.
"""
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import render

CHUNK = 250
# A model must not care how many pixels a detector has: each chunk is drawn on another one.
MATRICES = (256, 320, 384, 512, 768)


def main(radiant: str, kind: str, count: int, seed: int, out: str) -> None:
    images, channels = (render.CT_IMAGES, 3) if kind == "ct" else (1, 1)
    shape = (count, images, channels, render.SIDE, render.SIDE)
    arrays = np.lib.format.open_memmap(f"{out}.npy", mode="w+", dtype=np.uint8, shape=shape)
    with open(f"{out}.jsonl", "w") as answers:
        for start in range(0, count, CHUNK):
            size = min(CHUNK, count - start)
            for index, (pixels, answer) in enumerate(chunk(radiant, kind, size, seed + start)):
                arrays[start + index] = pixels
                answers.write(answer + "\n")


def chunk(radiant: str, kind: str, count: int, seed: int):
    with tempfile.TemporaryDirectory() as folder:
        matrix = random.Random(seed).choice(MATRICES)
        command = [radiant, "phantom", folder, "--kind", kind, "--count", str(count), "--seed", str(seed)]
        subprocess.run([*command, "--matrix", str(matrix), "--shown-slices-only"], check=True)
        for line in Path(folder, "truth.json").read_text().splitlines():
            truth = json.loads(line)
            yield render.study(Path(folder, f"{truth['seed']:06d}")), answer_of(line)


def answer_of(line: str) -> str:
    """The answer as it stands in the line: parsing and printing it again could change a digit."""
    return line[line.index('"answer":') + len('"answer":') : -1]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
