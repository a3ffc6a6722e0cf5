"""Metadata: PS3.18 10.4.1.1.2 and the DICOM JSON model of annex F."""

import base64
from urllib.parse import urljoin

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, RLELossless

import dataset
import documents
import syntaxes
from dataset import BULK, path
from exchange import parsed_xml
from origin import JSON, OCTETS, XML, first, related, values
from report import contains, equal, row
from scripts import SCRIPTS, groups, object_in


def rich():
    made = dataset.private(dataset.ct(PatientComments="", AcquisitionDateTime="20240210101500"))
    made.ReferencedStudySequence = dataset.items(
        {"ReferencedSOPClassUID": "1.2.3", "ReferencedSOPInstanceUID": "1.2.4"}
    )
    return made


def bytes_of(origin, made, element):
    """The value of a binary element, wherever it is."""
    if "InlineBinary" in element:
        return base64.b64decode(element["InlineBinary"], validate=True)
    uri = element["BulkDataURI"]
    return origin.get(resolved(origin, made, uri), OCTETS).expect(200).body


def resolved(origin, made, uri):
    return urljoin(f"{origin.url}{path(made)}/metadata", uri)


def check_same(origin, made, actual, expected, where=""):
    """Every element of a data set, in DICOM JSON."""
    for element in expected:
        key = f"{element.tag:08X}"
        if element.tag.element == 0 or key == "7FE00010":
            continue
        assert key in actual, f"{where}{key} {element.keyword} is missing"
        equal(f"VR of {where}{key}", actual[key]["vr"], element.VR)
        if element.VR == "SQ":
            found = values(actual, key)
            equal(f"items of {where}{key}", len(found), len(element.value))
            for number, (item, wanted) in enumerate(zip(found, element.value, strict=True)):
                check_same(origin, made, item, wanted, f"{where}{key}[{number}].")
        elif element.VR in ("OB", "OW", "UN"):
            equal(f"{where}{key}", bytes_of(origin, made, actual[key]), element.value)
        elif element.VR not in ("PN", "DS", "AT"):
            wanted = [] if element.is_empty else list(element.value) if element.VM > 1 else [element.value]
            equal(f"{where}{key}", values(actual, key), wanted)


@row("W15")
def metadata_has_every_attribute(origin):
    made = origin.kept(rich)
    found = origin.metadata(made)
    check_same(origin, made, found, made)
    equal("the empty one", found["00104000"], {"vr": "LT"})
    pixels = found["7FE00010"]
    equal(
        "form of the pixels",
        ("Value" in pixels, "InlineBinary" in pixels, bool(pixels.get("BulkDataURI"))),
        (False, False, True),
    )


@row("W15")
def metadata_of_series_and_study_is_that_of_the_instances(origin):
    made = origin.kept(two_series)
    single = {one.SOPInstanceUID: origin.metadata(one) for one in made}
    for level, expected in (("study", made), ("series", made[:2])):
        found = origin.get(path(made[0], level) + "/metadata", JSON).expect(200).json()
        equal(
            f"instances of the {level}",
            sorted(first(one, "00080018") for one in found),
            sorted(one.SOPInstanceUID for one in expected),
        )
        for one in found:
            equal("elements", set(one), set(single[first(one, "00080018")]))


def two_series():
    first_image, second = dataset.in_one_series(dataset.ct(1), dataset.ct(2))
    return first_image, second, dataset.in_one_study(first_image, dataset.grey())[1]


@row("W16")
def a_bulk_data_uri_gives_exactly_the_bytes(origin):
    made = origin.kept(dataset.with_bulk_at_depth)
    for tags, value in (
        (["00282000"], BULK),
        (["0040A730", 0, "0040A730", 1, "00420011"], BULK[::-1]),
        (["7FE00010"], made.PixelData),
    ):
        uri = origin.bulk_uri(made, *tags)
        equal(f"single part of {tags}", origin.get(uri, OCTETS).expect(200).expect_type(OCTETS).body == value, True)
        [part] = origin.get(uri, related(OCTETS)).expect(200).parts()
        equal(f"part of {tags}", part.body == value, True)


@row("W16")
def the_bytes_are_those_of_the_value_in_any_syntax(origin):
    for syntax in syntaxes.NATIVE_SYNTAXES:
        made = origin.kept(syntaxes.in_syntax, syntax)
        body = origin.get(origin.bulk_uri(made, "7FE00010"), OCTETS).expect(200).body
        equal(f"{syntax.name} pixels", body == dataset.ramp(), True)
    pdf = origin.kept(documents.pdf)
    if "BulkDataURI" in origin.metadata(pdf)["00420011"]:
        answer = origin.get(origin.bulk_uri(pdf, "00420011"), "application/pdf, */*;q=0.5").expect(200)
        equal("document", answer.body.rstrip(b"\0"), documents.PDF.rstrip(b"\0"))


@row("W18")
def is_and_ds_are_numbers(origin):
    made = origin.kept(dataset.ct, NumberOfAverages="2.5", PatientWeight="", ExposureTime="-12", RescaleSlope="1.50")
    found = origin.metadata(made)
    for tag, expected in (
        ("00180083", [2.5]),
        ("00281053", [1.5]),
        ("00181150", [-12]),
        ("00280030", [0.7, 0.7]),
        ("00200013", [1]),
    ):
        actual = values(found, tag)
        equal(tag, [float(value) for value in actual], expected)
        assert all(type(value) in (int, float) for value in actual), f"{tag} is {actual!r}"


def not_finite():
    made = dataset.grey()
    made.add_new(0x00189087, "FD", [1.5, float("nan"), float("inf"), float("-inf")])
    made.add_new(0x00189073, "FD", float("nan"))
    made.add_new(0x00181271, "FD", -0.1)
    return made


@row("W19")
def what_is_not_finite_stays_valid_json(origin):
    made = origin.kept(not_finite)
    found = origin.metadata(made)
    numbers = values(found, "00189087")
    equal("count and first", (len(numbers), numbers[0]), (4, 1.5))
    assert all(value is None or isinstance(value, str) for value in numbers[1:]), f"{numbers!r}"
    equal("a finite one", values(found, "00181271"), [-0.1])
    contains("metadata", found, ["00189073"])


def with_gaps():
    made = dataset.ct(ImageType=["ORIGINAL", "", "AXIAL"], OtherPatientNames="A^B", AccessionNumber="")
    made.add_new(0x00081110, "SQ", [])
    made.add_new(0x00081140, "SQ", [Dataset(), dataset.items({"ReferencedSOPClassUID": "1.2.3"})[0]])
    made.add_new(0x00281200, "OW", b"")
    return made


@row("W20")
def what_is_empty_has_its_form(origin):
    found = origin.metadata(origin.kept(with_gaps))
    for tag, expected in (("00080050", {"vr": "SH"}), ("00081110", {"vr": "SQ"}), ("00281200", {"vr": "OW"})):
        equal(tag, found[tag], expected)
    equal("an empty value among others", values(found, "00080008"), ["ORIGINAL", None, "AXIAL"])
    equal("an empty item", values(found, "00081140")[0], {})


@row("W21", "Q6")
def text_of_every_script_is_utf_8(origin):
    wrong = []
    for script, (_, name, description) in SCRIPTS.items():
        made = origin.kept(object_in, script)
        [study] = origin.search("/studies", StudyInstanceUID=made.StudyInstanceUID, includefield="00081030")
        for where, found in (("metadata", origin.metadata(made)), ("search", study)):
            actual = values(found, "00100010"), values(found, "00081030")
            if actual != ([groups(name)], [description]):
                wrong.append(f"{script} in {where}: {actual}")
    assert not wrong, "; ".join(wrong)


@row("W23")
def nested_and_long_sequences_are_whole(origin):
    made = dataset.nested(20)
    made.ReferencedImageSequence = dataset.items(
        *({"ReferencedSOPClassUID": "1.2.3", "ReferencedSOPInstanceUID": f"1.2.{n}"} for n in range(1500))
    )
    found = origin.metadata(origin.store(made))
    level, depth = found, 0
    while level := first(level, "0040A730"):
        depth += 1
        equal(f"text at depth {depth}", values(level, "0040A160"), [f"depth {depth}"])
    equal("depth", depth, 20)
    referenced = [first(item, "00081155") for item in values(found, "00081140")]
    equal("long sequence", referenced == [f"1.2.{n}" for n in range(1500)], True)


@row("W24")
def neither_group_lengths_nor_file_meta_are_in_metadata(origin):
    made = dataset.grey()
    made.add_new(0x00080000, "UL", 100)
    made.add_new(0x00100000, "UL", 50)
    found = origin.metadata(origin.store(made))
    equal("such elements", [tag for tag in found if tag.endswith("0000") or tag.startswith("0002")], [])
    xml = origin.get(path(made) + "/metadata", related(XML)).expect(200).parts()[0].body.decode()
    assert 'tag="00080000"' not in xml and 'tag="0002' not in xml, "they are in XML"


def with_binary():
    made = dataset.ct()
    made.add_new(0x00281101, "US", [4, 0, 16])
    made.add_new(0x00281201, "OW", bytes(range(8)))
    made.add_new(0x00660040, "OL", b"\1\2\3\4\5\6\7\x08")
    block = made.private_block(0x0009, dataset.CREATOR, create=True)
    block.add_new(0x10, "UN", b"\xff\xfe\x00\x01raw!")
    return made


def with_binary_big_endian():
    made = with_binary()
    made.syntax = ExplicitVRBigEndian
    for tag, width in ((0x7FE00010, 2), (0x00281201, 2), (0x00660040, 4)):
        made[tag].value = syntaxes.turned(made[tag].value, width)
    return made


@row("W24b")
def binary_is_little_endian_in_base64_and_un_is_raw(origin):
    for maker in (with_binary, with_binary_big_endian):
        made = origin.kept(maker)
        found = origin.metadata(made)
        for tag, expected in (("00281201", bytes(range(8))), ("00660040", b"\1\2\3\4\5\6\7\x08")):
            equal(f"{maker.__name__} {tag}", bytes_of(origin, made, found[tag]), expected)
        equal(
            "UN", (found["00091010"]["vr"], bytes_of(origin, made, found["00091010"])), ("UN", b"\xff\xfe\x00\x01raw!")
        )
        equal("numbers", values(found, "00281101"), [4, 0, 16])


@row("W24c")
def a_backslash_splits_by_vr(origin):
    made = dataset.grey(PatientComments="left\\right", TextValue="up\\down", StudyID="ID", OtherPatientIDs=["A", "B"])
    made.add_new(0x00080094, "SH", ["1", "2"])
    made.add_new(0x00081048, "PN", ["A^B", "C^D"])
    made.add_new(0x00400280, "ST", "a\\b")
    made.add_new(0x00189367, "UC", ["x", "y"])
    found = origin.metadata(origin.store(made))
    for tag, expected in (
        ("00101000", ["A", "B"]),
        ("00080094", ["1", "2"]),
        ("00081048", [{"Alphabetic": "A^B"}, {"Alphabetic": "C^D"}]),
        ("00189367", ["x", "y"]),
        ("00104000", ["left\\right"]),
        ("0040A160", ["up\\down"]),
        ("00400280", ["a\\b"]),
    ):
        equal(tag, values(found, tag), expected)


@row("W25")
def metadata_tells_the_stored_syntax(origin):
    for made, syntax in (
        (origin.kept(dataset.ct), ExplicitVRLittleEndian),
        (origin.kept(syntaxes.in_syntax, RLELossless), RLELossless),
    ):
        contains("(0008,3002)", values(origin.metadata(made), "00083002"), [syntax])


@row("W15")
def metadata_in_xml_says_the_same(origin):
    made = origin.kept(rich)
    answer = origin.get(path(made) + "/metadata", related(XML)).expect(200)
    [part] = answer.parts()
    tags = [element.get("tag") for element in parsed_xml(answer, part.body)]
    json = list(origin.metadata(made))
    equal(
        "tags", [tag for tag in tags if not tag.startswith("0009")], [tag for tag in json if not tag.startswith("0009")]
    )
    equal("private ones", sum(tag.startswith("0009") for tag in tags) >= 3, True)
