"""The one door to Pillow lets no bomb and no foreign exception through."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageCms

import imagen
from imagen.library._imaging.decoding import MAX_PIXELS, open_image
from tests.support.drawings import bomb, encoded, halves
from tests.support.lengths import examples

SAMPLES = [
    encoded(halves()),
    encoded(halves(mode="P")),
    encoded(halves(), "JPEG", comment=b"hello"),
    encoded(halves(mode="CMYK"), "JPEG"),
    encoded(halves(), "WEBP"),
    encoded(halves(mode="RGBA"), "WEBP", lossless=True),
    encoded(halves(), "GIF", save_all=True, append_images=[halves().rotate(180)]),
    encoded(halves(), "PNG", save_all=True, append_images=[halves().rotate(180)]),
]


@pytest.mark.parametrize("data", SAMPLES, ids=range(len(SAMPLES)))
def test_every_known_kind_is_opened_as_rgb_with_nothing_beside_the_pixels(data):
    image = open_image(data)
    assert image.mode in ("RGB", "RGBA")
    assert image.size == (64, 32)
    assert image.info == {}
    red, _, blue = image.convert("RGB").getpixel((4, 4))
    assert red > 150 > 100 > blue


def test_an_image_that_claims_too_many_pixels_is_refused_before_it_is_decoded():
    with pytest.raises(imagen.InvalidRequestError, match="claims 100000x100000 pixels"):
        open_image(bomb())
    with pytest.raises(imagen.InvalidRequestError, match="at most 100 are decoded"):
        open_image(encoded(halves()), max_pixels=100)


def test_the_bound_stays_below_the_size_that_pillow_warns_of():
    assert PillowImage.MAX_IMAGE_PIXELS is not None
    assert MAX_PIXELS < PillowImage.MAX_IMAGE_PIXELS


def test_a_gif_whose_frame_is_larger_than_its_head_says_is_refused():
    data = bytearray(encoded(halves(), "GIF"))
    at = data.index(b"\x2c")
    for side, words in ((9000, "claims 9000x9000"), (12000, "damaged"), (65535, "damaged")):
        data[at + 5 : at + 9] = struct.pack("<HH", side, side)
        with pytest.raises(imagen.InvalidRequestError, match=words):
            open_image(bytes(data))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_stands_upright(orientation):
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    image = open_image(encoded(halves(), "JPEG", exif=exif))
    assert image.size == ((64, 32) if orientation < 5 else (32, 64))


def test_a_profile_of_other_colours_is_dropped_and_one_of_rgb_stays():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert open_image(encoded(halves(), icc_profile=srgb)).info == {"icc_profile": srgb}
    cmyk = srgb[:16] + b"CMYK" + srgb[20:]
    assert open_image(encoded(halves(mode="CMYK"), "JPEG", icc_profile=cmyk)).info == {}


def test_sixteen_bits_become_eight_without_losing_the_bright_half():
    image = open_image(encoded(PillowImage.new("I;16", (8, 8), 0x8000)))
    assert image.getpixel((0, 0)) == (128, 128, 128)


def test_a_large_jpeg_is_decoded_at_a_part_of_its_size():
    data = encoded(halves((1600, 1600)), "JPEG")
    assert open_image(data, side=256).size == (400, 400)
    assert open_image(data).size == (1600, 1600)


@pytest.mark.parametrize(
    "data", [b"", b"no image", SAMPLES[0][:60], SAMPLES[2][:-200], b"GIF89a\x10\x00\x10\x00"]
)
def test_what_is_no_whole_image_is_refused_in_a_sentence(data):
    with pytest.raises(imagen.InvalidRequestError, match=r"^The .*\.$"):
        open_image(data)


def test_a_file_that_is_missing_or_far_too_large_is_refused(tmp_path):
    with pytest.raises(imagen.StorageError, match="cannot be read: No such file"):
        open_image(tmp_path / "missing.png")
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(imagen.InvalidRequestError, match="too large"):
        open_image(tmp_path / "huge.png")


@settings(max_examples=examples(300), deadline=None)
@given(
    sample=st.sampled_from(SAMPLES),
    changes=st.lists(
        st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=6)), min_size=1, max_size=6
    ),
    cut=st.floats(0, 1),
)
def test_whatever_is_done_to_a_file_it_opens_or_is_refused_in_a_sentence(sample, changes, cut):
    data = bytearray(sample)
    for where, what in changes:
        at = int(where * len(data))
        data[at : at + len(what)] = what
    if cut > 0.7:
        del data[int(cut * len(data)) :]
    try:
        image = open_image(bytes(data), max_pixels=1 << 20)
    except imagen.ImagenError as error:
        assert error.message.isprintable()
        assert error.message.endswith(".")
    else:
        assert image.mode in ("RGB", "RGBA")
