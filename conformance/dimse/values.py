"""Rows D: how messages are cut into presentation data values."""

import struct

import message
import wire
from objects import ct
from target import equal, expect_abort, expect_end, row

INVALID_PARAMETER = 6
ECHO = {message.FIELD: message.C_ECHO, message.MESSAGE_ID: 1, message.SOP_CLASS: wire.VERIFICATION,
        message.DATA_SET_TYPE: message.NO_DATA_SET}


def store_of(made):
    """The command and the data set of a C-STORE."""
    fields = {message.FIELD: message.C_STORE, message.MESSAGE_ID: 1, message.PRIORITY: 0, message.DATA_SET_TYPE: 1}
    fields |= {message.SOP_CLASS: str(made.SOPClassUID), message.SOP_INSTANCE: str(made.SOPInstanceUID)}
    return message.encode_command(fields), message.encode_data_set(made)


def stored(target, cut):
    """The status of an object that is sent as `cut` makes bytes of its command and data set."""
    with target.associate(wire.CT_IMAGE_STORAGE) as association:
        association.send(cut(*store_of(ct())))
        status = association.message().status
        association.release()
        return status


def pieces(data, size, control=0):
    """Values in PDUs of their own; the last one says so."""
    cut = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(wire.p_data(one, 1, control | wire.LAST * (number + 1 == len(cut))) for number, one in enumerate(cut))


@row("D1")
def several_values_in_a_pdu(target):
    def shared(command, data):
        half = len(data) // 4 * 2
        values = wire.pdv(command, 1, 3) + wire.pdv(data[:half], 1) + wire.pdv(data[half:], 1, wire.LAST)
        return wire.pdu(wire.P_DATA, values)

    equal("status", stored(target, shared), 0)


@row("D2")
def many_pdus(target):
    equal("status", stored(target, lambda command, data: wire.p_data(command, 1, 3) + pieces(data, 16)), 0)


@row("D3")
def a_command_in_fragments(target):
    for size in (2, 40):
        fragments = lambda command, data, size=size: pieces(command, size, wire.COMMAND) + wire.p_data(data, 1, 2)  # noqa: E731
        equal(f"status of fragments of {size}", stored(target, fragments), 0)


@row("D4")
def odd_values(target):
    for size in (1, 333):
        cut = lambda command, data, size=size: pieces(command, size, wire.COMMAND) + pieces(data, size)  # noqa: E731
        equal(f"status of values of {size}", stored(target, cut), 0)


@row("D5")
def an_empty_last_fragment(target):
    def cut(command, data):
        command_values = wire.p_data(command, 1, 1) + wire.p_data(b"", 1, 3)
        return command_values + wire.p_data(b"", 1) + wire.p_data(data, 1) + wire.p_data(b"", 1, wire.LAST)

    equal("status", stored(target, cut), 0)


@row("D6")
def other_bits_of_the_control_header(target):
    equal("status", stored(target, lambda command, data: wire.p_data(command, 1, 0xFF) + wire.p_data(data, 1, 0xFE)), 0)


@row("D7")
def interleaved_contexts(target):
    command, data = store_of(ct())
    half = len(data) // 2
    for words in (
        wire.p_data(command, 1, 3) + wire.p_data(data[:half], 1) + wire.p_data(data[half:], 3, wire.LAST),
        wire.p_data(command[:20], 1, 1) + wire.p_data(command[20:], 3, 3),
        wire.p_data(command, 1, 3) + wire.p_data(message.encode_command(ECHO), 3, 3),
    ):
        with target.associate(wire.CT_IMAGE_STORAGE, wire.VERIFICATION) as association:
            association.send(words)
            expect_end(association)


@row("D8")
def contexts_that_do_not_stand(target):
    for identifier in (3, 5, 0, 2, 255):
        with target.associate(wire.VERIFICATION, "1.2.826.0.1.3680043.8.498.99") as association:
            association.send(wire.p_data(message.encode_command(ECHO), identifier, 3))
            expect_end(association)


@row("D9")
def values_that_do_not_fit(target):
    for body in (
        struct.pack(">IBB", 100, 1, 3) + b"abc",
        struct.pack(">IBB", 0xFFFFFFFF, 1, 3),
        struct.pack(">IBB", 1, 1, 3),
        struct.pack(">IBB", 0, 1, 3),
        b"\0\0\0",
        wire.pdv(b"ab", 1, 1) + b"\0\0",
    ):
        with target.associate() as association:
            association.send(wire.pdu(wire.P_DATA, body))
            expect_abort(association, INVALID_PARAMETER)


@row("D10")
def no_value(target):
    with target.associate() as association:
        association.send(wire.pdu(wire.P_DATA, b"") + wire.p_data(message.encode_command(ECHO), 1, 3))
        got = association.receive()
        assert got is None or got.kind in (wire.A_ABORT, wire.P_DATA), got.shown()


@row("D11")
def a_data_set_alone(target):
    for control in (0, wire.LAST):
        with target.associate(wire.CT_IMAGE_STORAGE) as association:
            association.send(wire.p_data(b"data", 1, control))
            expect_end(association)


@row("D12")
def a_command_within_a_data_set(target):
    command, data = store_of(ct())
    with target.associate(wire.CT_IMAGE_STORAGE) as association:
        association.send(wire.p_data(command, 1, 3) + wire.p_data(data[:50], 1) + wire.p_data(command, 1, 3))
        expect_end(association)


@row("D13")
def longer_than_announced(target):
    made = ct()
    with target.associate(wire.CT_IMAGE_STORAGE) as association:
        made.PixelData = bytes((association.accepted.max_length or 1 << 20) + 1000)
        command, data = store_of(made)
        try:
            association.send(wire.p_data(command, 1, 3) + wire.p_data(data, 1, wire.LAST))
        except ConnectionError:
            return
        got = association.receive()
        assert got is None or got.kind in (wire.A_ABORT, wire.P_DATA), got.shown()
