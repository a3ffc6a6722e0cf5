"""Associations over TLS (PS3.15 B): DCMTK and pynetdicom with good certificates, and everybody who has none."""

import signal
import socket
import ssl
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pydicom
from pydicom import dcmread
from pydicom.uid import generate_uid
from pynetdicom import AE

from .by_hand import PATIENCE_S, metric, wait_for
from .server import WITHOUT_ANALYSIS, Server, free_port
from .tally import equal

VERIFICATION = "1.2.840.10008.1.1"
CT = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"
PROFILES = {"+py": "non-downgrading BCP 195", "+px": "BCP 195", "+pz": "extended BCP 195"}
RETIRED_VERSIONS = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
MAY_ALL = '["store", "query", "retrieve"]'
FAILED_HANDSHAKES = "dimse_tls_handshakes_failed_total"
CA_CONFIGURATION = """[ca]
default_ca = any
[any]
database = {folder}/index
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = names
[names]
commonName = supplied
"""


class Authority:
    """Certificates of one issuer, as files in a folder."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.certificate = self.issue("ca", ["-x509", "-addext", "basicConstraints=critical,CA:TRUE"])

    def path(self, name, kind):
        return self.folder / f"{self.name}-{name}.{kind}"

    def issue(self, name, options):
        command = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}.{self.name}"]
        command += ["-keyout", str(self.path(name, "key")), "-out", str(self.path(name, "pem")), *options]
        subprocess.run(command, check=True, capture_output=True)
        return str(self.path(name, "pem"))

    def signing(self):
        return str(self.path("ca", "pem")), str(self.path("ca", "key"))

    def certify(self, name):
        """Key and certificate for this machine."""
        certificate, key = self.signing()
        extensions = ["subjectAltName=IP:127.0.0.1,DNS:localhost", "basicConstraints=critical,CA:FALSE"]
        options = ["-x509", "-CA", certificate, "-CAkey", key, *(part for one in extensions for part in ("-addext", one))]
        return str(self.path(name, "key")), self.issue(name, options)

    def expired(self, name):
        """Key and certificate that was good for a month of 2020."""
        request, folder, (certificate, key) = self.issue(name, []), self.folder, self.signing()
        (folder / "index").touch()
        (folder / "ca.cnf").write_text(CA_CONFIGURATION.format(folder=folder))
        command = ["openssl", "ca", "-batch", "-notext", "-config", str(folder / "ca.cnf"), "-cert", certificate, "-keyfile", key]
        command += ["-in", request, "-out", request, "-startdate", "20200101000000Z", "-enddate", "20200201000000Z"]
        subprocess.run(command, check=True, capture_output=True)
        return str(self.path(name, "key")), request


class Place:
    """Certificates, and servers that are configured with them."""

    def __init__(self, context):
        self.context, self.folder = context, context.folder("dimse-tls")
        self.ours, self.theirs = Authority(self.folder, "ours"), Authority(self.folder, "theirs")
        self.server_pair, self.client_pair = self.ours.certify("server"), self.ours.certify("client")
        self.other_pair, self.strange_pair = self.ours.certify("other"), self.theirs.certify("stranger")

    def server(self, name, others=(), **keys):
        """With a listener for TLS alone beside the plain one; `keys` are those of `dimse.tls`."""
        port = free_port()
        key, certificate = self.server_pair
        given = {"listen": f"127.0.0.1:{port}", "certificate": certificate, "key": key} | keys
        configured = WITHOUT_ANALYSIS | {f"dimse.tls.{name}": value for name, value in given.items()}
        made = Server(self.context.binary, self.folder / name, configured | {"dimse.artim_timeout_s": "3"} | dict(others))
        made.tls_port = port
        return made


def run(context, tally):
    place = Place(context)
    with place.server("server-only") as server:
        for name, check in SERVER_ONLY.items():
            with tally.check(f"TLS: {name}"):
                check(place, server)
    with place.server("mutual", client_ca=place.ours.certificate) as server:
        for name, check in MUTUAL.items():
            with tally.check(f"mutual TLS: {name}"):
                check(place, server)
        with tally.check("TLS: nothing panicked"):
            assert "panicked" not in server.log(), "see the log"
    destination = free_port()
    node = f'[{{ ae_title = "STORESCP", host = "127.0.0.1", port = {destination}, tls = true }}]'
    with place.server("calling", {"dimse.nodes": node, "dimse.unknown_callers_may": MAY_ALL}, peer_ca=place.ours.certificate) as server:
        for name, check in CALLED.items():
            with tally.check(f"calling over TLS: {name}"):
                check(place, server, destination)
    with place.server("requested", client_ca=place.ours.certificate, client_certificates="request") as server:
        with tally.check("TLS: a certificate that is only requested"):
            equal("without one", echo(place, server), 0)
            equal("with one", echo(place, server, pair=place.client_pair), 0)
            assert echo(place, server, pair=place.strange_pair) != 0, "a stranger's certificate is taken"


def dcmtk(tool, place, server, *options, pair=None, authority=None, files=()):
    """Runs a tool over TLS; without a certificate of its own it is anonymous."""
    own = ["+tls", *pair] if pair else ["+tla"]
    command = [tool, *own, "+cf", authority or place.ours.certificate, *options, "-aec", server.aet]
    command += [server.host, str(server.tls_port), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)


def echo(place, server, *options, **given):
    return dcmtk("echoscu", place, server, *options, **given).returncode


def echoes(place, server):
    done = dcmtk("echoscu", place, server)
    equal("exit status", (done.returncode, done.stderr), (0, ""))


def profiles(place, server):
    for option, name in PROFILES.items():
        equal(f"exit status with {name}", echo(place, server, option), 0)


def stores(place, server):
    done = dcmtk("storescu", place, server, "-v", "-R", "+II", "--repeat", "5", files=[CT])
    equal("answers", (done.stdout + done.stderr).count("Received Store Response (Success)"), 5)


def pynetdicom(place, server):
    equal("status", pynetdicom_status(server, client_context(place)), 0)


def client_context(place, pair=None):
    made = ssl.create_default_context(cafile=place.ours.certificate)
    if pair:
        made.load_cert_chain(pair[1], pair[0])
    return made


def pynetdicom_status(server, context):
    ae = AE("PYNETDICOM")
    ae.acse_timeout = ae.network_timeout = PATIENCE_S
    ae.add_requested_context(VERIFICATION)
    made = ae.associate(server.host, server.tls_port, ae_title=server.aet, tls_args=(context, "localhost"))
    if not made.is_established:
        return None
    status = made.send_c_echo().Status
    made.release()
    return status


def verified_server(place, server):
    """A client that trusts somebody else does not go on."""
    assert echo(place, server, authority=place.theirs.certificate) != 0, "the certificate is not looked at"


def plain_beside(place, server):
    done = subprocess.run(["echoscu", "-aec", server.aet, server.host, str(server.dimse_port)], timeout=PATIENCE_S)
    equal("exit status on the plain port", done.returncode, 0)


def plain_words(place, server):
    """Who speaks without TLS is let go at once."""
    begun = time.monotonic()
    done = subprocess.run(["echoscu", "-aec", server.aet, server.host, str(server.tls_port)], capture_output=True, timeout=PATIENCE_S)
    assert done.returncode != 0, "an association without TLS stands on the port of TLS"
    for words in (b"GET / HTTP/1.1\r\n\r\n", b"\x01\0\0\0\0\xcd\0\1", bytes(300), b"\x16\x03\x01\xff\xff" + bytes(200)):
        with socket.create_connection((server.host, server.tls_port), timeout=PATIENCE_S) as connection:
            connection.sendall(words)
            while connection.recv(4096):
                pass
    assert time.monotonic() - begun < 20, "they are let wait"
    echoes(place, server)


def silent_handshakes(place, server):
    """They end with the ARTIM timer, and keep nobody out."""
    held = [socket.create_connection((server.host, server.tls_port), timeout=PATIENCE_S) for _ in range(100)]
    for connection in held[::2]:
        connection.sendall(b"\x16\x03\x01\x02\x00")
    echoes(place, server)
    begun = time.monotonic()
    for connection in held:
        assert connection.recv(1) in (b"", b"\x15"), "an answer to nothing"
        connection.close()
    assert time.monotonic() - begun < 20, "silent handshakes are waited for"
    assert metric(server, FAILED_HANDSHAKES) >= len(held), "they are not counted"


def versions(place, server):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        equal("version", shaken(place, server, version), version.name.replace("_", "."))
    for version in RETIRED_VERSIONS:
        equal("version", shaken(place, server, version), None)


def shaken(place, server, version, ciphers="DEFAULT:@SECLEVEL=0"):
    """The version that a handshake of this one alone comes to, or None."""
    context = client_context(place)
    context.set_ciphers(ciphers)
    context.minimum_version = context.maximum_version = version
    try:
        with socket.create_connection((server.host, server.tls_port), timeout=PATIENCE_S) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as connection:
                return connection.version()
    except (ssl.SSLError, ConnectionError):
        return None


def weak_ciphers(place, server):
    """Not of BCP 195: without forward secrecy, and CBC."""
    for cipher in ("AES128-SHA", "AES256-GCM-SHA384", "ECDHE-RSA-AES128-SHA"):
        equal(cipher, shaken(place, server, ssl.TLSVersion.TLSv1_2, f"{cipher}:@SECLEVEL=0"), None)
    for cipher in ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"):
        equal(cipher, shaken(place, server, ssl.TLSVersion.TLSv1_2, cipher), "TLSv1.2")


def served_certificate(server):
    return ssl.get_server_certificate((server.host, server.tls_port), timeout=PATIENCE_S).strip()


def new_certificate(place, server):
    """At SIGHUP; a file that is broken then changes nothing."""
    key, certificate = map(Path, place.server_pair)
    before = served_certificate(server)
    other_key, other = place.other_pair
    key.write_text(Path(other_key).read_text())
    certificate.write_text(Path(other).read_text())
    equal("before the signal", served_certificate(server), before)
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: served_certificate(server) != before, "the old certificate is served")
    echoes(place, server)
    certificate.write_text("no certificate")
    now = served_certificate(server)
    server.process.send_signal(signal.SIGHUP)
    time.sleep(1)
    equal("after a broken file", served_certificate(server), now)
    echoes(place, server)
    certificate.write_text(Path(other).read_text())


def known_client(place, server):
    equal("exit status", echo(place, server, pair=place.client_pair), 0)
    equal("status", pynetdicom_status(server, client_context(place, place.client_pair)), 0)


def anonymous_client(place, server):
    assert echo(place, server) != 0, "a client without a certificate is served"
    equal("status", pynetdicom_status(server, client_context(place)), None)


def strange_client(place, server):
    assert echo(place, server, pair=place.strange_pair) != 0, "a client of another authority is served"


def expired_client(place, server):
    assert echo(place, server, pair=place.ours.expired("expired")) != 0, "a certificate that has run out is taken"


@contextmanager
def storescp(place, port, *options, pair=None, authority=None):
    """The folder of what DCMTK's receiver gets over TLS."""
    folder = place.folder / f"received-{port}-{time.monotonic_ns()}"
    folder.mkdir()
    command = ["storescp", "+tls", *(pair or place.server_pair), "+cf", authority or place.ours.certificate, *options]
    with (folder.parent / "storescp.log").open("ab") as log:
        process = subprocess.Popen([*command, "-od", str(folder), str(port)], stdout=log, stderr=log)
    try:
        wait_for(lambda: listens(port), "storescp does not start")
        yield folder
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def moved(server):
    """Stores an object and moves it to the node; the exit status of movescu."""
    made = dcmread(CT)
    made.StudyInstanceUID, made.SeriesInstanceUID = generate_uid(), generate_uid()
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "object.dcm"
        made.save_as(path, enforce_file_format=True)
        place = [server.host, str(server.dimse_port)]
        subprocess.run(["storescu", "-R", "-aec", server.aet, *place, str(path)], check=True, timeout=PATIENCE_S)
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={made.StudyInstanceUID}"]
    command = ["movescu", "-S", "-aec", server.aet, "-aem", "STORESCP", *place, *keys]
    return subprocess.run(command, capture_output=True, timeout=PATIENCE_S).returncode


def move_over_tls(place, server, port):
    for options in ((), ("+pz",), ("-ic",)):
        with storescp(place, port, *options) as folder:
            equal("exit status of movescu", moved(server), 0)
            equal("objects", len(list(folder.iterdir())), 1)


def certificate_of_ours(place, server, port):
    """Is shown to who asks for it: a receiver that trusts somebody else lets us go."""
    with storescp(place, port, "-rc", authority=place.theirs.certificate) as folder:
        assert moved(server) != 0, "the move is told as done"
        equal("objects", len(list(folder.iterdir())), 0)


def strange_receiver(place, server, port):
    """Whose certificate is of another authority gets nothing."""
    with storescp(place, port, "-ic", pair=place.strange_pair) as folder:
        assert moved(server) != 0, "the move is told as done"
        equal("objects", len(list(folder.iterdir())), 0)


def plain_receiver(place, server, port):
    """Who does not speak TLS gets nothing in its place."""
    folder = place.folder / "plain"
    folder.mkdir()
    process = subprocess.Popen(["storescp", "-od", str(folder), str(port)])
    try:
        wait_for(lambda: listens(port), "storescp does not start")
        assert moved(server) != 0, "the move is told as done"
        equal("objects", len(list(folder.iterdir())), 0)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


SERVER_ONLY = {
    "echoscu": echoes,
    "the profiles of DCMTK": profiles,
    "storescu": stores,
    "pynetdicom": pynetdicom,
    "a client that trusts another authority": verified_server,
    "the plain port beside": plain_beside,
    "plain words on the port of TLS": plain_words,
    "handshakes that stop": silent_handshakes,
    "versions": versions,
    "weak ciphers": weak_ciphers,
    "a new certificate": new_certificate,
}
MUTUAL = {
    "a known client": known_client,
    "a client without a certificate": anonymous_client,
    "a client of another authority": strange_client,
    "a certificate that has run out": expired_client,
}
CALLED = {
    "a move to a node": move_over_tls,
    "our certificate at a node that does not know it": certificate_of_ours,
    "a node whose certificate is not known": strange_receiver,
    "a node without TLS": plain_receiver,
}
