"""The demonstration model through the whole loop: DICOM in, SR out, on phantoms it never saw.

What is expected comes from the generator's own truth, what was found from the SR as highdicom
reads it. Nodules and CT are counted and stated, not judged.
"""

import json
import subprocess
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import highdicom
import numpy
from pydicom import dcmread
from pydicom.uid import generate_uid

from . import dicomweb, dimse
from .part10 import encoded
from .server import WITH_DEMO_MODEL, Server
from .tally import equal

# Seeds below 1,000,000 are never trained on.
HELD_OUT_SEED, COUNT, VARIANTS = 900_000, 200, 20
NODULES, CTS = 60, 20
RIGHT_LEAST = 0.95
ANALYSIS_S_MAX = 15
COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
EFFUSION, HEART, NODULE = "60046008", "8186001", "27925004"
SIDES = {"24028007": "right", "7771000": "left"}
GRADES = {"255507004": "small", "6736007": "moderate", "255509001": "large"}
# Acquisition, image presentation, presentation state, pixels.
PICTURE_GROUPS = (0x0018, 0x0028, 0x2050, 0x7FE0)
OTHER_SIDE = {"left": "right", "right": "left"}


@dataclass(frozen=True)
class Seen:
    """What an answer or an SR says; sides are the patient's."""

    effusions: tuple = ()
    heart: bool = False
    nodules: tuple = ()
    others: tuple = field(default=(), compare=False)

    def is_normal(self):
        return not (self.effusions or self.heart or self.nodules or self.others)

    def mirrored(self):
        return Seen(tuple(sorted((OTHER_SIDE[side], grade) for side, grade in self.effusions)), self.heart,
                    tuple(sorted(OTHER_SIDE[side] for side in self.nodules)))


@dataclass
class Phantom:
    folder: Path
    study: str
    truth: Seen

    @property
    def path(self):
        """The one image of a radiograph."""
        return self.folder / "001.dcm"

    def files(self):
        return [path.read_bytes() for path in sorted(self.folder.glob("*.dcm"))]


def draw(context, name, count, seed, *options, kind="chest"):
    folder = context.folder("phantoms") / name
    command = [context.binary, "phantom", folder, "--count", count, "--seed", seed, "--kind", kind, *options]
    subprocess.run([str(part) for part in command], check=True, timeout=600)
    lines = [json.loads(line) for line in (folder / "truth.json").read_text().splitlines()]
    return [Phantom(folder / f"{line['seed']:06}", line["study"], told(line["answer"])) for line in lines]


def told(answer):
    named = {"pleural effusion": [], "cardiomegaly": [], "pulmonary nodule": []}
    for finding in answer["findings"]:
        named[finding["finding"]].append(finding)
    effusions = [(finding["laterality"], finding["severity"]) for finding in named["pleural effusion"]]
    nodules = [finding["laterality"] for finding in named["pulmonary nodule"]]
    return Seen(tuple(sorted(effusions)), bool(named["cardiomegaly"]), tuple(sorted(nodules)))


def read_sr(file):
    """The measurement groups of a TID 1500 report; findings that are said to be absent have none."""
    content = highdicom.sr.srread(BytesIO(file)).content
    effusions, nodules, others, heart = [], [], [], False
    for group in content.get_planar_roi_measurement_groups() + content.get_image_measurement_groups():
        code, [site] = group.finding_type.value, group.finding_sites
        side = SIDES.get(site.laterality.value, "both") if site.laterality else "none"
        if code == EFFUSION:
            effusions.append((side, grade_of(group)))
        elif code == NODULE:
            nodules.append(side)
        elif code == HEART:
            heart = True
        else:
            others.append(code)
    return Seen(tuple(sorted(effusions)), heart, tuple(sorted(nodules)), tuple(others))


def grade_of(group):
    values = [evaluation.value.value for evaluation in group.get_qualitative_evaluations()]
    return next((GRADES[value] for value in values if value in GRADES), "none")


def changed(path, change=lambda dataset: None):
    """The study under new UIDs, changed; as a file, with its Study Instance UID."""
    dataset = dcmread(path)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    change(dataset)
    return encoded(dataset), str(dataset.StudyInstanceUID)


def with_pixels(make):
    """A change that replaces the pixels by what `make` returns for them."""

    def change(dataset):
        kind = numpy.dtype(f"<u{dataset.BitsAllocated // 8}")
        pixels = numpy.frombuffer(dataset.PixelData, kind, dataset.Rows * dataset.Columns)
        dataset.PixelData = make(pixels.reshape(dataset.Rows, dataset.Columns)).astype(kind).tobytes()

    return change


def analysed(server, files):
    """Sends files; what the SR of each study says, by study."""
    kinds = [dcmread(BytesIO(file), stop_before_pixels=True) for file in files]
    contexts = sorted({(kind.SOPClassUID, kind.file_meta.TransferSyntaxUID) for kind in kinds})
    equal("C-STORE statuses", set(dimse.send_bytes(server, files, contexts, "MODALITY")), {dimse.SUCCESS})
    studies = sorted({str(kind.StudyInstanceUID) for kind in kinds})
    ended = server.wait_for_analyses(studies, timeout_s=60 + ANALYSIS_S_MAX * len(studies))
    late = [study for study in studies if study not in ended]
    assert not late, f"{len(late)} of {len(studies)} analyses did not end: {server.analyses(late[0])}"
    states = {analysis["reason"] for found in ended.values() for analysis in found if analysis["state"] != "done"}
    equal("reasons of analyses that failed", states, set())
    return {study: read_sr(sr_of(server, study)) for study in studies}


def sr_of(server, study):
    found = dicomweb.search(server, f"studies/{study}/instances", SOPClassUID=COMPREHENSIVE_3D_SR)
    equal(f"SRs of {study}", len(found), 1)
    series, instance = (dicomweb.value(found[0], tag) for tag in ("0020000E", "00080018"))
    return dicomweb.retrieve(server, (study, series, instance))


def run(context, tally):
    phantoms = draw(context, "held-out", COUNT, HELD_OUT_SEED)
    with Server(context.binary, context.folder("phantom-server"), WITH_DEMO_MODEL) as server:
        with tally.check(f"{COUNT} held-out phantoms come back as SR"):
            by_study = analysed(server, [phantom.path.read_bytes() for phantom in phantoms])
            found = [by_study[phantom.study] for phantom in phantoms]
        if tally.failed:
            return
        judge(tally, phantoms, found)
        with tally.check("a mirrored phantom swaps the side"):
            mirrored(server, phantoms, found)
        with tally.check("a blank image gives no finding"):
            blank(server, phantoms[0])
        with tally.check("pixels of another phantom bring the findings of that one, and its own to chance"):
            shuffled(server, phantoms)
        with tally.check("MONOCHROME1 and MONOCHROME2 renderings of one phantom agree"):
            photometric(context, server)
        with tally.check("nodules and CT are analysed too"):
            stated(context, server)


def judge(tally, phantoms, found):
    pairs = [(phantom.truth, seen) for phantom, seen in zip(phantoms, found, strict=True)]
    normal = [(truth, seen) for truth, seen in pairs if truth.is_normal()]
    with_effusion = [(truth, seen) for truth, seen in pairs if truth.effusions]
    shares = {
        "effusion with side and grade, or none": share(pairs, lambda truth, seen: truth.effusions == seen.effusions),
        "effusion with side and grade, where there is one": share(with_effusion, lambda t, s: t.effusions == s.effusions),
        "enlarged heart or not": share(pairs, lambda truth, seen: truth.heart == seen.heart),
        "normal as normal": share(normal, lambda _, seen: seen.is_normal()),
    }
    for name, right in shares.items():
        with tally.check(f"phantoms: {name}: {right:.1%}"):
            assert right >= RIGHT_LEAST, f"{right:.1%} right, {RIGHT_LEAST:.0%} at least"


def stated(context, server):
    """Figures of what the model is not held to."""
    with_nodules = pairs_of(server, draw(context, "nodules", NODULES, HELD_OUT_SEED + 2 * COUNT, "--nodules"))
    nodules = [pair for pair in with_nodules if pair[0].nodules]
    found = share(nodules, lambda truth, seen: truth.nodules == seen.nodules)
    print(f"     nodules: {found:.1%} of {len(nodules)} found on the right side")
    ct = pairs_of(server, draw(context, "ct", CTS, HELD_OUT_SEED + 3 * COUNT, "--shown-slices-only", kind="ct"))
    right = share(ct, lambda truth, seen: truth.effusions == seen.effusions)
    print(f"     CT: effusion with side and grade, or none: {right:.1%} of {len(ct)}")


def pairs_of(server, phantoms):
    by_study = analysed(server, [file for phantom in phantoms for file in phantom.files()])
    return [(phantom.truth, by_study[phantom.study]) for phantom in phantoms]


def share(pairs, right):
    assert pairs, "there is nothing to count"
    return sum(bool(right(truth, seen)) for truth, seen in pairs) / len(pairs)


def mirrored(server, phantoms, found):
    """Only what was found on one side can be seen to change it."""
    one_sided = [(phantom, seen) for phantom, seen in zip(phantoms, found, strict=True) if len(seen.effusions) == 1]
    chosen = one_sided[:VARIANTS]
    files = [changed(phantom.path, with_pixels(lambda pixels: pixels[:, ::-1])) for phantom, _ in chosen]
    now = analysed(server, [file for file, _ in files])
    right = share([(seen.mirrored(), now[study]) for (_, seen), (_, study) in zip(chosen, files, strict=True)],
                  lambda expected, seen: expected.effusions == seen.effusions)
    print(f"     {right:.1%} of {len(chosen)} effusions are on the other side, with the same grade")
    assert right >= RIGHT_LEAST - 1 / len(chosen), f"{right:.1%}"


def blank(server, phantom):
    levels = (0.0, 0.5, 1.0)

    def level(share):
        return with_pixels(lambda pixels: numpy.full_like(pixels, int(pixels.max() * share)))

    now = analysed(server, [changed(phantom.path, level(share))[0] for share in levels])
    equal("findings on blank images", [seen for seen in now.values() if not seen.is_normal()], [])


def shuffled(server, phantoms):
    """The headers of some phantoms with the pixels of the next ones."""
    some = phantoms[: 2 * VARIANTS]
    own, others = some[0::2], some[1::2]
    files = [changed(phantom.path, pixels_of(other.path)) for phantom, other in zip(own, others, strict=True)]
    now = analysed(server, [file for file, _ in files])
    seen = [now[study] for _, study in files]
    right = share(list(zip(others, seen, strict=True)), lambda other, seen: other.truth.effusions == seen.effusions)
    by_name = share(list(zip(own, seen, strict=True)), lambda phantom, seen: phantom.truth.effusions == seen.effusions)
    chance = chance_of([phantom.truth.effusions for phantom in own], [one.effusions for one in seen])
    print(f"     {right:.1%} agree with the pixels, {by_name:.1%} with the header, {chance:.1%} would by chance")
    assert right >= RIGHT_LEAST - 1 / len(own), f"{right:.1%} agree with the pixels"
    # Three standard deviations of a share of so many.
    slack = 3 * (chance * (1 - chance) / len(own)) ** 0.5
    assert by_name <= chance + slack, f"{by_name:.1%} agree with the header"


def pixels_of(path):
    """A change to the picture of another file, with all that says how it is to be shown."""
    other = dcmread(path)

    def change(dataset):
        for group in PICTURE_GROUPS:
            for element in list(dataset.group_dataset(group)):
                del dataset[element.tag]
            for element in other.group_dataset(group):
                dataset.add(element)

    return change


def chance_of(truths, answers):
    return sum(truths.count(kind) * answers.count(kind) for kind in set(truths)) / len(truths) ** 2


def photometric(context, server):
    seeds = HELD_OUT_SEED + COUNT
    drawn = [draw(context, kind, VARIANTS, seeds, "--photometric", kind) for kind in ("monochrome1", "monochrome2")]
    files = [[changed(phantom.path) for phantom in phantoms] for phantoms in drawn]
    now = analysed(server, [file for kind in files for file, _ in kind])
    pairs = [(now[dark], now[bright]) for (_, dark), (_, bright) in zip(*files, strict=True)]
    differing = [pair for pair in pairs if pair[0] != pair[1]]
    print(f"     {len(pairs) - len(differing)} of {len(pairs)} pairs agree")
    assert len(differing) <= len(pairs) * (1 - RIGHT_LEAST), f"{len(differing)} of {len(pairs)} differ"
