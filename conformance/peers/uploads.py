"""Forms with files, folders and zips, as a browser sends them: every file has its answer, no name is believed."""

import io
import os
import threading
import time
import uuid
import zipfile

import requests
from pydicom import dcmread
from pydicom.uid import generate_uid

from . import dicomweb, part10
from .server import WITHOUT_ANALYSIS, Server
from .tally import equal

# A patient's name in the name of a file goes back to the sender, and nowhere else.
NAMED = "Mustermann^Erika"
HOSTILE = ["../../escaped.dcm", "/etc/radiant-escaped.dcm", "C:\\Windows\\escaped.dcm", "..\\..\\escaped.dcm",
           "a\u202emcd.exe", "e\u0301\u0000x.dcm", "." * 200 + ".dcm"]
BOUNDED = {"uploads.files_max": "40", "uploads.zip_ratio_max": "20"}
LARGE_BYTES, MEMORY_MB_MAX = 192 << 20, 120


def run(context, tally):
    folder = context.folder("uploads")
    with Server(context.binary, folder / "data", WITHOUT_ANALYSIS | BOUNDED) as server:
        with tally.check("uploads: files, folders and a zip in one form, each with its outcome"):
            check_form(server)
        with tally.check("uploads: names with .., roots, drives, NUL and marks touch nothing and are shown escaped"):
            check_names(server, folder)
        with tally.check("uploads: a zip within a zip, a DICOMDIR and what is no DICOM are ignored with a reason"):
            check_ignored(server)
        with tally.check("uploads: a zip bomb, too many entries and overlapping ones are refused"):
            check_bombs(server)
        with tally.check("uploads: progress is seen while a form is being received"):
            check_progress(server)
        with tally.check("uploads: a large file goes through bounded memory"):
            check_memory(server)
        with tally.check("uploads: a sender that goes away leaves an aborted upload and what came whole"):
            check_broken(server)
        with tally.check("uploads: no name of a file is in the log"):
            assert NAMED not in server.log(), "the log names a patient"


def post(server, files, **more):
    return requests.post(f"{server.base}/api/v1/uploads", files=[("files", file) for file in files], timeout=300, **more)


def zipped(entries, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return out.getvalue()


def outcomes(answer):
    return [file["outcome"] for file in answer["files"]]


def check_form(server):
    study = generate_uid()
    one, two, three = (part10.image(study, number, side=32) for number in (1, 2, 3))
    archive = zipped([("study/3.dcm", three), ("study/", b""), (f"{NAMED}.txt", b"x")])
    answer = post(server, [("a/b/1.dcm", one), (f"{NAMED}.dcm", two), ("readme.txt", b"hello"), ("study.zip", archive),
                           ("cut.dcm", one[:600])])
    equal("status", answer.status_code, 200)
    body = answer.json()
    equal("outcomes", outcomes(body), ["stored", "stored", "ignored", "stored", "ignored", "refused"])
    equal("a name", body["files"][3]["name"], "study.zip: study/3.dcm")
    equal("counts", {key: body["counts"][key] for key in ("files", "stored", "same", "ignored", "refused")},
          {"files": 6, "stored": 3, "same": 0, "ignored": 2, "refused": 1})
    equal("once more", outcomes(post(server, [("a.dcm", one), ("b.dcm", two)]).json()), ["same", "same"])
    equal("instances", len([uids for uids in dicomweb.instances(server) if uids[0] == study]), 3)
    equal("again", requests.get(answer.headers["Location"] + "/files", timeout=60).json()["total"], 6)


def check_names(server, folder):
    study = generate_uid()
    before = sorted(os.listdir(folder))
    for number, name in enumerate(HOSTILE, 1):
        body = form_by_hand(name, part10.image(study, number, side=16))
        answer = requests.post(f"{server.base}/api/v1/uploads", data=body, timeout=60,
                               headers={"Content-Type": "multipart/form-data; boundary=b"}).json()
        equal(repr(name), outcomes(answer), ["stored"])
        shown = answer["files"][0]["name"]
        assert not any(ord(character) < 32 or character == "\u202e" for character in shown), repr(shown)
    entries = [(name.replace("\0", ""), part10.image(study, 20 + number, side=16)) for number, name in enumerate(HOSTILE)]
    equal("in a zip", outcomes(post(server, [("all.zip", zipped(entries))]).json()), ["stored"] * len(HOSTILE))
    equal("beside the data folder", sorted(os.listdir(folder)), before)
    assert not os.path.exists("/etc/radiant-escaped.dcm")
    equal("left in staging", os.listdir(folder / "data" / "staging"), [])


def form_by_hand(name, content):
    head = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    return head + content + b"\r\n--b--\r\n"


def check_ignored(server):
    image = part10.image(generate_uid(), 1, side=16)
    inner = zipped([("1.dcm", image)])
    answer = post(server, [("outer.zip", zipped([("inner.zip", inner), ("notes.txt", b"x")])), ("DICOMDIR", image)]).json()
    equal("outcomes", outcomes(answer), ["ignored"] * 3)
    equal("reasons", [file["reason"] for file in answer["files"]],
          ["a zip within a zip", "not a DICOM file", "a DICOMDIR, the index of a medium"])


def bomb():
    """A zip of 200 MB of nothing."""
    flat = dcmread(io.BytesIO(part10.image(generate_uid(), 1, side=16)))
    flat.Rows, flat.Columns, flat.PixelData = 10240, 10240, bytes(200 << 20)
    return zipped([("bomb.dcm", part10.encoded(flat))])


def check_bombs(server):
    answer = post(server, [("bomb.zip", bomb())]).json()
    assert set(outcomes(answer)) == {"refused"} and "times its size" in answer["files"][-1]["reason"], answer["files"]
    many = zipped([(f"{number}.txt", b"x") for number in range(60)])
    answer = post(server, [("many.zip", many)]).json()
    assert "more than 40 entries" in answer["files"][0]["reason"], answer["files"]
    whole = zipped([("1.dcm", part10.image(generate_uid(), 1, side=64))])
    equal("cut", outcomes(post(server, [("cut.zip", whole[:-30])]).json()), ["refused"])
    equal("the server stands", requests.get(f"{server.base}/healthz", timeout=60).status_code, 200)


def check_progress(server):
    study, upload, go_on = generate_uid(), str(uuid.uuid4()), threading.Event()

    def body():
        for number in (1, 2):
            yield (f'--b\r\nContent-Disposition: form-data; name="f"; filename="{number}.dcm"\r\n\r\n').encode()
            yield part10.image(study, number, side=64)
            yield b"\r\n"
            if number == 1:
                yield b"--b"
                go_on.wait(60)
                yield b'\r\nContent-Disposition: form-data; name="f"; filename="n.txt"\r\n\r\nx\r\n'
        yield b"--b--\r\n"

    def send():
        requests.post(f"{server.base}/api/v1/uploads?id={upload}", data=body(), timeout=120,
                      headers={"Content-Type": "multipart/form-data; boundary=b"})

    sending = threading.Thread(target=send)
    sending.start()
    try:
        seen = wait_for(server, upload, lambda state: state["state"] == "receiving")
        equal("kind", seen["kind"], "form")
    finally:
        go_on.set()
        sending.join()
    done = wait_for(server, upload, lambda state: state["state"] == "done")
    equal("stored", done["counts"]["stored"], 2)


def wait_for(server, upload, holds):
    for _ in range(300):
        answer = requests.get(f"{server.base}/api/v1/uploads/{upload}", timeout=60)
        if answer.status_code == 200 and holds(answer.json()):
            return answer.json()
        time.sleep(0.1)
    raise AssertionError(f"the upload did not come so far: {answer.text}")


def check_memory(server):
    image = part10.image(generate_uid(), 1, side=64)
    before = server.status_kb("VmHWM")

    def body():
        yield b'--b\r\nContent-Disposition: form-data; name="f"; filename="large.bin"\r\n\r\n'
        for _ in range(LARGE_BYTES >> 20):
            yield bytes(1 << 20)
        yield b'\r\n--b\r\nContent-Disposition: form-data; name="f"; filename="1.dcm"\r\n\r\n' + image + b"\r\n--b--\r\n"

    answer = requests.post(f"{server.base}/api/v1/uploads", data=body(), timeout=300,
                           headers={"Content-Type": "multipart/form-data; boundary=b"}).json()
    equal("outcomes", outcomes(answer), ["ignored", "stored"])
    grown = (server.status_kb("VmHWM") - before) >> 10
    assert grown < MEMORY_MB_MAX, f"{grown} MB more for {LARGE_BYTES >> 20} MB"


def check_broken(server):
    study, upload = generate_uid(), str(uuid.uuid4())

    def body():
        yield form_by_hand("1.dcm", part10.image(study, 1, side=64))[: -len(b"--b--\r\n")]
        yield b'--b\r\nContent-Disposition: form-data; name="f"; filename="2.dcm"\r\n\r\n' + bytes(64 << 10)
        raise ConnectionError("gone")

    try:
        requests.post(f"{server.base}/api/v1/uploads?id={upload}", data=body(), timeout=60,
                      headers={"Content-Type": "multipart/form-data; boundary=b"})
    except (requests.RequestException, ConnectionError):
        pass
    wait_for(server, upload, lambda state: state["state"] in ("failed", "aborted"))
    equal("what came whole", len([uids for uids in dicomweb.instances(server) if uids[0] == study]), 1)
