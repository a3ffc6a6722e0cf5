#!/usr/bin/env python3
"""Judges a report with programs that know nothing of the one that wrote it.

    check_report.py --expect CASE.json SR PDF
    check_report.py --self-test --expect CASE.json SR PDF
"""
import argparse
import copy
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import highdicom as hd
import pydicom
from PIL import Image


class Verdict:
    def __init__(self):
        self.failures = []

    def equal(self, what, actual, expected):
        if actual != expected:
            self.failures.append(f"{what}: {actual!r} in place of {expected!r}")

    def hold(self, what, truth):
        if not truth:
            self.failures.append(what)


def code(concept):
    return f"{concept.value} {concept.scheme_designator}"


def tool(name):
    """dciodvfy comes with the interpreter's environment, the others with the system."""
    beside = pathlib.Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise SystemExit(f"{name} is not installed")
    return found


def said(name, *arguments):
    done = subprocess.run([tool(name), *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def check_iod(verdict, path):
    _, out, err = said("dciodvfy", path)
    errors = [line for line in (out + err).splitlines() if line.startswith("Error")]
    verdict.equal(f"dciodvfy {path.name}", errors, [])


def items(dataset, meaning):
    named = lambda item: item.ConceptNameCodeSequence[0].CodeMeaning == meaning
    return [item for item in dataset.get("ContentSequence", []) if named(item)]


def texts(dataset, meaning):
    return [item.TextValue for item in items(dataset, meaning)]


def check_sr(verdict, path, expected):
    check_iod(verdict, path)
    status, html, _ = said("dsr2html", path)
    verdict.hold("dsr2html renders the impression", status == 0 and expected["impression"] in html)
    sr = hd.sr.srread(path)
    verdict.equal("patient", str(sr.PatientName), expected["patient"])
    flags = (sr.CompletionFlag, sr.VerificationFlag, sr.PreliminaryFlag)
    verdict.equal("flags", flags, ("PARTIAL", "UNVERIFIED", "PRELIMINARY"))
    verdict.equal("template", sr.ContentTemplateSequence[0].TemplateIdentifier, "1500")
    check_observer(verdict, sr)
    check_references(verdict, sr, expected)
    check_evaluations(verdict, sr, expected)
    check_groups(verdict, sr, expected)
    check_names(verdict, sr)


def check_observer(verdict, sr):
    contexts = sr.content.get_observer_contexts()
    verdict.equal("observers", len(contexts), 1)
    for context in contexts:
        verdict.equal("observer type", code(context.observer_type), "121007 DCM")
        device = context.observer_identifying_attributes
        verdict.equal("device", (device.manufacturer_name, device.model_name), ("RadiantAI", "radiant"))


def referenced(sequence):
    return [sop.ReferencedSOPInstanceUID for study in sequence for series in study.ReferencedSeriesSequence
            for sop in series.ReferencedSOPSequence]


def check_references(verdict, sr, expected):
    evidence = referenced(sr.get("CurrentRequestedProcedureEvidenceSequence", []))
    verdict.equal("evidence", sorted(evidence), sorted(expected["evidence"]))
    predecessors = referenced(sr.get("PredecessorDocumentsSequence", []))
    verdict.equal("predecessors", predecessors, expected["predecessors"])
    library = [image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
               for box in items(sr, "Image Library") for group in items(box, "Image Library Group")
               for image in items(group, "Source")]
    prior = expected.get("prior", [])
    verdict.equal("image library", sorted(library), sorted(expected["evidence"] + prior))
    verdict.equal("other evidence", referenced(sr.get("PertinentOtherEvidenceSequence", [])), prior)


def check_evaluations(verdict, sr, expected):
    [container] = items(sr, "Qualitative Evaluations")
    verdict.equal("impression", texts(container, "Impression"), [expected["impression"]])
    verdict.equal("own words", texts(container, "Draft report in the model's own words"), expected.get("words", []))
    warnings = " ".join(texts(container, "Warning"))
    for warning in expected["warnings"]:
        verdict.hold(f"the warning {warning!r}", warning in warnings)
    absent = [f"{name.CodeValue} {name.CodingSchemeDesignator}" for item in container.ContentSequence
              if item.ValueType == "CODE" for name in item.ConceptNameCodeSequence
              if item.ConceptCodeSequence[0].CodeValue == "272519000"]
    verdict.equal("absent findings", absent, expected["absent"])
    check_algorithm(verdict, container, expected["algorithm"])


def check_algorithm(verdict, container, expected):
    verdict.equal("algorithm", texts(container, "Algorithm Name"), [expected["name"]])
    verdict.equal("algorithm version", texts(container, "Algorithm Version"), [expected["version"]])
    parameters = texts(container, "Algorithm Parameters")
    for parameter in expected["parameters"]:
        verdict.hold(f"the algorithm parameter {parameter}", parameter in parameters)


def check_groups(verdict, sr, expected):
    planar = sr.content.get_planar_roi_measurement_groups()
    plain = sr.content.get_image_measurement_groups()
    groups = {group.tracking_identifier: group for group in planar + plain}
    verdict.equal("groups", sorted(groups), sorted(group["tracking"] for group in expected["groups"]))
    uids = [group.tracking_uid for group in groups.values()]
    verdict.equal("distinct tracking UIDs", len(set(uids)), len(expected["groups"]))
    for wanted in expected["groups"]:
        if wanted["tracking"] in groups:
            check_group(verdict, groups[wanted["tracking"]], wanted, expected["algorithm"])


def check_group(verdict, group, expected, algorithm):
    what = expected["tracking"]
    verdict.equal(f"{what}: finding", code(group.finding_type), expected["finding"])
    [site] = group.finding_sites
    # An unmapped site is expected by its words, which its code value only digests.
    named = code(site.value) if expected["site"].endswith(" SCT") else site.value.meaning
    verdict.equal(f"{what}: site", named, expected["site"])
    laterality = site.laterality and code(site.laterality)
    verdict.equal(f"{what}: laterality", laterality, expected["laterality"])
    check_region(verdict, what, group, expected)
    check_algorithm(verdict, group[0], algorithm)
    measurements = [measured(m) for m in group.get_measurements()]
    verdict.equal(f"{what}: measurements", measurements, expected["measurements"])
    evaluations = {code(e.name): code(e.value) for e in group.get_qualitative_evaluations()}
    verdict.equal(f"{what}: evaluations", evaluations, expected["evaluations"])


def measured(measurement):
    return {"name": code(measurement.name), "value": measurement.value, "unit": code(measurement.unit),
            "derivation": measurement.derivation and code(measurement.derivation),
            "method": measurement.method and code(measurement.method)}


def check_region(verdict, what, group, expected):
    planar = isinstance(group, hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations)
    verdict.equal(f"{what}: has a region", planar, expected["region"] is not None)
    if planar:
        roi = group.roi
        points = [round(float(v), 2) for v in roi.value.flatten()]
        verdict.equal(f"{what}: region", points, expected["region"])
        image = roi.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    else:
        [source] = items(group[0], "Source of Measurement")
        image = source.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    verdict.equal(f"{what}: image", image, expected["image"])


def check_names(verdict, item):
    """OHIF fails on a content item without a concept name."""
    verdict.hold("a concept name on every item", len(item.get("ConceptNameCodeSequence", [])) == 1)
    for child in item.get("ContentSequence", []):
        check_names(verdict, child)


def check_pdf(verdict, path, expected, evidence):
    check_iod(verdict, path)
    document = pydicom.dcmread(path)
    verdict.equal("MIME type", document.MIMETypeOfEncapsulatedDocument, "application/pdf")
    sources = [item.ReferencedSOPInstanceUID for item in document.SourceInstanceSequence]
    verdict.equal("source instances", sorted(sources), sorted(evidence))
    with tempfile.TemporaryDirectory() as folder:
        pdf = pathlib.Path(folder) / "report.pdf"
        pdf.write_bytes(document.EncapsulatedDocument[: document.EncapsulatedDocumentLength])
        check_text(verdict, pdf, expected)
        check_picture(verdict, pdf, expected["boxes"])


def check_text(verdict, pdf, expected):
    _, text, complaints = said("pdftotext", "-layout", pdf, "-")
    verdict.equal("pdftotext complains", complaints, "")
    # Marks of direction are not text of ours; spacing is the extractor's guess.
    plain = lambda t: "".join(c for c in t if not c.isspace() and c not in "\u202a\u202b\u202c\u2066\u2067\u2069")
    for wanted in expected["text"]:
        verdict.hold(f"the text {wanted!r} in the PDF", plain(wanted) in plain(text))
    _, fonts, _ = said("pdffonts", pdf)
    embedded = [line.split()[-5] for line in fonts.splitlines()[2:]]
    verdict.hold("every font embedded", embedded and set(embedded) == {"yes"})


def check_picture(verdict, pdf, boxes):
    said("pdftoppm", "-r", "60", "-png", pdf, pdf.with_suffix(""))
    pages = [Image.open(page).convert("RGB") for page in sorted(pdf.parent.glob("*.png"))]
    verdict.hold("a page", len(pages) > 0)
    _, images, _ = said("pdfimages", "-list", pdf)
    verdict.equal("pictures", len(images.splitlines()[2:]), 1)
    yellow = sum(count_yellow(page) for page in pages)
    verdict.equal("boxes drawn", yellow > 40, boxes > 0)


def count_yellow(page):
    pixels = page.tobytes()
    triples = zip(pixels[0::3], pixels[1::3], pixels[2::3])
    return sum(1 for r, g, b in triples if r > 220 and 150 < g < 235 and b < 90)


def judge(sr, pdf, expected):
    verdict = Verdict()
    check_sr(verdict, sr, expected["sr"])
    check_pdf(verdict, pdf, expected["pdf"], expected["sr"]["evidence"])
    return verdict.failures


def group_of(sr, index):
    [container] = items(sr, "Imaging Measurements")
    return items(container, "Measurement Group")[index]


def drop(item, meaning):
    item.ContentSequence = pydicom.Sequence(
        child for child in item.ContentSequence if child.ConceptNameCodeSequence[0].CodeMeaning != meaning)


def swap_side(sr):
    [site] = items(group_of(sr, 0), "Finding Site")
    [side] = items(site, "Laterality")
    side.ConceptCodeSequence[0].CodeValue, side.ConceptCodeSequence[0].CodeMeaning = "7771000", "Left"


def move_box(sr):
    [region] = items(group_of(sr, 0), "Image Region")
    region.GraphicData = [v + 1 for v in region.GraphicData]


def change_unit(sr):
    [diameter] = items(group_of(sr, 1), "Diameter")
    diameter.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue = "cm"


def change_method(sr):
    [diameter] = items(group_of(sr, 1), "Diameter")
    [method] = items(diameter, "Measurement Method")
    method.ConceptCodeSequence[0].CodeValue = "RGNPIXSPACING"


def make_absent_present(sr):
    [container] = items(sr, "Qualitative Evaluations")
    drop(container, "Pneumothorax")


def lose_name(sr):
    [comment] = items(group_of(sr, 0), "Comment")
    del comment.ConceptNameCodeSequence


BREAKAGES = {
    "side swapped": swap_side,
    "box moved": move_box,
    "unit changed": change_unit,
    "estimate called measured": change_method,
    "absent finding lost": make_absent_present,
    "concept name lost": lose_name,
    "image library lost": lambda sr: drop(sr, "Image Library"),
    "group lost": lambda sr: drop(items(sr, "Imaging Measurements")[0], "Measurement Group"),
    "weights digest lost": lambda sr: drop(group_of(sr, 0), "Algorithm Parameters"),
    "region lost": lambda sr: drop(group_of(sr, 0), "Image Region"),
    "derivation lost": lambda sr: drop(items(group_of(sr, 1), "Diameter")[0], "Derivation"),
    "own words lost": lambda sr: drop(items(sr, "Qualitative Evaluations")[0], "Draft report in the model's own words"),
    "evidence lost": lambda sr: sr.__delattr__("CurrentRequestedProcedureEvidenceSequence"),
    "called complete": lambda sr: setattr(sr, "CompletionFlag", "COMPLETE"),
    "study lost": lambda sr: sr.__delattr__("StudyInstanceUID"),
}


def noticed(breakage, sr, expected):
    broken = copy.deepcopy(sr)
    breakage(broken)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "broken.dcm"
        broken.save_as(path)
        verdict = Verdict()
        try:
            check_sr(verdict, path, expected)
        except Exception as refusal:  # highdicom refuses some breakages outright
            verdict.failures.append(repr(refusal))
        return verdict.failures


def self_test(path, expected):
    sr = pydicom.dcmread(path)
    false_alarms = noticed(lambda unbroken: None, sr, expected)
    unnoticed = [name for name, breakage in BREAKAGES.items() if not noticed(breakage, sr, expected)]
    print(f"self-test: {len(BREAKAGES) - len(unnoticed)} of {len(BREAKAGES)} breakages noticed")
    return false_alarms + [f"not noticed: {name}" for name in unnoticed]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--expect", type=pathlib.Path, required=True)
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("sr", type=pathlib.Path)
    parser.add_argument("pdf", type=pathlib.Path)
    arguments = parser.parse_args()
    expected = json.loads(arguments.expect.read_text(encoding="utf-8"))
    if arguments.self_test:
        failures = self_test(arguments.sr, expected["sr"])
    else:
        failures = judge(arguments.sr, arguments.pdf, expected)
        print(f"{arguments.expect.stem}: {'failed' if failures else 'passed'}")
    for failure in failures:
        print(f"  {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
