"""Structured reports and key object selections as pages, W34b.

Whatever dsr2html reads in a document stands in each of its three forms; highdicom's and pydicom's
values too. A page loads nothing, runs nothing, and says first when nobody vouches for it.
"""

import html
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import highdicom
import numpy
import pydicom
import requests
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from . import dicomweb, json_model, part10
from .server import Server
from .tally import equal

FORMS = ("text/html", "text/plain", "text/xml")
# What dsr2html writes of its own.
ITS_WORDS = set("""annex footnote observation context concept modifier properties selected inferred acquisition
    has this page was generated document structured reporting by offis dcmtk dicom contains from in referenced sop
    class instance uid value type graphic data the and of image unknown composite number points point images observed item content reference""".split())
UNVERIFIED = "UNVERIFIED"
VOID = {"meta", "br", "hr", "link", "img", "input"}


def run(context, tally):
    folder = context.folder("rendered-reports")
    with Server(context.binary, folder / "data") as server:
        for name, file in documents().items():
            kept, failed = dicomweb.store(server, [file])
            pages = {}
            with tally.check(f"{name}: HTML by default, text and XML, W34b"):
                assert kept, failed
                pages = {form: page(server, file, form) for form in FORMS}
                equal("default", page(server, file, "*/*"), pages["text/html"])
            with tally.check(f"{name}: the page is sound and loads nothing"):
                check_html(pages["text/html"])
                ElementTree.fromstring(pages["text/xml"])
            with tally.check(f"{name}: what nobody confirmed says so first"):
                check_standing(pydicom.dcmread(io.BytesIO(file)), pages)
            with tally.check(f"{name}: every value that pydicom reads"):
                check_values(pydicom.dcmread(io.BytesIO(file)), pages)
            if shutil.which("dsr2html"):
                with tally.check(f"{name}: every word of dsr2html"):
                    check_words(file, folder, pages)
        with tally.check("links lead to the images"):
            check_links(server, documents()["TID 1500 of highdicom"])
    if not shutil.which("dsr2html"):
        tally.miss("rendered reports beside dsr2html", "dsr2html")


_made = {}


def documents():
    """Files by name; made ones and those of pydicom."""
    if not _made:
        test_files = Path(pydicom.__file__).parent / "data" / "test_files"
        for name in ("reportsi.dcm", "test-SR.dcm", "reportsi_with_empty_number_tags.dcm"):
            _made[name] = json_model.prepared(test_files / name)
        image = source_image()
        _made["TID 1500 of highdicom"] = part10.encoded(measurement_report(image, verified=False))
        _made["a verified TID 1500"] = part10.encoded(measurement_report(image, verified=True))
        _made["a key object selection"] = part10.encoded(key_objects(image))
        _made["image"] = part10.encoded(image)
    return {name: file for name, file in _made.items() if name != "image"}


def source_image():
    image = pydicom.dcmread(io.BytesIO(part10.image(generate_uid(), 1, 64)))
    image.PatientBirthDate, image.PatientSex, image.ReferringPhysicianName = "19700101", "F", "Ref^X"
    return image


def measurement_report(image, verified):
    sr = highdicom.sr
    observers = sr.ObservationContext(
        observer_person_context=sr.ObserverContext(
            observer_type=codes.DCM.Person,
            observer_identifying_attributes=sr.PersonObserverIdentifyingAttributes(name="Foo^Bar")),
        observer_device_context=sr.ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(uid=generate_uid(), name="Scan <1> & 2")))
    outline = numpy.array([[5.0 + i, 10.0 + i * i / 9] for i in range(12)] + [[5.0, 10.0]])
    region = sr.ImageRegion(graphic_type=sr.GraphicTypeValues.POLYLINE, graphic_data=outline,
                            source_image=sr.SourceImageForRegion.from_source_image(image))
    area = sr.Measurement(name=codes.SCT.AreaOfDefinedRegion, value=1.7, unit=codes.UCUM.SquareMillimeter,
                          tracking_identifier=sr.TrackingIdentifier(uid=generate_uid()),
                          properties=sr.MeasurementProperties(normality=codes.SCT.Normal))
    site = sr.FindingSite(anatomic_location=codes.SCT.CervicoThoracicSpine,
                          topographical_modifier=codes.SCT.VertebralForamen)
    group = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=generate_uid(), identifier="Lesion 1"),
        referenced_region=region, finding_type=codes.SCT.SpinalCord, measurements=[area], finding_sites=[site])
    content = sr.MeasurementReport(observation_context=observers, procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
                                   imaging_measurements=[group])
    verifier = {"verifying_observer_name": "Roe^Richard", "verifying_organization": "Clinic"} if verified else {}
    return sr.Comprehensive3DSR(
        evidence=[image], content=content, series_number=1, series_instance_uid=generate_uid(),
        sop_instance_uid=generate_uid(), instance_number=1, manufacturer="Maker", is_complete=verified,
        is_verified=verified, **verifier)


def key_objects(image):
    selection = highdicom.ko.KeyObjectSelection(
        document_title=codes.DCM.OfInterest, referenced_objects=[image], description="Please look at <these>")
    return highdicom.ko.KeyObjectSelectionDocument(
        evidence=[image], content=selection, series_instance_uid=generate_uid(), series_number=2,
        sop_instance_uid=generate_uid(), instance_number=1, manufacturer="Maker")


def page(server, file, accept):
    document = pydicom.dcmread(io.BytesIO(file))
    place = (document.StudyInstanceUID, document.SeriesInstanceUID, document.SOPInstanceUID)
    url = "{}/studies/{}/series/{}/instances/{}/rendered".format(server.web, *place)
    answer = requests.get(url, headers={"Accept": accept}, timeout=dicomweb.TIMEOUT_S)
    equal("status", answer.status_code, 200)
    expected = accept if accept in FORMS else "text/html"
    equal("type", answer.headers["Content-Type"], f"{expected}; charset=utf-8")
    return answer.content.decode("utf-8")


class Tags(HTMLParser):
    """Elements that are closed in the order of their opening, and what they refer to."""

    def __init__(self):
        super().__init__()
        self.open, self.names, self.loaded, self.links, self.ids = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.names.append(tag)
        self.loaded += [attrs[name] for name in ("src", "data", "action") if name in attrs]
        self.links += [attrs["href"]] if "href" in attrs else []
        self.ids += [attrs["id"]] if "id" in attrs else []
        assert not [name for name in attrs if name.startswith("on")], "the page runs something"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        equal("closed", tag, self.open.pop())


def check_html(text):
    tags = Tags()
    tags.feed(text)
    equal("left open", tags.open, [])
    equal("loaded", tags.loaded, [])
    equal("scripts", [name for name in tags.names if name in ("script", "link", "iframe", "object", "img")], [])
    equal("titles", tags.names.count("h1"), 1)
    equal("anchors", len(tags.ids), len(set(tags.ids)))


def check_standing(document, pages):
    is_selection = "KeyObject" in pydicom.uid.UID(document.SOPClassUID).keyword
    verified = document.get("VerificationFlag") == "VERIFIED"
    for form, text in pages.items():
        warned = text.find(UNVERIFIED) if form != "text/xml" else text.find(f"<warning>{UNVERIFIED}")
        if verified or is_selection:
            equal(f"warning in {form}", warned, -1)
        else:
            patient = text.find("Patient")
            assert 0 <= warned < (patient if patient >= 0 else len(text)), f"{form} warns late"
    for verifier in document.get("VerifyingObserverSequence", []):
        assert all(verifier.VerifyingOrganization in text for text in pages.values()), "who verified is not named"


def leaves(item):
    """Texts, meanings and numbers of a content tree."""
    for child in item.get("ContentSequence", []):
        yield str(child.get("TextValue", ""))
        for sequence in ("ConceptNameCodeSequence", "ConceptCodeSequence"):
            yield from (str(code.get("CodeMeaning", "")) for code in child.get(sequence, []))
        yield from (str(value.NumericValue) for value in child.get("MeasuredValueSequence", []))
        yield from leaves(child)


def spoken(form, text):
    """What a page says, without its markup."""
    if form != "text/plain":
        text = html.unescape(re.sub(r"<[^>]*>", " ", text.split("</style>")[-1]))
    return " ".join(text.split())


def check_values(document, pages):
    document.decode()
    for form, text in pages.items():
        said = spoken(form, text)
        missing = [value for value in leaves(document) if " ".join(value.split()) not in said]
        equal(f"missing in {form}", missing, [])


def words(text):
    return {word for word in re.findall(r"[^\W_]{2,}", text.lower())}


def check_words(file, folder, pages):
    (folder / "report.dcm").write_bytes(file)
    command = ["dsr2html", "--quiet", "--convert-to-utf8", "--always-expand-inline",
               "--unknown-relationship", "--invalid-item-value", "--ignore-constraints", str(folder / "report.dcm")]
    done = subprocess.run(command, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[:200]
    theirs = html.unescape(re.sub(r"<[^>]*>", " ", done.stdout.decode("utf-8", "replace").split("</head>")[-1]))
    # Its heading is laid out differently; what follows the title is the content.
    content = theirs.split("Content Date/Time", 1)[-1].split("This page was generated")[0]
    # Codes stand aside in a page for people, and classes have their names in words.
    content = re.sub(r"\([^(),]+, [^()]+\)|\w+Storage|¶", " ", content)
    for form in ("text/html", "text/plain"):
        missing = words(content) - words(spoken(form, pages[form])) - ITS_WORDS
        equal(f"words missing in {form}", sorted(missing), [])


def check_links(server, file):
    documents()
    kept, failed = dicomweb.store(server, [_made["image"]])
    assert kept, failed
    tags = Tags()
    tags.feed(page(server, file, "text/html"))
    links = [link for link in tags.links if not link.startswith("#")]
    assert links, "no link"
    for link in links:
        answer = requests.get(link, timeout=dicomweb.TIMEOUT_S)
        equal("status", answer.status_code, 200)
        equal("type", answer.headers["Content-Type"], "image/jpeg")
