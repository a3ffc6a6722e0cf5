"""A PostgreSQL of the suite's own: Debian's server in a folder that goes with the run."""

import hashlib
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

from .server import free_port

USER = "radiant"
START_TIMEOUT_S = "120"


def programs():
    """The folder of `initdb` and `pg_ctl`; Debian keeps one for each version, outside PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    beside = shutil.which("pg_ctl")
    return found[-1].parent if found else Path(beside).parent if beside else None


class Postgres:
    """A server that can be stopped as a power cut would, and started again."""

    def __init__(self, folder, settings=""):
        self.folder, self.port, self.settings = Path(folder), free_port(), settings
        self.data = self.folder / "data"
        # The server refuses to run as root.
        self.owner = "postgres" if os.geteuid() == 0 else None

    def run(self, program, *arguments):
        command = [str(programs() / program), *map(str, arguments)]
        as_owner = ["runuser", "-u", self.owner, "--"] if self.owner else []
        subprocess.run(as_owner + command, check=True, cwd="/", stdout=subprocess.DEVNULL, timeout=300)

    @contextmanager
    def running(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.owner:
            self._let_in()
        self.run("initdb", "-D", self.data, "-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C.UTF-8")
        self.start()
        try:
            yield self
        finally:
            self.stop("fast")

    def _let_in(self):
        """Every folder above may be passed, and this one is the owner's."""
        shutil.chown(self.folder, self.owner)
        for above in list(self.folder.parents)[:-1]:
            if above.stat().st_uid == os.geteuid():
                above.chmod(above.stat().st_mode | 0o011)

    @contextmanager
    def following(self, primary):
        """A hot standby that streams from another server."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.owner:
            self._let_in()
        self.run("pg_basebackup", "-h", "127.0.0.1", "-p", primary.port, "-U", USER, "-D", self.data, "-R",
                 "-X", "stream", "-c", "fast")
        self.start()
        try:
            yield self
        finally:
            self.stop("fast")

    def is_running(self):
        return (self.data / "postmaster.pid").exists()

    def start(self):
        options = f"-h 127.0.0.1 -p {self.port} -k /tmp -c max_connections=200 {self.settings}"
        log = self.folder / "postgres.log"
        self.run("pg_ctl", "-D", self.data, "-o", options, "-l", log, "-t", START_TIMEOUT_S, "-w", "start")

    def stop(self, mode):
        """`immediate` as a power cut: nothing is written down, the log is replayed at the next start."""
        if self.is_running():
            self.run("pg_ctl", "-D", self.data, "-m", mode, "-t", START_TIMEOUT_S, "-w", "stop")

    def promote(self):
        self.run("pg_ctl", "-D", self.data, "-t", START_TIMEOUT_S, "-w", "promote")

    def address(self, database="postgres"):
        return f"postgres://{USER}@127.0.0.1:{self.port}/{database}"

    def database_for(self, folder):
        """The address of a database that belongs to a data folder, made where it is not there."""
        name = self.name_for(folder)
        if self.ask(f"select count(*) from pg_database where datname = '{name}'") == "0":
            self.ask(f"create database {name}")
        return self.address(name)

    def name_for(self, folder):
        return "d" + hashlib.sha256(str(folder).encode()).hexdigest()[:16]

    def ask(self, sql, database="postgres", timeout_s=60):
        done = self.answer(self.address(database), sql, timeout_s)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @staticmethod
    def answer(address, sql, timeout_s=60):
        command = [str(programs() / "psql"), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql, address]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
