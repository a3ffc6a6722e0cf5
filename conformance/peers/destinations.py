"""Servers that exports are sent to: as they should be, and as they should not."""

import hashlib
import hmac
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from pynetdicom import AE, AllStoragePresentationContexts, evt

from .dicomweb import multipart
from .loopback import HOST, Handler, Loopback
from .part10 import uid_of
from .server import free_port

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "benches"))
from yardsticks import ORTHANC_PLUGIN, Orthanc  # noqa: E402, F401


def missing():
    wanted = [name for name in ("Orthanc", "storescp", "openssl") if not shutil.which(name)]
    return wanted + ([] if ORTHANC_PLUGIN.exists() else ["Orthanc's DICOMweb plugin"])


class Scp:
    """A storage SCP by pynetdicom that answers as it is told, and remembers what it took."""

    def __init__(self, port=None, classes=None, answer=lambda number, uid: 0x0000, aet="PEER"):
        self.port, self.answer, self.aet = port or free_port(), answer, aet
        self.classes = classes
        self.taken, self.asked, self.associations, self.echoes = [], 0, 0, 0

    def __enter__(self):
        ae = AE(ae_title=self.aet)
        contexts = AllStoragePresentationContexts if self.classes is None else []
        ae.supported_contexts = contexts
        for sop_class in self.classes or []:
            ae.add_supported_context(sop_class)
        ae.add_supported_context("1.2.840.10008.1.1")
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_ACCEPTED, self._accepted), (evt.EVT_C_ECHO, self._echo)]
        self.server = ae.start_server((HOST, self.port), block=False, evt_handlers=handlers)
        return self

    def __exit__(self, *_):
        self.server.shutdown()

    def _accepted(self, event):
        self.associations += 1

    def _echo(self, event):
        self.echoes += 1
        return 0x0000

    def _store(self, event):
        self.asked += 1
        uid = str(event.request.AffectedSOPInstanceUID)
        status = self.answer(self.asked, uid)
        if status == 0x0000:
            self.taken.append(uid)
        return status


@contextmanager
def storescp(folder, port, *options):
    """DCMTK's receiver."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["storescp", "--output-directory", str(folder), *options, str(port)]
    with (folder.parent / f"{folder.name}.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def hanging():
    """Takes connections and says nothing, ever."""
    with socket.create_server((HOST, 0)) as listener:
        taken = []

        def accept():
            while True:
                try:
                    taken.append(listener.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1], taken
        for connection in taken:
            connection.close()


class Web(Loopback):
    """An HTTP server that answers POST as it is told, and remembers the requests."""

    def __init__(self, answer=lambda number: (200, {}, b""), pair=None, client_ca=None):
        """Over TLS with a `pair` of key and certificate, and then only for who has one by `client_ca`."""
        self.answer, self.requests = answer, []
        outer = self

        class Sent(Handler):
            def do_POST(self):
                body = self.received()
                outer.requests.append((self.path, dict(self.headers.items()), body))
                status, headers, answer = outer.answer(len(outer.requests))
                if status == 200 and self.path.endswith("/studies"):
                    answer = naming(self.headers["Content-Type"], body)
                self.answer(status, headers, answer)

            def do_OPTIONS(self):
                self.answer(200, {}, b"")

        super().__init__(Sent, trusting(pair, client_ca))
        self.base = self.root


def trusting(pair, client_ca):
    """Over TLS with a pair, none without."""
    if not pair:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair[1], pair[0])
    context.load_verify_locations(client_ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def naming(content_type, body):
    """The answer to a STOW-RS request that every object was stored."""
    uids = [str(uid_of(part)) for part in multipart(content_type, body)]
    items = [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in uids]
    return json.dumps({"00081199": {"vr": "SQ", "Value": items}}).encode()


def signed_by(secret, headers, body):
    """Whether one of the signatures of a webhook is by this secret and of this minute."""
    parts = [part.split("=", 1) for part in headers["radiant-signature"].split(",")]
    [moment] = [value for name, value in parts if name == "t"]
    expected = hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
    is_fresh = abs(time.time() - int(moment)) < 60
    return is_fresh and any(hmac.compare_digest(value, expected) for name, value in parts if name == "v1")


def toml(value):
    """A value in one line of TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return json.dumps(value if isinstance(value, (bool, int)) else str(value))


def node(aet, port, **more):
    return {"ae_title": aet, "host": HOST, "port": port, "may": ["store"], **more}
