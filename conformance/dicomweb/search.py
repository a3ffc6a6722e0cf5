"""Search: how keys match. PS3.18 8.3.4 and 10.6.1, PS3.4 C.2.2.2."""

import dataset
from archive import PATIENT, agenda, finds, on, studies_of, two_modalities
from dataset import TOKEN
from origin import JSON, first, values
from report import NotApplicable, equal, row

LITERAL_ONLY = "Only literal matching has been performed"


@row("Q7")
def a_wildcard_is_any_run_of_characters(origin):
    made = origin.kept(
        on, "20200201", "101500", PatientID=f"W{TOKEN}", PatientName=f"Held{TOKEN}^Anna", StudyID="ABCDEF"
    )
    for key, patterns in {
        "PatientName": [f"Held{TOKEN}*", f"*{TOKEN}^A*", f"H*d{TOKEN}^Anna*", "*"],
        "StudyID": ["AB*", "*EF", "A*C*F", "ABCDEF*", "*"],
        "PatientID": [f"*{TOKEN}", f"W*{TOKEN[2:]}"],
        "Modality": ["O*"],
        "StudyDescription": ["*"],
    }.items():
        for pattern in patterns:
            resource = "/series" if key == "Modality" else "/studies"
            equal(f"{key}={pattern} matches", finds(origin, made, resource, **{key: pattern}), True)
    for key, pattern in (
        ("StudyID", "B*"),
        ("StudyID", "*E"),
        ("PatientName", f"Held{TOKEN}^B*"),
        ("PatientID", f"X*{TOKEN}"),
    ):
        equal(f"{key}={pattern} matches", finds(origin, made, "/studies", **{key: pattern}), False)


WILDCARD_KEYS = {
    "AE": "StationAETitle",
    "CS": "BodyPartExamined",
    "LO": "InstitutionName",
    "LT": "AdditionalPatientHistory",
    "PN": "OperatorsName",
    "SH": "StationName",
    "ST": "InstitutionAddress",
    "UC": "StrainDescription",
    "UR": "PixelDataProviderURL",
    "UT": "TextValue",
}


def with_every_wildcard_vr():
    return dataset.grey(
        **{key: f"AXIS {vr}" if vr != "UR" else "http://AXIS.example/UR" for vr, key in WILDCARD_KEYS.items()}
    )


@row("Q7")
def every_vr_that_has_wildcards_has_them(origin):
    made, unsupported = origin.kept(with_every_wildcard_vr), []
    for vr, key in WILDCARD_KEYS.items():
        if finds(origin, made, **{key: "NOSUCHVALUE"}):
            unsupported.append(key)
            continue
        for pattern, expected in ((f"*AXIS*{vr}", True), (f"*AX?S*{vr}*", True), ("*", True), (f"AXIS{vr}*Z", False)):
            equal(f"{vr} {key}={pattern} matches", finds(origin, made, **{key: pattern}), expected)
    if unsupported:
        raise NotApplicable(f"the server does not match {', '.join(unsupported)}; the other VRs have wildcards")


@row("Q8")
def single_values_are_case_sensitive(origin):
    made = origin.kept(on, "20200201", "101500", PatientID=f"W{TOKEN}c", AccessionNumber="CaseMatters", StudyID="aBc")
    for key, value, other in (
        ("AccessionNumber", "CaseMatters", "casematters"),
        ("StudyID", "aBc", "ABC"),
        ("PatientID", f"W{TOKEN}c", f"W{TOKEN}C"),
    ):
        equal(f"{key}={value} matches", finds(origin, made, "/studies", **{key: value}), True)
        equal(f"{key}={other} matches", finds(origin, made, "/studies", **{key: other}), False)


@row("Q8")
def person_names_are_as_declared(origin):
    made = origin.kept(on, "20200201", "101500", PatientID=f"W{TOKEN}n", PatientName=f"Case{TOKEN}^Matters")
    found = [
        finds(origin, made, "/studies", PatientName=name)
        for name in (f"case{TOKEN}^matters".lower(), f"CASE{TOKEN}^M*")
    ]
    expected = {"sensitive": [[False, False]], "insensitive": [[True, True]]}.get(
        origin.choices.person_names, [[False, False], [True, True]]
    )
    assert found in expected, f"other cases match: {found}"


@row("Q9")
def a_question_mark_is_one_character(origin):
    made = origin.kept(on, "20200201", "101500", PatientID=f"W{TOKEN}q", StudyID="ABCD")
    for pattern, expected in (
        ("A?CD", True),
        ("????", True),
        ("ABC?", True),
        ("ABCD?", False),
        ("A?D", False),
        ("???", False),
        ("A?*", True),
    ):
        equal(f"StudyID={pattern} matches", finds(origin, made, "/studies", StudyID=pattern), expected)


def check_uid_list(origin, separator):
    made = origin.kept(agenda)
    uids = [one.StudyInstanceUID for one in made[:2]]
    equal("studies", studies_of(origin, StudyInstanceUID=separator.join([*uids, dataset.uid()])), set(uids))
    sops = separator.join(one.SOPInstanceUID for one in made[:3])
    equal("instances", len(origin.search("/instances", SOPInstanceUID=sops)), 3)


@row("Q10")
def uids_are_listed_by_comma(origin):
    check_uid_list(origin, ",")


@row("Q11")
def uids_are_listed_by_backslash(origin):
    check_uid_list(origin, "\\")


@row("Q14")
def a_tag_and_its_keyword_are_the_same(origin):
    made = origin.kept(agenda)[0]
    for keyword, tag, value in (
        ("PatientID", "00100020", PATIENT),
        ("AccessionNumber", "00080050", made.AccessionNumber),
        ("StudyDate", "00080020", "20200101-20200102"),
        ("StudyInstanceUID", "0020000d", made.StudyInstanceUID),
    ):
        found = [origin.search("/studies", **{name: value}) for name in (keyword, tag)]
        assert found[0] == found[1] and found[0], f"{keyword} finds {len(found[0])}, {tag} finds {len(found[1])}"


@row("Q14")
def keywords_are_case_sensitive(origin):
    made = origin.kept(agenda)[0]
    for name in ("accessionnumber", "ACCESSIONNUMBER"):
        answer = origin.get("/studies", JSON, StudyInstanceUID=made.StudyInstanceUID, **{name: "NOSUCH"}).expect(
            200, 400
        )
        assert answer.status == 400 or len(answer.json()) == 1, f"{name} is taken for AccessionNumber"


@row("Q15")
def modalities_in_study_matches_any_and_lists_all(origin):
    made = origin.kept(two_modalities)[0]
    for value, expected in (("CT", True), ("MR", True), ("US", False), ("C*", True)):
        equal(f"ModalitiesInStudy={value} matches", finds(origin, made, "/studies", ModalitiesInStudy=value), expected)
    [study] = origin.search("/studies", StudyInstanceUID=made.StudyInstanceUID, ModalitiesInStudy="CT")
    equal("(0008,0061)", sorted(values(study, "00080061")), ["CT", "MR"])


@row("Q18")
def a_limit_that_is_no_number_is_400(origin):
    for name in ("limit", "offset"):
        for value in ("abc", "-1", "1.5", "0x10", "99999999999999999999999"):
            origin.get("/studies", JSON, **{name: value}).expect(400)


@row("Q19")
def a_malformed_date_or_uid_is_400(origin):
    for name, value in (
        ("StudyDate", "20201301"),
        ("StudyDate", "abc"),
        ("StudyDate", "20200101-2020"),
        ("StudyDate", "-"),
        ("StudyTime", "2500"),
        ("StudyInstanceUID", "abc"),
        ("StudyInstanceUID", "1..2"),
        ("StudyInstanceUID", "1.2,x"),
        ("00080020", "2020/01/01"),
    ):
        origin.get("/studies", JSON, **{name: value}).expect(400)


def literal_only(answer):
    """Whether the server says that it does without; then it has searched all the same."""
    return LITERAL_ONLY in (answer.header("Warning") or "") and (answer.header("Warning") or "").startswith("299 ")


@row("Q20")
def fuzzy_matching_or_the_sentence(origin):
    patient = f"F{TOKEN}"
    made = origin.kept(
        on, "20200201", "101500", PatientID=patient, PatientName="Müller^Jörg Maria=山田^太郎=やまだ^たろう"
    )
    asked = lambda name: origin.get("/studies", JSON, PatientID=patient, PatientName=name, fuzzymatching="true").expect(
        200
    )
    if literal_only(asked("Müller^Jörg*")):
        equal("found literally", len(asked("Müller^Jörg*").json()), 1)
        return
    for name, expected in (
        ("muller", True),
        ("MÜLLER", True),
        ("jorg", True),
        ("Mül", True),
        ("maria mül", True),
        ("miller", True),
        ("Maria^Muller", True),
        ("やまだ", True),
        ("山", True),
        ("Schmidt", False),
        ("Zzyzx^Jörg", False),
    ):
        equal(
            f"fuzzy {name} matches",
            [first(study, "0020000D") for study in asked(name).json()],
            [made.StudyInstanceUID] * expected,
        )


@row("Q21")
def empty_value_matching_or_the_sentence(origin):
    patient = f"E{TOKEN}"
    empty = origin.kept(on, "20200201", "101500", PatientID=patient, AccessionNumber="")
    filled = origin.kept(on, "20200201", "101500", PatientID=patient, AccessionNumber="FILLED")
    answer = origin.get("/studies", JSON, PatientID=patient, AccessionNumber='""', emptyvaluematching="true").expect(
        200
    )
    if not literal_only(answer):
        equal("studies without number", [first(study, "0020000D") for study in answer.json()], [empty.StudyInstanceUID])
        equal(
            "studies with any",
            studies_of(origin, patient, AccessionNumber="*"),
            {empty.StudyInstanceUID, filled.StudyInstanceUID},
        )


@row("Q21b")
def multiple_value_matching_or_the_sentence(origin):
    made = origin.kept(agenda)
    value = f"{TOKEN}-1\\{TOKEN}-3\\{TOKEN}-none"
    answer = origin.get(
        "/studies", JSON, PatientID=PATIENT, AccessionNumber=value, multiplevaluematching="true"
    ).expect(200)
    if not literal_only(answer):
        found = {first(study, "0020000D") for study in answer.json()}
        equal("studies of either number", found, {made[0].StudyInstanceUID, made[2].StudyInstanceUID})
