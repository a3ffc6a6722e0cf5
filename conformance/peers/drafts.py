"""What a model has drafted, and who sees it before and after somebody signs: REST, DICOMweb and C-FIND."""

import json
import time

from pydicom.dataset import Dataset

from . import phantoms
from .dimse_identity import FIND, associated, of
from .guarded import Guarded, Person
from .idor import waited_for
from .server import WITH_DEMO_MODEL
from .tally import equal

SEED = 940_000
READERS = ("referrer", "viewer", "key of an administrator")
# All of the role but to read drafts.
OF_KEY = ("view-studies", "read-reports", "export-studies", "operate-server", "read-audit")
PUBLISHED_S = 120
KEYS = WITH_DEMO_MODEL | {"dimse.unknown_callers_may": '["query", "retrieve"]'}
ADDED = "Compared with the film of 2019."


def run(context, tally):
    [phantom] = phantoms.draw(context, "drafts", 1, SEED)
    with Guarded(context.binary, context.folder("drafts") / "data", KEYS) as server:
        place = Place(server, phantom)
        with tally.check("a radiologist sees the draft and its documents"):
            place.drafted()
        for role in READERS:
            with tally.check(f"to a {role} a draft is not there, whatever the door"):
                place.hidden_from(place.people[role])
        with tally.check("once signed, everybody sees what was signed, and no draft"):
            place.signed()
        with tally.check("an addendum in the making stays with those who write it"):
            place.addended()


class Keyed(Person):
    """A key of an administrator that may not read drafts."""

    def __init__(self, server):
        wish = {"name": "feed", "role": "administrator", "permissions": OF_KEY}
        made, _ = server.administrator.api("POST", "api-keys", 201, json=wish)
        super().__init__(server, made["id"], "any", made["key"], made["key"])


class Place:
    def __init__(self, server, phantom):
        self.server, self.study = server, phantom.study
        self.people = {role: server.person(role, role) for role in ("referrer", "viewer", "radiologist")}
        self.people[READERS[-1]] = Keyed(server)
        self.doctor = self.people["radiologist"]
        stored = self.doctor.ask("POST", "/dicom-web/studies", data=phantom.path.read_bytes(),
                                 headers={"Content-Type": "application/dicom"})
        equal("STOW-RS", stored.status_code, 200)
        self.analysis = waited_for(self.doctor, self.study)
        self.report = self.analysis["report"]

    def series(self, person):
        """Series Instance UIDs by DICOMweb, by the REST API and in whole-study metadata."""
        found = {one["0020000E"]["Value"][0] for one in person.ask("GET", f"/dicom-web/studies/{self.study}/series").json()}
        listed, _ = person.api("GET", f"studies/{self.study}/series")
        equal("series of the API", {one["series_uid"] for one in listed["items"]}, found)
        metadata = person.ask("GET", f"/dicom-web/studies/{self.study}/metadata").json()
        equal("series in metadata", {one["0020000E"]["Value"][0] for one in metadata}, found)
        equal("series by C-FIND", self.by_c_find(person), found)
        return found

    def by_c_find(self, person):
        keys = Dataset()
        keys.QueryRetrieveLevel, keys.StudyInstanceUID, keys.SeriesInstanceUID = "SERIES", self.study, ""
        association = associated(self.server, of(person), (FIND,))
        answers = [found for _, found in association.send_c_find(keys, FIND) if found is not None]
        association.release()
        return {str(found.SeriesInstanceUID) for found in answers}

    def drafted(self):
        listed, _ = self.doctor.api("GET", f"studies/{self.study}/series")
        self.images = {one["series_uid"] for one in listed["items"] if one["modality"] not in ("SR", "DOC")}
        self.drafts = self.series(self.doctor) - self.images
        equal("series of the draft", len(self.drafts), 2)
        report, _ = self.doctor.api("GET", f"reports/{self.report}")
        equal("status", report["status"], "draft")

    def hidden_from(self, reader):
        equal("series", self.series(reader), self.images)
        for series in self.drafts:
            for path in ("", "/metadata", "/rendered"):
                status = reader.ask("GET", f"/dicom-web/studies/{self.study}/series/{series}{path}").status_code
                equal(f"series{path}", status, 404)
        for path in ("", "/pdf", "/sr", "/csv", "/fhir", "/versions", "/versions/1", "/versions/1/pdf"):
            reader.api("GET", f"reports/{self.report}{path}", 404)
        self.counted_and_told(reader)
        for path in ("analyses", f"analyses/{self.analysis['id']}", f"studies/{self.study}/analyses", "findings"):
            reader.api("GET", path, 403)
        reports, _ = reader.api("GET", "reports")
        equal("reports", reports["items"], [])
        study, _ = reader.api("GET", f"studies/{self.study}")
        equal("analyses, report", (study["analyses"], study["report"], study["analysis"]["id"]), ([], None, None))
        assert not self.drafts & set(json.dumps(study).split('"')), study

    def counted_and_told(self, reader):
        """Neither counts nor feeds nor what is taken out tell of a draft."""
        [study] = reader.ask("GET", f"/dicom-web/studies?StudyInstanceUID={self.study}").json()
        counts = study["00201206"]["Value"][0], study["00201208"]["Value"][0]
        instances = reader.ask("GET", f"/dicom-web/studies/{self.study}/instances").json()
        equal("counts", counts, (len(self.images), len(instances)))
        assert not {"SR", "DOC"} & set(study["00080061"]["Value"]), study
        held = reader.ask("GET", f"/dicom-web/studies/{self.study}", headers={"Accept": "application/zip"})
        assert held.status_code == 200 and not any(series.encode() in held.content for series in self.drafts), "ZIP"
        if reader.name == "any":
            feed, _ = reader.api("GET", "changefeed?limit=1000")
            text = json.dumps(feed)
            assert self.study in text and not any(word in text for word in (*self.drafts, "analysis-")), text
            reader.api("POST", f"studies/{self.study}/exports", 403, json={"destinations": ["x"]})
            reader.api("POST", "downloads", 403, json={"studies": [self.study], "form": "dicomdir"})

    def signed(self):
        report, tag = self.doctor.api("GET", f"reports/{self.report}")
        for finding in report["content"]["findings"]:
            report, tag = self.doctor.api("POST", f"reports/{self.report}/findings/{finding['id']}/accept",
                                          headers={"If-Match": tag})
        self.doctor.api("POST", f"reports/{self.report}/sign", json={}, headers={"If-Match": tag})
        self.wait_until_published()
        for reader in (self.people[role] for role in READERS):
            signed = self.series(reader) - self.images
            equal("signed series", (len(signed), signed & self.drafts), (2, set()))
            report, _ = reader.api("GET", f"reports/{self.report}")
            equal("status", report["status"], "signed")
            versions, _ = reader.api("GET", f"reports/{self.report}/versions")
            assert all(version["signature"] for version in versions["items"]), versions
            reader.api("GET", f"reports/{self.report}/versions/1", 404)
            pdf = reader.ask("GET", f"/api/v1/reports/{self.report}/pdf")
            assert pdf.status_code == 200 and pdf.content.startswith(b"%PDF"), pdf.status_code
            reader.api("GET", f"reports/{self.report}/fhir")

    def wait_until_published(self):
        deadline = time.monotonic() + PUBLISHED_S
        while True:
            report, _ = self.doctor.api("GET", f"reports/{self.report}")
            if report["current"]["published_at"]:
                return
            assert time.monotonic() < deadline, "the documents do not come"
            time.sleep(0.5)

    def addended(self):
        _, tag = self.doctor.api("GET", f"reports/{self.report}")
        written, _ = self.doctor.api("POST", f"reports/{self.report}/addendum", json={"text": ADDED},
                                     headers={"If-Match": tag})
        equal("status for its author", written["status"], "addending")
        for reader in (self.people[role] for role in READERS):
            seen, _ = reader.api("GET", f"reports/{self.report}")
            equal("status for a reader", seen["status"], "signed")
            listed, _ = reader.api("GET", "reports")
            text = json.dumps([seen, listed, reader.ask("GET", f"/api/v1/reports/{self.report}/fhir").json()])
            assert ADDED not in text and "addending" not in text, text[:400]
            reader.api("GET", f"reports/{self.report}/versions/{written['version']}", 404)
