"""Looking after an archive from outside: damage, a full disk, backups, holds, retention and what is left over."""

import json
import os
import shutil
import subprocess
import threading
import time
from io import BytesIO

import pydicom
import requests
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from . import dicomweb, dimse
from .part10 import data_set, encoded, image, uid_of
from .server import QUICK, WITHOUT_ANALYSIS, Server, environment
from .tally import equal

CONTEXTS = [(CTImageStorage, ExplicitVRLittleEndian)]
SIDE, SLICES = 32, 6
COMMAND_TIMEOUT_S = 600
# No disk has so much: every look finds it below its mark.
FULL = {"disk.refuse_below_mb": "1000000000", "disk.accept_above_mb": "1000000000"}
DELETING = {**WITHOUT_ANALYSIS, "deletion.enabled": "true", "deletion.retention_h": "0", "deletion.sweep_every_s": "1"}
DELETING_OLD = {**DELETING, **QUICK, "deletion.retention_h": "720", "ingest.on_duplicate": "replace", "retention.run_every_s": "1",
                "retention.rules": '[{ name = "old", keep_days = 1, age_by = "study-date", modality = ["CT"] }]',
                "retention.settled_days": "0"}
TIMEOUT_S = 120
ROOMY = {"disk.warn_below_mb": "0", "disk.refuse_below_mb": "0", "disk.accept_above_mb": "0"}


def run(context, tally):
    verify(context, tally)
    watermark(context, tally)
    backup(context, tally)
    reindex(context, tally)
    holds(context, tally)
    garbage(context, tally)


def commanded(context, folder, *arguments, keys=WITHOUT_ANALYSIS):
    """A command of the program on a data folder: its exit status, and what it wrote."""
    command = [str(context.binary), *map(str, arguments), "--data-dir", str(folder)]
    done = subprocess.run(command, env=environment(keys), capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)
    assert done.returncode in (0, 1), f"exit status {done.returncode}: {done.stderr[-2000:]}"
    return done


def told(context, folder, status, *arguments, keys=WITHOUT_ANALYSIS):
    """The lines that `--json` gives."""
    done = commanded(context, folder, *arguments, "--json", "--log", "error", keys=keys)
    equal(f"exit status ({done.stderr.strip()[-500:]})", done.returncode, status)
    return [json.loads(line) for line in done.stdout.splitlines()]


def filled(server, slices=SLICES):
    """A study in the archive: its files by SOP Instance UID."""
    study = generate_uid()
    files = [image(study, number, SIDE) for number in range(1, slices + 1)]
    equal("C-STORE", set(dimse.send_bytes(server, files, CONTEXTS)), {dimse.SUCCESS})
    return study, {uid_of(file): file for file in files}


def object_of(folder, uid):
    [found] = [path for path in (folder / "objects").rglob(f"{uid}.*") if path.is_file()]
    return found


def verify(context, tally):
    folder = context.folder("upkeep") / "verified"
    with Server(context.binary, folder) as server:
        study, files = filled(server)
        with tally.check("upkeep: a whole archive verifies beside its server"):
            [end] = told(context, folder, 0, "verify")
            equal("checked", end["counts"]["checked"], SLICES)
        replica, stored = folder.parent / "replica", {uid: object_of(folder, uid).read_bytes() for uid in files}
        shutil.copytree(folder / "objects", replica)
        flipped, cut, removed, *_ = files
        spoil(folder, flipped, cut, removed)
        orphan = stray(folder)
        with tally.check("upkeep: verify names what is damaged, and nothing else"):
            *found, end = told(context, folder, 1, "verify")
            harms = {line["damaged"]["sop_instance"]: line["harm"] for line in found if "damaged" in line}
            equal("harms", harms, {flipped: "other-bytes", cut: "other-size", removed: "missing"})
            equal("without a row", [line["without_row"]["key"] for line in found if "without_row" in line], [orphan])
            equal("lines", len(found), 4)
            equal("damaged", end["counts"]["damaged"], 3)
        with tally.check("upkeep: verify stays within a study, a time and a rate"):
            told(context, folder, 0, "verify", "--study", generate_uid())
            told(context, folder, 0, "verify", "--since", "2999-01-01T00:00:00Z")
            *found, _ = told(context, folder, 1, "verify", "--study", study, "--rate-mb", "1")
            equal("damaged", len(found), 3)
        with tally.check("upkeep: the damage is in the audit trail"):
            told_of = {row["resource"]["id"] for row in server.rest("audit?action=verify-instance&limit=1000")["items"]}
            equal("objects", told_of, {flipped, cut, removed})
        with tally.check("upkeep: repair brings the bytes back, and takes no damaged copy for one"):
            (replica / object_of(folder, cut).relative_to(folder / "objects")).write_bytes(b"no copy of it")
            repair(context, server, folder, replica, stored, {flipped, removed})
        with tally.check("upkeep: a look that was broken off goes on where it was"):
            cursor = folder.parent / "cursor"
            cursor.write_text("3")
            *_, end = told(context, folder, 0, "verify", "--cursor", cursor)
            assert end["counts"]["checked"] < SLICES and not cursor.exists()
        with tally.check("upkeep: the trail verifies"):
            equal("exit status", commanded(context, folder, "audit", "verify").returncode, 0)


def spoil(folder, flipped, cut, removed):
    path = object_of(folder, flipped)
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    path = object_of(folder, cut)
    path.write_bytes(path.read_bytes()[:-1])
    object_of(folder, removed).unlink()


def stray(folder):
    path = folder / "objects" / "ab" / "1.2.9" / "1.2.9.1.0123456789ab"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"nobody's")
    os.utime(path, (1, 1))
    return str(path.relative_to(folder / "objects"))


def repair(context, server, folder, replica, stored, expected):
    *found, end = told(context, folder, 1, "verify", "--repair-from", replica)
    equal("repaired", {line["repaired"]["sop_instance"] for line in found if "repaired" in line}, expected)
    equal("still damaged", end["counts"]["damaged"], 1)
    where = dicomweb.locations(server)
    [left] = [line["damaged"]["sop_instance"] for line in found if "damaged" in line]
    for uid in expected:
        assert dicomweb.retrieve(server, where[uid]) == stored[uid], "other bytes came back"
    good = object_of(folder, left)
    (replica / good.relative_to(folder / "objects")).write_bytes(stored[left])
    told(context, folder, 0, "verify", "--repair-from", replica)
    assert dicomweb.retrieve(server, where[left]) == stored[left], "other bytes came back"


def watermark(context, tally):
    folder = context.folder("upkeep") / "watermark"
    with Server(context.binary, folder, WITHOUT_ANALYSIS | ROOMY) as server:
        _, files = filled(server)
        server.stop()
        server.keys = WITHOUT_ANALYSIS | FULL
        server.start()
        new = [image(generate_uid(), number, SIDE) for number in (1, 2)]
        with tally.check("upkeep: below its mark the disk takes no object: A700 by C-STORE, 507 by STOW-RS"):
            equal("C-STORE", dimse.send_bytes(server, new, CONTEXTS), [dimse.OUT_OF_RESOURCES] * 2)
            answer = dicomweb.posted(server, new)
            equal("STOW-RS", answer.status_code, 507)
            expected = ([], {uid_of(file): dimse.OUT_OF_RESOURCES for file in new})
            equal("kept and refused", dicomweb.store_outcome(answer), expected)
        with tally.check("upkeep: nor an upload: 507"):
            headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "9", "Upload-Metadata": "filename YS5kY20="}
            answer = requests.post(f"{server.base}/api/v1/uploads/tus", headers=headers, timeout=60)
            equal("creation", (answer.status_code, answer.json()["type"]), (507, "urn:radiant:problem:no-room"))
        with tally.check("upkeep: what is stored is searched and given out all the same"):
            where = dicomweb.locations(server)
            equal("instances", set(where), set(files))
            for uid, file in files.items():
                assert data_set(dicomweb.retrieve(server, where[uid])) == data_set(file), "other bytes came back"
        with tally.check("upkeep: readiness, metrics and the log say that the disk is full"):
            ready = requests.get(f"{server.base}/readyz", timeout=60)
            equal("storage", (ready.status_code, ready.json()["parts"]["storage"]["state"]), (200, "degraded"))
            metrics = requests.get(f"{server.base}/metrics", timeout=60).text
            assert "disk_space_state 2" in metrics and 'limit_hits_total{limit="disk.refuse_below_mb"}' in metrics, "no metric"
            assert "the disk is nearly full" in server.log(), "no line in the log"
        server.stop()
        server.keys = WITHOUT_ANALYSIS | ROOMY
        server.start()
        with tally.check("upkeep: with room again it takes what it refused"):
            equal("C-STORE", dimse.send_bytes(server, new, CONTEXTS), [dimse.SUCCESS] * 2)


class Sender:
    """Stores one study after the other until it is told to stop; what was acknowledged, in its order."""

    def __init__(self, server):
        self.server, self.acknowledged, self.ending = server, {}, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        while len(self.acknowledged) < 3 * SLICES and self.thread.is_alive():
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()

    def run(self):
        while not self.ending.is_set():
            study = generate_uid()
            files = [image(study, number, SIDE) for number in range(1, SLICES + 1)]
            answers = dimse.send_bytes(self.server, files, CONTEXTS)
            self.acknowledged |= {uid_of(file): file for file, status in zip(files, answers, strict=True) if status == dimse.SUCCESS}


def everything(server):
    """What searches say of all levels, and the bytes of every instance."""
    levels = {level: dicomweb.search(server, level) for level in ("studies", "series", "instances")}
    text = {level: sorted(json.dumps(item, sort_keys=True).replace(server.base, "") for item in items) for level, items in levels.items()}
    return text, {uid: dicomweb.retrieve(server, place) for uid, place in dicomweb.locations(server).items()}


def backup(context, tally):
    folder = context.folder("upkeep") / "backed-up"
    target, again = folder.parent / "backup", folder.parent / "restored"
    with Server(context.binary, folder, DELETING) as server:
        with Sender(server) as sender:
            before = dict(sender.acknowledged)
            with tally.check("upkeep: a backup is made while a sender stores"):
                [first] = told(context, folder, 0, "backup", target)
                assert first["objects"] >= len(before), f"{first} of {len(before)}"
            with tally.check("upkeep: another one takes what is new, while studies are deleted for good"):
                for study in {place[0] for uid, place in dicomweb.locations(server).items() if uid in list(before)[:SLICES]}:
                    equal("DELETE", requests.delete(f"{server.web}/studies/{study}", timeout=60).status_code, 204)
                [second] = told(context, folder, 0, "backup", target)
                assert second["new_objects"] < second["objects"], second
        with tally.check("upkeep: what is restored holds what was acknowledged before the backup, bit by bit"):
            restored = requested(context, "restore", target, "--into", again, "--json")
            equal("lacking", json.loads(restored.stdout)["lacking"], [])
            with Server(context.binary, again) as other:
                _, stored = everything(other)
            kept = {uid: file for uid, file in before.items() if uid in stored}
            assert len(kept) >= len(before) - SLICES, f"{len(kept)} of {len(before)}"
            assert all(data_set(stored[uid]) == data_set(file) for uid, file in kept.items()), "other bytes came back"
        with tally.check("upkeep: at rest, the backup answers as the archive does"):
            told(context, folder, 0, "backup", target, "--check")
            expected = everything(server)
            shutil.rmtree(again)
            requested(context, "restore", target, "--into", again)
            with Server(context.binary, again) as other:
                assert everything(other) == expected, "the answers differ"
            equal("verify", commanded(context, again, "verify").returncode, 0)
            equal("audit verify", commanded(context, again, "audit", "verify").returncode, 0)
    with tally.check("upkeep: nothing is restored over what is there, nor from a backup whose index is another"):
        refused = requested(context, "restore", target, "--into", again, status=1)
        assert "not empty" in refused.stderr, refused.stderr
        [index] = target.glob("index-*.sqlite")
        index.write_bytes(index.read_bytes() + b"x")
        refused = requested(context, "restore", target, "--into", folder.parent / "never", status=1)
        assert "is not what the manifest says" in refused.stderr, refused.stderr


def requested(context, *arguments, status=0):
    """A command that has its folder among its arguments."""
    command = [str(context.binary), *map(str, arguments)]
    done = subprocess.run(command, env=environment({}), capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)
    equal(f"exit status ({done.stderr.strip()[-500:]})", done.returncode, status)
    return done


def reindex(context, tally):
    folder = context.folder("upkeep") / "reindexed"
    with Server(context.binary, folder) as server:
        for _ in range(3):
            filled(server)
        expected = everything(server)
        with tally.check("upkeep: an index that is there is not made anew"):
            refused = commanded(context, folder, "reindex")
            assert refused.returncode == 1, "a server has the folder"
        server.stop()
        assert commanded(context, folder, "reindex").returncode == 1, "there is an index"
        for path in folder.glob("index.sqlite*"):
            path.unlink()
        strange = folder / "objects" / "ab" / "1.2.9" / "1.2.9.1.0123456789ab"
        strange.parent.mkdir(parents=True)
        strange.write_bytes(b"no object at all")
        with tally.check("upkeep: without its index an archive is indexed by its objects; what is none is set aside"):
            aside, end = told(context, folder, 1, "reindex")
            equal("indexed", (end["counts"]["indexed"], end["counts"]["set_aside"]), (3 * SLICES, 1))
            assert "set_aside" in aside and (folder / "set-aside" / strange.relative_to(folder / "objects")).is_file()
        with tally.check("upkeep: the new index answers as the lost one did"):
            server.start()
            assert everything(server) == expected, "the answers differ"
            equal("verify", commanded(context, folder, "verify").returncode, 0)


def held(server, study, reason):
    """A hold on a study: its answer."""
    return requests.put(f"{server.base}/api/v1/studies/{study}/hold", json={"reason": reason}, timeout=60)


def other(file):
    """Another object with the same UID."""
    read = pydicom.dcmread(BytesIO(file))
    read.PatientName = "Conformance^Other"
    return encoded(read)


def holds(context, tally):
    folder = context.folder("upkeep") / "held"
    with Server(context.binary, folder, DELETING_OLD) as server:
        study, files = filled(server)
        free, _ = filled(server)
        with tally.check("upkeep: a held study is deleted neither by DICOMweb nor by a part of it: 409"):
            equal("PUT", held(server, study, "a trial").status_code, 200)
            [first, *_] = [place for place in dicomweb.locations(server).values() if place[0] == study]
            series = f"studies/{first[0]}/series/{first[1]}"
            for path in (f"studies/{study}", series, f"{series}/instances/{first[2]}"):
                answer = requests.delete(f"{server.web}/{path}", timeout=60)
                equal(path, (answer.status_code, answer.json()["type"]), (409, "urn:radiant:problem:held"))
            equal("deleted", server.rest("deleted")["total"], 0)
        with tally.check("upkeep: nothing of a held study is replaced: 0111H by C-STORE, 0111H by STOW-RS"):
            uid, file = next(iter(files.items()))
            equal("C-STORE", dimse.send_bytes(server, [other(file)], CONTEXTS), [dimse.CONFLICT])
            equal("STOW-RS", dicomweb.store(server, [other(file)]), ([], {uid: dimse.CONFLICT}))
            kept = dicomweb.retrieve(server, dicomweb.locations(server)[uid])
            assert data_set(kept) == data_set(file), "it was replaced"
        with tally.check("upkeep: the study, the lists and the trail tell of the hold"):
            equal("reason", server.rest(f"studies/{study}")["hold"]["reason"], "a trial")
            equal("held", [item["study_uid"] for item in server.rest("studies?held=true")["items"]], [study])
            equal("trail", server.rest("audit?action=hold-study")["items"][0]["resource"]["study_uid"], study)
        with tally.check("upkeep: what the rules would delete is shown, and nothing is deleted while they are off"):
            shown, end = due(context, folder)
            equal("study", (shown["study"], shown["rule"], end["enabled"]), (free, "old", False))
            equal("studies", server.rest("studies")["total"], 2)
        server.stop()
        server.keys = DELETING_OLD | {"retention.enabled": "true"}
        server.start()
        with tally.check("upkeep: the rules delete what is old, leave what is held, and name themselves in the trail"):
            equal("left", remaining(server, 1), [study])
            [deletion] = server.rest("deleted")["items"]
            equal("deletion", (deletion["study_uid"], deletion["actor"], deletion["kept"]), (free, "retention rule old", SLICES))
            metrics = requests.get(f"{server.base}/metrics", timeout=60).text
            assert 'retention_studies_deleted_total{rule="old"} 1' in metrics, "no metric"
        with tally.check("upkeep: once released it goes as the others did, and what went can be taken back"):
            equal("release", requests.delete(f"{server.base}/api/v1/studies/{study}/hold", timeout=60).status_code, 204)
            equal("left", remaining(server, 0), [])
            server.stop()
            server.keys = DELETING_OLD
            server.start()
            restored = requests.post(f"{server.base}/api/v1/deleted/{deletion['id']}/restore", timeout=60).json()
            equal("restored", restored, {"restored": SLICES, "refused": 0})


def due(context, folder):
    """What the rules would delete, once the study that came last is complete."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        lines = told(context, folder, 0, "retention", "--dry-run", keys=DELETING_OLD)
        if len(lines) > 1 or time.monotonic() > deadline:
            return lines
        time.sleep(1)


def remaining(server, studies):
    """The studies once there are so many."""
    deadline = time.monotonic() + TIMEOUT_S
    while server.rest("studies")["total"] > studies and time.monotonic() < deadline:
        time.sleep(0.5)
    return [item["study_uid"] for item in server.rest("studies")["items"]]


def garbage(context, tally):
    folder = context.folder("upkeep") / "left-over"
    with Server(context.binary, folder) as server:
        _, files = filled(server)
        objects = [object_of(folder, uid) for uid in files]
        for path in objects:
            os.utime(path, (1, 1))
        orphan, fresh = folder / "objects" / stray(folder), folder / "objects" / "ab" / "1.2.9" / "1.2.9.2.0123456789ab"
        staged, upload = folder / "staging" / "left", folder / "uploads" / "left"
        for path in (fresh, staged, upload):
            path.write_bytes(b"nobody's")
        for path in (staged, upload):
            os.utime(path, (1, 1))
        expected = {"object": {"count": 1, "bytes": 8}, "staged": {"count": 1, "bytes": 8},
                    "upload": {"count": 1, "bytes": 8}, "download": {"count": 0, "bytes": 0}}
        with tally.check("upkeep: what nothing refers to is shown, and stays"):
            *found, end = told(context, folder, 0, "gc", "--dry-run")
            equal("counts", (end["counts"], end["removed"], len(found)), (expected, False, 3))
            assert orphan.exists() and staged.exists() and upload.exists(), "a look removed it"
        with tally.check("upkeep: gc removes it beside the server, and nothing that is young or has a row"):
            *_, end = told(context, folder, 0, "gc")
            equal("counts", (end["counts"], end["removed"]), (expected, True))
            assert not (orphan.exists() or staged.exists() or upload.exists()), "it is there"
            assert fresh.exists() and all(path.exists() for path in objects), "it took too much"
            equal("verify", commanded(context, folder, "verify").returncode, 0)
            *found, _ = told(context, folder, 0, "gc")
            equal("left over", found, [])
        with tally.check("upkeep: the removal is in the trail"):
            assert server.rest("audit?action=collect-garbage")["total"] > 0
