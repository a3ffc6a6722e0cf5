"""Who comes in: the first secret, log-in, tokens and their refresh, sessions, waits, keys, forgeries, the command line.

Access tokens are verified by PyJWT with the published keys, and forged with it."""

import base64
import hmac
import json
import re
import stat
import statistics
import subprocess
import time

import jwt
import requests

from .server import WITHOUT_ANALYSIS, Server, environment, index_of
from .tally import equal

GUARDED = {
    **WITHOUT_ANALYSIS,
    "auth.mode": "on",
    "auth.argon2_memory_kib": "1024",
    "auth.argon2_passes": "1",
    "auth.token_recheck_s": "1",
    "auth.failures_of_address_free": "500",
    "auth.backoff_first_s": "4",
    "auth.name_slowed_max_s": "1",
}
PASSWORD = "an entirely new secret"
PATIENCE_S = 20


def run(context, tally):
    folder = context.folder("authentication")
    with Server(context.binary, folder, GUARDED) as server:
        api = Api(server)
        with tally.check("authentication: nothing is open without a log-in but what has to be"):
            check_closed(api)
        with tally.check("authentication: the first secret is in one file for its owner, and goes when it is changed"):
            check_first(api, folder)
        with tally.check("authentication: PyJWT verifies a token by the published keys, claim by claim"):
            check_claims(api)
        with tally.check("authentication: forged and foreign tokens are refused"):
            check_forged(api)
        with tally.check("authentication: a refresh token is good once, and its reuse ends the session"):
            check_refresh(api)
        with tally.check("authentication: a cookie is for browsers alone, and needs its header"):
            check_cookie(api)
        with tally.check("authentication: sessions are listed and ended, one's own and others'"):
            check_sessions(api)
        with tally.check("authentication: users are changed by who read them, and the last administrator stays"):
            check_users(api)
        with tally.check("authentication: who fails too often waits, known or not"):
            check_waits(api)
        with tally.check("authentication: strangers keep nobody out by his name"):
            check_strangers(api)
        with tally.check("authentication: a wrong name takes as long as a wrong password"):
            check_timing(api)
        with tally.check("authentication: keys of devices: shown once, bounded, revoked"):
            check_keys(api)
        with tally.check("authentication: a shown password is fresh again"):
            check_confirm(api)
        with tally.check("authentication: accounts by the command line, beside the running server"):
            check_command_line(context, api, folder)
        with tally.check("authentication: no secret in the log"):
            check_log(api, server)


class Api:
    """Requests that are answered as they are, with every secret that was seen."""

    def __init__(self, server):
        self.server, self.base, self.secrets = server, f"{server.base}/api/v1", set()
        self.admin = None

    def call(self, method, path, token=None, body=None, headers=None):
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return requests.request(method, f"{self.base}/{path}", json=body, headers=headers, timeout=60)

    def log_in(self, name, password, **more):
        self.secrets.add(password)
        answer = self.call("POST", "auth/login", body={"name": name, "password": password, **more})
        if answer.status_code == 200:
            self.secrets |= {value for key, value in answer.json().items() if key.endswith("_token") and value}
        return answer

    def user(self, name, role):
        """A new user who has changed the first password."""
        made = self.call("POST", "users", self.admin, {"name": name, "display_name": name, "roles": [role]})
        equal(f"create {name}", made.status_code, 201)
        first = made.json()["password"]
        token = self.log_in(name, first).json()["access_token"]
        change = self.call("POST", "auth/password", token, {"old": first, "new": PASSWORD})
        equal("change the first password", change.status_code, 204)
        return made.json()["id"]


def check_closed(api):
    equal("users", api.call("GET", "users").status_code, 401)
    equal("me", api.call("GET", "auth/me").status_code, 401)
    equal("challenge", "WWW-Authenticate" in api.call("GET", "users").headers, True)
    equal("QIDO-RS", requests.get(f"{api.server.web}/studies", timeout=60).status_code, 401)
    equal("keys", api.call("GET", "auth/jwks").status_code, 200)


def check_first(api, folder):
    file = folder / "first-administrator"
    equal("mode", stat.S_IMODE(file.stat().st_mode), 0o600)
    said = dict(line.split(": ", 1) for line in file.read_text().splitlines())
    api.secrets.add(said["secret"])
    answer = api.log_in(said["name"], said["secret"])
    equal("log-in", (answer.status_code, answer.json()["must_change_password"]), (200, True))
    equal("kept by nobody", answer.headers["Cache-Control"], "no-store")
    token = answer.json()["access_token"]
    equal("before the change", api.call("GET", "users", token).status_code, 403)
    for bad in ("short", said["secret"], said["name"]):
        refused = api.call("POST", "auth/password", token, {"old": said["secret"], "new": bad})
        equal(f"{bad[:5]} as a new password", refused.status_code, 422)
    changed = api.call("POST", "auth/password", token, {"old": said["secret"], "new": PASSWORD})
    equal("change", changed.status_code, 204)
    equal("the file is gone", file.exists(), False)
    api.admin = api.log_in("admin", PASSWORD).json()["access_token"]
    equal("after the change", api.call("GET", "users", api.admin).status_code, 200)


def signing_key(api, token):
    keys = jwt.PyJWKSet.from_dict(api.call("GET", "auth/jwks").json())
    return keys[jwt.get_unverified_header(token)["kid"]].key


def check_claims(api):
    header = jwt.get_unverified_header(api.admin)
    equal("header", (header["alg"], header["typ"]), ("EdDSA", "at+jwt"))
    needed = ["exp", "nbf", "iat", "iss", "aud", "sub", "jti", "sid", "roles", "auth_time"]
    claims = jwt.decode(
        api.admin,
        signing_key(api, api.admin),
        algorithms=["EdDSA"],
        audience="radiant",
        issuer="radiant",
        options={"require": needed},
    )
    equal("lifetime", claims["exp"] - claims["iat"], 600)
    me = api.call("GET", "auth/me", api.admin).json()
    equal("subject", (claims["sub"], claims["sid"]), (me["user"]["id"], me["session"]))
    equal("roles", (claims["roles"], me["roles"]), (["administrator"], ["administrator"]))


def check_forged(api):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    head, body, signature = api.admin.split(".")
    claims, header = jwt.decode(api.admin, options={"verify_signature": False}), jwt.get_unverified_header(api.admin)
    public = base64.urlsafe_b64decode(api.call("GET", "auth/jwks").json()["keys"][0]["x"] + "=")
    stranger = Ed25519PrivateKey.generate()

    def encoded(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    def none(alg):
        return f"{encoded({**header, 'alg': alg})}.{body}."

    def by_hmac():
        """What a verifier takes that believes the header and has the public key as its secret."""
        plain = f"{encoded({**header, 'alg': 'HS256'})}.{body}"
        tag = hmac.digest(public, plain.encode(), "sha256")
        return f"{plain}.{base64.urlsafe_b64encode(tag).rstrip(b'=').decode()}"

    def signed(**changes):
        return jwt.encode({**claims, **changes}, stranger, "EdDSA", headers=header)

    forgeries = {
        "alg none": none("none"),
        "alg NONE": none("NONE"),
        "no signature": f"{head}.{body}.",
        "HMAC by the public key": by_hmac(),
        "another key": signed(),
        "more roles": signed(roles=["administrator", "radiologist"]),
        "another audience": signed(aud="other"),
        "expired": signed(exp=int(time.time()) - 1),
        "another subject": f"{head}.{encoded(claims | {'sub': 'x'})}.{signature}",
        "unknown key": jwt.encode(claims, stranger, "EdDSA", headers={**header, "kid": "nobody"}),
        "cut": api.admin[:-1],
        "garbage": "a.b.c",
        "long": "a" * 8000,
    }
    for name, token in forgeries.items():
        answer = api.call("GET", "auth/me", token)
        equal(name, answer.status_code, 401)
    equal("the true one", api.call("GET", "auth/me", api.admin).status_code, 200)
    in_url = requests.get(f"{api.base}/auth/me?access_token={api.admin}", timeout=60)
    equal("in the URL", in_url.status_code in (400, 401), True)


def check_refresh(api):
    first = api.log_in("admin", PASSWORD).json()
    second = refreshed(api, first["refresh_token"])
    equal("another token", second.json()["refresh_token"] != first["refresh_token"], True)
    equal("reuse", refreshed(api, first["refresh_token"]).status_code, 401)
    equal("the session is over", refreshed(api, second.json()["refresh_token"]).status_code, 401)
    equal("at once here", api.call("GET", "auth/me", second.json()["access_token"]).status_code, 401)
    equal("of nobody", refreshed(api, "x" * 43).status_code, 401)
    equal("an access token is none", refreshed(api, api.admin).status_code, 401)


def refreshed(api, token):
    answer = api.call("POST", "auth/refresh", body={"refresh_token": token})
    if answer.status_code == 200:
        api.secrets |= {answer.json()["refresh_token"], answer.json()["access_token"]}
    return answer


def check_cookie(api):
    answer = api.log_in("admin", PASSWORD, refresh_by="cookie")
    equal("not in the body", answer.json()["refresh_token"], None)
    cookie = answer.headers["Set-Cookie"]
    for word in ("HttpOnly", "Secure", "SameSite=Strict", "Path=/api/v1/auth/refresh"):
        equal(word, word in cookie, True)
    pair = cookie.split(";")[0]
    api.secrets.add(pair.split("=", 1)[1])
    # A request of a page of another site comes without the header.
    equal("forged", api.call("POST", "auth/refresh", headers={"Cookie": pair}).status_code, 403)
    guarded = {"Cookie": pair, "X-Requested-With": "page"}
    answer = api.call("POST", "auth/refresh", headers=guarded)
    equal("by cookie", (answer.status_code, answer.json().get("refresh_token")), (200, None))
    equal("a new cookie", answer.headers["Set-Cookie"].split(";")[0] != pair, True)
    equal("the old one", api.call("POST", "auth/refresh", headers=guarded).status_code, 401)


def check_sessions(api):
    api.user("sam", "viewer")
    [here, there] = [api.log_in("sam", PASSWORD).json() for _ in range(2)]
    own = api.call("GET", "sessions", here["access_token"]).json()["items"]
    equal("the current one", [one["id"] for one in own if one["current"]], [here["session"]])
    equal("both", {here["session"], there["session"]} <= {one["id"] for one in own}, True)
    equal("of others", api.call("GET", "sessions?user=all", here["access_token"]).status_code, 403)
    admins = api.call("GET", "auth/me", api.admin).json()["session"]
    equal("another's", api.call("DELETE", f"sessions/{admins}", here["access_token"]).status_code, 404)
    equal("own", api.call("DELETE", f"sessions/{there['session']}", here["access_token"]).status_code, 204)
    equal("ended", api.call("GET", "auth/me", there["access_token"]).status_code, 401)
    equal("its refresh token", refreshed(api, there["refresh_token"]).status_code, 401)
    equal("by an administrator", api.call("DELETE", f"sessions/{here['session']}", api.admin).status_code, 204)
    equal("ended too", api.call("GET", "auth/me", here["access_token"]).status_code, 401)
    left = api.log_in("sam", PASSWORD).json()
    equal("log-out", api.call("POST", "auth/logout", left["access_token"]).status_code, 204)
    equal("after it", api.call("GET", "auth/me", left["access_token"]).status_code, 401)


def check_users(api):
    eva = api.user("eva", "radiologist")
    token = api.log_in("eva", PASSWORD).json()["access_token"]
    equal("not hers to manage", api.call("GET", "users", token).status_code, 403)
    again = {"name": "EVA", "display_name": "x", "roles": ["viewer"]}
    equal("taken", api.call("POST", "users", api.admin, again).status_code, 409)
    equal("unknown field", api.call("POST", "users", api.admin, {**again, "x": 1}).status_code, 400)
    equal("no role", api.call("POST", "users", api.admin, {**again, "name": "y", "roles": []}).status_code, 422)
    etag = api.call("GET", f"users/{eva}", api.admin).headers["ETag"]
    change = {"disabled": True}
    equal("without If-Match", api.call("PATCH", f"users/{eva}", api.admin, change).status_code, 428)
    stale = api.call("PATCH", f"users/{eva}", api.admin, change, {"If-Match": '"x"'})
    equal("another version", stale.status_code, 412)
    done = api.call("PATCH", f"users/{eva}", api.admin, change, {"If-Match": etag})
    equal("disabled", (done.status_code, done.json()["disabled"]), (200, True))
    equal("her token", api.call("GET", "auth/me", token).status_code, 401)
    equal("her password", api.log_in("eva", PASSWORD).status_code, 401)
    me = api.call("GET", "auth/me", api.admin).json()["user"]["id"]
    etag = api.call("GET", f"users/{me}", api.admin).headers["ETag"]
    for method, body in (("PATCH", {"disabled": True}), ("PATCH", {"roles": ["viewer"]}), ("DELETE", None)):
        refused = api.call(method, f"users/{me}", api.admin, body, {"If-Match": etag})
        equal(f"the last administrator, {method}", refused.status_code, 409)


def check_waits(api):
    api.user("bob", "viewer")
    for name in ("bob", "nobody-of-that-name"):
        answers = [api.log_in(name, f"wrong {n}") for n in range(6)]
        equal(name, [answer.status_code for answer in answers], [401] * 5 + [429])
        equal("when", 1 <= int(answers[-1].headers["Retry-After"]) <= 4, True)
        kinds = {answer.json()["type"] for answer in answers[:5]}
        equal("one kind of answer", kinds, {"urn:radiant:problem:invalid-credentials"})
    equal("though it is right", api.log_in("bob", PASSWORD).status_code, 429)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and api.log_in("bob", PASSWORD).status_code != 200:
        time.sleep(0.5)
    equal("after the wait", api.log_in("bob", PASSWORD).status_code, 200)


class From(requests.adapters.HTTPAdapter):
    """Asks from another address of this machine."""

    def __init__(self, address):
        self.address = address
        super().__init__()

    def init_poolmanager(self, *arguments, **options):
        super().init_poolmanager(*arguments, source_address=(self.address, 0), **options)


def log_in_from(api, address, name, password):
    with requests.Session() as session:
        session.mount("http://", From(address))
        return session.post(f"{api.base}/auth/login", json={"name": name, "password": password}, timeout=60)


def check_strangers(api):
    api.user("kim", "viewer")
    for last in range(2, 8):
        statuses = [log_in_from(api, f"127.0.0.{last}", "kim", f"wrong {n}").status_code for n in range(6)]
        equal(f"a stranger at 127.0.0.{last}", statuses, [401] * 5 + [429])
    equal("kim", api.log_in("kim", PASSWORD).status_code, 200)
    equal("the last of them, with the password", log_in_from(api, f"127.0.0.{last}", "kim", PASSWORD).status_code, 429)


def check_timing(api):
    """A hash that is not computed would be an order of magnitude."""
    api.user("tim", "viewer")

    def took(name):
        began = time.perf_counter()
        equal(name, api.log_in(name, "wrong").status_code, 401)
        return time.perf_counter() - began

    known, unknown = [took("tim") for _ in range(4)], [took(f"nobody-{n}") for n in range(4)]
    ratio = statistics.median(known) / statistics.median(unknown)
    equal(f"the ratio {ratio:.2f} is near 1", 0.2 < ratio < 5, True)


def check_keys(api):
    wish = {"name": "CT 1", "role": "service", "permissions": ["store-objects"]}
    made = api.call("POST", "api-keys", api.admin, wish)
    equal("create", made.status_code, 201)
    key, about = made.json()["key"], made.json()["id"]
    api.secrets.add(key)
    equal("form", re.fullmatch(r"rk_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", key) is not None, True)
    shown = api.call("GET", f"api-keys/{about}", api.admin).text
    equal("shown once", key.split("_", 2)[2] in shown, False)
    for headers in ({"X-Api-Key": key}, {"Authorization": f"Bearer {key}"}):
        me = api.call("GET", "auth/me", headers=headers)
        equal("me", (me.status_code, me.json()["api_key"]["name"]), (200, "CT 1"))
        equal("only that", me.json()["permissions"], ["store-objects"])
        equal("not that", api.call("GET", "studies", headers=headers).status_code, 403)
    other = key[:-1] + ("A" if key[-1] != "A" else "B")
    equal("another secret", api.call("GET", "auth/me", headers={"X-Api-Key": other}).status_code, 401)
    beyond = {**wish, "permissions": ["manage-users"]}
    equal("beyond the role", api.call("POST", "api-keys", api.admin, beyond).status_code, 422)
    past = {**wish, "expires_at": "2020-01-01T00:00:00Z"}
    equal("in the past", api.call("POST", "api-keys", api.admin, past).status_code, 422)
    equal("revoke", api.call("DELETE", f"api-keys/{about}", api.admin).status_code, 204)
    equal("revoked", api.call("GET", "auth/me", headers={"X-Api-Key": key}).status_code, 401)
    equal("a key cannot confirm", api.call("POST", "auth/confirm", key, {"password": "x"}).status_code, 401)


def check_confirm(api):
    before = jwt.decode(api.admin, options={"verify_signature": False})["auth_time"]
    equal("wrong", api.call("POST", "auth/confirm", api.admin, {"password": "x"}).status_code, 401)
    time.sleep(1)
    answer = api.call("POST", "auth/confirm", api.admin, {"password": PASSWORD})
    equal("right", answer.status_code, 200)
    token = answer.json()["access_token"]
    api.secrets.add(token)
    equal("later", jwt.decode(token, options={"verify_signature": False})["auth_time"] > before, True)
    equal("fresh", api.call("GET", "auth/me", token).json()["is_fresh"], True)


def check_command_line(context, api, folder):
    def radiant(*arguments, stdin=""):
        command = [str(context.binary), "user", arguments[0], "--data-dir", str(folder), *arguments[1:]]
        keys = environment(GUARDED | index_of(folder))
        return subprocess.run(command, input=stdin, env=keys, capture_output=True, text=True, timeout=120)

    added = radiant("add", "night", "--role", "administrator")
    equal("add", added.returncode, 0)
    secret = re.search(r"log-in: (\S+)", added.stdout).group(1)
    equal("log-in", api.log_in("night", secret).json()["must_change_password"], True)
    equal("list", "night\tadministrator\tenabled" in radiant("list").stdout, True)
    changed = radiant("password", "night", "--password", "stdin", stdin="given by hand, line one\n")
    equal("password", changed.returncode, 0)
    equal("the new one", api.log_in("night", "given by hand, line one").status_code, 200)
    equal("disable", radiant("disable", "night").returncode, 0)
    equal("disabled", api.log_in("night", "given by hand, line one").status_code, 401)
    refused = radiant("disable", "admin")
    equal("the last administrator", (refused.returncode, "last administrator" in refused.stderr), (1, True))
    equal("unknown", radiant("password", "nobody").returncode, 1)


def check_log(api, server):
    log = server.log()
    found = [secret for secret in api.secrets if len(secret) > 8 and secret in log]
    equal("secrets in the log", found, [])
