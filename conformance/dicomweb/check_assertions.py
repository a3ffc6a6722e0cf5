#!/usr/bin/env python3
"""Holds a DICOMweb server to the rows of rows.toml.

usage: check_assertions.py URL [--only ROW ...] [--report FILE] [--declare FILE] [--header 'Name: value'] [--list]

URL is the DICOMweb root, as in http://127.0.0.1:8080/dicom-web. Objects are stored on the server,
under UIDs and patients of this run. Prints each check as passed, failed with the exchange that
failed, or not applicable with the reason, and closes with "N passed, N failed, N skipped". Exits
1 when a check failed and 0 otherwise.
"""

import argparse
import sys
from pathlib import Path

import answers  # noqa: F401
import bulk  # noqa: F401
import general  # noqa: F401
import keys  # noqa: F401
import legacy  # noqa: F401
import metadata  # noqa: F401
import moments  # noqa: F401
import negotiation  # noqa: F401
import photometry  # noqa: F401
import readable  # noqa: F401
import rendered  # noqa: F401
import retrieve  # noqa: F401
import search  # noqa: F401
import store  # noqa: F401
from origin import Choices, Origin
from report import BOOK, FAILED, Report, lines


def main():
    arguments = parse_arguments()
    if arguments.list:
        print(BOOK.list())
        return 0
    choices = Choices.read(arguments.declare) if arguments.declare else Choices()
    choices.pid = arguments.pid or choices.pid
    headers = [tuple(part.strip() for part in header.split(":", 1)) for header in arguments.header]
    origin, report = Origin(arguments.url, headers, choices), Report(arguments.url, BOOK, lines)
    BOOK.judge(report, origin, arguments.only)
    if arguments.report:
        report.write(arguments.report)
    return 1 if report.count(FAILED) else 0


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", nargs="?", default="", help="the DICOMweb root")
    parser.add_argument("--only", nargs="+", choices=list(BOOK.rows), metavar="ROW", help="these rows alone")
    parser.add_argument("--report", metavar="FILE", help="every check with its exchange, in JSON")
    parser.add_argument(
        "--declare", type=Path, metavar="FILE", help="choices of the server, in TOML; see origin.Choices"
    )
    parser.add_argument(
        "--header", action="append", default=[], help="sent with every request, as Authorization: Bearer x"
    )
    parser.add_argument("--pid", type=int, help="process of the server on this machine, to see its memory")
    parser.add_argument("--list", action="store_true", help="the rows")
    arguments = parser.parse_args()
    if not arguments.url and not arguments.list:
        parser.error("the URL of a server is wanted")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
