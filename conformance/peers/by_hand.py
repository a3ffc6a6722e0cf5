"""The upper layer by hand (`dimse/wire.py`) towards a server of the suites, and what its metrics say meanwhile."""

import re
import socket
import struct
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import requests

sys.path.append(str(Path(__file__).parent.parent / "dimse"))

import message  # noqa: E402
import wire  # noqa: E402
from objects import ct, uid  # noqa: E402, F401

# Far longer than any limit of the configuration, however busy the machine is.
PATIENCE_S = 60


def connect(server):
    return wire.Connection(SimpleNamespace(host=server.host, port=server.dimse_port), PATIENCE_S)


def request(server, *contexts, calling="BY_HAND", **changes):
    numbered = [(number * 2 + 1, one, [wire.IMPLICIT]) for number, one in enumerate(contexts or [wire.VERIFICATION])]
    return wire.Request(**{"called": server.aet, "calling": calling, "contexts": numbered} | changes)


def associate(server, *contexts, **changes):
    place = SimpleNamespace(host=server.host, port=server.dimse_port)
    return message.Association(place, request(server, *contexts, **changes), PATIENCE_S)


def store_command(instance):
    fields = {message.FIELD: message.C_STORE, message.MESSAGE_ID: 1, message.PRIORITY: 0, message.DATA_SET_TYPE: 1}
    fields |= {message.SOP_CLASS: wire.CT_IMAGE_STORAGE, message.SOP_INSTANCE: str(instance)}
    return wire.p_data(message.encode_command(fields), 1, 3)


def echo_command():
    fields = {message.FIELD: message.C_ECHO, message.MESSAGE_ID: 1, message.SOP_CLASS: wire.VERIFICATION}
    return wire.p_data(message.encode_command(fields | {message.DATA_SET_TYPE: message.NO_DATA_SET}), 1, 3)


def reset(connection):
    """Ends a connection as when a cable is pulled and the system gives up."""
    connection.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def metric(server, name):
    """A counter or gauge with its labels, as in `x_total{limit="time"}`; 0 where it was never touched."""
    text = requests.get(f"{server.base}/metrics", timeout=PATIENCE_S).text
    found = re.search(rf"^{re.escape(name)} (\d+)", text, re.MULTILINE)
    return int(found.group(1)) if found else 0


def hits(server, limit):
    return metric(server, f'limit_hits_total{{limit="{limit}"}}')


def standing(server):
    return metric(server, "dimse_associations")


def wait_for(holds, complaint):
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"{complaint} after {PATIENCE_S} s"
        time.sleep(0.1)
