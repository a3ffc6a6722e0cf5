#!/usr/bin/env python3
"""A fleet under load while its instances, its database, its object store, a disk, a clock and a network fail in an
order that the seed names, for as long as is wanted; then nothing may be lost or doubled.

    conformance/run.sh --list            # sets the environment up
    cargo build --release
    python conformance/endurance.py --binary PATH/release/radiant --minutes 30

Needs to be root: of network namespaces and a mounted disk. The suite `endurance` has each disturbance once.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from peers.endurance import endure, real
from peers.tally import Tally
from run import Context


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of order and moments")
    parser.add_argument("--without", default="", help="no disturbance whose name has this word, as in clock")
    parser.add_argument("--scratch", type=Path, help="where data folders are made; /tmp may be too small")
    arguments = parser.parse_args()
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="radiant-endurance-", dir=arguments.scratch) as scratch:
        endure(Context(arguments.binary, Path(scratch), arguments.seed), tally, real(arguments.minutes, arguments.without))
    print(tally)
    return 1 if tally.failed or tally.missing else 0


if __name__ == "__main__":
    sys.exit(main())
