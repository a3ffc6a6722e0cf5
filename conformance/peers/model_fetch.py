"""`radiant model fetch` against a hub on loopback that does everything that a hub, and a network, do.

huggingface_hub, the hub's own client, fetches from the same server first: it speaks as a hub does.
"""

import json
import os
import pty
import random
import re
import signal
import struct
import subprocess
import time

from .command_line import TINY_MODEL, radiant
from .hub import ForwardProxy, Hub, Repository
from .server import environment
from .tally import equal

TOKEN = "hf_token_of_the_suite"
LINK = "https://developers.google.com/health-ai-developer-foundations/terms"
NOTICE = "HAI-DEF is provided under and subject to the Health AI Developer Foundations Terms of Use"
NEEDED = ["config.json", "generation_config.json", "tokenizer.json"]
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
INDEX = "model.safetensors.index.json"
OWN = ["radiant-fetch.json", "radiant.json"]
KILLS = 6
HUGE = 1 << 60


def tiny_model():
    """The smallest model there is, and files beside it that the engine does not read."""
    names = [*NEEDED, "model.safetensors"]
    files = {name: (TINY_MODEL / name).read_bytes() for name in names}
    return files | {"README.md": b"# A model\n", "optimizer.pt": bytes(1000), "weights/extra.bin": b"extra"}


def in_shards(files):
    """The same with its tensors in two files and an index."""
    whole = files.pop("model.safetensors")
    length = struct.unpack("<Q", whole[:8])[0]
    header, data = json.loads(whole[8:8 + length]), whole[8 + length:]
    header.pop("__metadata__", None)
    names = sorted(header)
    halves = (names[:len(names) // 2], names[len(names) // 2:])
    for shard, half in zip(SHARDS, halves, strict=True):
        files[shard] = safetensors({name: (header[name], data) for name in half})
    places = {name: shard for shard, half in zip(SHARDS, halves, strict=True) for name in half}
    files[INDEX] = json.dumps({"metadata": {}, "weight_map": places}).encode()
    return files


def safetensors(tensors):
    header, content = {}, b""
    for name, (entry, data) in tensors.items():
        start, end = entry["data_offsets"]
        header[name] = entry | {"data_offsets": [len(content), len(content) + end - start]}
        content += data[start:end]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


def repositories():
    files = tiny_model()
    large = ["model.safetensors", "optimizer.pt"]
    own = {"license": "other", "license_name": "health-ai-developer-foundations", "license_link": LINK}
    return {
        "tiny/gemma": Repository(files, large, {"license": "mit"}, revisions=("main", "refs/pr/1")),
        "tiny/shards": Repository(in_shards(dict(files)), SHARDS, {"license": "mit"}),
        "tiny/gated": Repository(files, large, {"license": "other"}, gated=True),
        "tiny/readme": Repository({"README.md": b"none"}),
        "google/medgemma-tiny": Repository(files, large, own, gated=True),
    }


class Fetcher:
    """Runs the command; nothing that it prints may show the token."""

    def __init__(self, context, hub):
        self.context, self.hub = context, hub
        self.root = context.folder("model-fetch")
        self.count = 0

    def folder(self):
        self.count += 1
        return self.root / f"model-{self.count}"

    def keys(self, token, more):
        quick = {"model.hub.retry_first_s": "0.05", "model.hub.timeout_s": "2.0", "model.hub.attempts_max": "4"}
        return {"model.hub.endpoint": self.hub.base, "model.hub.token": token} | quick | more

    def command(self, repo, folder, *flags):
        return ["model", "fetch", repo, "--to", folder, *flags]

    def fetch(self, repo, folder, *flags, token="", keys=None):
        keys = self.keys(token, keys or {})
        status, output = radiant(self.context, *self.command(repo, folder, *flags), keys=keys, timeout=120)
        assert TOKEN not in output and "X-Amz" not in output and "panicked" not in output, output
        return status, output

    def fetched(self, repo, *flags, folder=None, token="", keys=None):
        folder = folder or self.folder()
        status, output = self.fetch(repo, folder, *flags, token=token, keys=keys)
        assert status == 0, output
        return folder, output

    def refused(self, repo, *named, flags=(), folder=None, token="", keys=None):
        folder = folder or self.folder()
        status, output = self.fetch(repo, folder, *flags, token=token, keys=keys)
        equal("exit status", status, 1)
        for name in named:
            assert name in output, f"{name} is not in: {output}"
        return folder, output

    def start(self, repo, folder, keys=None):
        command = [str(part) for part in (self.context.binary, *self.command(repo, folder))]
        keys = environment(self.keys("", keys or {}))
        return subprocess.Popen(command, env=keys, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def check(self, folder):
        return radiant(self.context, "model", "check", folder, timeout=300)


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def are_those_of(folder, repository, wanted):
    for name in wanted:
        assert (folder / name).read_bytes() == repository.files[name], f"{name} is another"


def run(context, tally):
    with Hub(repositories()) as hub:
        fetcher = Fetcher(context, hub)
        the_servers_own_client(tally, fetcher)
        whole(tally, fetcher)
        broken(tally, fetcher, random.Random(context.seed))
        wrong(tally, fetcher)
        refusals(tally, fetcher)
        terms(tally, fetcher)
        credentials(tally, fetcher)


def the_servers_own_client(tally, fetcher):
    name = "huggingface_hub fetches from this hub"
    os.environ |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        tally.miss(name, "huggingface_hub")
        return
    with tally.check(name):
        folder = fetcher.folder()
        snapshot_download("tiny/gemma", local_dir=folder, endpoint=fetcher.hub.base, token=TOKEN)
        repository = fetcher.hub.repositories["tiny/gemma"]
        are_those_of(folder, repository, repository.files)
    fetcher.hub.behave()


def whole(tally, fetcher):
    hub = fetcher.hub
    with tally.check("what the engine needs is fetched, and nothing else"):
        folder, output = fetcher.fetched("tiny/gemma")
        wanted = [*NEEDED, "model.safetensors"]
        equal("files", names(folder), sorted([*wanted, *OWN]))
        are_those_of(folder, hub.repositories["tiny/gemma"], wanted)
        assert "licence mit" in output, output
    with tally.check("model check passes on it, and says where it is from"):
        status, output = fetcher.check(folder)
        commit = hub.repositories["tiny/gemma"].commit
        assert status == 0 and f"tiny/gemma at {commit}" in output, output
    with tally.check("fetched again, no file comes twice"):
        hub.behave()
        fetcher.fetched("tiny/gemma", folder=folder)
        equal("bytes asked for", [path for path, _ in hub.asked if "resolve" in path] + hub.stored, [])
    with tally.check("model check names a file that has changed since"):
        content = (folder / "tokenizer.json").read_bytes()
        (folder / "tokenizer.json").write_bytes(content.replace(b"  ", b" \t", 1))
        status, output = fetcher.check(folder)
        assert status == 1 and "tokenizer.json has another digest" in output, output
    with tally.check("fetched again, only the changed file comes"):
        hub.behave()
        fetcher.fetched("tiny/gemma", folder=folder)
        equal("files", {path.rsplit("/", 1)[-1] for path, _ in hub.asked if "/resolve/" in path}, {"tokenizer.json"})
        equal("exit status of the check", fetcher.check(folder)[0], 0)
    with tally.check("shards with their index; model check passes"):
        folder, _ = fetcher.fetched("tiny/shards")
        equal("files", names(folder), sorted([*NEEDED, INDEX, *SHARDS, *OWN]))
        equal("exit status of the check", fetcher.check(folder)[0], 0)
    with tally.check("files by hand, below folders, of another revision"):
        flags = ["--file", "weights/*", "--file", "README.md", "--revision", "refs/pr/1"]
        folder, _ = fetcher.fetched("tiny/gemma", *flags)
        equal("files", names(folder), sorted(["README.md", "weights/extra.bin", *OWN]))
    with tally.check("through a proxy"), ForwardProxy() as proxy:
        fetcher.fetched("tiny/gemma", keys={"model.hub.proxy": proxy.base})
        assert any(hub.storage_base in url for url in proxy.urls), proxy.urls


def broken(tally, fetcher, chance):
    hub, repository = fetcher.hub, fetcher.hub.repositories["tiny/gemma"]
    with tally.check("transfers that break off are continued where they were"):
        hub.behave(cut_after=400_000)
        folder, _ = fetcher.fetched("tiny/gemma")
        starts = [headers.get("Range") for _, headers in hub.stored]
        equal("parts", starts, [None, *(f"bytes={400_000 * n}-" for n in range(1, len(starts)))])
        are_those_of(folder, repository, ["model.safetensors"])
    with tally.check("a server without parts is asked for the whole"):
        folder = fetcher.folder()
        hub.behave(cut_after=400_000)
        fetcher.fetch("tiny/gemma", folder, keys={"model.hub.attempts_max": "1"})
        assert [name for name in names(folder) if name.endswith(".part")], names(folder)
        hub.behave(ranges=False)
        fetcher.fetched("tiny/gemma", folder=folder)
        are_those_of(folder, repository, ["model.safetensors"])
    with tally.check(f"killed {KILLS} times, it ends with the right files"):
        killed(fetcher, chance)
    with tally.check("silence is not waited for"):
        hub.behave(silent=1)
        folder, _ = fetcher.fetched("tiny/gemma")
        are_those_of(folder, repository, ["model.safetensors"])
    with tally.check("a busy hub is asked again, when it says"):
        hub.behave(busy=[(503, {}), (429, {"Retry-After": "1"}), (502, {})])
        start = time.monotonic()
        fetcher.fetched("tiny/gemma")
        assert time.monotonic() - start >= 1, "it did not wait"
    with tally.check("a hub that stays busy is given up, after as many attempts as configured"):
        hub.behave(busy=[(503, {})] * 50)
        fetcher.refused("tiny/gemma", "given up after 4 attempts", "503")
        equal("requests", len(hub.asked), 4)
    hub.behave()


def killed(fetcher, chance):
    hub, repository, folder = fetcher.hub, fetcher.hub.repositories["tiny/gemma"], fetcher.folder()
    for _ in range(KILLS):
        hub.behave(bytes_per_s=400_000)
        process = fetcher.start("tiny/gemma", folder)
        time.sleep(chance.uniform(0.1, 1.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        there = [name for name in repository.files if (folder / name).exists()]
        are_those_of(folder, repository, there)
    hub.behave()
    fetcher.fetched("tiny/gemma", folder=folder)
    resumed = [headers["Range"] for _, headers in hub.stored if "Range" in headers]
    assert resumed or not hub.stored, "it began anew"
    are_those_of(folder, repository, [*NEEDED, "model.safetensors"])
    assert not [name for name in names(folder) if name.endswith(".part")], names(folder)


def wrong(tally, fetcher):
    hub, repository = fetcher.hub, fetcher.hub.repositories["tiny/gemma"]
    for name in ("model.safetensors", "tokenizer.json"):
        with tally.check(f"wrong bytes never get the name {name}"):
            hub.behave(spoiled=[name])
            folder, _ = fetcher.refused("tiny/gemma", name, "digest")
            assert name not in names(folder) and "radiant-fetch.json" not in names(folder), names(folder)
            hub.behave()
            fetcher.fetched("tiny/gemma", folder=folder)
            are_those_of(folder, repository, [name])
    with tally.check("a part that the disk has lost is begun anew"):
        folder = fetcher.folder()
        hub.behave(cut_after=400_000)
        fetcher.fetch("tiny/gemma", folder, keys={"model.hub.attempts_max": "1"})
        part = next(folder.glob("*.part"))
        part.write_bytes(bytes(part.stat().st_size))
        hub.behave()
        fetcher.fetched("tiny/gemma", folder=folder)
        are_those_of(folder, repository, ["model.safetensors"])
    lies = {"X-Repo-Commit": "f" * 40, "X-Linked-Etag": f'"{"f" * 64}"', "X-Linked-Size": "7"}
    for header, value in lies.items():
        with tally.check(f"a hub whose {header} is another is not believed"):
            repository.headers = {header: value}
            hub.behave()
            fetcher.refused("tiny/gemma", "is not what the hub lists")
            equal("bytes asked for", hub.stored, [])
            repository.headers = {}
    with tally.check("what is larger than it was said to be is cut off"):
        repository.sizes = {"model.safetensors": 1000}
        hub.behave()
        folder, _ = fetcher.refused("tiny/gemma", "more than 1000 bytes")
        assert all((folder / name).stat().st_size < 100_000 for name in names(folder)), names(folder)
    with tally.check("what does not fit on the disk is not begun"):
        repository.sizes = {"model.safetensors": HUGE}
        hub.behave()
        fetcher.refused("tiny/gemma", "bytes free", str(HUGE)[:8])
        equal("bytes asked for", hub.stored, [])
    repository.sizes = {}
    with tally.check("a name that leads out of the folder is refused"):
        repository.files["../escaped"] = b"x"
        folder, _ = fetcher.refused("tiny/gemma", "no path inside a folder")
        assert not (folder.parent / "escaped").exists()
        del repository.files["../escaped"]


def refusals(tally, fetcher):
    hub = fetcher.hub
    page = f"{hub.base}/tiny/gated"
    cases = [
        ("a gated model without a token", "tiny/gated", [page, "accept its terms", "model.hub.token_file"], {}),
        ("no such model, without a token", "tiny/absent", ["tiny/absent", "model.hub.token_file"], {}),
        ("no such model", "tiny/absent", ["has no repository tiny/absent"], {"token": TOKEN}),
        ("no such revision", "tiny/gemma", ["no revision v9"], {"flags": ["--revision", "v9"]}),
        ("no such file", "tiny/gemma", ["no file like *.gguf"], {"flags": ["--file", "*.gguf"]}),
        ("a model without weights", "tiny/readme", ["neither safetensors nor GGUF"], {}),
        ("a token that the hub does not know", "tiny/gemma", ["does not know the token"], {"token": "hf_wrong"}),
    ]
    for name, repo, named, how in cases:
        with tally.check(f"{name}: it says so"):
            fetcher.refused(repo, *named, **how)
    with tally.check("a gated model whose terms were not accepted there: it says where to"):
        hub.members = False
        folder, _ = fetcher.refused("tiny/gated", page, "accept its terms", token=TOKEN)
        hub.members = True
        fetcher.fetched("tiny/gated", folder=folder, token=TOKEN)
    with tally.check("another model has a folder of its own"):
        fetcher.refused("tiny/gemma", "tiny/gated", "--to", folder=folder)
    with tally.check("one fetch at a time in one folder"):
        folder = fetcher.folder()
        hub.behave(bytes_per_s=200_000)
        process = fetcher.start("tiny/gemma", folder)
        wait_for(lambda: hub.stored)
        fetcher.refused("tiny/gemma", "another fetch", folder=folder)
        process.kill()
        process.wait()
        hub.behave()
    with tally.check("in the clear it asks this machine alone"):
        fetcher.refused("tiny/gemma", "model.hub.endpoint", keys={"model.hub.endpoint": "http://hub.example"})
        hub.behave(storage="http://storage.example")
        fetcher.refused("tiny/gemma", "storage.example", "neither https")
        hub.behave()
    with tally.check("a hub that is not there is named"):
        fetcher.refused("tiny/gemma", "127.0.0.1:9", "given up after 4", keys={"model.hub.endpoint": "http://127.0.0.1:9"})


def wait_for(condition, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it does not come to it"
        time.sleep(0.05)


def typed(fetcher, repo, folder, answer):
    """The command at a terminal, where somebody types."""
    command = [str(part) for part in (fetcher.context.binary, *fetcher.command(repo, folder))]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, env=environment(fetcher.keys(TOKEN, {})), stdin=theirs,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    os.write(ours, f"{answer}\n".encode())
    output, _ = process.communicate(timeout=120)
    os.close(ours), os.close(theirs)
    return process.returncode, output


def terms(tally, fetcher):
    repo, hub = "google/medgemma-tiny", fetcher.hub
    with tally.check("terms that nobody has accepted: shown, and nothing is fetched"):
        hub.behave()
        folder, output = fetcher.refused(repo, NOTICE, LINK, "2024-11-15", "--accept-terms", token=TOKEN)
        assert not folder.exists() and not hub.stored, output
    with tally.check("terms that somebody declines: nothing is fetched"):
        folder = fetcher.folder()
        status, output = typed(fetcher, repo, folder, "no")
        assert status == 1 and "not accepted" in output and not folder.exists(), output
    for means in ("typed", "flag"):
        with tally.check(f"terms accepted ({means}): who, when and which is kept, and asked once"):
            folder = fetcher.folder()
            if means == "typed":
                status, output = typed(fetcher, repo, folder, "accept")
                assert status == 0, output
            else:
                fetcher.fetched(repo, "--accept-terms", folder=folder, token=TOKEN)
            accepted = json.loads((folder / "radiant-terms.json").read_text())
            equal("means", accepted["means"], means)
            equal("terms", (accepted["link"], accepted["version"], accepted["repository"]), (LINK, "2024-11-15", repo))
            assert accepted["accepted_by"] and re.match(r"\d{4}-\d\d-\d\dT", accepted["accepted_at"]), accepted
            _, output = fetcher.fetched(repo, folder=folder, token=TOKEN)
            assert f"by {accepted['accepted_by']}" in output and NOTICE in output, output
    with tally.check("the notice goes along with every result of the model"):
        status, output = fetcher.check(folder)
        assert status == 0 and re.search(f"notice +{NOTICE}", output), output


def credentials(tally, fetcher):
    hub = fetcher.hub
    with tally.check("the token goes to the hub, and nowhere else"):
        hub.behave()
        file = fetcher.root / "token"
        file.write_text(f"{TOKEN}\n")
        fetcher.fetched("tiny/gated", keys={"model.hub.token_file": str(file)})
        assert all(headers.get("Authorization") == f"Bearer {TOKEN}" for _, headers in hub.asked), "not shown"
        assert hub.stored and not any("Authorization" in headers for _, headers in hub.stored), "shown"
    with tally.check("the token is not printed"):
        status, output = radiant(fetcher.context, "check-config", keys=fetcher.keys(TOKEN, {}))
        assert status == 0 and "model.hub.token" in output and TOKEN not in output, output
    with tally.check("a token file that is not there, or is empty, is named"):
        fetcher.refused("tiny/gated", "model.hub.token_file", keys={"model.hub.token_file": "/nowhere/token"})
        file.write_text("\n")
        fetcher.refused("tiny/gated", "the token", keys={"model.hub.token_file": str(file)})
