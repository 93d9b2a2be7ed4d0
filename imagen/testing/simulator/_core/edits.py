"""Edits that a test can inspect: the changed area is painted over, and every
input image is visible.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pybase64

from .jobs import Job

if TYPE_CHECKING:
    from PIL import Image

# The images of an edit without a mask are squares in the first row, of this
# share of the short side.
_SHARE = 16
_FORMATS = ("PNG", "JPEG", "WEBP")


class ImageError(ValueError):
    """Bytes that are not an image the provider takes."""


def open_image(data: bytes) -> Image.Image:
    """An image, decoded whole.

    Raises:
        ImageError: not an image, or one of another format.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as opened:
            opened.load()
            return opened
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(str(error)) from error


def read_data_url(url: str) -> bytes:
    """The bytes in a data: URL of an image.

    Raises:
        ImageError: not a data URL of an image.
    """
    head, comma, text = url.partition(",")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64"):
        raise ImageError("It is not a data: URL of an image.")
    return read_base64(text)


def read_base64(text: str) -> bytes:
    """The bytes in plain base64; raises `ImageError`."""
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError as error:
        raise ImageError("It is not base64.") from error


def draw_edit(
    job: Job,
    images: list[Image.Image],
    width: int,
    height: int,
    *,
    mask: Image.Image | None = None,
    format: str = "png",
) -> bytes:
    """Return a new image; with a mask only its white area is new, and the rest
    is the first input image.
    """
    from PIL import Image

    content = job.draw(width, height)
    if job.spoiled:
        return content
    with Image.open(io.BytesIO(content)) as opened:
        painted = opened.convert("RGB")
    if mask is not None:
        kept = images[0].convert("RGB").resize(painted.size)
        painted = Image.composite(painted, kept, mask.convert("L").resize(painted.size))
    else:
        side = max(1, min(width, height) // _SHARE)
        for at, image in enumerate(images):
            painted.paste(image.convert("RGB").resize((side, side)), (at * side, 0))
    file = io.BytesIO()
    painted.save(file, format.upper(), **({"compress_level": 1} if format == "png" else {}))
    return file.getvalue()
