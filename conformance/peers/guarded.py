"""A server with access control, and people who have been let in."""

import time
from dataclasses import dataclass

import requests

from .server import WITHOUT_ANALYSIS, Server

TIMEOUT_S = 60
# What has become of somebody is known after this time.
RECHECK_S = 1
QUICK = {
    "auth.mode": "on", "auth.token_recheck_s": str(RECHECK_S), "auth.argon2_memory_kib": "1024", "auth.argon2_passes": "1",
    "auth.failures_of_address_free": "500",
}
CHANGED = "a password of their own"


@dataclass
class Person:
    server: object
    id: str
    name: str
    password: str
    token: str

    def ask(self, method, path, **options):
        headers = {"Authorization": f"Bearer {self.token}"} | options.pop("headers", {})
        return requests.request(method, f"{self.server.base}{path}", headers=headers, timeout=TIMEOUT_S, **options)

    def api(self, method, path, expected=200, **options):
        """JSON of an answer that has to have this status, with its entity tag."""
        answer = self.ask(method, f"/api/v1/{path}", **options)
        assert answer.status_code == expected, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        return (answer.json() if answer.content else None), answer.headers.get("ETag")

    def renew(self):
        """Another token: what a token may is known to the server for some seconds."""
        self.token = log_in(self.server, self.name, self.password)


class Guarded(Server):
    """Access control is on; `administrator` is the one that the first start has made."""

    def __init__(self, binary, data_dir, keys=WITHOUT_ANALYSIS):
        super().__init__(binary, data_dir, QUICK | keys)
        self.administrator = None

    def start(self):
        super().start()
        try:
            self.let_in()
        except Exception:
            self.stop()
            raise

    def let_in(self):
        if self.administrator is None:
            lines = (self.data_dir / "first-administrator").read_text().splitlines()
            said = dict(line.split(": ", 1) for line in lines if ": " in line)
            self.administrator = admitted(self, said["name"], said["secret"])

    def person(self, name, *roles):
        wish = {"name": name, "display_name": name.title(), "roles": list(roles)}
        made, _ = self.administrator.api("POST", "users", 201, json=wish)
        return admitted(self, name, made["password"])

    def key(self, name, role):
        """An API key and its id."""
        made, _ = self.administrator.api("POST", "api-keys", 201, json={"name": name, "role": role})
        return made["id"], made["key"]

    def group(self, name, *members):
        made, tag = self.administrator.api("POST", "groups", 201, json={"name": name})
        for member in members:
            path = f"groups/{made['id']}/{member}"
            made, tag = self.administrator.api("PUT", path, headers={"If-Match": tag})
        time.sleep(2 * RECHECK_S)
        return made["id"]


def log_in(server, name, password):
    wish = {"name": name, "password": password}
    answer = requests.post(f"{server.base}/api/v1/auth/login", json=wish, timeout=TIMEOUT_S)
    assert answer.status_code == 200, f"log-in of {name}: {answer.status_code} {answer.text[:300]}"
    return answer.json()["access_token"]


def admitted(server, name, secret):
    """Somebody whose first secret has become a password."""
    person = Person(server, "", name, secret, log_in(server, name, secret))
    changed = person.ask("POST", "/api/v1/auth/password", json={"old": secret, "new": CHANGED})
    assert changed.ok, f"password of {name}: {changed.status_code} {changed.text[:300]}"
    person.password = CHANGED
    person.renew()
    me, _ = person.api("GET", "auth/me")
    person.id = me["user"]["id"]
    return person
