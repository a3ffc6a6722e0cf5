"""Counting checks: passed, failed, skipped because a peer is missing."""

import re
import traceback
from contextlib import contextmanager

CLOSING = re.compile(r"(\d+) passed, (\d+) failed(?:, (\d+) (?:skipped|peers missing|peer missing))?")

MISSING_PEER = 2


class Tally:
    def __init__(self):
        # Of the skipped checks, `missing` lack a peer that could be there.
        self.passed = self.failed = self.skipped = self.missing = 0

    @contextmanager
    def check(self, name):
        """A check that does not come to its end has failed."""
        try:
            yield
        except AssertionError as error:
            self.fail(name, error)
        except Exception as error:
            self.fail(name, f"{type(error).__name__}: {error}")
            traceback.print_exc(limit=-3)
        else:
            self.passed += 1
            print(f"ok   {name}", flush=True)

    def fail(self, name, reason):
        self.failed += 1
        print(f"FAIL {name}: {reason}", flush=True)

    def skip(self, name, reason):
        self.skipped += 1
        print(f"SKIP {name}: {reason}", flush=True)

    def miss(self, name, peer):
        self.missing += 1
        self.skip(name, f"{peer} is not installed")

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.missing += other.missing

    def add_closing_line(self, name, output, status):
        """Takes the last counting line of a program, or its exit status where it prints none."""
        found = CLOSING.findall(output)
        if not found:
            self.passed += status == 0
            if status != 0:
                self.fail(name, f"exit status {status}")
            return
        passed, failed, skipped = (int(count or 0) for count in found[-1])
        self.passed, self.failed = self.passed + passed, self.failed + failed
        self.skipped += skipped
        self.missing += skipped if status == MISSING_PEER else 0
        if status not in (0, MISSING_PEER) and failed == 0:
            self.fail(name, f"exit status {status}")

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def equal(what, actual, expected):
    assert actual == expected, f"{what}: {actual!r} in place of {expected!r}"
