"""Clients that are slow, endless or broken: each gets a clear answer, the memory stays, the server goes on."""

import json
import re
import socket
import struct
import subprocess
import time
import zlib
from contextlib import contextmanager, suppress
from io import BytesIO

import requests
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, generate_uid

from . import part10
from .server import WITHOUT_ANALYSIS, Server
from .tally import equal

CONNECTIONS = 48
KEYS = {
    **WITHOUT_ANALYSIS,
    "http.header_timeout_s": "2",
    "http.body_idle_timeout_s": "2",
    "http.body_rate_min": "65536",
    "http.response_stall_timeout_s": "2",
    "http.connections_max": str(CONNECTIONS),
}
# Far longer than any of these limits, however busy the machine is.
PATIENCE_S = 60
# What eight stores of a gigabyte may take at the same time, nothing hostile may exceed either.
GROWTH_MAX_KB = 256 * 1024
MEGABYTE = 1 << 20
BIG_OBJECT_BYTES = 48 * MEGABYTE
MULTIPART = 'Content-Type: multipart/related; type="application/dicom"; boundary=b'
COUNTED = ("http.header_timeout_s", "http.header_bytes_max", "http.uri_bytes_max", "http.body_idle_timeout_s",
           "http.body_rate_min", "http.response_stall_timeout_s", "http.connections_max")


def run(context, tally):
    with Server(context.binary, context.folder("hostile-http"), KEYS) as server:
        before = server.status_kb("VmRSS")
        for name, check in CHECKS.items():
            with tally.check(f"hostile HTTP: {name}"):
                check(server)
                equal("health afterwards", health(server), 200)
        for limit in COUNTED:
            with tally.check(f"hostile HTTP: {limit} is counted"):
                assert hits(server, limit) > 0, "no hit"
        with tally.check("hostile HTTP: the memory stays and nothing panicked"):
            growth = server.status_kb("VmHWM") - before
            assert growth < GROWTH_MAX_KB, f"{growth} kB more"
            assert "panicked" not in server.log(), "see the log"


def health(server):
    """Tried again while connections of the check before are still being closed."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        status = requests.get(f"{server.base}/healthz", timeout=PATIENCE_S).status_code
        if status != 503 or time.monotonic() > deadline:
            return status
        time.sleep(0.2)


def hits(server, limit):
    found = re.search(rf'^limit_hits_total{{limit="{limit}"}} (\d+)', requests.get(f"{server.base}/metrics", timeout=PATIENCE_S).text, re.MULTILINE)
    return int(found.group(1)) if found else 0


@contextmanager
def connection(server):
    with socket.create_connection((server.host, server.http_port), timeout=PATIENCE_S) as opened:
        yield opened


def read_to_end(opened):
    """What the server says until it closes; a reset closes too."""
    answer = b""
    with suppress(ConnectionError):
        while block := opened.recv(65536):
            answer += block
    return answer


def status_of(answer):
    assert answer.startswith(b"HTTP/1.1 "), f"no answer: {answer[:80]!r}"
    return int(answer.split(b" ", 2)[1])


def told(server, *pieces, pause_s=0.0):
    """The status that a client gets who sends these pieces."""
    with connection(server) as opened:
        with suppress(ConnectionError):
            for piece in pieces:
                opened.sendall(piece)
                time.sleep(pause_s)
        return status_of(read_to_end(opened))


def post(*headers):
    lines = ["POST /dicom-web/studies HTTP/1.1", "Host: h", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def chunks(block, count):
    """A chunked body that does not end."""
    piece = f"{len(block):x}\r\n".encode() + block + b"\r\n"
    return (piece for _ in range(count))


def slow_headers(server):
    """More than half of the connections drip; the others are served meanwhile."""
    drips = [socket.create_connection((server.host, server.http_port), timeout=PATIENCE_S) for _ in range(CONNECTIONS // 2)]
    begun = time.monotonic()
    while drips and time.monotonic() < begun + PATIENCE_S:
        equal("health meanwhile", requests.get(f"{server.base}/healthz", timeout=PATIENCE_S).status_code, 200)
        drips = [drip for drip in drips if still_takes(drip, b"X")]
        time.sleep(0.3)
    equal("connections that may drip for ever", len(drips), 0)


def still_takes(opened, byte):
    try:
        opened.sendall(byte)
        opened.setblocking(False)
        ended = opened.recv(1) == b""
    except BlockingIOError:
        ended = False
    except ConnectionError:
        ended = True
    opened.setblocking(True)
    if ended:
        opened.close()
    return not ended


def silent_connection(server):
    with connection(server) as opened:
        equal("words to who says nothing", read_to_end(opened), b"")


def endless_header(server):
    equal("status", told(server, b"GET / HTTP/1.1\r\nHost: h\r\n", *(b"X-%d: %s\r\n" % (n, b"x" * 4096) for n in range(256))), 431)


def many_headers(server):
    lines = b"".join(b"X-%d: x\r\n" % number for number in range(2000))
    equal("status", told(server, b"GET / HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n"), 431)


def long_target(server):
    for bytes_ in (20_000, 60_000):
        request = b"GET /dicom-web/studies?PatientID=" + b"1" * bytes_ + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        equal(f"status of {bytes_} bytes", told(server, request), 414)


def silent_body(server):
    equal("status", told(server, post(MULTIPART, "Content-Length: 1000"), b"--b\r\n"), 408)


def dripping_body(server):
    drips = (b"x" for _ in range(200))
    head = post(MULTIPART, "Content-Length: 1000000") + b"--b\r\nContent-Type: application/dicom\r\n\r\n"
    equal("status", told(server, head, *drips, pause_s=0.1), 408)


def endless_preamble(server):
    equal("status", told(server, post(MULTIPART, "Transfer-Encoding: chunked"), *chunks(b"x" * MEGABYTE, 64)), 400)


def endless_part_header(server):
    start = next(chunks(b"--b\r\nContent-Type: ", 1))
    equal("status", told(server, post(MULTIPART, "Transfer-Encoding: chunked"), start, *chunks(b"x" * MEGABYTE, 64)), 400)


def endless_boundary(server):
    boundary = MULTIPART.replace("boundary=b", "boundary=" + "b" * 5000)
    equal("status", told(server, post(boundary, "Content-Length: 0")), 400)


def many_parts(server):
    body = b"--b\r\n\r\n\r\n" * 150_000 + b"--b--"
    answer = requests.post(f"{server.web}/studies", data=body, headers={"Content-Type": MULTIPART[14:]}, timeout=600)
    assert answer.status_code in (400, 409, 413), answer.status_code
    assert len(answer.content) < 64 * MEGABYTE


def store(server, *parts, kind="application/dicom"):
    body = b"".join(f"\r\n--b\r\nContent-Type: {kind}\r\n\r\n".encode() + part for part in parts) + b"\r\n--b--"
    headers = {"Content-Type": f'multipart/related; type="{kind}"; boundary=b'}
    return requests.post(f"{server.web}/studies", data=body, headers=headers, timeout=600)


def small():
    """A data set of its own."""
    return dcmread(BytesIO(part10.image(generate_uid(), 1, side=2)))


def deep_sequences(server):
    innermost = Dataset()
    innermost.CodeMeaning = "deep"
    for _ in range(100):
        outer = Dataset()
        outer.ContentSequence = Sequence([innermost])
        innermost = outer
    data_set = small()
    data_set.ContentSequence = innermost.ContentSequence
    equal("status", store(server, part10.encoded(data_set)).status_code, 409)


def deep_json(server):
    depth = 20_000
    text = '[{"0040A730":{"vr":"SQ","Value":[' * depth + "]}}]" * depth
    answer = store(server, text.encode(), kind="application/dicom+json")
    assert answer.status_code in (400, 409, 415), answer.status_code


def many_values(server):
    """A value of two bytes takes a hundred in memory."""
    many = b",".join([b"0"] * 7_000_000)
    answer = store(server, b'[{"00100020":{"vr":"DS","Value":[' + many + b"]}}]", kind="application/dicom+json")
    equal("status", answer.status_code, 400)


def many_instances(server):
    answer = store(server, b"[" + b",".join([b"{}"] * 400_000) + b"]", kind="application/dicom+json")
    equal("status", answer.status_code, 413)


def bomb(server):
    """A few hundred kilobytes that inflate to a gigabyte of one value."""
    object_ = small()
    del object_.PixelData
    plain = part10.data_set(part10.encoded(object_))
    object_.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    deflated = part10.encoded(object_)
    front = deflated.removesuffix(part10.data_set(deflated))
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    pieces = [deflate.compress(plain + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 1 << 30))]
    pieces += [deflate.compress(bytes(MEGABYTE)) for _ in range(1024)] + [deflate.flush()]
    answer = store(server, front + b"".join(pieces))
    assert answer.status_code in (200, 409, 413), answer.status_code


def junk_ranges(server):
    url = f"{stored_bulk(server)}"
    for junk in ("bytes=", "bytes=-", "bytes=5-2", "bytes=a-b", "bytes=0-1,2-3,4-5", "bytes=99999999999999999999-",
                 "bytes=0-" + "9" * 400, "bytes=-0", "octets=0-1", "bytes=0-0" + ",0-0" * 5000):
        answer = requests.get(url, headers={"Range": junk}, stream=True, timeout=PATIENCE_S)
        answer.close()
        assert answer.status_code in (200, 206, 416), f"{junk[:40]}: {answer.status_code}"


def junk_accept(server):
    for junk in ("/", ";;;", "a/b;q=NaN", "multipart/related;type=", 'multipart/related; type="', "*/*;q=1e400",
                 "application/dicom;transfer-syntax=" + "1." * 2000, ",".join(["a/b;q=0.5"] * 3000), "\xff\xfe"):
        answer = requests.get(f"{server.web}/studies", headers={"Accept": junk.encode("latin-1")}, timeout=PATIENCE_S)
        assert answer.status_code in (200, 400, 406), f"{junk[:40]}: {answer.status_code}"


def junk_paths(server):
    long_uid = "1." * 500 + "1"
    for path in ("%00", "studies/%2e%2e/%2e%2e", f"studies/{long_uid}", "studies/1.2/series//instances", "studies/1.02",
                 "studies/1.2/series/1.3/instances/1.4/frames/" + "1," * 6000 + "1", "studies?limit=-1&offset=99999999999999"):
        status = told(server, f"GET /dicom-web/{path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        assert status in (400, 404), f"{path[:40]}: {status}"


def not_http(server):
    for junk in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), b"\x00" * 500 + b"\r\n\r\n", b"GET\r\n\r\n",
                 b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100):
        with connection(server) as opened:
            with suppress(ConnectionError):
                opened.sendall(junk)
            read_to_end(opened)


def stored_bulk(server):
    """Stores an object of many megabytes; gives the URL of its pixels."""
    data_set = small()
    data_set.Rows, data_set.Columns = 4096, BIG_OBJECT_BYTES // 2 // 4096
    data_set.PixelData = bytes(BIG_OBJECT_BYTES)
    equal("store", store(server, part10.encoded(data_set)).status_code, 200)
    place = f"studies/{data_set.StudyInstanceUID}/series/{data_set.SeriesInstanceUID}/instances/{data_set.SOPInstanceUID}"
    return f"{server.web}/{place}/bulkdata/7FE00010"


def stalled_reader(server):
    path = stored_bulk(server).removeprefix(server.base)
    with socket.socket() as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        opened.settimeout(PATIENCE_S)
        opened.connect((server.host, server.http_port))
        opened.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\nAccept: application/octet-stream\r\n\r\n".encode())
        deadline = time.monotonic() + PATIENCE_S
        while hits(server, "http.response_stall_timeout_s") == 0 and time.monotonic() < deadline:
            time.sleep(0.2)
        received = len(read_to_end(opened))
    assert received < BIG_OBJECT_BYTES, "everything came although nobody read"


def one_connection_too_many(server):
    """As many as may be are held by slow clients; the next is told so at once."""
    held = []
    try:
        deadline = time.monotonic() + PATIENCE_S
        while hits(server, "http.connections_max") == 0 and time.monotonic() < deadline:
            held += [socket.create_connection((server.host, server.http_port), timeout=PATIENCE_S) for _ in range(CONNECTIONS + 8)]
            with connection(server) as opened:
                opened.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                status = status_of(read_to_end(opened))
                assert status in (200, 503), status
            for one in held:
                one.close()
            held.clear()
            health(server)
    finally:
        for one in held:
            one.close()


def http2(server):
    """Prior knowledge, many streams on one connection."""
    command = ["h2load", "-n", "2000", "-c", "2", "-m", "200", f"{server.base}/healthz"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True).stdout
    assert "2000 succeeded" in said, said[-600:]
    said = subprocess.run(["curl", "-s", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_version} %{http_code}",
                           f"{server.web}/studies"], capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout
    equal("curl", said, "2 200")


def huge_json_request(server):
    text = json.dumps({"pipeline": "x" * (4 * MEGABYTE)})
    answer = requests.post(f"{server.base}/api/v1/studies/1.2/analyses", data=text, timeout=PATIENCE_S)
    assert answer.status_code in (400, 404, 413), answer.status_code


CHECKS = {
    "headers that drip": slow_headers,
    "a connection that says nothing": silent_connection,
    "a header without end": endless_header,
    "two thousand headers": many_headers,
    "a request line without end": long_target,
    "a body that stops": silent_body,
    "a body that drips": dripping_body,
    "a body that never comes to a boundary": endless_preamble,
    "a part header without end": endless_part_header,
    "a boundary of 5000 characters": endless_boundary,
    "150,000 empty parts": many_parts,
    "sequences a hundred deep": deep_sequences,
    "JSON twenty thousand deep": deep_json,
    "JSON of seven million values": many_values,
    "JSON of four hundred thousand instances": many_instances,
    "a request that is one huge word": huge_json_request,
    "a gigabyte in a few hundred kilobytes": bomb,
    "ranges that are none": junk_ranges,
    "media types that are none": junk_accept,
    "paths that lead nowhere": junk_paths,
    "what is not HTTP": not_http,
    "a reader that stops": stalled_reader,
    "one connection too many": one_connection_too_many,
    "HTTP/2 without negotiation": http2,
}
