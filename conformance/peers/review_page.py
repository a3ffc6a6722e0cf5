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
from pathlib import Path

from . import phantoms
from .guarded import Guarded
from .ohif import Browser
from .server import WITH_DEMO_MODEL, free_port
from .tally import equal

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "conformance/react"
# With one finding at least; not trained on.
SEED, CHESTS = 940_000, 6
READER = "reader"
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
    page.wait_for_function("document.querySelector('[data-testid=status]').innerText === 'edited'")
    signed(page, reader, "signed")
    screenshot(browser, "signed")
    page.get_by_label("Addendum").fill("Compared with the film of last year: unchanged.")
    page.get_by_role("button", name="Add").click()
    page.wait_for_function("document.querySelector('[data-testid=status]').innerText === 'addending'")
    signed(page, reader, "addended")
    page.get_by_role("button", name="Show the PDF").click()
    page.get_by_role("link", name="the PDF").wait_for()
    screenshot(browser, "addended")
    told, _ = reader.api("GET", f"reports/{report}")
    equal("status on the server", told["status"], "addended")
    equal("versions shown", page.get_by_test_id("version-row").count(), told["version"])


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
    page.wait_for_function(
        "status => document.querySelector('[data-testid=status]').innerText === status", arg=status)
    page.get_by_test_id("signature").wait_for()


def race(browser, reader, report):
    """Somebody begins a correction by the API while the page still shows what was before."""
    _, tag = reader.api("GET", f"reports/{report}")
    reader.api("POST", f"reports/{report}/correction", json={"reason": "the other side"}, headers={"If-Match": tag})
    page = browser.page
    page.get_by_label("Addendum").fill("Too late.")
    page.get_by_role("button", name="Add").click()
    page.get_by_role("alert").wait_for()
    page.wait_for_function("document.querySelector('[data-testid=status]').innerText === 'correcting'")
    told, _ = reader.api("GET", f"reports/{report}")
    assert not any("Too late" in one["text"] for one in told["content"]["addenda"]), told["content"]["addenda"]
    screenshot(browser, "second")


def screenshot(browser, name):
    """For people to look at."""
    browser.page.screenshot(path=browser.pictures / f"{name}.png", full_page=True)
