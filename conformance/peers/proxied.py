"""URLs of answers lead back through a proxy: nginx in front, which takes a prefix off the path."""

import shutil
import subprocess
import time
from contextlib import contextmanager
from urllib.parse import urljoin

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.uid import generate_uid

from . import part10
from .dicomweb import JSON, value
from .server import WITHOUT_ANALYSIS, Server, free_port
from .tally import equal

PREFIX = "/pacs"
TRUSTING = {**WITHOUT_ANALYSIS, "http.trusted_proxies": '["127.0.0.1"]'}
RELATIVE = {**WITHOUT_ANALYSIS, "http.urls": "relative"}
START_TIMEOUT_S = 30
OLDER = f"""proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;
 proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Prefix {PREFIX};"""
STANDARD = f"""proxy_set_header Host $proxy_host; proxy_set_header X-Forwarded-Prefix {PREFIX};
 proxy_set_header Forwarded 'for=$remote_addr;proto=$scheme;host="$http_host"';"""
# As many are set up: the host without its port, and nothing said.
SILENT = "proxy_set_header Host $host;"
CONFIGURATION = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
events {{ }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location {prefix}/ {{ proxy_pass {base}/; {headers} }}
  }}
}}
"""


def run(context, tally):
    if shutil.which("nginx") is None:
        tally.miss("proxied", "nginx")
        return
    cases = {
        "X-Forwarded-* of a trusted proxy": (TRUSTING, OLDER),
        "Forwarded of a trusted proxy": (TRUSTING, STANDARD),
        "relative URLs": (RELATIVE, SILENT),
    }
    for number, (name, (keys, headers)) in enumerate(cases.items()):
        folder = context.folder(f"proxied-{number}")
        with Server(context.binary, folder / "data", keys) as server, proxy(folder, server, headers) as front:
            with tally.check(f"proxied: links lead through the proxy by {name} (Q36)"):
                check_links(f"{front}/dicom-web", store(f"{front}/dicom-web"))
    with Server(context.binary, context.folder("proxied-none"), WITHOUT_ANALYSIS) as server:
        with tally.check("proxied: headers of who is not trusted change nothing (Q36)"):
            check_untrusted(server)
        with tally.check("proxied: a client that leaves the port out of Host gets links that work (Q36)"):
            check_without_port(server)


@contextmanager
def proxy(folder, server, headers):
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(
        CONFIGURATION.format(folder=folder, port=port, prefix=PREFIX, base=server.base, headers=headers)
    )
    command = ["nginx", "-c", str(configuration), "-p", str(folder), "-e", str(folder / "error.log")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            front = f"http://127.0.0.1:{port}{PREFIX}"
            wait_for(f"{front}/healthz")
            yield front
        finally:
            process.terminate()


def wait_for(url):
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            if requests.get(url, timeout=5).status_code == 200:
                return
        except requests.RequestException:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer")


def store(web):
    """One image of a study of its own."""
    study = generate_uid()
    headers = {"Content-Type": "application/dicom"}
    answer = requests.post(f"{web}/studies", data=part10.image(study, 1, side=64), headers=headers, timeout=60)
    equal("store", answer.status_code, 200)
    [reference] = answer.json()["00081199"]["Value"]
    check_link(answer.url, value(reference, "00081190"), 200)
    return study


def check_links(web, study):
    for path in ("studies", f"studies/{study}/series", f"studies/{study}/instances"):
        answer = requests.get(f"{web}/{path}", headers={"Accept": JSON}, timeout=60)
        check_link(answer.url, value(answer.json()[0], "00081190"), 200)
    metadata = requests.get(f"{web}/studies/{study}/metadata", headers={"Accept": JSON}, timeout=60)
    pixels = check_link(metadata.url, metadata.json()[0]["7FE00010"]["BulkDataURI"], 200)
    equal("bytes of the pixels", len(pixels.content), 64 * 64 * 2)


def check_link(place, link, status):
    """As RFC 3986 5 has it: relative to where the answer came from."""
    target = urljoin(place, link)
    answer = requests.get(target, headers={"Accept": "application/octet-stream, */*;q=0.1"}, timeout=60)
    equal(f"status of {target}", answer.status_code, status)
    return answer


def check_untrusted(server):
    study = store(server.web)
    invented = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "Forwarded": "host=evil.example"}
    answer = requests.get(f"{server.web}/studies/{study}/metadata", headers={"Accept": JSON} | invented, timeout=60)
    assert "evil" not in answer.text, "an invented host was repeated"


def check_without_port(server):
    study = store(server.web)
    client = DICOMwebClient(server.web)
    [metadata] = client.retrieve_study_metadata(study)
    bulk = client.retrieve_bulkdata(metadata["7FE00010"]["BulkDataURI"])
    equal("bytes of the pixels", len(b"".join(bulk)), 64 * 64 * 2)
