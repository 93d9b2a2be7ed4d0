"""What comes of a transform, for every image and every way to ask."""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageCms, features

import imagen
from imagen.library import Transform, apply_transform, thumbnail
from tests.support.drawings import decoded, encoded, halves

IMAGE = encoded(halves((80, 40)))


def sides(transform: Transform, data: bytes = IMAGE) -> tuple[int, int]:
    return decoded(apply_transform(data, transform)).size


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        ({"width": 40, "height": 40}, (40, 20)),
        ({"width": 40}, (40, 20)),
        ({"height": 20}, (40, 20)),
        ({"width": 40, "height": 40, "fit": "cover"}, (40, 40)),
        ({"width": 20, "height": 30, "fit": "stretch"}, (20, 30)),
        ({"width": 160, "height": 160}, (80, 40)),
        ({"width": 160, "height": 160, "enlarge": True}, (160, 80)),
        ({"width": 160, "height": 160, "fit": "cover"}, (40, 40)),
        ({"width": 160, "height": 160, "fit": "cover", "enlarge": True}, (160, 160)),
        ({"width": 160, "height": 20, "fit": "stretch"}, (80, 20)),
        ({"width": 160, "height": 20, "fit": "stretch", "enlarge": True}, (160, 20)),
        ({"crop": (8, 8, 20, 10)}, (20, 10)),
        ({"rotate": 90}, (40, 80)),
        ({"rotate": 90, "crop": (0, 0, 30, 10), "width": 16, "enlarge": True}, (16, 48)),
        ({}, (80, 40)),
    ],
)
def test_the_size_is_as_asked_and_never_more_than_there_is_unless_asked(asked, got):
    assert sides(Transform(**asked)) == got


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    width=st.integers(16, 90),
    height=st.integers(16, 90),
    fit=st.sampled_from(["contain", "cover", "stretch"]),
    rotate=st.sampled_from([0, 90, 180, 270]),
    enlarge=st.booleans(),
)
def test_no_side_is_ever_longer_than_asked(size, width, height, fit, rotate, enlarge):
    transform = Transform(width=width, height=height, fit=fit, rotate=rotate, enlarge=enlarge)
    found = sides(transform, encoded(halves(size)))
    assert 1 <= found[0] <= width
    assert 1 <= found[1] <= height
    before = size if rotate in (0, 180) else size[::-1]
    if not enlarge:
        assert found[0] <= before[0]
        assert found[1] <= before[1]
    elif fit != "contain":
        assert found == (width, height)


@pytest.mark.parametrize(("degrees", "red_at"), [(90, (20, 4)), (180, (76, 20)), (270, (20, 76))])
def test_rotating_goes_with_the_clock(degrees, red_at):
    turned = decoded(apply_transform(IMAGE, Transform(rotate=degrees)))
    assert turned.getpixel(red_at) == (220, 30, 30)


def test_the_crop_counts_in_pixels_of_the_upright_image():
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    standing = encoded(halves((80, 40)), "JPEG", exif=exif, quality=95)
    top = decoded(apply_transform(standing, Transform(crop=(0, 0, 40, 20), format="png")))
    assert top.size == (40, 20)
    assert top.getpixel((20, 10))[0] > 200


@pytest.mark.parametrize("fit", ["contain", "cover", "stretch"])
@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "avif"])
def test_every_format_opens_again(fit, format):
    if format == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    made = decoded(
        apply_transform(IMAGE, Transform(width=32, height=32, fit=fit, format=format, quality=70))
    )
    assert made.format == format.upper()
    made.load()


def test_the_format_stays_unless_asked_and_a_gif_becomes_a_png():
    assert decoded(apply_transform(encoded(halves(), "WEBP"), Transform(width=20))).format == "WEBP"
    assert decoded(apply_transform(encoded(halves(), "JPEG"), Transform(width=20))).format == "JPEG"
    assert decoded(apply_transform(encoded(halves(), "GIF"), Transform(width=20))).format == "PNG"


def test_avif_is_refused_in_a_sentence_where_pillow_lacks_it():
    with mock.patch("PIL.features.check", return_value=False):
        with pytest.raises(imagen.ConfigurationError, match="choose webp"):
            apply_transform(IMAGE, Transform(format="avif"))


def test_what_shows_through_is_white_in_a_jpeg_and_still_shows_through_elsewhere():
    clear = encoded(PillowImage.new("RGBA", (32, 32), (0, 0, 0, 0)))
    assert min(decoded(apply_transform(clear, Transform(format="jpeg"))).getpixel((9, 9))) > 250
    assert decoded(apply_transform(clear, Transform(format="webp"))).getpixel((9, 9))[3] == 0


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_the_colour_profile_stays_and_all_other_words_go(format):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = PillowImage.Exif()
    exif[0x010E] = "a secret prompt"
    source = encoded(halves(), "JPEG", icc_profile=srgb, exif=exif, comment=b"a secret prompt")
    made = apply_transform(source, Transform(width=32, format=format))
    assert decoded(made).info["icc_profile"] == srgb
    assert b"secret" not in made


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 15},
        {"height": 16385},
        {"width": 100, "fit": "cover"},
        {"height": 100, "fit": "stretch"},
        {"fit": "fill"},
        {"rotate": 45},
        {"crop": (-1, 0, 5, 5)},
        {"crop": (0, 0, 0, 5)},
        {"format": "bmp"},
        {"quality": 0},
        {"quality": 101},
    ],
)
def test_what_makes_no_sense_is_refused_at_once(wrong):
    with pytest.raises(imagen.InvalidRequestError, match=r"\.$"):
        Transform(**wrong)


def test_a_crop_beyond_the_image_is_refused():
    with pytest.raises(imagen.InvalidRequestError, match="exceeds the image of 80x40"):
        apply_transform(IMAGE, Transform(crop=(70, 0, 20, 20)))


def test_a_size_that_the_format_cannot_hold_is_refused_in_a_sentence():
    wide = Transform(width=16384, height=16, fit="stretch", enlarge=True, format="webp")
    with pytest.raises(imagen.InvalidRequestError, match="16384x16 cannot be written as webp"):
        apply_transform(IMAGE, wide)


def test_a_thumbnail_is_a_small_webp_of_the_whole_image():
    made = decoded(apply_transform(encoded(halves((2000, 1000)), "JPEG"), thumbnail(256)))
    assert (made.format, made.size) == ("WEBP", (256, 128))
    with pytest.raises(imagen.InvalidRequestError, match="256, 512 or 1024"):
        thumbnail(300)


def test_more_pixels_than_are_opened_are_not_made_either():
    transform = Transform(width=16384, height=16384, fit="stretch", enlarge=True)
    with pytest.raises(imagen.InvalidRequestError, match="16384x16384"):
        imagen.library.apply_transform(encoded(halves()), transform)
