"""An object of 1 GB does not raise the memory, neither on its way in nor on its way out."""

import hashlib
import random
import shutil
import subprocess
import time
from io import BytesIO
from pathlib import Path

import requests
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, MultiFrameGrayscaleWordSecondaryCaptureImageStorage, generate_uid

from . import dicomweb, dimse
from .part10 import data_set, image
from .server import Server

SIDE, FRAMES = 1024, 512
GROWTH_KB_MAX = 64 * 1024
BLOCK = 1 << 20


def run(context, tally):
    folder = context.folder("large-object")
    with Server(context.binary, folder / "data") as server:
        for name, send in (("C-STORE", by_dimse), ("STOW-RS", by_stow)):
            path = folder / "large.dcm"
            study, digest = write(path)
            with tally.check(f"1 GB by {name}"):
                grew = growth_kb(server, lambda: send(server, path))
                report(f"{name} in", grew)
            with tally.check(f"1 GB by {name} comes back bit for bit"):
                grew = growth_kb(server, lambda: fetch(server, study, digest))
                report("WADO-RS out", grew)
            path.unlink()
    shutil.rmtree(folder)


def report(what, grew_kb):
    print(f"     {what}: the server grew by {grew_kb / 1024:.1f} MB")
    assert grew_kb < GROWTH_KB_MAX, f"the server grew by {grew_kb / 1024:.0f} MB"


def growth_kb(server, work):
    """Peak of the resident memory during the work over what was resident before."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
    before = server.status_kb("VmRSS")
    work()
    return server.status_kb("VmHWM") - before


def write(path, frames=FRAMES):
    """A multi-frame secondary capture of 16 bits; the digest is that of its data set."""
    study = generate_uid()
    small = dcmread(BytesIO(image(study, 1, 2)))
    sop_class = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    small.SOPClassUID = small.file_meta.MediaStorageSOPClassUID = sop_class
    small.Rows = small.Columns = SIDE
    small.NumberOfFrames = frames
    del small.PixelData
    head = BytesIO()
    small.save_as(head, enforce_file_format=True)
    size, block = SIDE * SIDE * 2 * frames, random.Random(1).randbytes(BLOCK)
    element = b"\xe0\x7f\x10\x00OW\x00\x00" + size.to_bytes(4, "little")
    digest = hashlib.sha256(data_set(head.getvalue()) + element)
    with path.open("wb") as out:
        out.write(head.getvalue() + element)
        for _ in range(size // BLOCK):
            out.write(block)
            digest.update(block)
    return study, digest.hexdigest()


def by_dimse(server, path):
    """storescu where it is, as it is the faster of the two."""
    start = time.monotonic()
    if shutil.which("storescu"):
        command = ["storescu", "-R", "-aec", server.aet, server.host, str(server.dimse_port), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr[-300:]
    else:
        contexts = [(MultiFrameGrayscaleWordSecondaryCaptureImageStorage, ExplicitVRLittleEndian)]
        [(_, status)] = dimse.send(server, [path], contexts)
        assert status == dimse.SUCCESS, status
    print(f"     C-STORE took {time.monotonic() - start:.0f} s")


def by_stow(server, path):
    start = time.monotonic()
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b', "Accept": dicomweb.JSON}
    answer = requests.post(f"{server.web}/studies", data=one_part(path), headers=headers, timeout=900)
    kept, failed = dicomweb.store_outcome(answer)
    assert answer.status_code == 200 and len(kept) == 1, f"{answer.status_code}, {failed}"
    print(f"     STOW-RS took {time.monotonic() - start:.0f} s")


def one_part(path):
    yield b"--b\r\nContent-Type: application/dicom\r\n\r\n"
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block
    yield b"\r\n--b--\r\n"


def fetch(server, study, expected):
    [uids] = [uids for uids in dicomweb.instances(server) if uids[0] == study]
    url = f"{server.web}/studies/{uids[0]}/series/{uids[1]}/instances/{uids[2]}"
    with requests.get(url, headers={"Accept": dicomweb.AS_STORED}, stream=True, timeout=900) as answer:
        assert answer.status_code == 200, answer.status_code
        assert data_set_digest(answer.iter_content(BLOCK)) == expected, "other bytes came back"


def data_set_digest(blocks):
    """Of a body with one part: what lies between the file meta information and the last delimiter."""
    head = b""
    while len(head) < BLOCK:
        head += next(blocks)
    part = head.split(b"\r\n\r\n", 1)[1]
    delimiter = b"\r\n--" + head.lstrip(b"\r\n").split(b"\r\n", 1)[0].removeprefix(b"--") + b"--"
    digest, held = hashlib.sha256(), data_set(part)
    for block in blocks:
        held += block
        digest.update(held[: -len(delimiter) - 2])
        held = held[-len(delimiter) - 2 :]
    digest.update(held[: held.rindex(delimiter)])
    return digest.hexdigest()
