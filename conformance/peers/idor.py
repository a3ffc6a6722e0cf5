"""Two people of two owner groups: whatever belongs to the one is answered to the other as if it were not there."""

import json
import re
import time

from pydicom.uid import generate_uid

from . import phantoms
from .destinations import node, toml
from .dimse_identity import Place, find, got, moved, of, store
from .guarded import Guarded
from .server import WITH_DEMO_MODEL, free_port
from .tally import equal

SEED = 940_000
RESULTS = {"name": "results", "what": "results", "destinations": ["AWAY"]}
# What a template of the API stands for has an id of the same form that is nothing's.
ABSENT = {"study": "2.25.1", "series": "2.25.2", "instance": "2.25.3", "patient": "999999", "export": "999999", "group": "999999"}
IMAGES = "1.2.840.10008.5.1.4.1.1.1"
NOWHERE = "00000000-0000-7000-8000-000000000000"
# Nothing of these belongs to anybody.
NOT_SECRET = {"destination", "node", "user", "version", "plane"}
# What only operators may ask for, whoever's it is: there is no id that another could try.
OPERATORS_ALONE = {"commitment", "deletion"}
CHANGING = {"date", "connection", "x-request-id", "ratelimit", "ratelimit-policy", "retry-after", "content-length"}
RETRIEVALS = (
    "", "/metadata", "/rendered", "/thumbnail", "/pixeldata", "/bulkdata", "?accept=application/zip",
    "/series/{series}", "/series/{series}/metadata", "/series/{series}/rendered", "/series/{series}/thumbnail",
    "/series/{series}/instances/{instance}", "/series/{series}/instances/{instance}/metadata",
    "/series/{series}/instances/{instance}/frames/1", "/series/{series}/instances/{instance}/rendered",
    "/series/{series}/instances/{instance}/frames/1/rendered", "/series/{series}/instances/{instance}/thumbnail",
    "/series/{series}/instances/{instance}/bulkdata/7FE00010",
)
SEARCHES = (
    "patients", "studies", "series", "instances", "studies/{study}/series", "studies/{study}/instances",
    "studies/{study}/series/{series}/instances",
)


def run(context, tally):
    folder = context.folder("idor")
    [phantom] = phantoms.draw(context, "idor", 1, SEED)
    nodes = toml([node("AWAY", free_port())])
    keys = WITH_DEMO_MODEL | {"dimse.nodes": nodes, "export.rules": toml([RESULTS]), "auth.ungrouped_studies": "administrators", "dimse.unknown_callers_may": '["query", "retrieve"]',
                              "deletion.enabled": "true"}
    with Guarded(context.binary, folder / "data", keys) as server:
        place = Place(context, server)
        with tally.check("a study of the north is stored and analysed"):
            ids = northern(place, phantom)
        secrets = {value for name, value in ids.items() if name != "group"}
        with tally.check("every id of the API"):
            every_id_of_the_api(place, ids)
        with tally.check("lists and searches tell nothing"):
            lists(place, ids, secrets)
        with tally.check("every retrieval of DICOMweb, conditional and deleting ones too"):
            retrievals(place, ids)
        with tally.check("WADO-URI"):
            wado_uri(place, ids)
        with tally.check("STOW-RS into a study that is not seen"):
            storing(place, ids)
        with tally.check("DIMSE"):
            dimse(place, ids)
        with tally.check("without a group nothing is seen, with one everything of it"):
            moved_between_groups(place, ids)
        with tally.check("what was deleted is gone for those alone who saw it"):
            deleted(place, ids)
        with tally.check("nothing panicked"):
            assert "panicked" not in server.log(), "see the log"


def northern(place, phantom):
    """Ids of everything that nina has."""
    server, nina = place.server, place.nina
    stored = nina.ask("POST", "/dicom-web/studies", data=phantom.path.read_bytes(), headers={"Content-Type": "application/dicom"})
    equal("STOW-RS", stored.status_code, 200)
    study = phantom.study
    analysis = waited_for(nina, study)
    all_of_it = nina.ask("GET", f"/dicom-web/studies/{study}/instances").json()
    match = next(one for one in all_of_it if one["00080016"]["Value"][0].startswith(IMAGES))
    ids = {"study": study, "series": match["0020000E"]["Value"][0], "instance": match["00080018"]["Value"][0],
           "analysis": analysis["id"], "report": analysis["report"], "group": place.north, "patient": "1"}
    report, _ = nina.api("GET", f"reports/{ids['report']}")
    ids["stated"] = report["content"]["findings"][0]["id"]
    return ids | of_a_person(nina, study, phantom.path.read_bytes()) | seen_by_operators(server.administrator, place.key_id)


def of_a_person(person, study, file):
    """What somebody has made for himself: a download, two kinds of upload, a session."""
    download, _ = person.api("POST", "downloads", 202, json={"form": "dicom-zip", "studies": [study]})
    resumable = {"Tus-Resumable": "1.0.0", "Upload-Length": "9", "Upload-Metadata": "filename YS5kY20="}
    begun = person.ask("POST", "/api/v1/uploads/tus", headers=resumable)
    equal("a resumable upload", begun.status_code, 201)
    form = person.ask("POST", "/api/v1/uploads", files=[("files", ("a.dcm", file))]).json()
    sessions, _ = person.api("GET", "sessions")
    return {"download": download["id"], "upload": begun.headers["Location"].rsplit("/", 1)[1], "form": form["id"],
            "session": sessions["items"][0]["id"]}


def seen_by_operators(administrator, key):
    exports, jobs = (administrator.api("GET", path)[0]["items"] for path in ("exports", "jobs"))
    return {"export": str(exports[0]["id"]), "job": jobs[0]["id"], "key": key}


def waited_for(person, study):
    for _ in range(600):
        found, _ = person.api("GET", f"studies/{study}/analyses")
        for analysis in found["items"]:
            if analysis["state"] in ("done", "failed"):
                return analysis
        time.sleep(0.5)
    raise AssertionError("the study was not analysed")


def told(answer, ids):
    """Status, headers and body, without what tells one request from another."""
    headers = {name: value for name, value in answer.headers.items() if name.lower() not in CHANGING}
    text = answer.text
    for value in sorted((value for value in ids.values() if len(value) > 3), key=len, reverse=True):
        text = text.replace(value, "ID")
        headers = {name: header.replace(value, "ID") for name, header in headers.items()}
    text = re.sub(r'"request_id":"[^"]*"', "", text)
    return answer.status_code, headers, text


def absent(ids):
    return {name: ABSENT.get(name, NOWHERE) for name in ids}


def compared(person, method, path, ids, **options):
    """The answer about what is hidden, after it was found equal to that about nothing."""
    hidden, nothing = (told(person.ask(method, fill(path, some), **options), some) for some in (ids, absent(ids)))
    equal(f"{method} {path}", hidden, nothing)
    return hidden[0]


def fill(path, ids):
    return re.sub(r"\{(\w+)\}", lambda name: ids.get(name[1], NOWHERE), path)


def every_id_of_the_api(place, ids):
    described, _ = place.sven.api("GET", "openapi.json")
    tried = 0
    for path, methods in described["paths"].items():
        templates = set(re.findall(r"\{(\w+)\}", path))
        if not templates - NOT_SECRET:
            continue
        for method in ("get", "post", "put", "patch", "delete"):
            if method not in methods:
                continue
            options = asking(method, path)
            unknown = templates - NOT_SECRET - OPERATORS_ALONE - set(ids)
            assert not unknown, f"{path}: nothing of nina's stands for {unknown}"
            known = {name: ids.get(name, "1") for name in templates}
            status = compared(place.sven, method.upper(), f"/api/v1{path}", known, **options)
            assert status in (403, 404), f"{method} {path}: {status}"
            tried += 1
    assert tried >= 60, f"only {tried} endpoints"
    form = {"upload": ids["form"]}
    for path in ("", "/files"):
        equal(f"an upload by form{path}", compared(place.sven, "GET", f"/api/v1/uploads/{{upload}}{path}", form), 404)
        equal("to nina", place.nina.ask("GET", f"/api/v1/uploads/{ids['form']}{path}").status_code, 200)


def asking(method, path):
    """What makes a request of this kind well-formed."""
    if path.startswith("/uploads/tus"):
        headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        return {"data": b"x", "headers": headers | ({"X-HTTP-Method-Override": "PATCH"} if method == "post" else {})}
    return {"json": {}, "headers": {"If-Match": "*"}} if method != "get" else {}


def lists(place, ids, secrets):
    described, _ = place.sven.api("GET", "openapi.json")
    paths = [path for path, methods in described["paths"].items() if "get" in methods and "{" not in path]
    for path in paths:
        if "events" in path or "docs" in path:
            continue
        answer = place.sven.ask("GET", f"/api/v1{path}")
        found = [value for value in secrets if len(value) > 3 and value in answer.text]
        assert not found, f"GET {path} tells {found}"
        if answer.ok and "total" in answer.text and path in ("/studies", "/reports", "/analyses", "/exports", "/patients"):
            equal(f"total of {path}", answer.json()["total"], 0)
    for search in SEARCHES:
        equal(f"search of {search}", compared(place.sven, "GET", f"/dicom-web/{search}", ids), 200)
        equal(search, place.sven.ask("GET", fill(f"/dicom-web/{search}", ids)).json(), [])
        assert place.nina.ask("GET", fill(f"/dicom-web/{search}", ids)).json(), f"nina finds nothing by {search}"


def retrievals(place, ids):
    for resource in RETRIEVALS:
        path = f"/dicom-web/studies/{{study}}{resource}"
        seen = place.nina.ask("GET", fill(path, ids))
        assert seen.status_code != 404, f"nina does not find {path}"
        tag = seen.headers.get("ETag", '"x"')
        for headers in ({}, {"If-None-Match": tag}, {"If-None-Match": "*"}, {"Accept": "nonsense/none"}, {"Range": "bytes=0-3"}):
            equal(f"{path} {headers}", compared(place.sven, "GET", path, ids, headers=headers), 404)
    for path in ("", "/series/{series}", "/series/{series}/instances/{instance}"):
        compared(place.sven, "DELETE", f"/dicom-web/studies/{{study}}{path}", ids)


def wado_uri(place, ids):
    path = "/wado?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}"
    for more in ("", "&contentType=application/dicom", "&frameNumber=1", "&contentType=image/png", "&rows=x"):
        equal(f"WADO-URI{more}", compared(place.sven, "GET", path + more, ids), 404)


def storing(place, ids):
    """The refusal says the same whatever is stored there."""
    before = len(place.nina.ask("GET", fill("/dicom-web/studies/{study}/instances", ids)).json())
    for target in ("/dicom-web/studies", "/dicom-web/studies/{study}"):
        made = place.object(ids["study"])
        answer = place.sven.ask("POST", fill(target, ids), data=place.file(made).read_bytes(),
                                headers={"Content-Type": "application/dicom", "Accept": "application/dicom+json"})
        equal("status", answer.status_code, 409)
        equal("failure reason", answer.json()["00081198"]["Value"][0]["00081197"]["Value"], [0x0124])
    equal("instances", len(place.nina.ask("GET", fill("/dicom-web/studies/{study}/instances", ids)).json()), before)


def dimse(place, ids):
    server, sven, nina = place.server, of(place.sven), of(place.nina)
    equal("C-FIND of nina", find(server, nina, ids["study"]), {ids["study"]})
    equal("C-FIND of sven", find(server, sven, ids["study"]), set())
    equal("all that sven finds", find(server, sven), set())
    equal("C-GET", got(server, sven, ids["study"]), got(server, sven, generate_uid()))
    equal("C-MOVE", moved(server, sven, ids["study"]), moved(server, sven, generate_uid()))
    equal("C-STORE", store(server, sven, place.object(ids["study"])), 0x0124)


def moved_between_groups(place, ids):
    """An administrator gives the study to the south too, and takes it back."""
    administrator, path = place.server.administrator, f"studies/{ids['study']}/groups"
    _, tag = administrator.api("GET", path)
    given, tag = administrator.api("PUT", f"{path}/{place.south}", headers={"If-Match": tag})
    equal("groups", sorted(group["name"] for group in given["groups"]), ["north", "south"])
    seen = place.sven.ask("GET", f"/dicom-web/studies/{ids['study']}/metadata")
    equal("sven sees it", seen.status_code, 200)
    own, _ = place.sven.api("GET", path)
    equal("of the groups sven sees his", [group["name"] for group in own["groups"]], ["south"])
    stale = administrator.ask("DELETE", f"/api/v1/{path}/{place.south}", headers={"If-Match": '"stale"'})
    equal("with an old tag", stale.status_code, 412)
    administrator.api("DELETE", f"{path}/{place.south}", 204, headers={"If-Match": tag})
    equal("no longer", place.sven.ask("GET", f"/dicom-web/studies/{ids['study']}/metadata").status_code, 404)
    actions = json.dumps(administrator.api("GET", "audit")[0]) if has(administrator, "audit") else "change-reach"
    assert "change-reach" in actions, "the trail does not tell of it"


def has(person, path):
    return person.ask("GET", f"/api/v1/{path}").ok


def deleted(place, ids):
    server = place.server
    gone = server.administrator.ask("DELETE", f"/dicom-web/studies/{ids['study']}")
    equal("DELETE", gone.status_code, 204)
    equal("nina", place.nina.ask("GET", f"/dicom-web/studies/{ids['study']}").status_code, 410)
    equal("sven", compared(place.sven, "GET", "/dicom-web/studies/{study}", ids), 404)
    equal("storing it again", store(server, of(place.sven), place.object(ids["study"])), 0x0124)
