"""Those whom we send to, when they stop, lie or are not there: a retrieval ends all the same, and says so."""

import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress

from .by_hand import PATIENCE_S, associate, ct, message, reset, uid, wire

STUDY_MOVE, STUDY_GET = "1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.5.1.4.1.2.2.3"
INSTANCES = 2
LARGE_BYTES = 12 << 20
FAILURES = (0xA702, 0xB000)


def study(server, pixels=None):
    """UID of a study that is stored for this."""
    place = uid(), uid()
    with associate(server, wire.CT_IMAGE_STORAGE) as association:
        for _ in range(INSTANCES):
            made = ct(*place)
            if pixels:
                made.Rows, made.Columns, made.PixelData = pixels // 2048, 1024, bytes(pixels)
            assert association.store(made).status == 0
        association.release()
    return place[0]


def identifier(study_uid):
    level = message.element(0x0052, "STUDY ", group=0x0008)
    return level + message.element(0x000D, study_uid, group=0x0020)


@contextmanager
def destination(port, behave):
    """Listens; every caller is served by `behave`, which gets the socket."""
    listener = socket.create_server(("127.0.0.1", port))
    listener.settimeout(0.2)
    stop, callers = threading.Event(), []

    def work():
        while not stop.is_set():
            with suppress(TimeoutError):
                caller, _ = listener.accept()
                caller.settimeout(PATIENCE_S)
                callers.append(caller)
                threading.Thread(target=quietly, args=(behave, caller, stop), daemon=True).start()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield callers
    finally:
        stop.set()
        thread.join()
        for one in [*callers, listener]:
            one.close()


def quietly(behave, caller, stop):
    with suppress(OSError, AssertionError):
        behave(caller, stop)


class Called(wire.Connection):
    """Our end of an association that the server asked for."""

    def __init__(self, stream):
        self.stream, self.said, self.patience_s = stream, [], PATIENCE_S

    def accept(self, result=wire.ACCEPTED, max_length=16384):
        request = self.expect(wire.ASSOCIATE_RQ).body
        answers = b""
        for kind, value in wire.split_items(request[68:]):
            if kind == 0x20:
                syntax = next(uid for sub, uid in wire.split_items(value[4:]) if sub == 0x40)
                answers += wire.item(0x21, bytes([value[0], 0, result, 0]) + wire.item(0x40, syntax))
        user = wire.item(0x50, wire.item(wire.MAX_LENGTH, struct.pack(">I", max_length)))
        name = wire.uid_item(0x10, wire.APPLICATION_CONTEXT)
        self.send(wire.pdu(wire.ASSOCIATE_AC, request[:68] + name + answers + user))
        return self

    def store_answer(self):
        """The answer to the first C-STORE, of which no more than the command is read."""
        [(context, _, value), *_] = self.expect(wire.P_DATA).values()
        asked = message.decode_command(value)
        fields = {message.FIELD: message.C_STORE | message.RESPONSE, message.ANSWERED_ID: asked[message.MESSAGE_ID]}
        fields |= {message.DATA_SET_TYPE: message.NO_DATA_SET, message.STATUS: 0}
        return wire.p_data(message.encode_command(fields), context, 3)


def says_nothing(caller, stop):
    stop.wait(PATIENCE_S)


def rejects(caller, stop):
    called = Called(caller)
    called.expect(wire.ASSOCIATE_RQ)
    called.send(wire.pdu(wire.ASSOCIATE_RJ, bytes([0, 1, 1, 3])))
    stop.wait(PATIENCE_S)


def accepts_no_context(caller, stop):
    Called(caller).accept(wire.TRANSFER_SYNTAX_UNKNOWN)
    stop.wait(PATIENCE_S)


def stops_reading(caller, stop):
    Called(caller).accept()
    stop.wait(PATIENCE_S)


def aborts_within(caller, stop):
    called = Called(caller).accept()
    called.expect(wire.P_DATA)
    called.send(wire.ABORT)


def resets_within(caller, stop):
    called = Called(caller).accept()
    called.expect(wire.P_DATA)
    reset(called)


def talks_noise(caller, stop):
    caller.sendall(b"220 smtp.example ready\r\n" * 100)
    stop.wait(PATIENCE_S)


def claims_four_gigabytes(caller, stop):
    Called(caller).accept().send(struct.pack(">BxI", wire.P_DATA, 0xFFFFFFFF) + bytes(1000))
    stop.wait(PATIENCE_S)


def a_byte_a_second(caller, stop):
    called = Called(caller).accept()
    for byte in called.store_answer():
        if stop.wait(1):
            return
        caller.sendall(bytes([byte]))


def releases_at_once(caller, stop):
    Called(caller).accept().send(wire.RELEASE)
    stop.wait(PATIENCE_S)


BEHAVIOURS = {
    "that says nothing": says_nothing,
    "that rejects": rejects,
    "that accepts no context": accepts_no_context,
    "that stops reading": stops_reading,
    "that aborts": aborts_within,
    "that resets": resets_within,
    "that is no DICOM node": talks_noise,
    "that claims 4 GB": claims_four_gigabytes,
    "that answers a byte a second": a_byte_a_second,
    "that releases in place of an answer": releases_at_once,
}


def move(server, title, study_uid):
    """The last answer."""
    with associate(server, STUDY_MOVE) as association:
        fields = {message.FIELD: message.C_MOVE, message.PRIORITY: 0, message.SOP_CLASS: STUDY_MOVE, message.DESTINATION: title}
        answer = association.ask(1, fields, identifier(study_uid))
        while answer.pending:
            answer = association.message()
        association.release()
    return answer


def move_to(behave):
    """A check: the move ends in time with a failure that counts every instance."""

    def check(server, _):
        begun, kept = time.monotonic(), study(server, LARGE_BYTES if behave is stops_reading else None)
        if behave is None:
            answer = move(server, "DESTINATION", kept)
        else:
            with destination(server.destination_port, behave):
                answer = move(server, "DESTINATION", kept)
        failed = answer.command.get(message.FAILED_COUNT)
        assert answer.status in FAILURES, f"status {answer.status:04X}H"
        assert failed == INSTANCES, f"{failed} failed"
        assert time.monotonic() - begun < PATIENCE_S, "it takes too long"

    return check


def get_that_nobody_reads(server, _):
    """The association ends, and with it the retrieval."""
    kept = study(server, LARGE_BYTES)
    with associate(server, STUDY_GET, wire.CT_IMAGE_STORAGE, user_items=[wire.role_item(wire.CT_IMAGE_STORAGE, 0, 1)]) as association:
        association.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        association.command(1, {message.FIELD: message.C_GET, message.MESSAGE_ID: 1, message.PRIORITY: 0, message.SOP_CLASS: STUDY_GET},
                            identifier(kept))
        time.sleep(8)
        assert association.ends(), "it waits for a reader for ever"


def get_that_nobody_answers(server, _):
    kept = study(server)
    with associate(server, STUDY_GET, wire.CT_IMAGE_STORAGE, user_items=[wire.role_item(wire.CT_IMAGE_STORAGE, 0, 1)]) as association:
        association.command(1, {message.FIELD: message.C_GET, message.MESSAGE_ID: 1, message.PRIORITY: 0, message.SOP_CLASS: STUDY_GET},
                            identifier(kept))
        assert association.ends(), "it waits for an answer for ever"


CHECKS = {
    "a move to who is not there": move_to(None),
    **{f"a move to a node {name}": move_to(behave) for name, behave in BEHAVIOURS.items()},
    "a get that nobody reads": get_that_nobody_reads,
    "a get that nobody answers": get_that_nobody_answers,
}
