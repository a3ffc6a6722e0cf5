"""Search: what answers say and in which form. PS3.18 10.6.3 and annex F."""

import re

import dataset
from archive import PATIENT, agenda, on, requested, two_modalities
from dataset import TOKEN, path
from exchange import parsed_xml
from origin import DICOM, JSON, XML, first, related, values
from report import contains, equal, row

STUDY = "00080020 00080030 00080050 00080061 00080090 00081190 00100010 00100020 00100030 00100040".split()
STUDY += "0020000D 00200010 00201206 00201208".split()
SERIES = "00080060 00081190 0020000E 00200011 00201209".split()
INSTANCE = "00080016 00080018 00081190 00200013 00280010 00280011 00280100".split()
PUBLIC = "pacs.example.org"
REMAINING = re.compile(r'^299 [^"]*"?There are (\d+) additional results that can be requested')


def study_of(origin, made, **query):
    [study] = origin.search("/studies", StudyInstanceUID=made.StudyInstanceUID, **query)
    return study


@row("Q1")
def no_match_is_an_empty_array(origin):
    status = origin.choices.no_match_status
    for target in ("/studies", "/series", "/instances"):
        answer = origin.get(target, JSON, StudyInstanceUID=dataset.uid()).expect(status)
        equal("body", answer.body.strip(), b"[]" if status == 200 else b"")


@row("Q2")
def the_answer_is_dicom_json(origin):
    origin.kept(dataset.ct)
    for target in ("/studies", "/series", "/instances"):
        origin.get(target, JSON, limit=1).expect(200).expect_type(JSON).json()


def sparse():
    return dataset.grey(
        PatientName="",
        PatientBirthDate=None,
        PatientSex=None,
        StudyDate="",
        StudyTime=None,
        StudyID="",
        ReferringPhysicianName=None,
    )


@row("Q3")
def a_study_has_its_required_attributes(origin):
    for made in (origin.kept(agenda)[0], origin.kept(sparse)):
        contains("the study", list(study_of(origin, made)), STUDY)


@row("Q4")
def counts_are_numbers(origin):
    made = origin.kept(two_modalities)[0]
    study = study_of(origin, made)
    equal("series and instances", (values(study, "00201206"), values(study, "00201208")), ([2], [2]))
    [series] = origin.search("/series", SeriesInstanceUID=made.SeriesInstanceUID)
    equal("instances of the series", values(series, "00201209"), [1])


@row("Q5")
def a_person_name_is_an_object_of_its_groups(origin):
    for name, expected in (
        (
            f"Yamada{TOKEN}^Tarou=山田^太郎=やまだ^たろう",
            {"Alphabetic": f"Yamada{TOKEN}^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"},
        ),
        (f"Only{TOKEN}==ふり", {"Alphabetic": f"Only{TOKEN}", "Phonetic": "ふり"}),
        (f"Plain{TOKEN}", {"Alphabetic": f"Plain{TOKEN}"}),
    ):
        made = origin.kept(dataset.grey, PatientName=name, PatientID=f"N{TOKEN}{len(expected)}{len(name)}")
        equal(name, values(study_of(origin, made), "00100010"), [expected])
    equal("an empty name", study_of(origin, origin.kept(sparse))["00100010"], {"vr": "PN"})


@row("Q6")
def strings_are_utf_8_and_the_source_tells_its_own(origin):
    made = origin.kept(
        dataset.grey, SpecificCharacterSet="ISO_IR 144", PatientName=f"Люкceмбypг{TOKEN}", PatientID=f"N{TOKEN}144"
    )
    study = study_of(origin, made, includefield="00080005")
    equal("name", values(study, "00100010"), [{"Alphabetic": f"Люкceмбypг{TOKEN}"}])
    [instance] = origin.search("/instances", SOPInstanceUID=made.SOPInstanceUID, includefield="SpecificCharacterSet")
    equal("(0008,0005)", values(instance, "00080005"), ["ISO_IR 144"])


@row("Q16")
def what_remains_is_told(origin):
    origin.kept(agenda)
    for limit, offset, remaining in ((2, 0, 4), (2, 2, 2), (5, 0, 1), (6, 0, None), (2, 4, None)):
        answer = origin.get(
            "/studies", JSON, PatientID=PATIENT, AccessionNumber=f"{TOKEN}-*", limit=limit, offset=offset
        ).expect(200)
        told = REMAINING.match(answer.header("Warning") or "")
        answer.check(
            (told and int(told.group(1))) == remaining, f"{remaining} remain, Warning: {answer.header('Warning')}"
        )


@row("Q17")
def pages_are_of_one_order(origin):
    made = origin.kept(agenda)
    page = lambda offset, limit: [
        first(study, "0020000D")
        for study in origin.search(
            "/studies", PatientID=PATIENT, AccessionNumber=f"{TOKEN}-*", limit=limit, offset=offset
        )
    ]
    whole = page(0, 100)
    equal("studies", set(whole), {one.StudyInstanceUID for one in made})
    for size in (1, 2, 4):
        pages = [uid for offset in range(0, 6, size) for uid in page(offset, size)]
        equal(f"pages of {size}", pages, whole)


def described():
    return on(
        "20200201",
        "101500",
        StudyDescription="Chest",
        PatientAge="050Y",
        PatientComments="none",
        SeriesDescription="Lung",
        BodyPartExamined="CHEST",
        DerivationDescription="by a test",
        PatientID=f"D{TOKEN}",
    )


@row("Q23")
def fields_are_included_by_keyword_and_tag(origin):
    made = origin.kept(described)
    for asked in (
        "StudyDescription",
        "00081030",
        "StudyDescription,PatientAge",
        "00081030,00101010",
        ["StudyDescription", "00101010"],
        "00081030,00080060,00080090,00100030",
    ):
        study = study_of(origin, made, includefield=asked)
        equal(f"{asked}: description", values(study, "00081030"), ["Chest"])
        if "Age" in str(asked) or "00101010" in str(asked):
            equal(f"{asked}: age", values(study, "00101010"), ["050Y"])


@row("Q24")
def all_fields_of_the_level_are_included(origin):
    made = origin.kept(described)
    contains("the study", list(study_of(origin, made, includefield="all")), [*STUDY, "00081030"])
    [series] = origin.search("/series", SeriesInstanceUID=made.SeriesInstanceUID, includefield="all")
    contains("the series", list(series), [*SERIES, "0008103E", "00180015"])
    [instance] = origin.search("/instances", SOPInstanceUID=made.SOPInstanceUID, includefield="all")
    contains("the instance", list(instance), [*INSTANCE, "00280004", "00280101", "00082111"])


@row("Q25")
def attributes_of_a_lower_level_are_not_returned(origin):
    made = origin.kept(described)
    lower = ["00080060", "0008103E", "0020000E", "00080018", "00280010", "00082111"]
    study = study_of(
        origin, made, includefield=["Modality", "SeriesDescription", "0020000E", "SOPInstanceUID,Rows", "00082111"]
    )
    equal("of series and instances", [tag for tag in lower if tag in study], [])
    [series] = origin.search("/series", SeriesInstanceUID=made.SeriesInstanceUID, includefield="SOPInstanceUID,Rows")
    equal("of instances", [tag for tag in ("00080018", "00280010") if tag in series], [])


@row("Q26", "Q29")
def all_series_tell_their_studies(origin):
    made = origin.kept(two_modalities)
    found = origin.search("/series", StudyInstanceUID=made[0].StudyInstanceUID)
    equal("series", {first(series, "0020000E") for series in found}, {one.SeriesInstanceUID for one in made})
    for series in found:
        contains("a series among all", list(series), [*STUDY, *SERIES])


@row("Q27", "Q29")
def all_instances_tell_their_studies_and_series(origin):
    made = origin.kept(two_modalities)
    found = origin.search("/instances", StudyInstanceUID=made[0].StudyInstanceUID)
    equal("instances", {first(instance, "00080018") for instance in found}, {one.SOPInstanceUID for one in made})
    for instance in found:
        contains("an instance among all", list(instance), [*STUDY, *SERIES, *INSTANCE])


@row("Q28")
def the_instances_of_a_study_and_of_a_series(origin):
    made = origin.kept(two_modalities)
    uids = lambda target, tag: {first(one, tag) for one in origin.search(target)}
    equal("of the study", uids(path(made[0], "study") + "/instances", "00080018"), {one.SOPInstanceUID for one in made})
    equal("of a series", uids(path(made[0], "series") + "/instances", "00080018"), {made[0].SOPInstanceUID})
    equal(
        "series of the study",
        uids(path(made[0], "study") + "/series", "0020000E"),
        {one.SeriesInstanceUID for one in made},
    )
    [instance] = origin.search(path(made[0], "study") + "/instances", SOPInstanceUID=made[0].SOPInstanceUID)
    contains("an instance of a study", list(instance), [*SERIES, *INSTANCE])


@row("Q32")
def a_series_has_its_required_attributes(origin):
    made = origin.kept(requested)
    for target in ("/series", path(made, "study") + "/series"):
        [series] = origin.search(target, SeriesInstanceUID=made.SeriesInstanceUID)
        contains("the series", list(series), [*SERIES, "0008103E", "00400244", "00400245", "00400275"])
        steps = [values(item, "00400009") for item in values(series, "00400275")]
        equal("scheduled steps", steps, [["ANOTHER"], [f"SPS{TOKEN}"]])


@row("Q33")
def an_instance_has_its_required_attributes(origin):
    made = origin.kept(requested)
    for target in ("/instances", path(made, "series") + "/instances"):
        [instance] = origin.search(target, SOPInstanceUID=made.SOPInstanceUID)
        contains("the instance", list(instance), INSTANCE)
        shape = [values(instance, tag) for tag in ("00280010", "00280011", "00280100", "00200013")]
        equal("rows, columns, bits, number", shape, [[dataset.ROWS], [dataset.COLUMNS], [8], [1]])


@row("Q34")
def the_number_of_frames_is_a_number(origin):
    made = origin.kept(dataset.multi_frame)
    [instance] = origin.search(path(made, "series") + "/instances")
    equal("frames", values(instance, "00280008"), [4])


@row("Q35")
def an_instance_tells_its_transfer_syntax(origin):
    made = origin.kept(dataset.multi_frame)
    [instance] = origin.search(path(made, "series") + "/instances", includefield="AvailableTransferSyntaxUID")
    contains("(0008,3002)", values(instance, "00083002"), ["1.2.840.10008.1.2.1"])


@row("Q36")
def retrieve_urls_lead_to_the_resource(origin):
    made = origin.kept(dataset.ct)
    for target, level in (("/studies", "study"), ("/series", "series"), ("/instances", "instance")):
        for headers in ([], [("Host", origin.host)]):
            answer = origin.get(target, JSON, headers, StudyInstanceUID=made.StudyInstanceUID).expect(200)
            url = origin.absolute(first(answer.json()[0], "00081190"))
            answer.check(url == origin.url + path(made, level), f"retrieve URL {url}")
            origin.get(url, related(DICOM)).expect(200)


FORWARDED = [
    [("Forwarded", f"for=10.0.0.9;proto=https;host={PUBLIC}")],
    [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", PUBLIC)],
]


@row("Q36")
def retrieve_urls_are_those_of_the_proxy(origin):
    trusted = origin.declared("proxy_trusted")
    made = origin.kept(dataset.ct)
    for headers in FORWARDED:
        answer = origin.get("/studies", JSON, headers, StudyInstanceUID=made.StudyInstanceUID).expect(200)
        url = first(answer.json()[0], "00081190")
        if trusted:
            answer.check(url.startswith((f"https://{PUBLIC}/", "/", "..")), f"retrieve URL {url}")
        else:
            answer.check(PUBLIC not in url, f"retrieve URL {url} is that of a client that is not trusted")


@row("Q37")
def plain_json_gives_dicom_json(origin):
    made = origin.kept(dataset.ct)
    answer = origin.get("/studies", "application/json", StudyInstanceUID=made.StudyInstanceUID).expect(200)
    answer.check(answer.media_type.essence in ("application/json", JSON), f"Content-Type {answer.media_type.text}")
    equal("study", [first(study, "0020000D") for study in answer.json()], [made.StudyInstanceUID])


@row("Q39")
def xml_has_a_part_for_each_match(origin):
    made = origin.kept(agenda)
    answer = origin.get("/studies", related(XML), PatientID=PATIENT, AccessionNumber=f"{TOKEN}-*").expect(200)
    equal("type", answer.media_type.parameter("type"), XML)
    found = set()
    for part in answer.parts():
        equal("type of a part", part.media_type.essence, XML)
        model = parsed_xml(answer, part.body)
        equal("root", model.tag.split("}")[-1], "NativeDicomModel")
        [study] = [e for e in model if e.get("tag") == "0020000D"]
        equal("attribute", (study.get("vr"), study.get("keyword")), ("UI", "StudyInstanceUID"))
        found.add(study[0].text)
    equal("studies", found, {one.StudyInstanceUID for one in made})


@row("Q40")
def attributes_ascend_in_upper_case(origin):
    made = origin.kept(requested)
    for resource, key in (
        ("/studies", "StudyInstanceUID"),
        ("/series", "SeriesInstanceUID"),
        ("/instances", "SOPInstanceUID"),
    ):
        [found] = origin.search(resource, **{key: made[key].value}, includefield="all")
        for item in (found, *values(found, "00400275")):
            tags = list(item)
            assert all(re.fullmatch("[0-9A-F]{8}", tag) for tag in tags), tags
            equal("order", tags, sorted(tags))
