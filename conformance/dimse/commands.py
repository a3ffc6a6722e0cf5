"""Rows M: command sets, and the operation that every node has."""

import struct

import message
import wire
from message import C_CANCEL, C_ECHO, C_FIND, C_STORE, DATA_SET_TYPE, FIELD, MESSAGE_ID, N_SET, RESPONSE, SOP_CLASS
from objects import ct
from target import equal, expect_end, refused, row

ECHO = {FIELD: C_ECHO, SOP_CLASS: wire.VERIFICATION, DATA_SET_TYPE: message.NO_DATA_SET}
UNRECOGNIZED_OPERATION = 0x0211


def failure_or_end(association):
    """An answer that is a failure, or the end of the association."""
    got = association.receive()
    if got is None or got.kind == wire.A_ABORT:
        return
    equal("PDU", got.kind, wire.P_DATA)
    fields = message.decode_command(b"".join(value for _, _, value in got.values()))
    refused("the answer", fields[message.STATUS])


@row("M1")
def well_formed_answers(target):
    """`Association.ask` and what it reads with look at the form of every answer; here are the fields."""
    with target.associate() as association:
        answer = association.echo()
        expected = {FIELD: C_ECHO | RESPONSE, message.ANSWERED_ID: 1, DATA_SET_TYPE: message.NO_DATA_SET, message.STATUS: 0}
        equal("fields", {number: answer.command.get(number) for number in expected}, expected)
        association.release()


@row("M2")
def message_ids(target):
    with target.associate() as association:
        for identifier in (0, 1, 65535, 7, 7, 0):
            equal("status", association.echo().status, 0)
            context = association.context(wire.VERIFICATION)
            answer = association.ask(context, ECHO | {MESSAGE_ID: identifier})
            equal("message answered", answer.command[message.ANSWERED_ID], identifier)
        association.release()


@row("M3")
def operations_that_do_not_exist(target):
    with target.associate() as association:
        for field in (0x0099, 0x7000, N_SET):
            equal("status", association.ask(1, ECHO | {FIELD: field}).status, UNRECOGNIZED_OPERATION)
        equal("status with a data set", association.ask(1, ECHO | {FIELD: 0x0099, DATA_SET_TYPE: 1}, b"data").status,
              UNRECOGNIZED_OPERATION)
        equal("status of a following C-ECHO", association.echo().status, 0)
        association.release()


@row("M4")
def missing_elements(target):
    for missing in (FIELD, MESSAGE_ID, DATA_SET_TYPE):
        with target.associate() as association:
            fields = {MESSAGE_ID: 1} | ECHO
            association.send(wire.p_data(message.encode_command({n: fields[n] for n in fields if n != missing}), 1, 3))
            failure_or_end(association)
    target.still_serves()


@row("M5")
def unreadable_command_sets(target):
    good = message.encode_command({MESSAGE_ID: 1} | ECHO)
    for words in (b"\0", good[:-1], b"\xff" * 64, message.element(0x0018, "1.2.3", group=8) * 3,
                  good + struct.pack("<HHI", 0, 0x1000, 0xFFFFFFFF), message.element(FIELD, b"\x30"), b""):
        with target.associate() as association:
            association.send(wire.p_data(words, 1, 3))
            failure_or_end(association)
    target.still_serves()


@row("M6")
def a_command_set_without_end(target):
    with target.associate() as association:
        try:
            for _ in range(4096):
                association.stream.sendall(wire.p_data(bytes(8192), 1, wire.COMMAND))
        except ConnectionError:
            return
        expect_end(association)


@row("M7")
def unknown_elements(target):
    # Retired ones of PS3.7 E.2 and one that never was.
    extra = {0x0001: struct.pack("<I", 100), 0x0010: "ACR-NEMA 2.0", 0x0200: "SOMEBODY", 0x0860: 1, 0x5010: "x ", 0xEEEE: b"ab"}
    with target.associate() as association:
        equal("status", association.ask(1, ECHO | extra).status, 0)
        association.release()


@row("M8")
def a_cancel_of_nothing(target):
    with target.associate() as association:
        association.command(1, {FIELD: C_CANCEL, message.ANSWERED_ID: 77})
        equal("status of a following C-ECHO", association.echo().status, 0)
        association.release()


@row("M9")
def an_answer_to_nothing(target):
    with target.associate() as association:
        association.command(1, ECHO | {FIELD: C_ECHO | RESPONSE, message.ANSWERED_ID: 1, message.STATUS: 0})
        association.send(wire.p_data(message.encode_command({MESSAGE_ID: 2} | ECHO), 1, 3))
        got = association.receive()
        assert got is None or got.kind in (wire.A_ABORT, wire.P_DATA), got.shown()
    target.still_serves()


@row("M10")
def requests_at_once(target):
    with target.associate() as association:
        commands = [message.encode_command({MESSAGE_ID: number} | ECHO) for number in range(1, 21)]
        association.send(b"".join(wire.p_data(command, 1, 3) for command in commands))
        for number in range(1, 21):
            got = association.receive()
            if got is None or got.kind == wire.A_ABORT:
                return
            fields = message.decode_command(got.values()[0][2])
            equal("answer", (fields[message.ANSWERED_ID], fields[message.STATUS]), (number, 0))
        association.release()


@row("M11")
def wrong_group_lengths(target):
    good = message.encode_command({MESSAGE_ID: 1} | ECHO)
    for words in (good[12:], message.element(0, struct.pack("<I", 1)) + good[12:],
                  message.element(0, struct.pack("<I", 0xFFFFFFFF)) + good[12:]):
        with target.associate() as association:
            association.send(wire.p_data(words, 1, 3))
            got = association.receive()
            assert got is None or got.kind in (wire.A_ABORT, wire.P_DATA), got.shown()
    target.still_serves()


@row("M12")
def echo(target):
    with target.associate() as association:
        answer = association.echo()
        equal("status and class", (answer.status, answer.command.get(SOP_CLASS)), (0, wire.VERIFICATION))
        association.release()


@row("M13")
def a_hundred_echoes(target):
    with target.associate() as association:
        equal("statuses", {association.echo().status for _ in range(100)}, {0})
        association.release()


@row("M14")
def operations_of_other_services(target):
    made = ct()
    with target.associate(wire.VERIFICATION, wire.CT_IMAGE_STORAGE) as association:
        fields = {message.SOP_INSTANCE: str(made.SOPInstanceUID), message.PRIORITY: 0}
        stray = {SOP_CLASS: wire.CT_IMAGE_STORAGE} | fields
        refused("a C-STORE on a context of Verification",
                association.ask(1, stray | {FIELD: C_STORE}, message.encode_data_set(made)).status)
        refused("a C-FIND on a context of storage",
                association.ask(3, {FIELD: C_FIND, SOP_CLASS: wire.CT_IMAGE_STORAGE}, b"").status)
        equal("status of a following C-ECHO", association.echo().status, 0)
        association.release()
    with target.associate(wire.CT_IMAGE_STORAGE) as association:
        equal("status of that instance", association.store(made).status, 0)
        association.release()
