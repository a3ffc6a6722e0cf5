"""ZIP beyond its first form (APPNOTE 4.3.14 to 4.3.16): a member of more than 4 GiB and one behind it, and more members than
two bytes can count; in by a form and by `radiant import`, out as a download, before Python's zipfile and Info-ZIP."""

import io
import shutil
import subprocess
import zipfile

import requests
from pydicom import dcmread
from pydicom.uid import JPEGBaseline8Bit, generate_uid

from . import dicomweb, part10
from .large_object import growth_kb, report
from .server import WITHOUT_ANALYSIS, Server
from .tally import equal
from .uploads import post

KEYS = {**WITHOUT_ANALYSIS, "uploads.files_max": "80000", "uploads.zip_ratio_max": "2000"}
FOUR_GIB, BLOCK = 1 << 32, 1 << 20
FRAMES, FRAME_BYTES = 5, 900 << 20
MEMBERS = 70_000
PATIENCE_S = 1800


def run(context, tally):
    folder = context.folder("zip64")
    with Server(context.binary, folder / "data", KEYS) as server:
        with tally.check("zip64: more members than two bytes can count, by a form"):
            check_many(server, folder)
        with tally.check("zip64: the same by radiant import"):
            check_import(context, folder)
        large, study = folder / "large.zip", generate_uid()
        with tally.check("zip64: a member of more than 4 GiB and one behind it, by a form, in bounded memory"):
            write_large(large, study)
            report("a form in", growth_kb(server, lambda: upload_large(server, large, study)))
        large.unlink(missing_ok=True)
        with tally.check("zip64: both as a download, in bounded memory"):
            report("a ZIP out", growth_kb(server, lambda: fetch(server, study, large)))
        with tally.check("zip64: the download before zipfile and unzip"):
            check_archive(large)
    shutil.rmtree(folder)


def many(path):
    """Members that are no objects, and three behind them that are."""
    study = generate_uid()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(MEMBERS):
            archive.writestr(f"notes/{number}.txt", b"x")
        for number in range(1, 4):
            archive.writestr(f"{number}.dcm", part10.image(study, number, side=16))
    return study


def check_many(server, folder):
    study = many(folder / "many.zip")
    with (folder / "many.zip").open("rb") as file:
        answer = post(server, [("many.zip", file)])
    equal("status", answer.status_code, 200)
    counts = answer.json()["counts"]
    equal("counts", {key: counts[key] for key in ("files", "stored", "ignored", "refused")},
          {"files": MEMBERS + 3, "stored": 3, "ignored": MEMBERS, "refused": 0})
    equal("instances", len([uids for uids in dicomweb.instances(server) if uids[0] == study]), 3)


def check_import(context, folder):
    imported = folder / "imported"
    command = [str(context.binary), "import", "--data-dir", str(imported), str(folder / "many.zip")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    equal(f"exit status: {done.stderr[-400:]}", done.returncode, 0)
    with Server(context.binary, imported, KEYS) as server:
        equal("instances", len(dicomweb.instances(server)), 3)


def head(study):
    """An object up to its pixels, which follow in fragments."""
    made = dcmread(io.BytesIO(part10.image(study, 1, 16)))
    made.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.NumberOfFrames = 7, FRAMES
    del made.PixelData
    out = io.BytesIO()
    made.save_as(out, enforce_file_format=True)
    return out.getvalue() + b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\x00\x00\x00\x00"


def write_large(path, study):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("large.dcm", "w", force_zip64=True) as member:
            member.write(head(study))
            for _ in range(FRAMES):
                member.write(b"\xfe\xff\x00\xe0" + FRAME_BYTES.to_bytes(4, "little"))
                for _ in range(FRAME_BYTES // BLOCK):
                    member.write(bytes(BLOCK))
            member.write(b"\xfe\xff\xdd\xe0\x00\x00\x00\x00")
        archive.writestr("small.dcm", part10.image(study, 2, side=16))
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("large.dcm").file_size > FOUR_GIB


def upload_large(server, path, study):
    with path.open("rb") as file:
        answer = requests.post(f"{server.base}/api/v1/uploads", files=[("files", ("large.zip", file))], timeout=PATIENCE_S)
    equal("outcomes", [one["outcome"] for one in answer.json()["files"]], ["stored", "stored"])


def fetch(server, study, path):
    url = f"{server.web}/studies/{study}"
    with requests.get(url, headers={"Accept": "application/zip"}, stream=True, timeout=PATIENCE_S) as answer:
        equal("status", answer.status_code, 200)
        with path.open("wb") as out:
            shutil.copyfileobj(answer.raw, out, BLOCK)


def check_archive(path):
    with zipfile.ZipFile(path) as archive:
        sizes = sorted(member.file_size for member in archive.infolist() if not member.filename.endswith("DICOMDIR"))
        equal("members", len(sizes), 2)
        assert sizes[-1] > FOUR_GIB, sizes
        equal("damaged members", archive.testzip(), None)
        assert any(member.header_offset > FOUR_GIB for member in archive.infolist()) or archive.start_dir > FOUR_GIB
    if shutil.which("unzip"):
        done = subprocess.run(["unzip", "-tq", str(path)], capture_output=True, text=True, timeout=PATIENCE_S)
        equal(f"unzip: {done.stdout[-300:]}{done.stderr[-300:]}", done.returncode, 0)
