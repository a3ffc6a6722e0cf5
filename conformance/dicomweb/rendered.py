"""Rendered resources and thumbnails: PS3.18 10.4.1.1.3, 10.4.1.1.4 and 8.3.5."""

from io import BytesIO

import numpy
from PIL import Image, ImageCms

import dataset
from dataset import COLUMNS, ROWS, TOKEN, path
from origin import related
from pictures import (
    GIF,
    IDENTITY,
    JPEG,
    PNG,
    followed,
    identity,
    image_and_state,
    linear,
    linear_exact,
    near,
    picture,
    pixels,
    shades,
    sigmoid,
    square,
    windowed,
)
from report import NotApplicable, equal, row


@row("W28")
def jpeg_is_the_default(origin):
    made = origin.kept(identity)
    for target in (path(made) + "/rendered", path(made) + "/frames/1/rendered"):
        for accept in ("*/*", "image/*", JPEG):
            answer = origin.get(target, accept).expect(200).expect_type(JPEG)
            equal("format and size", (picture(answer).format, picture(answer).size), ("JPEG", (COLUMNS, ROWS)))
    near("JPEG", pixels(origin, made, accept=JPEG), shades(made), 4)


@row("W29")
def gif_and_png_are_there(origin):
    made = origin.kept(identity)
    for accept, format in ((GIF, "GIF"), (PNG, "PNG")):
        answer = origin.get(path(made) + "/rendered", accept).expect(200).expect_type(accept)
        equal("format", picture(answer).format, format)
        near(format, pixels(origin, made, accept=accept), shades(made))


@row("W29", "W28")
def the_frame_that_was_asked_for_is_shown(origin):
    made = origin.kept(dataset.multi_frame, **IDENTITY)
    for frame in (1, 3):
        near(f"frame {frame}", pixels(origin, made, f"/frames/{frame}/rendered"), shades(made, frame - 1))
    origin.get(path(made) + "/frames/5/rendered", PNG).expect(404)


@row("W29")
def a_multi_frame_gif_moves(origin):
    made = origin.kept(dataset.multi_frame, **IDENTITY)
    answer = origin.get(path(made) + "/rendered", GIF).expect(200).expect_type(GIF)
    shown = picture(answer)
    equal("frames", shown.n_frames, 4)
    shown.seek(2)
    near("frame 3", numpy.asarray(shown.convert("L")).astype(int), shades(made, 2))


@row("W30")
def windows_are_as_asked(origin):
    made = origin.kept(dataset.ct)
    for name, function in (("linear", linear), ("linear-exact", linear_exact), ("sigmoid", sigmoid)):
        for centre, width in ((1000, 2000), (500.5, 37), (-200, 400)):
            near(
                f"{centre},{width},{name}",
                pixels(origin, made, window=f"{centre},{width},{name}"),
                windowed(function, centre, width),
            )


@row("W31")
def a_window_with_a_part_missing_is_400(origin):
    target = path(origin.kept(dataset.ct)) + "/rendered"
    for window in (
        "40",
        "40,400",
        "40,,linear",
        ",400,linear",
        "a,400,linear",
        "40,b,linear",
        "40,400,cubic",
        "40,0,linear",
        "40,-5,linear-exact",
        "40,400,linear,1",
        "",
    ):
        origin.get(target, PNG, window=window).expect(400)


@row("W32")
def a_viewport_keeps_the_aspect(origin):
    made = origin.kept(identity)
    for asked, expected in (("32,32", (32, 24)), ("128,1000", (128, 96)), ("1000,12", (16, 12)), ("64,48", (64, 48))):
        answer = origin.get(path(made) + "/rendered", PNG, viewport=asked).expect(200)
        equal(f"size for {asked}", picture(answer).size, expected)


@row("W32")
def a_viewport_crops_and_flips(origin):
    made = origin.kept(identity)
    whole = shades(made)
    for asked, expected in (
        ("16,12,8,4,16,12", whole[4:16, 8:24]),
        ("32,24,,,32,24", whole[:24, :32]),
        ("64,48,0,0,-64,48", whole[:, ::-1]),
        ("64,48,0,0,64,-48", whole[::-1]),
        ("64,48,,,,", whole),
        ("48,40,16,8,,", whole[8:, 16:]),
    ):
        near(f"viewport {asked}", pixels(origin, made, viewport=asked), expected)


@row("W32")
def a_bad_viewport_is_400(origin):
    made = path(origin.kept(identity))
    for asked in ("0,0", "-5,5", "a,b", "10", "10,10,0,0,0,5", "64,48,9999,0,5,5", "99999999,99999999"):
        origin.get(made + "/rendered", PNG, viewport=asked).expect(400)


@row("W32")
def a_thumbnail_takes_only_a_size(origin):
    made = origin.kept(identity)
    answer = followed(origin, path(made) + "/thumbnail", viewport="32,32")
    equal("size", max(picture(answer).size), 32)
    origin.get(path(made) + "/thumbnail", JPEG, viewport="16,16,0,0,10,10").expect(400)


@row("W32")
def a_presentation_state_takes_only_a_size(origin):
    state = path(origin.kept(image_and_state)[1]) + "/rendered"
    origin.get(state, PNG, viewport="32,32").expect(200)
    origin.get(state, PNG, viewport="16,16,0,0,10,10").expect(400)


@row("W33")
def a_quality_outside_its_range_is_400(origin):
    target = path(origin.kept(identity)) + "/rendered"
    for quality in ("0", "101", "-1", "abc", "1.5", ""):
        origin.get(target, JPEG, quality=quality).expect(400)
    small, large = (len(origin.get(target, JPEG, quality=quality).expect(200).body) for quality in (5, 100))
    assert small < large, f"quality 5 has {small} bytes, 100 has {large}"


@row("W33b")
def annotations_are_burnt_in(origin):
    made = origin.kept(square, PatientName=f"Annotated{TOKEN}^Person")
    plain = pixels(origin, made)
    near("without annotation", plain, shades(made))
    for annotation in ("patient", "technique", "patient,technique"):
        shown = pixels(origin, made, annotation=annotation)
        equal("size", shown.shape, plain.shape)
        assert (shown != plain).any(), f"annotation={annotation} changes nothing"
    other = origin.kept(square, PatientName=f"Somebody{TOKEN}^Else")
    assert (pixels(origin, made, annotation="patient") != pixels(origin, other, annotation="patient")).any(), (
        "two patients look the same"
    )


@row("W33b")
def an_unknown_annotation_is_told(origin):
    answer = origin.get(path(origin.kept(square)) + "/rendered", PNG, annotation="patient,weather").expect(200, 400)
    answer.check(answer.status == 400 or (answer.header("Warning") or "").startswith("299"), "there is no Warning")


@row("W33c")
def colour_profiles_are_as_asked(origin):
    target = path(origin.kept(dataset.colour)) + "/rendered"
    profile = lambda accept, asked: picture(origin.get(target, accept, iccprofile=asked).expect(200)).info.get(
        "icc_profile"
    )
    for accept in (JPEG, PNG):
        equal("iccprofile=no", profile(accept, "no"), None)
        for asked, words in (
            ("yes", ("",)),
            ("srgb", ("srgb",)),
            ("adobergb", ("adobe",)),
            ("rommrgb", ("romm", "prophoto")),
        ):
            found = profile(accept, asked)
            assert found, f"iccprofile={asked}: there is none"
            said = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(found))).lower()
            assert any(word in said for word in words), f"iccprofile={asked}: {said!r}"


@row("W33c")
def a_profile_that_the_type_cannot_carry_is_400(origin):
    target = path(origin.kept(dataset.colour)) + "/rendered"
    for asked in ("yes", "srgb"):
        origin.get(target, GIF, iccprofile=asked).expect(400)
    origin.get(target, JPEG, iccprofile="cmyk").expect(400)


@row("W34")
def studies_and_series_are_rendered(origin):
    first, second = origin.kept(two_pictures)
    for level, count in (("study", 2), ("series", 1)):
        for accept in (JPEG, related(JPEG), "*/*"):
            answer = origin.get(path(first, level) + "/rendered", accept).expect(200)
            if answer.media_type.essence == "multipart/related":
                equal(f"pictures of the {level}", [part.media_type.essence for part in answer.parts()], [JPEG] * count)
                bodies = [part.body for part in answer.parts()]
            else:
                bodies = [answer.expect_type(JPEG).body]
            equal("size", {Image.open(BytesIO(body)).size for body in bodies}, {(COLUMNS, ROWS)})


def two_pictures():
    return dataset.in_one_study(identity(), identity())


@row("W35")
def thumbnails_are_at_all_levels_or_none(origin):
    made = origin.kept(square)
    targets = [path(made, level) for level in ("study", "series", "instance")] + [path(made) + "/frames/1"]
    statuses = [origin.get(target + "/thumbnail", JPEG).status for target in targets]
    if set(statuses) <= {404, 406, 501}:
        raise NotApplicable(f"the server has no thumbnails: {statuses}")
    for target in targets:
        shown = picture(followed(origin, target + "/thumbnail"))
        equal("format", (shown.format, getattr(shown, "n_frames", 1)), ("JPEG", 1))


@row("W35")
def a_thumbnail_has_no_text_of_the_patient(origin):
    shown = []
    for name in ("Annotated^Person", "Somebody^Else"):
        made = origin.kept(square, PatientName=name, PatientID=f"T{TOKEN}{name[0]}")
        shown.append(followed(origin, path(made) + "/thumbnail").body)
        answer = origin.get(path(made) + "/thumbnail", JPEG, annotation="patient").expect(200, 400, 302, 303, 307)
        answer.check(answer.status != 200 or answer.body == shown[-1], "annotation=patient writes into a thumbnail")
    equal("they are the same", shown[0] == shown[1], True)
