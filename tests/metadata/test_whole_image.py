"""The whole image in the bytes of a reply."""

from __future__ import annotations

import functools
import io

import pytest
from PIL import Image as PillowImage

import imagen
from imagen.metadata._whole_image import cut_out_image


@functools.cache
def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    PillowImage.effect_noise((64, 48), 90).convert("RGB").save(file, kind)
    return file.getvalue()


KINDS = ("PNG", "JPEG", "WEBP", "GIF")
BEFORE = {
    "byte order mark": b"\xef\xbb\xbf",
    "line breaks": b"\r\n\r\n",
    "size of a chunk": b"1f40\r\n",
    "head of a part": b"--b\r\nContent-Disposition: form-data\r\n\r\n",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_image_stays_as_it_is(kind):
    assert cut_out_image(encoded(kind)) == encoded(kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE.keys())
def test_stray_bytes_before_it_are_left_out(kind, before):
    assert cut_out_image(before + encoded(kind)) == encoded(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_stray_bytes_behind_it_do_no_harm(kind):
    assert cut_out_image(encoded(kind) + b"\r\n0\r\n\r\n").startswith(encoded(kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("left", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_image_is_none(kind, left):
    data = encoded(kind)
    with pytest.raises(imagen.ProviderError) as caught:
        cut_out_image(data[: int(len(data) * left)])
    assert caught.value.billed == "yes"


def test_the_end_of_a_thumbnail_is_not_the_end_of_its_image():
    exif = PillowImage.Exif()
    exif[0x010E] = "\x01\xff\xd8 a thumbnail \xff\xd9".encode("latin-1")
    file = io.BytesIO()
    PillowImage.effect_noise((64, 48), 90).convert("RGB").save(file, "JPEG", exif=exif)
    data = file.getvalue()
    assert cut_out_image(data) == data
    with pytest.raises(imagen.ProviderError, match="end is missing"):
        cut_out_image(data[:-2])
