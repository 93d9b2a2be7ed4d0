"""Stand-in for an SVG that is not drawn: a grey area of its shape that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._errors import ConfigurationError, InvalidRequestError
from ...metadata._embed import kind_of
from ...metadata._formats.svg import SVG
from ...metadata._image_header import read_image_header
from .transforms import Transform, apply_transform, encode_image

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

__all__ = ["placeholder", "transform_or_placeholder"]

_GROUND, _INK = (236, 236, 236), (120, 120, 120)
_WORD = "SVG"
_LEAST_LETTER = 8


def transform_or_placeholder(data: bytes, transform: Transform) -> bytes:
    """Transform an image; of an SVG that cannot be drawn, its placeholder.
    Blocking.

    Raises:
        ImagenError: as for `apply_transform`, except for the drawing.
    """
    if kind_of(data) != SVG:
        return apply_transform(data, transform)
    try:
        return apply_transform(data, transform)
    except (ConfigurationError, InvalidRequestError):
        # A fault of the transform is one of the placeholder too.
        side = max(transform.width or 0, transform.height or 0) if transform.crop is None else None
        return apply_transform(encode_image(placeholder(data, side or None), "png"), transform)


def placeholder(data: bytes, side: int | None = None) -> Pixels:
    """Draw the placeholder of an SVG, of its size or with this longest side."""
    import PIL.Image
    import PIL.ImageDraw
    import PIL.ImageFont

    found = read_image_header(data)
    scale = 1.0 if side is None else side / max(found.width, found.height)
    size = max(1, round(found.width * scale)), max(1, round(found.height * scale))
    image = PIL.Image.new("RGB", size, _GROUND)
    font = PIL.ImageFont.load_default(max(_LEAST_LETTER, min(size) // 4))
    draw = PIL.ImageDraw.Draw(image)
    left, top, right, bottom = draw.textbbox((0, 0), _WORD, font=font)
    corner = (size[0] - right - left) / 2, (size[1] - bottom - top) / 2
    draw.text(corner, _WORD, font=font, fill=_INK)
    return image
