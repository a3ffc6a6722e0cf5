"""An archive that goes from SQLite and a folder to PostgreSQL and a bucket, is killed on the way, and comes back."""

import json
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from . import dimse, phantoms
from .authentication import GUARDED, PASSWORD, Api
from .command_line import addresses, refused
from .database import Postgres, programs
from .part10 import image
from .reporting import MODEL, Client
from .server import WITHOUT_ANALYSIS, Server, environment, in_database
from .stores import SeaweedFs
from .tally import equal
from .upkeep import everything

CONTEXTS = [(CTImageStorage, ExplicitVRLittleEndian)]
SEED, DRAWN = 940_000, 3
STUDIES, SLICES, SIDE, LARGE_SIDE = 8, 60, 128, 2048
# Objects that have come when the program is killed.
KILLED_AT = (100, 300)
RUN_TIMEOUT_S = 900
PREFIX = "clinic/m"
SIGNER = "ward"


def run(context, tally):
    missing = [name for name, there in (("postgresql", programs()), ("SeaweedFS", SeaweedFs.program())) if not there]
    if missing:
        tally.miss("migrate", ", ".join(missing))
        return
    folder = context.folder("migrate")
    with Postgres(folder / "postgres").running() as postgres, SeaweedFs(folder / "store") as store:
        Journey(context, tally, folder, postgres, store).run()


@dataclass
class Answers:
    """What an archive says of itself."""

    listing: dict
    files: dict
    reports: list
    changes: list
    rows: dict


def changes(server, after):
    found, more = [], True
    while more:
        page = server.rest(f"changefeed?after={after}&limit=1000")
        found, after, more = found + page["changes"], page["next"], page["more"]
    return found


class Journey:
    def __init__(self, context, tally, folder, postgres, store):
        self.context, self.tally, self.folder, self.postgres, self.store = context, tally, folder, postgres, store
        self.old = {"server.data_dir": str(folder / "old")}
        postgres.ask("create database clinic")
        bucket = store.keys(PREFIX)
        self.new = {"server.data_dir": str(folder / "new"), "database.url": postgres.address("clinic")} | bucket
        self.back = {"server.data_dir": str(folder / "back")}
        self.expected = None

    def check(self, what):
        return self.tally.check(f"migrate: {what}")

    def run(self):
        with self.check("an archive with images, reports, a signature and people"):
            self.fill()
        with self.check("a server that runs is not migrated"):
            self.in_use()
        with self.check(f"killed {len(KILLED_AT) + 1} times, it goes on, and copies nothing that is there"):
            self.there()
        with self.check("listing, bytes, reports, change feed and work are the same in PostgreSQL and the bucket"):
            self.same(self.new)
        with self.check("people log in with the same passwords"):
            self.log_in(self.new)
        with self.check("the audit trail verifies at both ends"):
            for keys in (self.old, self.new):
                self.commanded(0, "audit", "verify", "--config", self.file(keys))
        with self.check("verify on PostgreSQL and a bucket: whole, and one damaged object is named"):
            self.damaged()
        with self.check("new objects get numbers behind the old ones"):
            self.goes_on()
        with self.check("another archive does not get the same bucket"):
            self.other_archive()
        with self.check("an index in PostgreSQL with objects in a folder is refused unless it is said to be one server's"):
            keys = WITHOUT_ANALYSIS | {"database.url": self.postgres.database_for(self.folder / "several")}
            refused(self.context, ["serve", "--data-dir", self.folder / "several", *addresses()], ["one_instance"], keys)
        with self.check("what is not empty is not written over"):
            self.migrate(1, self.old, self.new)
        with self.check("it comes back as it went"):
            self.comes_back()
        with self.check("an index goes to PostgreSQL alone, and the one before gets its objects no more"):
            self.index_alone()
        with self.check("reindex on PostgreSQL and a bucket: a lost index is made anew of the objects"):
            self.reindexed()

    def file(self, keys):
        """As a configuration file."""
        path = self.folder / f"{Path(keys['server.data_dir']).name}.toml"
        lines = [f"{key} = {value if value in ('true', 'false') else json.dumps(value)}" for key, value in keys.items()]
        path.write_text("\n".join(lines) + "\n")
        return path

    def server(self, keys, more=WITHOUT_ANALYSIS):
        own = {key: value for key, value in keys.items() if key != "server.data_dir"}
        return Server(self.context.binary, keys["server.data_dir"], more | own)

    def commanded(self, status, *arguments):
        command = [str(self.context.binary), *map(str, arguments)]
        done = subprocess.run(command, env=environment({}), capture_output=True, text=True, timeout=RUN_TIMEOUT_S)
        equal(f"exit status ({done.stderr.strip()[-600:]})", done.returncode, status)
        return done

    def migrate(self, status, start, end):
        return self.commanded(status, *self.arguments(start, end))

    def arguments(self, start, end):
        return ["migrate", "--from", self.file(start), "--to", self.file(end), "--json", "--log", "warn"]

    def fill(self):
        drawn = phantoms.draw(self.context, "migrate", DRAWN, SEED)
        with self.server(self.old, MODEL) as server:
            phantoms.analysed(server, [phantom.path.read_bytes() for phantom in drawn])
            for _ in range(STUDIES):
                study = generate_uid()
                files = [image(study, number, SIDE) for number in range(1, SLICES)] + [image(study, SLICES, LARGE_SIDE)]
                equal("C-STORE", set(dimse.send_bytes(server, files, CONTEXTS)), {dimse.SUCCESS})
            self.sign(server, drawn[0].study)
        with self.server(self.old, GUARDED) as server:
            api = Api(server)
            said = (self.folder / "old" / "first-administrator").read_text().splitlines()
            first = dict(line.split(": ", 1) for line in said)["secret"]
            token = api.log_in("admin", first).json()["access_token"]
            equal("password", api.call("POST", "auth/password", token, {"old": first, "new": PASSWORD}).status_code, 204)
            api.admin = api.log_in("admin", PASSWORD).json()["access_token"]
            api.user(SIGNER, "radiologist")
        with self.server(self.old) as server:
            self.expected = self.answers(server, self.old)
        assert self.expected.reports and self.expected.changes, "there is nothing to compare"

    def sign(self, server, study):
        [summary] = server.rest(f"reports?study={study}")["items"]
        report = Client(server, summary["id"])
        for finding in report.report["content"]["findings"]:
            report.send("POST", f"findings/{finding['id']}/accept")
        report.send("POST", "sign", {})
        report.wait_until_published()

    def answers(self, server, keys):
        listing, files = everything(server)
        reports = [server.rest(f"reports/{report['id']}") for report in server.rest("reports?limit=100")["items"]]
        text = json.dumps(reports, sort_keys=True).replace(server.base, "")
        return Answers(listing, files, json.loads(text), changes(server, 0), self.rows(keys))

    def rows(self, keys):
        """Of the audit trail, by their sequence and without those of the last starts and this look."""
        done = self.commanded(0, "audit", "export", "--config", self.file(keys), "--action", "store-instance")
        return {row["sequence"]: row for row in map(json.loads, done.stdout.splitlines())}

    def same(self, keys):
        with self.server(keys) as server:
            found = self.answers(server, keys)
        for name in Answers.__dataclass_fields__:
            assert getattr(found, name) == getattr(self.expected, name), f"the {name} differ"

    def in_use(self):
        with self.server(self.old):
            assert "in use" in self.migrate(1, self.old, self.new).stderr, "another refusal"

    def there(self):
        kept = {}
        for enough in KILLED_AT:
            self.killed(f"select coalesce(max(cast(last::json->>0 as bigint)), 0) >= {enough} from migration_part where part = 'objects'")
            now = self.stored()
            changed = [key for key, was in kept.items() if now.get(key) != was]
            assert not changed, f"{len(changed)} objects were written again"
            kept = now
        assert len(kept) < len(self.expected.files), "nothing was left to copy"
        refused(self.context, ["serve", "--config", self.file(self.new), *addresses()], ["radiant migrate"], WITHOUT_ANALYSIS)
        self.killed("select count(*) >= 2 from migration_part where part not in ('objects', 'deleted-objects')")
        kept |= self.stored()
        done = json.loads(self.migrate(0, self.old, self.new).stdout)
        equal("objects of the last run, all there before", done["objects"], 0)
        equal("objects", done["already"], len(self.expected.files))
        assert {key: was for key, was in self.stored().items() if key in kept} == kept, "objects were written again"

    def killed(self, reached):
        """Starts it, and kills it once a question to its target is answered with yes."""
        command = [str(self.context.binary), *map(str, self.arguments(self.old, self.new))]
        process = subprocess.Popen(command, env=environment({}), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        deadline = time.monotonic() + RUN_TIMEOUT_S
        try:
            while not self.asked(reached):
                assert process.poll() is None, f"it ended: {process.stdout.read()[-800:]}"
                assert time.monotonic() < deadline, "it does not come that far"
        finally:
            process.kill()
            process.wait()

    def asked(self, question):
        """No for as long as there is no such table."""
        return self.postgres.answer(self.postgres.address("clinic"), question).stdout.strip() == "t"

    def stored(self):
        """When each object of the bucket was written, and what it is."""
        pages = self.store.client().get_paginator("list_objects_v2").paginate(Bucket=self.store.bucket, Prefix=f"{PREFIX}/objects/")
        return {item["Key"]: (item["LastModified"], item["ETag"]) for page in pages for item in page.get("Contents", [])}

    def log_in(self, keys):
        with self.server(keys, GUARDED) as server:
            for name in ("admin", SIGNER):
                equal(name, Api(server).log_in(name, PASSWORD).status_code, 200)
            equal("a wrong one", Api(server).log_in(SIGNER, "another secret entirely").status_code, 401)

    def damaged(self):
        verify = ["verify", "--config", self.file(self.new), "--json", "--log", "warn"]
        equal("checked", json.loads(self.commanded(0, *verify).stdout)["counts"]["checked"], len(self.expected.files))
        key = max(self.stored())
        client = self.store.client()
        whole = client.get_object(Bucket=self.store.bucket, Key=key)["Body"].read()
        client.put_object(Bucket=self.store.bucket, Key=key, Body=whole[:-1] + bytes([whole[-1] ^ 1]))
        found = [json.loads(line) for line in self.commanded(1, *verify).stdout.splitlines()]
        equal("damaged", [(line["damaged"]["key"], line["harm"]) for line in found if "damaged" in line],
              [(key.removeprefix(f"{PREFIX}/objects/"), "other-bytes")])
        client.put_object(Bucket=self.store.bucket, Key=key, Body=whole)
        self.commanded(0, *verify)

    def goes_on(self):
        with self.server(self.new) as server:
            last = self.expected.changes[-1]["sequence"]
            study = generate_uid()
            equal("C-STORE", dimse.send_bytes(server, [image(study, 1, SIDE)], CONTEXTS), [dimse.SUCCESS])
            behind = changes(server, last)
            assert behind and all(change["sequence"] > last for change in behind), f"{behind}"
            self.expected = self.answers(server, self.new)

    def other_archive(self):
        keys = WITHOUT_ANALYSIS | {key: value for key, value in self.new.items() if key.startswith("storage.")}
        ours = self.postgres.ask("select id from archive", "clinic")
        refused(self.context, ["serve", "--data-dir", self.folder / "other", *addresses()], [ours, "another index"], keys)

    def comes_back(self):
        measured = Measured(self.context, self.arguments(self.new, self.back))
        done = measured.done
        equal("objects", done["objects"], len(self.expected.files))
        self.same(self.back)
        self.log_in(self.back)
        self.commanded(0, "audit", "verify", "--config", self.file(self.back))
        self.commanded(0, "verify", "--config", self.file(self.back))
        measured.tell("from PostgreSQL and the bucket to SQLite and a folder")

    def index_alone(self):
        address = self.postgres.database_for(self.folder / "alone")
        there = {"server.data_dir": str(self.folder / "alone"), "storage.url": f"file://{self.folder / 'back'}"} | in_database(address)
        measured = Measured(self.context, self.arguments(self.back, there))
        equal("objects", measured.done["objects"], 0)
        measured.tell("the index alone")
        self.same(there)
        refused(self.context, ["serve", "--config", self.file(self.back), *addresses()], ["another index"], WITHOUT_ANALYSIS)

    def reindexed(self):
        there = self.store.keys("clinic/straight")
        straight = self.fresh("straight") | there
        Measured(self.context, self.arguments(self.old, straight)).tell("from SQLite and a folder to PostgreSQL and a bucket")
        with self.server(straight) as server:
            stored = everything(server)[1]
        lost = self.fresh("reindexed") | there
        done = self.commanded(1, "reindex", "--config", self.file(lost), "--json", "--log", "warn")
        *aside, end = map(json.loads, done.stdout.splitlines())
        gone = {Path(line["set_aside"]["key"]).name.rsplit(".", 1)[0] for line in aside}
        reasons = {line["set_aside"]["reason"] for line in aside}
        equal("reasons", reasons, {"it is a draft that nobody has signed"})
        equal("indexed", end["counts"]["indexed"], len(stored) - len(gone))
        with self.server(lost) as server:
            assert everything(server)[1] == {uid: file for uid, file in stored.items() if uid not in gone}, "other bytes"
        self.commanded(0, "verify", "--config", self.file(lost))
        assert "is there" in self.commanded(1, "reindex", "--config", self.file(lost)).stderr, "another refusal"

    def fresh(self, name):
        """A database and a data folder of its own."""
        return {"server.data_dir": str(self.folder / name), "database.url": self.postgres.database_for(self.folder / name)}


class Measured:
    """A run, its time and its greatest memory."""

    def __init__(self, context, arguments):
        command, begun = [str(context.binary), *map(str, arguments)], time.monotonic()
        self.peak_kb = 0
        with subprocess.Popen(command, env=environment({}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            watch = threading.Thread(target=self.watch, args=(process,))
            watch.start()
            out, err = process.communicate(timeout=RUN_TIMEOUT_S)
            watch.join()
        equal(f"exit status ({err[-600:]})", process.returncode, 0)
        self.seconds, self.done = time.monotonic() - begun, json.loads(out)

    def watch(self, process):
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                return
            peak = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
            self.peak_kb = max(self.peak_kb, *map(int, peak), 0)
            time.sleep(0.1)

    def tell(self, what):
        objects, megabytes, rows = self.done["objects"], self.done["bytes"] / 1e6, self.done["rows"]
        print(f"{what}: {objects} objects, {megabytes:.0f} MB and {rows} rows in {self.seconds:.1f} s: "
              f"{objects / self.seconds:.0f} objects/s, {megabytes / self.seconds:.1f} MB/s; "
              f"at most {self.peak_kb / 1024:.0f} MB of memory", flush=True)
