"""Objects behind a URL: a real S3 server and a real Azure Blob server hold the bytes of instances."""

import random
import time

import requests
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from . import crash, dicomweb, dimse, large_object
from .by_hand import hits
from .command_line import addresses, radiant, refused
from .part10 import data_set, digest, image, uid_of
from .server import WITHOUT_ANALYSIS, Server
from .stores import Azurite, SeaweedFs
from .tally import equal

PREFIX = "clinic/a"
CONTEXTS = [(CTImageStorage, ExplicitVRLittleEndian)]
# A part is no shorter; a request is given up soon, so that a store that is away is soon told of.
KEYS = WITHOUT_ANALYSIS | {
    "storage.part_bytes": "5242880", "storage.parts_at_once": "2", "storage.retry_time_s": "3.0",
    "storage.connect_timeout_s": "2.0", "storage.ready_every_s": "1",
    # What reads behind a kill is not to find the store left alone.
    "storage.pause_first_s": "0.1", "storage.pause_max_s": "0.1",
    "storage.redirect": "true", "storage.redirect_life_s": "3", "log.filter": "debug",
    "deletion.enabled": "true", "deletion.retention_h": "0", "deletion.sweep_every_s": "1",
}
# 1024 x 1024 x 2 bytes each.
LARGE_FRAMES = 100
# As long as an address is good.
LIFE_S = 3
GROWTH_KB_MAX = 96 * 1024
KILLS = 4
WAIT_S = 180


def run(context, tally):
    for store in (SeaweedFs, Azurite):
        if store.program() is None:
            tally.miss(f"objects in {store.name}", store.__name__)
            continue
        folder = context.folder(f"objects-{store.name}")
        with store(folder / "store") as peer:
            against(context, tally, peer, folder)


def against(context, tally, store, folder):
    def check(what):
        return tally.check(f"objects, {store.name}: {what}")

    with check("a wrong key is told at the start, with the bucket and without the key"):
        wrong_key(context, store, folder)
    with check("a bucket that is not there is told at the start"):
        missing_bucket(context, store, folder)
    server = Server(context.binary, folder / "data", KEYS | store.keys(PREFIX))
    held = {}
    with check("what is imported is in the bucket"):
        held |= imported(context, server, store, folder)
    server.start()
    try:
        with check("what comes by STOW-RS and C-STORE is in the bucket, and nowhere else"):
            held |= delivered(server)
            in_the_bucket(server, store, held)
        with check("whole objects, frames, metadata and pictures are those of a local folder"):
            as_from_a_folder(context, server, folder, held)
        with check("the same after a restart, from a cold cache and from a warm one"):
            server.stop()
            server.start()
            crash.walk(server, held)
            fetched = reads(server)
            crash.walk(server, held)
            equal("reads of the bucket with a warm cache", reads(server), fetched)
        with check("a damaged cache is fetched again"):
            damaged(server, held)
        with check("who follows a redirect gets the stored bytes from the bucket, and no longer than for a moment"):
            redirected(server, store, held)
        with check("what is deleted leaves the bucket"):
            deleted(server, store, held)
        with check("200 MB in bounded memory, in and out"):
            large(server, folder)
        moments = random.Random(context.seed)
        with check(f"nothing acknowledged is lost by {KILLS} kills of the server and of the store"):
            killed(server, store, moments, held)
        with check("a store that is away: 503, A700, and later all is well"):
            away(server, store, held)
        with check("every row has its bytes in the bucket"):
            crash.walk(server, held)
    finally:
        server.stop()


def wrong_key(context, store, folder):
    keys = KEYS | store.wrong_keys(PREFIX)
    refused(context, ["serve", "--data-dir", folder / "wrong", *addresses()], [f"/{PREFIX}", store.endpoint], keys)
    _, output = radiant(context, "serve", "--data-dir", folder / "wrong", *addresses(), keys=keys)
    secrets = [value for key, value in keys.items() if key.endswith(("secret_access_key", "access_key"))]
    assert secrets and not any(secret in output for secret in secrets), "the key is shown"


def missing_bucket(context, store, folder):
    keys = KEYS | store.keys(PREFIX)
    keys["storage.url"] = keys["storage.url"].replace(store.bucket, "nowhere")
    refused(context, ["serve", "--data-dir", folder / "missing", *addresses()], ["nowhere", "cannot be written"], keys)


def imported(context, server, store, folder):
    study = generate_uid()
    files = [image(study, number, 64) for number in range(1, 4)]
    source = folder / "import"
    source.mkdir()
    for number, file in enumerate(files):
        (source / f"{number}.dcm").write_bytes(file)
    status, output = radiant(context, "import", "--data-dir", server.data_dir, source, keys=server.keys, timeout=300)
    equal("exit status", (status, output[-300:] if status else ""), (0, ""))
    equal("objects in the bucket", len(instance_objects(store)), len(files))
    return digests(files)


def digests(files):
    return {uid_of(file): digest(data_set(file)) for file in files}


def delivered(server):
    study = generate_uid()
    by_stow = [image(study, number, side) for number, side in ((1, 32), (2, 512), (3, 2048))]
    kept, failed = dicomweb.store(server, by_stow)
    equal("refused", failed, {})
    equal("stored", len(kept), len(by_stow))
    by_dimse = [image(generate_uid(), number, 256) for number in range(1, 4)]
    equal("C-STORE", dimse.send_bytes(server, by_dimse, CONTEXTS), [dimse.SUCCESS] * len(by_dimse))
    return digests(by_stow + by_dimse)


def instance_objects(store):
    return {name: size for name, size in store.objects().items() if name.startswith(f"{PREFIX}/objects/")}


def in_the_bucket(server, store, held):
    equal("objects in the bucket", len(instance_objects(store)), len(held))
    equal("everything lies below the prefix", [name for name in store.objects() if not name.startswith(PREFIX)], [])
    equal("files on the local disk", dicomweb.stored_files(server.data_dir), [])
    crash.walk(server, held)


def as_from_a_folder(context, server, folder, held):
    where = dicomweb.locations(server)
    with Server(context.binary, folder / "local", WITHOUT_ANALYSIS) as local:
        _, failed = dicomweb.store(local, [dicomweb.retrieve(server, where[uid]) for uid in held])
        equal("refused by the other", failed, {})
        for uid in held:
            for view in views(where[uid]):
                equal(view, answer(server, *view), answer(local, *view))


def views(uids):
    study, series, instance = uids
    path = f"studies/{study}/series/{series}/instances/{instance}"
    yield path, {"Accept": dicomweb.AS_STORED}
    yield f"{path}/metadata", {"Accept": dicomweb.JSON}
    yield f"{path}/frames/1", {"Accept": 'multipart/related; type="application/octet-stream"; transfer-syntax=*'}
    yield f"{path}/rendered", {"Accept": "image/png"}
    yield f"{path}/thumbnail", {"Accept": "image/jpeg"}
    yield f"studies?StudyInstanceUID={study}&includefield=all", {"Accept": dicomweb.JSON}


def answer(server, path, headers):
    """Status and content, without what differs by chance: delimiters and addresses."""
    got = requests.get(f"{server.web}/{path}", headers=headers, timeout=dicomweb.TIMEOUT_S)
    content = got.content.replace(server.base.encode(), b"")
    if got.headers.get("Content-Type", "").startswith("multipart/"):
        content = dicomweb.multipart(got.headers["Content-Type"], got.content)
    assert got.status_code == 200, f"{got.status_code} for {path}: {got.text[:200]}"
    return content


def reads(server):
    """Requests for bytes that the bucket has answered."""
    text = requests.get(f"{server.base}/metrics", timeout=60).text
    lines = [line for line in text.splitlines() if line.startswith("bucket_requests_total") and '"read"' in line]
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines)


def damaged(server, held):
    files = [path for path in (server.data_dir / "cache").rglob("*") if path.is_file()]
    assert files, "nothing was cached"
    for path in files:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    fetched = reads(server)
    crash.walk(server, held)
    assert reads(server) >= fetched + len(held), "what is damaged was given out"


def redirected(server, store, held):
    uid = next(iter(held))
    where = dicomweb.locations(server)[uid]
    stored = dicomweb.retrieve(server, where)
    path = "studies/{}/series/{}/instances/{}".format(*where)
    uri = {"requestType": "WADO", "contentType": "application/dicom"}
    uri |= dict(zip(("studyUID", "seriesUID", "objectUID"), where))
    accept = {"Accept": "application/dicom; transfer-syntax=*"}
    follows = {"Prefer": "redirect"}
    addresses = []
    for url, query in ((f"{server.web}/{path}", {}), (f"{server.web}/wado", uri)):
        plain = requests.get(url, params=query, headers=accept, timeout=60)
        equal("for who does not follow", (plain.status_code, plain.content == stored), (200, True))
        sent = requests.get(url, params=query, headers=accept | follows, timeout=60, allow_redirects=False)
        told = {name: sent.headers.get(name) for name in ("Cache-Control", "Preference-Applied", "ETag")}
        equal("status", sent.status_code, 307)
        equal("headers", told, {"Cache-Control": "private, no-store", "Preference-Applied": "redirect", "ETag": None})
        addresses.append(sent.headers["Location"])
        equal("host of the store", addresses[-1].startswith(store.endpoint), True)
        followed = requests.get(url, params=query, headers=accept | follows, timeout=60)
        equal("bytes", (followed.status_code, followed.content == stored), (200, True))
        assert followed.url.startswith(store.endpoint), "they came from the server"
        assert followed.headers["Content-Type"].startswith("application/dicom"), followed.headers["Content-Type"]
        part = requests.get(url, params=query, headers=accept | follows | {"Range": "bytes=128-131"}, timeout=60)
        equal("a range", (part.status_code, part.content), (206, b"DICM"))
    changed = {"Accept": "application/dicom; transfer-syntax=1.2.840.10008.1.2.1.99"} | follows
    made = requests.get(f"{server.web}/{path}", headers=changed, timeout=60, allow_redirects=False)
    equal("what is made is given from here", made.status_code, 200)
    drawn = requests.get(f"{server.web}/{path}/rendered", headers=follows, timeout=60, allow_redirects=False)
    equal("a picture", drawn.status_code, 200)
    time.sleep(LIFE_S + 2)
    for address in addresses:
        got = requests.get(address, timeout=60)
        equal("later", (got.status_code in (400, 401, 403), stored in got.content), (True, False))
    signs = [part.split("=", 1)[1] for address in addresses for part in address.split("?", 1)[1].split("&")
             if part.lower().startswith(("x-amz-signature=", "sig="))]
    trail = requests.get(f"{server.base}/api/v1/audit/export", timeout=60).text
    for text, what in ((server.log(), "the log"), (trail, "the audit trail")):
        assert signs and not any(sign in text for sign in signs), f"an address is in {what}"
    assert any(where[2] in line or where[0] in line for line in trail.splitlines()), "the retrieval is not in the trail"


def deleted(server, store, held):
    where = dicomweb.locations(server)
    uid = next(iter(held))
    study = where[uid][0]
    gone = [uid for uid in held if where[uid][0] == study]
    got = requests.delete(f"{server.web}/studies/{study}", timeout=dicomweb.TIMEOUT_S)
    assert got.status_code in (200, 204), f"{got.status_code}: {got.text[:200]}"
    for uid in gone:
        del held[uid]
    wait_for("objects in the bucket", lambda: len(instance_objects(store)), len(held))


def wait_for(what, found, expected):
    deadline = time.monotonic() + WAIT_S
    while found() != expected and time.monotonic() < deadline:
        time.sleep(0.5)
    equal(what, found(), expected)


def large(server, folder):
    path = folder / "large.dcm"
    study, expected = large_object.write(path, LARGE_FRAMES)
    # What a server needs for the first object of all does not count.
    for what, work in (("STOW-RS in", lambda: large_object.by_stow(server, path)),
                       ("WADO-RS out", lambda: large_object.fetch(server, study, expected))):
        grew = large_object.growth_kb(server, work)
        print(f"     {what}: the server grew by {grew / 1024:.1f} MB")
        assert grew < GROWTH_KB_MAX, f"{what}: the server grew by {grew / 1024:.0f} MB"
    path.unlink()
    requests.delete(f"{server.web}/studies/{study}", timeout=dicomweb.TIMEOUT_S).raise_for_status()


def killed(server, store, moments, held):
    for number in range(KILLS):
        senders = crash.mixed(server)
        senders.start()
        deadline = time.monotonic() + WAIT_S
        while not senders.acknowledged and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(moments.uniform(0.2, 1.5))
        if number % 2:
            store.kill()
            # Some are refused meanwhile, and nothing is acknowledged that is not there.
            time.sleep(1)
            store.start()
            senders.stop()
            wait_for("readiness", server.is_ready, True)
        else:
            server.kill()
            senders.stop()
            server.start()
        assert senders.acknowledged, "nothing was acknowledged before the kill"
        print(f"     {'store' if number % 2 else 'server'} killed: {len(senders.acknowledged)} acknowledged")
        held |= senders.acknowledged
        crash.walk(server, held)


def refused_for_now(server, file):
    answer = dicomweb.posted(server, [file])
    equal("STOW-RS", (answer.status_code, "Retry-After" in answer.headers), (503, True))


def away(server, store, held):
    unread = [image(generate_uid(), 1, 64)]
    dicomweb.store(server, unread)
    held |= digests(unread)
    where = dicomweb.locations(server)
    path = "studies/{}/series/{}/instances/{}".format(*where[uid_of(unread[0])])
    file = image(generate_uid(), 1, 64)
    store.kill()
    try:
        refused_for_now(server, file)
        equal("C-STORE", dimse.send_bytes(server, [file], CONTEXTS), [dimse.OUT_OF_RESOURCES])
        got = requests.get(f"{server.web}/{path}", headers={"Accept": dicomweb.AS_STORED}, timeout=60)
        equal("WADO-RS", (got.status_code, "Retry-After" in got.headers), (503, True))
        wait_for("readiness", server.is_ready, False)
        equal("rows", len(dicomweb.locations(server)), len(where))
        posts = iter(range(100))
        while not hits(server, "storage.failures_max"):
            assert next(posts, None) is not None, "nothing was refused at once"
            refused_for_now(server, file)
    finally:
        store.start()
    wait_for("readiness", server.is_ready, True)
    equal("the same object later", dimse.send_bytes(server, [file], CONTEXTS), [dimse.SUCCESS])
    held |= digests([file])
