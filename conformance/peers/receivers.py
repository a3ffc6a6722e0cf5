"""Storage SCPs of others, on free loopback ports, that keep what they are sent."""

import shutil
import subprocess
import time
from pathlib import Path
from tempfile import mkdtemp

from pydicom import dcmread
from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AE, AllStoragePresentationContexts, evt

from .server import free_port

START_TIMEOUT_S = 20


class Storescp:
    """DCMTK's, with whatever options; `files()` is what came, by SOP Instance UID."""

    host = "127.0.0.1"

    def __init__(self, aet, *options):
        self.aet, self.options, self.port = aet, options, free_port()

    def __enter__(self):
        self.folder = Path(mkdtemp(prefix="storescp-"))
        command = ["storescp", "-aet", self.aet, "-od", str(self.folder), *self.options, str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_TIMEOUT_S
        while subprocess.run(["echoscu", self.host, str(self.port)], capture_output=True).returncode != 0:
            if time.monotonic() > deadline:
                raise RuntimeError("storescp does not start")
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder)

    def files(self):
        found = {}
        for path in sorted(self.folder.iterdir()):
            found[dcmread(path, stop_before_pixels=True).SOPInstanceUID] = path.read_bytes()
        return found


class Receiver:
    """pynetdicom's, in this process; `status` is what it answers, after `delay_s`."""

    host = "127.0.0.1"

    def __init__(self, aet, syntaxes=tuple(AllTransferSyntaxes), status=0x0000, delay_s=0):
        self.aet, self.port, self.status, self.delay_s = aet, free_port(), status, delay_s
        self.instances, self.originators = {}, []
        self.ae = AE(ae_title=aet)
        self.ae.maximum_pdu_size = 0
        for context in AllStoragePresentationContexts:
            self.ae.add_supported_context(context.abstract_syntax, list(syntaxes))

    def __enter__(self):
        handlers = [(evt.EVT_C_STORE, self._on_store)]
        self.server = self.ae.start_server((self.host, self.port), block=False, evt_handlers=handlers)
        return self

    def __exit__(self, *_):
        self.server.shutdown()

    def _on_store(self, event):
        time.sleep(self.delay_s)
        request = event.request
        syntax = str(event.context.transfer_syntax)
        self.instances[request.AffectedSOPInstanceUID] = (syntax, request.DataSet.getvalue())
        self.originators.append((request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID))
        return self.status
