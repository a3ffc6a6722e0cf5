"""Rendered documents: PS3.18 8.7.4."""

import dataset
import documents
from dataset import path
from pictures import JPEG, PNG, identity
from report import contains, equal, row


def text_of(answer):
    text = answer.text()
    return " ".join(text.replace("&#39;", "'").split())


@row("W34b")
def a_report_is_html_text_and_xml(origin):
    made = origin.kept(documents.structured_report)
    for accept, essence in (
        ("*/*", "text/html"),
        ("text/html", "text/html"),
        ("text/plain", "text/plain"),
        ("text/xml", "text/xml"),
    ):
        answer = origin.get(path(made) + "/rendered", accept).expect(200).expect_type(essence)
        contains(essence, text_of(answer), [documents.SENTENCE, "Findings", "Diagnostic imaging report"])
        if essence == "text/xml":
            answer.xml()
        if essence == "text/html":
            answer.check("<html" in answer.text().lower(), "this is no HTML")


@row("W34b")
def text_from_the_object_is_no_markup(origin):
    made = documents.structured_report()
    made.ContentSequence[0].ContentSequence[0].TextValue = "<script>alert(1)</script> & more"
    origin.store(made)
    html = origin.get(path(made) + "/rendered", "text/html").expect(200)
    html.check("<script>alert" not in html.text() and "&lt;script&gt;" in html.text(), "the text is markup")
    assert "<script>" in "".join(origin.get(path(made) + "/rendered", "text/xml").expect(200).xml().itertext()), (
        "it is lost in XML"
    )


@row("W34b")
def key_objects_are_html_text_and_xml(origin):
    made = origin.kept(image_and_key_objects)[1]
    for essence in ("text/html", "text/plain", "text/xml"):
        answer = origin.get(path(made) + "/rendered", essence).expect(200).expect_type(essence)
        contains(essence, text_of(answer), ["the nodule of the left lung"])


def image_and_key_objects():
    image = dataset.ct()
    return image, documents.key_objects(image)


@row("W34b")
def an_encapsulated_pdf_is_itself(origin):
    made = origin.kept(documents.pdf)
    for accept in ("application/pdf", "*/*"):
        answer = origin.get(path(made) + "/rendered", accept).expect(200).expect_type("application/pdf")
        equal("document", answer.body.rstrip(b"\0"), documents.PDF.rstrip(b"\0"))
    origin.get(path(made) + "/rendered", JPEG).expect(406)


@row("W28")
def an_object_without_pixels_has_no_picture(origin):
    origin.get(path(origin.kept(documents.structured_report)) + "/rendered", PNG).expect(406)
    origin.get(path(origin.kept(identity)) + "/rendered", "text/html").expect(406)
