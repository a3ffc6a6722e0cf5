"""`radiant eval` on phantoms that the demonstration model never saw.

Its figures are made again here, from what it says was seen in each study and from the table of what
is expected: by numpy, with names and intervals of this file's own.
"""

import csv
import json
import os
import shutil
import signal
import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy
from pydicom import dcmread

from .server import WITH_DEMO_MODEL, environment
from .tally import equal

HELD_OUT_SEED, COUNT = 940_000, 30
RIGHT_LEAST = 0.95
OVERLAP_LEAST = 0.3
TIMEOUT_S = 900
EFFUSION, HEART = "60046008", "8186001"
NAMES = {"pleural effusion": EFFUSION, "cardiomegaly": HEART, "enlarged heart": HEART}
Z = NormalDist().inv_cdf(0.975)
ALMOST = 1e-6


@dataclass
class Counts:
    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0
    sides: list = field(default_factory=list)
    overlaps: list = field(default_factory=list)


def run(context, tally):
    folder = context.folder("evaluation") / "cases"
    draw = [context.binary, "phantom", folder, "--count", COUNT, "--seed", HELD_OUT_SEED, "--kind", "chest"]
    subprocess.run([str(part) for part in draw], check=True, timeout=600)
    before = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    told = {}
    with tally.check(f"{COUNT} phantoms are evaluated"):
        told = json.loads(evaluated(context, folder, "--json"))
        equal("studies", (told["studies_found"], told["studies_asked"], told["studies_failed"]), (COUNT, COUNT, 0))
        equal("the folder", sorted(path.relative_to(folder) for path in folder.rglob("*")), before)
        left = [path.name for path in folder.with_name("cases.eval").iterdir()]
        equal("what is left beside it", left, ["answers.jsonl"])
    if tally.failed:
        return
    with tally.check("the figures are those of the answers, by numpy"):
        same_figures(told, folder / "expected.csv")
    with tally.check("text and CSV say the same"):
        forms(context, folder, told)
    for name, figure in bars(told).items():
        with tally.check(f"evaluation: {name}: {figure:.1%}"):
            assert figure >= RIGHT_LEAST, f"{figure:.1%}, {RIGHT_LEAST:.0%} at least"
    with tally.check("boxes of effusions lie on them"):
        overlap = by_code(told)[EFFUSION]["figures"]["overlap"]
        print(f"     mean overlap {overlap:.2f}")
        assert overlap >= OVERLAP_LEAST, f"{overlap:.2f}"
    with tally.check("expectations of the other side find no side right"):
        mirrored(context, folder)
    with tally.check("answers are kept: the same again asks nothing"):
        again(context, folder, told)
    with tally.check("a run that was killed goes on"):
        killed(context, folder, told)
    with tally.check("bad expectations are refused by file and line, and nothing is done"):
        refusals(context, folder)
    with tally.check("a study without an answer is told, and fails the run"):
        without_answer(context, folder)


def command(context, folder, *options):
    return [str(part) for part in (context.binary, "eval", folder, *options)]


def ran(context, folder, *options):
    return subprocess.run(command(context, folder, *options), env=environment(WITH_DEMO_MODEL), capture_output=True,
                          text=True, timeout=TIMEOUT_S)


def evaluated(context, folder, *options):
    done = ran(context, folder, *options)
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr[-600:]}"
    return done.stdout


def by_code(told):
    return {row["finding"]["value"]: row for row in told["findings"]}


def bars(told):
    rows = by_code(told)
    effusion, heart = rows[EFFUSION]["figures"], rows[HEART]["figures"]
    return {"precision of effusions": effusion["precision"]["value"], "recall of effusions": effusion["recall"]["value"],
            "side of effusions": effusion["side"]["value"], "F1 of enlarged hearts": heart["f1"]["value"]}


def expected(path):
    """Study and code to the rows about them."""
    rows = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            rows[row["study"], NAMES[row["finding"]]].append(row)
    return rows


def same_figures(told, path):
    seen = {one["study"]: one["seen"] for one in told["studies"]}
    files = {str(dcmread(file, stop_before_pixels=True).SOPInstanceUID): str(file.relative_to(path.parent))
             for file in path.parent.rglob("*.dcm")}
    counts = defaultdict(Counts)
    for (study, code), rows in expected(path).items():
        found = [one for one in seen[study] if NAMES.get(one["finding"].lower()) == code and one["certainty"] != "absent"]
        count(counts[code], rows, found, files)
    rows = by_code(told)
    equal("findings", set(rows), set(counts))
    for code, own in counts.items():
        same_row(rows[code], own)
    everything = Counts(*(sum(getattr(one, name) for one in counts.values()) for name in ("tp", "fp", "fn", "tn")),
                        [side for one in counts.values() for side in one.sides],
                        [overlap for one in counts.values() for overlap in one.overlaps])
    same_row(told["all"], everything)


def count(own, rows, found, files):
    is_present = rows[0]["presence"] == "present"
    if is_present and found:
        own.tp += 1
        sides = {row["side"] for row in rows} - {""}
        if sides:
            own.sides.append(sides == {one["laterality"] for one in found})
        own.overlaps += overlaps(rows, found, files)
    elif is_present:
        own.fn += 1
    elif found:
        own.fp += 1
    else:
        own.tn += 1


def overlaps(rows, found, files):
    """Phantoms have one box of a finding at most; of several found ones the best counts."""
    boxes = [row for row in rows if row["left"]]
    assert len(boxes) <= 1, boxes
    best = []
    for row in boxes:
        own = [float(row[edge]) for edge in ("left", "top", "right", "bottom")]
        places = [one["place"] for one in found if one["place"] and files[one["place"]["sop_instance"]] == row["image"]]
        best.append(max([overlap(own, place["region"]) for place in places], default=0.0))
    return best


def overlap(own, region):
    a = numpy.array(own, float)
    b = numpy.array([region[edge] for edge in ("left", "top", "right", "bottom")], float)
    common = numpy.prod(numpy.clip(numpy.minimum(a[2:], b[2:]) - numpy.maximum(a[:2], b[:2]), 0, None))
    return common / (numpy.prod(a[2:] - a[:2]) + numpy.prod(b[2:] - b[:2]) - common)


def same_row(row, own):
    what, counts = row["finding"]["meaning"], row["counts"]
    found = tuple(counts[name] for name in ("true_positive", "false_positive", "false_negative", "true_negative"))
    equal(f"{what}: counts", found, (own.tp, own.fp, own.fn, own.tn))
    figures, of_f1 = row["figures"], own.tp + own.fp + own.fn
    f1 = [2 * share / (1 + share) for share in wilson(own.tp, of_f1)] if of_f1 else None
    shares = {"precision": wilson(own.tp, own.tp + own.fp), "recall": wilson(own.tp, own.tp + own.fn), "f1": f1,
              "specificity": wilson(own.tn, own.tn + own.fp), "side": wilson(sum(own.sides), len(own.sides)),
              "overlap_half": wilson(sum(one >= 0.5 for one in own.overlaps), len(own.overlaps))}
    for name, wanted in shares.items():
        share = figures[name] and [figures[name][part] for part in ("value", "low", "high")]
        is_same = share == wanted or numpy.allclose(share, wanted, atol=ALMOST)
        assert is_same, f"{what}: {name}: {share} in place of {wanted}"
    mean = numpy.mean(own.overlaps) if own.overlaps else None
    assert figures["overlap"] == mean or abs(figures["overlap"] - mean) < ALMOST, f"{what}: {figures['overlap']} and {mean}"


def wilson(count, of):
    """The shares p with (count / of - p)^2 = Z^2 p (1 - p) / of, as the roots of that polynomial."""
    if not of:
        return None
    share = count / of
    roots = numpy.roots([1 + Z**2 / of, -(2 * share + Z**2 / of), share**2])
    return [share, max(0.0, float(min(roots.real))), min(1.0, float(max(roots.real)))]


def forms(context, folder, told):
    text = evaluated(context, folder)
    rows = {row["code"]: row for row in csv.DictReader(evaluated(context, folder, "--csv").splitlines())}
    for code, row in by_code(told).items():
        equal("true positives in the CSV", rows[code]["true_positive"], str(row["counts"]["true_positive"]))
        assert abs(float(rows[code]["recall_low"]) - row["figures"]["recall"]["low"]) < ALMOST, rows[code]
        recall = row["figures"]["recall"]
        line = next(line for line in text.splitlines() if line.startswith(row["finding"]["meaning"]))
        shown = f"{recall['value']:.2f} ({recall['low']:.2f} to {recall['high']:.2f})"
        assert shown in line, f"{shown} is not in {line}"
    assert told["model"]["weights_sha256"] in text, text


def mirrored(context, folder):
    other = {"left": "right", "right": "left"}
    rows = list(csv.DictReader((folder / "expected.csv").open(newline="")))
    path = folder.with_name("mirrored.csv")
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row | {"side": other.get(row["side"], "")} for row in rows)
    told = json.loads(evaluated(context, folder, "--json", "--expected", path))
    side = by_code(told)[EFFUSION]["figures"]["side"]
    assert side["value"] <= 1 - RIGHT_LEAST, f"{side}"


def answers_of(folder):
    return folder.with_name("cases.eval") / "answers.jsonl"


def seen_in(told):
    return {one["study"]: one["seen"] for one in told["studies"]}


def again(context, folder, told):
    before = answers_of(folder).read_bytes()
    second = json.loads(evaluated(context, folder, "--json"))
    equal("studies", second["studies"], told["studies"])
    equal("the kept answers", answers_of(folder).read_bytes(), before)
    equal("lines", before.count(b"\n"), COUNT)


def killed(context, folder, told):
    """kill -9 between two answers, and a line cut in the middle, as after a power cut."""
    path = answers_of(folder)
    path.unlink()
    with subprocess.Popen(command(context, folder, "--json"), env=environment(WITH_DEMO_MODEL),
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline and not (path.exists() and path.read_bytes().count(b"\n") >= 3):
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    whole = path.read_bytes().count(b"\n")
    assert 3 <= whole < COUNT, f"{whole} answers at the kill"
    with path.open("ab") as file:
        file.write(b'{"key": "0')
    second = json.loads(evaluated(context, folder, "--json"))
    equal("what was seen", seen_in(second), seen_in(told))
    equal("lines", path.read_bytes().count(b"\n"), COUNT)
    print(f"     {whole} of {COUNT} answers were there")
    for left in path.parent.glob("archive-*"):
        shutil.rmtree(left)


HEAD = "study,finding,presence,side,left,top,right,bottom"
REFUSED = [
    (f"{HEAD}\n{{study}},nodule,perhaps,,,,,\n", 2, "perhaps"),
    (f"{HEAD}\n{{study}},nodule,absent,,,,,\n{{study}},Nodules,present,,,,,\n", 3, "otherwise"),
    (f"{HEAD}\n# a comment\n\n1.2.3.4,nodule,absent,,,,,\n", 4, "no study 1.2.3.4"),
    (f"{HEAD}\n{{study}},nodule,present,left,5,5,4,9\n", 2, "area"),
    (f"{HEAD},colour\n{{study}},nodule,present,left,,,,,red\n", 2, "colour"),
    (f"{HEAD}\n", None, "expects nothing"),
]


def refusals(context, folder):
    study = next(iter(expected(folder / "expected.csv")))[0]
    for number, (text, line, reason) in enumerate(REFUSED):
        path, answers = folder.with_name(f"bad-{number}.csv"), folder.with_name(f"bad-{number}")
        path.write_text(text.format(study=study))
        done = ran(context, folder, "--expected", path, "--answers", answers)
        equal("exit status", done.returncode, 1)
        named = f"{path}: line {line}:" if line else str(path)
        assert named in done.stderr and reason in done.stderr, done.stderr
        equal("output", done.stdout, "")
        left = answers.exists() and [one.name for one in answers.iterdir() if one.stat().st_size]
        assert not left, left
    bad = folder.with_name("bad.json")
    bad.write_text(f'[{{"study": "{study}", "finding": "nodule", "presence": "absent"}},\n {{"study": 3}}]\n')
    done = ran(context, folder, "--expected", bad)
    assert done.returncode == 1 and f"{bad}: line 2:" in done.stderr, done.stderr
    equal("wrong usage", ran(context, folder, "--json", "--csv").returncode, 2)


def without_answer(context, folder):
    """A study that no rule names, beside two that are answered."""
    few = folder.with_name("few")
    chosen = sorted(path for path in folder.iterdir() if path.is_dir())[:3]
    for path in chosen:
        shutil.copytree(path, few / path.name)
    other = dcmread(few / chosen[0].name / "001.dcm")
    other.Modality = "OT"
    other.save_as(few / chosen[0].name / "001.dcm")
    expectations = few / "expected.json"
    expectations.write_text(json.dumps([{"file": f"{path.name}/001.dcm", "finding": "enlarged heart", "presence": "absent"}
                                        for path in chosen]))
    done = ran(context, few, "--json")
    equal("exit status", done.returncode, 1)
    assert "1 of 3 studies have no answer" in done.stderr, done.stderr
    told = json.loads(done.stdout)
    [failed] = [one for one in told["studies"] if one["failure"]]
    equal("the study", failed["study"], str(other.StudyInstanceUID))
    assert "no rule" in failed["failure"], failed
    counts = told["all"]["counts"]
    equal("studies counted", counts["false_positive"] + counts["true_negative"], 2)
