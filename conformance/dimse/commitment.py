"""Rows C: storage commitment, push model."""

import message
import wire
from message import ACTION_TYPE, FIELD, N_ACTION, N_EVENT_REPORT, REQUESTED_CLASS, REQUESTED_INSTANCE, RESPONSE
from objects import ct, uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from target import COMMITMENT, NotApplicable, equal, refused, row

WELL_KNOWN = "1.2.840.10008.1.20.1.1"
COMMITTED, FAILURES = 1, 2
NO_SUCH_INSTANCE, CLASS_CONFLICT, NO_SUCH_ACTION = 0x0112, 0x0119, 0x0123
MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"


def information(instances, transaction=None):
    """Of an action: pairs of class and instance."""
    made = Dataset()
    made.TransactionUID = transaction or uid()
    made.ReferencedSOPSequence = Sequence([reference(*one) for one in instances])
    return made


def reference(sop_class, instance):
    made = Dataset()
    made.ReferencedSOPClassUID, made.ReferencedSOPInstanceUID = sop_class, instance
    return made


def action(association, made, changes=()):
    """The answer to an N-ACTION with this data set, or these bytes."""
    fields = {FIELD: N_ACTION, REQUESTED_CLASS: COMMITMENT, REQUESTED_INSTANCE: WELL_KNOWN, ACTION_TYPE: 1}
    data = message.encode_data_set(made) if isinstance(made, Dataset) else made
    return association.ask(1, fields | dict(changes), data)


def report(target, made):
    """The event report that follows, on the same association, as its type and its information."""
    with target.associate(COMMITMENT, user_items=[wire.role_item(COMMITMENT, 1, 0)]) as association:
        equal("status of the N-ACTION", action(association, made).status, 0)
        try:
            event = association.message(60)
        except wire.Silence:
            raise NotApplicable("no report comes on the same association") from None
        equal("field", event.field, N_EVENT_REPORT)
        kind = event.command[message.EVENT_TYPE]
        reply = {FIELD: N_EVENT_REPORT | RESPONSE, message.ANSWERED_ID: event.command[message.MESSAGE_ID], message.STATUS: 0}
        reply |= {message.SOP_CLASS: COMMITMENT, message.SOP_INSTANCE: WELL_KNOWN, message.EVENT_TYPE: kind}
        association.command(event.context, reply)
        association.release()
    told = message.decode_data_set(event.data)
    equal("transaction", told.TransactionUID, made.TransactionUID)
    return kind, told


def instances(told, keyword):
    return [item.ReferencedSOPInstanceUID for item in told.get(keyword, [])]


@row("C1")
def stored(target):
    target.serves(COMMITMENT, "storage commitment")
    made = [target.stored(ct()) for _ in range(2)]
    kind, told = report(target, information([(one.SOPClassUID, one.SOPInstanceUID) for one in made]))
    equal("type", kind, COMMITTED)
    equal("committed", sorted(instances(told, "ReferencedSOPSequence")), sorted(one.SOPInstanceUID for one in made))
    equal("failed", instances(told, "FailedSOPSequence"), [])


@row("C2")
def not_stored(target):
    target.serves(COMMITMENT, "storage commitment")
    made, missing = target.stored(ct()), uid()
    kind, told = report(target, information([(made.SOPClassUID, made.SOPInstanceUID), (wire.CT_IMAGE_STORAGE, missing)]))
    equal("type", kind, FAILURES)
    equal("committed", instances(told, "ReferencedSOPSequence"), [made.SOPInstanceUID])
    failed = [(item.ReferencedSOPInstanceUID, item.FailureReason) for item in told.FailedSOPSequence]
    equal("failed", failed, [(missing, NO_SUCH_INSTANCE)])


@row("C5")
def another_class(target):
    target.serves(COMMITMENT, "storage commitment")
    made = target.stored(ct())
    kind, told = report(target, information([(MR_IMAGE_STORAGE, made.SOPInstanceUID)]))
    equal("type and reason", (kind, [item.FailureReason for item in told.FailedSOPSequence]), (FAILURES, [CLASS_CONFLICT]))


@row("C3")
def other_actions(target):
    target.serves(COMMITMENT, "storage commitment")
    made = information([(wire.CT_IMAGE_STORAGE, uid())])
    with target.associate(COMMITMENT) as association:
        equal("status of action 7", action(association, made, {ACTION_TYPE: 7}).status, NO_SUCH_ACTION)
        refused("another instance", action(association, made, {REQUESTED_INSTANCE: "1.2.3"}).status)
        association.release()


@row("C4")
def incomplete_requests(target):
    target.serves(COMMITMENT, "storage commitment")
    whole = information([(wire.CT_IMAGE_STORAGE, uid())])
    for name in ("TransactionUID", "ReferencedSOPSequence"):
        made = Dataset()
        made.update(whole)
        del made[name]
        with target.associate(COMMITMENT) as association:
            refused(f"a request without {name}", action(association, made).status)
            refused("a request without information", action(association, None).status)
            refused("noise", action(association, b"\xff" * 33).status)
            association.release()
