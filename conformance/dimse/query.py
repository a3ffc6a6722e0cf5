"""Rows F: C-FIND."""

import message
import wire
from message import C_CANCEL, C_FIND, FIELD, MESSAGE_ID, PRIORITY, SOP_CLASS, decode_data_set, encode_data_set
from objects import TOKEN, ct, identifier, uid
from target import PATIENT_FIND, STUDY_FIND, contains, equal, one_of, refused, row

REFUSED = ("A9xx", "Cxxx")
INSTANCES = 5


def agenda(target):
    """A study of two series and a few instances, stored once."""
    target.serves(STUDY_FIND, "C-FIND")
    if "agenda" not in target.known:
        study, series = uid(), [uid(), uid()]
        patient = f"F{TOKEN}"
        made = [ct(study, series[number % 2], PatientID=patient, SeriesNumber=number % 2 + 1) for number in range(INSTANCES)]
        with target.associate(wire.CT_IMAGE_STORAGE) as association:
            equal("statuses", {association.store(one).status for one in made}, {0})
            association.release()
        target.known["agenda"] = made
    return target.known["agenda"]


def ask(target, level, model=STUDY_FIND, syntax=wire.IMPLICIT, **keys):
    """Matches as data sets, and the status of the last answer."""
    with target.associate((model, [syntax])) as association:
        matches, last = association.find(model, identifier(level, **keys))
        chosen = association.syntax(1)
        association.release()
    return [decode_data_set(match.data, chosen) for match in matches], last.status


def above(made):
    return {"StudyInstanceUID": made.StudyInstanceUID, "SeriesInstanceUID": made.SeriesInstanceUID}


@row("F1")
def pending_and_last(target):
    made = agenda(target)
    with target.associate(STUDY_FIND) as association:
        keys = identifier("SERIES", StudyInstanceUID=made[0].StudyInstanceUID, SeriesInstanceUID="")
        matches, last = association.find(STUDY_FIND, keys)
        association.release()
    equal("matches", len(matches), 2)
    assert all(match.data for match in matches), "a pending answer without an identifier"
    equal("last answer", (last.status, last.data), (0, None))
    equal("classes", {answer.command.get(SOP_CLASS) for answer in [*matches, last]}, {STUDY_FIND})


@row("F2")
def level_and_place(target):
    made = agenda(target)
    for level, keys in {"STUDY": {}, "SERIES": {"SeriesInstanceUID": ""}}.items():
        for match in ask(target, level, StudyInstanceUID=made[0].StudyInstanceUID, **keys)[0]:
            equal("level", match.get("QueryRetrieveLevel"), level)
            assert match.get("RetrieveAETitle") or match.get("StorageMediaFileSetID"), "nothing says where it is"


@row("F3")
def unique_keys(target):
    one = agenda(target)[0]
    wanted = {"PatientID": "", "PatientName": "", "StudyDate": "", "ModalitiesInStudy": "", "NumberOfStudyRelatedInstances": ""}
    [study], status = ask(target, "STUDY", StudyInstanceUID=one.StudyInstanceUID, **wanted)
    equal("status", status, 0)
    equal("study", (study.PatientID, study.StudyDate), (one.PatientID, one.StudyDate))
    [series], _ = ask(target, "SERIES", **above(one), Modality="", SeriesNumber="")
    equal("series", (series.SeriesInstanceUID, series.Modality, series.SeriesNumber), (one.SeriesInstanceUID, "CT", one.SeriesNumber))
    [image], _ = ask(target, "IMAGE", **above(one), SOPInstanceUID=one.SOPInstanceUID, InstanceNumber="", SOPClassUID="")
    equal("image", (image.SOPInstanceUID, image.InstanceNumber), (one.SOPInstanceUID, one.InstanceNumber))


@row("F4")
def no_match(target):
    agenda(target)
    equal("answer", ask(target, "STUDY", StudyInstanceUID=uid()), ([], 0))


@row("F5")
def levels_that_are_none(target):
    one = agenda(target)[0]
    for level in (None, "", "NONSENSE", "PATIENT"):
        matches, status = ask(target, level, StudyInstanceUID=one.StudyInstanceUID)
        one_of(f"level {level!r}", status, *REFUSED)
        equal("matches", matches, [])


@row("F6")
def keys_of_the_levels_above(target):
    one = agenda(target)[0]
    for level, keys in {
        "SERIES": {"SeriesInstanceUID": one.SeriesInstanceUID},
        "IMAGE": {"StudyInstanceUID": one.StudyInstanceUID, "SOPInstanceUID": one.SOPInstanceUID},
    }.items():
        one_of(f"{level} without the keys above", ask(target, level, **keys)[1], *REFUSED)


@row("F7")
def kinds_of_matching(target):
    made = agenda(target)
    one, patient = made[0], {"PatientID": made[0].PatientID}
    uids = [item.SOPInstanceUID for item in made if item.SeriesInstanceUID == one.SeriesInstanceUID]
    equal("list of UIDs", len(ask(target, "IMAGE", **above(one), SOPInstanceUID=uids[:2])[0]), 2)
    for name, keys in {
        "wildcard": {"PatientName": f"Rows{TOKEN}*"},
        "one character": {"PatientName": f"Rows{TOKEN}^Cas?"},
        "date": {"StudyDate": "20240210"},
        "range of dates": {"StudyDate": "20240201-20240229"},
        "open range": {"StudyDate": "20240210-"},
        "everything": {"StudyDescription": ""},
    }.items():
        equal(name, len(ask(target, "STUDY", **patient, StudyInstanceUID="", **keys)[0]), 1)
    for name, keys in {"range": {"StudyDate": "-20240209"}, "value": {"PatientName": f"Rows{TOKEN}^Cas"}}.items():
        equal(f"{name} that does not match", ask(target, "STUDY", **patient, StudyInstanceUID="", **keys)[0], [])


@row("F8")
def identifiers_that_are_none(target):
    target.serves(STUDY_FIND, "C-FIND")
    with target.associate(STUDY_FIND, wire.VERIFICATION) as association:
        fields = {FIELD: C_FIND, PRIORITY: 0, SOP_CLASS: STUDY_FIND}
        for name, data in {"no identifier": None, "an empty one": b"", "noise": b"\xff" * 99, "a cut one": b"\x08\0\x52\0\x06\0"}.items():
            refused(name, association.ask(1, fields, data).status)
        equal("status of a following C-ECHO", association.echo().status, 0)
        association.release()


@row("F9")
def a_cancel(target):
    made = agenda(target)
    with target.associate(STUDY_FIND) as association:
        keys = identifier("IMAGE", StudyInstanceUID=made[0].StudyInstanceUID, SeriesInstanceUID=made[0].SeriesInstanceUID,
                          SOPInstanceUID="")
        fields = {FIELD: C_FIND, MESSAGE_ID: 5, PRIORITY: 0, SOP_CLASS: STUDY_FIND}
        association.command(1, fields, encode_data_set(keys))
        association.command(1, {FIELD: C_CANCEL, message.ANSWERED_ID: 5})
        answers = [association.message()]
        while answers[-1].pending:
            answers.append(association.message())
        contains("ends", (0, message.CANCELLED), [answers[-1].status])
        association.release()


@row("F10")
def patient_root(target):
    made = agenda(target)
    target.serves(PATIENT_FIND, "patient root")
    [match], status = ask(target, "PATIENT", PATIENT_FIND, PatientID=made[0].PatientID, PatientName="")
    equal("patient", (status, match.PatientID), (0, made[0].PatientID))
    [study], _ = ask(target, "STUDY", PATIENT_FIND, PatientID=made[0].PatientID, StudyInstanceUID="")
    equal("study", study.StudyInstanceUID, made[0].StudyInstanceUID)


@row("F11")
def transfer_syntaxes(target):
    one = agenda(target)[0]
    for syntax in (wire.IMPLICIT, wire.EXPLICIT):
        if target.accepted((STUDY_FIND, [syntax])).contexts[1][0] == wire.ACCEPTED:
            [match], _ = ask(target, "STUDY", syntax=syntax, StudyInstanceUID=one.StudyInstanceUID, PatientName="")
            equal(f"name in {syntax}", match.PatientName, one.PatientName)


@row("F12")
def optional_keys(target):
    one = agenda(target)[0]
    keys = {"ContrastBolusAgent": "", "TotalNumberOfExposures": None, "PersonName": ""}
    equal("matches", len(ask(target, "STUDY", StudyInstanceUID=one.StudyInstanceUID, **keys)[0]), 1)
