"""Masks of every kind of pixels become the forms of the providers."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image as PillowImage

import imagen
from imagen.providers import EncodedImage
from imagen.providers._wire.masks import (
    black_mask,
    transparent_image,
    transparent_mask,
    white_mask,
)


def halves(mode="L"):
    """Return a mask that is black at its left and white at its right."""
    image = PillowImage.new("L", (8, 4), 0)
    image.paste(255, (4, 0, 8, 4))
    return image.convert(mode)


def deep_halves():
    row = struct.pack("<8H", *[600] * 4, *[65535] * 4)
    return PillowImage.frombytes("I;16", (8, 4), row * 4)


def given(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return EncodedImage(data=file.getvalue(), media_type=f"image/{kind.lower()}", width=8, height=4)


def values(data, band=0):
    with PillowImage.open(io.BytesIO(data)) as image:
        found = [image.getpixel((x, 1)) for x in (1, 6)]
    return [one if isinstance(one, int) else one[band] for one in found]


MASKS = {
    "grey": given(halves()),
    "one bit": given(halves("1")),
    "palette": given(halves("P")),
    "colours": given(halves("RGB")),
    "opaque alpha": given(halves("RGBA")),
    "grey with opaque alpha": given(halves("LA")),
    "16 bits": given(deep_halves()),
    "clear value that no pixel has": given(halves(), transparency=7),
    "of a press": given(halves("CMYK"), "JPEG", quality=100),
    "webp": given(halves("RGB"), "WEBP", lossless=True),
    "gif": given(halves("P"), "GIF"),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_black_stays_and_white_changes(mask):
    black, white = values(white_mask(mask))
    assert black <= 4
    assert white >= 251
    assert values(black_mask(mask)) == [255 - black, 255 - white]
    assert values(transparent_mask(mask), band=3) == [255 - black, 255 - white]
    image = given(PillowImage.new("RGB", (8, 4), (1, 2, 3)))
    assert values(transparent_image(image, mask), band=3) == [255 - black, 255 - white]


CLEAR = {
    "alpha": given(PillowImage.new("RGBA", (8, 4), (0, 0, 0, 0))),
    "grey with alpha": given(PillowImage.new("LA", (8, 4), (255, 254))),
    "clear grey": given(halves(), transparency=0),
    "clear colour": given(halves("RGB"), transparency=(255, 255, 255)),
    "clear colour of a palette": given(halves("P"), transparency=0),
    "clear value of 16 bits": given(deep_halves(), transparency=600),
    "gif": given(halves("P"), "GIF", transparency=0),
}


@pytest.mark.parametrize("mask", CLEAR.values(), ids=CLEAR)
def test_a_mask_with_clear_areas_is_refused(mask):
    with pytest.raises(imagen.InvalidRequestError, match="transparent areas"):
        white_mask(mask)
