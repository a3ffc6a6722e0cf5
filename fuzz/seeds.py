#!/usr/bin/env python3
"""Writes the first inputs of the fuzz targets: small, and each of another kind.

What a run finds beyond them stays in `corpus/`, which is not kept; an input that once failed is
added here by hand, so that it is tried again for ever.
"""

import struct
from pathlib import Path

HERE = Path(__file__).parent
EXPLICIT, IMPLICIT, BIG, JPEG, FILE = range(5)
LONG = {"OB", "OW", "SQ", "UN", "UT", "OF", "UC", "UR", "OV"}
UNDEFINED = 0xFFFFFFFF


def element(tag, vr, value, length=None):
    """Explicit VR Little Endian."""
    group, number = tag >> 16, tag & 0xFFFF
    value += b"\0" * (len(value) % 2)
    length = len(value) if length is None else length
    sized = struct.pack("<HI", 0, length) if vr in LONG else struct.pack("<H", length)
    return struct.pack("<HH", group, number) + vr.encode() + sized + value


def implicit(tag, value):
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def item(content, length=None):
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content) if length is None else length) + content


END_OF_ITEM = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
END_OF_SEQUENCE = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)

IDENTITY = (
    element(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.2")
    + element(0x00080018, "UI", b"1.2.3.4")
    + element(0x0020000D, "UI", b"1.2")
    + element(0x0020000E, "UI", b"1.2.3")
)


def nested(depth):
    """A sequence in a sequence, of undefined length."""
    inside = element(0x00080104, "LO", b"deep")
    for _ in range(depth):
        inside = element(0x0040A730, "SQ", item(inside + END_OF_ITEM, UNDEFINED) + END_OF_SEQUENCE, UNDEFINED)
    return inside


def file(data_set, syntax=b"1.2.840.10008.1.2.1"):
    meta = element(0x00020001, "OB", b"\0\1") + element(0x00020002, "UI", b"1.2.840.10008.5.1.4.1.1.2")
    meta += element(0x00020003, "UI", b"1.2.3.4") + element(0x00020010, "UI", syntax)
    length = element(0x00020000, "UL", struct.pack("<I", len(meta)))
    return b"\0" * 128 + b"DICM" + length + meta + data_set


DICOM = {
    "identity": (EXPLICIT, IDENTITY),
    "empty": (EXPLICIT, b""),
    "numbers": (EXPLICIT, element(0x00280010, "US", b"\2\0\3\0") + element(0x00201208, "IS", b"1\\2\\x")
                + element(0x00101030, "DS", b"1e400\\-0\\.5") + element(0x00189087, "FD", b"\0" * 6 + b"\xf8\x7f")),
    "attribute-tags": (EXPLICIT, element(0x00280009, "AT", b"\x18\x00\x63\x10") + element(0x00089215, "SQ", b"")),
    "names": (EXPLICIT, element(0x00080005, "CS", b"\\ISO 2022 IR 87\\ISO 2022 IR 13")
              + element(0x00100010, "PN", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=x")),
    "gb18030": (EXPLICIT, element(0x00080005, "CS", b"GB18030") + element(0x00100010, "PN", b"\xcd\xf5^\x81\x30\x81\x30")),
    "unknown-character-set": (EXPLICIT, element(0x00080005, "CS", b"KOI8") + element(0x00104000, "LT", b"\xff\xfe")),
    "nested": (EXPLICIT, nested(5)),
    "too-deep": (EXPLICIT, nested(45)),
    "private": (EXPLICIT, element(0x00090010, "LO", b"ACME") + element(0x00091001, "UN", b"\1\2\3\4")),
    "unknown-of-undefined-length": (EXPLICIT, element(0x00091002, "UN", item(implicit(0x00100020, b"P1"))
                                                      + END_OF_SEQUENCE, UNDEFINED)),
    "pixels": (EXPLICIT, IDENTITY + element(0x7FE00010, "OW", b"\1\0" * 16)),
    "truncated": (EXPLICIT, IDENTITY[:-3]),
    "length-beyond-the-end": (EXPLICIT, element(0x7FE00010, "OW", b"\1\2", 0x7FFFFFF0)),
    "implicit": (IMPLICIT, implicit(0x00080018, b"1.2.3.4") + implicit(0x00100010, b"Doe^Jane")),
    "big-endian": (BIG, struct.pack(">HH2sH2s", 0x0028, 0x0010, b"US", 2, b"\0\4")),
    "fragments": (JPEG, IDENTITY + element(0x7FE00010, "OB", item(struct.pack("<I", 0)) + item(b"\xff\xd8\xff\xd9")
                                           + END_OF_SEQUENCE, UNDEFINED)),
    "file": (FILE, file(IDENTITY)),
    "file-with-another-syntax": (FILE, file(IDENTITY, b"1.2.840.10008.1.2.4.90")),
    "bare-data-set": (FILE, IDENTITY),
}

BOUND = b"Content-Type: application/dicom\r\n\r\n"
MULTIPART = {
    "one-part": (b"\x40", b"\r\n--b\r\n" + BOUND + b"one\r\n--b--\r\n"),
    "two-parts-byte-by-byte": (b"\x01", b"--b\r\n" + BOUND + b"one\r\n--b\r\n\r\ntwo\r\n--b--"),
    "preamble-and-epilogue": (b"\x05", b"pre\r\n--b \t\r\n" + BOUND + b"x\r\n--b--post"),
    "nearly-boundaries": (b"\x03", b"--b\r\n" + BOUND + b"\r\n--\r\n--a\r\n-\r\r\n--b--"),
    "folded-header": (b"\x07", b"--b\r\nContent-Type: multipart/related;\r\n boundary=\"c\"\r\n\r\nx\r\n--b--"),
    "no-boundary": (b"\x08", b"nothing here"),
    "cut-off": (b"\x08", b"--b\r\n" + BOUND + b"one"),
    "content-type": (b"\xff", b'multipart/related; type="application/dicom"; boundary="a;b,c"'),
}

HEADERS = {
    "instances": b'multipart/related; type="application/dicom"; transfer-syntax=*',
    "browser": b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
    "qualities": b"application/dicom+json;q=0.5, image/jpeg;q=1.0;charset=utf-8, */*;q=0",
    "broken": b'multipart/related; type="application/dicom;;=,;q=NaN, /,*',
    "all": b'image/*\nutf-8;q=0.2, *\nfor="[2001:db8::1]:47";proto=https;host=h, for=10.0.0.1\n"a-gzip", W/"b", *\nbytes=0-9',
}

PLACE = b"/dicom-web/studies/1.2/series/1.3/instances/1.4"
TARGETS = {
    "search": b"/dicom-web/studies?PatientName=Held%2A%5EA&StudyDate=20260101-&limit=5&offset=2&includefield=all",
    "private-key": b"/dicom-web/series?00091002=x&00090010=ACME&fuzzymatching=true",
    "sequence": b"/dicom-web/series?RequestAttributesSequence.ScheduledProcedureStepID=1%5C2",
    "times": b"/dicom-web/studies?StudyDate=20260101-20261231&StudyTime=10-1159.9&TimezoneOffsetFromUTC=%2B0100",
    "uids": b"/dicom-web/studies?StudyInstanceUID=1.2,1.3%5C1.4&ModalitiesInStudy=CT",
    "frames": PLACE + b"/frames/1%2C3,2/rendered?window=40,400,linear&viewport=512%2C512&quality=90",
    "bulk-data": PLACE + b"/bulkdata/54000100/0/54001010?accept=image/png",
    "odd": b"/dicom-web//studies/%31.2/?&a=b&=c&%&%zz&a=b&charset=x",
    "rest": b"/api/v1/studies/1.2/analyses",
}

MODEL = b'<?xml version="1.0"?><NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">%s</NativeDicomModel>'
XML = {
    "text": MODEL % b'<DicomAttribute tag="00100020" vr="LO" keyword="PatientID"><Value number="1">P&amp;1</Value></DicomAttribute>',
    "name": MODEL % b'<DicomAttribute tag="00100010" vr="PN"><PersonName number="1"><Alphabetic><FamilyName>A</FamilyName></Alphabetic></PersonName></DicomAttribute>',
    "sequence": MODEL % b'<DicomAttribute tag="00081115" vr="SQ"><Item number="1"><DicomAttribute tag="0020000E" vr="UI"/></Item></DicomAttribute>',
    "inline": MODEL % b'<DicomAttribute tag="7FE00010" vr="OB"><InlineBinary>AAECAw==</InlineBinary></DicomAttribute>',
    "bulk-data": MODEL % b'<DicomAttribute tag="7FE00010" vr="OW"><BulkData uri="x"/></DicomAttribute>',
    "entities": b'<!DOCTYPE a [<!ENTITY b "c">]><NativeDicomModel><DicomAttribute tag="00100020" vr="LO"><Value number="1">&b;</Value></DicomAttribute></NativeDicomModel>',
}


def pdu(kind, content):
    return struct.pack(">BBI", kind, 0, len(content)) + content


def values(*parts):
    """P-DATA-TF of presentation data values: context, message control header, bytes."""
    return pdu(4, b"".join(struct.pack(">IBB", len(part) + 2, context, control) + part for context, control, part in parts))


def sub(kind, content):
    return struct.pack(">BBH", kind, 0, len(content)) + content


CONTEXT = sub(0x20, b"\1\0\0\0" + sub(0x30, b"1.2.840.10008.1.1") + sub(0x40, b"1.2.840.10008.1.2"))
USER = sub(0x50, sub(0x51, struct.pack(">I", 16384)) + sub(0x52, b"1.2.3"))
REQUEST = pdu(1, struct.pack(">HH16s16s32x", 1, 0, b"RADIANT".ljust(16), b"SCU".ljust(16))
              + sub(0x10, b"1.2.840.10008.3.1.1.1") + CONTEXT + USER)
COMMAND = implicit(0, struct.pack("<I", 28)) + implicit(0x0100, b"\x30\0") + implicit(0x0110, b"\1\0") + implicit(0x0800, b"\1\1")
PDUS = {
    "association": REQUEST,
    "echo": values((1, 3, COMMAND)) + pdu(5, b"\0" * 4),
    "fragments": values((1, 1, COMMAND[:9]), (1, 3, COMMAND[9:])) + values((1, 2, b"data")),
    "abort": pdu(7, b"\0\0\2\0"),
    "reject": pdu(3, b"\0\1\1\1"),
    "unknown": pdu(9, b"?"),
    "too-long": struct.pack(">BBI", 4, 0, 0x7FFFFFFF),
    "empty-value": pdu(4, struct.pack(">I", 0)),
}

STORE = (
    implicit(0x0002, b"1.2.840.10008.5.1.4.1.1.2") + implicit(0x0100, b"\1\0") + implicit(0x0110, b"\7\0")
    + implicit(0x0700, b"\0\0") + implicit(0x0800, b"\1\0") + implicit(0x1000, b"1.2.3.4")
)
MOVE = implicit(0x0100, b"\x21\0") + implicit(0x0110, b"\2\0") + implicit(0x0600, b"SOMEBODY") + implicit(0x0800, b"\1\0")
COMMANDS = {
    "echo": b"\xff" + COMMAND,
    "store-in-fragments": b"\7" + implicit(0, struct.pack("<I", len(STORE))) + STORE,
    "move-without-a-length": b"\x20" + MOVE,
    "answer": b"\x40" + implicit(0x0100, b"\1\x80") + implicit(0x0120, b"\1\0") + implicit(0x0800, b"\1\1")
    + implicit(0x0900, b"\0\xc0") + implicit(0x0902, b"why"),
    "long": b"\1" + implicit(0x0110, b"\1\0\0") + struct.pack("<HHI", 0, 0x1000, 0xFFFFFFFF),
    "another-group": b"\x10" + implicit(0x00080018, b"1.2"),
}


def value(context, control, part):
    """As the `association` target reads them: context, message control header, length, bytes."""
    return struct.pack(">BBH", context, control, len(part)) + part


def command(field, context, *elements):
    """A command set that announces a data set, on one of the contexts of the target."""
    body = implicit(0x0100, struct.pack("<H", field)) + implicit(0x0110, b"\1\0") + b"".join(elements) + implicit(0x0800, b"\1\0")
    return value(context, 3, implicit(0, struct.pack("<I", len(body))) + body)


STUDY_LEVEL = implicit(0x00080052, b"STUDY ") + implicit(0x00100010, b"A*") + implicit(0x0020000D, b"1.2")
ASSOCIATIONS = {
    "request": b"\0" + REQUEST + PDUS["echo"],
    "pdus": b"\1" + PDUS["echo"] + PDUS["fragments"],
    "store": b"\2" + command(0x0001, 3, implicit(0x1000, b"1.2.3.4")) + value(3, 0, b"some") + value(3, 2, b"data"),
    "find": b"\2" + command(0x0020, 5) + value(5, 2, STUDY_LEVEL),
    "move": b"\2" + command(0x0021, 7, implicit(0x0600, b"SOMEBODY")) + value(7, 2, STUDY_LEVEL),
    "get": b"\2" + command(0x0010, 9) + value(9, 2, STUDY_LEVEL),
    "commitment": b"\2" + command(0x0130, 11, implicit(0x1001, b"1.2.840.10008.1.20.1.1"), implicit(0x1008, b"\1\0"))
    + value(11, 2, implicit(0x00081195, b"1.2.9") + struct.pack("<HHI", 8, 0x1199, 0)),
    "interleaved": b"\2" + command(0x0001, 3) + value(1, 0, b"data") + value(3, 3, COMMAND),
}


def write(target, name, content):
    folder = HERE / "seeds" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def main():
    for name, (syntax, content) in DICOM.items():
        write("dicom_json", name, bytes([syntax]) + content)
    for name, (size, content) in MULTIPART.items():
        write("multipart", name, size + content)
    plain = {"headers": HEADERS, "target": TARGETS, "xml": XML, "pdu": PDUS, "command_set": COMMANDS, "association": ASSOCIATIONS}
    for target, seeds in plain.items():
        for name, content in seeds.items():
            write(target, name, content)


if __name__ == "__main__":
    main()
