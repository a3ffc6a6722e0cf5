"""What searches are made in: studies of this run and the questions about them."""

import dataset
from dataset import TOKEN, items
from origin import first
from report import equal

PATIENT = f"S{TOKEN}"


def studies_of(origin, patient=None, **query):
    """Study Instance UIDs that a search finds, of one patient of this run."""
    found = origin.search("/studies", PatientID=patient or PATIENT, **query)
    return {first(study, "0020000D") for study in found}


def finds(origin, made, resource="/instances", **query):
    """Whether a key lets an object through that is asked for by its UIDs."""
    key = {"/studies": "StudyInstanceUID", "/series": "SeriesInstanceUID", "/instances": "SOPInstanceUID"}[resource]
    return len(origin.search(resource, **{key: made[key].value, **query})) == 1


def on(date, time, **elements):
    elements = {"PatientID": PATIENT, **elements}
    return dataset.grey(StudyDate=date, StudyTime=time, **elements)


def agenda():
    """Studies of one patient from 1 to 4 January 2020."""
    moments = (
        ("20200101", "110000"),
        ("20200101", "233000"),
        ("20200102", "020000"),
        ("20200103", "123000"),
        ("20200103", "143000"),
        ("20200104", "080000"),
    )
    return tuple(on(date, time, AccessionNumber=f"{TOKEN}-{number}") for number, (date, time) in enumerate(moments, 1))


def check_agenda(origin, expected, **query):
    """The studies that match are those of these numbers."""
    made = origin.kept(agenda)
    found = studies_of(origin, **query)
    equal(str(query), [number for number, one in enumerate(made, 1) if one.StudyInstanceUID in found], expected)


def two_modalities():
    ct, other = dataset.in_one_study(dataset.ct(), dataset.grey(Modality="MR"))
    return ct, other


def requested():
    request = {"ScheduledProcedureStepID": f"SPS{TOKEN}", "RequestedProcedureID": f"RP{TOKEN}"}
    return dataset.grey(
        RequestAttributesSequence=items(
            {"ScheduledProcedureStepID": "ANOTHER", "RequestedProcedureID": "ONE"}, request
        ),
        PerformedProcedureStepStartDate="20200105",
        PerformedProcedureStepStartTime="091500",
        SeriesNumber=7,
        SeriesDescription="Axial",
    )


def check_key(origin, made, resource, key, value, other):
    equal(f"{key}={value} matches", finds(origin, made, resource, **{key: value}), True)
    equal(f"{key}={other} matches", finds(origin, made, resource, **{key: other}), False)
