"""Log-in at a real OpenID Connect provider, npm's `oidc-provider`: the code flow as a browser goes it, and what a forger tries.

The package is fetched into the cache when the suite runs."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import requests

from .authentication import GUARDED
from .guarded import RECHECK_S, Guarded
from .server import free_port
from .tally import equal

CACHE = Path(os.environ.get("RADIANT_CACHE", Path.home() / ".cache/radiant")) / "oidc-provider"
PACKAGE = "oidc-provider@9"
PATIENCE_S = 60
SECRET = "a secret of two"
PROVIDER = """
import { readFileSync } from 'node:fs';
import { Provider } from 'oidc-provider';
const [port, callback, secret, file] = process.argv.slice(2);
const people = () => JSON.parse(readFileSync(file));
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id: 'radiant', client_secret: secret, redirect_uris: [callback],
              grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'] }],
  pkce: { required: () => true },
  issueRefreshToken: () => true,
  conformIdTokenClaims: false,
  claims: { openid: ['sub'], profile: ['name', 'preferred_username', 'groups'], email: ['email'] },
  findAccount: (_, id) => !(id in people()) ? undefined : ({ accountId: id, claims: () => ({ sub: id, name: id.toUpperCase(),
    preferred_username: id, email: `${id}@example.org`, groups: people()[id] }) }),
});
provider.listen(Number(port), '127.0.0.1');
"""
PEOPLE = {"eva": ["readers"], "sam": ["visitors"], "kai": ["readers"], "mia": ["readers"], "noa": ["readers"]}


def run(context, tally):
    module = installed()
    if not module:
        tally.miss("oidc", PACKAGE)
        return
    folder = context.folder("oidc")
    (module / "provider.mjs").write_text(PROVIDER)
    port, secret = free_port(), folder.parent / "oidc-client-secret"
    secret.write_text(f"{SECRET}\n")
    people = People(folder.parent / "oidc-people.json")
    keys = {
        **GUARDED,
        "auth.oidc.issuer": f"http://127.0.0.1:{port}",
        "auth.oidc.client_id": "radiant",
        "auth.oidc.client_secret_file": str(secret),
        "auth.oidc.roles_claim": "groups",
        "auth.oidc.roles": '[{ value = "readers", role = "radiologist" }, { value = "cleaners", role = "viewer" }]',
        "auth.oidc.ask_again_s": "0",
        "auth.oidc.unknown_users": "create",
    }
    with Guarded(context.binary, folder, keys) as server:
        callback = f"{server.base}/api/v1/auth/oidc/callback"
        with tally.check("oidc: a provider that is not there is told, and nothing else breaks"):
            equal("unreachable", leave(server).status_code, 502)
            equal("log-in by password", requests.get(f"{server.base}/healthz", timeout=30).status_code, 200)
        command = ["node", "provider.mjs", str(port), callback, SECRET, str(people.path)]
        with (folder.parent / "provider.log").open("wb") as log:
            provider = subprocess.Popen(command, cwd=module, stdout=log, stderr=log)
            try:
                wait_for(f"http://127.0.0.1:{port}/.well-known/openid-configuration")
                checks(server, tally)
                with tally.check("oidc: whoever loses a group loses its role with the next refresh, and who has none is out"):
                    check_regrouped(server, people)
                with tally.check("oidc: whoever is gone at the provider is out with the next refresh"):
                    check_removed(server, people)
                with tally.check("oidc: the name of an account here is refused, clearly, and nothing changes"):
                    kai = check_taken(server)
                server.stop()
                server.keys = server.keys | {"auth.oidc.taken_names": "link"}
                server.start()
                with tally.check("oidc: where names link, the account is the provider's from then on"):
                    check_linked(server, kai)
                with tally.check("oidc: a provider that is away for a while ends no session"):
                    stays = round_trip(server, "eva")[0]
                    provider.terminate()
                    provider.wait(PATIENCE_S)
                    equal("eva", me(server, stays)["roles"], ["radiologist"])
            finally:
                provider.terminate()
                provider.wait(PATIENCE_S)


class People:
    """Whom the provider knows, with their groups."""

    def __init__(self, path):
        self.path, self.groups = path, dict(PEOPLE)
        self.write()

    def write(self):
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(self.groups))
        fresh.replace(self.path)

    def put(self, person, groups):
        self.groups[person] = groups
        self.write()

    def remove(self, person):
        del self.groups[person]
        self.write()


def installed():
    """Where the provider is, if it is there or can be had."""
    CACHE.mkdir(parents=True, exist_ok=True)
    if shutil.which("npm") and not (CACHE / "node_modules/oidc-provider").is_dir():
        install = ["npm", "install", "--no-audit", "--no-fund", "--silent", PACKAGE]
        subprocess.run(install, cwd=CACHE, check=False, timeout=600)
    return CACHE if (CACHE / "node_modules/oidc-provider").is_dir() else None


def wait_for(url):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if requests.get(url, timeout=5).status_code == 200:
                return
        except requests.RequestException:
            time.sleep(0.2)
    raise AssertionError(f"{url} does not answer")


def checks(server, tally):
    with tally.check("oidc: whoever the provider lets in has the roles of the claim"):
        check_log_in(server)
    with tally.check("oidc: the same person is the same user the second time"):
        check_again(server)
    with tally.check("oidc: a group without a role opens nothing"):
        answer, _ = round_trip(server, "sam")
        equal("sam", answer.status_code, 403)
    with tally.check("oidc: what another browser began, or comes twice, is refused"):
        check_stolen(server)
    with tally.check("oidc: the browser is sent to no other origin"):
        for strange in ("//evil.example", "https://evil.example", "/\\evil.example"):
            equal(strange, leave(server, strange).status_code, 400)


def leave(server, return_to="/"):
    url = f"{server.base}/api/v1/auth/oidc/login"
    return requests.get(url, params={"return_to": return_to}, allow_redirects=False, timeout=60)


def cookies(answer):
    """As a browser on a secure page keeps them."""
    pairs = [line.split(";")[0] for line in answer.raw.headers.getlist("Set-Cookie")]
    return dict(pair.split("=", 1) for pair in pairs)


def at_provider(url, person):
    """The pages of the provider, gone through; the URL that it sends the browser back to."""
    browser = requests.Session()
    answer = browser.get(url, allow_redirects=False, timeout=60)
    for _ in range(20):
        if answer.is_redirect:
            target = urljoin(answer.url, answer.headers["Location"])
            if "/auth/oidc/callback" in target:
                return target
            answer = browser.get(target, allow_redirects=False, timeout=60)
            continue
        action = re.search(r'<form[^>]*action="([^"]+)"', answer.text)
        prompt = re.search(r'name="prompt" value="([^"]+)"', answer.text)
        form = {"prompt": prompt.group(1), "login": person, "password": "x"}
        answer = browser.post(urljoin(answer.url, action.group(1)), data=form, allow_redirects=False, timeout=60)
    raise AssertionError("the provider never came to an end")


def callback(url, kept):
    header = {"Cookie": "; ".join(f"{name}={value}" for name, value in kept.items())}
    return requests.get(url, headers=header, allow_redirects=False, timeout=60)


def round_trip(server, person):
    away = leave(server, "/after?x=1")
    equal("away", away.status_code, 303)
    query = parse_qs(urlsplit(away.headers["Location"]).query)
    equal("PKCE", query["code_challenge_method"], ["S256"])
    equal("state and nonce", ("state" in query, "nonce" in query), (True, True))
    back = at_provider(away.headers["Location"], person)
    return callback(back, cookies(away)), (back, cookies(away))


def refreshed(server, answer):
    """By the refresh token of a cookie; the next one is in the answer."""
    pair = f"radiant-refresh={cookies(answer)['radiant-refresh']}"
    headers = {"Cookie": pair, "X-Requested-With": "page"}
    return requests.post(f"{server.base}/api/v1/auth/refresh", headers=headers, timeout=60)


def who(server, tokens):
    token = {"Authorization": f"Bearer {tokens.json()['access_token']}"}
    return requests.get(f"{server.base}/api/v1/auth/me", headers=token, timeout=60)


def me(server, answer):
    """Who came in, by the refresh token of the cookie."""
    tokens = refreshed(server, answer)
    equal("refresh", tokens.status_code, 200)
    return who(server, tokens).json()


def check_regrouped(server, people):
    first = refreshed(server, round_trip(server, "mia")[0])
    equal("before", who(server, first).json()["roles"], ["radiologist"])
    people.put("mia", ["cleaners"])
    second = refreshed(server, first)
    equal("with another group", (second.status_code, who(server, second).json()["roles"]), (200, ["viewer"]))
    people.put("mia", [])
    refused = refreshed(server, second)
    equal("with none", refused.status_code, 401)
    time.sleep(2 * RECHECK_S)
    equal("the token before", who(server, second).status_code, 401)
    people.put("mia", ["readers"])
    equal("the session stays ended", refreshed(server, second).status_code, 401)
    equal("back", me(server, round_trip(server, "mia")[0])["roles"], ["radiologist"])


def check_removed(server, people):
    first = refreshed(server, round_trip(server, "noa")[0])
    equal("before", first.status_code, 200)
    people.remove("noa")
    equal("after", refreshed(server, first).status_code, 401)
    time.sleep(2 * RECHECK_S)
    equal("the token before", who(server, first).status_code, 401)


def check_log_in(server):
    answer, _ = round_trip(server, "eva")
    equal("back", (answer.status_code, answer.headers["Location"]), (303, "/after?x=1"))
    eva = me(server, answer)
    equal("name", (eva["user"]["name"], eva["user"]["display_name"]), ("eva", "EVA"))
    equal("roles", eva["roles"], ["radiologist"])
    body = {"name": "eva", "password": "anything at all"}
    refused = requests.post(f"{server.base}/api/v1/auth/login", json=body, timeout=60)
    equal("no password", refused.status_code, 401)


def check_again(server):
    users = {me(server, round_trip(server, "eva")[0])["user"]["id"] for _ in range(2)}
    equal("users", len(users), 1)


def check_taken(server):
    kai = server.person("kai", "viewer")
    answer, _ = round_trip(server, "kai")
    equal("kai at the provider", answer.status_code, 409)
    assert "auth.oidc.taken_names" in answer.text, answer.text
    kai.renew()
    return kai


def check_linked(server, before):
    kai = me(server, round_trip(server, "kai")[0])
    equal("user", kai["user"]["id"], before.id)
    equal("roles", kai["roles"], ["radiologist"])
    body = {"name": before.name, "password": before.password}
    refused = requests.post(f"{server.base}/api/v1/auth/login", json=body, timeout=60)
    equal("his password", refused.status_code, 401)


def check_stolen(server):
    answer, (back, kept) = round_trip(server, "eva")
    equal("once", answer.status_code, 303)
    equal("twice", callback(back, kept).status_code, 401)
    away, other = leave(server), leave(server)
    back = at_provider(away.headers["Location"], "eva")
    equal("another browser", callback(back, cookies(other)).status_code, 401)
    equal("no browser", callback(back, {}).status_code, 401)
    forged = re.sub(r"code=[^&]+", "code=forged", back)
    equal("another code", callback(forged, cookies(away)).status_code, 401)
