"""C-FIND as pynetdicom asks it, and data sets as DICOM JSON."""

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pynetdicom import AE, _config, build_context
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
)

SUCCESS, CANCELLED = 0x0000, 0xFE00
PENDING = (0xFF00, 0xFF01)
ROOTS = {
    "PATIENT": PatientRootQueryRetrieveInformationModelFind,
    "STUDY": StudyRootQueryRetrieveInformationModelFind,
}
TIMEOUT_S = 300
_config.LOG_RESPONSE_IDENTIFIERS = _config.LOG_REQUEST_IDENTIFIERS = False


def identifier(level, keys, declared="ISO_IR 192"):
    """`keys` are keywords, tags and paths to values; '' asks for the value alone."""
    question = Dataset()
    question.SpecificCharacterSet = declared.split("\\")
    question.QueryRetrieveLevel = level
    for path, value in keys.items():
        *sequences, last = path.split(".")
        item = question
        for sequence in sequences:
            tag = tag_for_keyword(sequence)
            if tag not in item or not item[tag].value:
                item.add_new(tag, "SQ", Sequence([Dataset()]))
            item = item[tag].value[0]
        put(item, last, value)
    return question


def put(item, name, value):
    tag = Tag(tag_for_keyword(name) or int(name, 16))
    vr = "LO" if tag.is_private else dictionary_VR(tag)
    if vr == "SQ":
        item.add_new(tag, "SQ", Sequence())
    elif vr in ("US", "SS", "UL", "SL"):
        item.add_new(tag, vr, int(value) if value else None)
    else:
        item.add_new(tag, vr, value.split("\\") if "\\" in value else value)


def shown(data_set):
    """As DICOM JSON, without what says how it was asked for."""
    return data_set.to_json_dict(bulk_data_threshold=1 << 30)


def associate(server, root, syntax, extended=()):
    ae = AE(ae_title="PYNETDICOM")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = TIMEOUT_S
    items = []
    if extended:
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid = ROOTS[root]
        item.service_class_application_information = bytes(extended)
        items.append(item)
    made = ae.associate(server.host, server.dimse_port, contexts=[build_context(ROOTS[root], syntax)],
                        ae_title=server.aet, ext_neg=items)
    assert made.is_established, "the association was not accepted"
    if extended:
        agreed = {item.sop_class_uid: item.service_class_application_information
                  for item in made.acceptor.user_information if isinstance(item, SOPClassExtendedNegotiation)}
        assert agreed.get(ROOTS[root]) == bytes(extended), f"agreed to {agreed}"
    return made


def ask(server, root, question, syntax, extended=(), name=None):
    """Matches as DICOM JSON and the last status; `name` is put in as bytes for the patient's."""
    made = associate(server, root, syntax, extended)
    if name is not None:
        question.add_new(0x00100010, "UN", name + b" " * (len(name) % 2))
        question[0x00100010].VR = "PN"
    found, status = [], None
    for answer, match in made.send_c_find(question, ROOTS[root]):
        status = answer.Status if "Status" in answer else None
        if status in PENDING:
            found.append(shown(match))
    made.release()
    return found, status


def cancel_after(server, question, matches):
    """How many matches came and how it ended, when it was cancelled after some."""
    made = associate(server, "STUDY", "1.2.840.10008.1.2.1")
    context = made.accepted_contexts[0].context_id
    came = 0
    for answer, _ in made.send_c_find(question, ROOTS["STUDY"], msg_id=7):
        if answer.Status not in PENDING:
            made.release()
            return came, answer.Status
        came += 1
        if came == matches:
            made.send_c_cancel(7, context)
    raise AssertionError("no last response")
