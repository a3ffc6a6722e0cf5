"""Many associations, long ones and short ones: nothing is lost, and nothing is left over."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import requests

from . import by_hand
from .by_hand import PATIENCE_S, connect, ct, message, metric, reset, standing, store_command, uid, wait_for, wire
from .server import WITHOUT_ANALYSIS, Server
from .tally import equal

IN_ONE = 5000
AT_ONCE, OBJECTS_EACH = 64, 4
RELEASED = 'dimse_associations_ended_total{how="released"}'
CYCLES, ABORTS, DROPS = 1000, 300, 300
CONTEXTS = wire.CT_IMAGE_STORAGE, wire.VERIFICATION
STOP_TIMEOUT_S, GRACE_S = 5, 20
STOPPING = WITHOUT_ANALYSIS | {"server.stop_timeout_s": str(STOP_TIMEOUT_S)}
# Of these cycles, after as many that have filled the caches.
GROWTH_MAX_KB = 8 * 1024


def run(context, tally):
    data_dir = context.folder("associations") / "data"
    with Server(context.binary, data_dir, WITHOUT_ANALYSIS) as server:
        for name, check in CHECKS.items():
            with tally.check(f"associations: {name}"):
                check(server)
        with tally.check("associations: nothing panicked"):
            assert "panicked" not in server.log(), "see the log"
    for name, check in STOPS.items():
        with Server(context.binary, data_dir, STOPPING) as server, tally.check(f"associations: {name}"):
            check(server)


class Template:
    """An object whose UIDs are put in anew, all of one length: encoding each would take longer than storing it."""

    def __init__(self):
        self.study = uid_of_length()
        self.instance = uid_of_length()
        made = ct(self.study, uid_of_length(), SOPInstanceUID=self.instance)
        self.data = message.encode_data_set(made)

    def another(self):
        instance = uid_of_length()
        return instance, self.data.replace(self.instance.encode(), instance.encode())


def uid_of_length():
    while len(made := str(uid())) != 44:
        pass
    return made


def request(server):
    return by_hand.request(server, *CONTEXTS)


def associate(server):
    return by_hand.associate(server, *CONTEXTS)


def store(association, template):
    instance, data = template.another()
    return association.store_bytes(1, wire.CT_IMAGE_STORAGE, instance, data).status


def instances(server, study):
    found = requests.get(f"{server.web}/studies", params={"StudyInstanceUID": study, "includefield": "00201208"}, timeout=PATIENCE_S)
    return found.json()[0]["00201208"]["Value"][0] if found.status_code == 200 and found.json() else 0


def descriptors(server):
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def threads_of(server):
    return len(list(Path(f"/proc/{server.process.pid}/task").iterdir()))


def many_in_one(server):
    template, begun = Template(), time.monotonic()
    with associate(server) as association:
        statuses = {store(association, template) for _ in range(IN_ONE)}
        association.release()
    equal("statuses", statuses, {0})
    print(f"     {IN_ONE / (time.monotonic() - begun):.0f} instances/s", flush=True)
    equal("instances in the index", instances(server, template.study), IN_ONE)


def many_at_once(server):
    """All of them stand before the first sends; one more is rejected, and nothing is lost."""
    template = Template()
    with ExitStack() as stack, ThreadPoolExecutor(AT_ONCE) as pool:
        made = [stack.enter_context(associate(server)) for _ in range(AT_ONCE)]
        equal("associations that stand", standing(server), AT_ONCE)
        with connect(server) as another:
            another.send(request(server).encode())
            equal("result and source of one more", another.expect(wire.ASSOCIATE_RJ).fault[:2], (2, 3))
        statuses = pool.map(lambda association: {store(association, template) for _ in range(OBJECTS_EACH)}, made)
        equal("statuses", set().union(*statuses), {0})
        list(pool.map(lambda association: association.release(), made))
    equal("instances in the index", instances(server, template.study), AT_ONCE * OBJECTS_EACH)
    wait_for(lambda: standing(server) == 0, "associations still stand")


def released(server):
    with associate(server) as association:
        equal("status", association.echo().status, 0)
        association.release()


def aborted(server, number):
    """In the middle of an object, every other time."""
    with associate(server) as association:
        if number % 2:
            association.send(half_an_object())
        association.send(wire.ABORT)


def dropped(server, number):
    """Closed or reset without a word; some of them before or within their request."""
    with connect(server) as connection:
        words = request(server).encode()
        connection.send(words if number % 3 else words[: number % len(words)])
        if number % 3:
            connection.expect(wire.ASSOCIATE_AC)
        if number % 3 == 2:
            connection.send(half_an_object())
        if number % 2:
            reset(connection)


def half_an_object():
    return store_command(uid_of_length()) + wire.p_data(bytes(1000), 1)


def all_kinds(server, share=1):
    for _ in range(CYCLES // share):
        released(server)
    for number in range(ABORTS // share):
        aborted(server, number)
    for number in range(DROPS // share):
        dropped(server, number)
    wait_for(lambda: standing(server) == 0, "associations still stand")


def come_and_go(server):
    """As many again after those that fill caches: no task, descriptor or memory is left over."""
    all_kinds(server, share=2)
    wait_for(lambda: descriptors(server) < 200, "descriptors stay")
    before, memory = descriptors(server), server.status_kb("VmRSS")
    count, threads = metric(server, RELEASED), threads_of(server)
    all_kinds(server)
    equal("releases that were counted", metric(server, RELEASED) - count, CYCLES)
    wait_for(lambda: descriptors(server) <= before + 2, f"more than {before} descriptors stay open")
    growth = server.status_kb("VmRSS") - memory
    print(f"     {before} descriptors before, {descriptors(server)} after; {growth} kB more", flush=True)
    assert growth < GROWTH_MAX_KB, f"{growth} kB more"
    assert threads_of(server) <= threads + 8, "threads are left over"


def stop_within_an_object(server):
    """The object that is under way is finished, then its association ends; nobody else is let in."""
    made = ct()
    data = message.encode_data_set(made)
    with associate(server) as busy, associate(server) as idle:
        busy.send(store_command(made.SOPInstanceUID) + wire.p_data(data[:200], 1))
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        assert idle.ends(PATIENCE_S), "an idle association outlives the stop"
        wait_for(lambda: refuses(server), "associations are still accepted")
        busy.send(wire.p_data(data[200:], 1, wire.LAST))
        equal("status of the object", busy.message(PATIENCE_S).status, 0)
        assert busy.ends(PATIENCE_S), "the association outlives the stop"
    equal("exit status", server.process.wait(PATIENCE_S), 0)
    server.start()
    equal("instances after the next start", instances(server, str(made.StudyInstanceUID)), 1)


def refuses(server):
    try:
        with connect(server) as connection:
            connection.send(request(server).encode())
            got = connection.receive(5)
            return got is None or got.kind in (wire.ASSOCIATE_RJ, wire.A_ABORT)
    except (OSError, wire.Closed):
        return True


def stop_with_a_staller(server):
    """An object that never comes to its end holds the stop no longer than it is configured."""
    with associate(server) as stalled:
        stalled.send(half_an_object())
        time.sleep(0.5)
        begun = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        equal("exit status", server.process.wait(PATIENCE_S), 0)
        took = time.monotonic() - begun
        assert STOP_TIMEOUT_S - 1 < took < STOP_TIMEOUT_S + GRACE_S, f"stopped after {took:.0f} s"


CHECKS = {
    f"{IN_ONE} instances in one": many_in_one,
    f"{AT_ONCE} at once": many_at_once,
    f"{CYCLES} releases, {ABORTS} aborts, {DROPS} drops": come_and_go,
}
STOPS = {
    "a stop in the middle of an object": stop_within_an_object,
    "a stop beside an object that stalls": stop_with_a_staller,
}
