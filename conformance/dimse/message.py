"""Command sets and data sets (PS3.7 6.3, 9.3), and an association that carries them."""

import struct
from dataclasses import dataclass
from io import BytesIO

import wire
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

C_STORE, C_GET, C_FIND, C_MOVE, C_ECHO = 0x0001, 0x0010, 0x0020, 0x0021, 0x0030
N_EVENT_REPORT, N_SET, N_ACTION, C_CANCEL, RESPONSE = 0x0100, 0x0120, 0x0130, 0x0FFF, 0x8000
NO_DATA_SET, DATA_SET = 0x0101, 0x0001
SUCCESS, CANCELLED, PENDING, PENDING_WARNING = 0x0000, 0xFE00, 0xFF00, 0xFF01
# Elements of group 0000.
LENGTH, SOP_CLASS, REQUESTED_CLASS, FIELD, MESSAGE_ID, ANSWERED_ID = 0x0000, 0x0002, 0x0003, 0x0100, 0x0110, 0x0120
DESTINATION, PRIORITY, DATA_SET_TYPE, STATUS, COMMENT = 0x0600, 0x0700, 0x0800, 0x0900, 0x0902
SOP_INSTANCE, REQUESTED_INSTANCE, EVENT_TYPE, ACTION_TYPE = 0x1000, 0x1001, 0x1002, 0x1008
REMAINING, COMPLETED, FAILED_COUNT, WARNINGS, ORIGINATOR, ORIGINATOR_ID = 0x1020, 0x1021, 0x1022, 0x1023, 0x1030, 0x1031
SHORTS = {FIELD, MESSAGE_ID, ANSWERED_ID, PRIORITY, DATA_SET_TYPE, STATUS, EVENT_TYPE, ACTION_TYPE, REMAINING, COMPLETED,
          FAILED_COUNT, WARNINGS, ORIGINATOR_ID}


def element(number, value, group=0):
    """Implicit VR Little Endian; an int is two bytes, text is filled up with NUL."""
    if isinstance(value, int):
        value = struct.pack("<H", value)
    if isinstance(value, str):
        value = value.encode() + b"\0" * (len(value) % 2)
    return struct.pack("<HHI", group, number, len(value)) + value


def encode_command(fields):
    """In the order of the tags, behind the group length."""
    body = b"".join(element(number, fields[number]) for number in sorted(fields) if number != LENGTH)
    return element(LENGTH, struct.pack("<I", len(body))) + body


def decode_command(data):
    """Element to value; refuses what PS3.7 6.3.1 does not allow."""
    fields, at, before = {}, 0, -1
    while at < len(data):
        assert at + 8 <= len(data), "the command set is cut off"
        group, number, length = struct.unpack_from("<HHI", data, at)
        value, at = data[at + 8 : at + 8 + length], at + 8 + length
        assert group == 0, f"group {group:04X} in a command set"
        assert at <= len(data), "an element of the command set is cut off"
        assert number > before, "the elements are not in ascending order"
        assert length % 2 == 0, f"(0000,{number:04X}) is of odd length"
        fields[number], before = decoded(number, value), number
        if number == LENGTH:
            assert struct.unpack("<I", value)[0] == len(data) - at, "the group length is wrong"
    assert LENGTH in fields, "there is no group length"
    return fields


def decoded(number, value):
    if number in SHORTS:
        return struct.unpack("<H", value)[0]
    return value if number == LENGTH else value.decode("latin-1").strip("\0 ")


def encode_data_set(data_set, syntax=wire.IMPLICIT):
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, syntax == wire.IMPLICIT
    write_dataset(out, data_set)
    return out.getvalue()


def decode_data_set(data, syntax=wire.IMPLICIT):
    head = bytes(128) + b"DICM" + b"\2\0\x10\0UI" + struct.pack("<H", len(syntax) + len(syntax) % 2)
    return dcmread(BytesIO(head + syntax.encode() + b"\0" * (len(syntax) % 2) + data), force=True)


@dataclass
class Message:
    context: int
    command: dict
    data: bytes | None = None
    # The sizes of the PDUs that it came in.
    pdu_lengths: tuple = ()

    @property
    def field(self):
        return self.command.get(FIELD)

    @property
    def status(self):
        return self.command.get(STATUS)

    @property
    def pending(self):
        return self.status in (PENDING, PENDING_WARNING)


class Association(wire.Connection):
    """Stands when it has been made; `accepted` is the server's answer."""

    def __init__(self, place, request, patience_s=wire.PATIENCE_S):
        super().__init__(place, patience_s)
        place.last, self.request, self.message_id, self.waiting = self, request, 0, []
        self.send(request.encode())
        try:
            self.accepted = wire.Accepted.read(self.expect(wire.ASSOCIATE_AC).body)
        except BaseException:
            self.close()
            raise

    def context(self, abstract_syntax, syntax=None):
        """The first accepted context; None when there is none."""
        for identifier, abstract, _ in self.request.contexts:
            result, chosen = self.accepted.contexts.get(identifier, (None, []))
            if abstract == abstract_syntax and result == wire.ACCEPTED and syntax in (None, *chosen):
                return identifier
        return None

    def syntax(self, context):
        return self.accepted.contexts[context][1][0]

    def next_id(self):
        self.message_id += 1
        return self.message_id

    def command(self, context, fields, data=None, pieces=None):
        """A request; `pieces` is how many bytes of the data set go into one PDU."""
        fields = {DATA_SET_TYPE: NO_DATA_SET if data is None else DATA_SET} | fields
        fields = {number: value for number, value in fields.items() if value is not None}
        self.send(wire.p_data(encode_command(fields), context, wire.COMMAND | wire.LAST))
        if data is not None:
            self.data_set(context, data, pieces)

    def data_set(self, context, data, pieces=None):
        limit = self.accepted.max_length or 1 << 16
        size = pieces or min(limit, 1 << 16) - 6
        chunks = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
        for number, chunk in enumerate(chunks):
            self.send(wire.p_data(chunk, context, wire.LAST * (number + 1 == len(chunks))))

    def ask(self, context, fields, data=None, pieces=None):
        """A request and its first answer."""
        fields = {MESSAGE_ID: self.next_id()} | fields
        self.command(context, fields, data, pieces)
        answer = self.message()
        wanted = fields[FIELD] | RESPONSE
        assert answer.field == wanted, f"{answer.field:04X}H answers in place of {wanted:04X}H"
        assert answer.command.get(ANSWERED_ID) == fields[MESSAGE_ID], "the answer names another message"
        assert answer.context == context, "the answer comes on another presentation context"
        return answer

    def message(self, patience_s=None):
        """The next message, put together and looked at."""
        context, command, data, lengths = None, b"", None, []
        while True:
            context, control, value = self.value(patience_s, lengths, context)
            if control & wire.COMMAND:
                assert data is None, "a command set within a data set"
                command += value
                if control & wire.LAST:
                    fields = decode_command(command)
                    if fields[DATA_SET_TYPE] == NO_DATA_SET:
                        return Message(context, fields, None, tuple(lengths))
                    data = b""
            else:
                assert data is not None, "a data set without its command"
                data += value
                if control & wire.LAST:
                    return Message(context, fields, data, tuple(lengths))

    def value(self, patience_s, lengths, context):
        if not self.waiting:
            got = self.expect(wire.P_DATA, patience_s)
            lengths.append(len(got.body))
            self.waiting = got.values()
        found = self.waiting.pop(0)
        assert context in (None, found[0]), "a message changes its presentation context"
        assert found[1] < 4, f"the message control header is {found[1]:02X}H"
        return found

    def echo(self, **changes):
        context = self.context(wire.VERIFICATION)
        return self.ask(context, {FIELD: C_ECHO, SOP_CLASS: wire.VERIFICATION, **changes})

    def store(self, data_set, **options):
        """The answer to a C-STORE of a pydicom data set."""
        context = self.context(data_set.SOPClassUID)
        data = encode_data_set(data_set, self.syntax(context))
        return self.store_bytes(context, data_set.SOPClassUID, data_set.SOPInstanceUID, data, **options)

    def store_bytes(self, context, sop_class, sop_instance, data, pieces=None, changes=()):
        fields = {FIELD: C_STORE, PRIORITY: 0, SOP_CLASS: str(sop_class), SOP_INSTANCE: str(sop_instance)}
        return self.ask(context, fields | dict(changes), data, pieces)

    def find(self, sop_class, identifier, **changes):
        """Pending answers and the last one."""
        context = self.context(sop_class)
        data = encode_data_set(identifier, self.syntax(context))
        answers = [self.ask(context, {FIELD: C_FIND, PRIORITY: 0, SOP_CLASS: sop_class, **changes}, data)]
        while answers[-1].pending:
            answers.append(self.message())
        return answers[:-1], answers[-1]

    def release(self):
        self.send(wire.RELEASE)
        self.expect(wire.RELEASE_RP)
        self.close()
