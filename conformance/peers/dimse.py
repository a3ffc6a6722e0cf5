"""C-STORE by pynetdicom, with the bytes of the file."""

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pynetdicom import AE, _config, build_context
from reactor import rest

# A file's own bytes instead of its data set encoded anew.
_config.STORE_SEND_CHUNKED_DATASET = True
CONTEXTS_MAX = 128
TIMEOUT_S = 300
SUCCESS, CONFLICT, OUT_OF_RESOURCES = 0x0000, 0x0111, 0xA700


@contextmanager
def association(server, contexts, calling="PYNETDICOM", timeout_s=TIMEOUT_S):
    """`contexts` are pairs of SOP class and transfer syntax, one presentation context each."""
    ae = AE(ae_title=calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = timeout_s
    proposed = [build_context(sop_class, syntax) for sop_class, syntax in contexts]
    made = ae.associate(server.host, server.dimse_port, contexts=proposed, ae_title=server.aet)
    assert made.is_established, "the association was not accepted"
    try:
        yield made
    finally:
        if made.is_established:
            made.release()


def store(made, what):
    """The status of one C-STORE; None when the peer went away."""
    rest(made)
    answer = made.send_c_store(what)
    return answer.Status if "Status" in answer else None


def send(server, paths, contexts, calling="PYNETDICOM"):
    """Sends files through one association; (path, status) of each."""
    with association(server, contexts, calling) as made:
        return [(path, store(made, Path(path))) for path in paths]


def send_bytes(server, files, contexts, calling="PYNETDICOM"):
    """Sends files that are in memory; a status of each."""
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.dcm" for number in range(len(files))]
        for path, data in zip(paths, files, strict=True):
            path.write_bytes(data)
        return [answer for _, answer in send(server, paths, contexts, calling)]
