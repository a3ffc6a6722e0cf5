#!/usr/bin/env python3
"""CPU-seconds that one image costs until the decoder can read it, beside llama.cpp (mtmd) on the same two files and threads.

The engines take turns and the median round counts. Of llama.cpp (the build that PyPI's xllamacpp carries) a question
with an image is timed, less a prompt of as many tokens: what is left is the image. Each image is another one, so that
nothing is found in a cache. The tower decides about the time; the decoder can be a small one of the same width.

With `--demo` the demonstration model is taken, as the two files that its converter makes: that both can be run."""

import argparse
import base64
import json
import random
import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path

from model import medians, spent, text_file, words
from PIL import Image

ROOT = Path(__file__).parent.parent
SIDE = 896


def main():
    arguments = parse()
    if arguments.engine:
        return print(json.dumps({"image": ENGINES[arguments.engine](arguments)}))
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.demo:
            arguments.dir = demonstration(Path(scratch))
        compare(arguments)


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, required=True)
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--dir", type=Path, help="a folder with a text GGUF and its mmproj")
    model.add_argument("--demo", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--vision-precision", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", choices=list(ENGINES), help=argparse.SUPPRESS)
    return parser.parse_args()


def demonstration(scratch):
    sys.path.insert(0, str(ROOT / "conformance/model"))
    from to_gguf import convert

    _, tower = convert(ROOT / "assets/demo-model", scratch / "demo")
    tower.rename(scratch / "mmproj-demo.gguf")
    return scratch


def compare(arguments):
    rounds = {engine: [] for engine in ENGINES}
    for _ in range(arguments.rounds):
        for engine in ENGINES:
            rounds[engine].append(in_a_process_of_its_own(engine, arguments))
    results = {engine: medians(results)["image"] for engine, results in rounds.items()}
    print(f"{text_file(arguments.dir).name}, {arguments.threads} threads, median of {arguments.rounds}: CPU-seconds per image")
    for engine, seconds in results.items():
        print(f"{engine:<12} {seconds:9.2f}   {seconds / results['radiant']:.2f}x ours")


def in_a_process_of_its_own(engine, arguments):
    command = [sys.executable, __file__, "--engine", engine, "--binary", arguments.binary, "--dir", arguments.dir,
               "--threads", arguments.threads, "--vision-precision", arguments.vision_precision]
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def radiant(arguments):
    command = [arguments.binary, "model", "bench", arguments.dir, "--json", "--image", "--rounds", 1, "--prompt", 16, "--tokens", 1,
               "--threads", arguments.threads, "--vision-precision", arguments.vision_precision]
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)["image"]["cpu_s"]


def tower_file(folder):
    [file] = folder.glob("*mmproj*.gguf")
    return file


def noise(seed):
    """As a data URL."""
    drawn, encoded = random.Random(seed), BytesIO()
    Image.frombytes("RGB", (SIDE, SIDE), drawn.randbytes(SIDE * SIDE * 3)).save(encoded, "PNG")
    return "data:image/png;base64," + base64.b64encode(encoded.getvalue()).decode()


def xllamacpp(arguments):
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.mmproj.path = str(text_file(arguments.dir)), str(tower_file(arguments.dir))
    params.n_ctx, params.n_parallel, params.warmup, params.use_jinja = 1024, 1, False, True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = arguments.threads
    server = xllamacpp.Server(params)
    wish, told = {"temperature": 0, "cache_prompt": False, "ignore_eos": True}, {}

    def see(seed):
        parts = [{"type": "image_url", "image_url": {"url": noise(seed)}}, {"type": "text", "text": "What is it?"}]
        asked = {**wish, "max_tokens": 1, "messages": [{"role": "user", "content": parts}]}
        told.update(server.handle_chat_completions(asked))

    see(1)
    seen = spent(lambda: see(2))
    tokens = told["usage"]["prompt_tokens"]
    # the pictures themselves are drawn within the time of both
    drawn = spent(lambda: noise(2))
    read = spent(lambda: server.handle_completions({**wish, "prompt": [token % 200 for token in words(tokens)], "n_predict": 1}))
    return seen - read - drawn


ENGINES = {"radiant": radiant, "xllamacpp": xllamacpp}

if __name__ == "__main__":
    main()
