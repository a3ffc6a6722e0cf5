"""Search: which keys there are. PS3.18 8.3.4.1 and 10.6.1.2."""

from pydicom.uid import CTImageStorage, MRImageStorage, SecondaryCaptureImageStorage

import dataset
from archive import agenda, check_key, finds, on, requested, studies_of
from dataset import CREATOR, TOKEN
from origin import JSON, values
from report import equal, row


@row("Q30")
def a_key_inside_a_sequence_matches(origin):
    made = origin.kept(requested)
    for name in (
        "RequestAttributesSequence.ScheduledProcedureStepID",
        "00400275.00400009",
        "RequestAttributesSequence.00400009",
    ):
        for value in (f"SPS{TOKEN}", f"SPS{TOKEN[:4]}*", "ANOTHER"):
            equal(f"{name}={value} matches", finds(origin, made, "/series", **{name: value}), True)
    equal(
        "without any UID",
        len(origin.search("/series", **{"RequestAttributesSequence.ScheduledProcedureStepID": f"SPS{TOKEN}"})),
        1,
    )


@row("Q31")
def a_key_inside_a_sequence_that_does_not_match_finds_nothing(origin):
    made = origin.kept(requested)
    for name in (
        "RequestAttributesSequence.ScheduledProcedureStepID",
        "RequestAttributesSequence.RequestedProcedureID",
        "00400275.00400009",
    ):
        equal(f"{name}=NOSUCH matches", finds(origin, made, "/series", **{name: "NOSUCH"}), False)
    pair = {
        "RequestAttributesSequence.ScheduledProcedureStepID": "ANOTHER",
        "RequestAttributesSequence.RequestedProcedureID": f"RP{TOKEN}",
    }
    equal("keys of different items match", finds(origin, made, "/series", **pair), False)


def private_study():
    return dataset.private(dataset.grey(), f"private {TOKEN}")


@row("Q41")
def a_private_tag_with_its_creator_matches_and_is_returned(origin):
    made = origin.kept(private_study)
    query = {"00090010": CREATOR, "00091001": f"private {TOKEN}"}
    found = origin.search(
        "/instances", SOPInstanceUID=made.SOPInstanceUID, includefield=["00090010", "00091001"], **query
    )
    equal("matches", len(found), 1)
    equal(
        "creator and value",
        [values(found[0], tag) for tag in ("00090010", "00091001")],
        [[CREATOR], [f"private {TOKEN}"]],
    )
    for other in (
        {"00090010": "ANOTHER CREATOR", "00091001": f"private {TOKEN}"},
        {"00090010": CREATOR, "00091001": "NOSUCH"},
    ):
        equal(f"{other} matches", finds(origin, made, **other), False)


@row("Q41")
def a_private_tag_without_its_creator_is_400_or_ignored(origin):
    made = origin.kept(private_study)
    answer = origin.get("/instances", JSON, SOPInstanceUID=made.SOPInstanceUID, **{"00091001": "NOSUCH"}).expect(
        200, 400
    )
    assert answer.status == 400 or len(answer.json()) == 1, "it was matched as if its creator were known"


@row("Q42")
def one_attribute_twice_is_400(origin):
    origin.get("/studies", JSON, PatientID=["A", "B"]).expect(400)
    origin.get("/studies", JSON, PatientID="A", **{"00100020": "A"}).expect(400)


def study_with_every_key():
    return on(
        "20200405",
        "061700",
        PatientID=f"K{TOKEN}",
        PatientName=f"Keys{TOKEN}^A",
        AccessionNumber=f"K{TOKEN}",
        StudyID="K-7",
        ReferringPhysicianName="Refer^Red",
        Modality="MR",
    )


@row("Q43")
def every_required_key_of_a_study_filters(origin):
    made = origin.kept(study_with_every_key)
    for key, value, other in (
        ("StudyDate", "20200405", "20200406"),
        ("StudyTime", "061700", "0618-0700"),
        ("AccessionNumber", f"K{TOKEN}", "K"),
        ("ModalitiesInStudy", "MR", "CT"),
        ("ReferringPhysicianName", "Refer^Red", "Other*"),
        ("PatientName", f"Keys{TOKEN}^A", "Other*"),
        ("PatientID", f"K{TOKEN}", "K"),
        ("StudyID", "K-7", "K-8"),
    ):
        check_key(origin, made, "/studies", key, value, other)
    equal("another UID", studies_of(origin, f"K{TOKEN}", StudyInstanceUID=dataset.uid()), set())


@row("Q43")
def every_required_key_of_a_series_filters(origin):
    made = origin.kept(requested)
    for key, value, other in (
        ("Modality", "OT", "CT"),
        ("SeriesNumber", "7", "8"),
        ("PerformedProcedureStepStartDate", "20200105", "-20200104"),
        ("PerformedProcedureStepStartTime", "0900-0930", "0930-"),
        ("RequestAttributesSequence.RequestedProcedureID", f"RP{TOKEN}", "RP"),
    ):
        check_key(origin, made, "/series", key, value, other)


@row("Q43")
def every_required_key_of_an_instance_filters(origin):
    made = origin.kept(requested)
    for key, value, other in (
        ("SOPClassUID", SecondaryCaptureImageStorage, MRImageStorage),
        ("InstanceNumber", "1", "2"),
        ("SOPClassUID", f"{CTImageStorage},{SecondaryCaptureImageStorage}", CTImageStorage),
    ):
        check_key(origin, made, "/instances", key, value, other)


@row("Q44")
def a_key_of_a_lower_level_is_400_or_ignored(origin):
    made = origin.kept(requested)
    for resource, key, value in (
        ("/studies", "StudyInstanceUID", made.StudyInstanceUID),
        ("/series", "SeriesInstanceUID", made.SeriesInstanceUID),
    ):
        answer = origin.get(resource, JSON, **{key: value, "InstanceNumber": "999"}).expect(200, 400)
        assert answer.status == 400 or len(answer.json()) == 1, f"InstanceNumber filters {resource}"


@row("Q45")
def too_broad_a_search_is_413_with_a_report(origin):
    target = origin.declared("too_broad")
    origin.kept(agenda)
    answer = origin.get(target, JSON).expect(413)
    answer.check(answer.body and answer.header("Content-Type"), "there is no report")
    equal("a narrow one", len(studies_of(origin, StudyDate="20200104")), 1)
