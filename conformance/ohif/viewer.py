"""OHIF as its own web site: the built files of the npm package, on a free loopback port."""

import functools
import http.server
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
from pathlib import Path

PACKAGE, VERSION = "@ohif/app", "3.13.2"
CONFIGURATION = Path(__file__).parent / "app-config.js"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "radiant"


def installed():
    """The folder of the viewer's files, fetched when it is not in the cache yet."""
    folder = CACHE / f"ohif-{VERSION}"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            subprocess.run(["npm", "pack", "--silent", f"{PACKAGE}@{VERSION}"], cwd=scratch, check=True,
                           stdout=subprocess.DEVNULL)
            [archive] = Path(scratch).glob("*.tgz")
            with tarfile.open(archive) as packed:
                packed.extractall(scratch, members=wanted(packed), filter="data")
            shutil.move(Path(scratch) / "package" / "dist", folder)
    return folder


def wanted(packed):
    """Two thirds of the package are a neural-network runtime that no scenario here starts."""
    return [member for member in packed.getmembers() if "/ort/" not in member.name]


class Pages(http.server.SimpleHTTPRequestHandler):
    """Static files; a path that is none is a route of the application."""

    protocol_version = "HTTP/1.1"
    configuration = b""

    def do_GET(self):
        if self.path.split("?")[0] == "/app-config.js":
            return self.send_configuration()
        if not Path(self.translate_path(self.path)).is_file():
            self.path = "/index.html"
        return super().do_GET()

    def send_configuration(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript")
        self.send_header("Content-Length", str(len(self.configuration)))
        self.end_headers()
        self.wfile.write(self.configuration)

    def log_message(self, *_):
        pass


class Viewer:
    """`with Viewer(web) as url:` serves OHIF for the DICOMweb root `web`."""

    def __init__(self, port, web):
        text = CONFIGURATION.read_text().replace("@web@", web)
        pages = type("ConfiguredPages", (Pages,), {"configuration": text.encode()})
        handler = functools.partial(pages, directory=str(installed()))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self.url

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
