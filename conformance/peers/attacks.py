"""What an attacker tries on the HTTP side of a server with access control on, and how it is refused.

Tokens: none, forged, `alg: none`, signed with the public key as if it were a secret, of a key of one's
own, of another audience, expired, of a session that was ended, refreshed twice, fixed before a log-in.
Requests: paths that climb, SQL in every place that takes text, line breaks in what is echoed, oversized
and deeply nested JSON, slow headers and bodies, hosts and origins that are not ours, another method in a
header, two requests that look like one. Log-ins: the time of a name that exists and of one that does not,
too many of them. HTTPS: what speaks no TLS, too old a TLS, Strict-Transport-Security.
No secret is in the log afterwards. What one user can reach of another's is another suite.
"""

import base64
import hashlib
import hmac
import json
import re
import shutil
import socket
import statistics
import subprocess
import time
from contextlib import suppress

import requests

from .hostile_http import connection, read_to_end
from .server import WITHOUT_ANALYSIS, Server, free_port
from .tally import equal

PATIENCE_S = 60
NAME, PASSWORD = "admin", "a long enough passphrase"
KEYS = {
    **WITHOUT_ANALYSIS,
    "auth.mode": "on",
    "auth.basic": "true",
    "auth.argon2_memory_kib": "1024",
    "auth.argon2_passes": "1",
    "auth.token_recheck_s": "1",
    "auth.failures_free": "1000",
    "auth.failures_of_name_free": "1000",
    "auth.failures_of_address_free": "10000",
    "http.header_timeout_s": "2",
    "http.body_idle_timeout_s": "2",
    "http.cors_origins": '["https://viewer.example"]',
}
EVIL = "https://evil.example"
STUDIES = "/dicom-web/studies"


def run(context, tally):
    folder = context.folder("attacks")
    with Server(context.binary, folder / "data", KEYS) as server:
        attacked = Attacked(server)
        for name, check in CHECKS.items():
            with tally.check(f"attack: {name}"):
                check(attacked)
                equal("health afterwards", requests.get(f"{server.base}/healthz", timeout=PATIENCE_S).status_code, 200)
        with tally.check("attack: no secret is in the log"):
            found = [secret for secret in attacked.secrets if secret in server.log()]
            equal("secrets in the log", len(found), 0)
            assert "panicked" not in server.log(), "see the log"
        last = attacked.log_in()["access_token"]
    for name, (keys, check) in RESTARTED.items():
        with tally.check(f"attack: {name}"), Server(context.binary, folder / "data", KEYS | keys) as server:
            check(Attacked(server, initial=False), last)
    with tally.check("attack: HTTPS takes nothing but TLS 1.2 and newer, and says that it stays"):
        over_tls(context.binary, folder)


class Attacked:
    """A server, its administrator, and every secret that was shown to it."""

    def __init__(self, server, initial=True):
        self.server, self.secrets = server, [PASSWORD]
        if initial:
            self.first_log_in()

    def url(self, path):
        return self.server.base + path

    def first_log_in(self):
        """The secret of the first start is good for its change alone."""
        said = dict(line.split(": ", 1) for line in (self.server.data_dir / "first-administrator").read_text().splitlines())
        self.secrets.append(said["secret"])
        token = self.log_in(password=said["secret"])["access_token"]
        equal("status before the change", self.status(token), 403)
        changed = self.ask("POST", "/api/v1/auth/password", json={"old": said["secret"], "new": PASSWORD}, token=token)
        equal("status of the change", changed.status_code, 204)

    def log_in(self, name=NAME, password=PASSWORD, **more):
        answer = self.ask("POST", "/api/v1/auth/login", json={"name": name, "password": password}, **more)
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        granted = answer.json()
        if hasattr(self, "secrets"):
            self.secrets += [granted["access_token"], granted["refresh_token"]]
        return granted

    def ask(self, method, path, token=None, headers=None, **more):
        headers = dict(headers or {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return requests.request(method, self.url(path), headers=headers, timeout=PATIENCE_S, allow_redirects=False, **more)

    def status(self, token, path=STUDIES):
        return self.ask("GET", path, token=token).status_code


def without_credentials(attacked):
    for path in (STUDIES, "/api/v1/studies", "/metrics", "/api/v1/auth/me"):
        answer = attacked.ask("GET", path)
        equal(f"status of {path}", answer.status_code, 401)
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="'), answer.headers
        equal("type", answer.json()["type"].rsplit(":", 1)[1], "log-in-needed")


def encoded(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(part):
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def forged_tokens(attacked):
    good = attacked.log_in()["access_token"]
    head, claims, signature = good.split(".")
    equal("status of a good one", attacked.status(good), 200)
    header, body = decoded(head), decoded(claims)
    keys = attacked.ask("GET", "/api/v1/auth/jwks").json()
    public = json.dumps(keys["keys"][0]).encode()
    raw = base64.urlsafe_b64decode(keys["keys"][0]["x"] + "==")
    older = encoded(body | {"exp": body["exp"] + 10**6})

    def with_secret(secret):
        signed = f"{encoded(header | {'alg': 'HS256'})}.{claims}"
        return f"{signed}.{encoded(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"

    forged = {
        "a longer life": f"{head}.{older}.{signature}",
        "no signature": f"{head}.{claims}.",
        "half of it": f"{head}.{claims}",
        "a signature of another": f"{head}.{claims}.{encoded(bytes(64))}",
        "a key of one's own": f"{encoded(header | {'jwk': keys['keys'][0], 'kid': '../../../../dev/null'})}.{claims}.{signature}",
        "a key from elsewhere": f"{encoded(header | {'jku': 'http://127.0.0.1:9/jwks', 'x5u': 'http://127.0.0.1:9/'})}.{claims}.{signature}",
        "the public key as a secret": with_secret(public),
        "the bytes of the public key as a secret": with_secret(raw),
        "nothing at all": "..",
        "an API key that is none": "rk_1_2",
        "a very long one": "a" * 20_000 + ".b.c",
    }
    for alg in ("none", "None", "nOnE", ""):
        for end in ("", signature):
            forged[f"alg {alg!r}, signature {end[:3]!r}"] = f"{encoded({'alg': alg, 'typ': 'JWT'})}.{claims}.{end}"
    for name, token in forged.items():
        answer = attacked.ask("GET", STUDIES, token=token)
        equal(f"status of {name}", answer.status_code, 401)
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"], name


def replayed_tokens(attacked):
    first = attacked.log_in()
    second = attacked.ask("POST", "/api/v1/auth/refresh", json={"refresh_token": first["refresh_token"]})
    equal("status of a refresh", second.status_code, 200)
    again = attacked.ask("POST", "/api/v1/auth/refresh", json={"refresh_token": first["refresh_token"]})
    equal("status of the same again", again.status_code, 401)
    for token in (first["access_token"], second.json()["access_token"]):
        wait_for_status(attacked, token, 401)
    thief = attacked.ask("POST", "/api/v1/auth/refresh", json={"refresh_token": second.json()["refresh_token"]})
    equal("status of what was made of it", thief.status_code, 401)


def wait_for_status(attacked, token, wanted):
    """What another server ended is known after auth.token_recheck_s."""
    deadline = time.monotonic() + PATIENCE_S
    while attacked.status(token) != wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    equal("status", attacked.status(token), wanted)


def ended_session(attacked):
    granted = attacked.log_in()
    equal("status before", attacked.status(granted["access_token"]), 200)
    answer = attacked.ask("POST", "/api/v1/auth/logout", token=granted["access_token"])
    assert answer.ok, answer.text
    wait_for_status(attacked, granted["access_token"], 401)


def session_fixation(attacked):
    """A log-in is a new session, whatever the browser brought along."""
    planted = attacked.log_in()
    cookies = {"session": planted["access_token"], "refresh_token": planted["refresh_token"]}
    own = attacked.log_in(token=planted["access_token"], cookies=cookies)
    assert decoded(planted["access_token"].split(".")[1])["sid"] != decoded(own["access_token"].split(".")[1])["sid"]
    equal("status with cookies alone", attacked.ask("GET", STUDIES, cookies=cookies).status_code, 401)
    equal("status with the token in the URL", attacked.ask("GET", f"{STUDIES}?access_token={own['access_token']}").status_code, 401)


def two_proofs(attacked):
    token = attacked.log_in()["access_token"]
    answer = attacked.ask("GET", STUDIES, token=token, headers={"X-Api-Key": "rk_1_2"})
    equal("status", answer.status_code, 400)


def climbing_paths(attacked):
    token = attacked.log_in()["access_token"]
    for path in ("/dicom-web/../../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/api/v1/../../etc/passwd",
                 "/dicom-web/studies/..%2f..%2f..%2fetc%2fpasswd/metadata", "/api/v1/reports/..%2f..%2fetc%2fpasswd",
                 "/api/v1/reports/%2e%2e/%2e%2e/etc/passwd", "/api/v1/reports/..%5c..%5cwindows", "//etc/passwd",
                 "/api/v1/studies/1.2%00.3", "/docs/..%2f..%2fetc%2fpasswd", "/api/v1/docs/../../../etc/passwd"):
        answer = raw(attacked, f"GET {path} HTTP/1.1", "Host: h", f"Authorization: Bearer {token}")
        assert status_of(answer) in (400, 404), f"{path}: {answer[:200]!r}"
        assert b"root:" not in answer, path


INJECTIONS = ("' or '1'='1", "1'; drop table study; --", "\" or \"\"=\"", "1) or 1=1 --", "%' union select * from account --", "\\'; vacuum;")


def sql(attacked):
    token = attacked.log_in()["access_token"]
    for text in INJECTIONS:
        for path in (STUDIES, "/api/v1/studies", "/api/v1/jobs", "/api/v1/audit", "/api/v1/users", "/api/v1/exports"):
            for name in ("PatientID", "limit", "sort", "cursor", "fields", "search", "includefield", "state"):
                answer = attacked.ask("GET", path, token=token, params={name: text})
                assert answer.status_code < 500, f"{path} {name}={text}: {answer.status_code} {answer.text}"
        answer = attacked.ask("GET", f"/api/v1/studies/{requests.utils.quote(text, safe='')}", token=token)
        assert answer.status_code in (400, 404), answer.status_code
        answer = attacked.ask("POST", "/api/v1/auth/login", json={"name": text, "password": text})
        assert answer.status_code in (401, 422), f"{text}: {answer.status_code} {answer.text}"
    equal("status afterwards", attacked.status(token, "/api/v1/studies"), 200)


def line_breaks(attacked):
    """Nothing of a request becomes a header of its answer."""
    token = attacked.log_in()["access_token"]
    for path in (f"{STUDIES}?includefield=a%0d%0aX-Evil:%201", "/api/v1/studies/1%0d%0aX-Evil:%201", f"{STUDIES}?limit=1%0d%0aX-Evil:%201"):
        answer = raw(attacked, f"GET {path} HTTP/1.1", "Host: h", f"Authorization: Bearer {token}")
        assert b"x-evil" not in answer.split(b"\r\n\r\n")[0].lower(), answer
    for header in ("X-Request-Id: a\rX-Evil: 1", "Origin: https://viewer.example\rX-Evil: 1", "X-Request-Id: evil"):
        answer = raw(attacked, f"GET {STUDIES} HTTP/1.1", "Host: h", f"Authorization: Bearer {token}", header)
        assert b"evil" not in answer.split(b"\r\n\r\n")[0].lower(), answer


def hostile_json(attacked):
    token = attacked.log_in()["access_token"]
    bodies = {
        "large": json.dumps({"name": "a" * 20_000_000}),
        "deep": "[" * 500_000,
        "deep objects": '{"a":' * 200_000 + "1" + "}" * 200_000,
        "many members": "{" + ",".join(f'"k{n}":1' for n in range(300_000)) + "}",
        "no JSON": "{",
        "a number without end": '{"name":' + "9" * 100_000 + "}",
        "twice the same": '{"name":"a","name":"b","password":"c"}',
        "half a surrogate": '{"name":"\\ud800","password":"c"}',
    }
    for name, body in bodies.items():
        for path, shown in (("/api/v1/auth/login", None), ("/api/v1/users", token)):
            try:
                answer = attacked.ask("POST", path, token=shown, data=body, headers={"Content-Type": "application/json"})
            except requests.ConnectionError:
                continue  # Closed while the client still sends: nothing was taken.
            assert answer.status_code in (400, 401, 413, 415, 422), f"{name} at {path}: {answer.status_code} {answer.text[:200]}"
    growth = attacked.server.status_kb("VmHWM")
    assert growth < 1 << 20, f"{growth} kB in memory"


def slow_log_ins(attacked):
    """Secrets are not waited for without end."""
    head = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
    with connection(attacked.server) as opened:
        opened.sendall(head + b"Connection: close\r\n\r\n{")
        equal("status of a slow body", status_of(read_to_end(opened)), 408)
    with connection(attacked.server) as opened:
        opened.sendall(head)
        answer = read_to_end(opened)
        assert answer == b"" or status_of(answer) == 408, answer
    with connection(attacked.server) as opened:
        opened.sendall(b"P")
        equal("words to one letter", read_to_end(opened), b"")


def other_sites(attacked):
    """CSRF: a browser adds basic authentication and cookies by itself, tokens never."""
    basic = {"auth": (NAME, PASSWORD)}
    body = {"data": "{}", "headers": {"Origin": EVIL, "Content-Type": "text/plain"}}
    equal("a page of another origin", attacked.ask("POST", "/api/v1/users", **basic, **body).status_code, 403)
    fetched = {"headers": {"Sec-Fetch-Site": "cross-site"}}
    equal("another site", attacked.ask("DELETE", f"{STUDIES}/1.2", **basic, **fetched).status_code, 403)
    equal("a log-in from elsewhere", attacked.ask("POST", "/api/v1/auth/login", json={}, headers={"Origin": EVIL}).status_code, 403)
    read = attacked.ask("GET", STUDIES, **basic, headers={"Origin": EVIL})
    assert "Access-Control-Allow-Origin" not in read.headers, read.headers
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    known = attacked.ask("OPTIONS", STUDIES, headers={"Origin": "https://viewer.example"} | asked)
    equal("a viewer that is known", known.headers["Access-Control-Allow-Origin"], "https://viewer.example")
    equal("what it may send", known.headers["Access-Control-Allow-Headers"], "authorization")
    assert "Access-Control-Allow-Credentials" not in known.headers, known.headers
    stranger = attacked.ask("OPTIONS", STUDIES, headers={"Origin": f"{EVIL}.viewer.example"} | asked)
    assert "Access-Control-Allow-Origin" not in stranger.headers, stranger.headers


def median_of_log_ins(attacked, name):
    def one():
        begun = time.perf_counter()
        answer = attacked.ask("POST", "/api/v1/auth/login", json={"name": name, "password": "wrong" * 4})
        equal("status", answer.status_code, 401)
        return time.perf_counter() - begun

    return statistics.median(one() for _ in range(25))


def timing_of_log_ins(attacked):
    """Generous: what must not be is that an unknown name costs no hash."""
    known, unknown = median_of_log_ins(attacked, NAME), median_of_log_ins(attacked, "nobody")
    assert 0.5 < known / unknown < 2, f"{known:.4f} s for a name that exists, {unknown:.4f} s for one that does not"


def other_methods(attacked):
    """A method is what the request line says."""
    token = attacked.log_in()["access_token"]
    for header in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        answer = attacked.ask("GET", STUDIES, token=token, headers={header: "DELETE"})
        equal(header, answer.status_code, 200)
    equal("_method", attacked.ask("POST", "/api/v1/studies?_method=DELETE", token=token).status_code, 405)
    for method in ("TRACE", "CONNECT", "PROPFIND", "FOO"):
        answer = raw(attacked, f"{method} /api/v1/studies HTTP/1.1", "Host: h", f"Authorization: Bearer {token}")
        assert status_of(answer) in (400, 405, 501), f"{method}: {answer[:100]!r}"


def other_hosts(attacked):
    """Hosts that are none are not repeated, and who is no trusted proxy names no host at all."""
    token = attacked.log_in()["access_token"]
    for line in ("Host: evil\"x", "Host: user@evil", "Host: h\r\nX-Forwarded-Host: evil", "Host: h\r\nForwarded: host=evil;proto=https",
                 "Host: evil.example"):
        answer = raw(attacked, "GET /api/v1/studies HTTP/1.1", line, f"Authorization: Bearer {token}")
        assert b"evil" not in answer, answer[:400]
    answer = raw(attacked, "GET /api/v1/studies HTTP/1.1", f"Authorization: Bearer {token}")
    equal("without a host", status_of(answer), 400)


SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"


def smuggling(attacked):
    """Whoever reads two lengths must not read two requests: refused, or one answer for the whole."""
    post = "POST /api/v1/auth/login HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
    chunked = f"0\r\n\r\n{SMUGGLED}"
    for name, request in {
        "two lengths": f"{post}Content-Length: 0\r\nContent-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
        "a list of lengths": f"{post}Content-Length: 0, {len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
        "a length with a sign": f"{post}Content-Length: +{len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
        "a length in hexadecimal": f"{post}Content-Length: 0x10\r\n\r\n{SMUGGLED}",
        "a coding that is none": f"{post}Transfer-Encoding: xchunked\r\n\r\n{chunked}",
        "chunked and another": f"{post}Transfer-Encoding: chunked, identity\r\n\r\n{chunked}",
        "a space before the colon": f"{post}Transfer-Encoding : chunked\r\n\r\n{chunked}",
        "a folded header": f"{post}Transfer-Encoding:\r\n chunked\r\n\r\n{chunked}",
        "a chunk of a negative size": f"{post}Transfer-Encoding: chunked\r\n\r\n-1\r\n{SMUGGLED}",
        "a chunk of too large a size": f"{post}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n{SMUGGLED}",
    }.items():
        with connection(attacked.server) as opened:
            opened.sendall(request.encode())
            with suppress(OSError):
                opened.shutdown(socket.SHUT_WR)
            answer = read_to_end(opened)
        equal(f"{name}: answers to what was smuggled", answer.count(b"unknown-path"), 0)
        assert answer == b"" or status_of(answer) in (400, 401, 403, 411, 413, 501), f"{name}: {answer[:100]!r}"
    both = f"{post}Content-Length: {len(chunked)}\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"
    with connection(attacked.server) as opened:
        opened.sendall(both.encode())
        with suppress(OSError):
            opened.shutdown(socket.SHUT_WR)
        equal("both lengths: answers to what was smuggled", read_to_end(opened).count(b"unknown-path"), 0)


def basic_authentication(attacked):
    """Over loopback, as over TLS; a wrong one is asked for again, and a script is not."""
    equal("right", attacked.ask("GET", STUDIES, auth=(NAME, PASSWORD)).status_code, 200)
    wrong = attacked.ask("GET", STUDIES, auth=(NAME, "wrong"))
    equal("wrong", wrong.status_code, 401)
    assert "Basic realm=" in wrong.headers["WWW-Authenticate"], wrong.headers
    script = attacked.ask("GET", STUDIES, headers={"Sec-Fetch-Dest": "empty"})
    assert "Basic" not in script.headers["WWW-Authenticate"], script.headers


CHECKS = {
    "nothing without credentials": without_credentials,
    "forged tokens": forged_tokens,
    "tokens used again": replayed_tokens,
    "an ended session": ended_session,
    "a session fixed before the log-in": session_fixation,
    "two proofs at once": two_proofs,
    "basic authentication": basic_authentication,
    "paths that climb": climbing_paths,
    "SQL in every text": sql,
    "line breaks in what is echoed": line_breaks,
    "hostile JSON": hostile_json,
    "slow log-ins": slow_log_ins,
    "pages of other sites": other_sites,
    "the time of a log-in": timing_of_log_ins,
    "other methods": other_methods,
    "other hosts": other_hosts,
    "requests in requests": smuggling,
}


def of_another_audience(attacked, token):
    equal("status", attacked.status(token), 401)


def expired(attacked, _token):
    token = attacked.log_in()["access_token"]
    equal("status at first", attacked.status(token), 200)
    wait_for_status(attacked, token, 401)


def too_many(attacked, _token):
    statuses = [attacked.ask("GET", STUDIES).status_code for _ in range(8)]
    assert 429 in statuses, statuses
    answer = attacked.ask("GET", STUDIES)
    assert int(answer.headers["Retry-After"]) >= 1, answer.headers
    assert re.fullmatch(r'"address";q=5;w=\d+', answer.headers["RateLimit-Policy"]), answer.headers
    assert re.fullmatch(r'"address";r=0;t=\d+', answer.headers["RateLimit"]), answer.headers
    for _ in range(8):
        equal("a probe", attacked.ask("GET", "/healthz").status_code, 200)


RESTARTED = {
    "a token of another audience": ({"auth.audience": "elsewhere"}, of_another_audience),
    "an expired token": ({"auth.access_token_s": "3"}, expired),
    "too many requests": ({"http.rate_limits.exempt": "[]", "http.rate_limits.address_burst": "5", "http.rate_limits.address_per_s": "1"}, too_many),
}


def over_tls(binary, folder):
    assert shutil.which("openssl"), "openssl is not installed"
    pem, key = folder / "server.pem", folder / "server.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
               "-keyout", str(key), "-out", str(pem), "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    port = free_port()
    keys = KEYS | {"http.tls.listen": f"127.0.0.1:{port}", "http.tls.certificate": str(pem), "http.tls.key": str(key)}
    with Server(binary, folder / "data", keys):
        answer = requests.get(f"https://127.0.0.1:{port}{STUDIES}", auth=(NAME, PASSWORD), verify=str(pem), timeout=PATIENCE_S)
        equal("status", answer.status_code, 200)
        assert answer.headers["Strict-Transport-Security"].startswith("max-age="), answer.headers
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as opened:
            opened.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
            assert not read_to_end(opened).startswith(b"HTTP"), "an answer in the clear"
        equal("protocol", negotiated(port, "-tls1_2", "-alpn", "h2"), True)
        equal("TLS 1.1", negotiated(port, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), False)


def negotiated(port, *options):
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=PATIENCE_S, check=False)
    return b"ALPN protocol: h2" in done.stdout


def raw(attacked, *lines):
    with connection(attacked.server) as opened:
        opened.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1"))
        return read_to_end(opened)


def status_of(answer):
    assert answer.startswith(b"HTTP/1.1 "), f"no answer: {answer[:80]!r}"
    return int(answer.split(b" ", 2)[1])
