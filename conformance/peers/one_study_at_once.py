"""Four associations deliver one study side by side: one study, right counts, one analysis."""

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from threading import Barrier

from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from . import dicomweb, dimse
from .part10 import encoded
from .phantoms import draw
from .server import WITH_DEMO_MODEL, Server
from .tally import equal

TIMES, ASSOCIATIONS, IMAGES = 20, 4, 3
ANALYSES_TIMEOUT_S = 900


def run(context, tally):
    template = draw(context, "at-once", count=1, seed=910_000)[0].path
    with Server(context.binary, context.folder("one-study-at-once"), WITH_DEMO_MODEL) as server:
        studies = [fresh_study(template) for _ in range(TIMES)]
        sent = {}
        for number, (study, files) in enumerate(studies, 1):
            with tally.check(f"{ASSOCIATIONS} associations at once, study {number}: every image is acknowledged"):
                sent[study] = deliver(server, files)
        ended = server.wait_for_analyses(list(sent), ANALYSES_TIMEOUT_S)
        for number, study in enumerate(sent, 1):
            with tally.check(f"{ASSOCIATIONS} associations at once, study {number}: one study, one analysis"):
                check_study(server, study, ended.get(study))


def fresh_study(template):
    """The picture of one phantom as several images of a new study."""
    dataset = dcmread(template)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    files = []
    for number in range(1, IMAGES + 1):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.InstanceNumber = number
        files.append(encoded(dataset))
    return dataset.StudyInstanceUID, files


def deliver(server, files):
    """Every association sends every image, each starting with another one."""
    kind = dcmread(BytesIO(files[0]), stop_before_pixels=True)
    contexts = [(kind.SOPClassUID, ExplicitVRLittleEndian), (kind.SOPClassUID, kind.file_meta.TransferSyntaxUID)]
    ready = Barrier(ASSOCIATIONS)

    def one(number):
        turned = files[number % IMAGES :] + files[: number % IMAGES]
        ready.wait()
        return dimse.send_bytes(server, turned, contexts, calling=f"SENDER{number}")

    with ThreadPoolExecutor(ASSOCIATIONS) as pool:
        answers = [status for statuses in pool.map(one, range(ASSOCIATIONS)) for status in statuses]
    equal("statuses", set(answers), {dimse.SUCCESS})
    return kind.Modality


def check_study(server, study, analyses):
    found = dicomweb.search(server, "studies", StudyInstanceUID=study)
    equal("studies", len(found), 1)
    images = dicomweb.search(server, f"studies/{study}/instances", Modality="DX,CR")
    series = [s for s in dicomweb.search(server, f"studies/{study}/series") if dicomweb.value(s, "00080060") in ("DX", "CR")]
    counts = [dicomweb.value(s, "00201209") for s in series]
    equal("image series and their instances", counts, [IMAGES])
    assert images is not None
    assert analyses, "no analysis came to its end"
    equal("analyses", [analysis["state"] for analysis in analyses], ["done"])
    every = dicomweb.search(server, f"studies/{study}/instances")
    equal("images, SR and PDF", len(every), IMAGES + 2)
    equal("instances of the study", dicomweb.value(found[0], "00201208"), len(every))
