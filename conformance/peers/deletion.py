"""Deletion from outside: gone at once, 410 afterwards, restored bit by bit, swept in the end, told in the feed."""

import time

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.uid import generate_uid

from . import dicomweb, part10
from .server import WITHOUT_ANALYSIS, Server
from .tally import equal

DELETING = {**WITHOUT_ANALYSIS, "deletion.enabled": "true", "deletion.sweep_every_s": "1"}
AT_ONCE = {**DELETING, "deletion.retention_h": "0"}
PATIENCE_S = 60
SLICES = 4


def run(context, tally):
    folder = context.folder("deletion")
    with Server(context.binary, folder, DELETING) as server:
        with tally.check("deletion: an instance, a series, a study: 204, then 410 (W41, G16)"):
            check_levels(server)
        with tally.check("deletion: what was restored is what was stored"):
            check_restore(server)
        with tally.check("deletion: a deleted study can be stored again"):
            check_stored_again(server)
        with tally.check("deletion: the feed tells everything once and in order"):
            check_feed(server)
        study, _ = store(server)
        delete(server, f"studies/{study}", 204)
        server.kill()
        server.start()
        with tally.check("deletion: it holds after a kill, and so does the way back"):
            delete(server, f"studies/{study}", 410)
            restore(server, study)
            delete(server, f"studies/{study}", 204)
        server.stop()
        server.keys = AT_ONCE
        server.start()
        with tally.check("deletion: the sweep leaves what is stored, and no more"):
            check_sweep(server, folder)
        server.stop()
        server.keys = WITHOUT_ANALYSIS
        server.start()
        with tally.check("deletion: it is refused unless it is turned on"):
            kept, _ = store(server)
            delete(server, f"studies/{kept}", 403)


def store(server):
    """Slices of a study of its own: its UID, and its files by SOP Instance UID."""
    study = generate_uid()
    files = [part10.image(study, number, side=16) for number in range(1, SLICES + 1)]
    for file in files:
        send(server, file)
    return study, {part10.uid_of(file): file for file in files}


def send(server, file):
    headers = {"Content-Type": "application/dicom"}
    equal("store", requests.post(f"{server.web}/studies", data=file, headers=headers, timeout=60).status_code, 200)


def delete(server, path, status):
    answer = requests.delete(f"{server.web}/{path}", timeout=60)
    equal(f"DELETE {path}", answer.status_code, status)


def check_levels(server):
    study, files = store(server)
    [series] = {uids[1] for uids in dicomweb.instances(server) if uids[0] == study}
    first = next(iter(files))
    for path, left in ((f"studies/{study}/series/{series}/instances/{first}", SLICES - 1), (f"studies/{study}/series/{series}", 0)):
        delete(server, path, 204)
        equal("left", sum(uids[0] == study for uids in dicomweb.instances(server)), left)
        delete(server, path, 410)
        equal(f"GET {path}", requests.get(f"{server.web}/{path}", timeout=60).status_code, 410)
        equal(f"GET {path}/metadata", requests.get(f"{server.web}/{path}/metadata", timeout=60).status_code, 410)
    delete(server, f"studies/{study}", 410)
    study, _ = store(server)
    DICOMwebClient(server.web).delete_study(study)
    delete(server, f"studies/{study}", 410)
    delete(server, f"studies/{generate_uid()}", 404)


def restore(server, study):
    deletions = server.rest("deleted?limit=1000")["items"]
    newest = next(deletion for deletion in deletions if deletion["study_uid"] == study and deletion["kept"])
    answer = requests.post(f"{server.base}/api/v1/deleted/{newest['id']}/restore", timeout=60)
    equal("restore", (answer.status_code, answer.json()), (200, {"restored": SLICES, "refused": 0}))


def check_restore(server):
    study, files = store(server)
    delete(server, f"studies/{study}", 204)
    restore(server, study)
    found = [uids for uids in dicomweb.instances(server) if uids[0] == study]
    equal("instances", len(found), SLICES)
    for uids in found:
        assert dicomweb.retrieve(server, uids) == files[uids[2]], "other bytes came back"


def check_stored_again(server):
    study, files = store(server)
    delete(server, f"studies/{study}", 204)
    for file in files.values():
        send(server, file)
    [found] = dicomweb.search(server, "studies", StudyInstanceUID=study)
    equal("instances", dicomweb.value(found, "00201208"), SLICES)


def check_feed(server):
    changes, after = [], 0
    while True:
        page = server.rest(f"changefeed?after={after}&limit=7")
        changes += page["changes"]
        after = page["next"]
        if not page["more"]:
            break
    sequences = [change["sequence"] for change in changes]
    equal("sequences", sequences, sorted(set(sequences)))
    stored = {change["sop_instance_uid"] for change in changes if change["kind"] == "instance-stored"}
    deleted = {change["sop_instance_uid"] for change in changes if change["kind"] == "instance-deleted"}
    assert deleted <= stored, "something was deleted that never was"
    current = {change["sop_instance_uid"] for change in changes if change["current"]}
    equal("current", current, {uids[2] for uids in dicomweb.instances(server)})
    page = server.rest("changefeed?limit=50&include=metadata")
    described = {change["sop_instance_uid"] for change in page["changes"] if change["metadata"]}
    equal("described", described, {change["sop_instance_uid"] for change in page["changes"] if change["current"]})


def check_sweep(server, folder):
    expected = len(dicomweb.instances(server))
    deadline = time.monotonic() + PATIENCE_S
    while count(folder) != expected and time.monotonic() < deadline:
        time.sleep(0.2)
    equal("files of objects", count(folder), expected)
    equal("kept", sum(deletion["kept"] for deletion in server.rest("deleted?limit=1000")["items"]), 0)


def count(folder):
    return sum(path.is_file() for path in (folder / "objects").rglob("*"))
