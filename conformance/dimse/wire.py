"""The upper layer by hand (PS3.8 9.3), for peers that no library would play."""

import socket
import struct

VERIFICATION = b"1.2.840.10008.1.1"
CT_IMAGE_STORAGE = b"1.2.840.10008.5.1.4.1.1.2"
IMPLICIT_VR_LITTLE_ENDIAN = b"1.2.840.10008.1.2"
APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
VERIFICATION_CONTEXT, CT_CONTEXT = 1, 3
ABORT = b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00"
RELEASE = b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00"
PATIENCE_S = 10


def connect(run):
    return Peer(socket.create_connection((run.host, run.port), timeout=PATIENCE_S))


class Peer:
    def __init__(self, connection):
        self.connection = connection

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def send(self, data):
        self.connection.sendall(data)

    def associate(self, aet):
        self.send(associate_request(aet))
        self.expect(2, "A-ASSOCIATE-RQ")

    def echo(self):
        """The Status (0000,0900) of a C-ECHO."""
        self.send(p_data(echo_command(), VERIFICATION_CONTEXT, control=3))
        body = self.expect(4, "C-ECHO-RQ")
        at = body.index(struct.pack("<HHI", 0, 0x0900, 2)) + 8
        return struct.unpack_from("<H", body, at)[0]

    def release(self):
        self.send(RELEASE)
        self.expect(6, "A-RELEASE-RQ")

    def expect(self, expected, asked):
        kind, length = struct.unpack(">BxI", self.exactly(6))
        if kind != expected:
            raise AssertionError(f"PDU {kind:#04x} in answer to {asked}")
        return self.exactly(length)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.connection.recv(count - len(data))
            if not more:
                raise ConnectionError("the server closed the connection")
            data += more
        return data

    def ends(self, patience_s=PATIENCE_S):
        """Whether the server aborts or closes in time."""
        self.connection.settimeout(patience_s)
        try:
            first = self.connection.recv(1)
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return first in (b"", b"\x07")


def associate_request(aet):
    items = item(0x10, APPLICATION_CONTEXT)
    items += context(VERIFICATION_CONTEXT, VERIFICATION) + context(CT_CONTEXT, CT_IMAGE_STORAGE)
    items += item(0x50, item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.826.0.1.3680043.8.498.2"))
    titles = aet.encode().ljust(16) + b"HOSTILE".ljust(16)
    return pdu(1, struct.pack(">H2x", 1) + titles + bytes(32) + items)


def context(identifier, abstract_syntax):
    syntaxes = item(0x30, abstract_syntax) + item(0x40, IMPLICIT_VR_LITTLE_ENDIAN)
    return item(0x20, bytes([identifier, 0, 0, 0]) + syntaxes)


def item(kind, value):
    return struct.pack(">BxH", kind, len(value)) + value


def pdu(kind, body):
    return struct.pack(">BxI", kind, len(body)) + body


def p_data(value, identifier=CT_CONTEXT, control=0):
    return p_data_header(len(value), identifier, control) + value


def p_data_header(length, identifier=CT_CONTEXT, control=0):
    return struct.pack(">BxIIBB", 4, length + 6, length + 2, identifier, control)


def echo_command():
    return command([(0x0002, uid(VERIFICATION)), (0x0100, short(0x30)), (0x0110, short(1)), (0x0800, short(0x0101))])


def store_command(sop_instance):
    elements = [
        (0x0002, uid(CT_IMAGE_STORAGE)),
        (0x0100, short(1)),
        (0x0110, short(1)),
        (0x0700, short(0)),
        (0x0800, short(0)),
        (0x1000, uid(sop_instance.encode())),
    ]
    return p_data(command(elements), CT_CONTEXT, control=3)


def command(elements):
    body = b"".join(struct.pack("<HHI", 0, element, len(value)) + value for element, value in elements)
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def uid(text):
    return text + b"\0" * (len(text) % 2)


def short(value):
    return struct.pack("<H", value)
