"""C-FIND beside QIDO-RS: the same keys find the same entities, and say the same of them.

Asked by pynetdicom and by DCMTK's findscu, in both roots, at every level, in the three transfer
syntaxes; of pydicom's files, phantoms, names in the scripts of `character_sets` and objects with
private attributes and sequences.
"""

import shutil
import subprocess
import tempfile
from itertools import cycle
from pathlib import Path

from pydicom import dcmread
from pydicom.data import get_testdata_files
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from . import dicomweb
from .character_sets import CASES
from .query_objects import made, scripted, talkative
from .query_peers import CANCELLED, SUCCESS, ask, cancel_after, identifier, shown
from .server import WITHOUT_ANALYSIS, Server
from .tally import equal

KEYS = WITHOUT_ANALYSIS | {"dimse.unknown_callers_may": '["store", "query"]'}
SYNTAXES = {ImplicitVRLittleEndian: "-xi", ExplicitVRLittleEndian: "-xe", ExplicitVRBigEndian: "-xb"}
FILE_BYTES_MAX = 2_000_000
BATCH = 40
RESOURCES = {"PATIENT": "patients", "STUDY": "studies", "SERIES": "series", "IMAGE": "instances"}
TALKATIVE = 600

PATIENT = dict.fromkeys(["PatientName", "PatientID", "PatientBirthDate", "PatientSex", "NumberOfPatientRelatedStudies",
                         "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances"], "")
STUDY = dict.fromkeys(["StudyInstanceUID", "PatientName", "PatientID", "PatientBirthDate", "StudyDate", "StudyTime",
                       "StudyID", "StudyDescription", "AccessionNumber", "ReferringPhysicianName", "ModalitiesInStudy",
                       "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "SOPClassesInStudy",
                       "PatientAge", "PatientWeight", "OtherPatientNames", "PatientComments"], "")
SERIES = dict.fromkeys(["SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "BodyPartExamined",
                        "NumberOfSeriesRelatedInstances", "SeriesDate", "Manufacturer", "StationName"], "")
IMAGE = dict.fromkeys(["SOPInstanceUID", "SOPClassUID", "InstanceNumber", "Rows", "Columns", "BitsAllocated",
                       "NumberOfFrames", "ImageType", "ContentDate", "WindowCenter", "AvailableTransferSyntaxUID"], "")
ABOVE_SERIES = {"StudyInstanceUID": "", "PatientID": "", "StudyDate": ""}
ABOVE_IMAGE = ABOVE_SERIES | {"SeriesInstanceUID": "", "Modality": ""}

STUDIES = {
    "everything": {},
    "a value": {"PatientID": "Q1"},
    "a value in other letters": {"PatientID": "q1"},
    "a name": {"PatientName": "CompressedSamples^CT1"},
    "a name in other letters": {"PatientName": "compressedsamples^ct1^^"},
    "wild cards in a name": {"PatientName": "C*"},
    "a wild card within": {"PatientName": "*s^?R*"},
    "a wild card of one": {"PatientID": "Q?"},
    "wild cards alone": {"PatientName": "*", "StudyDescription": "**"},
    "wild cards in a description": {"StudyDescription": "*e*"},
    "characters that SQL would take": {"StudyDescription": "50%*"},
    "a referring physician": {"ReferringPhysicianName": "*a*"},
    "a date": {"StudyDate": "20260110"},
    "a range of dates": {"StudyDate": "20040101-20041231"},
    "dates up to": {"StudyDate": "-20040119"},
    "dates from": {"StudyDate": "20260101-"},
    "a range of times": {"StudyTime": "1000-1015"},
    "times up to": {"StudyTime": "-0830"},
    "a modality of several": {"ModalitiesInStudy": "CT"},
    "one of two modalities": {"ModalitiesInStudy": r"CT\MR"},
    "a count": {"NumberOfStudyRelatedInstances": "2"},
    "an attribute without a column": {"PatientAge": "040Y"},
    "a number without a column": {"PatientWeight": "72.50"},
    "several keys": {"PatientName": "*", "ModalitiesInStudy": "CT", "StudyDate": "20000101-20301231"},
    "a code in a sequence": {"ProcedureCodeSequence.CodeValue": "C2", "ProcedureCodeSequence.CodeMeaning": ""},
    "two codes in one item": {"ProcedureCodeSequence.CodeValue": "C1",
                              "ProcedureCodeSequence.CodingSchemeDesignator": "99B"},
    "a whole sequence": {"ProcedureCodeSequence": ""},
    "nothing that is there": {"PatientID": "nobody has this"},
    "a study that is not there": {"StudyInstanceUID": "1.2.3.4.5.6.7.8.9"},
}

SERIES_QUESTIONS = {
    "everything": {},
    "a modality": {"Modality": "CT"},
    "a number": {"SeriesNumber": "2"},
    "a pattern": {"SeriesDescription": "*a*"},
    "a step in a sequence": {"RequestAttributesSequence.ScheduledProcedureStepID": "S2",
                             "RequestAttributesSequence.RequestedProcedureID": ""},
    "two keys of two items": {"RequestAttributesSequence.ScheduledProcedureStepID": "S1",
                              "RequestAttributesSequence.RequestedProcedureID": "P2"},
    "what holds for the study": {"PatientName": "Query*", "Modality": "MR"},
}

IMAGES = {
    "everything": {},
    "a class": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"},
    "a number": {"InstanceNumber": "1"},
    "rows": {"Rows": "512"},
    "one of several values": {"ImageType": "PRIMARY"},
    "a private attribute": {"00090010": "ACME", "00091001": "private*"},
    "a private attribute whose block is another": {"00090020": "ACME", "00092001": "private*"},
    "a private attribute of another creator": {"00090010": "OTHER", "00091001": "private*"},
    "a nested sequence": {"ReferencedSeriesSequence.ReferencedSOPSequence.ReferencedSOPInstanceUID": "1.2.3.4"},
}


def run(context, tally):
    with Server(context.binary, context.folder("query"), KEYS) as server:
        stored = fill(context, server)
        with tally.check(f"{stored} objects are stored"):
            assert stored > 100, "too few to ask for"
        judge = Judge(server, tally)
        judge.studies()
        judge.hierarchy()
        judge.relational()
        judge.patients()
        judge.names()
        judge.negotiated()
        judge.cancelled(context)


def fill(context, server):
    """Everything that is asked for; how many objects were taken."""
    folder = context.folder("query-phantoms")
    subprocess.run([context.binary, "phantom", folder, "--count", "4", "--seed", "9"], check=True)
    paths = [Path(path) for path in get_testdata_files("*.dcm")] + sorted(folder.rglob("*.dcm"))
    files = [path.read_bytes() for path in paths if path.stat().st_size < FILE_BYTES_MAX]
    files += made() + [scripted(case) for case in CASES]
    kept = 0
    for start in range(0, len(files), BATCH):
        kept += len(dicomweb.store(server, files[start : start + BATCH])[0])
    return kept


class Judge:
    """Asks each question of both services and of both peers, in one syntax after another."""

    def __init__(self, server, tally):
        self.server, self.tally = server, tally
        self.syntaxes = cycle(SYNTAXES)
        self.findscu = shutil.which("findscu", path="/usr/bin:/usr/local/bin")

    def same(self, name, level, keys, root="STUDY", extended=(), qido=None):
        """What QIDO-RS answers to these keys, pynetdicom and findscu get as well."""
        expected = self.expected(level, keys, qido or {})
        syntax = next(self.syntaxes)
        question = identifier(level, keys)
        with self.tally.check(f"{level} {name}, {root} root, pynetdicom, {syntax.name}"):
            found, status = ask(self.server, root, question, syntax, extended)
            equal("status", status, SUCCESS)
            compare(found, expected, keys)
        if extended:
            return  # findscu cannot negotiate.
        syntax = next(self.syntaxes)
        if self.findscu is None:
            self.tally.miss(f"{level} {name}, {root} root, findscu", "findscu")
            return
        with self.tally.check(f"{level} {name}, {root} root, findscu, {syntax.name}"):
            compare(self.by_findscu(root, question, SYNTAXES[syntax]), expected, keys)

    def expected(self, level, keys, qido):
        asked = {key: value.replace("\\", ",") for key, value in keys.items() if value}
        return dicomweb.search(self.server, RESOURCES[level], **asked, **qido, includefield=",".join(keys))

    def by_findscu(self, root, question, option):
        with tempfile.TemporaryDirectory() as folder:
            asked = Path(folder) / "question.dcm"
            question.save_as(asked, implicit_vr=False, little_endian=True)
            command = [self.findscu, "-P" if root == "PATIENT" else "-S", option, "-X", "-od", folder]
            command += ["-aec", self.server.aet, self.server.host, str(self.server.dimse_port), asked]
            done = subprocess.run(command, capture_output=True, text=True, timeout=600)
            assert done.returncode == 0, f"{done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}"
            return [shown(dcmread(path, force=True)) for path in sorted(Path(folder).glob("rsp*.dcm"))]

    def studies(self):
        for name, keys in STUDIES.items():
            self.same(name, "STUDY", STUDY | keys)
        uids = [dicomweb.value(study, "0020000D") for study in dicomweb.search(self.server, "studies")]
        self.same("a list of UIDs", "STUDY", STUDY | {"StudyInstanceUID": "\\".join(uids[::7])})

    def hierarchy(self):
        """Down from the patient, each level by the unique keys above it."""
        for study in dicomweb.search(self.server, "studies")[::5]:
            uid, patient = dicomweb.value(study, "0020000D"), dicomweb.value(study, "00100020")
            above = {"StudyInstanceUID": uid} | ({"PatientID": patient} if patient else {})
            root = "PATIENT" if patient else "STUDY"
            self.same(f"of study {uid[-8:]}", "SERIES", SERIES | above, root)
            for series in dicomweb.search(self.server, f"studies/{uid}/series")[:1]:
                above["SeriesInstanceUID"] = dicomweb.value(series, "0020000E")
                self.same(f"of a series of {uid[-8:]}", "IMAGE", IMAGE | above, root)

    def relational(self):
        for name, keys in SERIES_QUESTIONS.items():
            self.same(name, "SERIES", SERIES | ABOVE_SERIES | keys, extended=[1])
        for name, keys in IMAGES.items():
            self.same(name, "IMAGE", IMAGE | ABOVE_IMAGE | keys, extended=[1])

    def patients(self):
        questions = {"everything": {}, "a pattern": {"PatientName": "C*"}, "an identifier": {"PatientID": "Q1"},
                     "a date of birth": {"PatientBirthDate": "19700101-19991231"}, "a sex": {"PatientSex": "F"}}
        for name, keys in questions.items():
            self.same(name, "PATIENT", PATIENT | keys, "PATIENT")
        for name in ("everything", "a name", "a range of dates"):
            keys = STUDY | {"PatientID": "Q1"} | STUDIES[name]
            self.same(f"{name} of a patient", "STUDY", keys, "PATIENT")

    def names(self):
        for case in CASES:
            keys = {"StudyInstanceUID": "", "PatientName": "=".join(case.groups), "StudyDescription": ""}
            self.same(f"{case.name} in UTF-8", "STUDY", keys)
            with self.tally.check(f"{case.name} asked and answered in its own character set"):
                self.in_own_set(case, keys)

    def in_own_set(self, case, keys):
        """The bytes of the case, as its file has them, and pydicom's reading of the answer."""
        question = identifier("STUDY", keys | {"PatientName": ""}, case.declared)
        found, status = ask(self.server, "STUDY", question, ExplicitVRLittleEndian, name=case.person_name())
        equal("status", status, SUCCESS)
        expected = self.expected("STUDY", keys, {})
        equal("found", sorted(each["0020000D"]["Value"][0] for each in found),
              sorted(dicomweb.value(each, "0020000D") for each in expected))
        assert found, "nothing was found"
        if case.pydicom_agrees:
            # Others of the same name may say what only UTF-8 has.
            own = next(one for one in found if one["00081030"]["Value"] == [case.text.split("\n")[0]])
            equal("character set", [term or "" for term in own["00080005"]["Value"]], case.declared.split("\\"))
            compare(found, expected, keys)

    def negotiated(self):
        for name in ("samples compressed", "Kompressed", "Muller", "queri"):
            keys = STUDY | {"PatientName": name}
            self.same(f"the fuzzy name {name}", "STUDY", keys, extended=[0, 0, 1], qido={"fuzzymatching": "true"})
        for dates, times in (("20260109-20260110", "2300-0300"), ("20260110-", "0200-"), ("20260110", "0100-0300")):
            keys = STUDY | {"StudyDate": dates, "StudyTime": times}
            self.same(f"the moments {dates} {times}", "STUDY", keys, extended=[0, 1])
        for zone in ("+0000", "-0500", "+0900"):
            keys = {"StudyInstanceUID": "", "PatientName": "", "StudyDate": "20260109", "TimezoneOffsetFromUTC": zone}
            self.matches_alone(f"a date in {zone}", keys, [0, 0, 0, 1])
        with self.tally.check("what is not negotiated is not done"):
            keys = {"StudyInstanceUID": "", "StudyDate": "20260109-20260110", "StudyTime": "2300-0300"}
            found, status = ask(self.server, "STUDY", identifier("STUDY", keys), ImplicitVRLittleEndian)
            equal("dates and times match one by one", (found, status), ([], SUCCESS))

    def matches_alone(self, name, keys, extended):
        """Moments are answered in the zone of the question, so that only the entities compare."""
        expected = {dicomweb.value(one, "0020000D") for one in self.expected("STUDY", keys, {})}
        with self.tally.check(name):
            found, status = ask(self.server, "STUDY", identifier("STUDY", keys), ExplicitVRLittleEndian, extended)
            equal("status", status, SUCCESS)
            equal("found", {one["0020000D"]["Value"][0] for one in found}, expected)
            equal("dates", {one["00080020"]["Value"][0] for one in found} - {"20260109"}, set())
            equal("zones", {one["00080201"]["Value"][0] for one in found} - {keys["TimezoneOffsetFromUTC"]}, set())

    def cancelled(self, context):
        files, study, series = talkative(TALKATIVE)
        for start in range(0, len(files), BATCH):
            dicomweb.store(self.server, files[start : start + BATCH])
        question = identifier("IMAGE", {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": "",
                                        "ImageComments": ""})
        with self.tally.check("a query is cancelled after three matches, pynetdicom"):
            matches, status = cancel_after(self.server, question, 3)
            equal("status", status, CANCELLED)
            assert 3 <= matches < TALKATIVE, f"{matches} matches came all the same"
        if self.findscu is None:
            self.tally.miss("a query is cancelled, findscu", "findscu")
            return
        with self.tally.check("a query is cancelled after three matches, findscu"):
            self.cancelled_by_findscu(context, question)

    def cancelled_by_findscu(self, context, question):
        asked = context.folder("query-cancel") / "question.dcm"
        question.save_as(asked, implicit_vr=False, little_endian=True)
        command = [self.findscu, "-S", "-v", "--cancel", "3", "-aec", self.server.aet, self.server.host]
        command += [str(self.server.dimse_port), asked]
        done = subprocess.run(command, capture_output=True, timeout=600)
        output = (done.stdout + done.stderr).decode(errors="replace")
        assert "Cancel" in output, output[-500:]
        answered = output.count("(Pending)")
        assert 3 <= answered < TALKATIVE, f"{answered} matches came all the same"


def compare(found, expected, keys):
    """As sets: QIDO-RS and C-FIND need not answer in one order."""
    tags = tags_of(keys)
    codes = {path.split(".")[-1]: value for path, value in keys.items() if "." in path and value}
    mine = sorted(repr(normal(item, tags)) for item in found)
    theirs = sorted(repr(normal(item, tags, codes)) for item in expected)
    equal("matches", len(mine), len(theirs))
    for one, other in zip(mine, theirs, strict=True):
        equal("match", one, other)


def tags_of(keys):
    question = identifier("STUDY", keys)
    how = ("SpecificCharacterSet", "QueryRetrieveLevel")
    return [f"{element.tag:08X}" for element in question if element.keyword not in how]


def normal(item, tags, codes=None):
    # Private blocks are answered as they are asked, and told by QIDO-RS as they are stored.
    return {tag: element_of(item.get(tag, {}), codes) for tag in tags if int(tag[:4], 16) % 2 == 0}


def element_of(element, codes):
    if element.get("vr") == "SQ":
        items = [item for item in element.get("Value", []) if has(item, codes or {})]
        return [{tag: element_of(inner, codes) for tag, inner in sorted(item.items()) if inner.get("Value")}
                for item in items]
    values = [value_of(value) for value in element.get("Value", [])]
    while values and values[-1] is None:
        values.pop()
    return values


def has(item, codes):
    """QIDO-RS tells all items of a sequence, C-FIND those that match (PS3.4 C.2.2.2.6)."""
    named = {identifier_tag(keyword): value for keyword, value in codes.items()}
    return all(value in map(str, item[tag].get("Value", [])) for tag, value in named.items() if tag in item)


def identifier_tag(keyword):
    return next(f"{element.tag:08X}" for element in identifier("STUDY", {keyword: ""}) if element.keyword == keyword)


def value_of(value):
    if isinstance(value, dict):
        return {group: text.rstrip("^ ") for group, text in sorted(value.items())}
    try:
        return float(value)
    except (TypeError, ValueError):
        return value or None
