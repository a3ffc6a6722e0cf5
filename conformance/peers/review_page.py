"""A React page on the generated TypeScript client, in a real browser: the whole life of a report.

The page is that of `conformance/react`, compiled under `strict` against the OpenAPI document and
served from an origin of its own, which the server lets in by CORS.
"""

import functools
import http.server
import os
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from pydicom import dcmread

from . import dicomweb, phantoms
from .guarded import Guarded
from .ohif import Browser
from .server import WITH_DEMO_MODEL, free_port
from .tally import equal

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "conformance/react"
# With one finding at least; not trained on.
SEED, CHESTS = 940_000, 6
READER = "reader"
CORRECTED = "Read again: small effusion on the right."
BUILD_S_MAX, DRAFT_S_MAX = 300, 120


def run(context, tally):
    missing = [tool for tool in ("npm", "chromium") if not shutil.which(tool)]
    if missing:
        tally.miss("review-page", ", ".join(missing))
        return
    folder, port = context.folder("review-page"), free_port()
    drawn = next(one for one in phantoms.draw(context, "review-page", CHESTS, SEED) if one.truth.effusions)
    keys = WITH_DEMO_MODEL | {"http.cors_origins": f'["http://127.0.0.1:{port}"]'}
    with Guarded(context.binary, folder / "data", keys) as server:
        reader = server.person(READER, "radiologist")
        for file in drawn.files():
            stored = reader.ask("POST", "/dicom-web/studies", data=file, headers={"Content-Type": "application/dicom"})
            equal("status of STOW-RS", stored.status_code, 200)
        report = drafted(reader, drawn.study)
        with tally.check("review page: the generated client compiles under strict"):
            built(folder, server)
        with served(folder / "page/conformance/react/dist", port) as url, Browser(url, folder) as browser:
            with tally.check("review page: a report from draft to addendum, in Chromium"):
                walk(browser, reader, report)
                assert not browser.faults, "; ".join(browser.faults[:5])
            with tally.check("review page: a correction, signed, whose documents follow those before"):
                correct(browser, reader, report)
            with tally.check("review page: who comes second is told, and overwrites nothing"):
                race(browser, reader, report)


def drafted(reader, study):
    deadline = time.monotonic() + DRAFT_S_MAX
    while time.monotonic() < deadline:
        found, _ = reader.api("GET", f"reports?study={study}")
        if found["items"]:
            return found["items"][0]["id"]
        time.sleep(0.5)
    raise AssertionError(f"no report of {study}")


def built(folder, server):
    """A copy, so that nothing is left in the checkout."""
    copy = folder / "page"
    ignore = shutil.ignore_patterns("node_modules", "dist")
    shutil.copytree(PAGE, copy / "conformance/react", ignore=ignore)
    shutil.copytree(ROOT / "schema", copy / "schema")
    where = copy / "conformance/react"
    for command in (["npm", "ci", "--no-audit", "--no-fund"], ["npm", "run", "build"]):
        done = subprocess.run(command, cwd=where, env={**os.environ, "VITE_RADIANT": server.base},
                              capture_output=True, text=True, timeout=BUILD_S_MAX)
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


@contextmanager
def served(folder, port):
    handler = functools.partial(Quiet, directory=str(folder))
    site = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        site.shutdown()
        site.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def walk(browser, reader, report):
    page = browser.page
    opened(browser, reader)
    screenshot(browser, "list")
    page.get_by_test_id("study").first.get_by_role("button", name="Review").click()
    equal("status", page.get_by_test_id("status").inner_text(), "draft")
    screenshot(browser, "draft")
    decided(page)
    page.get_by_label("Impression").fill("Read by a person: small effusion on the left.")
    page.get_by_role("button", name="Save").click()
    reached(page, "edited")
    signed(page, reader, "signed")
    screenshot(browser, "signed")
    page.get_by_label("Addendum").fill("Compared with the film of last year: unchanged.")
    page.get_by_role("button", name="Add").click()
    reached(page, "addending")
    signed(page, reader, "addended")
    page.get_by_role("button", name="Show the PDF").click()
    page.get_by_role("link", name="the PDF").wait_for()
    screenshot(browser, "addended")
    shown_as_kept(page, reader, report, "addended")


def shown_as_kept(page, reader, report, status):
    told, _ = reader.api("GET", f"reports/{report}")
    equal("status on the server", told["status"], status)
    equal("versions shown", page.get_by_test_id("version-row").count(), told["version"])
    return told


def correct(browser, reader, report):
    """The side was wrong: a signed version after the signed one, with documents of its own that name those before."""
    page, (before, _) = browser.page, reader.api("GET", f"reports/{report}")
    page.get_by_label("Reason of the correction").fill("The other side.")
    page.get_by_role("button", name="Correct", exact=True).click()
    reached(page, "correcting")
    page.get_by_label("Impression").fill(CORRECTED)
    page.get_by_role("button", name="Save").click()
    page.wait_for_function("reason => document.body.innerText.includes(reason)", arg="edit by")
    signed(page, reader, "corrected")
    screenshot(browser, "corrected")
    after = shown_as_kept(page, reader, report, "corrected")
    equal("the impression", after["content"]["sections"]["impression"], CORRECTED)
    new, old = (document(reader, report, number) for number in (after["version"], before["version"]))
    named = {str(one.ReferencedSOPInstanceUID) for study in new.PredecessorDocumentsSequence
             for series in study.ReferencedSeriesSequence for one in series.ReferencedSOPSequence}
    assert old.SOPInstanceUID in named, f"{old.SOPInstanceUID} is none of {named}"
    equal("verified", (new.VerificationFlag, new.CompletionFlag), ("VERIFIED", "COMPLETE"))


def document(reader, report, number):
    """The SR of a signed version, when it has been stored."""
    deadline = time.monotonic() + DRAFT_S_MAX
    while time.monotonic() < deadline:
        version, _ = reader.api("GET", f"reports/{report}/versions/{number}")
        if version["published_at"]:
            path = version["links"]["sr"].removeprefix(reader.server.base)
            stored = reader.ask("GET", path, headers={"Accept": dicomweb.AS_STORED})
            [file] = dicomweb.multipart(stored.headers["Content-Type"], stored.content)
            return dcmread(BytesIO(file))
        time.sleep(0.2)
    raise AssertionError(f"version {number} was not published")


def opened(browser, reader):
    page = browser.page
    browser.open()
    page.get_by_label("Name").fill(reader.name)
    page.get_by_label("Password").fill(reader.password)
    page.get_by_role("button", name="Log in").click()
    page.get_by_test_id("study").first.wait_for()


def decided(page):
    """The first finding is accepted, the others are rejected with a reason."""
    findings = page.get_by_test_id("finding")
    findings.first.get_by_role("button", name="Accept").click()
    page.locator("[data-testid=finding][data-decision=accepted]").first.wait_for()
    for number in range(1, findings.count()):
        one = findings.nth(number)
        one.get_by_label("Reason").fill("not on this film")
        one.get_by_role("button", name="Reject").click()
        page.locator("[data-testid=finding][data-decision=rejected]").nth(number - 1).wait_for()


def signed(page, reader, status):
    page.get_by_label("Password").fill(reader.password)
    page.get_by_role("button", name="Sign", exact=True).click()
    reached(page, status)
    page.get_by_test_id("signature").wait_for()


def reached(page, status):
    page.wait_for_function(
        "status => document.querySelector('[data-testid=status]').innerText === status", arg=status)


def race(browser, reader, report):
    """Somebody begins a correction by the API while the page still shows what was before."""
    _, tag = reader.api("GET", f"reports/{report}")
    reader.api("POST", f"reports/{report}/correction", json={"reason": "the other side"}, headers={"If-Match": tag})
    page = browser.page
    page.get_by_label("Addendum").fill("Too late.")
    page.get_by_role("button", name="Add").click()
    page.get_by_role("alert").wait_for()
    reached(page, "correcting")
    told, _ = reader.api("GET", f"reports/{report}")
    assert not any("Too late" in one["text"] for one in told["content"]["addenda"]), told["content"]["addenda"]
    screenshot(browser, "second")


def screenshot(browser, name):
    """For people to look at."""
    browser.page.screenshot(path=browser.pictures / f"{name}.png", full_page=True)
