"""The audit trail from outside: what is in it, what spoils it, who may read it, and what a collector gets."""

import base64
import csv
import io
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import requests
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_role, evt

from . import dicomweb, part10
from .dimse_tls import Authority
from .server import WITHOUT_ANALYSIS, Server, environment, free_port, index_of
from .trails import trail_of
from .tally import equal

KEYS = {**WITHOUT_ANALYSIS, "deletion.enabled": "true", "audit.linger_ms": "50", "dimse.called_aet_strict": "true",
        "dimse.unknown_callers_may": '["store", "query", "retrieve"]'}
SCHEMA = Path(__file__).parent.parent / "audit" / "message.rng"
STUDY_ROOT_FIND, STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.3"
CT_IMAGE, SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.7"
PATIENCE_S = 60


def run(context, tally):
    folder = context.folder("audit") / "data"
    with Server(context.binary, folder, KEYS) as server:
        study, name = use(server)
        with tally.check("audit: every way to the data is in the trail"):
            check_coverage(server, study)
        with tally.check("audit: nothing about a patient is in the trail"):
            check_no_patient(server, name)
        with tally.check("audit: filters, pages and the reader himself"):
            check_query(server, study)
        with tally.check("audit: the exports have every row once"):
            check_exports(server)
        with tally.check("audit: the trail verifies while the server runs"):
            verified(context, folder, 0)
        server.kill()
        with tally.check("audit: the trail verifies after a kill"):
            verified(context, folder, 0)
        server.start()
    with tally.check("audit: a stop writes what waits, and tells of itself"):
        equal("last action", rows(folder, "action")[-1], ("stop-server",))
        verified(context, folder, 0)
    with tally.check("audit: the command line exports, and tells of it"):
        check_command_line(context, folder)
    with tally.check("audit: the schema refuses what is no appending"):
        check_guards(folder)
    for column in trail_of(folder).columns():
        with tally.check(f"audit: a change of {column} is found"):
            check_change(context, folder, column)
    with tally.check("audit: missing, exchanged and cut off rows are named"):
        check_removed(context, folder)
    check_collector(context, tally)


def use(server):
    """Everything that leaves an entry: the study, and the name of its patient."""
    study, name = generate_uid(), "Geheimnis"
    files = [part10.image(study, number, side=16) for number in range(1, 4)]
    headers = {"Content-Type": "application/dicom"}
    for file in files:
        requests.post(f"{server.web}/studies", data=file, headers=headers, timeout=60).raise_for_status()
    requests.get(f"{server.web}/studies?PatientName={name}*&StudyDate=20200101-", timeout=60)
    requests.get(f"{server.web}/studies?{name}=1", timeout=60)
    requests.get(f"{server.web}/studies/{study}/metadata", timeout=60).raise_for_status()
    requests.get(f"{server.web}/studies/{study}", timeout=60).raise_for_status()
    instance = next(uids for uids in dicomweb.instances(server) if uids[0] == study)
    frame = "{}/studies/{}/series/{}/instances/{}/frames/1".format(server.web, *instance)
    requests.get(frame, timeout=60).raise_for_status()
    requests.get(f"{server.base}/api/v1/studies/{study}", timeout=60).raise_for_status()
    requests.get(f"{server.web}/studies/9.9.9/metadata", timeout=60)
    dimse(server, study, name)
    gone = generate_uid()
    requests.post(f"{server.web}/studies", data=part10.image(gone, 1, side=16), headers=headers, timeout=60)
    requests.delete(f"{server.web}/studies/{gone}", timeout=60).raise_for_status()
    return study, name


def take(event):
    """Slower than the trail is written: what has ended by then has no entry of its beginning (110102)."""
    time.sleep(0.5)
    return 0x0000


def dimse(server, study, name):
    node = AE("AUDITED")
    for wanted in (STUDY_ROOT_FIND, STUDY_ROOT_GET, CT_IMAGE):
        node.add_requested_context(wanted)
    association = node.associate(server.host, server.dimse_port, ae_title=server.aet,
                                 ext_neg=[build_role(CT_IMAGE, scp_role=True)], evt_handlers=[(evt.EVT_C_STORE, take)])
    assert association.is_established
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.PatientName, asked.StudyInstanceUID = "STUDY", f"{name}*", ""
    for _ in association.send_c_find(asked, STUDY_ROOT_FIND):
        pass
    wanted = Dataset()
    wanted.QueryRetrieveLevel, wanted.StudyInstanceUID = "STUDY", study
    for _ in association.send_c_get(wanted, STUDY_ROOT_GET):
        pass
    association.release()
    refused = node.associate(server.host, server.dimse_port, ae_title="SOMEONE")
    assert refused.is_rejected


def entries(server, **filters):
    """Every entry, page after page."""
    found, cursor = [], None
    while True:
        parameters = filters | {"limit": 7} | ({"cursor": cursor} if cursor else {})
        answer = requests.get(f"{server.base}/api/v1/audit", params=parameters, timeout=60)
        equal("status", answer.status_code, 200)
        page = answer.json()
        found, cursor = found + page["items"], page["next"]
        if not cursor:
            return found


def check_coverage(server, study):
    told = {(entry["action"], entry["outcome"]) for entry in entries(server)}
    expected = {("start-server", "success"), ("configure", "success"), ("receive-objects", "success"),
                ("store-instance", "success"), ("query", "success"),
                ("read-metadata", "success"), ("retrieve", "success"), ("read-study", "success"),
                ("read-metadata", "minor-failure"), ("open-association", "success"), ("end-association", "success"),
                ("reject-association", "denied"), ("delete-study", "success")}
    equal("missing", expected - told, set())
    assert any(action == "get-instances" for action, _ in told), told
    # What takes longer than the first row waits has a row of its beginning, too.
    retrieved = [entry for entry in entries(server, action="retrieve", study=study) if entry["outcome"] != "begun"]
    equal("retrieved", [(entry["outcome"], entry["detail"]) for entry in retrieved],
          [("success", "retrieve-frames"), ("success", "retrieve-study")])
    stored = entries(server, action="store-instance", study=study)
    equal("stored", len(stored), 3)
    [rejected] = entries(server, action="reject-association")
    equal("reason", rejected["detail"], "called_ae_title")
    equal("AE title", rejected["actor"]["ae_title"], "AUDITED")
    request = stored[0]["request_id"]
    equal("one request", {entry["action"] for entry in entries(server, request_id=request)},
          {"receive-objects", "store-instance"})
    query = next(entry for entry in entries(server, action="query") if "PatientName" in (entry["detail"] or ""))
    equal("keys", query["detail"], "search-studies by PatientName StudyDate")


def check_no_patient(server, name):
    text = json.dumps(entries(server))
    for word in (name, "PHANTOM", "Phantom^"):
        assert word not in text, f"{word} is in the trail"


def check_query(server, study):
    every = entries(server)
    sequences = [entry["sequence"] for entry in every]
    equal("order", sequences, sorted(set(sequences), reverse=True))
    ascending = [entry["sequence"] for entry in entries(server, sort="sequence")]
    equal("from the first on", ascending[: len(sequences)], list(range(1, len(sequences) + 1)))
    for filters in ({"actor": "AUDITED"}, {"outcome": "denied"}, {"study": study}, {"action": "query,retrieve"},
                    {"from": every[-1]["at"], "to": every[0]["at"]}):
        found = entries(server, **filters)
        assert 0 < len(found) <= len(every) + 60, filters
    equal("by the node", {entry["actor"]["name"] for entry in entries(server, actor="AUDITED")}, {"AUDITED"})
    for bad in ({"outcome": "good"}, {"action": "nothing"}, {"from": "today"}, {"actr": "x"}):
        answer = requests.get(f"{server.base}/api/v1/audit", params=bad, timeout=60)
        equal(f"{bad}", answer.status_code, 400)
    before = len(entries(server, action="read-audit"))
    entries(server, outcome="denied")
    after = entries(server, action="read-audit")
    assert len(after) > before and any("outcome" in entry["detail"] for entry in after)


def check_exports(server):
    export = f"{server.base}/api/v1/audit/export"
    lines = requests.get(export, timeout=60)
    equal("type", lines.headers["Content-Type"], "application/jsonl")
    records = [json.loads(line) for line in lines.text.splitlines()]
    equal("sequences", [record["sequence"] for record in records], list(range(1, len(records) + 1)))
    table = requests.get(export, params={"format": "csv", "action": "store-instance"}, timeout=60)
    read = list(csv.DictReader(io.StringIO(table.text)))
    equal("rows", len(read), sum(record["action"] == "store-instance" for record in records))
    equal("columns", set(read[0]), set(records[0]))
    equal("recorded", len(entries(server, action="export-audit", outcome="success")), 2)


def audit(context, command, folder, *arguments):
    done = subprocess.run([str(context.binary), "audit", command, "--data-dir", str(folder), *arguments],
                          env=environment(index_of(folder)), capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout


def verified(context, folder, status):
    code, said = audit(context, "verify", folder)
    equal(f"verify said {said}", code, status)
    return said


def rows(folder, columns):
    return trail_of(folder).rows(f"select {columns} from audit order by sequence")


def check_command_line(context, folder):
    before = len(rows(folder, "sequence"))
    code, said = audit(context, "export", folder, "--action", "store-instance")
    equal("status", code, 0)
    assert said and all(json.loads(line)["action"] == "store-instance" for line in said.splitlines())
    equal("rows", [action for action, in rows(folder, "action")[before:]], ["export-audit"] * 2)


def check_guards(folder):
    trail = trail_of(folder)
    for sql in ("update audit set detail = 'x'", "delete from audit where sequence = 2", "delete from audit",
                *trail.intrusions, f"insert into audit_anchor values (2, {trail.zero}, 1)"):
        assert trail.refuses(sql), f"done: {sql}"


@contextmanager
def spoilt(folder, *statements):
    """A copy of the data folder in which somebody wrote."""
    copy = folder.parent / "spoilt"
    copy.mkdir()
    shutil.copy(folder / "audit-heads.jsonl", copy)
    spoilt_trail = trail_of(folder).copied_to(copy)
    try:
        spoilt_trail.unguarded(statements)
        yield copy
    finally:
        spoilt_trail.remove()
        shutil.rmtree(copy)


def check_change(context, folder, column):
    sequence = max(number for number, in rows(folder, "sequence")) - 3
    value = "sequence + 1000" if column == "sequence" else trail_of(folder).zero if column == "hash" else "'7'" if column != "at" else "at + 1"
    with spoilt(folder, f"update audit set {column} = {value} where sequence = {sequence}") as copy:
        said = verified(context, copy, 1)
        assert str(sequence) in said, said


def check_removed(context, folder):
    with spoilt(folder, "delete from audit where sequence in (3, 4)") as copy:
        assert "rows 3 to 4 are missing" in verified(context, copy, 1)
    swap = ("update audit set sequence = -1 where sequence = 5", "update audit set sequence = 5 where sequence = 6",
            "update audit set sequence = 6 where sequence = -1")
    with spoilt(folder, *swap) as copy:
        said = verified(context, copy, 1)
        assert "row 5 was changed" in said and "row 6 was changed" in said, said
    last = max(number for number, in rows(folder, "sequence"))
    noted = [json.loads(line)["sequence"] for line in (folder / "audit-heads.jsonl").read_text().splitlines()]
    with spoilt(folder, f"delete from audit where sequence > {max(noted) - 2}") as copy:
        said = verified(context, copy, 1)
        assert "its end was cut off" in said, (said, last)


RSYSLOG = """
global(workDirectory="{folder}" maxMessageSize="256k" DefaultNetstreamDriver="gtls"
  DefaultNetstreamDriverCAFile="{ca}" DefaultNetstreamDriverCertFile="{certificate}"
  DefaultNetstreamDriverKeyFile="{key}")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid")
input(type="imtcp" port="{port}" address="127.0.0.1")
template(name="whole" type="string" string="%rawmsg%\\n")
action(type="omfile" file="{out}" template="whole")
"""


class Collector:
    """rsyslog with TLS on a port of its own, asking for a certificate."""

    def __init__(self, folder):
        self.folder, self.port, self.process = folder, free_port(), None
        authority = Authority(folder, "collector")
        self.ca = authority.certificate
        self.key, self.certificate = authority.certify("rsyslog")
        self.client_key, self.client_certificate = authority.certify("radiant")
        self.out = folder / "messages"

    def keys(self):
        return {"audit.syslog.address": f"127.0.0.1:{self.port}", "audit.syslog.authorities": self.ca,
                "audit.syslog.certificate": self.client_certificate, "audit.syslog.key": self.client_key,
                "audit.syslog.enterprise_site_id": "site", "audit.syslog.retry_max_s": "1"}

    def start(self):
        configuration = self.folder / "rsyslog.conf"
        configuration.write_text(RSYSLOG.format(folder=self.folder, ca=self.ca, certificate=self.certificate,
                                                key=self.key, port=self.port, out=self.out))
        command = ["rsyslogd", "-n", "-f", str(configuration), "-i", str(self.folder / "pid")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(timeout=30)
            self.process = None

    def messages(self):
        """Header and XML of each."""
        if not self.out.exists():
            return []
        # The collector may be writing the last line.
        whole, _, _ = self.out.read_text().rpartition("\n")
        lines = [line for line in whole.splitlines() if "DICOM+RFC3881" in line]
        return [tuple(line.split("\ufeff", 1)) if "\ufeff" in line else (line, line[line.index("<?xml"):]) for line in lines]


def check_collector(context, tally):
    if not shutil.which("rsyslogd", path=os.environ["PATH"] + ":/usr/sbin"):
        return tally.miss("audit: a collector", "rsyslog")
    folder = context.folder("audit-collector")
    collector = Collector(folder)
    keys = KEYS | collector.keys()
    try:
        with Server(context.binary, folder / "data", keys) as server:
            use(server)
            collector.start()
            with tally.check("audit: what happened before the collector was there comes to it"):
                wait_for_all(server, collector)
            collector.stop()
            use(server)
            with tally.check("audit: what happened while the collector was away comes to it"):
                collector.start()
                wait_for_all(server, collector)
            with tally.check("audit: every message is one of PS3.15 A.5"):
                check_messages(collector)
    finally:
        collector.stop()


def wait_for_all(server, collector):
    """Every row up to now, told by the sequences in the messages."""
    end = entries(server)[0]["sequence"]
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        missing = set(range(1, end + 1)) - sequences(collector)
        if not missing:
            return
        time.sleep(0.5)
    raise AssertionError(f"rows {sorted(missing)[:10]} of {end} did not come")


def sequences(collector):
    from lxml import etree

    told = set()
    for _, text in collector.messages():
        details = {detail.get("type"): base64.b64decode(detail.get("value")).decode()
                   for detail in etree.fromstring(text.encode()).iter("ParticipantObjectDetail")}
        told |= set(range(int(details["first-sequence"]), int(details["sequence"]) + 1))
    return told


EXPECTED = {"110100", "110101", "110102", "110103", "110104", "110105", "110112", "110113"}


def check_messages(collector):
    from lxml import etree

    schema = etree.RelaxNG(etree.parse(str(SCHEMA)))
    seen = set()
    for header, text in collector.messages():
        assert header.startswith("<85>1 ") or "<85>" not in header, header
        message = etree.fromstring(text.encode())
        assert schema.validate(message), f"{schema.error_log}\n{text}"
        event = message.find("EventIdentification/EventID")
        seen.add(event.get("csd-code"))
        requestors = [one for one in message.iter("ActiveParticipant") if one.get("UserIsRequestor") == "true"]
        equal(f"requestors of {text}", len(requestors), 1)
    equal("events that did not come", EXPECTED - seen, set())
