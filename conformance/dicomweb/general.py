"""General rules and negotiation: PS3.18 chapter 8."""

import dataset
import documents
from dataset import TOKEN, path
from exchange import decoded
from origin import DICOM, JSON, OCTETS, first, multipart, related
from report import NotApplicable, contains, equal, row

BOUNDARY_CHARACTERS = set("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'()+_,-./:=? ")
BCHARS_OF_EVERY_KIND = "rows'()+_,-./:=?and checks"


def names_of_all_kinds(origin):
    """The representations of one object: target and Accept."""
    image = path(origin.kept(dataset.multi_frame))
    targets = [
        (image, related(DICOM)),
        (image, DICOM),
        (image + "/metadata", JSON),
        (image + "/frames/1", related(OCTETS)),
        (image + "/rendered", "image/jpeg"),
        ("/studies?limit=1", JSON),
    ]
    return targets


@row("G1", "Q22")
def an_unknown_parameter_is_ignored(origin):
    image = origin.kept(dataset.ct)
    found = origin.search("/studies", StudyInstanceUID=image.StudyInstanceUID, nonsense="1")
    equal("studies", [first(study, "0020000D") for study in found], [image.StudyInstanceUID])
    for tail in ("/metadata", "/rendered", "/frames/1", ""):
        origin.get(path(image) + tail, nonsense="1").expect(200)


@row("G1")
def a_bad_value_of_a_known_parameter_is_400(origin):
    image = path(origin.kept(dataset.ct))
    for name, value in (("limit", "ten"), ("offset", "x"), ("fuzzymatching", "perhaps"), ("StudyDate", "yesterday")):
        origin.get("/studies", **{name: value}).expect(400)
    for name, value in (("quality", "high"), ("window", "wide"), ("viewport", "large")):
        origin.get(image + "/rendered", "image/jpeg", **{name: value}).expect(400)


@row("G2")
def percent_encoding_is_undone_in_names_and_values(origin):
    name = f"Müller{TOKEN}^Jörg=山田^太郎"
    image = origin.kept(dataset.grey, PatientName=name, AccessionNumber=f"A,{TOKEN[:6]}")
    encoded = "".join(f"%{byte:02X}" for byte in name.encode())
    for query in (
        f"PatientName={encoded}",
        f"Patient%4Eame={encoded}",
        f"PatientName=M%C3%BCller{TOKEN}%5EJ%C3%B6rg%3D%E5%B1%B1*",
        f"AccessionNumber=A%2C{TOKEN[:6]}",
        f"StudyInstanceUID={image.StudyInstanceUID}&includefield=00081030%2C00100040",
    ):
        found = origin.search(f"/studies?{query}")
        equal(query, [first(study, "0020000D") for study in found], [image.StudyInstanceUID])


@row("G2")
def an_empty_name_is_tolerated(origin):
    image = origin.kept(dataset.ct)
    for query in (f"?&StudyInstanceUID={image.StudyInstanceUID}", f"?StudyInstanceUID={image.StudyInstanceUID}&&"):
        equal(query, len(origin.search("/studies" + query)), 1)


@row("G14")
def boundaries_are_well_formed(origin):
    image, _ = origin.kept(dataset.two_images)
    for target, accept in ((path(image, "study"), related(DICOM)), (path(image) + "/frames/1", related(OCTETS))):
        answer = origin.get(target, accept).expect(200)
        boundary = answer.media_type.parameter("boundary")
        answer.check(
            0 < len(boundary) <= 70 and set(boundary) <= BOUNDARY_CHARACTERS and boundary[-1] != " ",
            f"boundary {boundary!r}",
        )
        count = len(answer.parts())
        delimiters = (b"\r\n" + answer.body).count(b"\r\n--" + boundary.encode())
        answer.check(delimiters == count + 1, "a delimiter without CRLF before it")
        tail = (b"\r\n--" + boundary.encode() + b"--", b"\r\n--" + boundary.encode() + b"--\r\n")
        answer.check(answer.body.endswith(tail), "the closing delimiter is not the end")


@row("G14")
def a_preamble_and_an_epilogue_are_tolerated(origin):
    made = dataset.ct()
    body = multipart([([("Content-Type", DICOM)], dataset.file_of(made))])
    body = b"This is a multipart message.\r\n" + body + b"This comes after it."
    origin.post(body, f'{related(DICOM)}; boundary="rows-and-checks"').expect(200)
    assert origin.has(made), "the object was not stored"


@row("G14")
def boundaries_of_every_character_and_length_are_read(origin):
    for boundary in (BCHARS_OF_EVERY_KIND, "x" * 70):
        made = dataset.ct()
        body = multipart([([("Content-Type", DICOM)], dataset.file_of(made))], boundary)
        origin.post(body.replace(b"--\r\n", b"-- \t\r\n"), f'{related(DICOM)}; boundary="{boundary}"').expect(200)
        assert origin.has(made), "the object was not stored"


@row("G15")
def what_is_neither_coded_nor_chunked_has_its_length(origin):
    for target, accept in names_of_all_kinds(origin):
        answer = origin.get(target, accept).expect(200)
        framed = answer.header("Content-Encoding") or answer.header("Transfer-Encoding")
        answer.check(framed or answer.header("Content-Length") == str(len(answer.body)), "Content-Length is missing")
        answer.check(not (answer.header("Transfer-Encoding") and answer.header("Content-Length")), "both lengths")


@row("G15")
def head_has_the_fields_of_get(origin):
    own = {"date", "transfer-encoding", "connection", "content-type", "x-request-id", "keep-alive"}
    fields = lambda answer: {name.lower(): value for name, value in answer.headers if name.lower() not in own}
    for target, accept in names_of_all_kinds(origin):
        got = origin.get(target, accept).expect(200)
        head = origin.get(target, accept, method="HEAD").expect(200)
        head.check(
            head.media_type.without("boundary") == got.media_type.without("boundary"),
            f"Content-Type of GET: {got.media_type.text}",
        )
        head.check(fields(head) == fields(got), f"GET has {fields(got)}")


@row("G16")
def a_challenge_comes_with_401(origin):
    answer = origin.raw(
        f"GET {origin.root}/studies?limit=1 HTTP/1.1\r\nHost: {origin.authority}\r\nAccept: {JSON}\r\n"
        "Connection: close\r\n\r\n".encode()
    )
    if answer.status != 401:
        raise NotApplicable("the server asks for no authentication")
    answer.check(answer.header("WWW-Authenticate"), "there is no WWW-Authenticate")


@row("G16", "W42")
def another_method_is_405_with_allow(origin):
    image = path(origin.kept(dataset.ct))
    for method, target in (
        ("PATCH", "/studies"),
        ("PUT", "/series"),
        ("POST", image + "/metadata"),
        ("PUT", image + "/frames/1"),
        ("POST", image + "/rendered"),
        ("PUT", image),
    ):
        answer = origin.send(method, target, [("Accept", "*/*")], b"").expect(405)
        allowed = {name.strip() for name in (answer.header("Allow") or "").split(",")}
        answer.check({"GET", "HEAD"} <= allowed and method not in allowed, f"Allow: {answer.header('Allow')}")


@row("G16")
def partial_content_is_for_ranges_alone(origin):
    for target, accept in names_of_all_kinds(origin):
        origin.get(target, accept).expect(200)
    origin.get("/studies", JSON, limit=1).expect(200)


@row("G16")
def what_was_deleted_is_gone(origin):
    made = origin.store(dataset.ct())
    answer = origin.send("DELETE", path(made), [("Accept", "*/*")])
    if answer.status in (403, 405, 501):
        raise NotApplicable(f"the server does not delete: {answer.status}")
    answer.expect(200, 204)
    for tail in ("", "/metadata", "/frames/1"):
        origin.get(path(made) + tail).expect(410)


@row("G17")
def text_is_utf_8(origin):
    made = origin.kept(dataset.grey, SpecificCharacterSet="ISO_IR 100", PatientName=f"Größe{TOKEN}")
    equal("name", first(origin.metadata(made), "00100010"), {"Alphabetic": f"Größe{TOKEN}"})
    origin.get(path(made) + "/metadata", JSON, charset="utf-8").expect(200).text()
    report = origin.kept(documents.structured_report)
    answer = origin.get(path(report) + "/rendered", "text/plain").expect(200)
    answer.check(documents.SENTENCE in answer.text(), "the sentence of the report is missing")


@row("G17")
def an_unknown_charset_is_400(origin):
    image = path(origin.kept(dataset.ct))
    for target in (image + "/metadata", "/studies"):
        origin.get(target, JSON, charset="x-none").expect(400)


@row("G17")
def a_charset_that_cannot_hold_the_text_is_406(origin):
    report = path(origin.kept(documents.structured_report))
    answer = origin.get(report + "/rendered", "text/plain", charset="iso-8859-1")
    if answer.status == 400:
        raise NotApplicable("the server knows no charset but UTF-8: 400")
    answer.expect(406)


@row("G18")
def options_of_the_root_describes_the_service(origin):
    answer = origin.send("OPTIONS", "/", [("Accept", "application/vnd.sun.wadl+xml")]).expect(200)
    answer.expect_type("application/vnd.sun.wadl+xml")
    root = answer.xml()
    answer.check(
        root.tag.endswith("}application") and "wadl.dev.java.net" in root.tag, f"the root element is {root.tag}"
    )
    named = " ".join(element.get("path", "") for element in root.iter() if element.tag.endswith("}resource"))
    contains("resources", named, ["studies", "series", "instances", "metadata", "rendered", "frames"])
    methods = {element.get("name") for element in root.iter() if element.tag.endswith("}method")}
    contains("methods", methods, ["GET", "POST"])


@row("G18")
def the_description_is_there_as_json(origin):
    answer = origin.send("OPTIONS", "/", [("Accept", "application/json, application/dicom+json;q=0.9")]).expect(200)
    answer.check("json" in answer.media_type.essence, f"Content-Type {answer.media_type.text}")
    contains("description", str(answer.json()), ["studies", "metadata", "GET", "POST"])


@row("G19")
def a_tag_that_holds_is_304(origin):
    for target, accept in names_of_all_kinds(origin):
        answer = origin.get(target, accept).expect(200)
        tag = answer.header("ETag") or ""
        answer.check(tag.startswith('"') and tag.endswith('"'), f"{target}: ETag {tag!r} is not strong")
        for condition in (tag, f'"other", {tag}', "W/" + tag):
            again = origin.get(target, accept, [("If-None-Match", condition)]).expect(304)
            again.check(again.header("ETag") == tag, "304 has another ETag")
        origin.get(target, accept, [("If-None-Match", '"other"')]).expect(200)


@row("G19")
def other_content_has_another_tag(origin):
    image, other = dataset.in_one_series(dataset.ct(1), dataset.ct(2))
    origin.store(image)
    tag = lambda target, accept: origin.get(target, accept).expect(200).header("ETag")
    series, search = path(image, "series") + "/metadata", f"/instances?SeriesInstanceUID={image.SeriesInstanceUID}"
    before = [tag(series, JSON), tag(search, JSON)]
    equal(
        "tags of JPEG and PNG differ",
        tag(path(image) + "/rendered", "image/jpeg") != tag(path(image) + "/rendered", "image/png"),
        True,
    )
    origin.store(other)
    after = [tag(series, JSON), tag(search, JSON)]
    assert before[0] != after[0] and before[1] != after[1], f"the tags stay {before} when the series grows"
    origin.get(series, JSON, [("If-None-Match", before[0])]).expect(200)


def long_series():
    return dataset.in_one_series(*(dataset.ct(number) for number in range(1, 9)))


@row("G20")
def json_is_coded_as_asked(origin):
    image = origin.kept(long_series)[0]
    target = path(image, "series") + "/metadata"
    plain = origin.get(target, JSON).expect(200)
    plain.check(plain.header("Content-Encoding") in (None, "identity"), "a coding that was not asked for")
    packed = origin.get(target, JSON, [("Accept-Encoding", "gzip")]).expect(200)
    packed.check(packed.header("Content-Encoding") == "gzip", "there is no gzip")
    equal("content", decoded(packed), plain.body)
    for coding, magic in (("br", b""), ("zstd", b"\x28\xb5\x2f\xfd")):
        packed = origin.get(target, JSON, [("Accept-Encoding", coding)]).expect(200)
        packed.check(packed.header("Content-Encoding") == coding, f"there is no {coding}")
        packed.check(packed.body.startswith(magic) and len(packed.body) < len(plain.body) / 2, f"this is not {coding}")


@row("G20")
def vary_says_what_chooses(origin):
    image = origin.kept(long_series)[0]
    for target in (path(image, "series") + "/metadata", f"/instances?SeriesInstanceUID={image.SeriesInstanceUID}"):
        for headers in ([], [("Accept-Encoding", "gzip")]):
            answer = origin.get(target, JSON, headers).expect(200)
            named = {name.strip().lower() for name in (answer.header("Vary") or "").split(",")}
            answer.check({"accept", "accept-encoding"} <= named, f"Vary: {answer.header('Vary')}")
