"""Debian's Orthanc beside us: it sends, asks, retrieves and wants commitments, and is sent what we have."""

import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from io import BytesIO

import requests
from pydicom import dcmread
from pydicom.uid import generate_uid

from . import part10
from .by_hand import PATIENCE_S, wait_for
from .server import WITHOUT_ANALYSIS, Server, free_port
from .tally import equal

INSTANCES = 4
START_TIMEOUT_S = 60


class Orthanc:
    """A process on free ports of loopback; `us` is where it finds our server."""

    aet, host = "ORTHANC", "127.0.0.1"

    def __init__(self, folder):
        self.folder, self.http_port, self.dimse_port = folder, free_port(), free_port()
        self.base = f"http://{self.host}:{self.http_port}"

    @contextmanager
    def running(self, us):
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "orthanc.json"
        configuration.write_text(json.dumps({
            "StorageDirectory": str(self.folder / "storage"), "IndexDirectory": str(self.folder / "index"),
            "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "HttpPort": self.http_port,
            "DicomAet": self.aet, "DicomPort": self.dimse_port, "DicomCheckCalledAet": True, "Plugins": [],
            "StorageCommitmentReportsQueueSize": 100,
            "DicomModalities": {"us": {"AET": us.aet, "Host": us.host, "Port": us.dimse_port, "AllowStorageCommitment": True}},
        }))  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(["Orthanc", str(configuration)], stdout=log, stderr=log)
        try:
            wait_for(self.is_up, "Orthanc does not start")
            yield self
        finally:
            process.terminate()
            process.wait(START_TIMEOUT_S)

    def is_up(self):
        try:
            return requests.get(f"{self.base}/system", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def get(self, path):
        answer = requests.get(f"{self.base}{path}", timeout=PATIENCE_S)
        answer.raise_for_status()
        return answer.json()

    def post(self, path, content):
        data = content if isinstance(content, bytes) else json.dumps(content)
        answer = requests.post(f"{self.base}{path}", data=data, timeout=PATIENCE_S)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:300]}"
        return answer.json()

    def upload(self, files):
        """Orthanc's number of the study that they are in."""
        return [self.post("/instances", file)["ParentStudy"] for file in files][0]

    def instances(self, study):
        """UIDs of the instances that it has of a study, by its UID."""
        found = self.post("/tools/find", {"Level": "Instance", "Query": {"StudyInstanceUID": study}, "Expand": True})
        return {one["MainDicomTags"]["SOPInstanceUID"]: one["ID"] for one in found}

    def file(self, number):
        return requests.get(f"{self.base}/instances/{number}/file", timeout=PATIENCE_S).content


def run(context, tally):
    if not shutil.which("Orthanc"):
        return tally.miss("orthanc", "Orthanc")
    folder = context.folder("orthanc")
    orthanc = Orthanc(folder / "orthanc")
    node = f'[{{ ae_title = "{orthanc.aet}", host = "{orthanc.host}", port = {orthanc.dimse_port}, may = ["store", "query", "retrieve"] }}]'
    with Server(context.binary, folder / "data", WITHOUT_ANALYSIS | {"dimse.nodes": node}) as us, orthanc.running(us):
        for name, check in CHECKS.items():
            with tally.check(f"Orthanc: {name}"):
                check(us, orthanc)
        with tally.check("Orthanc: nothing panicked"):
            assert "panicked" not in us.log(), "see the log"


def study():
    uid = generate_uid()
    return uid, [part10.image(uid, number + 1, side=64) for number in range(INSTANCES)]


def ours(us, uid):
    """UIDs of the instances that we have of a study, with their series."""
    found = requests.get(f"{us.web}/studies/{uid}/instances", timeout=PATIENCE_S)
    return {one["00080018"]["Value"][0]: one["0020000E"]["Value"][0] for one in found.json()} if found.status_code == 200 else {}


def our_file(us, uid, series, instance):
    url = f"{us.web}/studies/{uid}/series/{series}/instances/{instance}"
    answer = requests.get(url, headers={"Accept": "application/dicom; transfer-syntax=*"}, timeout=PATIENCE_S)
    answer.raise_for_status()
    return answer.content


def store(us, files):
    for file in files:
        body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n--b--"
        headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
        equal("status of a store", requests.post(f"{us.web}/studies", data=body, headers=headers, timeout=PATIENCE_S).status_code, 200)


def pixels(file):
    return dcmread(BytesIO(file)).PixelData


def echoes(us, orthanc):
    equal("answer", orthanc.post("/modalities/us/echo", {}), {})


def sends(us, orthanc):
    """Every instance arrives, with its pixels."""
    uid, files = study()
    orthanc.post("/modalities/us/store", orthanc.upload(files))
    kept = ours(us, uid)
    equal("instances", set(kept), {part10.uid_of(file) for file in files})
    sent = {part10.uid_of(file): pixels(file) for file in files}
    for instance, series in kept.items():
        assert pixels(our_file(us, uid, series, instance)) == sent[instance], f"other pixels of {instance}"


def is_moved_from(us, orthanc):
    """A third party has Orthanc send to us."""
    uid, files = study()
    orthanc.upload(files)
    command = ["movescu", "-S", "-aec", orthanc.aet, "-aet", us.aet, "-aem", us.aet, orthanc.host, str(orthanc.dimse_port)]
    done = subprocess.run([*command, "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid}"],
                          capture_output=True, text=True, timeout=PATIENCE_S)
    equal("exit status", (done.returncode, done.stderr), (0, ""))
    equal("instances", set(ours(us, uid)), {part10.uid_of(file) for file in files})


def queries(us, orthanc):
    uid, files = study()
    store(us, files)
    first = dcmread_of(files[0])
    for level, keys, count in (
        ("Study", {"PatientID": str(first.PatientID), "StudyDescription": ""}, 1),
        ("Series", {"StudyInstanceUID": uid, "Modality": "CT"}, 1),
        ("Instance", {"StudyInstanceUID": uid, "SeriesInstanceUID": str(first.SeriesInstanceUID)}, INSTANCES),
    ):
        query = orthanc.post("/modalities/us/query", {"Level": level, "Query": keys})["ID"]
        answers = orthanc.get(f"/queries/{query}/answers?expand&simplify")
        equal(f"answers of level {level}", len(answers), count)
        equal("study", {answer["StudyInstanceUID"] for answer in answers}, {uid})


def dcmread_of(file):
    return dcmread(BytesIO(file), stop_before_pixels=True)


def retrieves(us, orthanc):
    """By C-MOVE to itself, which we serve as sender."""
    uid, files = study()
    store(us, files)
    query = orthanc.post("/modalities/us/query", {"Level": "Study", "Query": {"StudyInstanceUID": uid}})["ID"]
    orthanc.post(f"/queries/{query}/retrieve", {"TargetAet": orthanc.aet, "Synchronous": True})
    kept = orthanc.instances(uid)
    equal("instances", set(kept), {part10.uid_of(file) for file in files})
    sent = {part10.uid_of(file): pixels(file) for file in files}
    for instance, number in kept.items():
        assert pixels(orthanc.file(number)) == sent[instance], f"other pixels of {instance}"


def commits(us, orthanc):
    """It hands over responsibility for what it sent, and does not for what it did not send."""
    uid, files = study()
    number = orthanc.upload(files)
    orthanc.post("/modalities/us/store", number)
    ids = list(orthanc.instances(uid).values())
    equal("after a C-STORE", commitment(orthanc, {"Resources": ids}), ("Success", INSTANCES, 0))
    missing = {"DicomInstances": [{"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "SOPInstanceUID": generate_uid()}]}
    equal("without one", commitment(orthanc, missing), ("Failure", 0, 1))


def commitment(orthanc, asked):
    """Status, and how many are committed and are not."""
    transaction = orthanc.post("/modalities/us/storage-commitment", asked)["ID"]
    deadline = time.monotonic() + PATIENCE_S
    while (report := orthanc.get(f"/storage-commitment/{transaction}"))["Status"] == "Pending":
        assert time.monotonic() < deadline, "no report comes"
        time.sleep(0.2)
    return report["Status"], len(report.get("Success", [])), len(report.get("Failures", []))


CHECKS = {
    "C-ECHO": echoes,
    "it sends a study": sends,
    "a study is moved from it to us": is_moved_from,
    "it queries every level": queries,
    "it retrieves a study": retrieves,
    "it asks for commitments": commits,
}
