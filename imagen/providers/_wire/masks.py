"""Masks in the forms of the providers. Ours is white where the image changes;
`Compute` runs these calls.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from ..._errors import InvalidRequestError
from ...metadata._seen import pixels_of
from .._provider import EncodedImage

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["black_mask", "transparent_image", "transparent_mask", "white_mask"]


def white_mask(mask: EncodedImage) -> bytes:
    """Return a greyscale PNG, white where the image changes."""
    return _change(mask, "plain")


def black_mask(mask: EncodedImage) -> bytes:
    """Return a greyscale PNG, black where the image changes."""
    return _change(mask, "inverted")


def transparent_mask(mask: EncodedImage) -> bytes:
    """Return a PNG with an alpha channel, transparent where the image changes."""
    return _change(mask, "alpha")


def transparent_image(image: EncodedImage, mask: EncodedImage) -> bytes:
    """Return the image as a PNG, transparent where it changes."""
    from PIL import ImageOps

    canvas = pixels_of(image.data).convert("RGBA")
    canvas.putalpha(ImageOps.invert(_read(mask)))
    return _png(canvas)


def _change(mask: EncodedImage, form: str) -> bytes:
    # Pillow is imported only when a mask is there.
    from PIL import Image, ImageOps

    grey = _read(mask)
    if form == "plain":
        return _png(grey)
    inverted = ImageOps.invert(grey)
    if form == "inverted":
        return _png(inverted)
    canvas = Image.new("RGBA", grey.size, (0, 0, 0, 255))
    canvas.putalpha(inverted)
    return _png(canvas)


def _read(mask: EncodedImage) -> Image.Image:
    try:
        seen = pixels_of(mask.data)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"The mask cannot be read: {error.message}") from error
    if seen.mode == "RGBA" and seen.getchannel("A").getextrema() != (255, 255):
        raise InvalidRequestError(
            "The mask has transparent areas, which some tools mean as what is to change and"
            " others as what stays: give one without, white where the image is to change"
            " and black elsewhere."
        )
    return seen.convert("L")


def _png(canvas: Image.Image) -> bytes:
    file = io.BytesIO()
    canvas.save(file, "PNG", compress_level=3)
    return file.getvalue()
