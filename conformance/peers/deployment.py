"""How the server is run: whether it leaves and stops as `/readyz` says, and whether the files of docs/ops are what their readers take: configuration by `radiant check-config`, manifests by the schemas of Kubernetes, the unit by systemd, the balancer by HAProxy."""

import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import kubernetes_validate
import requests
import yaml

from .by_hand import wait_for
from .server import WITHOUT_ANALYSIS, Server, environment
from .tally import equal

ROOT = Path(__file__).parent.parent.parent
OPS = ROOT / "docs/ops"
KUBERNETES = "1.31"


def run(context, tally):
    folder = context.folder("deployment")
    keys = WITHOUT_ANALYSIS | {"server.probe_every_s": "1", "server.drain_s": "600"}
    with Server(context.binary, folder / "data", keys) as server:
        with tally.check("readiness tells which part takes no write, and that it does again"):
            check_storage(server)
        with tally.check("a server that leaves is not ready, and still answers"):
            check_leaving(server)
        with tally.check("one more signal ends the wait"):
            server.process.send_signal(signal.SIGTERM)
            equal("exit status", server.process.wait(60), 0)
    for name, text in configurations():
        with tally.check(f"check-config: {name}"):
            check_configuration(context.binary, folder, text)
    with tally.check("roles: a part of a server is refused where the index is not shared"):
        check_alone(context.binary, folder)
    with tally.check("roles: the hospital and the cluster have servers and workers, and nobody is sent to a worker"):
        check_roles(context.binary, folder)
    for path in sorted((OPS / "kubernetes").glob("*.yaml")):
        with tally.check(f"Kubernetes {KUBERNETES}: {path.name}"):
            check_manifests(path)
    for path in sorted(OPS.glob("compose-*.yml")):
        with tally.check(f"compose: {path.name}"):
            check_compose(path)
    with tally.check("Dockerfile: nobody is root, and what it copies is there"):
        check_dockerfile((ROOT / "Dockerfile").read_text())
    judged(tally, "systemd-analyze", "systemd unit", lambda: check_unit(folder))
    judged(tally, "haproxy", "balancer", lambda: check_balancer(folder))


def judged(tally, program, name, check):
    if not shutil.which(program):
        tally.miss(name, program)
        return
    with tally.check(f"{program}: {name}"):
        check()


def readiness(server):
    answer = requests.get(f"{server.base}/readyz", timeout=60)
    return answer.status_code, answer.json()["parts"]


def check_storage(server):
    staging = server.data_dir / "staging"
    staging.rename(staging.with_name("elsewhere"))
    wait_for(lambda: readiness(server)[0] == 503, "a storage without its folder is ready")
    parts = readiness(server)[1]
    equal("storage and database", (parts["storage"]["state"], parts["database"]["state"]), ("failed", "ready"))
    equal("liveness", requests.get(f"{server.base}/healthz", timeout=60).status_code, 200)
    staging.with_name("elsewhere").rename(staging)
    wait_for(lambda: readiness(server)[0] == 200, "a storage that is back is not ready")


def check_leaving(server):
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: readiness(server)[0] == 503, "a server that leaves is ready")
    equal("listeners", readiness(server)[1]["listeners"]["state"], "failed")
    time.sleep(1)
    for path in ("healthz", "dicom-web/studies", "api/v1/studies"):
        equal(path, requests.get(f"{server.base}/{path}", timeout=60).status_code, 200)


def configurations():
    """Every configuration of docs/ops, those in manifests too."""
    for path in sorted(OPS.glob("*/radiant.toml")):
        yield str(path.relative_to(OPS)), path.read_text()
    for path in sorted((OPS / "kubernetes").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document["kind"] == "ConfigMap":
                yield str(path.relative_to(OPS)), document["data"]["radiant.toml"]


def check_configuration(binary, folder, text):
    path = folder / "radiant.toml"
    path.write_text(text)
    command = [str(binary), "check-config", "--config", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment({"auth.mode": "on"}))
    equal("complaints", (done.returncode, done.stderr.strip()[-500:]), (0, ""))


def refusal(binary, folder, role, *more):
    command = [str(binary), "check-config", "--role", role, "--data-dir", str(folder / "alone"), *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment({"auth.mode": "on"}))
    if done.returncode == 0:
        equal("role", re.findall(r'^server\.role = "(\w+)"  # command line$', done.stdout, re.MULTILINE), [role])
    return done.stderr.strip() if done.returncode else None


def check_alone(binary, folder):
    equal("all", refusal(binary, folder, "all"), None)
    for role in ("serve", "worker"):
        said = refusal(binary, folder, role)
        assert said and role in said and "database.url" in said, said
    assert refusal(binary, folder, "both"), "a role that is none"


def role_of(command):
    return command[command.index("--role") + 1]


def check_roles(binary, folder):
    compose = yaml.safe_load((OPS / "compose-hospital.yml").read_text())["services"]
    roles = {name: role_of(one["command"]) for name, one in compose.items() if one.get("image", "").startswith("radiant")}
    for role in sorted(set(roles.values())):
        equal(role, refusal(binary, folder, role, "--config", str(OPS / "hospital/radiant.toml")), None)
    sent_to = re.findall(r"^ +server (\S+) ", (OPS / "hospital/haproxy.cfg").read_text(), re.MULTILINE)
    equal("behind the balancer", sorted(set(sent_to)), sorted(name for name, role in roles.items() if role == "serve"))
    assert "worker" in roles.values(), "no workers"
    manifests = list(yaml.safe_load_all((OPS / "kubernetes/radiant.yaml").read_text()))
    pods = [one["spec"]["template"] for one in manifests if one["kind"] == "Deployment"]
    labels = {role_of(pod["spec"]["containers"][0]["args"]): pod["metadata"]["labels"] for pod in pods}
    equal("roles of the cluster", sorted(labels), ["serve", "worker"])
    for service in (one for one in manifests if one["kind"] == "Service"):
        selected = [role for role, label in labels.items() if service["spec"]["selector"].items() <= label.items()]
        equal(service["metadata"]["name"], selected, ["serve"])


def check_manifests(path):
    documents = list(yaml.safe_load_all(path.read_text()))
    assert documents, "nothing in it"
    for document in documents:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def check_compose(path):
    """Every volume, secret, network and file that a service names is there, and nothing has more rights than it needs."""
    compose = yaml.safe_load(path.read_text())
    for name, service in compose["services"].items():
        named = {volume.split(":")[0] for volume in service.get("volumes", [])}
        kept = {volume for volume in named if not volume.startswith(".")}
        equal(f"volumes of {name}", sorted(kept - set(compose["volumes"])), [])
        equal(f"secrets of {name}", sorted(set(service.get("secrets", [])) - set(compose["secrets"])), [])
        equal(f"networks of {name}", sorted(set(service.get("networks", [])) - set(compose.get("networks", {}))), [])
        files = [volume for volume in named if volume.startswith("./") and volume.endswith((".toml", ".cfg"))]
        equal(f"files of {name}", [file for file in files if not (OPS / file).is_file()], [])
        if service.get("image", "").startswith("radiant"):
            assert service["read_only"] and service["cap_drop"] == ["ALL"], f"{name} has rights that it does not need"


def check_dockerfile(text):
    stages = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    equal("stages", stages, ["${RUST}", "${BASE}"])
    last = text[text.rindex("FROM ") :]
    equal("user", re.findall(r"^USER (\S+)", last, re.MULTILINE), ["10001:10001"])
    assert "HEALTHCHECK" in last and re.search(r'^ENTRYPOINT \["radiant"\]', last, re.MULTILINE), "no health check or entry point"
    assert "--locked" in text and "rm -rf /var/lib/apt/lists" in last, "not reproducible, or not small"
    ignored = (ROOT / ".dockerignore").read_text().split()
    needed = ["Cargo.toml", "Cargo.lock", "src", "schema", "assets", "benches"]
    equal("what the build needs is not ignored", [name for name in needed if name in ignored or not (ROOT / name).exists()], [])


def check_unit(folder):
    unit = (OPS / "radiant.service").read_text().replace("/usr/local/bin/radiant", shutil.which("true"))
    path = folder / "radiant.service"
    path.write_text(unit)
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, timeout=60)
    complaints = [line for line in done.stderr.splitlines() if "radiant.service" in line]
    equal("complaints", complaints, [])


def check_balancer(folder):
    """Names of servers are those of the containers: here they are this machine, and the certificate is missing."""
    text = (OPS / "hospital/haproxy.cfg").read_text()
    text = re.sub(r"^( +server \w+) \w+:", r"\1 127.0.0.1:", text, flags=re.MULTILINE).replace(" ssl crt /run/secrets/certificate.pem alpn h2,http/1.1", "")
    with tempfile.NamedTemporaryFile("w", suffix=".cfg", dir=folder) as file:
        file.write(text)
        file.flush()
        done = subprocess.run(["haproxy", "-c", "-f", file.name], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, (done.stdout + done.stderr)[-1000:]
