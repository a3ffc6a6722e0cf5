"""A model behind an API: llama.cpp's own server with the demonstration model, and a scripted one that does what services do on bad days.

Studies go in by C-STORE; what is judged is what the service was sent, what became of the analysis, and what leaves in SR and PDF.
"""

import base64
import json
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import jwt
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from PIL import Image

from . import dimse, phantoms, results
from .loopback import Handler, Loopback
from .server import QUICK, RULES, Server, free_port
from .tally import equal

SEED = 940_000
PATIENCE_S = 90
MODEL = Path(__file__).parent.parent / "model"
ASSETS = Path(__file__).parent.parent.parent / "assets/demo-model"
KEY = "hush-of-the-service"
WORDS = "The heart is of normal size. No effusion."
ANSWER = {"findings": [{"finding": "pleural effusion", "location": "pleural space", "laterality": "left", "certainty": "probable",
                        "severity": "small"}], "impression": "Small left pleural effusion."}
# What is judged is how the service is asked: each time.
SHARED = {**QUICK, "analysis.cache": "off", "analysis.guard_words": "[]", "analysis.rules": RULES, "model.engine": "remote", "analysis.attempts_max": "1"}
BRISK = {"model.remote.retry_first_s": "0.05", "model.remote.retry_max_s": "2.0", "model.remote.silence_timeout_s": "2",
         "model.remote.request_timeout_s": "6", "model.remote.connect_timeout_s": "2", "model.remote.image_side": "224",
         "model.remote.pause_first_s": "1", "model.remote.pause_max_s": "1", "model.remote.failures_max": "50",
         "model.remote.answer_bytes_max": "1000000"}


def run(context, tally):
    with Scripted() as peer:
        keys = {**SHARED, **BRISK, "model.remote.url": peer.base, "model.remote.bearer": KEY, "model.remote.service_name": "the lab",
                "model.remote.price_prompt": "1.0", "model.remote.price_answer": "2.0"}
        with Server(context.binary, context.folder("remote-scripted"), keys) as server:
            scripted(context, tally, server, peer)
    with Scripted() as peer:
        vertex(context, tally, peer)
    try:
        import xllamacpp  # noqa: F401
    except ImportError:
        tally.miss("remote-engine", "xllamacpp")
        return
    llama(context, tally)


# --- a service that does what it is told


class Scripted(Loopback):
    """Chat completions by a script: each request takes the next fault, or is answered well."""

    def __init__(self):
        self.faults, self.seen, self.tokens, self.predicts = deque(), [], [], False
        self.wanted_token = None
        peer = self

        class Asked(Handler):
            def do_GET(self):
                peer.get(self)

            def do_POST(self):
                peer.post(self)

        super().__init__(Asked)
        self.base = f"{self.root}/v1"

    def get(self, handler):
        if handler.path.endswith("/models"):
            whole(handler, 200, {"object": "list", "data": [{"id": "medgemma-4b", "object": "model", "created": int(time.time())}]})
        elif handler.path.endswith("/token") and handler.headers.get("Metadata-Flavor") == "Google":
            whole(handler, 200, {"access_token": "of-the-machine", "expires_in": 3600})
        else:
            whole(handler, 404, {"error": "nothing here"})

    def post(self, handler):
        raw = handler.received()
        if handler.path == "/token":
            self.grant(handler, raw)
            return
        body = json.loads(raw)
        self.seen.append((handler.path, {name.lower(): value for name, value in handler.headers.items()}, raw, body))
        fault = self.faults.popleft() if self.faults else None
        if fault is None and self.wanted_token and handler.headers.get("Authorization") != f"Bearer {self.wanted_token}":
            fault = status(401, {"error": {"code": 401, "message": "expired", "status": "UNAUTHENTICATED"}})
        (fault or well)(handler, body)

    def grant(self, handler, raw):
        form = dict(re.findall(rb"(\w+)=([^&]*)", raw))
        assertion = form[b"assertion"].decode()
        claims = jwt.decode(assertion, self.public_key, algorithms=["RS256"], audience=f"{self.root}/token")
        self.tokens.append((form[b"grant_type"].decode(), claims, jwt.get_unverified_header(assertion)))
        time.sleep(0.3)
        self.wanted_token = f"token-{len(self.tokens)}"
        whole(handler, 200, {"access_token": self.wanted_token, "expires_in": 3600, "token_type": "Bearer"})

    def answers(self):
        """The bodies since the last look."""
        seen, self.seen = self.seen, []
        return seen


def whole(handler, code, body, headers=()):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.answer(code, {"Content-Type": "application/json", **dict(headers)}, data)


def asked(body):
    return body["instances"][0] if "instances" in body else body


def text_of(body):
    body = asked(body)
    last = body["messages"][-1]["content"]
    told = json.dumps(last)
    return json.dumps(ANSWER) if "response_format" in body or "JSON Schema" in told or "cannot be used" in told else WORDS


def well(handler, body, text=None, finish="stop"):
    text = text_of(body) if text is None else text
    usage = {"prompt_tokens": 1000, "completion_tokens": 50}
    completion = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}], "usage": usage}
    if "instances" in body:
        whole(handler, 200, {"predictions": completion, "deployedModelId": "7"})
    elif not body.get("stream"):
        whole(handler, 200, completion)
    else:
        begin_stream(handler)
        for piece in re.findall(r".{1,9}", text, re.DOTALL):
            event(handler, {"choices": [{"delta": {"content": piece}, "finish_reason": None}]})
        event(handler, {"choices": [{"delta": {}, "finish_reason": finish}]})
        event(handler, {"choices": [], "usage": usage})
        handler.wfile.write(b"data: [DONE]\n\n")


def begin_stream(handler):
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Connection", "close")
    handler.end_headers()


def event(handler, body):
    handler.wfile.write(b"data: " + json.dumps(body).encode() + b"\n\n")
    handler.wfile.flush()


def saying(text, finish="stop"):
    return lambda handler, body: well(handler, body, text, finish)


def for_json(fault):
    """A fault that waits for the request of JSON."""
    return lambda handler, body: (fault if "response_format" in asked(body) else well)(handler, body)


def status(code, body, headers=()):
    return lambda handler, _: whole(handler, code, body, headers)


def hang(handler, _):
    time.sleep(20)


def silent_midway(handler, _):
    begin_stream(handler)
    event(handler, {"choices": [{"delta": {"content": "The "}}]})
    time.sleep(20)


def cut_midway(handler, _):
    begin_stream(handler)
    event(handler, {"choices": [{"delta": {"content": "The heart"}}]})


def reset(handler, _):
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def garbage(handler, _):
    begin_stream(handler)
    handler.wfile.write(b"data: {\"choices\": [\n\n\xff\xfe\x00data: ]]]\r\r" + bytes(range(256)) * 4)


def for_ever(handler, _):
    """Pieces without an end."""
    begin_stream(handler)
    try:
        while True:
            event(handler, {"choices": [{"delta": {"content": "la " * 50}}]})
    except OSError:
        pass


def comments_for_ever(handler, _):
    begin_stream(handler)
    try:
        while True:
            handler.wfile.write(b": still here\n\n")
            handler.wfile.flush()
            time.sleep(0.2)
    except OSError:
        pass


def ten_gigabytes(handler, _):
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(10 << 30))
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b" " * 65536)
    except OSError:
        pass


# --- checks with it


def scripted(context, tally, server, peer):
    drawn = iter(phantoms.draw(context, "remote", 40, SEED))

    def analysis(*faults, path=None):
        """One study by these faults: its analysis at its end."""
        peer.faults.clear()
        peer.faults.extend(faults)
        peer.answers()
        path = path or next(drawn).path
        return analysed(server, path.read_bytes())

    with tally.check("the service is asked twice: for words, then for JSON with the words before it"):
        ended = analysis()
        equal("state", ended["state"], "done")
        check_conversation(peer.answers())
        check_account(ended)
    with tally.check("SR and PDF say that images were sent to a service, and whose weights are not known"):
        check_results(server, ended)
    for name, faults in {
        "429 with Retry-After, then well": (status(429, {"error": {"message": "slow down"}}, [("Retry-After", "1")]),),
        "503, then well": (status(503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),),
        "502 in HTML, then well": (status(502, b"<html><body>Bad Gateway"),),
        "a reset connection, then well": (reset,),
        "a server that says nothing, then well": (hang,),
        "a stream that stops, then well": (silent_midway,),
        "a stream that is cut, then well": (cut_midway,),
        "garbage in the stream, then well": (garbage,),
        "a stream of comments without an end, then well": (comments_for_ever,),
        "an error within the stream, then well": (lambda handler, _: (begin_stream(handler), event(handler, {"error": {"code": 500, "message": "lost a slot"}})),),
    }.items():
        with tally.check(f"scripted: {name}"):
            ended = analysis(*faults)
            equal("state", (ended["state"], ended.get("reason")), ("done", ended.get("reason")))
            equal("retries", ended["provenance"]["usage"]["service"]["retries"], 1)
    for name, fault, said in (
        ("400 is not tried again", status(400, {"error": {"code": 400, "message": "no such thing", "type": "invalid_request_error"}}), "no such thing"),
        ("403 is not tried again", status(403, {"error": {"code": 403, "message": "not you", "status": "PERMISSION_DENIED"}}), "PERMISSION_DENIED"),
        ("404 is not tried again", status(404, {"error": "model not found"}), "model not found"),
        ("401 is not tried again with the same key", status(401, {"error": {"message": "Invalid API Key"}}), "Invalid API Key"),
        ("500 of a server without a tower is not tried again", status(500, {"error": {"code": 500, "message": "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj", "type": "server_error"}}), "image input is not supported"),
        ("a body of 10 GB is left", ten_gigabytes, "answer_bytes_max"),
        ("a stream without an end is left", for_ever, "answer_bytes_max"),
        ("a prompt that is too long says by how much", status(400, {"error": {"code": 400, "message": "m", "type": "exceed_context_size_error", "n_prompt_tokens": 9000, "n_ctx": 4096}}), "9000"),
        ("JSON that is cut by length is no answer", for_json(saying('{"findings": [', "length")), "tokens"),
    ):
        with tally.check(f"scripted: {name}"):
            ended = analysis(*(fault,) * (2 if "cut by length" in name else 1))
            equal("state", ended["state"], "failed")
            assert said in ended["reason"], ended["reason"]
            equal("requests", len(peer.answers()), 2 if "cut by length" in name else 1)
    with tally.check("scripted: JSON that breaks the schema is sent back with what is wrong"):
        ended = analysis(None, saying('Final Answer: ```json\n{"findings": "none", "impression": ""}\n```'))
        equal("state", ended["state"], "done")
        last = peer.answers()[-1][3]["messages"]
        equal("roles", [message["role"] for message in last][-3:], ["user", "assistant", "user"])
        assert "/findings" in json.dumps(last[-1]), last[-1]
        equal("repairs", ended["provenance"]["usage"]["service"]["repairs"], 1)
    with tally.check("nothing that identifies anybody leaves, in headers, words or pictures"):
        check_privacy(server, peer, next(drawn))
    with tally.check("what may show a name is not sent, and the decision says why"):
        check_refusals(server, peer, next(drawn))
    with tally.check("metrics count requests, retries and tokens; readiness shows the service"):
        check_metrics(server)
    with tally.check("a cancellation drops the request"):
        check_cancellation(server, peer, next(drawn))
    with tally.check("scripted: a service that refuses schemas is told them in words from then on"):
        refusal = status(400, {"error": {"message": "response_format is not supported", "type": "invalid_request_error"}})
        ended = analysis(None, refusal)
        equal("state", ended["state"], "done")
        last = peer.answers()[-1][3]
        assert "response_format" not in last and "JSON Schema" in json.dumps(last["messages"][-1]), "in words"


def analysed(server, file):
    """The analysis of a file that is sent."""
    data_set = phantoms.dcmread(BytesIO(file))
    contexts = [(data_set.SOPClassUID, data_set.file_meta.TransferSyntaxUID)]
    equal("C-STORE", dimse.send_bytes(server, [file], contexts, "MODALITY"), [dimse.SUCCESS])
    study = str(data_set.StudyInstanceUID)
    ended = server.wait_for_analyses([study], timeout_s=PATIENCE_S)
    assert study in ended, f"no end: {server.analyses(study)}"
    return server.rest(f"analyses/{ended[study][0]['id']}")


def check_conversation(seen):
    paths = [path for path, *_ in seen]
    equal("paths", paths, ["/v1/chat/completions"] * 2)
    first, second = (body for *_, body in seen)
    equal("model", {first["model"], second["model"]}, {"medgemma-4b"})
    assert first["stream"] and "response_format" not in first, sorted(first)
    kinds = [part["type"] for message in first["messages"] if message["role"] == "user" for part in message["content"]]
    assert "image_url" in kinds, kinds
    assert {"role": "assistant", "content": WORDS} in second["messages"], "the words before"
    equal("format", second["response_format"]["type"], "json_schema")
    equal("key", {headers["authorization"] for _, headers, *_ in seen}, {f"Bearer {KEY}"})
    for picture in pictures(first):
        equal("size", picture.size, (224, 224))


def pictures(body):
    parts = [part for message in body["messages"] if isinstance(message["content"], list) for part in message["content"]]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return [Image.open(BytesIO(base64.b64decode(url.split(",", 1)[1]))) for url in urls]


def check_account(ended):
    usage = ended["provenance"]["usage"]
    equal("tokens", (usage["prompt_tokens"], usage["answer_tokens"]), (2000, 100))
    service = usage["service"]
    equal("requests", (service["requests"], service["retries"]), (2, 0))
    assert abs(service["cost"]["amount"] - 0.0022) < 1e-9 and service["cost"]["currency"] == "USD", service
    equal("model", ended["provenance"]["model"]["name"], "medgemma-4b")


def check_results(server, ended):
    study = ended["study_uid"]
    sr = phantoms.dcmread(BytesIO(phantoms.sr_of(server, study)))
    # in whole: str(sr) cuts long values
    text = "\n".join(element.value for element in sr.iterall() if element.keyword == "TextValue")
    for wanted in ("endpoint_sha256=", "the external service the lab", "estimated_cost="):
        assert wanted in text, wanted
    for unwanted in ("weights_sha256=", "127.0.0.1", "DEMO"):
        assert unwanted not in text, unwanted
    phantoms.read_sr(phantoms.sr_of(server, study))
    document = phantoms.dcmread(BytesIO(results.object_of(server, study, results.ENCAPSULATED_PDF)))
    pdf = document.EncapsulatedDocument[: document.EncapsulatedDocumentLength]
    said = subprocess.run(["pdftotext", "-layout", "-", "-"], input=pdf, capture_output=True, check=True).stdout.decode()
    assert "the external service the lab" in " ".join(said.split()), said[:500]


MARKS = {"PatientName": "ZZMARK^NAME", "PatientID": "ZZMARKID", "PatientBirthDate": "19010203", "AccessionNumber": "ZZMARKACC",
         "InstitutionName": "ZZMARK HOSPITAL", "ReferringPhysicianName": "ZZMARK^DOCTOR", "StudyDescription": "ZZMARK OUTLINE",
         "SeriesDescription": "ZZMARK SERIES", "StudyDate": "19991231", "StudyID": "ZZMARKSTUDY", "PatientComments": "ZZMARK COMMENT",
         "AdditionalPatientHistory": "ZZMARK HISTORY", "RequestedProcedureDescription": "ZZMARK PROCEDURE",
         "ReasonForTheRequestedProcedure": "ZZMARK REASON", "StationName": "ZZMARKSTATION", "DeviceSerialNumber": "ZZMARKDEVICE"}


def check_privacy(server, peer, phantom):
    def mark(data_set):
        for keyword, value in MARKS.items():
            setattr(data_set, keyword, value)

    file, study = phantoms.changed(phantom.path, mark)
    peer.answers()
    ended = analysed(server, file)
    equal("state", (ended["state"], ended.get("reason")), ("done", ended.get("reason")))
    data_set = phantoms.dcmread(BytesIO(file))
    uids = [str(data_set.StudyInstanceUID), str(data_set.SeriesInstanceUID), str(data_set.SOPInstanceUID), study, ended["id"], "2.25."]
    secrets = {part for value in MARKS.values() for part in (value, *re.split(r"[\s^]", value)) if len(part) > 4} | set(uids) | {"ZZMARK"}
    seen = peer.answers()
    assert seen, "nothing was sent"
    for path, headers, raw, body in seen:
        sent = f"{path}\n{headers}\n{raw.decode()}"
        found = [secret for secret in secrets if secret.lower() in sent.lower()]
        equal("identifiers sent", found, [])
        unknown = {name.lower() for name in headers} - {"host", "authorization", "content-type", "content-length", "accept", "user-agent", "accept-encoding"}
        equal("other headers", unknown, set())
        for picture in pictures(body):
            equal("what comes along with a picture", {key for key in picture.info if key != "dpi"}, set())


def check_refusals(server, peer, phantom):
    secondary_capture = "1.2.840.10008.5.1.4.1.1.7"

    def burned(data_set):
        data_set.BurnedInAnnotation = "YES"

    def captured(data_set):
        data_set.SOPClassUID = data_set.file_meta.MediaStorageSOPClassUID = secondary_capture

    def ultrasound(data_set):
        data_set.SOPClassUID = data_set.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.6.1"

    peer.answers()
    for change, rule in ((burned, "remote-burned-in"), (captured, "remote-secondary-capture"), (ultrasound, "remote-ultrasound")):
        file, study = phantoms.changed(phantom.path, change)
        data_set = phantoms.dcmread(BytesIO(file))
        contexts = [(data_set.SOPClassUID, data_set.file_meta.TransferSyntaxUID)]
        equal("C-STORE", dimse.send_bytes(server, [file], contexts, "MODALITY"), [dimse.SUCCESS])
        decision = decided(server, study)
        equal("decision", (decision["verdict"], decision["rule"]), ("skip", rule))
        assert "model elsewhere" in decision["reason"], decision
        answer = requests.post(f"{server.base}/api/v1/studies/{study}/analyses", params={"pipeline": "chest-radiograph"},
                               json={"pipeline": "chest-radiograph"}, timeout=60)
        assert answer.status_code >= 400, f"{answer.status_code} {answer.text[:200]}"
    equal("requests", peer.answers(), [])


def decided(server, study):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        decisions = server.rest(f"studies/{study}")["decisions"]
        if decisions:
            return decisions[0]
        time.sleep(0.3)
    raise AssertionError("no decision")


def check_metrics(server):
    text = requests.get(f"{server.base}/metrics", timeout=30).text
    for wanted in ('model_service_requests_total{outcome="answered"}', "model_service_retries_total", "model_service_breaker",
                   'model_service_tokens_total{kind="prompt"}', "model_service_repairs_total",
                   'model_service_estimated_cost_millionths_total{currency="USD"}', "model_service_requests_waiting 0"):
        assert wanted in text, wanted
    assert KEY not in text and KEY not in server.log(), "the key is told"
    ready = requests.get(f"{server.base}/readyz", timeout=30)
    assert ready.status_code == 200 and "model" in ready.text, ready.text


def check_cancellation(server, peer, phantom):
    left = threading.Event()

    def endless(handler, _):
        begin_stream(handler)
        try:
            while True:
                event(handler, {"choices": [{"delta": {"content": "a "}}]})
                time.sleep(0.2)
        except OSError:
            left.set()

    peer.faults.clear()
    peer.faults.append(endless)
    file, study = phantoms.changed(phantom.path)
    data_set = phantoms.dcmread(BytesIO(file))
    dimse.send_bytes(server, [file], [(data_set.SOPClassUID, data_set.file_meta.TransferSyntaxUID)], "MODALITY")
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and not any("tokens written" in (one.get("reason") or "") for one in server.analyses(study)):
        time.sleep(0.05)
    [analysis] = server.analyses(study)
    answer = requests.post(f"{server.base}/api/v1/analyses/{analysis['id']}/cancel", timeout=30)
    assert answer.status_code < 300, answer.text
    assert left.wait(5), "the request goes on"
    equal("state", server.analyses(study)[0]["state"], "cancelled")


# --- Vertex AI


def vertex(context, tally, peer):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    peer.public_key = key.public_key()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    account = context.folder("remote-vertex-key") / "account.json"
    account.write_text(json.dumps({"type": "service_account", "client_email": "radiant@project.iam.example", "private_key": pem,
                                   "private_key_id": "k1", "token_uri": f"{peer.root}/token"}))
    keys = {**SHARED, **BRISK, "model.remote.kind": "vertex", "model.remote.url": peer.root, "model.remote.model": "medgemma-4b-it",
            "model.remote.version": "1.5", "model.remote.vertex.project": "clinic", "model.remote.vertex.location": "europe-west4",
            "model.remote.vertex.endpoint": "mg-endpoint-1", "model.remote.vertex.credentials_file": str(account)}
    place = "projects/clinic/locations/europe-west4/endpoints/mg-endpoint-1"
    first, second, third = phantoms.draw(context, "vertex", 3, SEED + 100)
    with Server(context.binary, context.folder("remote-vertex"), keys) as server:
        with tally.check("vertex: a token for the key of a service account, once, and chat completions"):
            ended = analysed(server, first.path.read_bytes())
            equal("state", (ended["state"], ended.get("reason")), ("done", ended.get("reason")))
            equal("paths", {path for path, *_ in peer.answers()}, {f"/v1beta1/{place}/chat/completions"})
            [(grant, claims, header)] = peer.tokens
            assert grant.endswith("jwt-bearer") and claims["iss"] == "radiant@project.iam.example", (grant, claims)
            equal("claims", (claims["exp"] - claims["iat"] <= 3600, "cloud-platform" in claims["scope"], header["kid"]), (True, True, "k1"))
        with tally.check("vertex: a token that is not taken is fetched anew, once"):
            peer.wanted_token = "revoked"
            ended = analysed(server, second.path.read_bytes())
            equal("state", (ended["state"], len(peer.tokens)), ("done", 2))
        assert pem.splitlines()[1] not in server.log() and "token-1" not in server.log(), "a secret is told"
    peer.answers()
    with Server(context.binary, context.folder("remote-predict"), {**keys, "model.remote.vertex.form": "predict"}) as server:
        with tally.check("vertex: predict with the request in its envelope"):
            ended = analysed(server, third.path.read_bytes())
            equal("state", (ended["state"], ended.get("reason")), ("done", ended.get("reason")))
            seen = peer.answers()
            equal("paths", {path for path, *_ in seen}, {f"/v1/{place}:predict"})
            equal("form", {body["instances"][0]["@requestFormat"] for *_, body in seen}, {"chatCompletions"})


# --- llama.cpp


@contextmanager
def llama_server(folder, decoder, tower, context_tokens, *key):
    port = free_port()
    command = [sys.executable, str(MODEL / "llama_server.py"), str(port), str(decoder), str(tower), str(context_tokens), *key]
    with (folder / "llama.log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                if requests.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == 200:
                    break
            except requests.RequestException:
                time.sleep(0.3)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def llama(context, tally):
    folder = context.folder("remote-llama")
    subprocess.run([sys.executable, str(MODEL / "to_gguf.py"), str(ASSETS), str(folder / "demo")], check=True, capture_output=True)
    decoder, tower = folder / "demo.gguf", folder / "demo-mmproj.gguf"
    drawn = phantoms.draw(context, "llama", 8, SEED + 200)
    keys = {**SHARED, **BRISK, "model.remote.image_side": "224", "model.remote.prompts": "demonstration",
            "model.remote.request_timeout_s": "60", "model.remote.silence_timeout_s": "60"}
    with llama_server(folder, decoder, tower, 2048, KEY) as base:
        keyed = {**keys, "model.remote.url": base, "model.remote.bearer": KEY}
        with Server(context.binary, folder / "whole", keyed) as server:
            with tally.check("llama.cpp: studies in, SR and PDF out"):
                found = phantoms.analysed(server, [phantom.path.read_bytes() for phantom in drawn[:6]])
                right = sum(found[phantom.study].effusions == phantom.truth.effusions for phantom in drawn[:6])
                print(f"     {right} of 6 effusions with side and grade, or none, as in the phantom")
                ended = results.analysis_of(server, drawn[0].study)
                equal("model", ended["provenance"]["model"]["name"], "demo.gguf")
                assert ended["provenance"]["usage"]["prompt_tokens"] > 16, ended["provenance"]["usage"]
                assert results.object_of(server, drawn[0].study, results.ENCAPSULATED_PDF), "no PDF"
        refused(context, tally, {**keyed, "model.remote.bearer": "wrong"}, drawn[6], "a wrong key", "Invalid API Key")
        refused(context, tally, {**keyed, "model.remote.model": "other"}, drawn[6], "a model that it does not have", "no model \"other\"")
    with llama_server(folder, decoder, tower, 64, KEY) as base:
        small = {**keys, "model.remote.url": base, "model.remote.bearer": KEY}
        refused(context, tally, small, drawn[6], "a prompt longer than its context", "tokens")
    with llama_server(folder, decoder, "-", 2048) as base:
        refused(context, tally, {**keys, "model.remote.url": base}, drawn[6], "an image for a model without a tower", "image")


def refused(context, tally, keys, phantom, name, said):
    with tally.check(f"llama.cpp: {name} fails once, with the reason"):
        folder = context.folder("remote-llama") / re.sub(r"\W+", "-", name)
        with Server(context.binary, folder, keys) as server:
            ended = analysed(server, phantom.path.read_bytes())
            equal("state", ended["state"], "failed")
            assert said in ended["reason"], ended["reason"]
