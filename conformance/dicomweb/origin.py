"""The server under test: requests of DICOMweb, what it has been given, and what it declares."""

from dataclasses import dataclass
from urllib.parse import quote, urljoin

import dataset
from exchange import Client
from report import Declared, Failed

JSON = "application/dicom+json"
XML = "application/dicom+xml"
DICOM = "application/dicom"
OCTETS = "application/octet-stream"
BOUNDARY = "rows-and-checks"
FAILED_SOP, REFERENCED_SOP, OTHER_FAILURES = "00081198", "00081199", "0008119A"
FAILURE_REASON, WARNING_REASON = "00081197", "00081196"


def related(essence, syntax=None):
    return f'multipart/related; type="{essence}"' + (f"; transfer-syntax={syntax}" if syntax else "")


@dataclass
class Choices(Declared):
    """What the standard leaves to a server. A field that is not declared stays at its default."""

    # No Accept header is 406 (8.7.5); false: the default representation; None: either.
    accept_required: bool | None = None
    # No match, 200 with an empty array or 204 for old clients.
    no_match_status: int = 200
    # "sensitive" or "insensitive"; None: either.
    person_names: str | None = None
    # Another object of the same UID: "keep" the first, "replace" it, "reject"; None: any.
    duplicates: str | None = None
    # Objects above this many bytes are refused.
    instance_bytes_max: int | None = None
    # A search that the server refuses as too broad, as a path and a query below the root.
    too_broad: str | None = None
    # Forwarded and X-Forwarded-* of this client are believed.
    proxy_trusted: bool | None = None
    # The WADO-URI resource, below the root or as a whole URL.
    wado_uri: str = ""
    # The process on this machine, to see its memory.
    pid: int | None = None


class Origin(Client):
    def __init__(self, url, headers=(), choices=None):
        super().__init__(url, headers)
        self.choices = choices or Choices()
        self.known = {}

    def declared(self, name):
        return self.choices.of(name)

    def get(self, target, accept="*/*", headers=(), /, method="GET", **query):
        return self.send(method, target + query_string(query), [("Accept", accept), *headers])

    def search(self, target, accept=JSON, /, **query):
        """The matches of a search that has some or none."""
        answer = self.get(target, accept, **query)
        if answer.status == 204:
            return []
        return answer.expect(200).json()

    def metadata(self, made):
        [found] = self.get(dataset.path(made) + "/metadata", JSON).expect(200).json()
        return found

    def retrieve(self, made, syntax="*"):
        """The file of one object, in the form that every server has."""
        answer = self.get(dataset.path(made), related(DICOM, syntax)).expect(200)
        parts = answer.parts()
        answer.check(len(parts) == 1, f"{len(parts)} parts for one instance")
        return parts[0].body

    # Store

    def post(self, body, content_type, accept=JSON, target="/studies", headers=()):
        return self.send("POST", target, [("Accept", accept), ("Content-Type", content_type), *headers], body)

    def stow(self, *files, **options):
        """Files, as parts of one request."""
        parts = [([("Content-Type", DICOM)], file) for file in files]
        return self.post(multipart(parts), f'{related(DICOM)}; boundary="{BOUNDARY}"', **options)

    def store(self, *datasets):
        """Stores what the check is about."""
        answer = self.stow(*map(dataset.file_of, datasets)).expect(200)
        stored = [first(item, "00081155") for item in items(answer.json(), REFERENCED_SOP)]
        answer.check(len(stored) == len(datasets), f"{len(stored)} of {len(datasets)} objects were stored")
        return datasets[0] if len(datasets) == 1 else datasets

    def kept(self, maker, *arguments, **elements):
        """What a maker makes, stored once in a run."""
        key = (
            maker.__module__,
            maker.__name__,
            arguments,
            tuple(sorted((name, str(value)) for name, value in elements.items())),
        )
        if key not in self.known:
            made = maker(*arguments, **elements)
            self.store(*(made if isinstance(made, tuple) else (made,)))
            self.known[key] = made
        return self.known[key]

    def bulk_uri(self, made, *tags):
        """The URI of a value, at depth by tag and item in turn, resolved as the standard says (F.2.6)."""
        element = self.metadata(made)[tags[0]]
        for number, tag in zip(tags[1::2], tags[2::2], strict=True):
            element = element["Value"][number][tag]
        if "BulkDataURI" not in element:
            raise Failed(f"{tags} has no BulkDataURI: {str(element)[:100]}", self.last)
        return urljoin(f"{self.url}{dataset.path(made)}/metadata", element["BulkDataURI"])

    def has(self, made):
        return self.get(dataset.path(made) + "/metadata", JSON).status == 200


def query_string(query):
    """`PatientID="x"` and, for names that Python has not, `**{"00100020": "x"}`; a list repeats."""
    pairs = [(name, one) for name, value in query.items() for one in (value if isinstance(value, list) else [value])]
    return (
        "?" + "&".join(f"{quote(name, safe='')}={quote(str(value), safe='')}" for name, value in pairs) if pairs else ""
    )


def multipart(parts, boundary=BOUNDARY):
    """Bodies with their header fields."""
    pieces = []
    for headers, body in parts:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        pieces.append(f"--{boundary}\r\n{head}\r\n".encode() + body + b"\r\n")
    return b"".join(pieces) + f"--{boundary}--\r\n".encode()


# DICOM JSON


def items(response, tag):
    return response.get(tag, {}).get("Value", [])


def values(item, tag):
    return item.get(tag, {}).get("Value", [])


def first(item, tag):
    """The first value of an attribute, or None."""
    found = values(item, tag)
    return found[0] if found else None


def outcome(answer):
    """Stored and failed instances of a store response, each with its item."""
    response = answer.json()
    by_uid = lambda tag: {first(item, "00081155"): item for item in items(response, tag)}
    return by_uid(REFERENCED_SOP), by_uid(FAILED_SOP)


def failure_reason(answer, made):
    """Why an instance was refused, wherever the server says it."""
    response = answer.json()
    for item in items(response, FAILED_SOP) + items(response, OTHER_FAILURES):
        if first(item, "00081155") in (made.SOPInstanceUID, None):
            return first(item, FAILURE_REASON)
    raise Failed(f"{made.SOPInstanceUID} is not among the failures", answer)
