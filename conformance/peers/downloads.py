"""Downloads from outside: asked for, followed, fetched in ranges, cancelled, kept over a kill, gone in time."""

import csv
import io
import time
import zipfile

import requests
from pydicom import dcmread
from pydicom.uid import generate_uid

from . import dicomweb, part10
from .server import WITHOUT_ANALYSIS, Server
from .tally import equal

LIMITED = {**WITHOUT_ANALYSIS, "downloads.per_owner_max": "3", "downloads.sweep_every_s": "1"}
PATIENCE_S = 120
SLICES = 5


def run(context, tally):
    folder = context.folder("downloads")
    with Server(context.binary, folder, LIMITED) as server:
        study = store(server, SLICES)
        with tally.check("downloads: a study as a ZIP, by a job: 202, progress, ranges"):
            check_job(server, study)
        with tally.check("downloads: a query is settled when it is asked"):
            check_query(server)
        with tally.check("downloads: what is malformed, unknown or too much is refused"):
            check_refusals(server, study)
        with tally.check("downloads: a cancelled one is gone, and its file"):
            check_cancel(server, study, folder)
        with tally.check("downloads: the list has pages, newest first"):
            check_list(server, study)
        with tally.check("downloads: it is made after a kill"):
            check_kill(server, folder)
        with tally.check("downloads: each study that goes out is in the audit trail, and no name of a patient"):
            check_audit(server, study)
        server.stop()
        server.keys = {**LIMITED, "downloads.retention_h": "0"}
        server.start()
        with tally.check("downloads: the sweep takes what is over"):
            check_expiry(server, study, folder)


def store(server, count, patient=None):
    study = generate_uid()
    files = [part10.image(study, number, side=32) for number in range(1, count + 1)]
    if patient:
        files = [of_patient(file, patient) for file in files]
    kept, failed = dicomweb.store(server, files)
    equal("stored", (len(kept), failed), (count, {}))
    return study


def of_patient(file, patient):
    dataset = dcmread(io.BytesIO(file))
    dataset.PatientID = patient
    return part10.encoded(dataset)


def api(server, path):
    return f"{server.base}/api/v1/{path}"


def ask(server, expected=202, **wish):
    answer = requests.post(api(server, "downloads"), json=wish, timeout=60)
    equal(f"status of {wish}: {answer.text[:300]}", answer.status_code, expected)
    return answer.json()


def wait(server, download, state="done"):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = requests.get(api(server, f"downloads/{download}"), timeout=60).json()
        if found["state"] == state:
            return found
        if found["state"] in ("failed", "expired"):
            raise AssertionError(f"{found['state']}: {found['reason']}")
        time.sleep(0.1)
    raise AssertionError(f"still {found['state']} after {PATIENCE_S} s")


def fetch(server, download, **headers):
    return requests.get(api(server, f"downloads/{download}/content"), headers=headers, timeout=60)


def make(server, **wish):
    """A download that is done, and its bytes."""
    asked = ask(server, **wish)
    done = wait(server, asked["id"])
    content = fetch(server, asked["id"])
    equal("status", content.status_code, 200)
    return done, content.content


def forget(server, download):
    equal("deleted", requests.delete(api(server, f"downloads/{download}"), timeout=60).status_code, 204)


def check_job(server, study):
    done, content = make(server, form="dicom-zip", studies=[study])
    equal("instances", (done["instances_done"], done["instances_total"]), (SLICES, SLICES))
    equal("size", done["size_bytes"], len(content))
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    equal("files, and the last", (len(names), names[-1]), (SLICES + 1, "DICOMDIR"))
    part = fetch(server, done["id"], Range="bytes=10-29")
    equal("a range", (part.status_code, part.content), (206, content[10:30]))
    equal("Content-Range", part.headers["Content-Range"], f"bytes 10-29/{len(content)}")
    equal("status", fetch(server, done["id"], Range=f"bytes={len(content)}-").status_code, 416)
    assert study not in part.headers["Content-Disposition"], "a name of a file tells nothing"
    forget(server, done["id"])


def check_query(server):
    patient = generate_uid()[-12:]
    studies = {store(server, 1, patient) for _ in range(3)}
    asked = ask(server, form="csv", query={"PatientID": patient})
    equal("studies", asked["studies"], len(studies))
    wait(server, asked["id"])
    header = next(csv.reader(io.StringIO(fetch(server, asked["id"]).text)))
    equal("header", header[0], "study_uid")
    forget(server, asked["id"])
    ask(server, 404, form="csv", query={"PatientID": "nobody has this"})


def check_refusals(server, study):
    ask(server, 400, form="tar", studies=[study])
    ask(server, 400, form="csv", studies=[study], unknown=1)
    ask(server, 400, form="csv")
    ask(server, 400, form="csv", query={"PatientNmae": "x"})
    ask(server, 400, form="csv", studies=[study], query={"PatientID": "x"})
    ask(server, 404, form="csv", studies=["1.2.3.4"])
    ask(server, 422, form="deidentified-zip", studies=[study], options={"deidentify": ["retain-everything"]})
    both = ["retain-full-dates", "retain-modified-dates"]
    ask(server, 422, form="deidentified-zip", studies=[study], options={"deidentify": both})
    ask(server, 422, form="deidentified-zip", studies=[study], options={"project": "none"})
    kept = [ask(server, form="csv", studies=[study])["id"] for _ in range(3)]
    ask(server, 429, form="csv", studies=[study])
    for download in kept:
        forget(server, download)
    equal("status", requests.get(api(server, "downloads/nobody"), timeout=60).status_code, 404)


def check_cancel(server, study, folder):
    asked = ask(server, form="dicom-zip", studies=[study])
    forget(server, asked["id"])
    equal("its status", requests.get(api(server, f"downloads/{asked['id']}"), timeout=60).status_code, 410)
    listed = requests.get(api(server, "downloads"), params={"state": "cancelled"}, timeout=60).json()["items"]
    equal("is listed", asked["id"] in [item["id"] for item in listed], True)
    equal("status", fetch(server, asked["id"]).status_code, 410)
    deadline = time.monotonic() + PATIENCE_S
    while any((folder / "downloads").glob(f"{asked['id']}*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    equal("files", list((folder / "downloads").glob(f"{asked['id']}*")), [])


def check_list(server, study):
    own = [ask(server, form="csv", studies=[study])["id"] for _ in range(3)]
    found, cursor = [], None
    for _ in range(20):
        parameters = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = requests.get(api(server, "downloads"), params=parameters, timeout=60).json()
        found += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    equal("on all pages", len(found), page["total"])
    equal("order", found[:3], own[::-1])
    for download in own:
        forget(server, download)


def check_kill(server, folder):
    study = store(server, 40)
    asked = ask(server, form="dicom-zip", studies=[study])
    server.kill()
    (folder / "downloads").mkdir(exist_ok=True)
    (folder / "downloads" / "left-by-nobody.part").write_bytes(b"x")
    server.start()
    wait(server, asked["id"])
    archive = zipfile.ZipFile(io.BytesIO(fetch(server, asked["id"]).content))
    equal("files, and the first broken one", (len(archive.namelist()), archive.testzip()), (41, None))
    deadline = time.monotonic() + PATIENCE_S
    while (folder / "downloads" / "left-by-nobody.part").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not (folder / "downloads" / "left-by-nobody.part").exists()
    forget(server, asked["id"])


def check_audit(server, study):
    asked, _ = make(server, form="dicom-zip", studies=[study])
    page = requests.get(api(server, "audit"), params={"study": study, "limit": 1000}, timeout=60)
    if page.status_code == 200:
        actions = [item["action"] for item in page.json()["items"]]
        assert "export-study" in actions, actions
    assert "Conformance^Case" not in server.log(), "a name of a patient is in the log"
    forget(server, asked["id"])


def check_expiry(server, study, folder):
    asked = ask(server, form="csv", studies=[study])
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = requests.get(api(server, f"downloads/{asked['id']}"), timeout=60).json()
        if found["state"] == "expired":
            break
        time.sleep(0.2)
    equal("state", found["state"], "expired")
    equal("status", fetch(server, asked["id"]).status_code, 410)
    equal("files", list((folder / "downloads").glob(f"{asked['id']}*")), [])
