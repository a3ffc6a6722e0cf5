"""Storage commitment with foreign peers in both roles: what is committed was read again, and every report arrives."""

import json
import socket
import subprocess
import time
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from queue import Empty, Queue
from shutil import which

import pydicom
import requests
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage, generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from . import part10
from .server import WITHOUT_ANALYSIS, Server, free_port
from .tally import equal

WELL_KNOWN = "1.2.840.10008.1.20.1.1"
REQUESTER, PROVIDER, ORTHANC = "REQUESTER", "PROVIDER", "ORTHANC"
UNKNOWN_CLASS = "1.2.3.4.5"
PATIENCE_S = 60
SUCCESS = 0x0000


class Node:
    """A pynetdicom AE that asks for commitment, commits, and remembers what it was told."""

    def __init__(self, aet):
        self.aet, self.port, self.told, self.asked = aet, free_port(), Queue(), Queue()
        self.listener = None

    def config(self, host=True):
        where = f'host = "127.0.0.1", port = {self.port}, ' if host else ""
        return f'{{ ae_title = "{self.aet}", {where}may = ["store"] }}'

    def on_report(self, event):
        self.told.put((event.event_type, event.event_information))
        return SUCCESS, None

    def on_request(self, event):
        self.asked.put(event.action_information)
        return SUCCESS, None

    def listen(self):
        """For reports to it, as SCU in the acceptor's place; and for requests, as SCP."""
        ae = AE(ae_title=self.aet)
        ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        handlers = [(evt.EVT_N_EVENT_REPORT, self.on_report), (evt.EVT_N_ACTION, self.on_request)]
        self.listener = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)

    def stop(self):
        if self.listener:
            self.listener.shutdown()
            self.listener = None

    @contextmanager
    def association(self, server, roles=(), with_storage=False):
        ae = AE(ae_title=self.aet)
        ae.add_requested_context(StorageCommitmentPushModel, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        if with_storage:
            ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        handlers = [(evt.EVT_N_EVENT_REPORT, self.on_report)]
        made = ae.associate(server.host, server.dimse_port, ae_title=server.aet, evt_handlers=handlers,
                            ext_neg=list(roles))
        assert made.is_established, "the association was not accepted"
        try:
            yield made
        finally:
            # pynetdicom answers a report from another thread, and cannot once it is releasing.
            time.sleep(0.3)
            if made.is_established:
                made.release()

    def report(self, event_type):
        """The next report, which must be of this type: committed UIDs, and reasons by UID."""
        try:
            kind, said = self.told.get(timeout=PATIENCE_S)
        except Empty:
            raise AssertionError("no report came") from None
        equal("event type", kind, event_type)
        committed = {item.ReferencedSOPInstanceUID for item in said.get("ReferencedSOPSequence", [])}
        failed = {item.ReferencedSOPInstanceUID: item.FailureReason for item in said.get("FailedSOPSequence", [])}
        return said.TransactionUID, committed, failed


def items(pairs):
    made = []
    for sop_class, sop_instance in pairs:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
        made.append(item)
    return Sequence(made)


def information(pairs, transaction=None):
    asked = Dataset()
    asked.TransactionUID = transaction or generate_uid()
    asked.ReferencedSOPSequence = items(pairs)
    return asked


def ask(made, asked, action=1, instance=WELL_KNOWN):
    answer, _ = made.send_n_action(asked, action, StorageCommitmentPushModel, instance)
    return answer.Status


def stored(server, count=3):
    """References of images that were just stored, in one study of their own."""
    study, pairs = generate_uid(), []
    for number in range(count):
        file = part10.image(study, number + 1, side=64)
        headers = {"Content-Type": "application/dicom"}
        equal("store", requests.post(f"{server.web}/studies", data=file, headers=headers, timeout=60).status_code, 200)
        pairs.append((str(CTImageStorage), part10.uid_of(file)))
    return pairs


def run(context, tally):
    folder = context.folder("commitment")
    requester, provider, orthanc = Node(REQUESTER), Node(PROVIDER), Orthanc(folder)
    nodes = [requester.config(), provider.config(), orthanc.config()]
    keys = WITHOUT_ANALYSIS | {"dimse.nodes": f"[{', '.join(nodes)}]", "commitment.same_association_s": "4"}
    with Server(context.binary, folder / "data", keys) as server:
        given(server, requester, tally)
        asked(server, provider, tally)
        orthanc.check(server, tally)


def given(server, requester, tally):
    with tally.check("commitment: reported on the association that asked"):
        check_same_association(server, requester)
    with tally.check("commitment: every reason for a failure is told"):
        check_reasons(server, requester)
    with tally.check("commitment: what is no request is refused with its status"):
        check_statuses(server, requester)
    with tally.check("commitment: reported on a new association to a node that has released"):
        check_released(server, requester)
    with tally.check("commitment: one flipped byte on the disk is not committed, and is told to the operator"):
        check_flipped(server, requester)
    with tally.check("commitment: a report survives a kill and a node that is down"):
        check_kill(server, requester)
    with tally.check("commitment: a stranger that has released is told when it asks again"):
        check_stranger(server)


def check_same_association(server, requester):
    pairs = stored(server)
    with requester.association(server) as made:
        transaction = generate_uid()
        equal("status", ask(made, information(pairs, transaction)), SUCCESS)
        told, committed, failed = requester.report(1)
        equal("report", (told, committed, failed), (transaction, {uid for _, uid in pairs}, {}))
        assert made.is_established, "the association did not survive"


def check_reasons(server, requester):
    (_, here), missing = stored(server, 1)[0], generate_uid()
    foreign = generate_uid()
    pairs = [(CTImageStorage, here), (CTImageStorage, missing), (UNKNOWN_CLASS, foreign)]
    with requester.association(server) as made:
        equal("status", ask(made, information(pairs)), SUCCESS)
        _, committed, failed = requester.report(2)
        equal("report", (committed, failed), ({here}, {missing: 0x0112, foreign: 0x0122}))
        in_use = information([(MRImageStorage, here)])
        equal("status", ask(made, in_use), SUCCESS)
        equal("another class", requester.report(2)[1:], (set(), {here: 0x0119}))
        other = information([(CTImageStorage, here)], in_use.TransactionUID)
        equal("status", ask(made, other), SUCCESS)
        equal("in use", requester.report(2)[1:], (set(), {here: 0x0131}))
        equal("status", ask(made, in_use), SUCCESS)
        equal("asked again", requester.report(2)[1:], (set(), {here: 0x0119}))


def check_statuses(server, requester):
    pairs = stored(server, 1)
    without = information(pairs)
    del without.TransactionUID
    with requester.association(server) as made:
        equal("action 2", ask(made, information(pairs), action=2), 0x0123)
        equal("instance", ask(made, information(pairs), instance="1.2.3"), 0x0112)
        equal("no transaction", ask(made, without), 0x0115)
        equal("no reference", ask(made, information([])), 0x0115)
        many = [(CTImageStorage, f"1.2.3.{number}") for number in range(10001)]
        equal("too many", ask(made, information(many)), 0x0213)
    assert requester.told.empty(), "a refused request was reported"


def check_released(server, requester):
    pairs = stored(server)
    requester.listen()
    try:
        with requester.association(server) as made:
            equal("status", ask(made, information(pairs)), SUCCESS)
        while True:
            # Whatever was quick enough for the association that asked is not what is meant here.
            if len(requester.report(1)[1]) == len(pairs):
                break
        equal("commitment", newest(server, "given")["state"], "reported")
    finally:
        requester.stop()


def newest(server, direction):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = next(one for one in server.rest("commitments")["items"] if one["direction"] == direction)
        if found["state"] not in ("accepted", "checked", "asking") or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def check_flipped(server, requester):
    pairs = stored(server)
    _, damaged = pairs[1]
    [path] = (server.data_dir / "objects").rglob(f"{damaged}.*")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with requester.association(server) as made:
        equal("status", ask(made, information(pairs)), SUCCESS)
        _, committed, failed = requester.report(2)
    equal("report", (committed, failed), ({pairs[0][1], pairs[2][1]}, {damaged: 0x0110}))
    errors = [line for line in server.log().splitlines() if "ERROR" in line and damaged in line]
    assert errors and "digest" in errors[0], f"the log says {errors}"
    metrics = requests.get(f"{server.base}/metrics", timeout=60).text
    assert "commitment_damaged_objects_total 1" in metrics, "the metric does not tell it"


def check_kill(server, requester):
    pairs = stored(server)
    with requester.association(server) as made:
        transaction = generate_uid()
        made.send_n_action(information(pairs, transaction), 1, StorageCommitmentPushModel, WELL_KNOWN)
        # No report may have come by the time that the server dies.
        made.abort()
    while not requester.told.empty():
        requester.told.get()
    server.kill()
    server.start()
    state = next(one for one in server.rest("commitments")["items"] if one["transaction_uid"] == transaction)
    if state["state"] == "reported":
        return
    requester.listen()
    try:
        equal("report", requester.report(1)[:2], (transaction, {uid for _, uid in pairs}))
    finally:
        requester.stop()


def check_stranger(server):
    stranger, asked = Node("STRANGER"), information(stored(server, 1))
    with stranger.association(server) as made:
        equal("status", ask(made, asked), SUCCESS)
        made.abort()
    deadline = time.monotonic() + PATIENCE_S
    while stranger.told.empty() and newest(server, "given")["state"] != "undelivered":
        assert time.monotonic() < deadline, "nothing is said of what cannot be delivered"
    with stranger.association(server) as made:
        equal("status", ask(made, asked), SUCCESS)
        equal("report", stranger.report(1)[0], asked.TransactionUID)


def asked(server, provider, tally):
    provider.listen()
    try:
        with tally.check("commitment: a node reports later, on an association of its own"):
            check_asked(server, provider, failing=False)
        with tally.check("commitment: a node that cannot commit is believed, instance by instance"):
            check_asked(server, provider, failing=True)
        with tally.check("commitment: a report on what was not asked is refused"):
            check_unasked(server, provider)
    finally:
        provider.stop()
    with tally.check("commitment: a node that is down was not asked"):
        study = study_of(server, stored(server, 1))
        answer = requests.post(f"{server.base}/api/v1/commitments", json={"node": PROVIDER, "study": study}, timeout=60)
        equal("status", answer.status_code, 502)
        equal("state", newest(server, "asked")["state"], "refused")


def study_of(server, pairs):
    query = {"SOPInstanceUID": pairs[0][1]}
    [found] = requests.get(f"{server.web}/instances", params=query, timeout=60).json()
    return found["0020000D"]["Value"][0]


def request(server, node, pairs):
    asked = {"node": node, "study": study_of(server, pairs)}
    answer = requests.post(f"{server.base}/api/v1/commitments", json=asked, timeout=PATIENCE_S)
    equal("asked", answer.status_code, 202)
    return answer.json()["id"]


def outcomes(server, id):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = server.rest(f"commitments/{id}")
        if found["state"] == "reported":
            return {one["sop_instance_uid"]: (one["outcome"], one["reason"]) for one in found["instances"]}
        assert time.monotonic() < deadline, f"it is still {found['state']}"
        time.sleep(0.2)


def check_asked(server, provider, failing):
    pairs = stored(server, 2)
    id = request(server, PROVIDER, pairs)
    said = provider.asked.get(timeout=PATIENCE_S)
    references = {(item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) for item in said.ReferencedSOPSequence}
    equal("references", references, set(pairs))
    report = information(pairs[:1] if failing else pairs, said.TransactionUID)
    if failing:
        report.FailedSOPSequence = items(pairs[1:])
        report.FailedSOPSequence[0].FailureReason = 0x0213
    with provider.association(server, [build_role(StorageCommitmentPushModel, scp_role=True)]) as made:
        answer, _ = made.send_n_event_report(report, 2 if failing else 1, StorageCommitmentPushModel, WELL_KNOWN)
        equal("status", answer.Status, SUCCESS)
    last = ("failed", "0213") if failing else ("committed", None)
    equal("outcomes", outcomes(server, id), {pairs[0][1]: ("committed", None), pairs[1][1]: last})


def check_unasked(server, provider):
    with provider.association(server, [build_role(StorageCommitmentPushModel, scp_role=True)]) as made:
        report = information([(CTImageStorage, generate_uid())])
        answer, _ = made.send_n_event_report(report, 1, StorageCommitmentPushModel, WELL_KNOWN)
        equal("status", answer.Status, 0x0115)
        answer, _ = made.send_n_event_report(report, 7, StorageCommitmentPushModel, WELL_KNOWN)
        equal("event 7", answer.Status, 0x0113)


class Orthanc:
    """Debian's Orthanc in a folder of its own, which knows us and is known."""

    def __init__(self, folder):
        self.folder, self.dimse_port, self.http_port = folder / "orthanc", free_port(), free_port()
        self.base = f"http://127.0.0.1:{self.http_port}"

    def config(self):
        return f'{{ ae_title = "{ORTHANC}", host = "127.0.0.1", port = {self.dimse_port}, may = ["store"] }}'

    def check(self, server, tally):
        if which("Orthanc") is None:
            tally.miss("commitment: Orthanc in both roles", "Orthanc")
            return
        with self.running(server):
            with tally.check("commitment: Orthanc asks us, and believes us"):
                self.check_asks(server)
            with tally.check("commitment: Orthanc is asked, and commits to what it has"):
                self.check_commits(server)

    @contextmanager
    def running(self, server):
        self.folder.mkdir(parents=True)
        radiant = {"AET": server.aet, "Host": server.host, "Port": server.dimse_port, "AllowStorageCommitment": True}
        settings = {
            "StorageDirectory": str(self.folder), "IndexDirectory": str(self.folder), "HttpPort": self.http_port,
            "DicomPort": self.dimse_port, "DicomAet": ORTHANC, "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False, "DicomModalities": {"radiant": radiant}, "Plugins": [],
        }
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps(settings))
        with (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(["Orthanc", str(path)], stdout=log, stderr=log)
        try:
            self.wait()
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE_S)

    def wait(self):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                if requests.get(f"{self.base}/system", timeout=5).ok:
                    return
            except requests.RequestException:
                time.sleep(0.2)
        raise AssertionError("Orthanc does not answer")

    def check_asks(self, server):
        pairs = stored(server, 2)
        missing = generate_uid()
        asked = {"DicomInstances": [list(pair) for pair in [*pairs, (str(CTImageStorage), missing)]]}
        answer = requests.post(f"{self.base}/modalities/radiant/storage-commitment", json=asked, timeout=PATIENCE_S)
        equal("asked", answer.status_code, 200)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            report = requests.get(f"{self.base}/storage-commitment/{answer.json()['ID']}", timeout=60).json()
            if report["Status"] != "Pending":
                break
            assert time.monotonic() < deadline, "Orthanc was not told"
            time.sleep(0.2)
        equal("status", report["Status"], "Failure")
        equal("success", {one["SOPInstanceUID"] for one in report["Success"]}, {uid for _, uid in pairs})
        equal("failures", [(one["SOPInstanceUID"], one["FailureReason"]) for one in report["Failures"]], [(missing, 0x0112)])

    def check_commits(self, server):
        pairs = stored(server, 2)
        kept = requests.get(f"{server.web}/instances", params={"SOPInstanceUID": pairs[0][1]}, timeout=60).json()[0]
        study, series = kept["0020000D"]["Value"][0], kept["0020000E"]["Value"][0]
        path = f"{server.web}/studies/{study}/series/{series}/instances/{pairs[0][1]}"
        file = requests.get(path, headers={"Accept": "application/dicom"}, timeout=60).content
        equal("stored there", requests.post(f"{self.base}/instances", data=file, timeout=60).status_code, 200)
        found = outcomes(server, request(server, ORTHANC, pairs))
        equal("outcomes", found, {pairs[0][1]: ("committed", None), pairs[1][1]: ("failed", "0112")})
