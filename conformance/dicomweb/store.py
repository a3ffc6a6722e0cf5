"""Store: PS3.18 10.5 and annex I."""

from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

import dataset
import documents
import syntaxes
from dataset import path
from origin import (
    DICOM,
    FAILED_SOP,
    FAILURE_REASON,
    JSON,
    OTHER_FAILURES,
    REFERENCED_SOP,
    WARNING_REASON,
    XML,
    failure_reason,
    first,
    items,
    multipart,
    outcome,
    related,
    values,
)
from report import NotApplicable, contains, equal, row

GARBAGE = b"This is no DICOM object, whatever its type says. " * 20
GIGABYTE, BLOCK = 1 << 30, 1 << 20
GROWTH_KB_MAX = 64 * 1024


@row("S1")
def everything_stored_is_200_with_an_item_for_each(origin):
    made = dataset.in_one_series(dataset.ct(1), dataset.ct(2), dataset.ct(3))
    answer = origin.stow(*map(dataset.file_of, made)).expect(200)
    stored = [first(item, "00081155") for item in items(answer.json(), REFERENCED_SOP)]
    equal("stored", sorted(stored), sorted(image.SOPInstanceUID for image in made))
    equal("each is there", [origin.has(image) for image in made], [True] * 3)


@row("S2", "S13")
def the_answer_is_json_by_default(origin):
    for accept in ("*/*", "application/*", JSON):
        answer = origin.stow(dataset.file_of(dataset.ct()), accept=accept).expect(200).expect_type(JSON)
        contains("response", answer.json(), [REFERENCED_SOP])


@row("S2")
def the_answer_is_xml_when_asked_for(origin):
    made = dataset.ct()
    answer = origin.stow(dataset.file_of(made), accept=XML).expect(200).expect_type(XML)
    root = answer.xml()
    answer.check(root.tag.split("}")[-1] == "NativeDicomModel", f"the root element is {root.tag}")
    sequences = [e for e in root if e.get("tag") == REFERENCED_SOP]
    said = [value.text for e in sequences for value in e.iter() if value.tag.endswith("Value")]
    contains("(0008,1199)", said, [made.SOPInstanceUID])


@row("S3")
def sequences_without_items_are_absent(origin):
    made = dataset.ct()
    good = origin.stow(dataset.file_of(made)).expect(200)
    good.check(FAILED_SOP not in good.json(), "(0008,1198) although nothing failed")
    bad = origin.stow(dataset.file_of(dataset.ct()), target=documents.unknown_study()).expect(409)
    bad.check(REFERENCED_SOP not in bad.json(), "(0008,1199) although nothing was stored")
    contains("response", bad.json(), [FAILED_SOP])


@row("S4")
def a_referenced_item_has_class_instance_and_url(origin):
    made = dataset.ct()
    answer = origin.stow(dataset.file_of(made)).expect(200)
    [item] = items(answer.json(), REFERENCED_SOP)
    equal("class", (item["00081150"]["vr"], first(item, "00081150")), ("UI", made.SOPClassUID))
    equal("instance", (item["00081155"]["vr"], first(item, "00081155")), ("UI", made.SOPInstanceUID))
    equal("VR of the retrieve URL", item["00081190"]["vr"], "UR")
    [found] = origin.get(origin.absolute(first(item, "00081190")), related(DICOM)).expect(200).parts()
    equal("what is there", pydicom.dcmread(BytesIO(found.body)).SOPInstanceUID, made.SOPInstanceUID)


@row("S4b")
def the_studys_url_is_there(origin):
    made = dataset.ct()
    response = origin.stow(dataset.file_of(made)).expect(200).json()
    equal("VR", response["00081190"]["vr"], "UR")
    assert first(response, "00081190").endswith(path(made, "study")), first(response, "00081190")
    several = origin.stow(dataset.file_of(dataset.ct()), dataset.file_of(dataset.ct())).expect(200).json()
    equal("of several studies", several.get("00081190"), {"vr": "UR"})


@row("S5", "S6")
def one_good_and_one_unreadable_part_are_202(origin):
    for garbage_first in (True, False):
        made = dataset.ct()
        files = [GARBAGE, dataset.file_of(made)]
        answer = origin.stow(*files if garbage_first else reversed(files)).expect(202)
        equal("stored", list(outcome(answer)[0]), [made.SOPInstanceUID])
        equal("the pixels that are there", pydicom.dcmread(BytesIO(origin.retrieve(made))).PixelData, made.PixelData)


@row("S7")
def only_garbage_is_400_or_409(origin):
    origin.stow(GARBAGE).expect(400, 409)
    origin.stow(dataset.file_of(dataset.ct())[:900], GARBAGE).expect(400, 409)
    origin.stow(b"").expect(400, 409)


@row("S7")
def a_body_of_no_parts_is_400(origin):
    content_type = f'{related(DICOM)}; boundary="rows-and-checks"'
    for body in (GARBAGE, b""):
        origin.post(body, content_type).expect(400)
    origin.post(GARBAGE, related(DICOM)).expect(400)


@row("S8")
def an_instance_of_another_study_fails(origin):
    own, other = dataset.ct(), dataset.ct()
    alone = origin.stow(dataset.file_of(other), target=path(own, "study")).expect(409)
    equal("failed", list(outcome(alone)[1]), [other.SOPInstanceUID])
    both = origin.stow(dataset.file_of(own), dataset.file_of(other), target=path(own, "study")).expect(202)
    equal("stored and failed", [list(found) for found in outcome(both)], [[own.SOPInstanceUID], [other.SOPInstanceUID]])
    equal("what is there", (origin.has(own), origin.has(other)), (True, False))


@row("S9")
def the_failure_reason_is_a_number(origin):
    answer = origin.stow(dataset.file_of(dataset.ct()), target=documents.unknown_study()).expect(409)
    [item] = items(answer.json(), FAILED_SOP)
    equal("VR", item[FAILURE_REASON]["vr"], "US")
    [reason] = item[FAILURE_REASON]["Value"]
    assert type(reason) is int, f"{reason!r} is not a number"


@row("S9b")
def the_wrong_study_is_a9xx(origin):
    made = dataset.ct()
    answer = origin.stow(dataset.file_of(made), target=documents.unknown_study())
    equal("reason", f"{failure_reason(answer, made) >> 8:02X}xx", "A9xx")


@row("S9b")
def what_cannot_be_understood_is_cxxx(origin):
    made = dataset.ct()
    for file in (dataset.file_of(made)[:-1000], GARBAGE):
        reason = failure_reason(origin.stow(file), made)
        assert reason >> 12 == 0xC, f"reason {reason:04X}"


@row("S9b")
def an_unknown_transfer_syntax_is_c122(origin):
    made = dataset.ct()
    file = dataset.file_of(made).replace(ExplicitVRLittleEndian.encode(), b"1.2.840.10008.1.2.7", 1)
    answer = origin.stow(file)
    if answer.status == 200:
        raise NotApplicable("the server keeps any transfer syntax")
    equal("reason", f"{failure_reason(answer, made):04X}", "C122")


@row("S9b")
def a_class_that_is_not_supported_is_0122(origin):
    made = dataset.ct(SOPClassUID="1.2.840.10008.1.3.10")
    answer = origin.stow(dataset.file_of(made))
    if answer.status == 200:
        raise NotApplicable("the server keeps any SOP class")
    equal("reason", f"{failure_reason(answer, made):04X}", "0122")


@row("S9c")
def a_failure_of_no_instance_is_among_the_others(origin):
    answer = origin.stow(GARBAGE, dataset.file_of(dataset.ct())).expect(202)
    [item] = items(answer.json(), OTHER_FAILURES)
    [reason] = item[FAILURE_REASON]["Value"]
    equal("reason", (item[FAILURE_REASON]["vr"], type(reason)), ("US", int))


@row("S10")
def a_type_without_quotes_is_accepted(origin):
    made = dataset.ct()
    body = multipart([([("Content-Type", DICOM)], dataset.file_of(made))])
    for content_type in (
        f"multipart/related; type={DICOM}; boundary=rows-and-checks",
        f"multipart/related;boundary=rows-and-checks;type={DICOM}",
    ):
        origin.post(body, content_type).expect(200)


@row("S11")
def another_content_type_is_415(origin):
    file = dataset.file_of(dataset.ct())
    body = multipart([([("Content-Type", DICOM)], file)])
    for content_type in (
        "text/plain",
        "multipart/form-data; boundary=rows-and-checks",
        "application/pdf",
        'multipart/related; type="text/plain"; boundary=rows-and-checks',
    ):
        origin.post(body, content_type).expect(415)


@row("S11")
def a_part_of_another_type_fails_alone(origin):
    made, other = dataset.ct(), dataset.ct()
    parts = [
        ([("Content-Type", "text/plain")], dataset.file_of(other)),
        ([("Content-Type", DICOM)], dataset.file_of(made)),
    ]
    answer = origin.post(multipart(parts), f'{related(DICOM)}; boundary="rows-and-checks"').expect(202)
    equal("stored", list(outcome(answer)[0]), [made.SOPInstanceUID])
    equal("what is there", (origin.has(made), origin.has(other)), (True, False))


@row("S12")
def an_accept_that_cannot_be_met_stores_nothing(origin):
    made = dataset.ct()
    origin.stow(dataset.file_of(made), accept="image/jpeg").expect(406)
    equal("it is there", origin.has(made), False)


@row("S14")
def one_object_without_parts_is_stored(origin):
    made, other = dataset.ct(), dataset.ct()
    answer = origin.post(dataset.file_of(made), DICOM).expect(200)
    equal("stored", list(outcome(answer)[0]), [made.SOPInstanceUID])
    equal("pixels", pydicom.dcmread(BytesIO(origin.retrieve(made))).PixelData, made.PixelData)
    origin.post(dataset.file_of(other), DICOM, target=path(other, "study")).expect(200)


@row("S18")
def the_place_of_what_was_made_is_told(origin):
    for target in ("/studies", None):
        made = dataset.ct()
        answer = origin.stow(dataset.file_of(made), target=target or path(made, "study")).expect(200)
        place = answer.header("Content-Location") or answer.header("Location") or ""
        answer.check(path(made, "study") in place, f"neither Content-Location nor Location names the study: {place!r}")
        origin.get(origin.absolute(place)).expect(200)


@row("S19")
def too_large_is_413_with_what_was_stored_before(origin):
    most = origin.declared("instance_bytes_max")
    rows = most // (2 * dataset.COLUMNS) + 1
    large = dataset.ct(Rows=rows, PixelData=bytes(2 * dataset.COLUMNS * rows))
    made = dataset.of_the_study_of(large, dataset.ct())
    answer = origin.stow(dataset.file_of(made), dataset.file_of(large)).expect(413)
    stored, failed = outcome(answer)
    equal("stored", list(stored), [made.SOPInstanceUID])
    equal("what is there", (origin.has(made), origin.has(large)), (True, False))
    reason = failure_reason(answer, large)
    equal("reason", f"{reason >> 8:02X}xx", "A7xx")


@row("S20")
def a_chunked_body_works(origin):
    made = dataset.ct()
    body = multipart([([("Content-Type", DICOM)], dataset.file_of(made))])
    pieces = [body[at : at + 1000] for at in range(0, len(body), 1000)]
    origin.post(iter(pieces), f'{related(DICOM)}; boundary="rows-and-checks"').expect(200)
    equal("pixels", pydicom.dcmread(BytesIO(origin.retrieve(made))).PixelData, made.PixelData)


@row("S20")
def a_gigabyte_does_not_grow_the_server(origin):
    process = Path(f"/proc/{origin.declared('pid')}")
    made = dataset.changed(dataset.multi_frame(1), Rows=1024, Columns=1024, NumberOfFrames=GIGABYTE >> 20)
    (process / "clear_refs").write_text("5")
    before = status_kb(process, "VmRSS")
    origin.post(one_large_part(made), f'{related(DICOM)}; boundary="rows-and-checks"').expect(200)
    grew = status_kb(process, "VmHWM") - before
    assert grew < GROWTH_KB_MAX, f"the server grew by {grew / 1024:.0f} MB"
    last = origin.get(f"{path(made)}/frames/{GIGABYTE >> 20}", "application/octet-stream").expect(200)
    equal("the last frame", last.body == bytes(BLOCK), True)
    origin.send("DELETE", path(made, "study"), [("Accept", "*/*")])


def one_large_part(made):
    """The object with 1 GB of pixels, never whole in memory here either."""
    made.PixelData = bytes(2)
    part = f"--rows-and-checks\r\nContent-Type: {DICOM}\r\n\r\n".encode() + dataset.file_of(made)
    yield part[:-6] + GIGABYTE.to_bytes(4, "little")
    for _ in range(GIGABYTE // BLOCK):
        yield bytes(BLOCK)
    yield b"\r\n--rows-and-checks--\r\n"


def status_kb(process, field):
    lines = (process / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def count_of(origin, made):
    return len(origin.search("/instances", SOPInstanceUID=made.SOPInstanceUID))


@row("S21")
def the_same_object_twice_is_one_row(origin):
    made = dataset.ct()
    file = dataset.file_of(made)
    origin.stow(file).expect(200)
    origin.stow(file).expect(200, 409)
    origin.stow(file, file).expect(200, 202, 409)
    equal("instances", count_of(origin, made), 1)


# Another object of the same UID, by policy: the status, and which of the two is kept.
POLICIES = {"reject": [(409, "first")], "keep": [(202, "first")], "replace": [(200, "other"), (202, "other")]}


@row("S21", "S9d")
def another_object_of_the_same_uid_is_handled_by_policy(origin):
    made = origin.store(dataset.ct())
    other = dataset.changed(made, PixelData=bytes(len(made.PixelData)))
    answer = origin.stow(dataset.file_of(other)).expect(200, 202, 409)
    equal("instances", count_of(origin, made), 1)
    found = pydicom.dcmread(BytesIO(origin.retrieve(made))).PixelData
    kept = "other" if found == other.PixelData else "first" if found == dataset.ramp() else "neither"
    allowed = POLICIES.get(origin.choices.duplicates) or [*sum(POLICIES.values(), []), (200, "first")]
    answer.check((answer.status, kept) in allowed, f"status {answer.status} and the {kept} is kept")
    if answer.status == 202:
        [warning] = values(items(answer.json(), REFERENCED_SOP)[0], WARNING_REASON)
        assert warning in (0xB000, 0xB006, 0xB007), f"warning {warning!r}"


@row("S22")
def any_preamble_is_read_and_neutralised_or_kept(origin):
    for preamble in (b"II*\0" + bytes(124), b"MZ" + bytes(126)):
        made = dataset.ct()
        file = dataset.file_of(made, preamble=preamble)
        origin.stow(file).expect(200)
        found = origin.retrieve(made)
        assert found[:128] in (preamble, bytes(128)) and found[128:132] == b"DICM", f"it begins with {found[:16]!r}"
        equal("pixels", pydicom.dcmread(BytesIO(found)).PixelData, made.PixelData)


@row("S22")
def an_object_without_its_head_is_stored_or_refused(origin):
    for cut in (lambda made: dataset.file_of(made)[132:], dataset.data_set_of):
        made = dataset.ct()
        answer = origin.stow(cut(made)).expect(200, 202, 400, 409)
        if answer.status in (400, 409):
            assert failure_reason(answer, made) >> 12 == 0xC and not origin.has(made), "refused, and yet there"
            continue
        found = pydicom.dcmread(BytesIO(origin.retrieve(made)))
        equal("class in the file meta information", found.file_meta.MediaStorageSOPClassUID, made.SOPClassUID)
        assert found.file_meta.ImplementationClassUID, "there is no implementation"


@row("S22")
def what_is_re_encoded_names_the_server(origin):
    for syntax in (ImplicitVRLittleEndian, RLELossless):
        made = origin.kept(syntaxes.in_syntax, syntax)
        meta = pydicom.dcmread(BytesIO(origin.retrieve(made, ExplicitVRLittleEndian))).file_meta
        equal("syntax", meta.TransferSyntaxUID, ExplicitVRLittleEndian)
        assert meta.ImplementationClassUID != dataset.IMPLEMENTATION, "the sender is said to have written it"
        equal("instance", meta.MediaStorageSOPInstanceUID, made.SOPInstanceUID)
