"""Three instances behind HAProxy, with one PostgreSQL and one S3 server: senders deliver through the balancer while
an instance, the database and the object store are killed one after the other. What was acknowledged is there once,
with its bytes, and every study is analysed exactly once. What one instance begins another goes on with; a rolling
restart fails nothing; limits of requests are those of all together; instances have roles.
"""

import shutil
import time
from contextlib import ExitStack, contextmanager

import requests

from . import crash, instances
from .by_hand import wait_for
from .circumstances import haproxy
from .database import Postgres, programs
from .one_study_at_once import IMAGES, check_study, fresh_study
from .phantoms import draw
from .senders import ByDimse, ByStow, Sender, Senders, endless
from .server import QUICK, WITH_DEMO_MODEL, Server, free_port
from .stores import SeaweedFs

INSTANCES = 3
STUDIES = 6
SIDE = 128
# What has been killed is away for so long.
AWAY_S = 4
RECOVERY_S = 180
ANALYSES_TIMEOUT_S = 900
KEYS = WITH_DEMO_MODEL | {
    # Only the phantoms are analysed.
    "analysis.rules": '[{ name = "radiographs", modality = ["CR", "DX"], pipeline = "chest-radiograph" }]',
    "analysis.experimental": "[]", "database.patience_s": "5", "storage.retry_time_s": "3.0",
    "storage.part_bytes": "5242880", "analysis.delivery_timeout_s": "20",
    # A study that comes while something is away is not taken for complete.
    "analysis.quiet_time_s": "30.0",
    # Until the balancer has asked twice.
    "server.drain_s": "2",
}
BALANCER = """
defaults
    timeout connect 5s
    timeout client 120s
    timeout server 120s
    retries 2
    option redispatch
frontend http
    mode http
    bind 127.0.0.1:{http}
    default_backend web
backend web
    mode http
    balance roundrobin
    option httpchk GET /readyz
{web}
frontend dimse
    mode tcp
    bind 127.0.0.1:{dimse}
    default_backend nodes
backend nodes
    mode tcp
    balance roundrobin
    option httpchk GET /readyz
{nodes}
"""


class Balancer:
    """Looks like one server to everybody outside."""

    aet, host = "RADIANT", "127.0.0.1"

    def __init__(self, folder, servers, marked_down="on-marked-down shutdown-sessions"):
        self.folder, self.servers, self.marked_down = folder, servers, marked_down
        self.http_port, self.dimse_port = free_port(), free_port()
        self.base = f"http://{self.host}:{self.http_port}"
        self.web = f"{self.base}/dicom-web"

    @contextmanager
    def running(self):
        self.folder.mkdir(exist_ok=True)
        with haproxy(self.folder, "haproxy", self.configuration()):
            wait_for(self.is_ready, "the balancer knows no server that is ready")
            yield self

    is_ready = Server.is_ready

    def configuration(self):
        def lines(port_of):
            checked = f"inter 500ms fall 1 rise 1 {self.marked_down}"
            return "\n".join(f"    server s{n} 127.0.0.1:{port_of(server)} check port {server.http_port} {checked}"
                             for n, server in enumerate(self.servers))

        return BALANCER.format(http=self.http_port, dimse=self.dimse_port, web=lines(lambda server: server.http_port),
                               nodes=lines(lambda server: server.dimse_port))

    def analyses(self, study):
        answer = requests.get(f"{self.base}/api/v1/studies/{study}/analyses", timeout=60)
        answer.raise_for_status()
        return answer.json()["items"]

    wait_for_analyses = Server.wait_for_analyses


def run(context, tally):
    for peer, found in [("haproxy", shutil.which("haproxy")), ("postgresql", programs()), ("weed", SeaweedFs.program())]:
        if not found:
            tally.miss("a fleet", peer)
            return
    folder = context.folder("fleet")
    template = draw(context, "fleet", count=1, seed=920_000)[0].path
    with ExitStack() as stack:
        postgres = stack.enter_context(Postgres(folder / "postgres").running())
        store = stack.enter_context(SeaweedFs(folder / "store"))
        keys = KEYS | store.keys("fleet") | {"database.url": postgres.address()}
        servers = [stack.enter_context(Server(context.binary, folder / f"radiant{n}", keys)) for n in range(INSTANCES)]
        balancer = stack.enter_context(Balancer(folder, servers).running())
        instances.judge_passed_on(tally, balancer, servers)
        judged(tally, balancer, servers, postgres, store, template)
        # What a server that leaves has begun it ends.
        with Balancer(folder / "rolling", servers, marked_down="").running() as patient:
            instances.judge_rolling(tally, patient, servers)
        for server in servers:
            server.stop()
        elsewhere = lambda name: store.keys(name) | {"database.url": postgres.database_for(folder / name)}
        instances.judge_limits(context, tally, folder, elsewhere("limited"))
        instances.judge_roles(context, tally, folder, KEYS | elsewhere("roles") | QUICK, template)


def judged(tally, balancer, servers, postgres, store, template):
    # An association of its own for each object: the balancer chooses anew.
    ways = [ByStow(balancer), ByStow(balancer), ByDimse(balancer, 1), ByDimse(balancer, 1)]
    senders = Senders(*(Sender(way, endless(SIDE)) for way in ways))
    studies = [fresh_study(template) for _ in range(STUDIES)]
    phantoms = Sender(ByStow(balancer), ([file] for _, files in studies for file in files))
    everybody = Senders(*senders.senders, phantoms)
    everybody.start()
    for what, kill, start in [
        ("an instance", servers[0].kill, servers[0].start),
        ("the database", lambda: postgres.stop("immediate"), postgres.start),
        ("the object store", store.kill, store.start),
    ]:
        with tally.check(f"{what} is killed and comes back"):
            senders.further(5, RECOVERY_S)
            kill()
            time.sleep(AWAY_S)
            start()
            print(f"     further on after {senders.further(3, RECOVERY_S):.1f} s")
    with tally.check("every study came through"):
        phantoms.join(RECOVERY_S)
        assert len(phantoms.acknowledged) == STUDIES * IMAGES, f"{len(phantoms.acknowledged)} objects"
    everybody.stop()
    everything = everybody.acknowledged
    ended = balancer.wait_for_analyses([study for study, _ in studies], ANALYSES_TIMEOUT_S)
    for number, (study, _) in enumerate(studies, 1):
        with tally.check(f"study {number} is analysed exactly once"):
            check_study(balancer, study, ended.get(study))
    for server in servers:
        with tally.check(f"instance {servers.index(server) + 1} has everything that was acknowledged, once"):
            crash.walk(server, everything)
