"""De-identified copies against Table E.1-1 of PS3.15 as another program has it (dicom-anonymizer), over all
files that pydicom brings."""

import io
import re
import sys
import zipfile
from pathlib import Path

import requests
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as table
from pydicom import dcmread
from pydicom.datadict import dictionary_has_tag
from pydicom.uid import generate_uid

from . import dicomweb, downloads, media, part10
from .server import WITHOUT_ANALYSIS, Server
from .tally import equal

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))
from check_report import said  # noqa: E402

NAME, NUMBER, PLACE = "Zyxwvut", "77441199", "Qponmlk"
OPTIONS = [
    "retain-uids",
    "retain-device-identity",
    "retain-institution-identity",
    "retain-patient-characteristics",
    "retain-modified-dates",
    "retain-safe-private",
    "clean-descriptors",
    "clean-structured-content",
    "clean-graphics",
]
ADDED = {"PatientName", "PatientID", "PatientIdentityRemoved", "DeidentificationMethod"}


def exact(tags):
    return {group << 16 | element for group, element, *mask in tags if not mask}


REMOVED, EMPTY, DUMMY, UIDS = (exact(tags) for tags in (table.X_TAGS, table.Z_TAGS, table.D_TAGS, table.U_TAGS))
REMOVED_OR_EMPTY = exact(table.X_Z_TAGS)
# Gone, empty or a dummy: never the value that was there.
REPLACED = REMOVED_OR_EMPTY | exact(table.X_D_TAGS) | exact(table.X_Z_D_TAGS) | exact(table.Z_D_TAGS) | DUMMY


def run(context, tally):
    folder = context.folder("deidentified")
    project = folder / "project.key"
    project.write_bytes(b"k" * 40)
    keys = {**WITHOUT_ANALYSIS, "downloads.projects": f'[{{ name = "trial", key_file = "{project}" }}]'}
    with Server(context.binary, folder / "data", keys) as server:
        stored = corpus(server)
        copies = check_all(server, tally, stored, folder)
        with tally.check("deidentified: the DICOMDIR is that of the copies"):
            media.check_file_set(folder / "basic")
            media.check_offsets(folder / "basic")
        with tally.check("deidentified: copies are still read, their pixels are the same"):
            check_pixels(copies)
        with tally.check("deidentified: dciodvfy finds no more errors than before"):
            check_dciodvfy(copies, folder)
        with tally.check("deidentified: a name in every place leaves none of them"):
            check_planted(server, folder)
        with tally.check("deidentified: each option keeps what it says"):
            check_options(server, folder)
        with tally.check("deidentified: copies of one project can be linked, others not"):
            check_linked(server)
        with tally.check("deidentified: what may have burned-in names is left out, unless it is asked for"):
            check_burned_in(server)


def corpus(server):
    """Files of pydicom as the server took them, by SOP Instance UID."""
    for root in part10.corpus():
        for path in sorted(root.rglob("*.dcm")):
            dicomweb.store(server, [path.read_bytes()])
    return {uids[2]: dicomweb.retrieve(server, uids) for uids in dicomweb.instances(server)}


def copy(server, studies, folder=None, **options):
    """The files of a de-identified download, and its row."""
    done, content = downloads.make(server, form="deidentified-zip", studies=studies, options=options)
    downloads.forget(server, done["id"])
    if folder:
        media.unpacked(content, folder)
    archive = zipfile.ZipFile(io.BytesIO(content))
    return done, [archive.read(name) for name in archive.namelist() if name != "DICOMDIR"]


def elements(dataset, path=()):
    for element in dataset:
        yield path, element
        if element.VR == "SQ":
            for item in element.value:
                yield from elements(item, (*path, element.tag))


def check_all(server, tally, stored, folder):
    """Pairs of an original and its copy; made with UIDs retained to find them, and without."""
    studies = sorted({uids[0] for uids in dicomweb.instances(server)})
    _, basic = copy(server, studies, folder / "basic", keep_burned_in=True)
    _, named = copy(server, studies, keep_burned_in=True, deidentify=["retain-uids"])
    with tally.check(f"deidentified: all {len(stored)} objects have a copy"):
        equal("copies", (len(basic), len(named)), (len(stored), len(stored)))
    with tally.check("deidentified: no attribute survives that the table removes, in items neither"):
        for file in basic:
            check_table(dcmread(io.BytesIO(file), force=True))
    pairs = [(stored[part10.uid_of(file)], file) for file in named]
    with tally.check("deidentified: what is replaced is not what it was"):
        for original, file in pairs:
            check_replaced(original, file)
    with tally.check("deidentified: no UID of an original is in a copy"):
        check_uids(stored, basic)
    return pairs


def check_table(dataset):
    for path, element in elements(dataset):
        tag = int(element.tag)
        where = f"{element.tag} {element.keyword} in {dataset.get('SOPClassUID')} at {path}"
        assert not element.tag.is_private, where
        assert tag not in REMOVED, f"{where} is removed by the table"
        assert tag >> 16 not in range(0x5000, 0x5100) and tag >> 16 not in range(0x6000, 0x6100), where
        assert dictionary_has_tag(tag), f"{where} is nothing that anybody knows"
        if tag in EMPTY and element.keyword not in ADDED:
            assert element.is_empty, f"{where} is {element.value!r}"
    equal("mark", dataset.PatientIdentityRemoved, "YES")
    equal("code", dataset.DeidentificationMethodCodeSequence[0].CodeValue, "113100")
    equal("dates", dataset.LongitudinalTemporalInformationModified, "REMOVED")
    assert re.fullmatch("ANON-[0-9A-F]{12}", dataset.PatientID), dataset.PatientID
    equal("preamble", dataset.preamble, bytes(128))
    equal("instance", dataset.file_meta.MediaStorageSOPInstanceUID, dataset.SOPInstanceUID)
    assert "SourceApplicationEntityTitle" not in dataset.file_meta


def check_replaced(original, file):
    before, after = (dcmread(io.BytesIO(data), force=True) for data in (original, file))
    values = {(path, int(element.tag)): element for path, element in elements(before)}
    for path, element in elements(after):
        was = values.get((path, int(element.tag)))
        if int(element.tag) in REPLACED and was is not None and not element.is_empty and element.VR != "SQ":
            same = element.value == was.value and str(was.value) not in ("0", "REMOVED", "Anonymized")
            is_dummy = all(not byte for byte in was.value) if isinstance(was.value, bytes) else False
            assert not same or is_dummy, f"{element.tag} {element.keyword} is still {str(element.value)[:40]!r}"


def check_uids(stored, copies):
    known = set()
    for file in stored.values():
        for _, element in elements(dcmread(io.BytesIO(file), force=True, stop_before_pixels=True)):
            if int(element.tag) in UIDS and element.VR == "UI" and element.value:
                known |= {str(uid) for uid in ([element.value] if isinstance(element.value, str) else element.value)}
    known = {uid for uid in known if not uid.startswith("1.2.840.10008.")}
    for file in copies:
        for _, element in elements(dcmread(io.BytesIO(file), force=True, stop_before_pixels=True)):
            if element.VR == "UI" and element.value:
                uids = {str(uid) for uid in ([element.value] if isinstance(element.value, str) else element.value)}
                assert not uids & known, f"{element.tag} {element.keyword}: {uids & known}"


def check_pixels(pairs):
    compared = 0
    for original, file in pairs:
        before, after = (dcmread(io.BytesIO(data), force=True) for data in (original, file))
        if "PixelData" not in before:
            continue
        same_syntax = before.file_meta.TransferSyntaxUID == after.file_meta.TransferSyntaxUID
        if same_syntax:
            equal("pixels", part10.digest(after.PixelData), part10.digest(before.PixelData))
            compared += 1
    assert compared > 50, compared


def errors_of(path, data):
    path.write_bytes(data)
    _, out, err = said("dciodvfy", path)
    lines = {re.sub(r"<[^>]*>|=? *\d+", "", line) for line in (out + err).splitlines() if line.startswith("Error")}
    return {line for line in lines if "Curve" not in line and "Overlay" not in line}


def check_dciodvfy(pairs, folder):
    """Kinds of errors that only copies have, of objects that had few themselves."""
    worse = {}
    for original, file in pairs:
        before, after = errors_of(folder / "before.dcm", original), errors_of(folder / "after.dcm", file)
        for line in after - before:
            worse.setdefault(line, part10.uid_of(original))
    print("\n".join(f"     only of copies: {line} ({uid})" for line, uid in sorted(worse.items())))
    assert len(worse) <= WORSE_MAX, f"{len(worse)} kinds of errors"


# What the profile itself costs: one attribute of type 1C of one object.
WORSE_MAX = 1


def planted():
    """An image with the same name wherever there is text."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    dataset = dcmread(io.BytesIO(part10.image(generate_uid(), 1, side=16)))
    dataset.PatientName, dataset.PatientID, dataset.IssuerOfPatientID = f"{NAME}^Anna", NUMBER, PLACE
    dataset.OtherPatientIDs, dataset.PatientAddress, dataset.PatientComments = NUMBER, PLACE, f"{NAME} was here"
    dataset.InstitutionName, dataset.ReferringPhysicianName = PLACE, f"Dr {NAME}"
    dataset.OperatorsName, dataset.StationName, dataset.DeviceSerialNumber = NAME, PLACE, NUMBER
    dataset.StudyDescription, dataset.SeriesDescription = f"CT of {NAME}", f"Thorax {NAME} {NUMBER}"
    dataset.ImageComments, dataset.AccessionNumber, dataset.StudyID = f"{NAME} {PLACE}", NUMBER, NUMBER
    dataset.PatientBirthDate, dataset.PatientAge, dataset.PatientSex = "19410203", "085Y", "F"
    request = Dataset()
    request.RequestedProcedureDescription, request.ScheduledProcedureStepDescription = NAME, PLACE
    request.AccessionNumber = NUMBER
    deeper = Dataset()
    deeper.PersonName, deeper.TextValue = NAME, f"{NAME} again"
    request.ScheduledProtocolCodeSequence = Sequence([deeper])
    dataset.RequestAttributesSequence = Sequence([request])
    block = dataset.private_block(0x0019, f"{NAME} GROUP", create=True)
    block.add_new(1, "LO", NAME)
    safe = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    safe.add_new(0x0C, "IS", "1000")
    safe.add_new(0x20, "LO", NAME)
    return dataset


def check_planted(server, folder):
    dataset = planted()
    dicomweb.store(server, [part10.encoded(dataset)])
    for options in ([], ["clean-descriptors"], ["retain-safe-private"], ["retain-uids", "clean-structured-content"]):
        done, [file] = copy(server, [dataset.StudyInstanceUID], deidentify=options)
        for word in (NAME, NUMBER, PLACE, "19410203"):
            assert word.encode() not in file, f"{word} with {options}"
        equal("left out", done["left_out_count"], 0)
    answer = requests.get(downloads.api(server, f"studies/{dataset.StudyInstanceUID}/deidentified"), timeout=60)
    assert NAME.encode() not in answer.content and dataset.StudyInstanceUID.encode() not in answer.content
    assert dataset.StudyInstanceUID not in answer.headers["Content-Disposition"]
    assert NAME not in server.log() and NUMBER not in server.log(), "names are in the log"


def check_options(server, folder):
    dataset = planted()
    dicomweb.store(server, [part10.encoded(dataset)])
    study = dataset.StudyInstanceUID

    def with_(*options):
        _, [file] = copy(server, [study], deidentify=list(options))
        return dcmread(io.BytesIO(file))

    equal("UIDs", with_("retain-uids").SOPInstanceUID, dataset.SOPInstanceUID)
    equal("institution", with_("retain-institution-identity").InstitutionName, PLACE)
    kept = with_("retain-patient-characteristics")
    equal("patient", (kept.PatientAge, kept.PatientSex), ("085Y", "F"))
    equal("device", with_("retain-device-identity").DeviceSerialNumber, NUMBER)
    dates = with_("retain-full-dates")
    equal("dates", (dates.StudyDate, dates.LongitudinalTemporalInformationModified), ("20260102", "UNMODIFIED"))
    moved = with_("retain-modified-dates")
    assert "20150101" < moved.StudyDate < "20260102", moved.StudyDate
    equal("times", (moved.StudyTime, moved.LongitudinalTemporalInformationModified), ("101500", "MODIFIED"))
    cleaned = with_("clean-descriptors")
    equal("descriptions", (cleaned.StudyDescription, cleaned.SeriesDescription), ("CT of", "Thorax"))
    private = with_("retain-safe-private")
    elements_ = [element for element in private if element.tag.is_private]
    equal("private", [element.value for element in elements_], ["SIEMENS MR HEADER", 1000])
    everything = with_(*OPTIONS)
    codes = [item.CodeValue for item in everything.DeidentificationMethodCodeSequence]
    expected = ["113100", "113103", "113104", "113105", "113107", "113108", "113109", "113110", "113111", "113112"]
    equal("codes", sorted(codes), expected)


def check_linked(server):
    patient = generate_uid()[-12:]
    studies = [downloads.store(server, 1, patient) for _ in range(2)]

    def patients(**options):
        return [
            dcmread(io.BytesIO(copy(server, [study], **options)[1][0])).PatientID for study in studies
        ]

    [one, two] = patients(project="trial")
    equal("one project", one, two)
    [one, two] = patients()
    assert one != two, "copies of two downloads have the same pseudonym"
    _, both = copy(server, studies)
    equal("one download", len({dcmread(io.BytesIO(file)).PatientID for file in both}), 1)


def check_burned_in(server):
    dataset = dcmread(io.BytesIO(part10.image(generate_uid(), 1, side=16)))
    dataset.Modality, dataset.BurnedInAnnotation = "CT", "YES"
    dicomweb.store(server, [part10.encoded(dataset)])
    done, files = copy(server, [dataset.StudyInstanceUID])
    equal("left out", (len(files), done["left_out_count"]), (0, 1))
    equal("which", done["left_out"][0]["sop_instance_uid"], dataset.SOPInstanceUID)
    done, files = copy(server, [dataset.StudyInstanceUID], keep_burned_in=True)
    equal("kept", (len(files), done["left_out_count"]), (1, 0))
