"""OHIF in a real browser: what a radiologist opens is shown, and no request fails meanwhile."""

import shutil
import sys
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy
from PIL import Image
from playwright.sync_api import TimeoutError, sync_playwright
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless, RLELossless, UltrasoundMultiFrameImageStorage

from . import dicomweb, overlay, phantoms
from .part10 import encoded, image
from .server import WITH_DEMO_MODEL, Server, free_port
from .tally import equal

sys.path.insert(0, str(Path(__file__).parent.parent / "ohif"))
from viewer import Viewer  # noqa: E402

CHROMIUM = "chromium"
# No background traffic, and WebGL without a graphics card.
FLAGS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--use-angle=swiftshader",
         "--enable-unsafe-swiftshader"]
WITHOUT_TOUR = """try { localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour'])) } catch (_) {}"""
PATIENCE_MS = 120_000
SETTLE_MS = 2_000
DRAWN_MS = 20_000
# A chest with an effusion and a CT, neither trained on.
SEED, CHESTS = 930_000, 6
# The first row of the list holds the filters.
STUDY_ROW = "tbody tr:not(:has(input))"
FRAMES, SIDE = 5, 64
MULTI_FRAME_STUDY = "1.2.826.0.1.3680043.10.1561.7"
# Grey levels a picture has at least; a viewport that failed is black.
LEVELS_LEAST = 16


def run(context, tally):
    missing = [tool for tool in (CHROMIUM, "npm") if not shutil.which(tool)]
    if missing:
        tally.miss("ohif", ", ".join(missing))
        return
    chest, normal = chests(context)
    [ct] = phantoms.draw(context, "ohif-ct", 1, SEED, kind="ct")
    port = free_port()
    keys = {**WITH_DEMO_MODEL, "http.cors_origins": f'["http://127.0.0.1:{port}"]'}
    with Server(context.binary, context.folder("ohif") / "data", keys) as server:
        studies = [chest, normal, ct]
        phantoms.analysed(server, [file for study in studies for file in study.files()])
        dicomweb.store(server, multi_frames())
        with Viewer(port, server.web) as url, Browser(url, context.folder("ohif")) as browser:
            scenarios(tally, browser, chest, normal, ct)
            with scenario(tally, browser, "the outlines of an SR run around what they are about"):
                check_outlines(server, browser, context.folder("ohif"))


def chests(context):
    """One with a finding and one without."""
    drawn = phantoms.draw(context, "ohif-chest", CHESTS, SEED)
    found = next(phantom for phantom in drawn if phantom.truth.effusions)
    return found, next(phantom for phantom in drawn if phantom.truth.is_normal())


def multi_frames():
    """The same loop uncompressed, as JPEG 2000 and as RLE; frame n is brighter than frame n-1."""
    return [multi_frame(number, syntax) for number, syntax in enumerate((None, JPEG2000Lossless, RLELossless), 1)]


def multi_frame(number, syntax):
    dataset = dcmread(BytesIO(image(MULTI_FRAME_STUDY, number, SIDE)))
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    dataset.Modality, dataset.SeriesNumber = "US", number
    dataset.SeriesInstanceUID = f"{MULTI_FRAME_STUDY}.{number}"
    dataset.SeriesDescription = f"Loop {number}"
    dataset.NumberOfFrames, dataset.FrameTime, dataset.FrameIncrementPointer = FRAMES, 40, 0x00181063
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.WindowCenter, dataset.WindowWidth = 7, 127.5, 255
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "RescaleIntercept",
                    "RescaleSlope"):
        delattr(dataset, keyword)
    ramp = numpy.linspace(0, 120, SIDE * SIDE).reshape(SIDE, SIDE)
    dataset.PixelData = numpy.stack([ramp + 30 * frame for frame in range(FRAMES)]).astype("uint8").tobytes()
    if syntax:
        dataset.compress(syntax, generate_instance_uid=False)
    return encoded(dataset)


class Browser:
    """Chromium with one page; everything that goes wrong in it is kept."""

    def __init__(self, url, pictures):
        self.url, self.pictures, self.faults = url, pictures, []

    def __enter__(self):
        self.playwright = sync_playwright().start()
        self.chromium = self.playwright.chromium.launch(executable_path=shutil.which(CHROMIUM), args=FLAGS)
        self.page = self.chromium.new_page(viewport={"width": 1400, "height": 900})
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.add_init_script(WITHOUT_TOUR)
        self.page.on("response", self.note_response)
        self.page.on("requestfailed", self.note_failure)
        self.page.on("pageerror", lambda error: self.faults.append(f"page error: {error}"))
        return self

    def __exit__(self, *_):
        self.chromium.close()
        self.playwright.stop()

    def note_response(self, response):
        if response.status >= 400:
            self.faults.append(f"{response.status} {response.url}")

    def note_failure(self, request):
        # The viewer itself gives up what it prefetched when another page is opened.
        if request.failure != "net::ERR_ABORTED":
            self.faults.append(f"{request.failure} {request.url}")

    def open(self, path=""):
        self.page.goto(f"{self.url}/{path}")

    def open_study(self, study):
        self.open(f"viewer?StudyInstanceUIDs={study}")
        self.page.wait_for_selector("[data-cy=viewport-overlay-bottom-right]")

    def shown(self, text):
        self.page.wait_for_selector(f"text={text}")

    def text(self, place):
        return self.page.locator(f"[data-cy={place}]").first.inner_text()

    def wait_for_text(self, place, pattern):
        self.page.wait_for_function(
            "([place, pattern]) => new RegExp(pattern).test(document.querySelector(`[data-cy=${place}]`)?.innerText)",
            arg=[place, pattern])

    def open_series(self, modality):
        """Series without an image stand in the panel as lines."""
        lines = self.page.locator("[data-cy=study-browser-thumbnail-no-image]")
        lines.filter(has=self.page.get_by_text(modality, exact=True)).first.dblclick()
        self.page.wait_for_timeout(SETTLE_MS)

    def scroll(self, steps):
        box = self.page.locator("[data-cy=viewport-pane]").first.bounding_box()
        self.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        for _ in range(abs(steps)):
            self.page.mouse.wheel(0, 100 if steps > 0 else -100)
            self.page.wait_for_timeout(300)

    def levels(self):
        """The page as grey levels."""
        return numpy.asarray(Image.open(BytesIO(self.page.screenshot())).convert("L"))

    def picture(self, name):
        """The viewport as grey levels; kept as a file for people."""
        self.page.wait_for_timeout(SETTLE_MS)
        self.page.screenshot(path=self.pictures / f"{name}.png")
        seen = self.page.locator("[data-cy=viewport-pane]").first.screenshot()
        return numpy.asarray(Image.open(BytesIO(seen)).convert("L"))


@contextmanager
def scenario(tally, browser, name):
    browser.faults.clear()
    with tally.check(f"OHIF: {name}"):
        yield
        assert not browser.faults, "; ".join(browser.faults[:5])


def scenarios(tally, browser, chest, normal, ct):
    with scenario(tally, browser, "the study list"):
        check_list(browser)
    with scenario(tally, browser, "the study list, filtered by a part of a name"):
        check_filter(browser)
    with scenario(tally, browser, "a radiograph"):
        check_radiograph(browser, chest)
    with scenario(tally, browser, "a CT stack, scrolled"):
        check_stack(browser, ct)
    with scenario(tally, browser, "multi-frame objects, native and compressed"):
        check_multi_frames(browser)
    with scenario(tally, browser, "an SR with a finding draws it"):
        check_drawn(browser, chest)
    with scenario(tally, browser, "an SR without findings reads as text"):
        check_text(browser, normal)
    with scenario(tally, browser, "the PDF"):
        check_pdf(browser, chest)


def check_list(browser):
    browser.open()
    browser.shown("PHANTOM, CT")
    browser.page.screenshot(path=browser.pictures / "list.png")
    rows = browser.page.locator(STUDY_ROW).all_inner_texts()
    equal("studies listed", len(rows), 4)
    assert any("CT" in row and "SR" in row and "DOC" in row for row in rows), rows


def check_filter(browser):
    browser.page.locator("input").first.fill("chest")
    browser.page.locator(STUDY_ROW).filter(has_text="CT").first.wait_for(state="detached")
    equal("studies left", browser.page.locator(STUDY_ROW).count(), 2)


def check_radiograph(browser, phantom):
    browser.open_study(phantom.study)
    browser.shown("Chest PA")
    check_picture(browser.picture("radiograph"))


def check_stack(browser, phantom):
    browser.open_study(phantom.study)
    count = len(phantom.files())
    browser.wait_for_text("viewport-overlay-bottom-right", rf"\(1/{count}\)")
    first = browser.picture("stack-first")
    browser.scroll(count // 2)
    browser.wait_for_text("viewport-overlay-bottom-right", rf"\({count // 2 + 1}/{count}\)")
    middle = browser.picture("stack-middle")
    check_picture(first)
    check_picture(middle)
    assert difference(first, middle) > 1, "scrolling shows the same slice"


def check_multi_frames(browser):
    browser.open_study(MULTI_FRAME_STUDY)
    for number in (1, 2, 3):
        series = browser.page.locator("[data-cy=study-browser-thumbnail]")
        series.filter(has_text=f"Loop {number}").first.dblclick()
        browser.wait_for_text("viewport-overlay-top-left", f"Loop {number}")
        browser.scroll(-FRAMES)
        first = browser.picture(f"loop-{number}-first")
        browser.scroll(FRAMES - 1)
        last = browser.picture(f"loop-{number}-last")
        check_picture(first)
        assert last.mean() > first.mean() + 5, f"loop {number}: the last frame is as dark as the first"


def check_drawn(browser, phantom):
    """OHIF shows a measurement report as lines upon the image it is about."""
    browser.open_study(phantom.study)
    browser.open_series("SR")
    browser.page.get_by_role("button", name="No", exact=True).first.click()
    browser.page.wait_for_selector("svg.svg-layer polyline", state="attached")
    check_picture(browser.picture("sr-drawn"))


def check_outlines(server, browser, folder):
    sr = overlay.report(folder)
    overlay.check_coordinates(sr)
    kept, refused = dicomweb.store(server, [overlay.radiograph(), sr])[:2]
    equal("kept", (len(kept), len(refused)), (2, 0))
    open_until_drawn(browser, overlay.STUDY)
    browser.picture("sr-outlines")
    overlay.check_screen(browser.page.evaluate(overlay.OUTLINES), browser.levels())


def open_until_drawn(browser, study):
    """The viewer draws nothing of an SR that it has read before the image is there; opened again, it does."""
    for last in (False, False, True):
        browser.open_study(study)
        browser.page.wait_for_timeout(SETTLE_MS)
        browser.open_series("SR")
        browser.page.get_by_role("button", name="No", exact=True).first.click()
        try:
            return browser.page.wait_for_selector("svg.svg-layer polyline", state="attached", timeout=DRAWN_MS)
        except TimeoutError:
            if last:
                raise


def check_text(browser, phantom):
    browser.open_study(phantom.study)
    browser.open_series("SR")
    browser.shown("Diagnostic Imaging Report")
    browser.picture("sr-text")
    text = browser.text("viewport-grid")
    for said in ("Impression", "not for diagnosis"):
        assert said.lower() in text.lower(), f"the report does not say {said}: {text[:300]}"


def check_pdf(browser, phantom):
    browser.open_study(phantom.study)
    browser.open_series("DOC")
    document = browser.page.wait_for_selector("object[type='application/pdf']")
    kept = browser.page.evaluate("address => fetch(address).then(a => a.text()).then(t => t.slice(0, 5))",
                                 document.get_attribute("data"))
    browser.picture("pdf")
    equal("beginning of the document", kept, "%PDF-")


def check_picture(levels):
    found = len(numpy.unique(levels))
    assert found >= LEVELS_LEAST, f"{found} grey levels in the viewport"


def difference(one, other):
    """Mean difference of grey levels."""
    return numpy.abs(one.astype(int) - other.astype(int)).mean()
