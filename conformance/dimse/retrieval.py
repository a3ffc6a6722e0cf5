"""Rows V and G: C-MOVE and C-GET."""

from contextlib import contextmanager

import message
import wire
from message import (
    C_CANCEL,
    C_GET,
    C_MOVE,
    C_STORE,
    COMPLETED,
    DESTINATION,
    FAILED_COUNT,
    FIELD,
    MESSAGE_ID,
    PRIORITY,
    RESPONSE,
    SOP_CLASS,
    SOP_INSTANCE,
    decode_data_set,
    encode_data_set,
)
from objects import ct, identifier, uid
from target import STUDY_GET, STUDY_MOVE, contains, equal, one_of, refused, row

INSTANCES = 3
UNKNOWN_DESTINATION, OUT_OF_RESOURCES = 0xA801, 0xA700


def study(target):
    """Instances of one study and series, stored once."""
    if "study" not in target.known:
        place = uid(), uid()
        made = [ct(*place) for _ in range(INSTANCES)]
        with target.associate(wire.CT_IMAGE_STORAGE) as association:
            equal("statuses", {association.store(one).status for one in made}, {0})
            association.release()
        target.known["study"] = made
    return target.known["study"]


def move(target, destination, keys):
    """The last answer and the pending ones before it."""
    with target.associate(STUDY_MOVE) as association:
        fields = {FIELD: C_MOVE, PRIORITY: 0, SOP_CLASS: STUDY_MOVE, DESTINATION: destination}
        answers = [association.ask(1, fields, encode_data_set(keys))]
        while answers[-1].pending:
            answers.append(association.message(60))
        association.release()
    return answers[-1], answers[:-1]


@contextmanager
def destination(target, status):
    """Listens where the server moves to; what comes is answered with `status` and remembered."""
    from pynetdicom import AE, AllStoragePresentationContexts, evt

    taken = []

    def on_store(event):
        taken.append((event.request, event.dataset))
        return status

    ae = AE(target.declared("move_title"))
    ae.supported_contexts = AllStoragePresentationContexts[:120]
    place = ("127.0.0.1", target.declared("move_port"))
    listener = ae.start_server(place, block=False, evt_handlers=[(evt.EVT_C_STORE, on_store)])
    try:
        yield taken
    finally:
        listener.shutdown()


@row("V1")
def an_unknown_destination(target):
    target.serves(STUDY_MOVE, "C-MOVE")
    keys = identifier("STUDY", StudyInstanceUID=study(target)[0].StudyInstanceUID)
    for title in ("NOBODY", "", "A TITLE THAT HAS MORE THAN 16"):
        equal(f"status of {title!r}", move(target, title, keys)[0].status, UNKNOWN_DESTINATION)


@row("V2")
def moves_that_name_nothing(target):
    target.serves(STUDY_MOVE, "C-MOVE")
    title, made = target.choices.move_title or "NOBODY", study(target)[0]
    for keys in (identifier(None, StudyInstanceUID=made.StudyInstanceUID), identifier("NONSENSE"),
                 identifier("STUDY"), identifier("PATIENT", PatientID=made.PatientID)):
        refused("a move of nothing that has a name", move(target, title, keys)[0].status)
    with target.associate(STUDY_MOVE) as association:
        fields = {FIELD: C_MOVE, PRIORITY: 0, SOP_CLASS: STUDY_MOVE, DESTINATION: title}
        refused("a move without an identifier", association.ask(1, fields).status)
        refused("noise", association.ask(1, fields, b"\xff" * 99).status)
        association.release()


@row("V3")
def a_move_of_nothing(target):
    target.serves(STUDY_MOVE, "C-MOVE")
    with destination(target, 0) as taken:
        last, _ = move(target, target.declared("move_title"), identifier("STUDY", StudyInstanceUID=uid()))
    equal("objects", len(taken), 0)
    equal("completed", last.command.get(COMPLETED, 0), 0)


@row("V4")
def a_move(target):
    target.serves(STUDY_MOVE, "C-MOVE")
    made = study(target)
    with destination(target, 0) as taken:
        last, pending = move(target, target.declared("move_title"), identifier("STUDY", StudyInstanceUID=made[0].StudyInstanceUID))
    equal("status and counts", (last.status, last.command.get(COMPLETED), last.command.get(FAILED_COUNT, 0)), (0, INSTANCES, 0))
    assert message.REMAINING not in last.command, "the last answer has a number of remaining ones"
    for answer in pending:
        total = sum(answer.command.get(number, 0) for number in (message.REMAINING, COMPLETED, FAILED_COUNT, message.WARNINGS))
        equal("counts of a pending answer together", total, INSTANCES)
    equal("objects", {data.SOPInstanceUID for _, data in taken}, {one.SOPInstanceUID for one in made})
    named = {(request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID) for request, _ in taken}
    equal("originators", named, {(target.calling, 1)})


@row("V5")
def a_destination_that_refuses(target):
    target.serves(STUDY_MOVE, "C-MOVE")
    made = study(target)
    with destination(target, OUT_OF_RESOURCES):
        last, _ = move(target, target.declared("move_title"), identifier("STUDY", StudyInstanceUID=made[0].StudyInstanceUID))
    one_of("the move", last.status, "B000", "A702")
    equal("failed", last.command.get(FAILED_COUNT), INSTANCES)
    equal("named", failed_instances(last), {one.SOPInstanceUID for one in made})


def failed_instances(answer):
    assert answer.data, "nothing names what failed"
    value = decode_data_set(answer.data).get("FailedSOPInstanceUIDList", [])
    return {value} if isinstance(value, str) else set(value)


def get(target, keys, status=0, classes=(wire.CT_IMAGE_STORAGE,), role=True, cancel=False):
    """The last answer and the data sets that came before it."""
    items = [wire.role_item(one, 0, 1) for one in classes if role]
    taken, wanted = [], (STUDY_GET, *classes)
    with target.associate(*wanted, user_items=items) as association:
        fields = {FIELD: C_GET, MESSAGE_ID: 9, PRIORITY: 0, SOP_CLASS: STUDY_GET}
        association.command(1, fields, None if keys is None else encode_data_set(keys))
        while True:
            got = association.message(60)
            if got.field == C_STORE:
                taken.append(decode_data_set(got.data, association.syntax(got.context)))
                reply = {number: got.command[number] for number in (SOP_CLASS, SOP_INSTANCE)}
                reply |= {FIELD: C_STORE | RESPONSE, message.ANSWERED_ID: got.command[MESSAGE_ID], message.STATUS: status}
                if cancel:
                    association.command(1, {FIELD: C_CANCEL, message.ANSWERED_ID: 9})
                association.command(got.context, reply)
                continue
            equal("field", got.field, C_GET | RESPONSE)
            if not got.pending:
                break
        association.release()
    return got, taken


@row("G1")
def a_get(target):
    target.serves(STUDY_GET, "C-GET")
    made = study(target)
    for level, keys in {
        "STUDY": {"StudyInstanceUID": made[0].StudyInstanceUID},
        "SERIES": {"StudyInstanceUID": made[0].StudyInstanceUID, "SeriesInstanceUID": made[0].SeriesInstanceUID},
    }.items():
        last, taken = get(target, identifier(level, **keys))
        equal("status and counts", (last.status, last.command.get(COMPLETED), last.command.get(FAILED_COUNT, 0)), (0, INSTANCES, 0))
        equal("objects", {data.SOPInstanceUID for data in taken}, {one.SOPInstanceUID for one in made})
        sent = {one.SOPInstanceUID: one for one in made}
        assert all(data.PixelData == sent[data.SOPInstanceUID].PixelData for data in taken), "other pixels"
    one = made[0]
    keys = identifier("IMAGE", StudyInstanceUID=one.StudyInstanceUID, SeriesInstanceUID=one.SeriesInstanceUID,
                      SOPInstanceUID=one.SOPInstanceUID)
    equal("one instance", [data.SOPInstanceUID for data in get(target, keys)[1]], [one.SOPInstanceUID])


@row("G2")
def a_get_of_nothing(target):
    target.serves(STUDY_GET, "C-GET")
    last, taken = get(target, identifier("STUDY", StudyInstanceUID=uid()))
    equal("objects and count", (taken, last.command.get(COMPLETED, 0)), ([], 0))


@row("G3")
def what_cannot_be_sent(target):
    target.serves(STUDY_GET, "C-GET")
    made = study(target)
    keys = identifier("STUDY", StudyInstanceUID=made[0].StudyInstanceUID)
    for name, options in {"refused": {"status": OUT_OF_RESOURCES}, "no context": {"classes": ()}}.items():
        last, _ = get(target, keys, **options)
        one_of(name, last.status, "B000", "A702")
        equal(f"{name}: failed", last.command.get(FAILED_COUNT), INSTANCES)
        equal(f"{name}: named", failed_instances(last), {one.SOPInstanceUID for one in made})


@row("G4")
def gets_that_name_nothing(target):
    target.serves(STUDY_GET, "C-GET")
    made = study(target)[0]
    for keys in (None, identifier(None, StudyInstanceUID=made.StudyInstanceUID), identifier("NONSENSE"), identifier("STUDY")):
        last, taken = get(target, keys)
        refused("a get of nothing that has a name", last.status)
        equal("objects", taken, [])


@row("G5")
def a_cancel(target):
    target.serves(STUDY_GET, "C-GET")
    last, _ = get(target, identifier("STUDY", StudyInstanceUID=study(target)[0].StudyInstanceUID), cancel=True)
    contains("ends", (0, message.CANCELLED), [last.status])


@row("G6")
def without_the_role(target):
    target.serves(STUDY_GET, "C-GET")
    last, taken = get(target, identifier("STUDY", StudyInstanceUID=study(target)[0].StudyInstanceUID), role=False)
    equal("objects", taken, [])
    refused("a get that nothing can answer", 0xA702 if last.status == 0xB000 else last.status)
