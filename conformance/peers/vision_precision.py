"""The demonstration model sees phantoms by every kernel that this processor has: its answers stay the same.

f32 on candle's operations is what parity is proven for; bf16 is forced on the small tower, which
takes it through the same tiles as a large one, and must say so in the version of the model.
"""

import json
import subprocess
from pathlib import Path

from .server import WITH_DEMO_MODEL, environment
from .tally import equal

HELD_OUT_SEED, COUNT = 960_000, 12
TIMEOUT_S = 900
ROUNDED = "(vision bf16)"


def run(context, tally):
    folder = context.folder("vision") / "cases"
    draw = [context.binary, "phantom", folder, "--count", COUNT, "--seed", HELD_OUT_SEED, "--kind", "chest"]
    subprocess.run([str(part) for part in draw], check=True, timeout=600)
    exact = {}
    with tally.check(f"{COUNT} phantoms are seen in f32"):
        exact = json.loads(evaluated(context, folder, "f32").stdout)
        equal("studies", (exact["studies_found"], exact["studies_failed"]), (COUNT, 0))
        assert ROUNDED not in exact["model"]["version"], exact["model"]
    if not exact:
        return
    if "amx_bf16" not in Path("/proc/cpuinfo").read_text():
        with tally.check("bf16 is refused by a processor without tiles"):
            refused = evaluated(context, folder, "bf16")
            assert refused.returncode != 0 and "vision_precision" in refused.stderr, refused.stderr[-600:]
        return
    with tally.check("in bf16 every answer is the same, and the model's version says bf16"):
        rounded = json.loads(evaluated(context, folder, "bf16").stdout)
        assert rounded["model"]["version"].endswith(ROUNDED), rounded["model"]
        equal("what was seen", seen(rounded), seen(exact))


def seen(told):
    return {one["study"]: one["seen"] for one in told["studies"]}


def evaluated(context, folder, precision):
    answers = folder.with_name(f"answers-{precision}")
    command = [context.binary, "eval", folder, "--json", "--answers", answers]
    keys = {**WITH_DEMO_MODEL, "model.vision_precision": precision}
    return subprocess.run([str(part) for part in command], env=environment(keys), capture_output=True, text=True,
                          timeout=TIMEOUT_S)
