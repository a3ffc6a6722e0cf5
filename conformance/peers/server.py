"""A `radiant` process of the suite's own, on free loopback ports."""

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import requests

# A debug build that opens an index after a crash, on a machine that does other things too.
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
QUICK = {"analysis.quiet_time_s": "1.0", "analysis.release_delay_s": "0.5"}
WITHOUT_ANALYSIS = {"analysis.enabled": "false"}
RULES = """[{ name = "radiographs", modality = ["CR", "DX"], pipeline = "chest-radiograph" },
 { name = "CT", modality = ["CT"], pipeline = "ct" }]"""
# The phantoms are objects that a guard keeps from being analysed elsewhere.
WITH_DEMO_MODEL = {**QUICK, "model.demo": "true", "analysis.guard_words": "[]", "analysis.rules": RULES,
                   "analysis.experimental": '["ct"]'}


# Where set, gives the address of the database that belongs to a data folder: every server keeps its index there.
DATABASE = None


def in_database(address):
    """The index there, of one server whose objects lie in its data folder."""
    return {"database.url": address, "database.one_instance": "true"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(keys):
    """Configuration keys as `RADIANT__SECTION__KEY`."""
    keys = {"auth.mode": "off"} | keys
    named = {f"RADIANT__{key.upper().replace('.', '__')}": value for key, value in keys.items()}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RADIANT__")}
    return inherited | named


def index_of(data_dir):
    """Where the index of a data folder is, as the server is told and every other command."""
    return in_database(DATABASE(Path(data_dir))) if DATABASE else {}


class Server:
    """`with Server(binary, folder) as server:`; stopped at the end, killed when it will not stop."""

    aet = "RADIANT"
    host = "127.0.0.1"

    def __init__(self, binary, data_dir, keys=WITHOUT_ANALYSIS):
        self.binary, self.data_dir, self.keys = binary, Path(data_dir), keys
        self.http_port, self.dimse_port = free_port(), free_port()
        self.base = f"http://{self.host}:{self.http_port}"
        self.web = f"{self.base}/dicom-web"
        self.process = None
        # What the program is started by, and what is in its environment beside its keys.
        self.started_by, self.variables = [], {}

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.data_dir.mkdir(parents=True, exist_ok=True)
        command = [*self.started_by, str(self.binary), "serve", "--data-dir", str(self.data_dir)]
        command += ["--http", f"{self.host}:{self.http_port}", "--dimse", f"{self.host}:{self.dimse_port}"]
        keys = index_of(self.data_dir) | self.keys
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment(keys) | self.variables, stdout=log, stderr=log)
        self._wait_until_ready()

    @property
    def log_path(self):
        return self.data_dir.parent / f"{self.data_dir.name}.log"

    def log(self):
        return self.log_path.read_text(errors="replace")

    def _wait_until_ready(self):
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.log()[-3000:]}")
            if self.is_ready():
                return
            time.sleep(0.1)
        self.stop()
        raise RuntimeError(f"the server is not ready after {START_TIMEOUT_S} s:\n{self.log()[-3000:]}")

    def is_ready(self):
        try:
            return requests.get(f"{self.base}/readyz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def kill(self):
        """As a power cut would: no signal handler runs."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def status_kb(self, field):
        """A field of /proc/PID/status in kB, as VmHWM."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE).group(1))

    def rest(self, path):
        answer = requests.get(f"{self.base}/api/v1/{path}", timeout=60)
        answer.raise_for_status()
        return answer.json()

    def analyses(self, study):
        return self.rest(f"studies/{study}/analyses")["items"]

    def wait_for_analyses(self, studies, timeout_s):
        """The analyses of each study once one of them has come to its end; what did not is absent."""
        ended, waiting = {}, list(studies)
        deadline = time.monotonic() + timeout_s
        while waiting and time.monotonic() < deadline:
            for study in list(waiting):
                found = self.analyses(study)
                if any(analysis["state"] in ("done", "failed") for analysis in found):
                    ended[study] = found
                    waiting.remove(study)
            time.sleep(0.5)
        return ended
