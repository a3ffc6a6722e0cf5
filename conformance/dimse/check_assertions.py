#!/usr/bin/env python3
"""Holds a DICOM node to the rows of rows.toml.

usage: check_assertions.py HOST PORT AET [--calling AET] [--only ROW ...] [--report FILE] [--declare FILE] [--list]

Knows the node by host, port and AE title. Objects are stored there, under UIDs and patients of this
run. Prints each check as passed, failed with the exchange that failed, or not applicable with the
reason, and closes with "N passed, N failed, N skipped". Exits 1 when a check failed and 0 otherwise.
"""

import argparse
import sys
from pathlib import Path

import commands  # noqa: F401
import commitment  # noqa: F401
import negotiation  # noqa: F401
import query  # noqa: F401
import retrieval  # noqa: F401
import states  # noqa: F401
import storage  # noqa: F401
import values  # noqa: F401
from target import BOOK, Choices, Target

from judging import FAILED, Report


def main():
    arguments = parse_arguments()
    if arguments.list:
        print(BOOK.list())
        return 0
    choices = Choices.read(arguments.declare) if arguments.declare else Choices()
    choices.move_port = arguments.move_port or choices.move_port
    target = Target(arguments.host, arguments.port, arguments.aet, arguments.calling, choices)
    report = Report(f"{arguments.aet}@{arguments.host}:{arguments.port}", BOOK, lambda exchange: exchange)
    BOOK.judge(report, target, arguments.only)
    if arguments.report:
        report.write(arguments.report)
    return 1 if report.count(FAILED) else 0


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("host", nargs="?")
    parser.add_argument("port", nargs="?", type=int)
    parser.add_argument("aet", nargs="?")
    parser.add_argument("--calling", default="ROWS", help="our AE title, one that may do everything")
    parser.add_argument("--only", nargs="+", choices=list(BOOK.rows), metavar="ROW", help="these rows alone")
    parser.add_argument("--report", metavar="FILE", help="every check with its exchange, in JSON")
    parser.add_argument("--declare", type=Path, metavar="FILE", help="choices of the node, in TOML; see target.Choices")
    parser.add_argument("--move-port", type=int, help="where we listen as the declared destination")
    parser.add_argument("--list", action="store_true", help="the rows")
    arguments = parser.parse_args()
    if not arguments.aet and not arguments.list:
        parser.error("host, port and AE title of a node are wanted")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
