#!/usr/bin/env python3
"""Tokens per CPU-second of the decoder, beside llama.cpp on the same file, machine and threads.

The engines take turns, so that a busy machine is busy for all of them; the median round counts. llama.cpp is
driven as a library: the build that PyPI's xllamacpp carries (AVX2), and with `--llama` the one in the folder of
npm's @node-llama-cpp/linux-x64, which chooses its kernels by the processor (AVX-512, AMX)."""

import argparse
import ctypes
import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path

PREFILL, DECODE = "prefill", "decode"


def main():
    arguments = parse()
    if arguments.engine:
        return print(json.dumps(ENGINES[arguments.engine](arguments)))
    engines = ["radiant", "xllamacpp"] + (["llama.cpp"] if arguments.llama else [])
    rounds = {engine: [] for engine in engines}
    for _ in range(arguments.rounds):
        for engine in engines:
            rounds[engine].append(in_a_process_of_its_own(engine))
    report({engine: medians(results) for engine, results in rounds.items()}, arguments)


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--dir", type=Path, required=True, help="the model folder; its one text GGUF is for both")
    parser.add_argument("--llama", type=Path, help="the folder with libllama")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", choices=list(ENGINES), help=argparse.SUPPRESS)
    return parser.parse_args()


def in_a_process_of_its_own(engine):
    command = [sys.executable, __file__, *sys.argv[1:], "--engine", engine]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def medians(results):
    return {name: statistics.median(result[name] for result in results) for name in results[0]}


def report(results, arguments):
    print(f"{text_file(arguments.dir)}, {arguments.threads} threads, prompt {arguments.prompt}, "
          f"answer {arguments.tokens}, median of {arguments.rounds}")
    print(f"{'engine':<12} {'prefill':>9} {'ratio':>6} {'decode':>9} {'ratio':>6} {'memory':>8}   tokens per CPU-second, GB")
    ours = results["radiant"]
    for engine, result in results.items():
        ratios = [ours[name] / result[name] for name in (PREFILL, DECODE)]
        print(f"{engine:<12} {result[PREFILL]:9.2f} {ratios[0]:6.2f} {result[DECODE]:9.2f} {ratios[1]:6.2f} "
              f"{result['peak'] / 1e9:8.2f}")


def radiant(arguments):
    command = [arguments.binary, "model", "bench", arguments.dir, "--json", "--rounds", "2"]
    for name in ("threads", "prompt", "tokens"):
        command += [f"--{name}", str(getattr(arguments, name))]
    measured = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    rate = {name: measured[name]["tokens"] / measured[name]["cpu_s"] for name in (PREFILL, DECODE)}
    return {**rate, "peak": measured["peak_bytes"]}


def text_file(folder):
    [file] = [file for file in sorted(folder.glob("*.gguf")) if "mmproj" not in file.name]
    return file


def words(count):
    return [1000 + number * 7919 % 200_000 for number in range(count)]


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def spent(work):
    before = cpu_seconds()
    work()
    return cpu_seconds() - before


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def xllamacpp(arguments):
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(text_file(arguments.dir))
    params.n_ctx, params.n_batch, params.n_ubatch, params.n_parallel = context(arguments), 512, 512, 1
    params.warmup = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = arguments.threads
    server = xllamacpp.Server(params)
    wish = {"temperature": 0, "cache_prompt": False, "ignore_eos": True}

    def complete(count, tokens):
        server.handle_completions({**wish, "prompt": words(count), "n_predict": tokens})

    complete(32, 2)
    prompt = spent(lambda: complete(arguments.prompt, 1))
    # the first token comes with the prompt
    both = spent(lambda: complete(arguments.prompt, 1 + arguments.tokens))
    return {PREFILL: arguments.prompt / prompt, DECODE: arguments.tokens / (both - prompt), "peak": peak()}


class Params(ctypes.Structure):
    """Parameters by value, whose first numbers are known and whose length is at most this."""

    _fields_ = [("numbers", ctypes.c_uint32 * 128)]


class Batch(ctypes.Structure):
    _fields_ = [("count", ctypes.c_int32), ("arrays", ctypes.c_void_p * 6)]


def llama(arguments):
    library = open_llama(arguments.llama)
    model = library.llama_model_load_from_file(str(text_file(arguments.dir)).encode(), library.llama_model_default_params())
    params = library.llama_context_default_params()
    params.numbers[0:3] = [context(arguments), 512, 512]
    session = library.llama_init_from_model(model, params)
    library.llama_set_n_threads(session, arguments.threads, arguments.threads)

    def step(tokens):
        for start in range(0, len(tokens), 512):
            part = tokens[start:start + 512]
            array = (ctypes.c_int32 * len(part))(*part)
            assert library.llama_decode(session, library.llama_batch_get_one(array, len(part))) == 0
        library.llama_get_logits_ith(session, -1)

    step(words(32))
    library.llama_memory_clear(library.llama_get_memory(session), True)
    prompt = spent(lambda: step(words(arguments.prompt)))
    answer = spent(lambda: [step([word]) for word in words(arguments.tokens)])
    return {PREFILL: arguments.prompt / prompt, DECODE: arguments.tokens / answer, "peak": peak()}


def context(arguments):
    return (arguments.prompt + arguments.tokens + 64 + 255) // 256 * 256


def open_llama(folder):
    for name in ("libggml-base", "libggml", "libllama"):
        [path] = [path for path in folder.glob(f"{name}*") if path.name.startswith((f"{name}.so", f"{name}.v"))]
        library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        if name == "libggml":
            library.ggml_backend_load_all_from_path(str(folder).encode())
    pointer, number = ctypes.c_void_p, ctypes.c_int32
    for name, answer, takes in [
        ("llama_model_default_params", Params, []),
        ("llama_context_default_params", Params, []),
        ("llama_model_load_from_file", pointer, [ctypes.c_char_p, Params]),
        ("llama_init_from_model", pointer, [pointer, Params]),
        ("llama_set_n_threads", None, [pointer, number, number]),
        ("llama_get_memory", pointer, [pointer]),
        ("llama_memory_clear", None, [pointer, ctypes.c_bool]),
        ("llama_batch_get_one", Batch, [pointer, number]),
        ("llama_decode", number, [pointer, Batch]),
        ("llama_get_logits_ith", pointer, [pointer, number]),
    ]:
        function = getattr(library, name)
        function.restype, function.argtypes = answer, takes
    library.llama_backend_init()
    return library


ENGINES = {"radiant": radiant, "xllamacpp": xllamacpp, "llama.cpp": llama}

if __name__ == "__main__":
    main()
