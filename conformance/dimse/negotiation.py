"""Rows A: who may associate, and on what terms."""

import struct
import time

import wire
from message import encode_data_set
from objects import ct
from pydicom.uid import UID
from target import STUDY_FIND, STUDY_GET, NotApplicable, contains, equal, row

UNKNOWN = "1.2.826.0.1.3680043.8.498.99"
REJECTED_FOR_GOOD, REJECTED_FOR_NOW = 1, 2
USER, ACSE, PRESENTATION = 1, 2, 3


def rejection(target, **changes):
    """Result, source and reason."""
    with target.connect() as connection:
        connection.send(target.request(**changes).encode())
        return connection.expect(wire.ASSOCIATE_RJ).fault


@row("A1")
def titles_come_back(target):
    accepted = target.accepted(reserved=bytes(34))
    equal("titles", (accepted.called, accepted.calling), (wire.title(target.title), wire.title(target.calling)))


@row("A2", "A4")
def contexts_are_answered_one_by_one(target):
    accepted = target.accepted(wire.VERIFICATION, UNKNOWN, wire.CT_IMAGE_STORAGE)
    results = {identifier: result for identifier, (result, _) in accepted.contexts.items()}
    equal("results", results, {1: wire.ACCEPTED, 3: wire.ABSTRACT_SYNTAX_UNKNOWN, 5: wire.ACCEPTED})


@row("A4")
def nothing_accepted_still_stands(target):
    accepted = target.accepted(UNKNOWN)
    equal("result", accepted.contexts[1][0], wire.ABSTRACT_SYNTAX_UNKNOWN)


@row("A3")
def a_proposed_transfer_syntax_is_chosen(target):
    proposed = {wire.VERIFICATION: [wire.EXPLICIT, wire.IMPLICIT], wire.CT_IMAGE_STORAGE: [UNKNOWN, wire.IMPLICIT]}
    accepted = target.accepted(*proposed.items())
    for identifier, syntaxes in zip((1, 3), proposed.values(), strict=True):
        result, chosen = accepted.contexts[identifier]
        equal("result", result, wire.ACCEPTED)
        equal("transfer syntaxes", len(chosen), 1)
        contains("what was proposed", syntaxes, chosen)


@row("A5")
def an_unknown_transfer_syntax(target):
    """Verification has no data set, and storage may keep what it cannot read: identifiers have to be understood."""
    target.serves(STUDY_FIND, "C-FIND")
    results = [result for result, _ in target.accepted((STUDY_FIND, [UNKNOWN]), STUDY_FIND).contexts.values()]
    equal("results", results, [wire.TRANSFER_SYNTAX_UNKNOWN, wire.ACCEPTED])


@row("A6")
def even_and_repeated_ids(target):
    for identifiers in ((2,), (1, 1)):
        contexts = [(identifier, wire.VERIFICATION, [wire.IMPLICIT]) for identifier in identifiers]
        got = target.answer(contexts=contexts)
        if got is None or got.kind in (wire.A_ABORT, wire.ASSOCIATE_RJ):
            continue
        # A repeated id cannot be told apart in the answer: there must be no more than one that stands.
        results = [value[2] for kind, value in wire.split_items(got.body[68:]) if kind == 0x21]
        assert results.count(wire.ACCEPTED) < len(identifiers), f"ids {identifiers} are accepted: {results}"


@row("A7")
def as_many_contexts_as_there_are_ids(target):
    accepted = target.accepted(*[wire.VERIFICATION, UNKNOWN] * 64)
    equal("ids", sorted(accepted.contexts), list(range(1, 256, 2)))
    equal("results", {result for result, _ in accepted.contexts.values()}, {wire.ACCEPTED, wire.ABSTRACT_SYNTAX_UNKNOWN})


@row("A8")
def another_application_context(target):
    equal("rejection", rejection(target, application_context="1.2.3"), (REJECTED_FOR_GOOD, USER, 2))


@row("A9")
def another_protocol_version(target):
    equal("rejection", rejection(target, version=2), (REJECTED_FOR_GOOD, ACSE, 2))


@row("A10")
def more_versions(target):
    equal("version", target.accepted(version=0x8003).version & 1, 1)


@row("A11")
def another_called_title(target):
    if not target.declared("called_checked"):
        raise NotApplicable("any called title is served")
    for called in ("SOMEBODY", target.title + "X", b" " * 16):
        equal("rejection", rejection(target, called=called), (REJECTED_FOR_GOOD, USER, 7))


@row("A12")
def an_unknown_caller(target):
    if not target.declared("callers_checked"):
        raise NotApplicable("any caller is served")
    equal("rejection", rejection(target, calling="A_STRANGER"), (REJECTED_FOR_GOOD, USER, 3))


@row("A13")
def one_association_too_many(target):
    held = [patiently_associated(target) for _ in range(target.declared("associations_max"))]
    try:
        result, source, reason = rejection(target)
        equal("result and source", (result, source), (REJECTED_FOR_NOW, PRESENTATION))
        contains("reasons", (1, 2), [reason])
    finally:
        for association in held:
            association.release()
    target.still_serves()


def patiently_associated(target):
    """Tried again while associations of the checks before are still being closed."""
    deadline = time.monotonic() + wire.PATIENCE_S
    while True:
        try:
            return target.associate()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@row("A14")
def reserved_fields(target):
    request = target.request(reserved=b"\xff" * 34).encode()
    # Reserved bytes of the PDU header, of the first item's and of the first context's.
    at = 6 + 68
    items = request[at:]
    context = at + 4 + struct.unpack_from(">BxH", items)[1]
    patched = bytearray(request)
    for place in (1, at + 1, context + 1, context + 5, context + 6, context + 7):
        patched[place] = 0xFF
    with target.connect() as connection:
        connection.send(bytes(patched))
        connection.expect(wire.ASSOCIATE_AC)


@row("A15")
def padded_titles(target):
    for called in (b" " + target.title.encode().ljust(15), target.title.encode().rjust(16)):
        target.accepted(called=called)


@row("A16")
def announced_length_is_taken(target):
    with target.associate(wire.CT_IMAGE_STORAGE) as association:
        assert association.accepted.user(wire.MAX_LENGTH), "there is no maximum length"
        limit = association.accepted.max_length or 1 << 20
        made = ct()
        data = association_data(made, limit * 2)
        answer = association.store_bytes(1, made.SOPClassUID, made.SOPInstanceUID, data, pieces=limit - 6)
        equal("status", answer.status, 0)
        association.release()


def association_data(made, bytes_):
    """The object with pixels of this size, encoded."""
    made.Rows, made.Columns = max(bytes_ // 2 // 64, 1), 64
    made.PixelData = bytes(made.Rows * 128)
    return encode_data_set(made)


@row("A17")
def small_maximum_lengths(target):
    """An answer in pieces, or none at all: who cannot make them so small must not make them longer."""
    for limit in (16384, 1024, 128, 64, 14):
        got = target.answer(max_length=limit)
        if got is None or got.kind != wire.ASSOCIATE_AC:
            continue
        with target.associate(max_length=limit) as association:
            association.command(1, {0x0002: wire.VERIFICATION, 0x0100: 0x30, 0x0110: 1})
            got = association.receive()
            if got is None or got.kind == wire.A_ABORT:
                continue
            lengths = [len(got.body)]
            while not got.values()[-1][1] & wire.LAST:
                got = association.expect(wire.P_DATA)
                lengths.append(len(got.body))
            assert max(lengths) <= limit, f"a P-DATA-TF of {max(lengths)} bytes where {limit} is the most"


@row("A18")
def no_maximum_length(target):
    for limit in (0, None, 0xFFFFFFFF):
        with target.associate(max_length=limit) as association:
            equal("status", association.echo().status, 0)
            association.release()


@row("A19")
def implementation_class(target):
    [name] = target.accepted().user(wire.IMPLEMENTATION_UID)
    assert UID(name.decode().rstrip("\0")).is_valid, f"{name} is no UID"


@row("A20")
def unknown_items(target):
    target.accepted(user_items=[(0x7F, b"?" * 9), (0x5F, b""), (0xFE, bytes(300))])
    target.accepted(other_items=wire.item(0x7E, b"whatever"))


@row("A21")
def roles(target):
    proposed = [(wire.CT_IMAGE_STORAGE, 0, 1), (STUDY_GET, 1, 0), (UNKNOWN, 1, 1)]
    accepted = target.accepted(
        wire.VERIFICATION, wire.CT_IMAGE_STORAGE, STUDY_GET, user_items=[wire.role_item(*one) for one in proposed]
    )
    for sop_class, (scu, scp) in accepted.roles().items():
        asked = {name: role for name, *role in proposed}
        contains("proposed classes", asked, [sop_class])
        assert scu <= asked[sop_class][0] and scp <= asked[sop_class][1], f"more roles of {sop_class} than proposed"
    equal("roles without a proposal", target.accepted(wire.CT_IMAGE_STORAGE).roles(), {})


@row("A22")
def asynchronous_operations(target):
    equal("a window without a proposal", target.accepted().user(wire.ASYNC_WINDOW), [])
    for proposal in ((1, 1), (4, 2), (0, 0)):
        answers = target.accepted(user_items=[(wire.ASYNC_WINDOW, struct.pack(">HH", *proposal))]).user(wire.ASYNC_WINDOW)
        assert len(answers) <= 1, "several windows"
        for answer in answers:
            for asked, given in zip(proposal, struct.unpack(">HH", answer), strict=True):
                assert asked == 0 or 1 <= given <= asked, f"window {struct.unpack('>HH', answer)} for {proposal}"


@row("A23")
def extended_negotiation(target):
    equal("an answer without a proposal", target.accepted(STUDY_FIND).user(wire.EXTENDED), [])
    asked = {STUDY_FIND: b"\1\0\0\0", UNKNOWN: b"\1\1"}
    items = [wire.extended_item(*one) for one in asked.items()]
    for answer in target.accepted(STUDY_FIND, user_items=items).user(wire.EXTENDED):
        length = struct.unpack_from(">H", answer)[0]
        sop_class, information = answer[2 : 2 + length].decode().rstrip("\0"), answer[2 + length :]
        equal("class of the answer", sop_class, STUDY_FIND)
        assert all(given <= wanted for wanted, given in zip(asked[sop_class], information)), f"promises {information}"
        assert not any(information[len(asked[sop_class]) :]), f"promises more: {information}"


@row("A24")
def common_extended_negotiation(target):
    fields = [wire.CT_IMAGE_STORAGE.encode(), b"1.2.840.10008.4.2"]
    value = b"".join(struct.pack(">H", len(one)) + one for one in fields) + bytes(2)
    accepted = target.accepted(wire.CT_IMAGE_STORAGE, user_items=[(wire.COMMON_EXTENDED, value)])
    equal("an answer", accepted.user(wire.COMMON_EXTENDED), [])


@row("A25")
def user_identity(target):
    for kind, answer in ((1, False), (1, True), (2, False), (9, True)):
        got = target.answer(user_items=[wire.identity_item(kind, b"nobody", b"secret" * (kind == 2), answer)])
        assert got and got.kind in (wire.ASSOCIATE_AC, wire.ASSOCIATE_RJ), f"identity {kind}: {got and got.shown()}"
        if got.kind == wire.ASSOCIATE_AC and not answer:
            equal("an answer", wire.Accepted.read(got.body).user(wire.IDENTITY_ANSWER), [])
    target.still_serves()


@row("A26")
def items_beyond_the_request(target):
    good = target.request().encode()
    head, user = good[: 6 + 68], wire.item(0x50, struct.pack(">BxHI", 0x51, 4, 16384))
    name = wire.uid_item(0x10, wire.APPLICATION_CONTEXT)
    for items in (
        name + b"\x20\0\xff\xff\1\0\0\0",
        name + wire.item(0x20, b"\1\0\0\0" + b"\x30\0\xff\xff1.2.3") + user,
        name + wire.item(0x50, b"\x51\0\xff\xff" + bytes(4)),
        name + wire.item(0x50, wire.item(wire.ROLE, b"\xff\xff1.2")),
        name + wire.item(0x50, wire.item(wire.IDENTITY, b"\2\1\xff\xffx")),
        name + wire.item(0x50, wire.item(wire.MAX_LENGTH, b"\1")),
        name + b"\x20",
    ):
        with target.connect() as connection:
            connection.send(wire.pdu(wire.ASSOCIATE_RQ, head[6:] + items))
            got = connection.receive()
            assert got is None or got.kind in (wire.A_ABORT, wire.ASSOCIATE_RJ, wire.ASSOCIATE_AC), got.shown()
    for length in range(0, 68, 17):
        with target.connect() as connection:
            connection.send(wire.pdu(wire.ASSOCIATE_RQ, good[6 : 6 + length]))
            expect_end_or_rejection(connection)
    target.still_serves()


def expect_end_or_rejection(connection):
    got = connection.receive()
    if got is not None and got.kind == wire.ASSOCIATE_RJ:
        return
    assert got is None or got.kind == wire.A_ABORT, f"{got.shown()} to a request without its end"


@row("A27")
def requests_that_lack_much(target):
    for changes in ({"contexts": []}, {"user_information": False}, {"max_length": None, "implementation": False}):
        request = target.request(**changes)
        with target.connect() as connection:
            connection.send(request.encode())
            got = connection.receive()
            assert got is None or got.kind in (wire.A_ABORT, wire.ASSOCIATE_RJ, wire.ASSOCIATE_AC), got.shown()
    target.still_serves()


@row("A28")
def one_class_on_several_contexts(target):
    accepted = target.accepted((wire.CT_IMAGE_STORAGE, [wire.EXPLICIT]), (wire.CT_IMAGE_STORAGE, [wire.IMPLICIT]))
    equal("answers", accepted.contexts, {1: (0, [wire.EXPLICIT]), 3: (0, [wire.IMPLICIT])})


@row("A29")
def nothing_about_the_implementation(target):
    with target.associate(implementation=False) as association:
        equal("status", association.echo().status, 0)
        association.release()


@row("A30")
def padded_uids(target):
    padded = (wire.VERIFICATION.encode() + b"\0", [wire.IMPLICIT.encode() + b"\0"])
    accepted = target.accepted(padded, application_context=wire.APPLICATION_CONTEXT.encode() + b"\0")
    equal("answer", accepted.contexts, {1: (wire.ACCEPTED, [wire.IMPLICIT])})
