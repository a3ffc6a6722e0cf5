"""Rows T and L: C-STORE, what it refuses, and what it takes although it need not."""

import struct

import message
import wire
from message import C_STORE, FIELD, PRIORITY, SOP_CLASS, SOP_INSTANCE, encode_data_set
from objects import changed, ct, identifier, uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from target import STUDY_FIND, equal, one_of, refused, row

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
BROKEN = ("A9xx", "Cxxx")


def sent(target, made, data, **changes):
    """The answer to this object with these bytes as its data set; a following C-ECHO has to work."""
    with target.associate(wire.CT_IMAGE_STORAGE, wire.VERIFICATION) as association:
        answer = association.store_bytes(1, made.SOPClassUID, made.SOPInstanceUID, data, **changes)
        equal("status of a following C-ECHO", association.echo().status, 0)
        association.release()
        return answer


def status(target, made, data, **changes):
    return sent(target, made, data, **changes).status


@row("T1")
def success(target):
    made = ct()
    answer = sent(target, made, encode_data_set(made))
    named = [answer.command.get(number) for number in (message.STATUS, SOP_CLASS, SOP_INSTANCE)]
    equal("status, class and instance", named, [0, made.SOPClassUID, made.SOPInstanceUID])


@row("T2")
def the_class_of_another_context(target):
    made = ct(SOPClassUID=MR_IMAGE_STORAGE)
    refused("a class that is not the context's", status(target, made, encode_data_set(made)))


@row("T3")
def a_data_set_of_another_object(target):
    made = ct()
    other_instance, other_class = changed(made, SOPInstanceUID=uid()), changed(made, SOPClassUID=MR_IMAGE_STORAGE)
    one_of("another instance", status(target, made, encode_data_set(other_instance)), *BROKEN)
    one_of("another class", status(target, made, encode_data_set(other_class)), *BROKEN)


@row("T4", "T7")
def broken_data_sets(target):
    good = encode_data_set(ct())
    for name, data in {
        "empty": b"",
        "noise": bytes(range(256)) * 8,
        "cut off in the pixels": good[:-10],
        "cut off in the identity": good[:70],
        "one byte": b"\x08",
        "a length beyond the end": good + struct.pack("<HHI", 0x7FE1, 0x1010, 0x7FFFFFF0),
    }.items():
        made = ct()
        one_of(name, status(target, made, data), *BROKEN)


@row("T5")
def missing_identity(target):
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        made = ct()
        for data_set in (changed(made, **{keyword: None}), changed(made, **{keyword: ""})):
            one_of(f"{keyword} is missing", status(target, made, encode_data_set(data_set)), *BROKEN)


@row("T6")
def incomplete_commands(target):
    made = ct()
    data = encode_data_set(made)
    for fault in ({SOP_CLASS: None}, {SOP_INSTANCE: None}, {SOP_INSTANCE: "1.02.x"}, {SOP_INSTANCE: "1" * 80}, {SOP_INSTANCE: ""}):
        refused(f"a C-STORE with {fault}", status(target, made, data, changes=fault))
    with target.associate(wire.CT_IMAGE_STORAGE, wire.VERIFICATION) as association:
        fields = {FIELD: C_STORE, PRIORITY: 0, SOP_CLASS: wire.CT_IMAGE_STORAGE, SOP_INSTANCE: str(made.SOPInstanceUID)}
        refused("a C-STORE without a data set", association.ask(1, fields).status)
        equal("status of a following C-ECHO", association.echo().status, 0)
        association.release()


@row("T7")
def the_next_object(target):
    with target.associate(wire.CT_IMAGE_STORAGE) as association:
        for _ in range(3):
            made = ct()
            refused("noise", association.store_bytes(1, made.SOPClassUID, made.SOPInstanceUID, b"noise" * 100_000).status)
            equal("status of the next", association.store(ct()).status, 0)
        association.release()


@row("T8")
def the_same_again(target):
    made = ct()
    with target.associate(wire.CT_IMAGE_STORAGE) as association:
        equal("statuses", [association.store(made).status for _ in range(3)], [0, 0, 0])
        association.release()


def found(target, made):
    """How many instances a query of its UIDs gives."""
    keys = {name: made[name].value for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")}
    with target.associate(STUDY_FIND) as association:
        matches, last = association.find(STUDY_FIND, identifier("IMAGE", **keys))
        association.release()
    equal("status of the query", last.status, 0)
    return len(matches)


@row("T9", "T10")
def acknowledged_and_refused(target):
    target.serves(STUDY_FIND, "C-FIND")
    made, other = ct(), ct()
    equal("status", status(target, made, encode_data_set(made)), 0)
    refused("an object without its end", status(target, other, encode_data_set(other)[:-10]))
    equal("instances", (found(target, made), found(target, other)), (1, 0))


@row("T11")
def priorities(target):
    for priority in (None, 1, 2):
        made = ct()
        equal(f"status at priority {priority}", status(target, made, encode_data_set(made), changes={PRIORITY: priority}), 0)


def taken(target, change, made=None):
    """`change` makes other bytes of the encoded data set of an object that is acceptable."""
    made = made or ct()
    equal("status", status(target, made, change(encode_data_set(made))), 0)


def before(data, group, addition):
    """Puts bytes in front of the first element of a group."""
    at = 0
    while struct.unpack_from("<H", data, at)[0] < group:
        at += 8 + struct.unpack_from("<I", data, at + 4)[0]
    return data[:at] + addition + data[at:]


@row("L1")
def group_lengths(target):
    taken(target, lambda data: before(data, 0x0010, message.element(0, struct.pack("<I", 9), group=0x0010)))


@row("L2")
def trailing_padding(target):
    padding = message.element(0xFFFC, bytes(126), group=0xFFFC)
    taken(target, lambda data: data + padding)


@row("L3")
def private_tags(target):
    block = message.element(0x0010, "ROWS AND CHECKS ", group=0x0009) + message.element(0x1001, b"\1\2\3\4", group=0x0009)
    orphan = message.element(0x1101, b"ab", group=0x0009)
    taken(target, lambda data: before(data, 0x0010, block + orphan))


@row("L4")
def odd_values(target):
    def with_odd_value(data):
        return before(data, 0x0032, struct.pack("<HHI", 0x0018, 0x9999, 3) + b"odd")

    taken(target, with_odd_value, ct(SliceThickness=None))


@row("L5")
def padded_uids(target):
    made = ct()
    data = encode_data_set(made)
    for name in (made.StudyInstanceUID, made.SOPInstanceUID):
        if len(name) % 2:
            data = data.replace(name.encode() + b"\0", name.encode() + b" ")
    padded = str(made.SOPInstanceUID).encode() + b" " * (1 + len(made.SOPInstanceUID) % 2 == 2 or 2)
    equal("status", status(target, made, data, changes={SOP_INSTANCE: padded[: len(padded) // 2 * 2]}), 0)


@row("L6")
def sequences(target):
    made, inner = ct(), Dataset()
    inner.CodeValue, inner.CodeMeaning = "1", "one"
    made.ProcedureCodeSequence, made.ReferencedStudySequence = Sequence([inner]), Sequence([])
    equal("status of defined lengths", status(target, made, encode_data_set(made)), 0)
    other = changed(made, SOPInstanceUID=uid(), SeriesInstanceUID=uid())
    other["ProcedureCodeSequence"].is_undefined_length = True
    other.ProcedureCodeSequence[0].is_undefined_length_sequence_item = True
    equal("status of undefined lengths", status(target, other, encode_data_set(other)), 0)


@row("L7")
def an_unknown_character_set(target):
    at = message.element(0x0005, "KOI-7 ", group=0x0008)
    taken(target, lambda data: at + data)


@row("L8")
def byte_by_byte(target):
    made = ct()
    equal("status", status(target, made, encode_data_set(made), pieces=1), 0)
