"""The rows of DICOMweb: `rows.toml` and what judges them."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))

from judging import FAILED, Book, Declared, Failed, NotApplicable, Report, contains, equal  # noqa: E402, F401

BOOK = Book(Path(__file__).parent / "rows.toml")
row = BOOK.row


def lines(exchange):
    return [*exchange["request"].splitlines()[:14], "", *exchange["response"], "", *exchange["body"].splitlines()]
