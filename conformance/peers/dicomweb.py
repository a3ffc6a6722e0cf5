"""A client that shows the bytes: dicomweb-client hands out data sets, not what was sent."""

import re
from pathlib import Path

import requests

PAGE = 500
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
JSON = "application/dicom+json"
TIMEOUT_S = 300


def value(item, tag):
    """The first value of an attribute of a DICOM JSON object, or None."""
    values = item.get(tag, {}).get("Value")
    return values[0] if values else None


def search(server, path, **query):
    """All pages of a search."""
    found = []
    while True:
        query |= {"limit": PAGE, "offset": len(found)}
        answer = requests.get(f"{server.web}/{path}", params=query, headers={"Accept": JSON}, timeout=TIMEOUT_S)
        answer.raise_for_status()
        page = answer.json() if answer.status_code == 200 else []
        found += page
        if len(page) < PAGE:
            return found


def instances(server):
    """(study, series, instance) UIDs of everything in the index."""
    items = search(server, "instances")
    return [tuple(value(item, tag) for tag in ("0020000D", "0020000E", "00080018")) for item in items]


def locations(server):
    """SOP Instance UID to its (study, series, instance)."""
    return {uids[2]: uids for uids in instances(server)}


def retrieve(server, uids):
    """The stored file of an instance."""
    study, series, instance = uids
    url = f"{server.web}/studies/{study}/series/{series}/instances/{instance}"
    answer = requests.get(url, headers={"Accept": AS_STORED}, timeout=TIMEOUT_S)
    assert answer.status_code == 200, f"{answer.status_code} for {instance}: {answer.text[:200]}"
    parts = multipart(answer.headers["Content-Type"], answer.content)
    assert len(parts) == 1, f"{len(parts)} parts for one instance"
    return parts[0]


def multipart(content_type, body):
    """The bodies of the parts (RFC 2046 5.1)."""
    boundary = re.search(r'boundary="?([^";]+)', content_type).group(1).encode()
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary)
    assert pieces[-1].startswith(b"--"), "the closing delimiter is missing"
    return [piece.split(b"\r\n\r\n", 1)[1] for piece in pieces[1:-1]]


def store(server, files):
    """STOW-RS of whole files. Returns the instances that were kept and those refused with a reason."""
    return store_outcome(posted(server, files))


def posted(server, files):
    """The answer to a STOW request."""
    boundary = "radiant-conformance"
    head = f"\r\n--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(head + data for data in files) + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f'multipart/related; type="application/dicom"; boundary="{boundary}"', "Accept": JSON}
    return requests.post(f"{server.web}/studies", data=body, headers=headers, timeout=TIMEOUT_S)


def store_outcome(answer):
    response = answer.json() if answer.content and "json" in answer.headers.get("Content-Type", "") else {}
    kept = [value(item, "00081155") for item in response.get("00081199", {}).get("Value", [])]
    # An object whose UIDs were not read is among the others.
    failed = [item for tag in ("00081198", "0008119A") for item in response.get(tag, {}).get("Value", [])]
    return kept, {value(item, "00081155"): value(item, "00081197") for item in failed}


def stored_files(data_dir):
    """Every file among the objects and in staging."""
    folders = [Path(data_dir) / name for name in ("objects", "staging")]
    return [path for folder in folders if folder.exists() for path in folder.rglob("*") if path.is_file()]
