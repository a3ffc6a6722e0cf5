"""What the cases of real peers have in common: the server, the files and the count."""

from dataclasses import dataclass, field

from sendable import Sendable, complaint


@dataclass
class Run:
    host: str
    port: int
    aet: str
    files: list[Sendable]
    passed: int = 0
    failed: int = 0
    missing: set[str] = field(default_factory=set)
    acknowledged: dict[str, str] = field(default_factory=dict)

    def case(self, name, check):
        try:
            check(self)
        except Exception as error:  # a case that does not come to its end has failed
            self.failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
        else:
            self.passed += 1
            print(f"ok   {name}", flush=True)

    def file(self, name):
        return next(file for file in self.files if file.path.name == name)

    def check_answers(self, answers, least):
        """Pairs of file and status; at least this share of all files has to be among them."""
        complaints = [complaint(file, status, self.acknowledged) for file, status in answers]
        expect(len(answers) >= least * len(self.files), f"{len(answers)} of {len(self.files)} files were answered")
        expect(not any(complaints), "; ".join(filter(None, complaints)))


def expect(condition, message):
    if not condition:
        raise AssertionError(message)
