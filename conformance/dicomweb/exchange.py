"""HTTP/1.1 as it is on the wire: the client sends exactly what it is told and keeps what came back.

A library that follows, repairs or normalises would hide what is to be judged.
"""

import gzip
import json
import re
import socket
import ssl
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

from report import Failed

TIMEOUT_S = 60
SHOWN_BYTES = 400


class MediaType:
    """`type/subtype; name=value; …` (RFC 9110 8.3.1); values without their quotes."""

    PARAMETER = re.compile(r';\s*([^=;\s]+)=("(?:[^"\\]|\\.)*"|[^;]*)')

    def __init__(self, text):
        self.text = text or ""
        self.essence = self.text.split(";")[0].strip().lower()
        self.raw = {name.lower(): value.strip() for name, value in self.PARAMETER.findall(self.text)}

    def parameter(self, name):
        value = self.raw.get(name, "")
        return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value

    def without(self, name):
        """The same text whatever that parameter is: boundaries may be drawn by lot."""
        others = {key: value for key, value in self.raw.items() if key != name}
        return self.essence, tuple(sorted(others.items()))


class Message:
    """What a response and a part of one have in common: fields and a body."""

    def header(self, name):
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    @property
    def media_type(self):
        return MediaType(self.header("Content-Type"))


@dataclass
class Part(Message):
    headers: list
    body: bytes


@dataclass
class Answer(Message):
    request: bytes
    url: str
    status: int = 0
    reason: str = ""
    headers: list = field(default_factory=list)
    body: bytes = b""
    trailers: list = field(default_factory=list)
    complete: bool = True

    def expect(self, *statuses):
        if self.status not in statuses:
            wanted = " or ".join(map(str, statuses))
            raise Failed(f"status {self.status} in place of {wanted}", self)
        if not self.complete:
            raise Failed("the body ends before its end", self)
        return self

    def expect_type(self, essence):
        if self.media_type.essence != essence:
            raise Failed(f"Content-Type {self.header('Content-Type')} in place of {essence}", self)
        return self

    def check(self, holds, message):
        if not holds:
            raise Failed(message, self)
        return self

    def json(self):
        try:
            return json.loads(self.text(), parse_constant=self._not_json)
        except ValueError as error:
            raise Failed(f"the body is not JSON: {error}", self) from None

    def _not_json(self, constant):
        raise Failed(f"{constant} is not JSON", self)

    def text(self):
        try:
            return self.body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Failed(f"the text is not UTF-8: {error}", self) from None

    def xml(self):
        return parsed_xml(self, self.body)

    def parts(self):
        """The parts of a multipart body, taken apart strictly (RFC 2046 5.1.1)."""
        self.check(self.media_type.essence == "multipart/related", f"{self.header('Content-Type')} has no parts")
        boundary = self.media_type.parameter("boundary").encode()
        self.check(boundary, "there is no boundary")
        pieces = (b"\r\n" + self.body).split(b"\r\n--" + boundary)
        self.check(len(pieces) > 1 and pieces[-1].startswith(b"--"), "there is no closing delimiter")
        return [self._part(piece) for piece in pieces[1:-1]]

    def _part(self, piece):
        line, _, rest = piece.partition(b"\r\n")
        self.check(not line.strip(b" \t"), "a delimiter is followed by other text")
        head, blank, body = (b"\r\n" + rest).partition(b"\r\n\r\n")
        self.check(blank, "the head of a part has no end")
        lines = [line for line in head.decode("latin-1").split("\r\n") if line]
        return Part([tuple(text.strip() for text in line.split(":", 1)) for line in lines], body)

    def shown(self):
        """For the report."""
        head = [f"{name}: {value}" for name, value in self.headers]
        return {
            "url": self.url,
            "request": printable(self.request),
            "response": [f"{self.status} {self.reason}".strip(), *head],
            "body": printable(self.body[:SHOWN_BYTES]),
            "body_bytes": len(self.body),
            "complete": self.complete,
        }


def parsed_xml(answer, text):
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise Failed(f"the body is not XML: {error}", answer) from None


def printable(data):
    """Text as it is; other bytes escaped."""
    text = data.decode("utf-8", "backslashreplace")
    return "".join(one if one.isprintable() or one in "\r\n\t" else f"\\x{ord(one):02x}" for one in text)


class Client:
    """One connection for each exchange; remembers the last one."""

    def __init__(self, url, headers=()):
        self.url = url.rstrip("/")
        place = urlsplit(self.url)
        self.secure, self.host = place.scheme == "https", place.hostname
        self.port = place.port or (443 if self.secure else 80)
        self.root, self.authority = place.path, place.netloc
        self.credentials = list(headers)
        self.last = None

    def send(self, method, target, headers=(), body=None):
        """`target` is a path below the root, or a whole URL; `body` bytes, or an iterable for chunks."""
        target = self.path_of(target)
        fields = [("Host", self.authority), *self.credentials, *headers, ("Connection", "close")]
        if isinstance(body, bytes):
            fields.append(("Content-Length", str(len(body))))
        elif body is not None:
            fields.append(("Transfer-Encoding", "chunked"))
        named = {}
        for name, value in fields:
            named.setdefault(name.lower(), []).append((name, value))
        # A Host that was given replaces ours.
        named["host"] = named["host"][-1:]
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"{name}: {value}" for same in named.values() for name, value in same if value is not None]
        head = "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n"
        return self.raw(head, blocks(body), method, self.absolute(target))

    def path_of(self, target):
        if target.startswith(("http://", "https://")):
            place = urlsplit(target)
            return f"{place.path}?{place.query}" if place.query else place.path
        return self.root + target

    def absolute(self, target):
        return urljoin(self.url, target)

    def raw(self, head, body=(), method="GET", url=""):
        """Exactly these bytes."""
        answer = Answer(head, url)
        self.last = answer
        with self.connection() as stream:
            rest = b""
            try:
                stream.sendall(head)
                for block in body:
                    if len(answer.request) < len(head) + SHOWN_BYTES:
                        answer.request += block[:SHOWN_BYTES]
                    stream.sendall(block)
            except (BrokenPipeError, ConnectionResetError):
                # The server answered before it had read everything.
                pass
            rest = received(stream)
        read_answer(answer, rest, method)
        return answer

    def connection(self):
        plain = socket.create_connection((self.host, self.port), TIMEOUT_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return ssl.create_default_context().wrap_socket(plain, server_hostname=self.host) if self.secure else plain


def blocks(body):
    if body is None:
        return
    if isinstance(body, bytes):
        yield body
        return
    for block in body:
        yield b"%x\r\n" % len(block) + block + b"\r\n"
    yield b"0\r\n\r\n"


def received(stream):
    data = bytearray()
    try:
        while block := stream.recv(1 << 18):
            data += block
    except ConnectionResetError:
        pass
    return bytes(data)


def read_answer(answer, data, method):
    head, blank, rest = data.partition(b"\r\n\r\n")
    while head.startswith((b"HTTP/1.1 100", b"HTTP/1.1 102", b"HTTP/1.1 103")):
        head, blank, rest = rest.partition(b"\r\n\r\n")
    if not blank:
        raise Failed("the connection was closed without an answer", answer)
    lines = head.decode("latin-1").split("\r\n")
    status = lines[0].split(" ", 2)
    answer.status, answer.reason = int(status[1]), status[2] if len(status) > 2 else ""
    answer.headers = [tuple(text.strip() for text in line.split(":", 1)) for line in lines[1:]]
    if method == "HEAD" or answer.status in (204, 304):
        answer.check(not rest, f"{len(rest)} bytes follow where there is no body")
    elif "chunked" in (answer.header("Transfer-Encoding") or ""):
        read_chunks(answer, rest)
    else:
        wanted = answer.header("Content-Length")
        answer.body, answer.complete = rest, wanted is None or int(wanted) == len(rest)


def read_chunks(answer, data):
    body, at = [], 0
    answer.complete = False
    while (end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:end].split(b";")[0], 16)
        if size == 0:
            trailer = data[end + 2 :].decode("latin-1").split("\r\n")
            answer.trailers = [tuple(line.split(":", 1)) for line in trailer if line]
            answer.complete = data.endswith(b"\r\n\r\n")
            break
        body.append(data[end + 2 : end + 2 + size])
        at = end + 4 + size
    answer.body = b"".join(body)


def decoded(answer):
    """The body without its gzip coding."""
    return gzip.decompress(answer.body)
