"""Log-in at an OpenID Connect provider that lies, stalls or changes its keys: what it signs is made by PyJWT.

Each lie is one log-in whose ID token, or whose answer, is wrong in one thing alone; the same log-in without the lie
is let in (OpenID Connect Core 1.0, 3.1.3.7)."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from .authentication import GUARDED
from .guarded import Guarded
from .oidc import callback, cookies, leave
from .tally import equal

CLIENT = "radiant"
SECRET = "a secret of two"
TIMEOUT_S = 2
# Keys are asked for again after this time, and not before.
KEYS_AGAIN_S = 30
DRIPS = 100
ENDLESS = object()


class Key:
    """A key of a provider, and how it is published."""

    def __init__(self, kid, algorithm):
        self.kid, self.algorithm = kid, algorithm
        rsa_key = algorithm == "RS256"
        self.private = rsa.generate_private_key(65537, 2048) if rsa_key else ec.generate_private_key(ec.SECP256R1())
        self.form = RSAAlgorithm if rsa_key else ECAlgorithm

    def published(self):
        shown = json.loads(self.form.to_jwk(self.private.public_key()))
        return shown | {"kid": self.kid, "alg": self.algorithm, "use": "sig"}

    def public_pem(self):
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, claims, **header):
        headers = {"kid": self.kid} | header
        return jwt.encode(claims, self.private, self.algorithm, {name: text for name, text in headers.items() if text})


class Liar:
    """A provider that answers as it is told to."""

    def __init__(self):
        self.keys = [Key("first", "RS256")]
        self.description, self.token_answer, self.keys_answer = {}, b"", None
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Pages", (Pages,), {"liar": self}))
        self.issuer = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def described(self):
        ends = {name: f"{self.issuer}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
        return {"issuer": self.issuer} | ends | self.description

    def page(self, path):
        if path == "/.well-known/openid-configuration":
            return json.dumps(self.described()).encode()
        if path == "/jwks_uri":
            truth = json.dumps({"keys": [key.published() for key in self.keys]}).encode()
            return self.keys_answer or truth
        return self.token_answer

    def claims(self, nonce, /, **lies):
        now = int(time.time())
        truth = {"iss": self.issuer, "aud": CLIENT, "sub": "1-2-3", "nonce": nonce, "iat": now, "exp": now + 300,
                 "preferred_username": "lia", "name": "Lia", "groups": ["readers"]}
        return {name: said for name, said in (truth | lies).items() if said is not None}

    def grant(self, token):
        granted = {"access_token": "x", "token_type": "Bearer", "expires_in": 300, "id_token": token}
        self.token_answer = json.dumps(granted).encode()


class Pages(BaseHTTPRequestHandler):
    liar = None

    def do_GET(self):
        answer = self.liar.page(urlsplit(self.path).path)
        if answer is ENDLESS:
            self.drip()
        elif isinstance(answer, int):
            self.send_error(answer)
        else:
            self.begin(len(answer))
            self.wfile.write(answer)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def begin(self, length):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def drip(self):
        self.begin(DRIPS)
        try:
            for _ in range(DRIPS):
                self.wfile.write(b" ")
                time.sleep(0.2)
        except OSError:
            pass

    def log_message(self, *_):
        pass


def run(context, tally):
    folder = context.folder("oidc-lies")
    liar, secret = Liar(), folder.parent / "oidc-lies-secret"
    secret.write_text(f"{SECRET}\n")
    keys = {
        **GUARDED,
        "auth.oidc.issuer": liar.issuer,
        "auth.oidc.client_id": CLIENT,
        "auth.oidc.client_secret_file": str(secret),
        "auth.oidc.roles_claim": "groups",
        "auth.oidc.roles": '[{ value = "readers", role = "radiologist" }]',
        "auth.oidc.unknown_users": "create",
        "auth.oidc.timeout_s": str(TIMEOUT_S),
    }
    try:
        with Guarded(context.binary, folder, keys) as server:
            checks(server, liar, tally)
    finally:
        liar.http.shutdown()


def checks(server, liar, tally):
    with tally.check("oidc-lies: keys that are too large or cannot be read let nobody leave, until they are well again"):
        check_keys(server, liar)
    with tally.check("oidc-lies: the description of another issuer is believed by nobody"):
        check_other_issuer(server, liar)
    for what, token in lies(liar).items():
        with tally.check(f"oidc-lies: {what} lets nobody in"):
            refused(server, liar, token, 401)
    with tally.check("oidc-lies: a code that the provider refuses lets nobody in"):
        liar.token_answer = b"{}"
        equal("no token", back(server, leave(server)).status_code, 401)
    for what, answer in {"an error": 500, "garbage": b"<html>", "a megabyte": b" " * (1 << 20), "no end": ENDLESS}.items():
        with tally.check(f"oidc-lies: {what} from the token endpoint is told as its fault, in bounded time"):
            check_endpoint(server, liar, answer)
    with tally.check("oidc-lies: nobody has come in, and no user was made"):
        equal("users", [user["name"] for user in users(server)], [server.administrator.name])
    with tally.check("oidc-lies: the truth lets in, by RSA and by an elliptic curve, and for further audiences"):
        check_truth(server, liar)
    with tally.check("oidc-lies: a state is good once, and for the browser that has it"):
        check_state(server, liar)
    with tally.check("oidc-lies: a key that is new is asked for, and one that is withdrawn is no longer good"):
        check_rotation(server, liar)


def lies(liar):
    """What makes a token of a nonce, by what is wrong with it."""
    def with_claims(**wrong):
        return lambda nonce: liar.keys[0].sign(liar.claims(nonce, **wrong))
    now, key = int(time.time()), liar.keys[0]
    stranger = Key(key.kid, "RS256")
    return {
        "another nonce": with_claims(nonce="another"),
        "no nonce": with_claims(nonce=None),
        "another audience": with_claims(aud="others"),
        "no audience": with_claims(aud=None),
        "a further audience without an authorized party": with_claims(aud=[CLIENT, "others"]),
        "another authorized party": with_claims(azp="others"),
        "another issuer": with_claims(iss="http://127.0.0.1:1"),
        "no issuer": with_claims(iss=None),
        "a token of yesterday": with_claims(exp=now - 86_400),
        "a token without an end": with_claims(exp=None),
        "a token of tomorrow": with_claims(nbf=now + 86_400),
        "no subject": with_claims(sub=None),
        "an empty subject": with_claims(sub=""),
        "a signature that is none": lambda nonce: jwt.encode(liar.claims(nonce), None, "none", {"kid": key.kid}),
        "the client's secret as key": lambda nonce: jwt.encode(liar.claims(nonce), SECRET * 3, "HS256", {"kid": key.kid}),
        "the public key as secret": lambda nonce: by_public_key(liar, nonce),
        "the key of a stranger": lambda nonce: stranger.sign(liar.claims(nonce)),
        "a key that is not published": lambda nonce: stranger.sign(liar.claims(nonce), kid="unknown"),
        "a broken signature": lambda nonce: broken(key.sign(liar.claims(nonce))),
        "changed claims": lambda nonce: changed(key.sign(liar.claims(nonce, groups=[])), liar.claims(nonce)),
        "what is no token": lambda _: "a.b.c",
    }


def by_public_key(liar, nonce):
    """The confusion of algorithms: PyJWT will not sign so by itself."""
    class Careless(jwt.algorithms.HMACAlgorithm):
        def prepare_key(self, key):
            return key
    signer = jwt.PyJWS()
    signer.unregister_algorithm("HS256")
    signer.register_algorithm("HS256", Careless(Careless.SHA256))
    claims = json.dumps(liar.claims(nonce)).encode()
    return signer.encode(claims, liar.keys[0].public_pem(), "HS256", {"kid": liar.keys[0].kid})


def broken(token):
    head, body, signature = token.split(".")
    return f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


def changed(token, claims):
    head, _, signature = token.split(".")
    return f"{head}.{jwt.utils.base64url_encode(json.dumps(claims).encode()).decode()}.{signature}"


def asked(away):
    equal("away", away.status_code, 303)
    return {name: values[0] for name, values in parse_qs(urlsplit(away.headers["Location"]).query).items()}


def back(server, away, kept=None):
    query = urlencode({"state": asked(away)["state"], "code": "any"})
    return callback(f"{server.base}/api/v1/auth/oidc/callback?{query}", cookies(away) if kept is None else kept)


def logged_in(server, liar, token):
    """The answer to a browser that comes back with what `token` makes of its nonce."""
    away = leave(server)
    liar.grant(token(asked(away)["nonce"]))
    return back(server, away)


def refused(server, liar, token, status):
    answer = logged_in(server, liar, token)
    equal("status", answer.status_code, status)
    assert "radiant-refresh" not in cookies(answer), "a session was begun"
    equal("problem", answer.headers["Content-Type"], "application/problem+json")


def truth(liar, key, **said):
    return lambda nonce: key.sign(liar.claims(nonce, **said))


def users(server):
    return server.administrator.api("GET", "users")[0]["items"]


def check_keys(server, liar):
    for wrong in (b'{"keys": [' + b" " * (1 << 20) + b"]}", b"garbage", 500):
        liar.keys_answer = wrong
        equal("away", leave(server).status_code, 502)
    liar.keys_answer = None
    equal("well again", leave(server).status_code, 303)


def check_other_issuer(server, liar):
    server.stop()
    server.start()
    liar.description = {"issuer": "http://127.0.0.1:1"}
    equal("away", leave(server).status_code, 401)
    liar.description = {}
    equal("well again", leave(server).status_code, 303)


def check_endpoint(server, liar, answer):
    away = leave(server)
    liar.token_answer = answer
    begin = time.monotonic()
    equal("status", back(server, away).status_code, 502)
    took = time.monotonic() - begin
    assert took < 10 * TIMEOUT_S, f"{took:.0f} s"


def check_truth(server, liar):
    first, curve = liar.keys[0], Key("curve", "ES256")
    equal("RSA", logged_in(server, liar, truth(liar, first)).status_code, 303)
    both = truth(liar, first, aud=[CLIENT, "others"], azp=CLIENT)
    equal("further audience", logged_in(server, liar, both).status_code, 303)
    liar.keys = [first, curve]
    time.sleep(KEYS_AGAIN_S + 1)
    equal("elliptic curve", logged_in(server, liar, truth(liar, curve)).status_code, 303)
    equal("RSA beside it", logged_in(server, liar, truth(liar, first)).status_code, 303)
    nameless = lambda nonce: first.sign(liar.claims(nonce), kid=None)  # noqa: E731
    equal("which of two it is by is not said", logged_in(server, liar, nameless).status_code, 401)
    equal("users", {user["name"] for user in users(server)}, {server.administrator.name, "lia"})


def check_state(server, liar):
    away, other = leave(server), leave(server)
    liar.grant(truth(liar, liar.keys[0])(asked(away)["nonce"]))
    equal("another browser", back(server, away, cookies(other)).status_code, 401)
    away = leave(server)
    liar.grant(truth(liar, liar.keys[0])(asked(away)["nonce"]))
    equal("once", back(server, away).status_code, 303)
    equal("twice", back(server, away).status_code, 401)


def check_rotation(server, liar):
    withdrawn, fresh = liar.keys[0], Key("fresh", "RS256")
    liar.keys = [fresh]
    time.sleep(KEYS_AGAIN_S + 1)
    equal("fresh", logged_in(server, liar, truth(liar, fresh)).status_code, 303)
    equal("withdrawn", logged_in(server, liar, truth(liar, withdrawn)).status_code, 401)
