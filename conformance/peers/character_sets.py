"""Text in every character set of PS3.5 6.1 comes out of searches and metadata as UTF-8.

The bytes are made with Python's codecs and the escape sequences of PS3.3 C.12.1.1.2; what is
expected is the text they were made of, and what pydicom reads where it reads them right. Names of
rows: Q5, Q6, W21, W24c.
"""

import io
import json
import struct
from dataclasses import dataclass
from pathlib import Path

import pydicom
import requests
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from . import dicomweb, part10
from .server import Server
from .tally import equal

ESC = b"\x1b"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


def run(context, tally):
    with Server(context.binary, context.folder("character-sets")) as server:
        for case in CASES:
            with tally.check(f"{case.name}: metadata and searches, Q5 Q6 W21"):
                check(server, case)
        for path in charset_files():
            with tally.check(f"{path.name} as pydicom reads it, W21"):
                check_file(server, path)
        with tally.check("backslashes split values and not text, W24c"):
            check_backslashes(server)
        with tally.check("an item with a character set of its own"):
            check_items(server)
        for name, declared, raw, expected in WRONG:
            with tally.check(f"{name} is read as far as it can be"):
                check_wrong(server, declared, raw, expected)


@dataclass
class Case:
    name: str
    # Specific Character Set, its values between backslashes.
    declared: str
    # Of a person's name, by group, and of plain text.
    groups: tuple
    text: str
    encode: object
    pydicom_agrees: bool = True

    def person_name(self):
        return b"=".join(b"^".join(self.encode(part) for part in group.split("^")) for group in self.groups)

    def lines(self):
        return b"\r\n".join(self.encode(line) for line in self.text.split("\n"))


def plain(codec):
    return lambda text: text.encode(codec)


def escaped(codec, designation, back=b""):
    """Runs outside ASCII behind the escape that PS3.5 6.1.2.5 asks for, and what leads back."""

    def encode(text):
        out, inside = b"", False
        for char in text:
            if (char > "\x7f") != inside:
                inside = not inside
                out += designation if inside else back
            out += codec(char) if inside else char.encode("ascii")
        return out + (back if inside else b"")

    return encode


def upper(codec):
    return lambda char: char.encode(codec)


def lower(codec, lead=b""):
    """Two bytes of EUC without their upper bits."""
    return lambda char: bytes(byte & 0x7F for byte in char.encode(codec).removeprefix(lead))


def jisx0201(text):
    """Katakana of half width in the right half."""
    return b"".join(bytes([ord(c) - 0xFF61 + 0xA1]) if c > "\x7f" else c.encode("ascii") for c in text)


def mixed(text):
    """Latin-1 needs no escape; Cyrillic and Greek do, and end at each delimiter."""
    sets = [("latin-1", b"-A"), ("iso8859-5", b"-L"), ("iso8859-7", b"-F")]
    out, current = b"", "latin-1"
    for char in text:
        codec, final = next((codec, final) for codec, final in sets if encodes(codec, char))
        if char > "\x7f" and codec != current:
            out, current = out + ESC + final, codec
        out += char.encode(codec)
    return out


def encodes(codec, char):
    try:
        return bool(char.encode(codec))
    except UnicodeEncodeError:
        return False


CASES = [
    Case("Latin-1", "ISO_IR 100", ("Buc^Jérôme",), "Ångström ±½ ÿ\nnaïve", plain("latin-1")),
    Case("Latin-2", "ISO_IR 101", ("Wałęsa^Żaneta",), "čeština, gyógyszerész\nőű", plain("iso8859-2")),
    Case("Latin-3", "ISO_IR 109", ("Ĥoro^Ĝuŭa",), "eĥoŝanĝo ĉiuĵaŭde\nħ", plain("iso8859-3")),
    Case("Latin-4", "ISO_IR 110", ("Ķirsis^Šūķis",), "ģimenes ārsts\nŋ", plain("iso8859-4")),
    Case("Latin-5", "ISO_IR 148", ("Çavuşoğlu^Işıl",), "göğüs İstanbul\nş", plain("iso8859-9")),
    Case("Latin-9", "ISO_IR 203", ("Œuvre^Šárka",), "coût: 12 €\nŽ", plain("iso8859-15"),
         pydicom_agrees=False),
    Case("Cyrillic", "ISO_IR 144", ("Люкceмбypг^Ћирило",), "грудная клетка\nћ", plain("iso8859-5")),
    Case("Arabic", "ISO_IR 127", ("قباني^لنزار",), "صدر، رئة\nء", plain("iso8859-6")),
    Case("Greek", "ISO_IR 126", ("Διονυσιος^Ήρα",), "θώρακας\nΰ", plain("iso8859-7")),
    Case("Hebrew", "ISO_IR 138", ("שרון^דבורה",), "צילום חזה\nת", plain("iso8859-8")),
    Case("Thai", "ISO_IR 166", ("นาย^สมชาย",), "ทรวงอก ปอด\nฯ", plain("tis-620")),
    Case("Japanese katakana", "ISO_IR 13", ("ﾔﾏﾀﾞ^ﾀﾛｳ",), "ｷｮｳﾌﾞ\nﾊｲ", jisx0201),
    Case("Japanese kanji", "\\ISO 2022 IR 87", ("Yamada^Tarou", "山田^太郎", "やまだ^たろう"), "胸部CT 正面\n椒泪",
         escaped(lower("euc_jp"), ESC + b"$B", ESC + b"(B")),
    Case("Japanese supplement", "\\ISO 2022 IR 87\\ISO 2022 IR 159", ("Ishii^Kyou", "丂^丄"), "a丂b\n丄",
         escaped(lower("euc_jp", b"\x8f"), ESC + b"$(D", ESC + b"(B")),
    Case("Korean", "\\ISO 2022 IR 149", ("Hong^Gildong", "洪^吉洞", "홍^길동"), "흉부 CT 정면\n폐",
         escaped(upper("euc_kr"), ESC + b"$)C")),
    Case("Chinese by escapes", "\\ISO 2022 IR 58", ("Zhang^XiaoDong", "张^小东"), "胸部正位\n肺",
         escaped(upper("gb2312"), ESC + b"$)A"), pydicom_agrees=False),
    Case("GB18030", "GB18030", ("Wang^XiaoDong", "王^小东"), "胸部 ㊣ ß\n㐀", plain("gb18030")),
    Case("GBK", "GBK", ("Wang^XiaoDong", "王^小東"), "怽 胸部正位\n肺", plain("gbk")),
    Case("UTF-8", "ISO_IR 192", ("Wang^XiaoDong", "王^小東"), "दिल Հայ ქართ 🫁\nπ", plain("utf-8")),
    Case("Cyrillic by escapes", "ISO 2022 IR 6\\ISO 2022 IR 144", ("Ivan^Иван",), "лёгкое x\nа",
         escaped(upper("iso8859-5"), ESC + b"-L")),
    Case("three sets in one value", "ISO 2022 IR 100\\ISO 2022 IR 144\\ISO 2022 IR 126", ("é^Иван^Διον",),
         "éИванΔι é\nпé", mixed, pydicom_agrees=False),
]

# What files do that the standard does not have: declared, bytes of a name, what is made of them.
WRONG = [
    ("UTF-8 without a declaration", "", "Müller^王".encode(), "Müller^王"),
    ("Latin-1 without a declaration", "", b"M\xfcller", "Müller"),
    ("an unknown term", "ISO_IR 999", b"M\xfcller", "Müller"),
    ("a term spelled ISO-IR 100", "ISO-IR 100", b"M\xfcller", "Müller"),
    ("a term spelled ISO_IR_100", "ISO_IR_100", b"M\xfcller", "Müller"),
    ("a missing escape", "\\ISO 2022 IR 149", b"\xc8\xab^\xb1\xe6", "홍^길"),
    ("an escape that is not declared", "ISO_IR 100", b"\x1b-L\xd0", "а"),
    ("Latin-1 declared as UTF-8", "ISO_IR 192", b"M\xfcller", "M\ufffdller"),
    ("an unknown escape", "ISO_IR 100", b"a\x1b%Gb", "a\ufffd%Gb"),
]


def element(tag, vr, value):
    """Explicit VR Little Endian; text is padded with a space."""
    value += (b"\0" if vr in ("UI", "OB", "UN") else b" ") * (len(value) % 2)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    if vr.encode() in part10.LONG_VRS:
        return head + struct.pack("<HI", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def item(content):
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def file_of(declared, elements):
    """A file of these (tag, VR, bytes), with UIDs of its own where they name none; and those UIDs."""
    uids = {0x0020000D: generate_uid(), 0x0020000E: generate_uid(), 0x00080018: generate_uid()}
    needed = [(tag, "UI", uid.encode()) for tag, uid in uids.items()]
    # Of one patient, the index would keep one name.
    needed += [(0x00100020, "LO", uids[0x0020000D][-16:].encode())]
    needed += [(0x00080016, "UI", SECONDARY_CAPTURE.encode()), (0x00080005, "CS", declared.encode())]
    given = {tag for tag, _, _ in elements}
    needed = [one for one in needed if one[0] not in given]
    body = b"".join(element(*one) for one in sorted(needed + elements))
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SECONDARY_CAPTURE, uids[0x00080018]
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = io.BytesIO(bytes(128) + b"DICM")
    out.seek(0, io.SEEK_END)
    pydicom.filewriter.write_file_meta_info(out, meta)
    return out.getvalue() + body, tuple(uids.values())


def stored_metadata(server, file, uids):
    kept, failed = dicomweb.store(server, [file])
    equal("stored", (kept, failed), ([uids[2]], {}))
    study, series, instance = uids
    answer = requests.get(f"{server.web}/studies/{study}/series/{series}/instances/{instance}/metadata",
                          headers={"Accept": dicomweb.JSON}, timeout=dicomweb.TIMEOUT_S)
    # UTF-8 whatever the source has: bytes of another set stop here.
    return json.loads(answer.content.decode("utf-8"))[0]


def name_object(groups):
    return {group: text for group, text in zip(GROUPS, groups) if text}


def check(server, case):
    name, text, one_line = case.person_name(), case.lines(), case.encode(case.text.split("\n")[0])
    code = element(0x00080104, "LO", one_line)
    file, uids = file_of(case.declared, [
        (0x00100010, "PN", name), (0x00080090, "PN", name + b"\\" + name),
        (0x00081030, "LO", one_line), (0x00081032, "SQ", item(code)), (0x00104000, "LT", text),
        (0x0040A160, "UT", text),
    ])
    expected_name, lines = name_object(case.groups), case.text.replace("\n", "\r\n")
    found = stored_metadata(server, file, uids)
    equal("name", found["00100010"]["Value"], [expected_name])
    equal("names", found["00080090"]["Value"], [expected_name] * 2)
    equal("LO", found["00081030"]["Value"], [case.text.split("\n")[0]])
    equal("LO in an item", found["00081032"]["Value"][0]["00080104"]["Value"], [case.text.split("\n")[0]])
    equal("LT", found["00104000"]["Value"], [lines])
    equal("UT", found["0040A160"]["Value"], [lines])
    equal("declared", found["00080005"]["Value"], [term or None for term in case.declared.split("\\")])
    check_search(server, case, uids[0], expected_name)
    if case.pydicom_agrees:
        read = pydicom.dcmread(io.BytesIO(file))
        equal("pydicom's name", name_object(str(read.PatientName).split("=")), expected_name)
        equal("pydicom's text", read.PatientComments, lines)


def check_search(server, case, study, expected_name):
    """Found by the whole name in UTF-8, and shown in UTF-8."""
    found = dicomweb.search(server, "studies", PatientName="=".join(case.groups), StudyInstanceUID=study)
    equal("found by name", len(found), 1)
    equal("name in the answer", found[0]["00100010"]["Value"], [expected_name])
    by_description = dicomweb.search(server, "studies", StudyInstanceUID=study, includefield="00081030")
    equal("description", by_description[0]["00081030"]["Value"], [case.text.split("\n")[0]])


def check_wrong(server, declared, raw, expected):
    file, uids = file_of(declared, [(0x00100010, "PN", raw)])
    equal("name", stored_metadata(server, file, uids)["00100010"]["Value"], [{"Alphabetic": expected}])


def check_backslashes(server):
    file, uids = file_of("GBK", [
        (0x00080050, "SH", b"a\\b"), (0x00081030, "LO", b"\x90\x5c\\b"), (0x00081090, "LO", b"a\\"),
        (0x00104000, "LT", b"a\\b"), (0x00400280, "ST", b"\x90\x5c\\"), (0x0040A160, "UT", b"a\\b\\"),
    ])
    found = stored_metadata(server, file, uids)
    values = {tag: found[tag]["Value"] for tag in ("00080050", "00081030", "00081090")}
    equal("split", values, {"00080050": ["a", "b"], "00081030": ["怽", "b"], "00081090": ["a", None]})
    values = {tag: found[tag]["Value"] for tag in ("00104000", "00400280", "0040A160")}
    equal("whole", values, {"00104000": ["a\\b"], "00400280": ["怽\\"], "0040A160": ["a\\b\\"]})


def check_items(server):
    own = element(0x00080005, "CS", b"ISO_IR 144") + element(0x00080104, "LO", "лёгкое".encode("iso8859-5"))
    inherited = element(0x00080104, "LO", "é".encode("latin-1"))
    file, uids = file_of("ISO_IR 100", [
        (0x00081032, "SQ", item(own) + item(inherited)), (0x00081030, "LO", "ü".encode("latin-1"))])
    found = stored_metadata(server, file, uids)
    items = [item["00080104"]["Value"][0] for item in found["00081032"]["Value"]]
    equal("items", items + found["00081030"]["Value"], ["лёгкое", "é", "ü"])


def charset_files():
    return sorted((Path(pydicom.__file__).parent / "data" / "charset_files").glob("*.dcm"))


def check_file(server, path):
    """With UIDs of its own, its text as it was."""
    dataset = pydicom.dcmread(path)
    uids = [generate_uid() for _ in range(3)]
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = uids
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SECONDARY_CAPTURE
    dataset.file_meta.MediaStorageSOPInstanceUID = uids[2]
    file = part10.encoded(dataset)
    found = stored_metadata(server, file, uids)
    read = pydicom.dcmread(io.BytesIO(file))
    read.decode()
    compared = compare_text(read, found)
    assert compared > 0, "nothing to compare"


def compare_text(read, found):
    """Every text of a data set and its items; their number."""
    compared = 0
    for element in read:
        written = found[f"{element.tag:08X}"]
        if written["vr"] == "UN":
            continue  # Private and implicit: pydicom looks its VR up.
        values = written.get("Value", [])
        if element.VR == "SQ":
            compared += sum(compare_text(item, values[at]) for at, item in enumerate(element.value))
        elif element.VR == "PN":
            several = element.value if element.VM > 1 else [element.value]
            expected = [name_object(str(name).split("=")) for name in several if str(name)]
            equal(element.keyword, [name for name in values if name], expected)
            compared += len(expected)
        elif element.VR in ("LO", "SH", "UC", "LT", "ST", "UT") and element.value:
            expected = list(element.value) if element.VM > 1 else [element.value]
            equal(element.keyword, values, [value.rstrip() or None for value in expected])
            compared += 1
    return compared
