"""PostgreSQL as hospitals run it: TLS with an authority of their own, a replica that lags and dies, a standby that
takes over, and PgBouncer in between.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import requests
from pydicom.uid import generate_uid

from . import crash, dicomweb
from .command_line import addresses, refused
from .database import USER, Postgres, programs
from .dimse_tls import Authority
from .part10 import image, uid_of
from .senders import ByStow, Sender, Senders, endless
from .server import WITHOUT_ANALYSIS, Server, free_port, in_database
from .stores import SeaweedFs
from .tally import equal

WAIT_S = 90
SIDE = 32
POOLER_INI = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = {mode}
default_pool_size = 80
max_client_conn = 200
logfile = {log}
pidfile = {pid}
"""


def run(context, tally):
    if not programs():
        return tally.miss("PostgreSQL as it is run", "postgresql")
    folder = context.folder("postgres-fleet")
    in_tls(context, tally, folder)
    replicated(context, tally, folder)
    failing_over(context, tally, folder)
    pooled(context, tally, folder)


def keys(url, **more):
    return WITHOUT_ANALYSIS | in_database(url) | {"database.patience_s": "10"} | more


def stored(server):
    """Stores an instance and finds it."""
    file = image(generate_uid(), 1, SIDE)
    kept, failed = dicomweb.store(server, [file])
    equal("refused", failed, {})
    found = dicomweb.search(server, "instances", SOPInstanceUID=uid_of(file))
    equal("found of what was just stored", len(found), 1)


def sending(server, count):
    senders = Senders(*(Sender(ByStow(server), endless(SIDE)) for _ in range(count)))
    senders.start()
    return senders


def wait_until(what, holds):
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {WAIT_S} s: {what}"
        time.sleep(0.3)


# --- TLS


def in_tls(context, tally, folder):
    place = folder / "tls"
    place.mkdir()
    ours, theirs = Authority(place, "ours"), Authority(place, "theirs")
    key, certificate = ours.certify("database")
    with Postgres(folder / "tls-server").running() as postgres:
        served_in_tls(postgres, key, certificate)
        address = f"postgres://{USER}@127.0.0.1:{postgres.port}/postgres"
        trusting = {"database.ca_file": ours.certificate}
        with tally.check("PostgreSQL: TLS with an authority of one's own, also by the name verify-full"):
            for mode in ("require", "verify-full"):
                with Server(context.binary, folder / "in", keys(f"{address}?sslmode={mode}", **trusting)) as radiant:
                    stored(radiant)
                    sql = """select count(*) filter (where ssl), count(*) from pg_stat_ssl join pg_stat_activity using (pid)
                             where application_name = 'radiant'"""
                    secure, all_of_them = postgres.ask(sql).split("|")
                    assert int(all_of_them) > 0 and secure == all_of_them, f"{secure} of {all_of_them} in TLS"
        with tally.check("PostgreSQL: a certificate of another authority is refused, and so is one of another name"):
            wrong = [(f"{address}?sslmode=require", theirs.certificate),
                     (f"postgres://{USER}@db.example:{postgres.port}/postgres?hostaddr=127.0.0.1&sslmode=require",
                      ours.certificate)]
            for url, authority in wrong:
                refused(context, ["serve", "--data-dir", folder / "wrong", *addresses()], ["certificate"],
                        keys(url, **{"database.ca_file": authority}))
        with tally.check("PostgreSQL: sslmode=disable needs no authorities, and what needs them says so"):
            with without_authorities(place):
                with Server(context.binary, folder / "in", keys(f"{address}?sslmode=disable")) as radiant:
                    stored(radiant)
                refused(context, ["serve", "--data-dir", folder / "none", *addresses()], ["database.ca_file"],
                        keys(f"{address}?sslmode=require"))


def served_in_tls(postgres, key, certificate):
    for path, name in ((key, "server.key"), (certificate, "server.crt")):
        copy = postgres.data / name
        shutil.copy(path, copy)
        copy.chmod(0o600)
        if postgres.owner:
            shutil.chown(copy, postgres.owner)
    postgres.ask("alter system set ssl = on")
    postgres.stop("fast")
    postgres.start()


@contextmanager
def without_authorities(place):
    """As on a small system."""
    (place / "none.pem").touch()
    (place / "none").mkdir()
    before = {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
    os.environ |= {"SSL_CERT_FILE": str(place / "none.pem"), "SSL_CERT_DIR": str(place / "none")}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


# --- a replica


def searches(server, outcome):
    """Searches that a replica could have answered, by what came of it."""
    text = requests.get(f"{server.base}/metrics", timeout=60).text
    found = re.search(rf'^db_replica_searches_total{{outcome="{outcome}"}} (\d+)', text, re.MULTILINE)
    return int(found.group(1)) if found else 0


def counted(server, outcome, work):
    before = searches(server, outcome)
    work()
    return searches(server, outcome) - before


def replicated(context, tally, folder):
    with (Postgres(folder / "primary").running() as primary, Postgres(folder / "replica").following(primary) as replica):
        more = {"database.replica_url": replica.address(), "database.replica_timeout_s": "0.5",
                "database.replica_pause_s": "1.0"}
        with Server(context.binary, folder / "replicated", keys(primary.address(), **more)) as radiant:
            with tally.check("PostgreSQL: a replica that has everything answers searches"):
                stored(radiant)
                wait_until("a search on the replica", lambda: counted(radiant, "asked", lambda: stored(radiant)))
            with tally.check("PostgreSQL: a replica whose replay stands still hides nothing"):
                replica.ask("select pg_wal_replay_pause()")
                wait_until("the pause", lambda: replica.ask("select pg_get_wal_replay_pause_state()") == "paused")
                stored(radiant)
                equal("asked meanwhile", counted(radiant, "asked", lambda: [stored(radiant) for _ in range(10)]), 0)
                assert searches(radiant, "behind") >= 10, "it was not looked at"
                replica.ask("select pg_wal_replay_resume()")
                wait_until("a search on the replica", lambda: counted(radiant, "asked", lambda: stored(radiant)))
            with tally.check("PostgreSQL: a replica that hangs is left alone"), frozen(replica):
                assert counted(radiant, "away", lambda: [stored(radiant) for _ in range(10)]), "it was asked"
            with tally.check("PostgreSQL: a replica that dies is missed by nobody, and asked again when it is back"):
                replica.stop("immediate")
                assert counted(radiant, "away", lambda: [stored(radiant) for _ in range(10)]), "it was asked"
                replica.start()
                wait_until("a search on the replica", lambda: counted(radiant, "asked", lambda: stored(radiant)))


@contextmanager
def frozen(postgres):
    """Its processes, those for a client among them, stand still."""
    main = int((postgres.data / "postmaster.pid").read_text().splitlines()[0])
    children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
    processes = [main, *map(int, children)]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


# --- a standby that takes over


def failing_over(context, tally, folder):
    with (Postgres(folder / "first").running() as first, Postgres(folder / "second").following(first) as second):
        # What was acknowledged is on both.
        first.ask("alter system set synchronous_standby_names = '*'")
        first.ask("select pg_reload_conf()")
        wait_until("the standby", lambda: first.ask("select count(*) from pg_stat_replication where sync_state = 'sync'") == "1")
        hosts = f"127.0.0.1:{second.port},127.0.0.1:{first.port}"
        url = f"postgres://{USER}@{hosts}/postgres?target_session_attrs=read-write"
        with Server(context.binary, folder / "fail-over", keys(url)) as radiant:
            senders = sending(radiant, 3)
            try:
                with tally.check("PostgreSQL: of two hosts the one that takes writes is meant"):
                    senders.further(1, WAIT_S)
                with tally.check("PostgreSQL: the primary is lost, the standby is promoted, and storing goes on"):
                    first.stop("immediate")
                    time.sleep(2)
                    second.promote()
                    senders.further(1, WAIT_S)
            finally:
                senders.stop()
            with tally.check("PostgreSQL: what the senders were told is kept is there after the fail-over, once"):
                crash.walk(radiant, senders.acknowledged)
            with tally.check("PostgreSQL: a restart after the fail-over finds the new primary"):
                radiant.stop()
                radiant.start()
                stored(radiant)


# --- PgBouncer


class Pooler:
    def __init__(self, folder, postgres, mode):
        self.folder, self.postgres, self.mode, self.port = folder, postgres, mode, free_port()
        self.process = None

    @staticmethod
    def program():
        return shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")

    def __enter__(self):
        self.folder.mkdir()
        (self.folder / "users").write_text(f'"{USER}" ""\n')
        files = {name: self.folder / name for name in ("users", "log", "pid")}
        text = POOLER_INI.format(server=self.postgres.port, port=self.port, mode=self.mode, **files)
        (self.folder / "pooler.ini").write_text(text)
        if self.postgres.owner:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, self.postgres.owner)
        self.start()
        return self

    def start(self):
        as_owner = ["runuser", "-u", self.postgres.owner, "--"] if self.postgres.owner else []
        command = [*as_owner, self.program(), str(self.folder / "pooler.ini")]
        (self.folder / "pid").unlink(missing_ok=True)
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
                                        start_new_session=True)
        wait_until("the pooler", lambda: Postgres.answer(self.address(), "select 1").returncode == 0)

    def address(self, more=""):
        return f"postgres://{USER}@127.0.0.1:{self.port}/postgres{more}"

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __exit__(self, *_):
        self.kill()


def pooled(context, tally, folder):
    for peer, found in [("pgbouncer", Pooler.program()), ("weed", SeaweedFs.program())]:
        if not found:
            return tally.miss("PgBouncer", peer)
    with Postgres(folder / "behind").running() as postgres:
        with Pooler(folder / "session", postgres, "session") as pooler:
            through_sessions(context, tally, folder, pooler)
        for mode in ("transaction", "statement"):
            with (tally.check(f"PgBouncer in {mode} mode is refused with the way out"),
                  Pooler(folder / mode, postgres, mode) as pooler):
                refused(context, ["serve", "--data-dir", folder / f"data-{mode}", *addresses()],
                        ["database.url", "pool_mode = session"], keys(pooler.address()))


def through_sessions(context, tally, folder, pooler):
    with ExitStack() as stack:
        objects = stack.enter_context(SeaweedFs(folder / "objects")).keys("pooled")
        radiant, other = (stack.enter_context(Server(context.binary, folder / name, keys(pooler.address(), **objects)))
                          for name in ("pooled", "pooled-too"))
        with tally.check("PgBouncer in session mode: what one server stores the other finds at once"):
            stored(radiant)
            stored(other)
            equal("instances", sorted(dicomweb.instances(radiant)), sorted(dicomweb.instances(other)))
        with tally.check("PgBouncer is killed and comes back, and nothing acknowledged is lost"):
            senders = sending(radiant, 1)
            try:
                senders.further(1, WAIT_S)
                pooler.kill()
                time.sleep(2)
                pooler.start()
                senders.further(1, WAIT_S)
            finally:
                senders.stop()
            crash.walk(other, senders.acknowledged)
