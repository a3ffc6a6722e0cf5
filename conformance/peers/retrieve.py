"""C-MOVE and C-GET, in both directions, with DCMTK, pynetdicom and Orthanc.

What is sent as stored arrives with the bytes of its data set; what is transcoded, with its pixels.
"""

import json
import shutil
import subprocess
import time
import warnings
import zipfile
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
)
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    PatientRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelMove,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from . import dimse
from .orthanc import Orthanc
from .part10 import corpus, data_set, image, uid_of
from .receivers import Receiver, Storescp
from .server import WITHOUT_ANALYSIS, Server
from .tally import equal

SUCCESS, CANCEL, SOME_FAILED, NONE_DONE, UNKNOWN_DESTINATION, NO_KEY, PENDING = (
    0x0000, 0xFE00, 0xB000, 0xA702, 0xA801, 0xA900, 0xFF00)
STUDY = "1.2.826.0.1.3680043.8.498.77"
# One of each kind: native in three byte orders, compressed with and without loss, many frames, no pixels.
SAMPLES = (
    "CT_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_RLE.dcm", "693_J2KR.dcm",
    "JPGLosslessP14SV1_1s_1f_8b.dcm", "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_rle_2frame.dcm", "JPEG-LL.dcm",
    "image_dfl.dcm", "reportsi.dcm", "rtplan.dcm", "MR_small_jpeg_ls_lossless.dcm", "emri_small_RLE.dcm",
    "liver_1frame.dcm",
)
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def run(context, tally):
    archive = Archive(context)
    with archive:
        for function in CHECKS:
            name = function.__name__.replace("_", " ")
            if "orthanc" in name and not shutil.which("Orthanc"):
                tally.miss(f"retrieve: {name}", "Orthanc")
                continue
            tool = name.split()[0]
            if tool in ("movescu", "getscu") and not shutil.which(tool):
                tally.miss(f"retrieve: {name}", tool)
                continue
            with tally.check(f"retrieve: {name}"):
                function(archive)


class Archive:
    """A server that holds the samples, and knows as many destinations as the checks need."""

    def __init__(self, context):
        self.context = context
        self.files = [in_one_study(path) for path in samples()]
        self.studies = {STUDY: {uid_of(file): file for file in self.files}}
        self.many = {uid_of(file): file for file in (image(f"{STUDY}.1", number, 64) for number in range(40))}
        self.studies[f"{STUDY}.1"] = self.many
        self.destinations = [
            Storescp("BITS", "+xa", "--bit-preserving"), Storescp("IMPLICIT", "+xi"), Storescp("EXPLICIT", "+xe"),
            Storescp("BIG", "+xb"), Storescp("RLE", "+xr"), Storescp("LOSSLESS", "+xs"), Storescp("DEFAULT"),
            Receiver("EVERYTHING"), Receiver("SLOW", delay_s=0.2), Receiver("REFUSING", status=0xA700),
            Receiver("WARNING", status=0xB007), Receiver("BIGONLY", [ExplicitVRBigEndian]),
            Receiver("WANTSRLE"),
        ]
        self.server = Server(context.binary, context.folder("retrieve") / "data", WITHOUT_ANALYSIS)
        self.orthanc = Orthanc(context.folder("retrieve-orthanc"))
        self.stack = ExitStack()

    def __enter__(self):
        for destination in self.destinations:
            self.stack.enter_context(destination)
        if shutil.which("Orthanc"):
            self.stack.enter_context(self.orthanc.running(self.server))
        nodes = [node(d.aet, d.port) for d in self.destinations] + ['{ ae_title = "DEAF", may = [] }']
        nodes += [node("GONE", 1), node(self.orthanc.aet, self.orthanc.dimse_port)]
        self.server.keys = WITHOUT_ANALYSIS | {
            "dimse.nodes": f"[{', '.join(nodes)}]",
            "dimse.unknown_callers_may": '["store", "query", "retrieve"]',
        }
        self.stack.enter_context(self.server)
        for files in self.studies.values():
            store(self.server, list(files.values()))
        return self

    def __exit__(self, *_):
        self.stack.close()

    def destination(self, aet):
        return next(destination for destination in self.destinations if destination.aet == aet)


def node(aet, port):
    syntaxes = f'["{RLELossless}"]' if aet == "WANTSRLE" else "[]"
    may = '["store", "query", "retrieve"]'
    return (f'{{ ae_title = "{aet}", host = "127.0.0.1", port = {port}, may = {may},'
            f" transfer_syntaxes = {syntaxes} }}")


def samples():
    found = {path.name: path for folder in corpus() for path in folder.rglob("*.dcm")}
    return [found[name] for name in SAMPLES if name in found]


def in_one_study(path):
    """The file with UIDs of its own; its pixel data are not touched."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = dcmread(path)
        number = SAMPLES.index(path.name) + 1
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, f"{STUDY}.{number}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{STUDY}.{number}.1"
        dataset.PatientID = "RETRIEVED"
        out = BytesIO()
        dataset.save_as(out)
    return out.getvalue()


def syntax_of(file):
    return dcmread(BytesIO(file), stop_before_pixels=True).file_meta.TransferSyntaxUID


def store(server, files):
    contexts = set()
    for file in files:
        meta = dcmread(BytesIO(file), stop_before_pixels=True).file_meta
        contexts.add((meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID))
    equal("what was stored", set(dimse.send_bytes(server, files, sorted(contexts))), {SUCCESS})


def same_pixels(what, sent, got):
    """Of data sets in memory; what cannot be decoded here, or has none, is compared by its other attributes."""
    sent, got = dcmread(BytesIO(sent)), dcmread(BytesIO(got))
    if "PixelData" not in sent:
        equal(what, comparable(got), comparable(sent))
        return
    assert "PixelData" in got, f"{what}: no pixels arrived"
    # Photometric conversions of compressed colour are the decoder's, on either side.
    if sent.SamplesPerPixel == 1:
        assert numpy.array_equal(sent.pixel_array, got.pixel_array), f"{what}: the pixels differ"


def comparable(dataset):
    return {str(element.tag): str(element.value) for element in dataset.iterall() if element.tag.element != 0}


def movescu(server, destination, *keys, model="-S"):
    command = ["movescu", model, "-aec", server.aet, "-aem", destination, "-v"]
    for key in keys:
        command += ["-k", key]
    done = subprocess.run([*command, server.host, str(server.dimse_port)], capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def study_keys(study):
    return "0008,0052=STUDY", f"0020,000D={study}"


@check
def movescu_to_a_bit_preserving_storescp_brings_every_data_set_as_it_is(archive):
    status, output = movescu(archive.server, "BITS", *study_keys(STUDY))
    equal("movescu", (status, output[-300:] if status else ""), (0, ""))
    arrived = archive.destination("BITS").files()
    equal("what arrived", sorted(arrived), sorted(archive.studies[STUDY]))
    for uid, file in archive.studies[STUDY].items():
        assert syntax_of(arrived[uid]) == syntax_of(file), f"{uid} came as {syntax_of(arrived[uid]).name}"
        assert data_set(arrived[uid]) == data_set(file), f"{uid} ({syntax_of(file).name}) was changed"


@check
def movescu_to_storescp_of_every_preference_brings_the_pixels(archive):
    for aet in ("IMPLICIT", "EXPLICIT", "BIG", "RLE", "LOSSLESS", "DEFAULT"):
        movescu(archive.server, aet, *study_keys(STUDY))
        arrived = archive.destination(aet).files()
        missing = [syntax_of(file).name for uid, file in archive.studies[STUDY].items() if uid not in arrived]
        assert not missing, f"{aet} did not get objects in {missing}"
        for uid, file in archive.studies[STUDY].items():
            same_pixels(f"{aet} {uid} ({syntax_of(file).name} as {syntax_of(arrived[uid]).name})", file, arrived[uid])
    implicit = archive.destination("IMPLICIT").files().values()
    equal("transfer syntaxes at IMPLICIT", {syntax_of(file) for file in implicit}, {ImplicitVRLittleEndian})


@check
def movescu_of_a_series_and_of_instances_brings_no_more(archive):
    receiver = archive.destination("EVERYTHING")
    receiver.instances.clear()
    series = f"{STUDY}.1"
    movescu(archive.server, "EVERYTHING", "0008,0052=SERIES", f"0020,000D={STUDY}", f"0020,000E={series}")
    equal("the series", list(receiver.instances), [f"{series}.1"])
    receiver.instances.clear()
    wanted = sorted(archive.many)[:3]
    series = dcmread(BytesIO(archive.many[wanted[0]])).SeriesInstanceUID
    movescu(archive.server, "EVERYTHING", "0008,0052=IMAGE", f"0020,000D={STUDY}.1", f"0020,000E={series}",
            "0008,0018=" + "\\".join(wanted))
    equal("the instances", sorted(receiver.instances), wanted)


@check
def movescu_of_a_patient_brings_all_studies(archive):
    receiver = archive.destination("EVERYTHING")
    receiver.instances.clear()
    movescu(archive.server, "EVERYTHING", "0008,0052=PATIENT", "0010,0020=RETRIEVED", model="-P")
    equal("the patient", sorted(receiver.instances), sorted(archive.studies[STUDY]))


def getscu(archive, *options):
    with TemporaryDirectory() as folder:
        command = ["getscu", "-S", "-aec", archive.server.aet, "-od", folder, *options]
        for key in study_keys(STUDY):
            command += ["-k", key]
        command += [archive.server.host, str(archive.server.dimse_port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-300:] + done.stderr[-300:]
        return {uid_of(path.read_bytes()): path.read_bytes() for path in Path(folder).iterdir()}


@check
def getscu_brings_the_pixels_in_what_it_asks_for(archive):
    for options in ([], ["+xi"], ["+xe"], ["+xb"], ["+xs"], ["+xr"]):
        arrived = getscu(archive, *options)
        # getscu proposes some 120 storage classes, and those of private objects are not among them.
        assert len(arrived) >= len(archive.files) - 1, f"{options}: {len(arrived)} of {len(archive.files)} arrived"
        for uid, file in arrived.items():
            sent = archive.studies[STUDY][uid]
            same_pixels(f"{options} {uid} ({syntax_of(sent).name} as {syntax_of(file).name})", sent, file)


def identifier(level, **keys):
    dataset = Dataset()
    dataset.QueryRetrieveLevel = level
    for key, value in keys.items():
        setattr(dataset, key, value)
    return dataset


def a_study(study):
    return identifier("STUDY", StudyInstanceUID=study)


def associated(archive, contexts, roles=(), handlers=()):
    ae = AE(ae_title="ASKER")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 300
    for sop_class, syntaxes in contexts:
        ae.add_requested_context(sop_class, syntaxes)
    server = archive.server
    made = ae.associate(server.host, server.dimse_port, ae_title=server.aet, ext_neg=list(roles),
                        evt_handlers=list(handlers))
    assert made.is_established, "the association was not accepted"
    return made


MOVE = StudyRootQueryRetrieveInformationModelMove


def move(archive, destination, keys, model=MOVE):
    made = associated(archive, [(model, [ExplicitVRLittleEndian])])
    try:
        return [(status, failed) for status, failed in made.send_c_move(keys, destination, model, msg_id=77)]
    finally:
        made.release()


def counts(status):
    return (status.NumberOfCompletedSuboperations, status.NumberOfFailedSuboperations,
            status.NumberOfWarningSuboperations)


@check
def pynetdicom_moves_to_several_destinations_and_is_named_as_originator(archive):
    for aet in ("EVERYTHING", "BITS"):
        last, _ = move(archive, aet, a_study(f"{STUDY}.1"))[-1]
        equal(f"{aet}", (last.Status, counts(last)), (SUCCESS, (40, 0, 0)))
    equal("the originator", set(archive.destination("EVERYTHING").originators[-40:]), {("ASKER", 77)})


@check
def pynetdicom_hears_how_a_slow_move_goes(archive):
    answers = move(archive, "SLOW", a_study(f"{STUDY}.1"))
    pending = [status for status, _ in answers[:-1]]
    assert len(pending) > 5, f"{len(pending)} pending responses"
    assert all(status.Status == PENDING for status in pending)
    remaining = [status.NumberOfRemainingSuboperations for status in pending]
    assert remaining == sorted(remaining, reverse=True) and remaining[0] < 40, remaining
    assert "NumberOfRemainingSuboperations" not in answers[-1][0]


@check
def pynetdicom_cancels_a_move(archive):
    receiver = archive.destination("SLOW")
    receiver.instances.clear()
    made = associated(archive, [(MOVE, [ImplicitVRLittleEndian])])
    answers = []
    for number, (status, _) in enumerate(made.send_c_move(a_study(f"{STUDY}.1"), "SLOW", MOVE, msg_id=5)):
        answers.append(status)
        if number == 1:
            made.send_c_cancel(5, made.accepted_contexts[0].context_id)
    made.release()
    last = answers[-1]
    equal("status", last.Status, CANCEL)
    equal("remaining", last.NumberOfRemainingSuboperations, 40 - len(receiver.instances))
    assert 0 < len(receiver.instances) < 40


@check
def pynetdicom_aborts_and_the_move_stops(archive):
    receiver = archive.destination("SLOW")
    receiver.instances.clear()
    made = associated(archive, [(MOVE, [ImplicitVRLittleEndian])])
    for number, _ in enumerate(made.send_c_move(a_study(f"{STUDY}.1"), "SLOW", MOVE)):
        if number == 1:
            made.abort()
            break
    time.sleep(1)
    before = len(receiver.instances)
    time.sleep(2)
    assert before == len(receiver.instances) < 40, f"{before}, then {len(receiver.instances)}"


@check
def failures_and_warnings_are_counted_and_listed(archive):
    last, failed = move(archive, "REFUSING", a_study(f"{STUDY}.1"))[-1]
    equal("refused by the destination", (last.Status, counts(last)), (NONE_DONE, (0, 40, 0)))
    equal("the failed ones", sorted(failed.FailedSOPInstanceUIDList), sorted(archive.many))
    last, _ = move(archive, "WARNING", a_study(f"{STUDY}.1"))[-1]
    equal("kept with a warning", (last.Status, counts(last)), (SOME_FAILED, (0, 0, 40)))
    last, failed = move(archive, "BIGONLY", a_study(STUDY))[-1]
    equal("only big endian is taken", (last.Status, counts(last)[0]), (SOME_FAILED, 1))
    last, _ = move(archive, "GONE", a_study(f"{STUDY}.1"))[-1]
    equal("nobody listens", (last.Status, counts(last)), (NONE_DONE, (0, 40, 0)))


@check
def what_a_node_is_to_get_comes_first(archive):
    move(archive, "WANTSRLE", a_study(f"{STUDY}.1"))
    syntaxes = {syntax for syntax, _ in archive.destination("WANTSRLE").instances.values()}
    equal("transfer syntaxes", syntaxes, {str(RLELossless)})


@check
def refusals_are_those_of_the_standard(archive):
    for destination, keys, status in [
        ("SOMEBODY", a_study(STUDY), UNKNOWN_DESTINATION),
        ("DEAF", a_study(STUDY), UNKNOWN_DESTINATION),
        ("EVERYTHING", identifier("STUDY"), NO_KEY),
        ("EVERYTHING", identifier("SERIES", SeriesInstanceUID=f"{STUDY}.1"), NO_KEY),
        ("EVERYTHING", identifier("FRAME", StudyInstanceUID=STUDY), NO_KEY),
        ("EVERYTHING", identifier("PATIENT", PatientID="RETRIEVED"), NO_KEY),
        ("EVERYTHING", a_study("1.2.3.4.5.6"), SUCCESS),
    ]:
        equal(f"{destination} {keys}", move(archive, destination, keys)[-1][0].Status, status)
    model = PatientRootQueryRetrieveInformationModelMove
    equal("no patient", move(archive, "EVERYTHING", a_study(STUDY), model)[-1][0].Status, NO_KEY)
    of_another = identifier("STUDY", PatientID="SOMEBODY", StudyInstanceUID=STUDY)
    last, _ = move(archive, "EVERYTHING", of_another, model)[-1]
    equal("a study of another patient", (last.Status, counts(last)), (SUCCESS, (0, 0, 0)))


def get(archive, keys, contexts, model=StudyRootQueryRetrieveInformationModelGet, cancel_after=None):
    """The answers, and what came: transfer syntax and data set by SOP Instance UID."""
    arrived = {}

    def on_store(event):
        arrived[event.request.AffectedSOPInstanceUID] = (
            str(event.context.transfer_syntax), event.request.DataSet.getvalue())
        if len(arrived) == cancel_after:
            event.assoc.send_c_cancel(9, event.assoc.accepted_contexts[0].context_id)
        return SUCCESS

    roles = [build_role(sop_class, scp_role=True) for sop_class in {sop_class for sop_class, _ in contexts}]
    made = associated(archive, [(model, [ImplicitVRLittleEndian]), *contexts], roles, [(evt.EVT_C_STORE, on_store)])
    try:
        return [(status, failed) for status, failed in made.send_c_get(keys, model, msg_id=9)], arrived
    finally:
        made.release()


@check
def pynetdicom_gets_a_study_bit_exact_over_its_own_association(archive):
    files = archive.studies[STUDY]
    kinds = {(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID) for meta in
             (dcmread(BytesIO(file), stop_before_pixels=True).file_meta for file in files.values())}
    answers, arrived = get(archive, a_study(STUDY), [(sop_class, [syntax]) for sop_class, syntax in sorted(kinds)])
    last, _ = answers[-1]
    equal("status", (last.Status, counts(last)), (SUCCESS, (len(files), 0, 0)))
    for uid, file in files.items():
        equal(f"{uid}", arrived[uid] == (str(syntax_of(file)), data_set(file)), True)


@check
def pynetdicom_gets_what_it_can_take_and_hears_of_the_rest(archive):
    model = PatientRootQueryRetrieveInformationModelGet
    contexts = [(CTImageStorage, [JPEG2000Lossless]), (CTImageStorage, [JPEGLosslessSV1])]
    keys = identifier("PATIENT", PatientID="RETRIEVED")
    answers, arrived = get(archive, keys, contexts, model)
    last, failed = answers[-1]
    equal("status", last.Status, SOME_FAILED)
    equal("failed", len(failed.FailedSOPInstanceUIDList), counts(last)[1])
    equal("all", sum(counts(last)), len(archive.files))
    assert {syntax for syntax, _ in arrived.values()} <= {str(JPEG2000Lossless), str(JPEGLosslessSV1)}
    assert f"{STUDY}.1.1" in arrived, "CT_small was not transcoded"


@check
def pynetdicom_cancels_a_get(archive):
    contexts = [(CTImageStorage, [ExplicitVRLittleEndian])]
    answers, arrived = get(archive, a_study(f"{STUDY}.1"), contexts, cancel_after=3)
    last, _ = answers[-1]
    equal("status", last.Status, CANCEL)
    equal("completed and remaining", (counts(last)[0], last.NumberOfRemainingSuboperations),
          (len(arrived), 40 - len(arrived)))


@check
def orthanc_gets_a_study_from_us_by_c_move(archive):
    archive.orthanc.post("/modalities/us/move", {
        "Level": "Study", "Resources": [{"StudyInstanceUID": f"{STUDY}.1"}], "TargetAet": archive.orthanc.aet})
    arrived = archive.orthanc.instances(f"{STUDY}.1")
    equal("what arrived", sorted(arrived), sorted(archive.many))
    for uid, number in arrived.items():
        assert data_set(archive.orthanc.file(number)) == data_set(archive.many[uid]), f"{uid} was changed"


@check
def orthanc_finds_and_retrieves_every_kind_of_object(archive):
    query = archive.orthanc.post("/modalities/us/query", {"Level": "Study", "Query": {"StudyInstanceUID": STUDY}})
    archive.orthanc.post(f"/queries/{query['ID']}/retrieve", {"TargetAet": archive.orthanc.aet, "Synchronous": True})
    equal("what arrived", sorted(archive.orthanc.instances(STUDY)), sorted(archive.studies[STUDY]))


@check
def radiant_move_brings_a_study_from_orthanc_into_us(archive):
    study = f"{STUDY}.2"
    files = [image(study, number, 64, seed=9) for number in range(5)]
    archive.orthanc.upload(files)
    command = [str(archive.context.binary), "move", archive.orthanc.host, str(archive.orthanc.dimse_port)]
    command += ["--called", archive.orthanc.aet, "--to", archive.server.aet, "--study", study]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    equal("radiant move", (done.returncode, done.stderr[-300:] if done.returncode else ""), (0, ""))
    receiver = archive.destination("EVERYTHING")
    receiver.instances.clear()
    move(archive, "EVERYTHING", a_study(study))
    equal("what came and goes on", {uid: data for uid, (_, data) in receiver.instances.items()},
          {uid_of(file): data_set(file) for file in files})


def radiant(archive, *arguments):
    command = [str(archive.context.binary), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


@check
def radiant_echo_says_who_answers_and_why_not(archive):
    host, port = archive.server.host, archive.server.dimse_port
    status, output, _ = radiant(archive, "echo", host, port, "--called", archive.server.aet)
    assert status == 0 and "answers" in output, output
    status, _, error = radiant(archive, "echo", host, port, "--called", "SOMEBODY")
    assert status == 1 and "called AE title not recognized" in error and error.count("\n") == 1, error
    status, _, error = radiant(archive, "echo", host, 1)
    assert status == 1 and f"{host}:1" in error and "refused" in error.lower() and error.count("\n") == 1, error


@check
def radiant_send_sends_files_folders_zips_and_media(archive):
    receiver = archive.destination("EVERYTHING")
    receiver.instances.clear()
    with TemporaryDirectory() as folder:
        folder = Path(folder)
        files = [image(f"{STUDY}.3", number, 64, seed=5) for number in range(6)]
        (folder / "sub").mkdir()
        (folder / "sub" / "note.txt").write_text("no object")
        for number, file in enumerate(files[:4]):
            (folder / "sub" / f"{number}.dcm").write_bytes(file)
        with zipfile.ZipFile(folder / "some.zip", "w") as archived:
            for number, file in enumerate(files[4:]):
                archived.writestr(f"{number}.dcm", file)
        to = f"{receiver.host}:{receiver.port}/{receiver.aet}"
        status, output, error = radiant(archive, "send", "--to", to, "--json", folder / "sub", folder / "some.zip")
        equal("radiant send", (status, error), (0, ""))
        lines = [json.loads(line) for line in output.splitlines()]
        equal("lines", sorted(line.get("status", "skipped") for line in lines), ["0000"] * 6 + ["skipped"])
    equal("what arrived", {uid: data for uid, (_, data) in receiver.instances.items()},
          {uid_of(file): data_set(file) for file in files})
    medium = next(folder / "dicomdirtests" / "DICOMDIR" for folder in corpus() if (folder / "dicomdirtests").exists())
    receiver.instances.clear()
    radiant(archive, "send", "--to", to, medium)
    assert len(receiver.instances) > 5, f"{len(receiver.instances)} of a DICOMDIR"


@check
def radiant_send_says_what_was_refused_and_fails(archive):
    receiver = archive.destination("REFUSING")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.dcm"
        path.write_bytes(image(f"{STUDY}.4", 1, 16))
        status, output, error = radiant(archive, "send", "--to", f"{receiver.host}:{receiver.port}/{receiver.aet}", path)
    assert status == 1 and f"{path}: refused with A700" in error and "1 failed" in output, (output, error)
