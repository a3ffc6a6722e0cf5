"""What a server of a suite may live in: a network that can be cut, a small disk, a clock that jumps."""

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

CUTS = ("database", "store")
FORWARDS = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
"""


def ip(*arguments):
    subprocess.run(["ip", *map(str, arguments)], check=True, capture_output=True, text=True, timeout=60)


class Network:
    """A network namespace for one server. Its ports are those of our loopback, as if it lived here; what it
    reaches the database and the store by are wires of their own, which can be cut: then nothing comes
    through, and nobody is told."""

    def __init__(self, folder, places):
        self.folder, self.places = Path(folder), places
        self.name = f"radiant-{os.getpid()}"

    @staticmethod
    def is_possible():
        probe = f"radiant-probe-{os.getpid()}"
        try:
            ip("netns", "add", probe)
            ip("netns", "del", probe)
        except (OSError, subprocess.SubprocessError):
            return False
        return True

    def wire(self, cut):
        return f"rd{os.getpid() % 100_000}{cut[0]}"

    def address(self, cut, end):
        return f"10.{64 + os.getpid() % 128}.{CUTS.index(cut)}.{end}"

    def reached_at(self, cut):
        """Host and port by which the server in here reaches it."""
        return f"{self.address(cut, 1)}:{self.places[cut]}"

    @contextmanager
    def around(self, server):
        ip("netns", "add", self.name)
        try:
            ip("-n", self.name, "link", "set", "lo", "up")
            for cut in CUTS:
                self.lay(cut)
            server.started_by = ["ip", "netns", "exec", self.name]
            with self.forwarding(server):
                yield self
        finally:
            ip("netns", "del", self.name)

    def lay(self, cut):
        ours, theirs = self.wire(cut), f"{self.wire(cut)}n"
        ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", self.name)
        ip("addr", "add", f"{self.address(cut, 1)}/30", "dev", ours)
        ip("-n", self.name, "addr", "add", f"{self.address(cut, 2)}/30", "dev", theirs)
        ip("link", "set", ours, "up")
        ip("-n", self.name, "link", "set", theirs, "up")

    @contextmanager
    def forwarding(self, server):
        outward = [(f"127.0.0.1:{port}", f"127.0.0.1:{port} namespace {self.name}") for port in (server.http_port, server.dimse_port)]
        inward = [(self.reached_at(cut), f"127.0.0.1:{self.places[cut]}") for cut in CUTS]
        listens = [f"listen l{n}\n    bind {here}\n    server there {there}\n"
                   for n, (here, there) in enumerate(outward + inward)]
        with haproxy(self.folder, "forwards", FORWARDS + "".join(listens)):
            yield

    def cut(self, what):
        ip("link", "set", self.wire(what), "down")

    def mend(self, what):
        ip("link", "set", self.wire(what), "up")


@contextmanager
def haproxy(folder, name, configuration):
    path = Path(folder) / f"{name}.cfg"
    path.write_text(configuration)
    with (Path(folder) / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(["haproxy", "-db", "-f", str(path)], stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


class Disk:
    """A small file system, mounted where a server keeps its data."""

    def __init__(self, folder, megabytes):
        self.folder, self.megabytes = Path(folder), megabytes

    @contextmanager
    def mounted(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={self.megabytes}m", "tmpfs", str(self.folder)]
        subprocess.run(mount, check=True, capture_output=True, timeout=60)
        try:
            yield self
        finally:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=False, timeout=60)

    def fill(self):
        with (self.folder / "filling").open("wb") as file:
            try:
                while True:
                    file.write(bytes(1 << 20))
                    file.flush()
            except OSError:
                pass

    def clear(self):
        (self.folder / "filling").unlink()

    @property
    def free(self):
        return shutil.disk_usage(self.folder).free


class WallClock:
    """The wall clock of one program, by libfaketime; what measures durations goes on as it does."""

    def __init__(self, path):
        self.path = Path(path)

    @staticmethod
    def library():
        found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        return found[0] if found else None

    def given_to(self, server):
        self.ahead(0)
        server.variables = {"LD_PRELOAD": str(self.library()), "FAKETIME_TIMESTAMP_FILE": str(self.path),
                            "FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}

    def ahead(self, seconds):
        """Within a second the program sees it; whole at any moment."""
        new = self.path.with_suffix(".new")
        new.write_text(f"{seconds:+d}s\n")
        new.rename(self.path)
