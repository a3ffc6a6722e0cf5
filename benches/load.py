"""Load by wrk: one thread, so many connections, for some seconds."""

import json
import subprocess
from dataclasses import dataclass

# Whatever is slower than this counts as failed.
TIMEOUT_S = 60

CLOSING = """
done = function(summary, latency)
  local failed = summary.errors.status + summary.errors.timeout + summary.errors.connect
  io.write(string.format('RESULT {"requests": %d, "bytes": %d, "seconds": %f, "failed": %d, "broken_off": %d, ',
    summary.requests, summary.bytes, summary.duration / 1e6, failed, summary.errors.read))
  io.write(string.format('"p50": %f, "p99": %f}\\n', latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""

# The paths in turn.
GETS = """
local paths = {}
for path in io.lines("%(paths)s") do paths[#paths + 1] = path end
local at = 0
request = function()
  at = at %% #paths + 1
  return wrk.format("GET", paths[at], {Accept = '%(accept)s'})
end
"""

# One object per request; a new study after so many.
STOWS = """
local function content(path)
  local file = io.open(path, "rb")
  local bytes = file:read("*a")
  file:close()
  return bytes
end
local pieces = {%(pieces)s}
local at = 0
local headers = {["Content-Type"] = 'multipart/related; type="application/dicom"; boundary=b',
  Accept = "application/dicom+json"}
request = function()
  local uids = {study = string.format("2.25.3%(run)08d%%021d", math.floor(at / %(per_study)d)),
    series = string.format("2.25.4%(run)08d%%021d", math.floor(at / %(per_study)d)),
    instance = string.format("2.25.5%(run)08d%%021d", at)}
  at = at + 1
  local body = {}
  for n, piece in ipairs(pieces) do body[n] = uids[piece] or piece end
  return wrk.format("POST", "%(path)s", headers, table.concat(body))
end
"""


@dataclass
class Result:
    """Of one run; times in milliseconds."""

    requests: int
    bytes: int
    seconds: float
    failed: int
    # Ended by closing the connection, which is how Orthanc ends a study.
    broken_off: int
    p50: float
    p99: float

    @property
    def rate(self):
        return self.requests / self.seconds


class Wrk:
    def __init__(self, folder):
        self.folder, self.runs = folder, 0
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, base, paths, accept, clients, seconds):
        """GETs over the paths in turn."""
        self.runs += 1
        listed = self.folder / f"{self.runs}.paths"
        listed.write_text("\n".join(paths) + "\n")
        return self._run(base, GETS % {"paths": listed, "accept": accept}, clients, seconds)

    def with_headers(self, base, path, headers, clients, seconds):
        """GETs of one path."""
        self.runs += 1
        pairs = ", ".join(f'["{name}"] = "{value}"' for name, value in headers.items())
        script = f'request = function() return wrk.format("GET", "{path}", {{{pairs}}}) end\n'
        return self._run(base, script, clients, seconds)

    def stow(self, server, pieces, clients, seconds, per_study=100):
        """STOW of one object per request; `pieces` are bytes, and names of UIDs between them."""
        self.runs += 1
        lua = []
        for number, piece in enumerate(pieces):
            if isinstance(piece, bytes):
                path = self.folder / f"{self.runs}.{number}"
                path.write_bytes(piece)
                lua.append(f'content("{path}")')
            else:
                lua.append(f'"{piece}"')
        path = server.web.removeprefix(server.base) + "/studies"
        script = STOWS % {"pieces": ", ".join(lua), "run": self.runs, "per_study": per_study, "path": path}
        return self._run(server.base, script, clients, seconds)

    def _run(self, base, script, clients, seconds):
        path = self.folder / f"{self.runs}.lua"
        path.write_text(script + CLOSING)
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", f"{TIMEOUT_S}s", "-s", str(path), base]
        done = subprocess.run(command, capture_output=True, text=True)
        lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if not lines:
            raise RuntimeError(f"wrk: {done.stdout[-500:]}{done.stderr[-500:]}")
        return Result(**json.loads(lines[0].removeprefix("RESULT ")))
