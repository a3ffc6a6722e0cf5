"""Rows, the checks that prove them, and what came of each."""

import json
import time
import tomllib
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from exchange import Failed, NotApplicable

ROWS = tomllib.loads((Path(__file__).parent / "rows.toml").read_text())
PASSED, FAILED, NOT_APPLICABLE = "passed", "failed", "not applicable"


@dataclass
class Check:
    rows: tuple
    run: callable

    @property
    def name(self):
        return f"{'/'.join(self.rows)} {self.run.__name__.replace('_', ' ')}"


CHECKS = []


def row(*ids):
    """The function judges these rows of `rows.toml`; it ends, or says why not."""
    unknown = set(ids) - set(ROWS)
    assert not unknown, f"rows.toml has no {unknown}"

    def register(function):
        CHECKS.append(Check(ids, function))
        return function

    return register


def rows_without_check():
    return [id for id in ROWS if not any(id in check.rows for check in CHECKS)]


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
    url: str
    outcomes: list = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def judge(self, check, origin):
        origin.last = None
        try:
            check.run(origin)
        except NotApplicable as reason:
            return self.add(Outcome(check, NOT_APPLICABLE, str(reason)))
        except AssertionError as error:
            answer = getattr(error, "answer", None) or origin.last
            return self.add(Outcome(check, FAILED, str(error) or "assertion", answer and answer.shown()))
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
            return self.add(Outcome(check, FAILED, reason, origin.last and origin.last.shown()))
        return self.add(Outcome(check, PASSED))

    def add(self, outcome):
        self.outcomes.append(outcome)
        marks = {PASSED: "ok  ", FAILED: "FAIL", NOT_APPLICABLE: "n/a "}
        reason = f": {outcome.reason}" if outcome.reason else ""
        print(f"{marks[outcome.state]} {outcome.check.name}{reason}", flush=True)
        if outcome.state == FAILED and outcome.exchange:
            print(shown(outcome.exchange), flush=True)

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
                "clauses": [ROWS[id]["clause"] for id in o.check.rows],
                "outcome": o.state,
                "reason": o.reason,
                "exchange": o.exchange,
            }
            for o in self.outcomes
        ]
        counts = {state: self.count(state) for state in (PASSED, FAILED, NOT_APPLICABLE)}
        Path(path).write_text(json.dumps({"url": self.url, **counts, "rows": self.rows(), "checks": checks}, indent=1))


def shown(exchange):
    lines = [*exchange["request"].splitlines()[:14], "", *exchange["response"], "", exchange["body"]]
    return "\n".join(f"     | {line}" for line in lines)
