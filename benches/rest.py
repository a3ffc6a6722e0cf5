#!/usr/bin/env python3
"""The study list of `/api/v1` over many studies, under wrk.

    conformance/run.sh --list            # sets the environment up
    cargo build --release
    python benches/rest.py --binary PATH/release/radiant

The crowd is written straight into the index, so that it is there in seconds; what the server derives
from it, its own triggers derive. Each row is a page that a person asks for all day, with its total.
"""

import argparse
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "conformance"))
import requests  # noqa: E402
from load import Wrk  # noqa: E402
from peers.server import WITHOUT_ANALYSIS, Server  # noqa: E402

P99_MAX_MS = 20
DAY_US = 86_400_000_000
BEGIN_US = 1_700_000_000_000_000
STATES = ("queued", "done", "done", "done", "failed")
REPORTS = ("draft", "edited", "signed")
WARM_S = 2

PAGES = {
    "first page": ["studies?limit=50"],
    "draft and edited": ["studies?limit=50&status=draft,edited"],
    "most urgent first": ["studies?limit=50&sort=-priority,-arrived_at"],
    "one modality, a month": ["studies?limit=50&modality=CT&date_from=2024-03-01&date_to=2024-03-31"],
    "mine": ["studies?limit=50&assignee=u7"],
}
# Shown, and not held to the bar: every row is looked at for the first total.
SEARCHES = {
    "by a name": [f"studies?limit=50&text=family{number:04}" for number in range(0, 400, 10)],
    "by a finding": ["studies?limit=50&finding=SCT%7C60046008"],
}


def patients(number):
    for at in range(number):
        family, given = f"Family{at // 25:04}", f"Given{at % 25:02}"
        words = f" {family} {given} ".upper()
        yield at + 1, f"P{at:07}", f"{family}^{given}", f"{family}^{given}".upper(), words, BEGIN_US + at


def studies(number):
    for at in range(number):
        month, day = at // 28 % 12 + 1, at % 28 + 1
        arrived = BEGIN_US + at * DAY_US // 200
        modality = ("CT", "MR", "DX")[at % 3]
        yield (at + 1, at % (number // 2 or 1) + 1, f"2.25.21{at:028}", f"{2020 + at % 5}{month:02}{day:02}", f"A{at:07}",
               f"\\{modality}\\SR\\", f" P{at % (number // 2 or 1):07} A{at:07} CHEST ", arrived)


def fill(index, number):
    """Rows as `db` writes them; one study in five is analysed."""
    with sqlite3.connect(index) as db:
        db.execute("pragma synchronous = off")
        db.executemany(
            """insert into patient (id, issuer, patient_id, name, name_folded, name_words, derived, birth_date, sex,
                created_at, updated_at) values (?1, '', ?2, ?3, ?4, ?5, 9, '19700101', 'O', ?6, ?6)""",
            patients(number // 2 or 1),
        )
        db.executemany(
            """insert into study (id, patient, study_uid, study_date, study_time, accession_number, study_id,
                description, referring_physician, referring_folded, attributes, derived, series_count,
                instance_count, modalities, search_words, last_instance_at, created_at, updated_at)
               values (?1, ?2, ?3, ?4, '101500', ?5, '', 'Chest', '', '', x'00', 9, 2, 20, ?6, ?7, ?8, ?8, ?8)""",
            studies(number),
        )
        analysed = [(f"a{at}", f"2.25.21{at:028}", STATES[at // 5 % 5], BEGIN_US + at) for at in range(0, number, 5)]
        db.executemany(
            """insert into analysis (id, study_uid, pipeline, content_sha256, state, trigger_kind, queued_at)
               values (?1, ?2, 'chest-radiograph', ?1, ?3, 'rule', ?4)""",
            analysed,
        )
        db.executemany(
            """insert into finding (id, analysis, ordinal, finding, location, laterality, certainty, code)
               values ('f' || ?1, ?1, 0, 'effusion', 'pleura', 'left', 'definite', 'SCT|60046008|Pleural effusion')""",
            [(one[0],) for one in analysed[::10]],
        )
        db.executemany(
            """insert into report (id, study_uid, analysis, status, version, versions, revision, narrative,
                series_uid_sr, sr_instance_uid, series_uid_pdf, pdf_instance_uid, created_at, updated_at)
               values ('r' || ?1, ?2, ?1, ?3, 1, 1, 1, x'7B7D', '1', '2', '3', '4', ?4, ?4)""",
            [(one[0], one[1], REPORTS[at % 3], one[3]) for at, one in enumerate(analysed) if one[2] == "done"],
        )
        db.execute("update worklist set priority = study % 3, assignee = case when study % 10 = 0 then 'u' || (study % 100 / 10) else '' end")
        db.execute("analyze")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--studies", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--scratch", type=Path, help="keeps what was loaded")
    parser.add_argument("--unjudged", action="store_true", help="figures alone, whatever they are")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        return 1 if run(arguments, arguments.scratch or Path(made)) else 0


def run(arguments, scratch):
    keys = WITHOUT_ANALYSIS | {"http.rate_limits.exempt": '["127.0.0.0/8"]', "log.filter": "warn"}
    data = scratch / "radiant"
    if not (scratch / "loaded").exists():
        with Server(arguments.binary, data, keys):
            pass
        begin = time.monotonic()
        fill(next(data.glob("**/*.sqlite")), arguments.studies)
        (scratch / "loaded").touch()
        print(f"{arguments.studies} studies written in {time.monotonic() - begin:.0f} s")
    wrk, slow = Wrk(scratch / "wrk"), []
    with Server(arguments.binary, data, keys) as server:
        print(f"{'page':24} {'total':>7} {'per s':>7} {'p50 ms':>7} {'p99 ms':>7}")
        for name, paths in (PAGES | SEARCHES).items():
            first = requests.get(f"{server.base}/api/v1/{paths[0]}", timeout=60)
            assert first.status_code == 200, first.text
            wanted = [f"/api/v1/{path}" for path in paths]
            wrk.get(server.base, wanted, "application/json", arguments.clients, WARM_S)
            result = wrk.get(server.base, wanted, "application/json", arguments.clients, arguments.seconds)
            total = first.json()["total"]
            print(f"{name:24} {total:7} {result.rate:7.0f} {result.p50:7.1f} {result.p99:7.1f}", flush=True)
            assert result.failed == 0, result
            if name in PAGES and result.p99 > P99_MAX_MS:
                slow.append(f"{name}: {result.p99:.1f} ms at the 99th percentile, {P99_MAX_MS} at most")
    print("\n".join(slow))
    return slow and not arguments.unjudged


if __name__ == "__main__":
    sys.exit(main())
