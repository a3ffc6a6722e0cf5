"""The server under test: where it is, what it has been seen to serve, and what it declares."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))

import message  # noqa: E402
import wire  # noqa: E402
from judging import Book, Declared, Failed, NotApplicable, contains, equal  # noqa: E402, F401
from message import Association  # noqa: E402

BOOK = Book(Path(__file__).parent / "rows.toml")
row = BOOK.row
PATIENT_FIND, STUDY_FIND = "1.2.840.10008.5.1.4.1.2.1.1", "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_MOVE, STUDY_GET = "1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.5.1.4.1.2.2.3"
COMMITMENT = "1.2.840.10008.1.20.1"
IDLE, INVALID_ARGUMENT = 0, 6
PROVIDER = 2


@dataclass
class Choices(Declared):
    """What the standard leaves to a server. A field that is not declared stays at its default."""

    # Another called AE title is rejected; an unknown calling one is.
    called_checked: bool | None = None
    callers_checked: bool | None = None
    # So many associations stand at a time.
    associations_max: int | None = None
    # A silent peer is let go after this long: before, and within an association.
    artim_s: float | None = None
    idle_s: float | None = None
    # An AE title and a port of this machine to which the server moves.
    move_title: str | None = None
    move_port: int | None = None


class Target:
    def __init__(self, host, port, title, calling, choices):
        self.host, self.port, self.title, self.calling = host, port, title, calling
        self.choices, self.last, self.known = choices, None, {}

    def declared(self, name):
        return self.choices.of(name)

    def connect(self, **options):
        self.last = wire.Connection(self, **options)
        return self.last

    def request(self, *contexts, **changes):
        """Contexts are abstract syntaxes, or pairs of one and its transfer syntaxes."""
        pairs = [(one, [wire.IMPLICIT]) if isinstance(one, str) else one for one in contexts or [wire.VERIFICATION]]
        numbered = [(number * 2 + 1, *pair) for number, pair in enumerate(pairs)]
        return wire.Request(**{"called": self.title, "calling": self.calling, "contexts": numbered} | changes)

    def associate(self, *contexts, **changes):
        return Association(self, self.request(*contexts, **changes))

    def answer(self, *contexts, **changes):
        """The PDU that answers a request, or None; the connection is closed."""
        with self.connect() as connection:
            connection.send(self.request(*contexts, **changes).encode())
            return connection.receive()

    def accepted(self, *contexts, **changes):
        """What the server accepts of a request."""
        got = self.answer(*contexts, **changes)
        if got is None or got.kind != wire.ASSOCIATE_AC:
            raise Failed(f"{'the end of the connection' if got is None else got.shown()} in place of A-ASSOCIATE-AC")
        return wire.Accepted.read(got.body)

    def serves(self, abstract_syntax, name):
        """Ends a check of a service that the server does not offer."""
        if abstract_syntax not in self.known:
            result, _ = self.accepted(abstract_syntax).contexts[1]
            self.known[abstract_syntax] = result == wire.ACCEPTED
        if not self.known[abstract_syntax]:
            raise NotApplicable(f"the server accepts no {name}")

    def still_serves(self):
        """A new association, so that what went before cannot matter."""
        with self.associate() as association:
            equal("status of a following C-ECHO", association.echo().status, message.SUCCESS)
            association.release()

    def stored(self, data_set):
        """Stores an object in an association of its own."""
        with self.associate(str(data_set.SOPClassUID)) as association:
            equal("status of a C-STORE", association.store(data_set).status, message.SUCCESS)
            association.release()
        return data_set


def expect_abort(connection, reason=None, source=PROVIDER):
    """A-ABORT of the provider, which names its reason or leaves it open; then the end."""
    got = connection.expect(wire.A_ABORT)
    if source is not None:
        equal("source of the A-ABORT", got.fault[0], source)
    if reason is not None and got.fault[1] not in (0, reason):
        raise Failed(f"reason {got.fault[1]} of the A-ABORT in place of {reason}")


def expect_end(connection):
    """An A-ABORT or the end of the connection: the standard does not say which fault it is."""
    if not connection.ends():
        raise Failed("the server waits for more")


def expect_closed(connection, patience_s):
    """Nothing more but the end, within this time."""
    begun = time.monotonic()
    got = connection.receive(patience_s)
    if got is not None:
        raise Failed(f"{got.shown()} in place of the end of the connection")
    return time.monotonic() - begun


def refused(what, status):
    """A failure, which may be any of Table C.1-1 and of the service's own."""
    if status in (message.SUCCESS, message.CANCELLED, message.PENDING, message.PENDING_WARNING) or status & 0xF000 == 0xB000:
        raise Failed(f"{what}: status {status:04X}H in place of a failure")


def one_of(what, status, *families):
    """A status, or a family of them as "A9xx"."""
    shown = f"{status:04X}"
    if not any(shown.startswith(family.rstrip("x")) for family in families):
        raise Failed(f"{what}: status {shown}H in place of {' or '.join(families)}")
