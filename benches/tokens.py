#!/usr/bin/env python3
"""Requests per second with and without a proof of who asks: what a token, a key and a password cost.

The same small answer each time (`/api/v1/auth/me`), beside one that nobody has to be known for
(`/healthz`). Tokens that were good a moment ago are remembered; `--cold` has each one verified anew."""

import argparse
import sys
import tempfile
from pathlib import Path

import requests
from load import Wrk

sys.path.insert(0, str(Path(__file__).parent.parent / "conformance"))
from peers.server import WITHOUT_ANALYSIS, Server  # noqa: E402

PASSWORD = "a password for a benchmark"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--cold", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        keys = {**WITHOUT_ANALYSIS, "auth.mode": "on", "log.filter": "warn"}
        if arguments.cold:
            keys["auth.tokens_remembered_max"] = "0"
        with Server(arguments.binary, Path(folder) / "data", keys) as server:
            measure(server, Wrk(Path(folder) / "wrk"), arguments)


def measure(server, wrk, arguments):
    token = log_in(server)
    wish = {"name": "bench", "role": "service"}
    key = call(server, "POST", "api-keys", wish, token).json()["key"]
    proofs = {
        "nobody": ("/healthz", {}),
        "token": ("/api/v1/auth/me", {"Authorization": f"Bearer {token}"}),
        "key": ("/api/v1/auth/me", {"X-Api-Key": key}),
    }
    for name, (path, headers) in proofs.items():
        result = wrk.with_headers(server.base, path, headers, arguments.clients, arguments.seconds)
        assert result.failed == 0, f"{name}: {result.failed} of {result.requests} failed"
        print(f"{name:8} {result.rate:8.0f} requests/s   p50 {result.p50:.2f} ms   p99 {result.p99:.2f} ms", flush=True)


def log_in(server):
    first = dict(line.split(": ", 1) for line in (server.data_dir / "first-administrator").read_text().splitlines())
    body = {"name": first["name"], "password": first["secret"]}
    token = call(server, "POST", "auth/login", body).json()["access_token"]
    call(server, "POST", "auth/password", {"old": first["secret"], "new": PASSWORD}, token)
    return call(server, "POST", "auth/login", {**body, "password": PASSWORD}).json()["access_token"]


def call(server, method, path, body, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = requests.request(method, f"{server.base}/api/v1/{path}", json=body, headers=headers, timeout=60)
    answer.raise_for_status()
    return answer


if __name__ == "__main__":
    main()
