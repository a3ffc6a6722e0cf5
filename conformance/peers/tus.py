"""Resumable uploads by the real tus-js-client, with the server killed in the middle, and by hand."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import time
import zipfile
from pathlib import Path

import requests
from pydicom.uid import generate_uid

from . import dicomweb, part10, uploads
from .server import WITHOUT_ANALYSIS, Server
from .tally import equal

SOURCE = Path(__file__).parent.parent / "tus"
ORIGIN = "https://upload.example.org"
KEYS = {**WITHOUT_ANALYSIS, "http.cors_origins": f'["{ORIGIN}"]', "uploads.unfinished_max": "3",
        "uploads.bytes_max": str(1 << 30), **uploads.BOUNDED}
OBJECTS, SIDE, CHUNK = 24, 512, 256 << 10
RESUMABLE = {"Tus-Resumable": "1.0.0"}
OCTETS = {**RESUMABLE, "Content-Type": "application/offset+octet-stream"}
EXPOSED = ("Upload-Offset", "Location", "Upload-Length", "Tus-Version", "Tus-Resumable", "Tus-Max-Size", "Tus-Extension",
           "Upload-Metadata", "Upload-Expires")


def run(context, tally):
    folder = context.folder("tus")
    with Server(context.binary, folder / "data", KEYS) as server:
        by_hand(server, tally, folder)
        if shutil.which("npm") is None:
            tally.miss("tus", "npm")
            return
        client = Client(folder / "client", f"{server.base}/api/v1/uploads/tus")
        with tally.check("tus: tus-js-client uploads an object in chunks, with creation, and by overridden methods"):
            check_modes(server, client, folder)
        with tally.check("tus: tus-js-client terminates"):
            file = folder / "given-up.dcm"
            file.write_bytes(part10.image(generate_uid(), 1, side=SIDE))
            told = client.run(file, 64 << 10, "terminate")
            equal("gone", head(told[-1]["terminated"]).status_code, 410)
        with tally.check("tus: tus-js-client goes on by itself after a kill -9 in the middle of a zip"):
            check_kill(server, client, folder)


class Client:
    def __init__(self, folder, endpoint):
        self.folder, self.endpoint = folder, endpoint
        shutil.copytree(SOURCE, folder)
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True)

    def start(self, file, chunk, mode):
        command = ["node", "upload.mjs", self.endpoint, str(file), str(chunk), mode]
        return subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, text=True)

    def run(self, file, chunk, mode="plain"):
        with self.start(file, chunk, mode) as process:
            told = [json.loads(line) for line in process.stdout]
        equal(f"tus-js-client ({told[-1:]})", process.returncode, 0)
        return told


def settled(server, url):
    upload = url.rsplit("/", 1)[-1]
    for _ in range(600):
        state = requests.get(f"{server.base}/api/v1/uploads/{upload}", timeout=60).json()
        if state["state"] in ("done", "failed", "aborted"):
            return state
        time.sleep(0.1)
    raise AssertionError(f"the upload was not stored: {state}")


def check_modes(server, client, folder):
    for number, mode in enumerate(("plain", "with-creation", "override"), 1):
        file = folder / f"{mode}.dcm"
        file.write_bytes(part10.image(generate_uid(), number, side=SIDE))
        told = client.run(file, CHUNK, mode)
        assert sum("accepted" in line for line in told) > 1, told
        state = settled(server, told[-1]["done"])
        equal(mode, (state["state"], state["counts"]["stored"], state["name"]), ("done", 1, f"{mode}.dcm"))


def check_kill(server, client, folder):
    study = generate_uid()
    file = folder / "study.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for number in range(OBJECTS):
            archive.writestr(f"{number}.dcm", part10.image(study, number, side=SIDE))
    with client.start(file, CHUNK, "plain") as process:
        told = []
        for line in process.stdout:
            told.append(json.loads(line))
            accepted = told[-1].get("accepted", 0)
            if accepted > file.stat().st_size // 3 and server.process.poll() is None and "killed" not in told:
                told.append("killed")
                server.kill()
                server.start()
                url = next(line["url"] for line in told if "url" in line)
                offset = int(head(url).headers["Upload-Offset"])
                assert offset >= accepted, f"{accepted} were acknowledged and {offset} are there"
    equal("exit", process.returncode, 0)
    assert "killed" in told, "the kill came too late"
    state = settled(server, told[-1]["done"])
    equal("outcome", (state["state"], state["counts"]["stored"], state["counts"]["files"]), ("done", OBJECTS, OBJECTS))
    equal("instances", len([uids for uids in dicomweb.instances(server) if uids[0] == study]), OBJECTS)


def by_hand(server, tally, folder):
    url = f"{server.base}/api/v1/uploads/tus"
    with tally.check("tus: OPTIONS, versions, and what scripts of another origin may read"):
        check_protocol(url)
    with tally.check("tus: offsets, checksums, lengths and content types are held to"):
        check_rules(server, url)
    with tally.check("tus: an offset survives a kill -9, and the rest may come"):
        check_durable(server, url)
    with tally.check("tus: bombs, too many entries and names that climb come to nothing"):
        check_hostile(server, url, folder)
    with tally.check("tus: unfinished uploads of one caller are bounded"):
        check_quota(url)


def head(url):
    return requests.head(url, headers=RESUMABLE, timeout=60)


def create(url, length, **more):
    answer = requests.post(url, headers={**RESUMABLE, "Upload-Length": str(length), **more}, timeout=60)
    equal("created", answer.status_code, 201)
    return answer.headers["Location"]


def patch(url, offset, data, **more):
    return requests.patch(url, data=data, headers={**OCTETS, "Upload-Offset": str(offset), **more}, timeout=60)


def check_protocol(url):
    answer = requests.options(url, timeout=60)
    equal("version", answer.headers["Tus-Version"], "1.0.0")
    for extension in ("creation", "creation-with-upload", "termination", "expiration", "checksum"):
        assert extension in answer.headers["Tus-Extension"].split(","), extension
    equal("largest", answer.headers["Tus-Max-Size"], str(1 << 30))
    refused = requests.post(url, headers={"Upload-Length": "1"}, timeout=60)
    equal("without a version", (refused.status_code, refused.headers["Tus-Version"]), (412, "1.0.0"))
    asking = {"Origin": ORIGIN, "Access-Control-Request-Method": "PATCH",
              "Access-Control-Request-Headers": "tus-resumable,upload-offset,content-type"}
    preflight = requests.options(f"{url}/0190a0a0-0000-7000-8000-000000000000", headers=asking, timeout=60)
    assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"], preflight.headers
    answer = requests.post(url, headers={**RESUMABLE, "Upload-Length": "1", "Origin": ORIGIN}, timeout=60)
    exposed = {name.strip().lower() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
    missing = [name for name in EXPOSED if name.lower() not in exposed]
    requests.delete(answer.headers["Location"], headers=RESUMABLE, timeout=60)
    equal("not exposed", missing, [])


def check_rules(server, url):
    content = part10.image(generate_uid(), 1, side=64)
    upload = create(url, len(content), **{"Upload-Metadata": "filename " + base64.b64encode(b"x.dcm").decode()})
    equal("wrong offset", patch(upload, 5, b"x").status_code, 409)
    equal("wrong type", patch(upload, 0, b"x", **{"Content-Type": "text/plain"}).status_code, 415)
    wrong = patch(upload, 0, content[:100], **{"Upload-Checksum": "sha1 " + base64.b64encode(bytes(20)).decode()})
    equal("wrong checksum", (wrong.status_code, head(upload).headers["Upload-Offset"]), (460, "0"))
    digest = base64.b64encode(hashlib.sha1(content[:100]).digest()).decode()
    right = patch(upload, 0, content[:100], **{"Upload-Checksum": f"sha1 {digest}"})
    equal("checksum", (right.status_code, right.headers["Upload-Offset"]), (204, "100"))
    equal("too much", patch(upload, 100, content).status_code, 413)
    offset = int(head(upload).headers["Upload-Offset"])
    equal("the rest", patch(upload, offset, content[offset:]).status_code, 204)
    equal("stored", settled(server, upload)["counts"]["stored"], 1)
    equal("complete", patch(upload, len(content), b"").status_code, 409)
    equal("larger than may be", requests.post(url, headers={**RESUMABLE, "Upload-Length": str(2 << 30)}, timeout=60).status_code, 413)


def check_hostile(server, url, folder):
    """What a form cannot smuggle in, an upload in pieces cannot either."""
    before = sorted(os.listdir(folder))
    refused = files_of(server, url, "bomb.zip", uploads.bomb())
    assert refused[-1]["outcome"] == "refused" and "times its size" in refused[-1]["reason"], refused
    many = uploads.zipped([(f"{number}.txt", b"x") for number in range(60)])
    [refused] = files_of(server, url, "many.zip", many)
    assert "more than 40 entries" in refused["reason"], refused
    study = generate_uid()
    for number, name in enumerate(uploads.HOSTILE, 1):
        [stored] = files_of(server, url, name, part10.image(study, number, side=16))
        equal(repr(name), stored["outcome"], "stored")
    entries = [(name.replace("\0", ""), part10.image(study, 20 + number, side=16)) for number, name in enumerate(uploads.HOSTILE)]
    told = files_of(server, url, "all.zip", uploads.zipped(entries))
    equal("in a zip", [file["outcome"] for file in told], ["stored"] * len(entries))
    equal("beside the data folder", sorted(os.listdir(folder)), before)
    equal("the server stands", requests.get(f"{server.base}/healthz", timeout=60).status_code, 200)


def files_of(server, url, name, content):
    """What became of each file of an upload that is called so."""
    metadata = "filename " + base64.b64encode(name.encode("utf-8", "replace")).decode()
    upload = create(url, len(content), **{"Upload-Metadata": metadata})
    equal("sent", patch(upload, 0, content).status_code, 204)
    settled(server, upload)
    own = upload.rsplit("/", 1)[1]
    return requests.get(f"{server.base}/api/v1/uploads/{own}/files", timeout=60).json()["items"]


def check_durable(server, url):
    content = part10.image(generate_uid(), 1, side=256)
    upload = create(url, len(content))
    half = len(content) // 2
    equal("half", patch(upload, 0, content[:half]).status_code, 204)
    server.kill()
    server.start()
    equal("kept", head(upload).headers["Upload-Offset"], str(half))
    equal("the rest", patch(upload, half, content[half:]).status_code, 204)
    equal("stored", settled(server, upload)["counts"]["stored"], 1)


def check_quota(url):
    uploads = [create(url, 10) for _ in range(3)]
    equal("one more", requests.post(url, headers={**RESUMABLE, "Upload-Length": "10"}, timeout=60).status_code, 429)
    for upload in uploads:
        equal("terminated", requests.delete(upload, headers=RESUMABLE, timeout=60).status_code, 204)
        equal("gone", head(upload).status_code, 410)
