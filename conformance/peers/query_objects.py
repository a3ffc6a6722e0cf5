"""Objects to be asked for: with sequences, private attributes, moments, names and long comments."""

from pydicom.uid import generate_uid

from .character_sets import element, file_of, item

DATE, TIME, ZONE, DESCRIPTION, COMMENT = 0x00080020, 0x00080030, 0x00080201, 0x00081030, 0x00204000
COMMENT_BYTES = 30_000


def made():
    return moments() + coded() + [private(0x10), private(0x11)]


def of(patient, elements):
    """A file of a patient; its study and series are its own."""
    number, name = patient
    own = [(0x00100020, "LO", number.encode()), (0x00100010, "PN", name.encode())]
    return file_of("ISO_IR 192", elements + own)[0]


def moments():
    """Studies of one patient at several times and in several zones."""
    times = [(b"20260110", b"020000", b"+0000"), (b"20260109", b"2330", b"-0500"), (b"20260110", b"101559.9", b""),
             (b"20260110", b"", b""), (b"", b"", b""), (b"20251231", b"235959", b"+0900")]
    more = [(0x00080060, "CS", b"MR"), (0x00101010, "AS", b"040Y"), (0x00101030, "DS", b"72.5")]
    return [of(("Q1", "Query^One"), [(DATE, "DA", date), (TIME, "TM", time), (ZONE, "SH", zone), *more])
            for date, time, zone in times]


def code(value, scheme, meaning):
    return item(element(0x00080100, "SH", value) + element(0x00080102, "SH", scheme) + element(0x00080104, "LO", meaning))


def request(step, procedure):
    return item(element(0x00400009, "SH", step) + element(0x00401001, "SH", procedure))


def coded():
    """Studies and series whose sequences have one item, two, and none."""
    one, two = code(b"C1", b"99A", b"One"), code(b"C2", b"99B", b"Two")
    requests = request(b"S1", b"P1") + request(b"S2", b"P2")
    inner = item(element(0x00081155, "UI", b"1.2.3.4"))
    nested = item(element(0x00081199, "SQ", inner) + element(0x0020000E, "UI", b"1.2.3"))
    return [
        of(("Q2", "Query^Two"), [(0x00081032, "SQ", one + two), (0x00400275, "SQ", requests), (0x00080060, "CS", b"MR"),
                                 (0x00081115, "SQ", nested), (DESCRIPTION, "LO", b"50% of it_all")]),
        of(("Q3", "Query^Three"), [(0x00081032, "SQ", two), (0x00400275, "SQ", request(b"S1", b"P2"))]),
        of(("Q4", "Query^Four"), [(0x00081032, "SQ", b""), (DESCRIPTION, "LO", b"5000 of it")]),
    ]


def private(block):
    """The same private attribute in another block."""
    return of((f"Q{block}", "Query^Private"), [
        (0x00090000 | block, "LO", b"ACME"), (0x00090000 | block << 8 | 1, "LO", b"private text"),
        (0x00080008, "CS", b"ORIGINAL\\PRIMARY")])


def scripted(case):
    """A patient with a name and a study with a description in one of the scripts."""
    file, _ = file_of(case.declared, [(0x00100010, "PN", case.person_name()),
                                      (DESCRIPTION, "LO", case.encode(case.text.split("\n")[0]))])
    return file


def talkative(count):
    """A series whose instances say more than the buffers of a connection hold; and its study."""
    study, series = generate_uid(), generate_uid()
    own = [(0x0020000D, "UI", study.encode()), (0x0020000E, "UI", series.encode()), (0x00100020, "LO", b"TALKATIVE")]
    comments = (f"{number:04} ".encode() * (COMMENT_BYTES // 5) for number in range(count))
    return [file_of("", [*own, (COMMENT, "LT", comment)])[0] for comment in comments], study, series
