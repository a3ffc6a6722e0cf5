"""A Hugging Face hub on loopback: descriptions of repositories on one port, bytes of large files on
another, and whatever can go wrong between them."""

import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

GATED = {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to model is restricted."}
CHUNK = 16384


def git_sha1(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Repository:
    """Files of one commit; `large` are those of large file storage."""

    def __init__(self, files, large=(), card=None, gated=False, revisions=("main",)):
        self.files, self.large, self.card, self.gated = dict(files), set(large), card or {}, gated
        self.revisions = revisions
        self.commit = hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()
        # what a hub says that lies
        self.sizes, self.headers = {}, {}

    def sibling(self, name):
        content = self.files[name]
        size = self.sizes.get(name, len(content))
        entry = {"rfilename": name, "size": size, "blobId": git_sha1(content)}
        if name in self.large:
            entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": size, "pointerSize": 134}
        return entry

    def describe(self, repo, with_blobs):
        siblings = [self.sibling(name) if with_blobs else {"rfilename": name} for name in sorted(self.files)]
        return {"_id": "0", "id": repo, "modelId": repo, "sha": self.commit, "private": False, "tags": [],
                "downloads": 0, "likes": 0, "gated": "manual" if self.gated else False, "cardData": self.card,
                "siblings": siblings}


class Hub:
    """`with Hub({"owner/name": Repository(…)}) as hub:`; faults are attributes, set between fetches."""

    def __init__(self, repositories, token="hf_token_of_the_suite", members=True):
        self.repositories, self.token, self.members = repositories, token, members
        self.asked, self.stored = [], []
        self.lock = threading.Lock()
        self.behave()

    def behave(self, cut_after=None, spoiled=(), ranges=True, bytes_per_s=None, busy=(), silent=0, storage=None):
        """Afresh: cuts each answer short, spoils files, refuses parts, is slow, is busy for the first of
        the answers, is silent in so many of them, sends people elsewhere."""
        with self.lock:
            self.asked.clear(), self.stored.clear()
            self.cut_after, self.spoiled, self.ranges, self.bytes_per_s = cut_after, set(spoiled), ranges, bytes_per_s
            self.busy, self.silent, self.storage = list(busy), silent, storage

    def __enter__(self):
        self.front, self.back = (self._serve(handler) for handler in (Front, Storage))
        self.base = f"http://127.0.0.1:{self.front.server_port}"
        # another host to whoever compares names
        self.storage_base = f"http://localhost:{self.back.server_port}"
        return self

    def __exit__(self, *_):
        for server in (self.front, self.back):
            server.shutdown()
            server.server_close()

    def _serve(self, handler):
        server = Listener(("127.0.0.1", 0), handler)
        server.hub = self
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def next_busy(self):
        with self.lock:
            return self.busy.pop(0) if self.busy else None

    def next_silent(self):
        with self.lock:
            self.silent -= 1
            return self.silent >= 0


class Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Clients that are killed, or have seen enough, are what this is about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    @property
    def hub(self):
        return self.server.hub

    def do_HEAD(self):
        self.do_GET()

    def answer(self, status, headers=None, content=b""):
        self.send_response(status)
        headers = {"Content-Length": len(content)} | (headers or {})
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.pour(content)

    def pour(self, content):
        """At the speed, and as far, as the hub has it today."""
        limit, speed = self.hub.cut_after, self.hub.bytes_per_s
        for start in range(0, len(content), CHUNK):
            chunk = content[start:start + CHUNK]
            if limit is not None and start + len(chunk) > limit:
                self.wfile.write(chunk[:limit - start])
                self.wfile.flush()
                self.close_connection = True
                return
            self.wfile.write(chunk)
            if speed:
                time.sleep(len(chunk) / speed)

    def give(self, content, headers):
        wanted = self.headers.get("Range")
        if not wanted or not self.hub.ranges:
            return self.answer(200, headers, content)
        start = int(wanted.removeprefix("bytes=").split("-")[0])
        if start >= len(content):
            return self.answer(416, {"Content-Range": f"bytes */{len(content)}"})
        place = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self.answer(206, headers | {"Content-Range": place}, content[start:])


class Front(Handler):
    """The hub itself."""

    def do_GET(self):
        url = urlsplit(self.path)
        self.hub.asked.append((self.path, self.headers))
        if busy := self.hub.next_busy():
            return self.answer(*busy)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        with_blobs = parse_qs(url.query).get("blobs") == ["true"]
        if parts[:2] == ["api", "models"] and parts[4:5] == ["revision"]:
            return self.describe("/".join(parts[2:4]), "/".join(parts[5:]), with_blobs)
        if parts[:2] == ["api", "models"] and parts[4:5] == ["tree"]:
            return self.tree("/".join(parts[2:4]))
        if parts[:3] == ["api", "resolve-cache", "models"]:
            return self.small("/".join(parts[3:5]), "/".join(parts[6:]))
        if parts[2:3] == ["resolve"]:
            return self.resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        return self.answer(404)

    def is_member(self):
        return self.headers.get("Authorization") == f"Bearer {self.hub.token}"

    def refused(self, repo):
        """Answers for what cannot be seen, as the hub does: 401 also for what is not there."""
        if "Authorization" in self.headers and not self.is_member():
            return self.answer(401, {"X-Error-Message": "Invalid credentials in Authorization header"}) or True
        if repo not in self.hub.repositories:
            status = 404 if self.is_member() else 401
            return self.answer(status, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "not found"}) or True
        return False

    def describe(self, repo, revision, with_blobs):
        if self.refused(repo):
            return
        repository = self.hub.repositories[repo]
        if revision not in (*repository.revisions, repository.commit):
            return self.answer(404, {"X-Error-Code": "RevisionNotFound"})
        content = json.dumps(repository.describe(repo, with_blobs)).encode()
        self.answer(200, {"Content-Type": "application/json"}, content)

    def tree(self, repo):
        """The same for the hub's own client, in its own form."""
        if self.refused(repo):
            return
        repository = self.hub.repositories[repo]
        siblings = [repository.sibling(name) for name in sorted(repository.files)]
        entries = [{"type": "file", "path": one["rfilename"], "size": one["size"], "oid": one["blobId"]}
                   for one in siblings]
        self.answer(200, {"Content-Type": "application/json"}, json.dumps(entries).encode())

    def resolve(self, repo, revision, name):
        if self.refused(repo):
            return
        repository = self.hub.repositories[repo]
        if repository.gated and not (self.is_member() and self.hub.members):
            return self.answer(403 if self.is_member() else 401, GATED)
        if revision not in (*repository.revisions, repository.commit):
            return self.answer(404, {"X-Error-Code": "RevisionNotFound"})
        if name not in repository.files:
            return self.answer(404, {"X-Error-Code": "EntryNotFound"})
        headers = {"X-Repo-Commit": repository.commit}
        if name not in repository.large:
            place = f"/api/resolve-cache/models/{repo}/{repository.commit}/{name}"
            return self.answer(307, headers | {"Location": place} | repository.headers)
        content = repository.files[name]
        base = self.hub.storage or self.hub.storage_base
        self.answer(302, headers | {
            "Location": f"{base}/{repo}/{name}?X-Amz-Signature=signed",
            "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Linked-Size": repository.sizes.get(name, len(content)),
        } | repository.headers)

    def small(self, repo, name):
        content = self.hub.repositories[repo].files[name]
        sent = content.swapcase() if name in self.hub.spoiled else content
        etag = {"ETag": f'"{git_sha1(content)}"', "X-Repo-Commit": self.hub.repositories[repo].commit}
        self.give(sent, etag)


class Storage(Handler):
    """Where large files lie: it knows no token, and dislikes being shown one."""

    def do_GET(self):
        self.hub.stored.append((self.path, self.headers))
        if "Authorization" in self.headers:
            return self.answer(400)
        if self.hub.next_silent():
            time.sleep(30)
        owner, name, file = urlsplit(self.path).path.strip("/").split("/", 2)
        content = self.hub.repositories[f"{owner}/{name}"].files[unquote(file)]
        if file in self.hub.spoiled:
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.give(content, {"ETag": '"of-the-storage"'})


class ForwardProxy:
    """An HTTP proxy that counts what goes through it."""

    def __init__(self):
        self.urls = []

    def __enter__(self):
        import requests

        urls = self.urls

        class Through(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                urls.append(self.path)
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                got = requests.get(self.path, headers=headers, allow_redirects=False, timeout=30)
                self.send_response(got.status_code)
                for name, value in got.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(got.content)

        self.server = Listener(("127.0.0.1", 0), Through)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.base = f"http://127.0.0.1:{self.server.server_port}"
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
