"""The whole life of a report by plain HTTP, and every document of it before judges of their own."""

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import highdicom
import requests
from pydicom import dcmread
from pydicom.uid import generate_uid

from . import dicomweb, phantoms
from .part10 import encoded
from .server import QUICK, WITH_DEMO_MODEL, Server
from .tally import equal

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))
from check_report import Verdict, check_iod, check_names, items, referenced, said, texts  # noqa: E402

SEED = 930_000
TOOLS = ("dsr2html", "pdftotext", "pdftoppm", "dcm2xml")
SIGNER, ORGANIZATION = "Ana Ruiz", "Hospital of the Suite"
MODEL = WITH_DEMO_MODEL | {"report.signer": SIGNER, "report.organization": ORGANIZATION}
WITHOUT_MODEL = QUICK | {"report.signer": "Анна Иванова 山田", "report.organization": "Больница № 1"}
PUBLISH_S = 120


def run(context, tally):
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        tally.miss("reporting", ", ".join(missing))
        return
    drawn = phantoms.draw(context, "reporting", 6, SEED)
    folder = context.folder("reporting")
    with Server(context.binary, folder / "data", MODEL) as server:
        phantoms.analysed(server, [phantom.path.read_bytes() for phantom in drawn])
        life = Life(server, drawn, folder)
        for name, step in life.steps():
            with tally.check(name):
                step()
    with Server(context.binary, folder / "grown", MODEL) as server:
        with tally.check("images that come later take the place of a draft, and of nothing that people have touched"):
            grown(server, drawn[2])
    with tally.check("kill -9 around a signature loses nothing"):
        killed(context, drawn[0], folder)
    with Server(context.binary, folder / "by-hand", WITHOUT_MODEL) as server:
        with tally.check("a report without a model, in Russian and Japanese"):
            by_hand(server, drawn[1], folder)
    with Server(context.binary, folder / "nobody", QUICK) as server:
        with tally.check("without access control nobody signs who is not configured"):
            nobody_signs(server, drawn[1])


def grown(server, phantom):
    """A study that gets another image at each stage of its report."""
    first = after_growth(server, phantom)
    second = after_growth(server, phantom, first)
    gave_way = first.read()
    equal("the untouched draft", (gave_way["status"], gave_way["superseded_by"], gave_way["allowed"]),
          ("superseded", second.report["id"], []))
    first.send("PATCH", "", {"sections": {"technique": "x"}}, 409)
    second.send("PATCH", "", {"sections": {"technique": "Two views."}})
    third = after_growth(server, phantom, second)
    edited = second.read()
    equal("the edited one", (edited["status"], edited["newer_draft"], edited["content"]["sections"]["technique"]),
          ("edited", third.report["id"], "Two views."))
    assert any(third.report["id"] in notice for notice in edited["notices"]), edited["notices"]
    for finding in edited["content"]["findings"]:
        if finding["decision"] == "undecided":
            second.send("POST", f"findings/{finding['id']}/accept")
    second.send("POST", "sign", {})
    signed, documents = second.wait_until_published(), second.documents()
    last = after_growth(server, phantom, third)
    equal("the signed one", (second.read()["status"], second.report["newer_draft"]), ("signed", last.report["id"]))
    equal("what was signed", (second.report["content"], second.documents()), (signed["content"], documents))
    equal("the draft between", third.read()["superseded_by"], last.report["id"])
    kinds = [change["kind"] for change in server.rest("changefeed?limit=1000")["changes"]]
    equal("told", (kinds.count("report-superseded"), kinds.count("report-outgrown")), (2, 2))


def after_growth(server, phantom, before=None):
    """One image more, and the draft of what is there then."""
    image, analysed = dcmread(phantom.path), len(server.analyses(phantom.study)) if before else 0
    if before:
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.InstanceNumber = 1 + analysed
    stored = requests.post(f"{server.base}/dicom-web/studies", data=encoded(image), timeout=60,
                           headers={"Content-Type": "application/dicom"})
    equal("STOW-RS", stored.status_code, 200)
    deadline = time.monotonic() + PUBLISH_S
    while [one["state"] for one in server.analyses(phantom.study)] != ["done"] * (analysed + 1):
        assert time.monotonic() < deadline, server.analyses(phantom.study)
        time.sleep(0.2)
    [report] = [one["report"] for one in server.analyses(phantom.study) if not one["superseded_by"]]
    assert not before or report != before.report["id"]
    return Client(server, report)


class Client:
    """One person who reads and changes a report."""

    def __init__(self, server, report):
        self.server, self.url = server, f"{server.base}/api/v1/reports/{report}"
        self.read()

    def read(self):
        answer = requests.get(self.url, timeout=60)
        equal("status of the report", answer.status_code, 200)
        self.tag, self.report = answer.headers["ETag"], answer.json()
        return self.report

    def send(self, method, path, body=None, status=200, tag=None):
        headers = {"If-Match": tag or self.tag}
        url = f"{self.url}/{path}" if path else self.url
        answer = requests.request(method, url, json=body, headers=headers, timeout=60)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code}: {answer.text[:400]}"
        if status == 200:
            self.tag, self.report = answer.headers["ETag"], answer.json()
        return answer.json()

    def version(self, number):
        return requests.get(f"{self.url}/versions/{number}", timeout=60).json()

    def wait_until_published(self):
        deadline = time.monotonic() + PUBLISH_S
        while time.monotonic() < deadline:
            if self.read()["current"]["published_at"]:
                return self.report
            time.sleep(0.2)
        raise AssertionError(f"not published: {self.report['notices']}")

    def documents(self, number=None):
        """SR and PDF of a version, by the links that it gives."""
        version = self.version(number or self.report["version"])
        return [self._file(version["links"][name]) for name in ("sr", "encapsulated_pdf")]

    def _file(self, link):
        parts = link.split("/")
        return dicomweb.retrieve(self.server, (parts[-5], parts[-3], parts[-1]))


class Life:
    """The steps of one report, each on what the one before left."""

    def __init__(self, server, drawn, folder):
        self.server, self.folder = server, folder
        self.phantom, self.report = self._with_findings(drawn)
        self.study = self.phantom.study

    def _with_findings(self, drawn):
        """The study with most findings."""
        reports = []
        for phantom in drawn:
            [summary] = self.server.rest(f"reports?study={phantom.study}")["items"]
            report = Client(self.server, summary["id"])
            reports.append((len(report.report["content"]["findings"]), phantom, report))
        return max(reports, key=lambda row: row[0])[1:]

    def steps(self):
        yield "a draft of the model can be read, with its tag", self.draft
        yield "a change needs If-Match, and the tag that is there", self.preconditions
        yield "of two editors at once one gets 412, and no text is lost", self.race
        yield "nothing is signed while findings are undecided", self.undecided
        yield "findings are rejected, edited and added, by the rules", self.findings
        yield "an impression of the model is not signed over a rejected finding unread", self.impression
        yield "a signed report is closed", self.sign
        yield "its SR before dciodvfy, highdicom, dcm2xml and dsr2html", lambda: self.sr("VERIFIED", 1)
        yield "its PDF before dciodvfy and poppler", self.pdf
        yield "QIDO-RS finds all documents", lambda: self.found(4)
        yield "an addendum is a version of its own", self.addendum
        yield "a change that was begun can be given up", self.discard
        yield "a correction names what it replaces", self.correction
        yield "versions, differences and supersession", self.versions
        yield "bodies and ids that are none are refused", self.refusals
        yield "the log holds no word of the report", self.log

    def draft(self):
        report = self.report.report
        equal("status", report["status"], "draft")
        equal("acts", report["allowed"], ["edit", "sign"])
        assert report["content"]["findings"] and report["content"]["images"], report
        equal("undecided", report["undecided"], len(report["content"]["findings"]))

    def preconditions(self):
        equal("without", requests.patch(self.report.url, json={}, timeout=60).status_code, 428)
        self.report.send("PATCH", "", {"title": "x"}, 412, tag='"other"')
        equal("unchanged", self.report.read()["version"], 1)

    def race(self):
        self.report.read()
        results, tag = [], self.report.tag

        def write(text):
            answer = requests.patch(self.report.url, json={"sections": {"technique": text}},
                                    headers={"If-Match": tag}, timeout=60)
            results.append((answer.status_code, text))

        threads = [threading.Thread(target=write, args=(f"Text {n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        equal("statuses", sorted(status for status, _ in results), [200] + [412] * 7)
        [won] = [text for status, text in results if status == 200]
        equal("the text", self.report.read()["content"]["sections"]["technique"], won)
        equal("version", self.report.report["version"], 2)

    def undecided(self):
        problem = self.report.send("POST", "sign", {}, 409)
        assert "accepted" in problem["detail"], problem

    def findings(self):
        report, stated = self.report, self.report.report["content"]["findings"]
        report.send("POST", f"findings/{stated[0]['id']}/reject", {"reason": ""}, 422)
        report.send("POST", f"findings/{stated[0]['id']}/reject", {"reason": "Overlying breast shadow."})
        for finding in stated[1:]:
            report.send("POST", f"findings/{finding['id']}/accept")
        image = report.report["content"]["images"][0]
        self.image = {"sop_instance_uid": image["sop_instance_uid"], "frame": image["frame"]}
        self.added = {
            "finding": "pulmonary nodule", "location": "upper lung zone", "laterality": "left", "certainty": "definite",
            "image": self.image, "region": {"left": 20.0, "top": 30.0, "right": 80.5, "bottom": 90.0},
            "measurements": [{"name": "diameter", "value": 8.5, "unit": "mm"}],
            "sentence": "Round nodule of 8.5 mm in the left upper zone.",
        }
        wrong = [({"finding": "x"}, "/finding"), ({"region": {"left": 0, "top": 0, "right": 9e6, "bottom": 1}}, "/region"),
                 ({"image": {"sop_instance_uid": "1.2.3"}}, "/image"),
                 ({"measurements": [{"name": "diameter", "value": 1, "unit": "mL"}]}, "/measurements/0/unit"),
                 ({"code": {"scheme": "SCT", "value": "60046008", "meaning": "Pleural effusion"}}, "/code")]
        for change, place in wrong:
            problem = report.send("POST", "findings", self.added | change, 422)
            assert place + ":" in problem["detail"], problem
        report.send("POST", "findings", self.added)
        added = report.report["content"]["findings"][-1]
        equal("origin", (added["origin"], added["decision"]), ("person", "edited"))
        equal("code", added["words"]["code"]["value"], phantoms.NODULE)
        self._edit_with_the_original_beside()

    def _edit_with_the_original_beside(self):
        report = self.report
        kept = [f for f in report.report["content"]["findings"] if f["decision"] == "accepted"]
        if not kept:
            return
        words = kept[0]["words"] | {"severity": "large"}
        report.send("PUT", f"findings/{kept[0]['id']}", words)
        edited = next(f for f in report.report["content"]["findings"] if f["id"] == kept[0]["id"])
        equal("decision", edited["decision"], "edited")
        equal("original", edited["original"], kept[0]["words"])

    def impression(self):
        problem = self.report.send("POST", "sign", {}, 409)
        assert "impression" in problem["detail"], problem
        text = "Nodule in the left upper zone. No effusion."
        self.report.send("PATCH", "", {"sections": {"impression": text}, "reason": "After looking at the images"})
        self.impression_text = text

    def sign(self):
        self.report.send("POST", "sign", {})
        equal("status", self.report.report["status"], "signed")
        self.report.wait_until_published()
        self.signed = self.report.report["version"]
        for method, path, body in [("PATCH", "", {"title": "x"}), ("POST", "sign", {}), ("POST", "findings", self.added)]:
            self.report.send(method, path, body, 409)
        equal("allowed", self.report.report["allowed"], ["addend", "correct"])

    def sr(self, flag, predecessors):
        file, _ = self.report.documents()
        path = self.folder / f"sr-{self.report.report['version']}.dcm"
        path.write_bytes(file)
        verdict = Verdict()
        check_iod(verdict, path)
        sr = highdicom.sr.srread(path)
        check_names(verdict, sr)
        verdict.equal("flags", (sr.CompletionFlag, sr.VerificationFlag, sr.PreliminaryFlag), ("COMPLETE", flag, "FINAL"))
        [observer] = sr.VerifyingObserverSequence
        verdict.equal("observer", (str(observer.VerifyingObserverName), observer.VerifyingOrganization), (SIGNER, ORGANIZATION))
        verdict.equal("predecessors", len(referenced(sr.PredecessorDocumentsSequence)), predecessors)
        draft = self.report.version(1)["links"]["sr"].split("/")[-1]
        verdict.hold("the draft among them", draft in referenced(sr.PredecessorDocumentsSequence))
        verdict.equal("authors", [author.ObserverType for author in sr.AuthorObserverSequence], ["PSN", "DEV"])
        verdict.equal("equipment", sr.ContributingEquipmentSequence[0].ManufacturerModelName, "radiant")
        self._groups(verdict, sr)
        self._text(verdict, sr, path)
        assert not verdict.failures, "; ".join(verdict.failures)

    def _groups(self, verdict, sr):
        groups = sr.content.get_planar_roi_measurement_groups() + sr.content.get_image_measurement_groups()
        stated = [f for f in self.report.report["content"]["findings"] if f["decision"] != "rejected"]
        present = {f["tracking_uid"]: f for f in stated if f["words"]["certainty"] != "absent"}
        verdict.equal("groups", {group.tracking_uid for group in groups}, set(present))
        for group in groups:
            words = present[group.tracking_uid]["words"]
            given = words["measurements"] + present[group.tracking_uid]["measured"]
            verdict.equal("code", group.finding_type.value, words["code"]["value"])
            side = group.finding_sites[0].laterality
            verdict.equal("side", phantoms.SIDES.get(side.value) if side else "none", words["laterality"])
            numbers = [(m.value, m.unit.value) for m in group.get_measurements()]
            verdict.equal("numbers", numbers, [(m["value"], m["unit"]) for m in given])
            if words["region"]:
                points = [float(v) for v in group.roi.value[0]]
                verdict.equal("region", points, [words["region"]["left"], words["region"]["top"]])

    def _text(self, verdict, sr, path):
        content = self.report.report["content"]
        [evaluations] = items(sr, "Qualitative Evaluations")
        verdict.equal("impression", texts(evaluations, "Impression"), [content["sections"]["impression"]])
        for heading, name in [("Current Procedure Descriptions", "technique"), ("Impressions", "impression")]:
            [section] = items(sr, heading)
            verdict.equal(name, section.ContentSequence[0].TextValue, content["sections"][name])
        [rejected] = items(sr, "Statements of the model that were rejected: no findings")
        [item] = rejected.ContentSequence
        verdict.hold("rejected text", item.ValueType == "TEXT" and item.TextValue.startswith("REJECTED, not a finding"))
        observers = [str(o.PersonName) for o in items(sr, "Person Observer Name")]
        verdict.equal("person observer", observers, [SIGNER])
        status, html, _ = said("dsr2html", path)
        verdict.hold("dsr2html", status == 0 and content["sections"]["impression"] in html)
        status, xml, _ = said("dcm2xml", path)
        verdict.hold("dcm2xml", status == 0 and "VERIFIED" in xml)

    def pdf(self):
        _, file = self.report.documents()
        path = self.folder / f"pdf-{self.report.report['version']}.dcm"
        path.write_bytes(file)
        verdict, document = Verdict(), dcmread(path)
        check_iod(verdict, path)
        verdict.equal("flag", document.VerificationFlag, "VERIFIED")
        words = self._words(path, document)
        for wanted in (f"Signed by {SIGNER}, {ORGANIZATION}", self.impression_text, "Overlying breast shadow",
                       "Round nodule of 8.5 mm", "Rejected", "page 1 of"):
            verdict.hold(f"{wanted!r} in the text", wanted in words)
        verdict.hold("no mark of a draft", "unverified" not in words.lower())
        plain = requests.get(self.report.report["links"]["pdf"], timeout=60)
        verdict.hold("by REST", document.EncapsulatedDocument.startswith(plain.content))
        assert not verdict.failures, "; ".join(verdict.failures)

    def _words(self, path, document):
        pdf = path.with_suffix(".pdf")
        pdf.write_bytes(document.EncapsulatedDocument[: document.EncapsulatedDocumentLength])
        _, text, complaints = said("pdftotext", "-layout", pdf, "-")
        equal("pdftotext complains", complaints, "")
        subprocess.run(["pdftoppm", "-r", "70", "-png", str(pdf), str(path.with_suffix(""))], check=True)
        return " ".join(text.split())

    def found(self, count):
        found = dicomweb.search(self.server, f"studies/{self.study}/instances")
        documents = [item for item in found if dicomweb.value(item, "00080060") in ("SR", "DOC")]
        equal("documents", len(documents), count)

    def addendum(self):
        report = self.report
        report.send("POST", "addendum", {"text": " "}, 422)
        report.send("POST", "addendum", {"text": "Compared with the film of 2019."})
        equal("status", report.report["status"], "addending")
        report.send("PATCH", "", {"title": "x"}, 409)
        report.send("PUT", "addendum", {"text": "Compared with the film of 2019: unchanged."})
        report.send("POST", "sign", {})
        equal("status", report.report["status"], "addended")
        report.wait_until_published()
        self.addended = report.report["version"]
        self.sr("VERIFIED", 2)
        _, file = report.documents()
        path = self.folder / "addendum.dcm"
        path.write_bytes(file)
        words = self._words(path, dcmread(path))
        assert "film of 2019: unchanged" in words and "Addendum signed by" in words, words[:600]

    def discard(self):
        report = self.report
        report.send("POST", "correction", {"reason": "A mistake, as it seemed."})
        report.send("PATCH", "", {"sections": {"impression": "Something else."}})
        report.send("POST", "discard")
        equal("version in force", report.report["version"], self.addended)
        equal("status", report.report["status"], "addended")
        equal("impression", report.report["content"]["sections"]["impression"], self.impression_text)

    def correction(self):
        report = self.report
        report.send("POST", "correction", {"reason": "Wrong side."})
        equal("status", report.report["status"], "correcting")
        added = report.report["content"]["findings"][-1]
        report.send("PUT", f"findings/{added['id']}", added["words"] | {"laterality": "right", "sentence": None})
        self.impression_text = "Nodule in the right upper zone."
        report.send("PATCH", "", {"sections": {"impression": self.impression_text}})
        report.send("POST", "sign", {})
        report.wait_until_published()
        equal("status", report.report["status"], "corrected")
        self.sr("VERIFIED", 3)
        _, file = report.documents()
        path = self.folder / "correction.dcm"
        path.write_bytes(file)
        words = self._words(path, dcmread(path))
        for wanted in ("Corrected and signed report", "Reason: Wrong side.", "It replaces version", "laterality"):
            assert wanted in words, f"{wanted!r} is not in {words[:800]}"

    def versions(self):
        report = self.report
        listed = self.server.rest(f"reports/{report.report['id']}/versions")
        equal("total", listed["total"], report.report["version"])
        by_number = {item["version"]: item for item in listed["items"]}
        replaced = [by_number[number]["superseded_by"] for number in (1, self.signed, self.addended)]
        equal("superseded", replaced, [self.signed, self.addended, report.report["version"]])
        last = report.report["version"]
        diff = self.server.rest(f"reports/{report.report['id']}/versions/{last}/diff?against={self.addended}")
        [changed] = diff["findings"]
        fields = {field["field"]: (field["before"], field["after"]) for field in changed["fields"]}
        equal("side", fields["laterality"], ("left", "right"))
        [section] = diff["sections"]
        text = lambda without: "".join(part["text"] for part in section["parts"] if part["change"] != without)
        equal("before", text("added"), "Nodule in the left upper zone. No effusion.")
        equal("after", text("removed"), self.impression_text)
        equal("a signed version is as it was", report.version(self.signed)["content"]["sections"]["impression"],
              "Nodule in the left upper zone. No effusion.")

    def refusals(self):
        report = self.report
        report.send("PATCH", "", {"titel": "x"}, 400)
        report.send("POST", "findings/nothing/accept", None, 409)
        for path in ("versions/0", "versions/x", "versions/99999", "versions/1/diff?against=99"):
            equal(path, requests.get(f"{report.url}/{path}", timeout=60).status_code, 404)
        equal("by", requests.get(f"{report.url}/versions/2/diff?by=letter", timeout=60).status_code, 400)
        equal("a report that is none", requests.get(f"{report.url}x", timeout=60).status_code, 404)

    def log(self):
        log = self.server.log()
        for secret in ("Nodule in the", "Overlying breast", str(dcmread(self.phantom.path).PatientName)):
            assert secret not in log, secret


def killed(context, phantom, folder):
    """Signed, and the process gone in the same moment: the documents are there after the next start."""
    server = Server(context.binary, folder / "killed", QUICK | {"report.signer": SIGNER})
    with server:
        study = stored(server, phantom)
        signed = []
        for number in range(4):
            report = begun(server, study, {"sections": {"impression": f"Report {number}."}})
            report.send("POST", "sign", {})
            signed.append(report)
            if number % 2:
                time.sleep(0.15 * number)
            server.kill()
            server.start()
        for report in signed:
            report.wait_until_published()
        found = dicomweb.search(server, f"studies/{study}/instances")
        equal("documents", len(found), 1 + 2 * len(signed))


def stored(server, phantom):
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + phantom.path.read_bytes() + b"\r\n--b--"
    answer = requests.post(f"{server.web}/studies", data=body, headers=headers, timeout=60)
    equal("status of STOW", answer.status_code, 200)
    return phantom.study


def begun(server, study, body):
    answer = requests.post(f"{server.base}/api/v1/studies/{study}/reports", json=body, timeout=60)
    equal("status", answer.status_code, 201)
    equal("place", answer.headers["Location"], answer.json()["links"]["self"])
    return Client(server, answer.json()["id"])


def by_hand(server, phantom, folder):
    study = stored(server, phantom)
    text = {"clinical_information": "Кашель, одышка.", "findings": "Правосторонний выпот.\n右胸水。", "impression": "Малый правосторонний плевральный выпот. 右胸水。"}
    report = begun(server, study, {"title": "Рентгенография грудной клетки", "language": "ru", "sections": text})
    equal("analysis", report.report["analysis"], None)
    image = report.report["content"]["images"][0]
    words = {"finding": "pleural effusion", "location": "pleural space", "laterality": "right", "certainty": "definite",
             "sentence": "Правосторонний плевральный выпот.",
             "image": {"sop_instance_uid": image["sop_instance_uid"]}, "region": {"left": 10, "top": 100, "right": 120, "bottom": 200}}
    report.send("POST", "findings", words)
    report.send("POST", "sign", {})
    report.wait_until_published()
    verdict = Verdict()
    files = dict(zip(("sr", "pdf"), report.documents()))
    for name, file in files.items():
        path = folder / f"by-hand-{name}.dcm"
        path.write_bytes(file)
        check_iod(verdict, path)
    sr = highdicom.sr.srread(folder / "by-hand-sr.dcm")
    verdict.equal("character set", sr.SpecificCharacterSet, "ISO_IR 192")
    verdict.equal("observer", str(sr.VerifyingObserverSequence[0].VerifyingObserverName), WITHOUT_MODEL["report.signer"])
    verdict.equal("organization", sr.VerifyingObserverSequence[0].VerifyingOrganization, WITHOUT_MODEL["report.organization"])
    verdict.hold("no predecessor", "PredecessorDocumentsSequence" not in sr)
    verdict.equal("authors", [a.ObserverType for a in sr.AuthorObserverSequence], ["PSN"])
    [section] = items(sr, "Findings")
    verdict.equal("findings", section.ContentSequence[0].TextValue, text["findings"])
    [language] = items(sr, "Language of Content Item and Descendants")
    verdict.equal("language", language.ConceptCodeSequence[0].CodeValue, "ru")
    document = dcmread(folder / "by-hand-pdf.dcm")
    pdf = folder / "by-hand.pdf"
    pdf.write_bytes(document.EncapsulatedDocument[: document.EncapsulatedDocumentLength])
    _, said_text, _ = said("pdftotext", "-layout", pdf, "-")
    for wanted in ("Малый правосторонний", "右胸水", "Рентгенография", "Кашель"):
        verdict.hold(f"{wanted!r} in the PDF", wanted in said_text)
    subprocess.run(["pdftoppm", "-r", "70", "-png", str(pdf), str(folder / "by-hand")], check=True)
    verdict.hold("the narrative", "右胸水" in report.report["narrative"]["impression"])
    assert not verdict.failures, "; ".join(verdict.failures)


def nobody_signs(server, phantom):
    report = begun(server, stored(server, phantom), {"sections": {"impression": "Normal."}})
    report.send("POST", "sign", {}, 403)
    equal("status", report.read()["status"], "draft")
    equal("documents", report.report["links"]["pdf"], None)
    equal("no such study", requests.post(f"{server.base}/api/v1/studies/1.2.3/reports", json={}, timeout=60).status_code, 404)
