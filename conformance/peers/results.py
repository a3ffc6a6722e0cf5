"""SR and PDF of a study that went through the loop, before judges that did not write them."""

import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import highdicom
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread

from . import dicomweb, phantoms, rendered_reports
from .by_hand import metric
from .server import WITH_DEMO_MODEL, Server
from .tally import equal

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))
from check_report import Verdict, check_iod, check_names, said  # noqa: E402

SEED, COUNT = 920_000, 6
TOOLS = ("dsr2html", "pdftotext", "pdftoppm", "pdffonts")
ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"


def run(context, tally):
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        tally.miss("results", ", ".join(missing))
        return
    drawn = phantoms.draw(context, "results", COUNT, SEED)
    folder = context.folder("results")
    with Server(context.binary, folder / "data", WITH_DEMO_MODEL) as server:
        with tally.check("every study gets its SR"):
            phantoms.analysed(server, [phantom.path.read_bytes() for phantom in drawn])
        for number, phantom in enumerate(drawn, 1):
            with tally.check(f"SR {number} before dciodvfy, highdicom and dsr2html"):
                check_sr(server, phantom, folder)
            with tally.check(f"PDF {number} before dciodvfy and poppler"):
                check_pdf(server, phantom, folder)
        with tally.check("dicomweb-client finds and shows study, SR and PDF"):
            check_client(server, drawn[0].study)
        with tally.check("asking again for the same content writes nothing"):
            check_again(server, drawn[0].study)
        with tally.check("a copy under other UIDs is answered without the model, and its report says so"):
            check_reused(server, drawn[0])
    for told, key, value in (("another question", "analysis.tokens_max", "900"), ("a cache that is off", "analysis.cache", "off")):
        with tally.check(f"{told}: the model is asked, and no image is encoded a second time"):
            with Server(context.binary, folder / "data", WITH_DEMO_MODEL | {key: value}) as server:
                check_asked(server, drawn[0])


def object_of(server, study, sop_class):
    found = dicomweb.search(server, f"studies/{study}/instances", SOPClassUID=sop_class)
    equal("objects of the class", len(found), 1)
    series, instance = (dicomweb.value(found[0], tag) for tag in ("0020000E", "00080018"))
    return dicomweb.retrieve(server, (study, series, instance))


def analysis_of(server, study):
    [summary] = server.analyses(study)
    return server.rest(f"analyses/{summary['id']}")


def settle(verdict):
    assert not verdict.failures, "; ".join(verdict.failures)


def check_sr(server, phantom, folder):
    path = folder / "sr.dcm"
    file = object_of(server, phantom.study, phantoms.COMPREHENSIVE_3D_SR)
    path.write_bytes(file)
    verdict, analysis = Verdict(), analysis_of(server, phantom.study)
    check_iod(verdict, path)
    status, html, _ = said("dsr2html", path)
    verdict.hold("dsr2html renders the impression", status == 0 and analysis["impression"] in html)
    page = rendered_reports.page(server, file, "text/plain")
    verdict.hold("the page warns first", page.startswith("*** UNVERIFIED"))
    verdict.hold("the page names the software and the impression", "Made by software" in page and analysis["impression"] in page)
    sr = highdicom.sr.srread(path)
    check_names(verdict, sr)
    check_header(verdict, sr, dcmread(phantom.path, stop_before_pixels=True))
    codes = [f"{finding['code']['value']}" for finding in analysis["findings"] if finding["certainty"] != "absent"]
    groups = sr.content.get_planar_roi_measurement_groups() + sr.content.get_image_measurement_groups()
    verdict.equal("findings", sorted(group.finding_type.value for group in groups), sorted(codes))
    settle(verdict)


def check_header(verdict, sr, source):
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "StudyDate"):
        verdict.equal(keyword, sr.get(keyword), source.get(keyword))
    flags = (sr.VerificationFlag, sr.get("PreliminaryFlag"))
    verdict.equal("flags", flags, ("UNVERIFIED", "PRELIMINARY"))
    evidence = [sop.ReferencedSOPInstanceUID for study in sr.CurrentRequestedProcedureEvidenceSequence
                for series in study.ReferencedSeriesSequence for sop in series.ReferencedSOPSequence]
    verdict.equal("evidence", evidence, [source.SOPInstanceUID])


def check_pdf(server, phantom, folder):
    path, pdf = folder / "pdf.dcm", folder / "report.pdf"
    path.write_bytes(object_of(server, phantom.study, ENCAPSULATED_PDF))
    verdict, analysis = Verdict(), analysis_of(server, phantom.study)
    check_iod(verdict, path)
    document = dcmread(path)
    pdf.write_bytes(document.EncapsulatedDocument[: document.EncapsulatedDocumentLength])
    _, text, complaints = said("pdftotext", "-layout", pdf, "-")
    verdict.equal("pdftotext complains", complaints, "")
    words = " ".join(text.split())
    for wanted in (document.PatientID, "Not for diagnosis", "demonstration", "page 1 of"):
        verdict.hold(f"{wanted!r} in the text", wanted.lower() in words.lower())
    for sentence in filter(None, analysis["impression"].split(". ")):
        verdict.hold(f"{sentence!r} in the text", sentence.rstrip(".") in words)
    pages = subprocess.run(["pdftoppm", "-r", "50", "-png", str(pdf), str(folder / "page")], capture_output=True)
    verdict.equal("pdftoppm", pages.returncode, 0)
    _, images, _ = said("pdfimages", "-list", pdf)
    verdict.hold("the key image", len(images.splitlines()) > 2)
    check_rest(verdict, server, analysis, pdf.read_bytes())
    settle(verdict)


def check_rest(verdict, server, analysis, pdf):
    answer = requests.get(f"{server.base}/api/v1/reports/{analysis['report']}/pdf", timeout=60)
    verdict.equal("status of the PDF by REST", answer.status_code, 200)
    verdict.equal("the PDF by REST is that of the object", answer.content.rstrip(b"\0"), pdf.rstrip(b"\0"))


def check_client(server, study):
    client = DICOMwebClient(server.web)
    found = client.search_for_series(study)
    modalities = sorted(dicomweb.value(series, "00080060") for series in found)
    assert modalities[-1] == "SR" and "DOC" in modalities, modalities
    objects = client.retrieve_study(study)
    equal("retrieved objects", len(objects), 3)
    report = next(o for o in objects if o.SOPClassUID == phantoms.COMPREHENSIVE_3D_SR)
    highdicom.sr.srread(BytesIO(phantoms.encoded(report)))


def work_of_model(server):
    """Images that were encoded, tokens that were written, answers that were found."""
    return (metric(server, 'model_stage_seconds_count{stage="image"}'), metric(server, 'model_tokens_total{kind="answer"}'),
            metric(server, 'model_cache_lookups_total{cache="answers",outcome="hit"}'))


def copied(server, phantom):
    """The analysis of the same pixels as a study of its own."""
    file, study = phantoms.changed(phantom.path)
    phantoms.analysed(server, [file])
    return study, analysis_of(server, study)


def check_reused(server, phantom):
    images, tokens, found = work_of_model(server)
    study, analysis = copied(server, phantom)
    equal("images, tokens and answers found", work_of_model(server), (images, tokens, found + 1))
    first = analysis_of(server, phantom.study)
    reading = analysis["provenance"]["reading"]
    equal("the time of the answer", reading["reused_from"], first["finished_at"])
    equal("the impression", analysis["impression"], first["impression"])
    page = rendered_reports.page(server, object_of(server, study, phantoms.COMPREHENSIVE_3D_SR), "text/plain")
    assert reading["reused_from"] in page, "the SR does not say from when the answer is"


def check_asked(server, phantom):
    images, tokens, found = work_of_model(server)
    _, analysis = copied(server, phantom)
    seen, written, reused = work_of_model(server)
    equal("images encoded and answers reused", (seen, reused), (images, found))
    assert written > tokens and "reused_from" not in analysis["provenance"]["reading"], analysis["provenance"]
    equal("images whose features were kept", analysis["provenance"]["usage"]["kept_images"], 1)


def check_again(server, study):
    before = dicomweb.instances(server)
    [first] = server.analyses(study)
    answer = requests.post(f"{server.base}/api/v1/studies/{study}/analyses", timeout=60)
    assert answer.status_code in (200, 202), f"{answer.status_code}: {answer.text[:300]}"
    equal("the analysis", answer.json()["id"], first["id"])
    server.wait_for_analyses([study], timeout_s=120)
    equal("instances", dicomweb.instances(server), before)
