"""The upper layer by hand (PS3.8 9.3): exactly the bytes that are asked for, and what came back.

A library that repairs, refuses or retries would hide what is to be judged.
"""

import socket
import struct
import time
from dataclasses import dataclass, field

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
IMPLEMENTATION_CLASS = "1.2.826.0.1.3680043.8.498.2"
VERIFICATION = "1.2.840.10008.1.1"
CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, A_ABORT = range(1, 8)
NAMES = ["?", "A-ASSOCIATE-RQ", "A-ASSOCIATE-AC", "A-ASSOCIATE-RJ", "P-DATA-TF", "A-RELEASE-RQ", "A-RELEASE-RP", "A-ABORT"]
MAX_LENGTH, IMPLEMENTATION_UID, ASYNC_WINDOW, ROLE, VERSION_NAME, EXTENDED, COMMON_EXTENDED, IDENTITY, IDENTITY_ANSWER = range(0x51, 0x5A)
ACCEPTED, REJECTED_BY_USER, NO_REASON, ABSTRACT_SYNTAX_UNKNOWN, TRANSFER_SYNTAX_UNKNOWN = range(5)
PATIENCE_S = 20
LAST, COMMAND = 2, 1
SHOWN_BYTES = 40


class Silence(AssertionError):
    """The server neither answers nor closes."""


class Closed(AssertionError):
    """The server closed the connection where an answer was due."""


def item(kind, value):
    return struct.pack(">BxH", kind, len(value)) + value


def pdu(kind, body):
    return struct.pack(">BxI", kind, len(body)) + body


def pdv(value, context=1, control=0):
    return struct.pack(">IBB", len(value) + 2, context, control) + value


def p_data(value, context=1, control=0):
    """One value in a PDU of its own."""
    return pdu(P_DATA, pdv(value, context, control))


def p_data_header(length, context=1, control=0):
    return struct.pack(">BxIIBB", P_DATA, length + 6, length + 2, context, control)


ABORT = pdu(A_ABORT, bytes(4))
RELEASE = pdu(RELEASE_RQ, bytes(4))


def uid_item(kind, text):
    return item(kind, text if isinstance(text, bytes) else text.encode())


def context_item(identifier, abstract_syntax, transfer_syntaxes):
    body = uid_item(0x30, abstract_syntax) + b"".join(uid_item(0x40, one) for one in transfer_syntaxes)
    return item(0x20, bytes([identifier, 0, 0, 0]) + body)


def title(text):
    return text if isinstance(text, bytes) else text.encode().ljust(16)


@dataclass
class Request:
    """A-ASSOCIATE-RQ, PS3.8 9.3.2. `contexts` are triples of id, abstract syntax, transfer syntaxes."""

    called: str
    calling: str = "ROWS"
    contexts: list = field(default_factory=list)
    # None leaves the item out.
    max_length: int | None = 16384
    # Pairs of type and value, behind the maximum length.
    user_items: list = field(default_factory=list)
    implementation: bool = True
    version: int = 1
    application_context: str = APPLICATION_CONTEXT
    reserved: bytes = bytes(34)
    # Items between the contexts and the user information.
    other_items: bytes = b""
    user_information: bool = True

    def encode(self):
        head = struct.pack(">H", self.version) + self.reserved[:2] + title(self.called) + title(self.calling) + self.reserved[2:]
        items = uid_item(0x10, self.application_context)
        items += b"".join(context_item(*context) for context in self.contexts)
        items += self.other_items
        return pdu(ASSOCIATE_RQ, head + items + (item(0x50, self.user()) if self.user_information else b""))

    def user(self):
        items = [] if self.max_length is None else [(MAX_LENGTH, struct.pack(">I", self.max_length))]
        items += [(IMPLEMENTATION_UID, IMPLEMENTATION_CLASS.encode())] if self.implementation else []
        return b"".join(item(kind, value) for kind, value in items + self.user_items)


def role_item(sop_class, scu, scp):
    return ROLE, struct.pack(">H", len(sop_class)) + sop_class.encode() + bytes([scu, scp])


def extended_item(sop_class, information):
    return EXTENDED, struct.pack(">H", len(sop_class)) + sop_class.encode() + information


def identity_item(kind, primary, secondary=b"", answer=True):
    fields = struct.pack(">H", len(primary)) + primary + struct.pack(">H", len(secondary)) + secondary
    return IDENTITY, bytes([kind, answer]) + fields


@dataclass
class Pdu:
    kind: int
    body: bytes

    @property
    def name(self):
        return NAMES[self.kind] if self.kind < len(NAMES) else f"PDU {self.kind:02X}H"

    @property
    def fault(self):
        """Of an A-ABORT source and reason, of an A-ASSOCIATE-RJ result, source and reason."""
        return tuple(self.body[2:4] if self.kind == A_ABORT else self.body[1:4])

    def values(self):
        """(context, control, bytes) of each presentation data value."""
        rest, found = self.body, []
        while rest:
            assert len(rest) >= 6, "a presentation data value is cut off"
            length, context, control = struct.unpack_from(">IBB", rest)
            assert 2 <= length <= len(rest) - 4, "a presentation data value is longer than its PDU"
            found.append((context, control, rest[6 : 4 + length]))
            rest = rest[4 + length :]
        return found

    def shown(self):
        words = f"{self.name}, {len(self.body)} bytes"
        if self.kind in (A_ABORT, ASSOCIATE_RJ):
            return f"{words}: {'/'.join(map(str, self.fault))}"
        if self.kind == P_DATA:
            return f"{words}: {', '.join(self.values_shown())}"
        more = "…" if len(self.body) > SHOWN_BYTES else ""
        return f"{words}: {self.body[:SHOWN_BYTES].hex(' ')}{more}"

    def values_shown(self):
        """Each value by its context and what it is, a command by its field and status."""
        try:
            found = self.values()
        except AssertionError as fault:
            return [f"{fault}: {self.body[:SHOWN_BYTES].hex(' ')}"]
        return [f"[{context}{' last' * (control >> 1 & 1)}] {value_shown(control, value)}" for context, control, value in found[:4]]


def value_shown(control, value):
    if not control & COMMAND:
        return f"data {value[:24].hex(' ')}"
    numbers = {0x0100: "field", 0x0900: "status"}
    at, told = 0, []
    while at + 8 <= len(value):
        _, number, length = struct.unpack_from("<HHI", value, at)
        if number in numbers and length == 2 and at + 10 <= len(value):
            told.append(f"{numbers[number]} {struct.unpack_from('<H', value, at + 8)[0]:04X}")
        at += 8 + length
    return f"command {' '.join(told)}"


def split_items(data):
    found = []
    while data:
        assert len(data) >= 4, "an item is cut off"
        kind, length = struct.unpack_from(">BxH", data)
        assert length <= len(data) - 4, "an item is longer than what holds it"
        found.append((kind, data[4 : 4 + length]))
        data = data[4 + length :]
    return found


@dataclass
class Accepted:
    """A-ASSOCIATE-AC, PS3.8 9.3.3, taken apart."""

    version: int
    called: bytes
    calling: bytes
    application_context: str
    # Context id to result and transfer syntax.
    contexts: dict
    # Pairs of type and value.
    user_items: list

    @classmethod
    def read(cls, body):
        version, called, calling = struct.unpack_from(">H2x16s16s", body)
        items = split_items(body[68:])
        contexts, user = {}, []
        for kind, value in items:
            if kind == 0x21:
                syntaxes = [uid.decode().rstrip("\0") for sub, uid in split_items(value[4:]) if sub == 0x40]
                assert value[0] not in contexts, f"context {value[0]} is answered twice"
                contexts[value[0]] = (value[2], syntaxes)
            elif kind == 0x50:
                user += split_items(value)
        [name] = [value.decode().rstrip("\0") for kind, value in items if kind == 0x10]
        return cls(version, called, calling, name, contexts, user)

    def user(self, kind):
        return [value for found, value in self.user_items if found == kind]

    @property
    def max_length(self):
        [value] = self.user(MAX_LENGTH) or [bytes(4)]
        return struct.unpack(">I", value)[0]

    def roles(self):
        """SOP class to its SCU and SCP roles."""
        return {value[2:-2].decode().rstrip("\0"): tuple(value[-2:]) for value in self.user(ROLE)}


class Connection:
    """Bytes to a server and PDUs from it; remembers what was said."""

    def __init__(self, place, patience_s=PATIENCE_S):
        self.patience_s, self.said = patience_s, []
        self.stream = socket.create_connection((place.host, place.port), timeout=patience_s)
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.stream.close()

    def send(self, data):
        self.note(">", data)
        self.stream.sendall(data)

    def note(self, mark, data):
        known = len(data) >= 6 and 1 <= data[0] <= 7 and struct.unpack_from(">I", data, 2)[0] == len(data) - 6
        shown = Pdu(data[0], data[6:]).shown() if known else f"{len(data)} bytes: {data[:SHOWN_BYTES].hex(' ')}"
        self.said.append(f"{mark} {shown}")

    def receive(self, patience_s=None):
        """The next PDU, or None when the server has closed."""
        deadline = time.monotonic() + (patience_s or self.patience_s)
        head = self.exactly(6, deadline)
        if head is None:
            return None
        kind, length = struct.unpack(">BxI", head)
        body = self.exactly(length, deadline)
        if body is None:
            raise Closed("the server closes within a PDU")
        self.note("<", head + body)
        return Pdu(kind, body)

    def exactly(self, count, deadline):
        data = bytearray()
        while len(data) < count:
            try:
                self.stream.settimeout(max(deadline - time.monotonic(), 0.001))
                more = self.stream.recv(count - len(data))
            except TimeoutError:
                self.said.append("< (silence)")
                raise Silence("the server neither answers nor closes") from None
            except ConnectionError:
                more = b""
            if not more:
                self.said.append("< (closed)")
                return None
            data += more
        return bytes(data)

    def expect(self, kind, patience_s=None):
        got = self.receive(patience_s)
        if got is None:
            raise Closed(f"the connection was closed in place of {NAMES[kind]}")
        if got.kind != kind:
            raise AssertionError(f"{got.shown()} in place of {NAMES[kind]}")
        return got

    def ends(self, patience_s=None):
        """Whether the server aborts or closes in time; what it sends before is passed over."""
        try:
            while True:
                got = self.receive(patience_s)
                if got is None or got.kind == A_ABORT:
                    return True
        except Closed:
            return True
        except Silence:
            return False

    def shown(self):
        return self.said[-16:]
