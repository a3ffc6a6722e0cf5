"""A running DIMSE server as users of pynetdicom see it."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))

from cases import expect  # noqa: E402
from reactor import rest  # noqa: E402
from sendable import SUCCESS  # noqa: E402

VERIFICATION_CONTEXT = ("1.2.840.10008.1.1", ["1.2.840.10008.1.2"])
MODALITY_WORKLIST = "1.2.840.10008.5.1.4.31"
CONTEXTS_MAX = 128
ASSOCIATIONS_AT_ONCE = 20


def pynetdicom_echo(run):
    association = associate(run, [VERIFICATION_CONTEXT])
    expect(association.send_c_echo().Status == SUCCESS, "C-ECHO failed")
    association.release()
    expect(association.is_released, "the release was not confirmed")


def pynetdicom_store(run):
    """Sends the files' own bytes, in as many associations as their contexts need."""
    contexts = sorted({(file.sop_class, file.transfer_syntax) for file in run.files})
    answers = []
    for start in range(0, len(contexts), CONTEXTS_MAX):
        batch = contexts[start : start + CONTEXTS_MAX]
        association = associate(run, [(sop_class, [syntax]) for sop_class, syntax in batch])
        accepted = {(c.abstract_syntax, c.transfer_syntax[0]) for c in association.accepted_contexts}
        to_send = [file for file in run.files if (file.sop_class, file.transfer_syntax) in accepted.intersection(batch)]
        answers += [(file, store(association, file)) for file in to_send]
        association.release()
        expect(association.is_released, "the association did not last to its release")
    run.check_answers(answers, least=0.9)


def pynetdicom_refused_context(run):
    association = associate(run, [VERIFICATION_CONTEXT, (MODALITY_WORKLIST, ["1.2.840.10008.1.2"])])
    rejected = [(context.abstract_syntax, context.result) for context in association.rejected_contexts]
    association.release()
    expect(rejected in ([(MODALITY_WORKLIST, 3)], []), rejected)


def pynetdicom_parallel(run):
    """Associations that all stand before the first of them sends."""
    ct = run.file("CT_small.dcm")
    with ThreadPoolExecutor(ASSOCIATIONS_AT_ONCE) as pool:
        contexts = [(ct.sop_class, [ct.transfer_syntax])]
        associations = list(pool.map(lambda _: associate(run, contexts), range(ASSOCIATIONS_AT_ONCE)))
        statuses = set(pool.map(lambda association: store(association, ct), associations))
        list(pool.map(lambda association: association.release(), associations))
    expect(statuses == {SUCCESS}, statuses)


def associate(run, contexts, patience_s=60):
    from pynetdicom import AE, _config

    # A file's own bytes instead of its data set encoded anew.
    _config.STORE_SEND_CHUNKED_DATASET = True
    ae = AE(ae_title="PYNETDICOM")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = patience_s
    for abstract_syntax, transfer_syntaxes in contexts:
        ae.add_requested_context(abstract_syntax, transfer_syntaxes)
    association = ae.associate(run.host, run.port, ae_title=run.aet)
    expect(association.is_established, "the association was not accepted")
    return association


def store(association, file):
    rest(association)
    answer = association.send_c_store(file.path)
    expect("Status" in answer, f"{file.path.name}: no answer")
    return answer.Status


CASES = {
    "pynetdicom: C-ECHO": pynetdicom_echo,
    "pynetdicom: C-STORE of the files' own bytes": pynetdicom_store,
    "pynetdicom: a context that is not served": pynetdicom_refused_context,
    f"pynetdicom: {ASSOCIATIONS_AT_ONCE} associations at once": pynetdicom_parallel,
}
