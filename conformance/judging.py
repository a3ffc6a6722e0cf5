"""Rows of a table, the checks that prove them, and what came of each, whatever the protocol."""

import json
import time
import tomllib
import traceback
from dataclasses import dataclass, field, fields
from pathlib import Path

PASSED, FAILED, NOT_APPLICABLE = "passed", "failed", "not applicable"


class Failed(AssertionError):
    """What was expected and is not so, with the exchange that shows it."""

    def __init__(self, message, answer=None):
        super().__init__(message)
        self.answer = answer


class NotApplicable(Exception):
    """Why the row cannot be judged on this server."""


class Declared:
    """What the standard leaves to a server, as a data class of it reads a TOML file."""

    @classmethod
    def read(cls, path):
        given = tomllib.loads(path.read_text())
        unknown = set(given) - {field.name for field in fields(cls)}
        if unknown:
            raise SystemExit(f"{path}: no such choice: {', '.join(unknown)}")
        return cls(**given)

    def of(self, name):
        """A choice that a check depends on."""
        value = getattr(self, name)
        if value is None:
            raise NotApplicable(f"the server declares no {name}")
        return value


@dataclass
class Check:
    rows: tuple
    run: callable

    @property
    def name(self):
        return f"{'/'.join(self.rows)} {self.run.__name__.replace('_', ' ')}"


class Book:
    """A table of rows, one sentence each, and its checks."""

    def __init__(self, path):
        self.rows = tomllib.loads(path.read_text())
        self.checks = []

    def row(self, *ids):
        """The function judges these rows; it ends, or says why not."""
        unknown = set(ids) - set(self.rows)
        assert not unknown, f"there is no row {unknown}"

        def register(function):
            self.checks.append(Check(ids, function))
            return function

        return register

    def rows_without_check(self):
        return [id for id in self.rows if not any(id in check.rows for check in self.checks)]

    def in_order_of_rows(self):
        places = {id: place for place, id in enumerate(self.rows)}
        return sorted(self.checks, key=lambda check: min(places[id] for id in check.rows))

    def list(self):
        return "\n".join(f"{id} ({row['clause']}) {row['text']}" for id, row in self.rows.items())

    def judge(self, report, subject, only):
        """Every check, or those of some rows. A row that nothing judges has failed."""
        for id in self.rows_without_check():
            report.add(Outcome(Check((id,), no_check), FAILED, "no check of the suite proves it"))
        for check in self.in_order_of_rows():
            if not only or set(only) & set(check.rows):
                report.judge(check, subject)
        report.print_summary()


def no_check(subject):
    """Stands for a row that nothing judges."""


def equal(what, actual, expected):
    if actual != expected:
        raise Failed(f"{what}: {actual!r} in place of {expected!r}")


def contains(what, actual, expected):
    missing = [one for one in expected if one not in actual]
    if missing:
        raise Failed(f"{what} lacks {missing}: {str(actual)[:200]}")


@dataclass
class Outcome:
    check: Check
    state: str
    reason: str = ""
    exchange: dict = None


@dataclass
class Report:
    """`lines` makes text of an exchange; `last` of the subject is the one that a check came to."""

    place: str
    book: Book
    lines: callable
    outcomes: list = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def judge(self, check, subject):
        subject.last = None
        try:
            check.run(subject)
        except NotApplicable as reason:
            return self.add(Outcome(check, NOT_APPLICABLE, str(reason)))
        except AssertionError as error:
            answer = getattr(error, "answer", None) or subject.last
            return self.add(Outcome(check, FAILED, str(error) or "assertion", answer and answer.shown()))
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
            return self.add(Outcome(check, FAILED, reason, subject.last and subject.last.shown()))
        return self.add(Outcome(check, PASSED))

    def add(self, outcome):
        self.outcomes.append(outcome)
        marks = {PASSED: "ok  ", FAILED: "FAIL", NOT_APPLICABLE: "n/a "}
        reason = f": {outcome.reason}" if outcome.reason else ""
        print(f"{marks[outcome.state]} {outcome.check.name}{reason}", flush=True)
        if outcome.state == FAILED and outcome.exchange:
            print("\n".join(f"     | {line}" for line in self.lines(outcome.exchange)), flush=True)

    def count(self, state):
        return sum(outcome.state == state for outcome in self.outcomes)

    def rows(self):
        """Each row by the worst that a check of it has seen."""
        worst = {}
        for outcome in self.outcomes:
            for id in outcome.check.rows:
                worst.setdefault(id, set()).add(outcome.state)
        return {id: next(s for s in (FAILED, PASSED, NOT_APPLICABLE) if s in seen) for id, seen in worst.items()}

    def closing_line(self):
        counts = [self.count(state) for state in (PASSED, FAILED, NOT_APPLICABLE)]
        return "{} passed, {} failed, {} skipped".format(*counts)

    def print_summary(self):
        rows = self.rows()
        for state in (FAILED, NOT_APPLICABLE):
            print(f"rows {state}: {' '.join(id for id in rows if rows[id] == state) or 'none'}")
        passed = sum(state == PASSED for state in rows.values())
        print(f"{passed} of {len(rows)} rows hold ({time.monotonic() - self.started:.0f} s)")
        print(self.closing_line())

    def write(self, path):
        checks = [
            {
                "check": o.check.run.__name__,
                "rows": o.check.rows,
                "clauses": [self.book.rows[id]["clause"] for id in o.check.rows],
                "outcome": o.state,
                "reason": o.reason,
                "exchange": o.exchange,
            }
            for o in self.outcomes
        ]
        counts = {state: self.count(state) for state in (PASSED, FAILED, NOT_APPLICABLE)}
        Path(path).write_text(json.dumps({"url": self.place, **counts, "rows": self.rows(), "checks": checks}, indent=1))
