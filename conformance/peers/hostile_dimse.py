"""Peers that are slow, endless or broken: each is let go in time, the memory stays, and a sender beside them does not notice."""

import random
import socket
import ssl
import struct
import threading
import time
from contextlib import ExitStack, suppress
from statistics import median

from . import hostile_destinations
from .by_hand import (
    PATIENCE_S,
    associate,
    connect,
    ct,
    echo_command,
    hits,
    message,
    request,
    reset,
    standing,
    store_command,
    wait_for,
    wire,
)
from .server import WITHOUT_ANALYSIS, Server, free_port
from .tally import equal

ASSOCIATIONS = 24
GREEDY_ASSOCIATIONS = 2
# What the listener takes beyond the associations, with some to spare.
FLOOD = ASSOCIATIONS + 512 + 40
MEGABYTE = 1 << 20
INSTANCE_BYTES_MAX = 48 * MEGABYTE
IDENTIFIER_BYTES_MAX = 1 << 18
KEYS = {
    **WITHOUT_ANALYSIS,
    "dimse.associations_max": str(ASSOCIATIONS),
    "dimse.artim_timeout_s": "2",
    "dimse.idle_timeout_s": "3",
    "dimse.identifier_bytes_max": str(IDENTIFIER_BYTES_MAX),
    "dimse.unknown_callers_may": '["store", "query", "retrieve"]',
    "dimse.connect_timeout_s": "2",
    "dimse.response_timeout_s": "3",
    "ingest.instance_bytes_max": str(INSTANCE_BYTES_MAX),
}
GROWTH_MAX_KB = 256 * 1024
COUNTED = ("fixed.dimse_connections", "dimse.associations_max", "dimse.pdu_bytes_max", "dimse.identifier_bytes_max",
           "dimse.artim_timeout_s", "dimse.idle_timeout_s")
INSTANCE = "1.2.826.0.1.3680043.8.498.1"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
# What the sender beside the others may have to wait, mostly and at worst, in times of what it waits
# when it is alone; less than so many seconds is no matter.
MEDIAN_MAX, WORST_MAX, NO_MATTER_S = 8, 60, 2
ALONE = 10


def keys(destination):
    """One node may have few associations, the other is moved to."""
    greedy = f'{{ ae_title = "GREEDY", associations_max = {GREEDY_ASSOCIATIONS}, may = ["store"] }}'
    return KEYS | {"dimse.nodes": f'[{greedy}, {{ ae_title = "DESTINATION", host = "127.0.0.1", port = {destination} }}]'}


def run(context, tally):
    destination = free_port()
    with Server(context.binary, context.folder("hostile-dimse") / "data", keys(destination)) as server:
        server.destination_port = destination
        random_words, before = random.Random(context.seed), server.status_kb("VmRSS")
        with Bystander(server) as bystander:
            for name, check in CHECKS.items():
                with tally.check(f"hostile DIMSE: {name}"):
                    check(server, random_words)
                    still_serves(server)
                    bystander.expect_undisturbed()
        for limit in COUNTED:
            with tally.check(f"hostile DIMSE: {limit} is counted"):
                assert hits(server, limit) > 0, "no hit"
        with tally.check("hostile DIMSE: the memory stays and nothing panicked"):
            growth = server.status_kb("VmHWM") - before
            print(f"     {growth // 1024} MB more at the most", flush=True)
            assert growth < GROWTH_MAX_KB, f"{growth} kB more"
            assert "panicked" not in server.log(), "see the log"
        with tally.check("hostile DIMSE: every association has ended"):
            wait_for(lambda: standing(server) == 0, "associations still stand")


class Bystander:
    """Sends objects and echoes on one association, one after the other, as long as it is there."""

    def __init__(self, server):
        self.server, self.waits, self.sent, self.fault = server, [], 0, None
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def __enter__(self):
        self.thread.start()
        wait_for(lambda: self.fault or self.sent >= ALONE, "the sender beside does not begin")
        self.alone, self.waits = median(self.waits or [0]), []
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()

    def work(self):
        try:
            with associate(self.server, wire.CT_IMAGE_STORAGE, wire.VERIFICATION, calling="BYSTANDER") as association:
                while not self.stop.is_set():
                    begun = time.monotonic()
                    statuses = association.store(ct()).status, association.echo().status
                    self.waits.append(time.monotonic() - begun)
                    self.sent += 1
                    if statuses != (0, 0):
                        raise AssertionError(f"statuses {statuses}")
                    self.stop.wait(0.1)
                association.release()
        except Exception as error:
            self.fault = f"{type(error).__name__}: {error}"

    def expect_undisturbed(self):
        assert self.fault is None, f"the sender beside is disturbed: {self.fault}"
        sent = self.sent
        wait_for(lambda: self.fault or self.sent > sent, "the sender beside comes to a stop")
        waits, self.waits = self.waits, []
        for what, wait, times in (("as a rule", median(waits), MEDIAN_MAX), ("at worst", max(waits), WORST_MAX)):
            limit = max(times * self.alone, NO_MATTER_S)
            assert wait < limit, f"the sender beside waits {wait:.1f} s {what}, alone {self.alone:.2f} s"


def still_serves(server):
    """Tried again while the connections of the check before are still being closed."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with associate(server, calling="WELCOME") as association:
                equal("status of a C-ECHO", association.echo().status, 0)
                return association.release()
        except (AssertionError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def expect_end(connection):
    assert connection.ends(PATIENCE_S), "the server waits for more"


def sent_until_closed(connection, words, limit_bytes=1 << 62):
    """Sends again and again; whether the server closed before so many bytes, and in time."""
    sent, deadline = 0, time.monotonic() + PATIENCE_S
    with suppress(ConnectionError):
        while sent < limit_bytes and time.monotonic() < deadline:
            connection.stream.sendall(words)
            sent += len(words)
        return False
    return True


def stops_reading(server, _):
    with associate(server) as association:
        association.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        association.stream.settimeout(PATIENCE_S)
        assert sent_until_closed(association, echo_command() * 500), "requests are taken for ever although no answer is read"


def stops_writing(server, _):
    """In the middle of a request, a command and a data set."""
    whole = request(server).encode()
    with connect(server) as within_request, associate(server) as within_command:
        within_request.send(whole[:100])
        within_command.send(echo_command()[:30])
        with associate(server, wire.CT_IMAGE_STORAGE) as within_data:
            within_data.send(store_command(INSTANCE) + wire.p_data(bytes(500)) + wire.p_data_header(8000) + bytes(100))
            for connection in (within_request, within_command, within_data):
                expect_end(connection)


def a_byte_a_second(server, _):
    """Bytes of a PDU that never comes to its end do not put the timers off."""
    with connect(server) as slow, associate(server) as within:
        begun, taken = time.monotonic(), [(slow, iter(request(server).encode())), (within, iter(wire.p_data_header(900) + bytes(900)))]
        while taken:
            assert time.monotonic() < begun + PATIENCE_S, "bytes that come one by one hold the connection"
            taken = [(connection, words) for connection, words in taken if still_takes(connection, next(words))]
            time.sleep(1)


def still_takes(connection, byte):
    try:
        connection.stream.sendall(bytes([byte]))
        connection.stream.setblocking(False)
        return connection.stream.recv(1) not in (b"", b"\x07")
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    finally:
        connection.stream.setblocking(True)


def many_that_stall(server, _):
    """As many objects as may be are begun and left alone; others wait for the timer and no longer."""
    with ExitStack() as stack:
        for number in range(ASSOCIATIONS - 4):
            association = stack.enter_context(associate(server, wire.CT_IMAGE_STORAGE))
            association.send(store_command(f"{INSTANCE}.{number}") + wire.p_data(bytes(5000)))
        with associate(server, wire.CT_IMAGE_STORAGE) as association:
            equal("status beside them", association.store(ct()).status, 0)
            association.release()


def leaves_within_a_value(server, random_words):
    """Wherever it leaves, and however: nothing of the object stays."""
    made = ct()
    made.PixelData = bytes(40_000)
    data = message.encode_data_set(made)
    words = store_command(made.SOPInstanceUID) + b"".join(
        wire.p_data(data[at : at + 4000], 1, wire.LAST * (at + 4000 >= len(data))) for at in range(0, len(data), 4000)
    )
    staged = files(server)
    for number in range(60):
        at = random_words.randrange(1, len(words) - 1)
        with associate(server, wire.CT_IMAGE_STORAGE) as association:
            association.send(words[:at] + wire.ABORT * (number % 3 == 0))
            if number % 3 == 1:
                reset(association)
    wait_for(lambda: files(server) == staged, "files of what was broken off stay")


def files(server):
    """Staged files, of whatever association."""
    return sum(path.is_file() for path in (server.data_dir / "staging").rglob("*"))


def four_gigabytes(server, _):
    for kind in (*range(1, 8), 0, 8, 255):
        with connect(server) as connection:
            connection.send(struct.pack(">BxI", kind, 0xFFFFFFFF) + bytes(1000))
            expect_end(connection)
        with associate(server) as association:
            association.send(struct.pack(">BxI", kind, 0xFFFFFFFF) + bytes(1000))
            expect_end(association)


def values_of_four_gigabytes(server, _):
    for length in (0xFFFFFFFF, 0x80000000, 0x7FFFFFFF):
        with associate(server, wire.CT_IMAGE_STORAGE) as association:
            association.send(wire.pdu(wire.P_DATA, struct.pack(">IBB", length, 1, 3) + bytes(1000)))
            expect_end(association)


def elements_of_four_gigabytes(server, _):
    head = message.element(0x0016, wire.CT_IMAGE_STORAGE, group=8)
    for group, number in ((0x0008, 0x0018), (0x0010, 0x0010), (0x5400, 0x0100), (0x7FE0, 0x0010)):
        for length in (0xFFFFFFF0, 0x7FFFFFF0):
            with associate(server, wire.CT_IMAGE_STORAGE) as association:
                data = head + struct.pack("<HHI", group, number, length) + bytes(2000)
                answer = association.store_bytes(1, wire.CT_IMAGE_STORAGE, INSTANCE, data)
                assert answer.status & 0xF000 in (0xA000, 0xC000), f"status {answer.status:04X}H"
                association.release()


def items_beyond_everything(server, _):
    """Lengths of items inside a request are 16 bits: each as long as can be, and longer than what holds it."""
    head = request(server).encode()[6:74]
    for items in (b"\x10\0\xff\xff", b"\x20\0\xff\xff" + bytes(100), b"\x50\0\xff\xff\x51\0\xff\xff", b"\x50\0\0\4\x58\0\xff\xff"):
        with connect(server) as connection:
            connection.send(wire.pdu(wire.ASSOCIATE_RQ, head + items))
            got = connection.receive()
            assert got is None or got.kind in (wire.A_ABORT, wire.ASSOCIATE_RJ), got.shown()
    for items in ([(wire.IDENTITY, b"\1\1" + struct.pack(">H", 65000) + bytes(65002))], [(0x7F, bytes(60000))]):
        answered(server, request(server, user_items=items))


def answered(server, asked):
    """Some answer, whichever."""
    with connect(server) as connection:
        with suppress(ConnectionError):
            connection.stream.sendall(asked.encode())
        got = connection.receive()
        assert got is None or got.kind in (wire.ASSOCIATE_AC, wire.ASSOCIATE_RJ, wire.A_ABORT), got.shown()


def ten_thousand_contexts(server, _):
    contexts = [(number % 256, wire.VERIFICATION, [wire.IMPLICIT]) for number in range(10_000)]
    answered(server, request(server, contexts=contexts))
    answered(server, request(server, contexts=[(1, wire.VERIFICATION, [wire.IMPLICIT] * 3000)]))
    answered(server, request(server, user_items=[(wire.ROLE, wire.role_item("1.2", 1, 1)[1])] * 5000))
    answered(server, request(server, other_items=b"\x7e\0\0\0" * 10_000))


def flood_of_connections(server, _):
    with ExitStack() as stack:
        for _ in range(FLOOD):
            with suppress(OSError):
                stack.enter_context(connect(server))
        wait_for(lambda: hits(server, "fixed.dimse_connections") > 0, "one connection too many is not counted")


def flood_of_connects(server, _):
    """Each is gone before anybody looks at it."""
    for number in range(1500):
        with suppress(OSError), connect(server) as connection:
            if number % 2:
                connection.stream.sendall(request(server).encode()[: number % 200])


def flood_of_associations(server, _):
    rejected = []
    with ExitStack() as stack:
        for _ in range(ASSOCIATIONS + 10):
            connection = stack.enter_context(connect(server))
            connection.send(request(server).encode())
            got = connection.receive()
            if got.kind == wire.ASSOCIATE_RJ:
                rejected.append(got.fault)
    assert len(rejected) >= 10, f"{len(rejected)} were rejected"
    equal("rejections", {fault[:2] for fault in rejected}, {(2, 3)})


def a_greedy_node(server, _):
    """One node's limit is its own: others are still served."""
    with ExitStack() as stack:
        for _ in range(GREEDY_ASSOCIATIONS):
            stack.enter_context(associate(server, calling="GREEDY"))
        before = hits(server, "dimse.associations_max") + hits(server, "dimse.nodes.associations_max")
        with connect(server) as connection:
            connection.send(request(server, calling="GREEDY").encode())
            equal("result and source", connection.expect(wire.ASSOCIATE_RJ).fault[:2], (2, 3))
        still_serves(server)
        assert hits(server, "dimse.associations_max") + hits(server, "dimse.nodes.associations_max") > before, "it is not counted"


def noise(server, random_words):
    for number in range(150):
        with connect(server) as connection, suppress(ConnectionError):
            connection.stream.sendall(random_words.randbytes(random_words.randrange(1, 3000)))
            connection.stream.shutdown(socket.SHUT_WR)
            expect_end(connection)


def nearly_right(server, random_words):
    """A whole conversation in which a few bytes are others."""
    made = ct()
    whole = request(server, wire.CT_IMAGE_STORAGE).encode() + store_command(made.SOPInstanceUID)
    whole += wire.p_data(message.encode_data_set(made), 1, wire.LAST) + wire.RELEASE
    for _ in range(250):
        words = bytearray(whole)
        for _ in range(random_words.randrange(1, 4)):
            words[random_words.randrange(len(words))] = random_words.randrange(256)
        with connect(server) as connection, suppress(ConnectionError):
            connection.stream.sendall(words)
            connection.stream.shutdown(socket.SHUT_WR)
            expect_end(connection)


def tls_on_a_plain_port(server, _):
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    begun = time.monotonic()
    with connect(server) as connection, suppress(OSError):
        unverified.wrap_socket(connection.stream)
        raise AssertionError("a TLS handshake comes to its end")
    assert time.monotonic() - begun < PATIENCE_S / 2, "the handshake is let wait"


def an_endless_object(server, _):
    with associate(server, wire.CT_IMAGE_STORAGE) as association:
        staged = files(server)
        association.send(store_command(INSTANCE))
        data = message.encode_data_set(ct())[:-136] + struct.pack("<HHI", 0x7FE0, 0x0010, 0xFFFFFFF0 - 16)
        association.send(wire.p_data(data))
        closed = sent_until_closed(association, wire.p_data(bytes(65_000)), 3 * INSTANCE_BYTES_MAX)
        if not closed:
            association.send(wire.p_data(b"", 1, wire.LAST))
            equal("status", association.message().status, 0xA700)
    wait_for(lambda: files(server) <= staged, "what was staged stays")


def an_endless_command(server, _):
    with associate(server) as association:
        if not sent_until_closed(association, wire.p_data(bytes(60_000), 1, wire.COMMAND), 256 * MEGABYTE):
            expect_end(association)


def an_endless_identifier(server, _):
    with associate(server, FIND, wire.VERIFICATION) as association:
        if association.context(FIND) is None:
            raise AssertionError("C-FIND is not served: the limit of identifiers cannot be seen")
        fields = {message.FIELD: message.C_FIND, message.MESSAGE_ID: 1, message.PRIORITY: 0, message.SOP_CLASS: FIND}
        association.command(1, fields | {message.DATA_SET_TYPE: 1})
        for _ in range(64):
            association.stream.sendall(wire.p_data(bytes(60_000), 1))
        association.send(wire.p_data(b"", 1, wire.LAST))
        status = association.message().status
        assert status & 0xF000 in (0xA000, 0xC000), f"status {status:04X}H"
        equal("status of a following C-ECHO", association.echo().status, 0)
        association.release()


def a_million_elements(server, _):
    """Small elements without end, and sequences in sequences: refused by their limits."""
    tiny = struct.pack("<HHI", 0x0009, 0x1001, 0)
    nested = struct.pack("<HHI", 0x0040, 0xA730, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    identity = message.encode_data_set(ct())[:20]
    for data in (identity + tiny * 1_500_000, identity + nested * 20_000):
        with associate(server, wire.CT_IMAGE_STORAGE) as association:
            answer = association.store_bytes(1, wire.CT_IMAGE_STORAGE, INSTANCE, data)
            assert answer.status & 0xF000 in (0xA000, 0xC000), f"status {answer.status:04X}H"
            association.release()


def requests_without_end(server, _):
    """Twenty thousand at once, and every answer is read."""
    with associate(server) as association:
        writer = threading.Thread(target=lambda: association.stream.sendall(echo_command() * 20_000))
        writer.start()
        equal("statuses", {association.message().status for _ in range(20_000)}, {0})
        writer.join()
        association.release()


CHECKS = {
    "a peer that stops reading": stops_reading,
    "peers that stop writing": stops_writing,
    "a byte a second": a_byte_a_second,
    f"{ASSOCIATIONS - 4} objects that stall": many_that_stall,
    "peers that leave within a value": leaves_within_a_value,
    "PDUs of 4 GB": four_gigabytes,
    "presentation data values of 4 GB": values_of_four_gigabytes,
    "elements of 4 GB": elements_of_four_gigabytes,
    "items that go beyond everything": items_beyond_everything,
    "10,000 presentation contexts": ten_thousand_contexts,
    f"{FLOOD} silent connections": flood_of_connections,
    "connections that come and go": flood_of_connects,
    f"{ASSOCIATIONS + 10} associations": flood_of_associations,
    "a node with more associations than it may have": a_greedy_node,
    "noise": noise,
    "words that are nearly right": nearly_right,
    "TLS on a port without": tls_on_a_plain_port,
    "an object without end": an_endless_object,
    "a command set without end": an_endless_command,
    "an identifier without end": an_endless_identifier,
    "a million elements": a_million_elements,
    "20,000 requests at once": requests_without_end,
    **hostile_destinations.CHECKS,
}
