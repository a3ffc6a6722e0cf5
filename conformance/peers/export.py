"""What leaves the server: results, studies and news, to destinations that take them, that are gone
for a while, that hang, that refuse, and through a kill of ours."""

import json
import time

import requests
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from . import destinations, dicomweb, dimse, phantoms
from .destinations import Orthanc, Scp, Web, node, signed_by, storescp, toml
from .dimse_tls import Authority
from .part10 import data_set, digest, encoded, image, uid_of
from .server import QUICK, WITH_DEMO_MODEL, WITHOUT_ANALYSIS, Server, free_port
from .tally import equal

SEED = 940_000
SIGNER = "Ana Ruiz"
CONTEXTS = [(CTImageStorage, ExplicitVRLittleEndian), (MRImageStorage, ExplicitVRLittleEndian)]
SR, PDF = phantoms.COMPREHENSIVE_3D_SR, "1.2.840.10008.5.1.4.1.1.104.1"
IN_HASTE = {"export.retry_first_s": "1", "export.retry_max_s": "2"}
ARCHIVE = WITHOUT_ANALYSIS | QUICK | IN_HASTE
PATIENCE_S = 120
KILLED_AMONG = 60


def run(context, tally):
    missing = destinations.missing()
    if missing:
        tally.miss("export", ", ".join(missing))
        return
    for name, check in (
        ("SR and PDF come back to the node the study came from, and by STOW-RS into another Orthanc", results),
        ("a study goes to Orthanc by C-STORE and by STOW-RS, bit for bit", studies),
        ("a dead destination keeps nothing from another, and gets everything once it is back", dead_and_back),
        ("one that hangs keeps nothing from another", hanging),
        ("a class that is refused is dead at once, its neighbours arrive", one_class_refused),
        ("out of resources is tried again, a mismatch is not", statuses),
        ("kill -9 in the middle of a queue loses nothing", killed),
        ("what is committed to is said so", committed),
        ("two servers that send each other everything come to rest", no_loop),
        ("STOW-RS over TLS with both certificates and a token from a file", over_tls),
        ("webhooks are signed by each secret, retried, and tell no names", webhooks),
        ("each signed version goes out by rule, as SR and PDF", by_rule),
        ("a person pauses, resumes and sends again", by_hand),
    ):
        with tally.check(name):
            check(context, context.folder("export") / check.__name__)


def server(context, folder, keys, nodes=(), targets=(), rules=(), hooks=()):
    folder.mkdir(parents=True, exist_ok=True)
    lists = {"dimse.nodes": toml(nodes), "export.destinations": toml(targets), "export.rules": toml(rules),
             "export.webhooks": toml(hooks)}
    return Server(context.binary, folder / "data", keys | lists)


def everything_to(*names):
    return [{"name": "everything", "what": "studies", "destinations": list(names)}]


def study_of(count, side=32):
    study = generate_uid()
    return study, [image(study, number, side) for number in range(1, count + 1)]


def sent_in(to, files, calling="MODALITY"):
    statuses = dimse.send_bytes(to, files, CONTEXTS, calling)
    equal("C-STORE statuses", set(statuses), {dimse.SUCCESS})
    return [str(uid_of(file)) for file in files]


def until(what, done, patience_s=PATIENCE_S):
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        found = done()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {patience_s} s")


def exports(of, **query):
    return of.rest("exports?limit=1000&" + "&".join(f"{name}={value}" for name, value in query.items()))["items"]


def states(of, **query):
    return [export["state"] for export in exports(of, **query)]


def all_in(of, state, count, **query):
    return until(f"{count} exports {state}", lambda: states(of, **query) == [state] * count)


def in_orthanc(orthanc, study):
    """SOP class by SOP Instance UID of what its REST API shows of a study."""
    found = {}
    for one in requests.get(f"{orthanc.base}/instances", timeout=60).json():
        tags = requests.get(f"{orthanc.base}/instances/{one}/simplified-tags", timeout=60).json()
        if tags["StudyInstanceUID"] == study:
            found[tags["SOPInstanceUID"]] = tags["SOPClassUID"]
    return found


def results(context, folder):
    [phantom] = phantoms.draw(context, "export", 1, SEED)
    with Orthanc(folder / "by-dimse") as back, Orthanc(folder / "by-stow") as web:
        nodes = [node("MODALITY", back.dimse_port)]
        targets = [{"name": "web", "url": web.web}]
        rules = [{"name": "results", "what": "results", "modality": ["CR", "DX"], "destinations": ["web"]}]
        with server(context, folder, WITH_DEMO_MODEL | IN_HASTE, nodes, targets, rules) as ours:
            phantoms.analysed(ours, [phantom.path.read_bytes()])
            all_in(ours, "sent", 4, study=phantom.study)
            for orthanc in (back, web):
                found = in_orthanc(orthanc, phantom.study)
                equal("what Orthanc shows", sorted(found.values()), sorted([SR, PDF]))
            rules_seen = sorted({(export["destination"], export["rule"]) for export in exports(ours)})
            equal("why", rules_seen, [("MODALITY", "source"), ("web", "results")])


def studies(context, folder):
    study, files = study_of(25, side=64)
    with Orthanc(folder / "by-dimse") as pacs, Orthanc(folder / "by-stow") as web:
        nodes, targets = [node("PACS", pacs.dimse_port)], [{"name": "web", "url": web.web, "instances_max": 7}]
        with server(context, folder, ARCHIVE, nodes, targets, everything_to("PACS", "web")) as ours:
            uids = sent_in(ours, files)
            all_in(ours, "sent", 50)
            for orthanc in (pacs, web):
                equal("instances", sorted(in_orthanc(orthanc, study)), sorted(uids))
                kept = sorted(digest(data_set(file)) for file in files_in(orthanc))
                equal("data sets, bit for bit", kept, sorted(digest(data_set(file)) for file in files))


def files_in(orthanc):
    ids = requests.get(f"{orthanc.base}/instances", timeout=60).json()
    return [requests.get(f"{orthanc.base}/instances/{one}/file", timeout=60).content for one in ids]


def dead_and_back(context, folder):
    port = free_port()
    _, files = study_of(30)
    with Scp() as well:
        nodes = [node("DEAD", port), node("WELL", well.port)]
        with server(context, folder, ARCHIVE, nodes, rules=everything_to("DEAD", "WELL")) as ours:
            uids = sent_in(ours, files)
            began = time.monotonic()
            until("everything at the one that is well", lambda: sorted(well.taken) == sorted(uids), 30)
            print(f"     {len(uids)} at the other after {time.monotonic() - began:.1f} s")
            state = until("the breaker", lambda: opened(ours, "DEAD"))
            assert state["queued"] == 30 and "reached" in state["last_error"]["reason"], state
            equal("attempts of what could not be tried", {one["attempts"] for one in exports(ours, destination="DEAD")}, {0})
            more = sent_in(ours, study_of(5)[1])
            until("later studies too", lambda: sorted(well.taken) == sorted(uids + more), 30)
            with storescp(folder / "received", port):
                all_in(ours, "sent", 35, destination="DEAD")
            equal("files of storescp", len(list((folder / "received").iterdir())), 35)
            assert ours.rest("destinations/DEAD")["breaker"] == "closed"


def opened(of, name):
    state = of.rest(f"destinations/{name}")
    return state if state["breaker"] == "open" else None


def hanging(context, folder):
    with destinations.hanging() as (port, taken), Scp() as well:
        nodes = [node("HANGS", port), node("WELL", well.port)]
        targets = [{"name": "hangs", "node": "HANGS", "timeout_s": 2}]
        with server(context, folder, ARCHIVE, nodes, targets, everything_to("hangs", "WELL")) as ours:
            uids = sent_in(ours, study_of(20)[1])
            until("everything at the one that is well", lambda: sorted(well.taken) == sorted(uids), 30)
            until("the breaker", lambda: opened(ours, "hangs"))
            assert taken, "nobody called the one that hangs"
            sent_in(ours, study_of(3)[1])


def one_class_refused(context, folder):
    study, [ct] = study_of(1)
    with Scp(classes=[CTImageStorage]) as peer:
        with server(context, folder, ARCHIVE, [node("PEER", peer.port)], rules=everything_to("PEER")) as ours:
            uids = sent_in(ours, [ct, as_mr(image(study, 2, 32))])
            until("both decided", lambda: sorted(states(ours)) == ["dead", "sent"])
            equal("taken", peer.taken, uids[:1])
            [dead] = exports(ours, state="dead")
            assert MRImageStorage in dead["reason"] and dead["attempts"] == 1, dead


def as_mr(file):
    from io import BytesIO

    from pydicom import dcmread

    dataset = dcmread(BytesIO(file))
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
    dataset.SeriesInstanceUID, dataset.Modality = generate_uid(), "MR"
    return encoded(dataset)


def statuses(context, folder):
    def answer(number, uid):
        return {1: 0xA700, 2: 0xA900}.get(number, 0x0000)

    with Scp(answer=answer) as peer:
        with server(context, folder, ARCHIVE, [node("PEER", peer.port)], rules=everything_to("PEER")) as ours:
            sent_in(ours, study_of(3)[1])
            until("decided", lambda: sorted(states(ours)) == ["dead", "sent", "sent"])
            [dead] = exports(ours, state="dead")
            assert dead["reason"].startswith("A900") and dead["attempts"] == 1, dead
            equal("attempts", sorted(one["attempts"] for one in exports(ours, state="sent")), [1, 2])
            requeued = requests.post(f"{ours.base}/api/v1/exports/{dead['id']}/requeue", timeout=60)
            equal("requeue", requeued.status_code, 202)
            all_in(ours, "sent", 3)


def killed(context, folder):
    def slowly(number, uid):
        time.sleep(0.03)
        return 0x0000

    with Scp(answer=slowly) as peer:
        nodes = [node("PEER", peer.port)]
        with server(context, folder, ARCHIVE, nodes, rules=everything_to("PEER")) as ours:
            uids = sent_in(ours, study_of(KILLED_AMONG)[1])
            for share in (0.2, 0.5, 0.8):
                until("some", lambda share=share: len(set(peer.taken)) >= share * KILLED_AMONG)
                ours.kill()
                ours.start()
            all_in(ours, "sent", KILLED_AMONG)
            equal("taken", set(peer.taken), set(uids))
            print(f"     {len(peer.taken)} stores of {len(uids)} instances over {peer.associations} associations")
            assert peer.associations <= 16, f"{peer.associations} associations"


def committed(context, folder):
    keys = ARCHIVE | {"dimse.ae_title": "KEEPER"}
    with server(context, folder / "keeper", keys) as keeper:
        nodes = [node("KEEPER", keeper.dimse_port)]
        targets = [{"name": "keeper", "node": "KEEPER", "commitment": True}]
        with server(context, folder / "ours", ARCHIVE, nodes, targets, everything_to("keeper")) as ours:
            uids = sent_in(ours, study_of(12)[1])
            all_in(ours, "committed", 12)
            equal("kept", sorted(uid for *_, uid in dicomweb.instances(keeper)), sorted(uids))


def no_loop(context, folder):
    one, two = free_port(), free_port()
    first = server(context, folder / "one", ARCHIVE | {"dimse.ae_title": "ONE"}, [node("TWO", two)],
                   rules=everything_to("TWO"))
    second = server(context, folder / "two", ARCHIVE | {"dimse.ae_title": "TWO"}, [node("ONE", one)],
                    rules=everything_to("ONE"))
    first.dimse_port, first.aet, second.dimse_port, second.aet = one, "ONE", two, "TWO"
    with first, second:
        uids = sent_in(first, study_of(4)[1])
        until("all at the other", lambda: len(dicomweb.instances(second)) == 4)
        time.sleep(6)
        equal("what the first sent", states(first), ["sent"] * 4)
        equal("what the second sent", states(second), [])
        equal("instances", sorted(uid for *_, uid in dicomweb.instances(first)), sorted(uids))


def over_tls(context, folder):
    folder.mkdir(parents=True, exist_ok=True)
    authority, token = Authority(folder, "tests"), folder / "token"
    theirs, (key, own) = authority.certify("theirs"), authority.certify("ours")
    ca = authority.signing()[0]
    token.write_text("first\n")

    def answer(number):
        return (503, {"Retry-After": "1"}, b"") if number == 1 else (200, {}, b"")

    with Web(answer, theirs, ca) as web:
        access = {"ca_file": ca, "certificate_file": own, "key_file": key, "bearer_file": token,
                  "headers": {"X-Tenant": "a"}}
        target = {"name": "web", "url": f"{web.base}/dicom-web", "access": access}
        with server(context, folder, ARCHIVE, targets=[target], rules=everything_to("web")) as ours:
            _, [file] = study_of(1)
            sent_in(ours, [file])
            until("the first request", lambda: web.requests)
            token.write_text("second\n")
            all_in(ours, "sent", 1)
            path, headers, body = web.requests[-1]
            equal("path", path, "/dicom-web/studies")
            equal("credentials", (headers["authorization"], headers["x-tenant"]), ("Bearer second", "a"))
            [part] = dicomweb.multipart(headers["content-type"], body)
            assert data_set(part) == data_set(file), "another data set arrived"


def webhooks(context, folder):
    def answer(number):
        return (500, {}, b"") if number == 1 else (204, {}, b"")

    [phantom] = phantoms.draw(context, "webhooks", 1, SEED + 1)
    with Web(answer) as web:
        hook = {"name": "worklist", "url": f"{web.base}/hook", "secrets": ["new", "old"]}
        with server(context, folder, WITH_DEMO_MODEL | IN_HASTE | {"report.signer": SIGNER}, hooks=[hook]) as ours:
            phantoms.analysed(ours, [phantom.path.read_bytes()])
            all_in(ours, "sent", 2, destination="worklist")
            told = {}
            for _, headers, body in web.requests:
                headers = {name.lower(): value for name, value in headers.items()}
                assert all(signed_by(secret, headers, body) for secret in ("new", "old")), headers
                assert not signed_by("other", headers, body)
                event = json.loads(body)
                equal("delivery", headers["radiant-delivery"], event["id"])
                told.setdefault(event["event"], []).append(event)
            equal("events", sorted(told), ["analysis-done", "study-complete"])
            equal("the first was told twice", sorted(map(len, told.values())), [1, 2])
            [analysis] = ours.analyses(phantom.study)
            [done] = told["analysis-done"]
            equal("ids", (done["study_uid"], done["analysis"]), (phantom.study, analysis["id"]))
            equal("keys", sorted(done), ["analysis", "at", "event", "id", "report", "study_uid"])
            signature(ours, web, done["report"], phantom.study)


def signed(ours, report):
    """The answer to a signature, after every finding was accepted."""
    url = f"{ours.base}/api/v1/reports/{report}"
    answer = requests.get(url, timeout=60)
    for finding in answer.json()["content"]["findings"]:
        answer = acted(url, f"findings/{finding['id']}/accept", answer)
    answer = acted(url, "sign", answer, {})
    equal("signed", (answer.status_code, answer.json()["status"]), (200, "signed"))
    return answer


def acted(url, act, seen, body=None):
    return requests.post(f"{url}/{act}", json=body, headers={"If-Match": seen.headers["ETag"]}, timeout=60)


def by_rule(context, folder):
    """Draft, signature and addendum: an SR and a PDF each."""
    [phantom] = phantoms.draw(context, "by-rule", 1, SEED + 2)
    rules = [{"name": "results", "what": "results", "destinations": ["PEER"]}]
    with Scp() as peer:
        keys = WITH_DEMO_MODEL | IN_HASTE | {"report.signer": SIGNER}
        with server(context, folder, keys, [node("PEER", peer.port)], rules=rules) as ours:
            phantoms.analysed(ours, [phantom.path.read_bytes()])
            until("the draft", lambda: len(peer.taken) == 2)
            [analysis] = ours.analyses(phantom.study)
            answer = signed(ours, analysis["report"])
            until("what was signed", lambda: len(peer.taken) == 4)
            url = f"{ours.base}/api/v1/reports/{analysis['report']}"
            answer = acted(url, "addendum", answer, {"text": "Compared with the film of 2019."})
            acted(url, "sign", answer, {})
            until("the addendum", lambda: len(peer.taken) == 6)
            stored = {str(found["00080018"]["Value"][0]) for found in dicomweb.search(ours, f"studies/{phantom.study}/instances")
                      if found["00080016"]["Value"][0] in (SR, PDF)}
            equal("all documents, each once", sorted(map(str, peer.taken)), sorted(stored))


def signature(ours, web, report, study):
    """A person signs, and the receiver is told."""
    before = len(web.requests)
    answer = signed(ours, report)
    until("told of the signature", lambda: len(web.requests) > before)
    _, headers, body = web.requests[before]
    headers = {name.lower(): value for name, value in headers.items()}
    assert all(signed_by(secret, headers, body) for secret in ("new", "old")), headers
    event = json.loads(body)
    equal("event", (event["event"], headers["radiant-event"]), ("report-signed", "report-signed"))
    told = (event["study_uid"], event["report"], event["version"])
    equal("of what", told, (study, report, answer.json()["version"]))
    assert SIGNER not in body.decode(), "the receiver was told a name"


def by_hand(context, folder):
    with Scp() as peer:
        with server(context, folder, ARCHIVE, [node("PEER", peer.port)]) as ours:
            study, files = study_of(3)
            uids = sent_in(ours, files)
            act = lambda path, **more: requests.post(f"{ours.base}/api/v1/{path}", timeout=60, **more)  # noqa: E731
            equal("pause", act("destinations/PEER/pause").status_code, 200)
            asked = act(f"studies/{study}/exports", json={"destinations": ["PEER"]})
            equal("asked", (asked.status_code, asked.json()["destinations"][0]["queued"]), (202, 3))
            time.sleep(3)
            equal("paused", (states(ours), peer.taken), (["queued"] * 3, []))
            equal("resume", act("destinations/PEER/resume").status_code, 200)
            all_in(ours, "sent", 3)
            equal("taken over one association", (sorted(peer.taken), peer.associations), (sorted(uids), 1))
            act(f"studies/{study}/exports", json={"destinations": ["PEER"]})
            until("again", lambda: len(peer.taken) == 6)
            metrics = requests.get(f"{ours.base}/metrics", timeout=60).text
            assert 'exports_total{destination="PEER",outcome="sent"} 6' in metrics, "the metric"
