"""The program as people start it: the demo, and a refusal for each thing that can be wrong."""

import re
import shutil
import socket
import subprocess
import zipfile
from contextlib import contextmanager
from pathlib import Path

from pydicom.uid import generate_uid

from . import dicomweb
from .part10 import image, uid_of
from .server import Server, environment, free_port
from .tally import equal

REFUSAL_TIMEOUT_S = 60
DEMO_TIMEOUT_S = 600
TINY_MODEL = Path(__file__).parent.parent.parent / "tests" / "it" / "golden" / "tiny-gemma3"


def radiant(context, *arguments, keys=None, timeout=REFUSAL_TIMEOUT_S):
    command = [str(part) for part in (context.binary, *arguments)]
    done = subprocess.run(command, env=environment(keys or {}), capture_output=True, text=True, timeout=timeout)
    return done.returncode, done.stdout + done.stderr


def addresses():
    return ["--http", f"127.0.0.1:{free_port()}", "--dimse", f"127.0.0.1:{free_port()}"]


def refused(context, arguments, named, keys=None):
    """Ends by itself, not with success and not by a panic, and names what is wrong."""
    status, output = radiant(context, *arguments, keys=keys)
    assert status in (1, 2), f"exit status {status}: {output[-500:]}"
    assert "panicked" not in output, output[-500:]
    for name in named:
        assert str(name) in output, f"{name} is not in: {output[-500:]}"


@contextmanager
def occupied_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def run(context, tally):
    folder = context.folder("command-line")
    with tally.check("a port in use is named"), occupied_port() as port:
        for flag, other in (("--http", "--dimse"), ("--dimse", "--http")):
            arguments = [flag, f"127.0.0.1:{port}", other, f"127.0.0.1:{free_port()}"]
            refused(context, ["serve", "--data-dir", folder / "port", *arguments], [port])
    with tally.check("an address that is not loopback is refused"):
        refused(context, ["serve", "--data-dir", folder / "open", "--http", "0.0.0.0:0"], ["http.listen", "loopback"])
    configuration(context, tally, folder)
    models(context, tally, folder)
    with tally.check("a data folder serves one process"), Server(context.binary, folder / "one") as server:
        refused(context, ["serve", "--data-dir", server.data_dir, *addresses()], [server.data_dir])
    with tally.check("a data folder that cannot be made is named"):
        (folder / "file").write_text("")
        refused(context, ["serve", "--data-dir", folder / "file" / "data", *addresses()], [folder / "file" / "data"])
    with tally.check("import: files, folders and zips, with a summary of refusals"):
        imported(context, folder)
    with tally.check("demo --once prints findings and addresses, and ends"):
        demo(context, folder)


def configuration(context, tally, folder):
    file = folder / "radiant.toml"
    cases = {
        "an unknown key of a file": ("[http]\nlisten_on = 1\n", ["http.listen_on"]),
        "a value of the wrong kind": ("[index]\nreaders = \"many\"\n", ["readers"]),
        "a file that is not TOML": ("[http\n", []),
    }
    for name, (text, named) in cases.items():
        with tally.check(f"configuration: {name} is named with the file"):
            file.write_text(text)
            for command in ("serve", "check-config"):
                refused(context, [command, "--config", file], [file, *named])
    with tally.check("configuration: a file that cannot be read is named"):
        refused(context, ["serve", "--config", folder / "absent.toml"], [folder / "absent.toml"])
    with tally.check("configuration: an unknown key of the environment is named"):
        refused(context, ["check-config"], ["RADIANT__HTTP__LISTN"], {"http.listn": "x"})
    with tally.check("configuration: check-config accepts what is right"):
        file.write_text("[http]\nlisten = \"127.0.0.1:8081\"\n")
        status, output = radiant(context, "check-config", "--config", file)
        equal("exit status", status, 0)
        assert "8081" in output, output


def models(context, tally, folder):
    with tally.check("model check: a complete folder and its digests"):
        status, output = radiant(context, "model", "check", TINY_MODEL, timeout=300)
        assert status == 0 and re.search(r"[0-9a-f]{64}", output), output[-500:]
    broken = folder / "model"
    with tally.check("model check: what is missing is named"):
        shutil.copytree(TINY_MODEL, broken)
        (broken / "tokenizer.json").unlink()
        refused(context, ["model", "check", broken], ["tokenizer.json"])
    with tally.check("serve: a wrong model folder is named with its key"):
        for wrong in (broken, folder / "no-model"):
            keys = {"model.dir": str(wrong)}
            refused(context, ["serve", "--data-dir", folder / "wrong-model", *addresses()], ["model.dir", wrong], keys)


def imported(context, folder):
    study = generate_uid()
    files = [image(study, number, 16) for number in range(1, 4)]
    source = folder / "to-import" / "deep"
    source.mkdir(parents=True)
    (source / "one.dcm").write_bytes(files[0])
    (source / "cut.dcm").write_bytes(files[1][:-100])
    (source / "notes.txt").write_text("not a DICOM file")
    with zipfile.ZipFile(folder / "some.zip", "w") as archive:
        archive.writestr("inside/two.dcm", files[2])
    data = folder / "imported"
    status, output = radiant(context, "import", "--data-dir", data, source.parent, folder / "some.zip", timeout=300)
    assert "cut.dcm" in output, output[-800:]
    assert status in (0, 1) and "panicked" not in output, output[-800:]
    with Server(context.binary, data) as server:
        equal("instances", set(dicomweb.locations(server)), {uid_of(files[0]), uid_of(files[2])})


def demo(context, folder):
    arguments = ["demo", "--once", "--data-dir", folder / "demo", *addresses()]
    status, output = radiant(context, *arguments, timeout=DEMO_TIMEOUT_S)
    assert status == 0, f"exit status {status}: {output[-1500:]}"
    print("     " + output.strip().replace("\n", "\n     "))
    for address in ("/api/v1/reports/", "/pdf", "/dicom-web"):
        assert address in output, f"no address with {address}"
