"""Rows S: the state machine, which says what may come when."""

import struct
import time
from contextlib import ExitStack

import message
import values
import wire
from objects import ct
from target import Failed, equal, expect_abort, expect_closed, expect_end, row

UNRECOGNIZED, UNEXPECTED = 1, 2
REJECTION = wire.pdu(wire.ASSOCIATE_RJ, bytes([0, 1, 1, 1]))
RELEASE_ANSWER = wire.pdu(wire.RELEASE_RP, bytes(4))
SILENT, STALLED = 70, 10
# Beyond the time that a timer is declared with.
GRACE_S = 15


def answer_pdu(target):
    """An A-ASSOCIATE-AC of ours, as it would answer a request."""
    head = target.request(contexts=[], user_information=False).encode()[6:]
    result = wire.item(0x21, bytes([1, 0, 0, 0]) + wire.uid_item(0x40, wire.IMPLICIT))
    user = wire.item(0x50, wire.item(wire.MAX_LENGTH, struct.pack(">I", 16384)))
    return wire.pdu(wire.ASSOCIATE_AC, head + result + user)


def store_command(made):
    return wire.p_data(values.store_of(made)[0], 1, 3)


@row("S1")
def something_else_first(target):
    echo = wire.p_data(message.encode_command({message.FIELD: message.C_ECHO}), 1, 3)
    for words in (answer_pdu(target), REJECTION, echo, wire.RELEASE, RELEASE_ANSWER, wire.pdu(9, b"?")):
        with target.connect() as connection:
            connection.send(words)
            expect_abort(connection, source=None)


@row("S2")
def an_abort_first(target):
    with target.connect() as connection:
        connection.send(wire.ABORT)
        expect_closed(connection, connection.patience_s)


@row("S3")
def negotiation_within_an_association(target):
    for words in (target.request().encode(), answer_pdu(target), REJECTION, RELEASE_ANSWER):
        with target.associate() as association:
            association.send(words)
            expect_abort(association, UNEXPECTED)


@row("S4")
def unknown_pdus(target):
    for kind in (0, 8, 0x7F, 0xFF):
        with target.associate() as association:
            association.send(wire.pdu(kind, bytes(4)))
            expect_abort(association, UNRECOGNIZED)


@row("S5")
def a_release(target):
    with target.associate() as association:
        association.send(wire.RELEASE)
        association.expect(wire.RELEASE_RP)
        association.stream.shutdown(1)
        expect_closed(association, association.patience_s)


@row("S6")
def data_after_a_release(target):
    made = ct()
    with target.associate(wire.CT_IMAGE_STORAGE) as association:
        association.send(wire.RELEASE + store_command(made) + wire.p_data(message.encode_data_set(made), 1, wire.LAST))
        association.expect(wire.RELEASE_RP)
        got = association.receive()
        assert got is None or got.kind == wire.A_ABORT, f"{got.shown()} after the release"


@row("S7")
def an_abort(target):
    for words in (wire.ABORT, wire.pdu(wire.A_ABORT, bytes([0, 0, 2, 6]))):
        with target.associate() as association:
            association.send(words)
            association.stream.shutdown(1)
            expect_closed(association, association.patience_s)
    with target.associate() as association:
        association.send(wire.p_data_header(1000) + wire.ABORT)
        association.stream.shutdown(1)
        expect_end(association)
    target.still_serves()


@row("S8")
def the_server_closes_first(target):
    limit = target.choices.artim_s or 30
    with target.associate() as association:
        association.send(wire.pdu(9, b"?"))
        expect_abort(association, source=None)
        expect_closed(association, limit + GRACE_S)


@row("S9")
def other_protocols(target):
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2
    for words in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", hello, b"\0" * 64, b"\xff" * 64, b"SSH-2.0-OpenSSH_9\r\n"):
        with target.connect() as connection:
            connection.send(words)
            expect_end(connection)
    target.still_serves()


@row("S10")
def silence(target):
    limit = target.declared("artim_s")
    begun = time.monotonic()
    with target.connect(patience_s=limit + GRACE_S) as silent, target.connect(patience_s=limit + GRACE_S) as slow:
        slow.send(b"\1\0\0\0")
        expect_end(silent)
        assert time.monotonic() - begun > limit / 2, "the timer ends far too soon"
        expect_end(slow)


@row("S11")
def half_a_pdu(target):
    limit = target.declared("idle_s")
    with target.associate() as association:
        association.send(wire.p_data_header(1000) + b"abc")
        if not association.ends(limit + GRACE_S):
            raise Failed(f"half a PDU holds the association longer than {limit} s")


@row("S12")
def a_release_within_a_message(target):
    made = ct()
    with target.associate(wire.CT_IMAGE_STORAGE) as association:
        data = message.encode_data_set(made)
        association.send(store_command(made) + wire.p_data(data[:100], 1) + wire.RELEASE)
        got = association.receive()
        assert got is None or got.kind in (wire.A_ABORT, wire.RELEASE_RP), f"{got.shown()} to the release"
    with target.associate(wire.CT_IMAGE_STORAGE) as association:
        other = ct(SOPInstanceUID=made.SOPInstanceUID)
        equal("status of another object of that UID", association.store(other).status, 0)
        association.release()


@row("S13")
def four_gigabytes(target):
    for head in (struct.pack(">BxI", wire.ASSOCIATE_RQ, 0xFFFFFFFF), struct.pack(">BxI", wire.RELEASE_RQ, 0xFFFFFFFF)):
        with target.connect() as connection:
            connection.send(head)
            expect_end(connection)
    with target.associate() as association:
        association.send(struct.pack(">BxI", wire.P_DATA, 0xFFFFFFFF))
        expect_end(association)
    target.still_serves()


@row("S14")
def a_request_byte_by_byte(target):
    with target.connect() as connection:
        for byte in target.request().encode():
            connection.stream.sendall(bytes([byte]))
        connection.expect(wire.ASSOCIATE_AC)
        connection.send(wire.RELEASE)
        connection.expect(wire.RELEASE_RP)


@row("S15")
def beside_silent_connections(target):
    with ExitStack() as stack:
        for _ in range(SILENT):
            stack.enter_context(target.connect())
        target.still_serves()


@row("S16")
def beside_stalled_objects(target):
    with ExitStack() as stack:
        for _ in range(STALLED):
            association = stack.enter_context(target.associate(wire.CT_IMAGE_STORAGE))
            association.send(store_command(ct()) + wire.p_data(bytes(500)))
        target.stored(ct())
