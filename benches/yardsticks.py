"""The servers that DICOMweb is measured against: Debian's Orthanc and nginx, on loopback."""

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import requests

sys.path.insert(0, str(Path(__file__).parent.parent / "conformance"))
from peers.server import free_port  # noqa: E402

ORTHANC_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
START_TIMEOUT_S = 120
LOADERS = 4


def missing():
    """Names of the programs that are not installed."""
    wanted = [name for name in ("wrk", "Orthanc", "nginx", "storescu") if not shutil.which(name)]
    return wanted + ([] if ORTHANC_PLUGIN.exists() else ["Orthanc's DICOMweb plugin"])


class Yardstick:
    """A process that answers HTTP once it is up."""

    host = "127.0.0.1"

    def __init__(self, folder):
        self.folder, self.http_port = Path(folder), free_port()
        self.base = f"http://{self.host}:{self.http_port}"

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), env=self.environment(), stdout=log, stderr=log)
        self._wait_until_up()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def environment(self):
        return os.environ.copy()

    def _wait_until_up(self):
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if requests.get(f"{self.base}{self.up_path}", timeout=5).status_code < 500:
                    return
            except requests.RequestException:
                time.sleep(0.1)
        raise RuntimeError(f"{self.command()[0]} does not start: {(self.folder / 'log').read_text()[-2000:]}")


class Orthanc(Yardstick):
    """Its own defaults but for Nagle, which would hide everything else, and what binds it to this run."""

    name, up_path, aet = "orthanc", "/system", "ORTHANC"

    def __init__(self, folder):
        super().__init__(folder)
        self.dimse_port = free_port()
        self.web = f"{self.base}/dicom-web"

    def command(self):
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps({
            "StorageDirectory": str(self.folder / "storage"), "IndexDirectory": str(self.folder / "index"),
            "StorageCompression": False, "SyncStorageArea": True,
            "HttpPort": self.http_port, "DicomPort": self.dimse_port, "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False, "HttpThreadsCount": 50, "KeepAlive": True, "TcpNoDelay": True,
            "HttpCompressionEnabled": False, "LimitFindResults": 0, "LimitFindInstances": 0,
            "Plugins": [str(ORTHANC_PLUGIN)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }))
        return ["Orthanc", str(path)]

    def environment(self):
        return os.environ | {"TCP_NODELAY": "1"}

    def load(self, paths):
        """Through its REST API, as many at once as it takes well."""
        with ThreadPoolExecutor(LOADERS) as pool:
            statuses = Counter(pool.map(self._post, paths))
        if set(statuses) != {200}:
            raise RuntimeError(f"Orthanc answered {dict(statuses)} to {len(paths)} files")

    def _post(self, path):
        connection = http.client.HTTPConnection(self.host, self.http_port, timeout=600)
        with closing(connection):
            connection.request("POST", "/instances", path.read_bytes())
            return connection.getresponse().status


class Nginx(Yardstick):
    """Serves what was fetched from the measured server as files."""

    name, up_path = "nginx", "/"

    def command(self):
        path, root = self.folder / "nginx.conf", self.folder / "root"
        root.mkdir(exist_ok=True)
        temporary = "".join(
            f"{kind}_temp_path {self.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.geteuid() == 0 else ""
        path.write_text(
            f"{user} worker_processes 2; daemon off; pid {self.folder}/nginx.pid; error_log stderr;"
            f"events {{ worker_connections 256; }}"
            f"http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; {temporary}"
            f" server {{ listen {self.host}:{self.http_port}; root {root}; }} }}")
        return ["nginx", "-e", "stderr", "-c", str(path)]

    def serve(self, name, bodies):
        """Paths of files with these bodies."""
        place = self.folder / "root" / name
        place.mkdir(parents=True, exist_ok=True)
        for number, body in enumerate(bodies):
            (place / str(number)).write_bytes(body)
        return [f"/{name}/{number}" for number in range(len(bodies))]


def memory_kb(process, field):
    """A field of /proc/PID/status in kB, as VmHWM."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE).group(1))


def cpu_s(process):
    """Seconds on a CPU so far, with those of children that have ended."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


class PeakMemory:
    """`with PeakMemory(process) as peak: …` then `peak.grew_mb`: over what was resident before."""

    def __init__(self, process):
        self.process = process

    def __enter__(self):
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        self.before = memory_kb(self.process, "VmRSS")
        return self

    def __exit__(self, *_):
        self.grew_mb = max(0, memory_kb(self.process, "VmHWM") - self.before) / 1024
