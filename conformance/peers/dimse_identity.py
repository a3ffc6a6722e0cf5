"""User Identity Negotiation (PS3.7 D.3.3.7) before access control: DCMTK and pynetdicom as users, and as nobody."""

import subprocess
import time
from pathlib import Path

import pydicom
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.pdu_primitives import UserIdentityNegotiation

from .guarded import RECHECK_S, Guarded
from .server import WITHOUT_ANALYSIS, free_port
from .tally import equal

CT = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"
CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
FIND, MOVE, GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
VERIFICATION = "1.2.840.10008.1.1"
USERNAME, PASSCODE, KERBEROS, SAML, JWT = range(1, 6)
PERMANENT, PROVIDER = 1, 2
PATIENCE_S = 60
NOT_AUTHORIZED, SUCCESS, PENDING = 0x0124, 0x0000, 0xFF00


class Place:
    """Nina of the north and Sven of the south, each with a study, and a key of the north."""

    def __init__(self, context, server):
        self.folder, self.server = context.folder("dimse-identity"), server
        self.nina, self.sven = server.person("nina", "technologist"), server.person("sven", "technologist")
        self.vera = server.person("vera", "viewer")
        self.key_id, self.key = server.key("scanner", "service")
        self.north = server.group("north", f"users/{self.nina.id}", f"users/{self.vera.id}", f"api-keys/{self.key_id}")
        self.south = server.group("south", f"users/{self.sven.id}")

    def object(self, study=None):
        """A new CT image of a study, or of a new one."""
        made = dcmread(CT)
        made.StudyInstanceUID = study or generate_uid()
        made.SeriesInstanceUID, made.SOPInstanceUID = generate_uid(), generate_uid()
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        return made

    def file(self, made):
        path = self.folder / f"{made.SOPInstanceUID}.dcm"
        made.save_as(path)
        return path


def run(context, tally):
    elsewhere = free_port()
    nodes = f'[{{ ae_title = "NORTHERN", may = ["store", "query", "retrieve"], groups = ["north"] }}, ' \
            f'{{ ae_title = "STORESCP", host = "127.0.0.1", port = {elsewhere} }}, ' \
            f'{{ ae_title = "EVERYTHING", may = ["query"] }}]'
    keys = WITHOUT_ANALYSIS | {"dimse.nodes": nodes, "auth.ungrouped_studies": "administrators",
                               "dimse.unknown_callers_may": '["store", "query"]'}
    with Guarded(context.binary, context.folder("dimse-identity") / "optional", keys) as server:
        place = Place(context, server)
        for name, check in CHECKS.items():
            with tally.check(f"user identity: {name}"):
                check(place)
        with tally.check("user identity: who is disabled meanwhile is refused within his association"):
            disabled_meanwhile(place)
        with tally.check("user identity: who knocks again and again is a number in the audit trail"):
            knocking(place)
        with tally.check("user identity: no secret and no token is in the log"):
            log = server.log()
            assert place.nina.password not in log and place.nina.token not in log and place.key not in log
    with Guarded(context.binary, context.folder("dimse-identity") / "required", keys | {"dimse.user_identity": "required"}) as server:
        nina = server.person("nina", "technologist")
        with tally.check("user identity: required"):
            equal("without one", rejection(server), (PERMANENT, PROVIDER, 1))
            equal("with one", echo(server, identity(PASSCODE, nina.name, nina.password)), SUCCESS)


def identity(kind, primary, secondary=None, wants_response=False):
    made = UserIdentityNegotiation()
    made.user_identity_type, made.positive_response_requested = kind, wants_response
    made.primary_field = primary.encode()
    if secondary is not None:
        made.secondary_field = secondary.encode()
    return made


def associated(server, identity=None, contexts=(VERIFICATION, FIND, CT_STORAGE), calling="STRANGER", roles=(), handlers=()):
    ae = AE(calling)
    ae.acse_timeout = ae.network_timeout = ae.dimse_timeout = PATIENCE_S
    for context in contexts:
        ae.add_requested_context(context)
    items = list(roles) + ([identity] if identity else [])
    return ae.associate(server.host, server.dimse_port, ae_title=server.aet, ext_neg=items, evt_handlers=list(handlers))


def echo(server, identity):
    association = associated(server, identity)
    assert association.is_established, "it was not let in"
    status = association.send_c_echo().Status
    association.release()
    return status


def rejection(server, identity=None, name="nobody"):
    """Result, source and reason of an A-ASSOCIATE-RJ."""
    # pynetdicom takes a connection that is closed behind the A-ASSOCIATE-RJ for an abort, now and then
    for _ in range(5):
        association = associated(server, identity)
        assert not association.is_established, f"{name} was let in"
        if association.is_rejected:
            break
    assert association.is_rejected, f"{name} was never rejected"
    primitive = association.acceptor.primitive
    return primitive.result, primitive.result_source, primitive.diagnostic


def store(server, identity, made, calling="STRANGER"):
    association = associated(server, identity, (CT_STORAGE,), calling)
    assert association.is_established and association.accepted_contexts, "storage was not accepted"
    status = association.send_c_store(made).Status
    association.release()
    return status


def find(server, identity, study="", calling="STRANGER", level="STUDY", **keys):
    """The studies that a query shows."""
    wanted = Dataset()
    wanted.QueryRetrieveLevel, wanted.StudyInstanceUID = level, study
    for keyword, value in keys.items():
        setattr(wanted, keyword, value)
    association = associated(server, identity, (FIND,), calling)
    assert association.is_established and association.accepted_contexts, "queries were not accepted"
    answers = [(status.Status, found) for status, found in association.send_c_find(wanted, FIND)]
    association.release()
    equal("status of the query", answers[-1][0], SUCCESS)
    return {found.StudyInstanceUID for _, found in answers[:-1]}


def of(person):
    return identity(PASSCODE, person.name, person.password)


def every_good_proof(place):
    server, nina = place.server, place.nina
    for made in (of(nina), identity(JWT, nina.token), identity(PASSCODE, "any", place.key)):
        equal(f"type {made.user_identity_type}", echo(server, made), SUCCESS)


def every_bad_proof(place):
    nina = place.nina
    head, body, signature = nina.token.split(".")
    unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"
    for name, made in {
        "a wrong passcode": identity(PASSCODE, nina.name, "wrong"), "nobody's name": identity(PASSCODE, "nobody", nina.password),
        "a name alone": identity(USERNAME, nina.name), "another signature": identity(JWT, f"{head}.{body}.{signature[::-1]}"),
        "no signature": identity(JWT, f"{unsigned}.{body}."), "a key of another end": identity(PASSCODE, "any", place.key[:-8] + "aaaaaaaa"),
        "a ticket": identity(KERBEROS, "ticket"), "an assertion": identity(SAML, "<Assertion/>"),
    }.items():
        equal(name, rejection(place.server, made, name), (PERMANENT, PROVIDER, 1))


def disabled_meanwhile(place):
    server, uma = place.server, place.server.person("uma", "technologist")
    server.group("east", f"users/{uma.id}")
    association = associated(server, of(uma), (CT_STORAGE, VERIFICATION))
    equal("before", association.send_c_store(place.object()).Status, SUCCESS)
    _, tag = server.administrator.api("GET", f"users/{uma.id}")
    server.administrator.api("PATCH", f"users/{uma.id}", json={"disabled": True}, headers={"If-Match": tag})
    time.sleep(2 * RECHECK_S)
    equal("after", association.send_c_store(place.object()).Status, NOT_AUTHORIZED)
    equal("an echo", association.send_c_echo().Status, SUCCESS)
    association.release()


def knocking(place):
    server = place.server
    before = rejections(server)
    for number in range(30):
        ae = AE(f"KNOCK{number}")
        ae.add_requested_context(VERIFICATION)
        ae.associate(server.host, server.dimse_port, ae_title="SOMEBODY ELSE")
    time.sleep(1)
    equal("rows", rejections(server) - before, 1)


def rejections(server):
    found, _ = server.administrator.api("GET", "audit?action=reject-association&limit=1")
    return found["total"]


def positive_response(place):
    for wants in (True, False):
        association = associated(place.server, identity(PASSCODE, place.nina.name, place.nina.password, wants))
        answers = [item for item in association.acceptor.primitive.user_information if hasattr(item, "server_response")]
        association.release()
        assert bool([item for item in answers if item.server_response is not None]) == wants, f"asked: {wants}"


def roles_say_which_services(place):
    association = associated(place.server, of(place.vera), calling="NORTHERN")
    accepted = {context.abstract_syntax for context in association.accepted_contexts}
    association.release()
    equal("of a viewer", accepted, {VERIFICATION, FIND})


def nodes_bound_their_users(place):
    association = associated(place.server, of(place.nina), calling="EVERYTHING")
    accepted = {context.abstract_syntax for context in association.accepted_contexts}
    association.release()
    equal("at a node that may query", accepted, {VERIFICATION, FIND})


def dcmtk_stores(place):
    made, token = place.object(), place.folder / "token"
    path = place.file(made)
    token.write_text(place.nina.token)
    good = ["-usr", place.nina.name, "-pwd", place.nina.password]
    for options in (good, [*good, "-rsp"], ["--jwt", token]):
        done = storescu(place.server, path, *options)
        equal(f"exit status of {options[0]}: {done.stderr}", done.returncode, 0)
    assert storescu(place.server, path, "-usr", place.nina.name, "-pwd", "wrong").returncode != 0, "a wrong passcode"
    equal("the study", find(place.server, of(place.nina), made.StudyInstanceUID), {made.StudyInstanceUID})


def storescu(server, path, *options):
    command = ["storescu", *map(str, options), "-aec", server.aet, server.host, str(server.dimse_port), str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)


def queries_show_the_studies_of_the_user(place):
    server, made = place.server, place.object()
    study = made.StudyInstanceUID
    equal("store", store(server, of(place.nina), made), SUCCESS)
    for name, who, expected in (
        ("nina", of(place.nina), {study}), ("vera", of(place.vera), {study}), ("the key", identity(PASSCODE, "x", place.key), {study}),
        ("sven", of(place.sven), set()), ("the administrator", of(server.administrator), {study}), ("nobody", None, set()),
    ):
        equal(name, find(server, who, study), expected)
    equal("a node of the north", find(server, None, study, "NORTHERN"), {study})
    equal("a node without groups", find(server, None, study, "EVERYTHING"), {study})
    for level in ("SERIES", "IMAGE"):
        keys = {"SeriesInstanceUID": made.SeriesInstanceUID, "SOPInstanceUID": ""} if level == "IMAGE" else {"SeriesInstanceUID": ""}
        equal(f"sven at {level}", find(server, of(place.sven), study, level=level, **keys), set())
        equal(f"nina at {level}", find(server, of(place.nina), study, level=level, **keys), {study})


def nobody_adds_to_what_he_cannot_see(place):
    server, made = place.server, place.object()
    equal("the first", store(server, of(place.nina), made), SUCCESS)
    equal("another of the study", store(server, of(place.sven), place.object(made.StudyInstanceUID)), NOT_AUTHORIZED)
    equal("the same", store(server, of(place.sven), made), NOT_AUTHORIZED)
    equal("from a node of the north", store(server, None, place.object(made.StudyInstanceUID), "NORTHERN"), SUCCESS)


def retrievals_send_the_studies_of_the_user(place):
    server, made = place.server, place.object()
    equal("store", store(server, of(place.nina), made), SUCCESS)
    equal("nina", got(server, of(place.nina), made.StudyInstanceUID), ([made.SOPInstanceUID], SUCCESS))
    hidden = got(server, of(place.sven), made.StudyInstanceUID)
    equal("sven", hidden, got(server, of(place.sven), generate_uid()))
    equal("what came", hidden[0], [])


def got(server, identity, study):
    """What a C-GET brings, and its status."""
    came = []
    def keep(event):
        came.append(event.request.AffectedSOPInstanceUID)
        return SUCCESS
    wanted = Dataset()
    wanted.QueryRetrieveLevel, wanted.StudyInstanceUID = "STUDY", study
    role = build_role(CT_STORAGE, scp_role=True)
    association = associated(server, identity, (GET, CT_STORAGE), roles=[role], handlers=[(evt.EVT_C_STORE, keep)])
    assert association.is_established, "it was not let in"
    status = [status.Status for status, _ in association.send_c_get(wanted, GET)][-1]
    association.release()
    return came, status


def moves_send_the_studies_of_the_user(place):
    made = place.object()
    equal("store", store(place.server, of(place.nina), made), SUCCESS)
    assert moved(place.server, of(place.sven), made.StudyInstanceUID) == moved(place.server, of(place.sven), generate_uid())


def moved(server, identity, study):
    wanted = Dataset()
    wanted.QueryRetrieveLevel, wanted.StudyInstanceUID = "STUDY", study
    association = associated(server, identity, (MOVE,))
    assert association.is_established, "it was not let in"
    status = [status for status, _ in association.send_c_move(wanted, "STORESCP", MOVE)][-1]
    association.release()
    return status.Status, status.get("NumberOfCompletedSuboperations"), status.get("NumberOfFailedSuboperations")


CHECKS = {
    "passcode, token and key let in": every_good_proof,
    "what is not good is rejected": every_bad_proof,
    "a response where it is asked for": positive_response,
    "roles say which services": roles_say_which_services,
    "a node bounds its users": nodes_bound_their_users,
    "storescu of DCMTK": dcmtk_stores,
    "C-FIND shows what the user sees": queries_show_the_studies_of_the_user,
    "C-STORE adds to nothing hidden": nobody_adds_to_what_he_cannot_see,
    "C-GET sends what the user sees": retrievals_send_the_studies_of_the_user,
    "C-MOVE counts what the user sees": moves_send_the_studies_of_the_user,
}
