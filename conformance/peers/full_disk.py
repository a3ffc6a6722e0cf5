"""A disk that is full is a refusal with its reason; the server goes on and leaves nothing half-written."""

import shutil
import subprocess
import time

import requests
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from . import dicomweb, dimse
from .part10 import image, uid_of
from .server import WITHOUT_ANALYSIS, Server
from .tally import equal

DISK = "24m"
# 2 MB each: the disk is full after about ten.
SIDE, OFFERED = 1024, 20
REFUSE_BELOW_MB, LOOKED_AT_AGAIN_S = 10, 1.1
MARKED = {"disk.warn_below_mb": "12", "disk.refuse_below_mb": str(REFUSE_BELOW_MB), "disk.accept_above_mb": "14"}
UNMARKED = {"disk.warn_below_mb": "0", "disk.refuse_below_mb": "0", "disk.accept_above_mb": "0"}
CONTEXTS = [(CTImageStorage, ExplicitVRLittleEndian)]


def run(context, tally):
    # The disk is the data folder alone: the log lies beside it.
    folder = context.folder("full-disk/data")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)], capture_output=True, text=True)
    if mounted.returncode != 0:
        tally.skip("full disk", f"a small file system cannot be mounted: {mounted.stderr.strip()}")
        return
    try:
        with Server(context.binary, folder, WITHOUT_ANALYSIS | MARKED) as server:
            check_mark(tally, server)
        clear(folder)
        with Server(context.binary, folder, WITHOUT_ANALYSIS | UNMARKED) as server:
            check(tally, server)
    finally:
        subprocess.run(["umount", str(folder)], check=False)


def clear(folder):
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def check_mark(tally, server):
    """One object after the other, with time for a look at the disk between them."""
    study, answers = generate_uid(), []
    with tally.check("full disk: objects are refused while there is room left"):
        for number in range(1, OFFERED + 1):
            answers += dimse.send_bytes(server, [image(study, number, SIDE)], CONTEXTS)
            time.sleep(LOOKED_AT_AGAIN_S)
        kept = answers.count(dimse.SUCCESS)
        assert 0 < kept < OFFERED, f"{kept} were kept"
        equal("answers", answers, [dimse.SUCCESS] * kept + [dimse.OUT_OF_RESOURCES] * (OFFERED - kept))
        free = shutil.disk_usage(server.data_dir).free
        assert free > (REFUSE_BELOW_MB - 4) << 20, f"{free} bytes are left"
        equal("readiness", requests.get(f"{server.base}/readyz", timeout=60).json()["parts"]["storage"]["state"], "degraded")


def check(tally, server):
    study = generate_uid()
    files = [image(study, number, SIDE) for number in range(1, OFFERED + 1)]
    kept = set()
    with tally.check("full disk: C-STORE is refused as out of resources, A700H"):
        answers = dimse.send_bytes(server, files, CONTEXTS)
        kept |= {uid_of(file) for file, status in zip(files, answers, strict=True) if status == dimse.SUCCESS}
        print(f"     {len(kept)} of {OFFERED} were kept before the disk was full")
        assert kept, "nothing was kept"
        equal("other statuses", set(answers) - {dimse.SUCCESS}, {dimse.OUT_OF_RESOURCES})
    with tally.check("full disk: STOW-RS says so in its status and its Failure Reason (S19)"):
        answer = dicomweb.posted(server, [image(study, 100, SIDE)])
        assert answer.status_code in (503, 507), f"status {answer.status_code}"
        stored, failed = dicomweb.store_outcome(answer)
        equal("instances kept and reasons", (stored, list(failed.values())), ([], [dimse.OUT_OF_RESOURCES]))
    with tally.check("full disk: the server goes on, with nothing half-written"):
        equal("instances", {uids[2] for uids in dicomweb.instances(server)}, kept)
        equal("files", len(dicomweb.stored_files(server.data_dir)), len(kept))
        for place in dicomweb.locations(server).values():
            dicomweb.retrieve(server, place)

