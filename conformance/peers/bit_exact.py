"""What foreign senders hand over comes back with the same bytes.

A C-STORE carries a data set, so data sets are compared; a STOW part is a file, so files are. DCMTK
encodes data sets anew: what it says on the wire is taken from its own `storescp --bit-preserving`.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from requests import HTTPError

from . import dicomweb, dimse
from .part10 import corpus, data_set, digest, keeps_file_meta
from .server import WITHOUT_ANALYSIS, Server, free_port

sys.path.insert(0, str(Path(__file__).parent.parent / "dimse"))
from sendable import sendable_files  # noqa: E402

SENDERS = {}
# DCMTK sends some files that nobody can keep: without a Study Instance UID, or cut off.
KEPT_LEAST = 0.9
# Implicit VR and big endian are given out as explicit little endian unless this says otherwise.
AS_STORED = {**WITHOUT_ANALYSIS, "http.retired_as_stored": "true"}


def sender(function):
    SENDERS[function.__name__] = function
    return function


def run(context, tally):
    files = [file for folder in corpus() for file in sendable_files(folder)]
    print(f"{len(files)} files to send")
    for name, send in SENDERS.items():
        if name in ("storescu", "dcmsend") and not shutil.which(name):
            tally.miss(f"bit-exact: {name}", name)
            continue
        folder = context.folder(f"bit-exact-{name}")
        with tally.check(f"bit-exact: {name}"), Server(context.binary, folder, AS_STORED) as server:
            send(context, server, files)


@sender
def pynetdicom(context, server, files):
    answers, refused = {}, []
    contexts = sorted({(file.sop_class, file.transfer_syntax) for file in files})
    for start in range(0, len(contexts), dimse.CONTEXTS_MAX):
        batch = contexts[start : start + dimse.CONTEXTS_MAX]
        with dimse.association(server, batch) as made:
            accepted = {(c.abstract_syntax, c.transfer_syntax[0]) for c in made.accepted_contexts}
            for file in files:
                kind = (file.sop_class, file.transfer_syntax)
                if kind in batch and kind in accepted:
                    status = dimse.store(made, file.path)
                    note(answers, refused, file, status)
                elif kind in batch:
                    refused.append((file.path.name, "presentation context refused"))
    sent = {uid: digest(data_set(path.read_bytes())) for uid, path in answers.items()}
    compare(server, sent, data_set, refused, least=len(well_formed(files)))


@sender
def dicomweb_client(context, server, files):
    """One file per request, so that each refusal names its file."""
    client = DICOMwebClient(server.web)
    whole, without_meta, refused = {}, {}, []
    for file in files:
        data = file.path.read_bytes()
        uid, reason = stow(client, data)
        if reason is None and uid not in whole | without_meta:
            # File meta information that speaks of another object is written anew.
            if keeps_file_meta(data):
                whole[uid] = digest(data)
            else:
                without_meta[uid] = digest(data_set(data))
        elif reason not in (None, dimse.CONFLICT) or uid not in whole | without_meta:
            refused.append((file.path.name, f"failure reason {reason or 0:#06x}"))
    compare(server, without_meta, data_set, [], least=0)
    compare(server, whole, bytes, refused, least=len(well_formed(files)) - len(without_meta))


def stow(client, data):
    """The instance as the server names it, and None or the Failure Reason."""
    try:
        # `store_instances` would encode the data set anew.
        response = client._http_post_multipart_application_dicom(f"{client.base_url}/studies", [data])
    except HTTPError as error:
        return refusal_of(error.response)
    if response.get("FailedSOPSequence"):
        failed = response.FailedSOPSequence[0]
        return failed.get("ReferencedSOPInstanceUID"), int(failed.FailureReason)
    return response.ReferencedSOPSequence[0].ReferencedSOPInstanceUID, None


def refusal_of(response):
    """A conflict status carries the response too (PS3.18 10.5.3)."""
    assert response.status_code < 500, f"{response.status_code}: {response.text[:200]}"
    _, failed = dicomweb.store_outcome(response)
    return next(iter(failed.items()), (None, 0))


@sender
def storescu(context, server, files):
    native = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"}
    dcmtk(context, server, [f for f in files if f.well_formed and f.transfer_syntax in native], ["storescu", "-nh", "-R"])


@sender
def dcmsend(context, server, files):
    dcmtk(context, server, files, ["dcmsend", "-nh", "-nuc", "-dn"])


def dcmtk(context, server, files, command):
    """Sends to the server and to DCMTK's own receiver, which keeps what it got."""
    unique = list({file.sop_instance: file for file in files}.values())
    paths = [str(file.path) for file in unique]
    received = context.folder(f"reference-{command[0]}")
    with reference_receiver(received) as port:
        subprocess.run([*command, "127.0.0.1", str(port), *paths], capture_output=True, timeout=600)
    subprocess.run([*command, "-aec", server.aet, server.host, str(server.dimse_port), *paths],
                   capture_output=True, timeout=600)
    reference = {}
    for path in received.iterdir():
        uid = dcmread(path, stop_before_pixels=True, force=True).file_meta.MediaStorageSOPInstanceUID
        reference[uid] = digest(data_set(path.read_bytes()))
    kept = dicomweb.locations(server)
    refused = [(file.path.name, "not kept") for file in unique if file.sop_instance in reference and file.sop_instance not in kept]
    sent = {uid: found for uid, found in reference.items() if uid in kept}
    compare(server, sent, data_set, refused, least=KEPT_LEAST * len(reference))


class reference_receiver:
    def __init__(self, folder):
        self.folder, self.port = folder, free_port()

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        # +xa: every transfer syntax; bit-preserving: the data set as it came.
        command = ["storescp", "+xa", "--bit-preserving", "-od", str(self.folder), str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)
        return self.port

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def well_formed(files):
    return {file.sop_instance for file in files if file.well_formed}


def note(answers, refused, file, status):
    """The first to come is kept; a twin with other bytes is a conflict, one with the same is not."""
    if status == dimse.SUCCESS:
        answers.setdefault(file.sop_instance, file.path)
    elif status != dimse.CONFLICT or file.sop_instance not in answers:
        refused.append((file.path.name, "no answer" if status is None else f"status {status:#06x}"))


def compare(server, sent, part, refused, least):
    """`sent`: SOP Instance UID to the digest of what the server acknowledged."""
    where = dicomweb.locations(server)
    changed = []
    for uid, expected in sent.items():
        assert uid in where, f"{uid} was acknowledged and is not found"
        if digest(part(dicomweb.retrieve(server, where[uid]))) != expected:
            changed.append(uid)
    for name, reason in refused:
        print(f"     refused {name}: {reason}")
    print(f"     {len(sent)} instances compared, {len(refused)} files refused")
    assert not changed, f"other bytes came back of {changed}"
    assert len(sent) >= least, f"only {len(sent)} instances were kept, {least:.0f} should be"
