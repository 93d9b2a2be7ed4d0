"""Edits that a test can look at: what was to change is painted over, and every picture that came along can be seen."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pybase64

from .jobs import Job

if TYPE_CHECKING:
    from PIL import Image

# The pictures of an edit without a mask stand in the first row, as squares of this share of the short side.
_SHARE = 16
_FORMATS = ("PNG", "JPEG", "WEBP")


class PictureError(ValueError):
    """These bytes are no picture that a provider takes."""


def open_picture(data: bytes) -> Image.Image:
    """A picture, decoded whole.

    Raises:
        PictureError: it is none, or of another format.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as opened:
            opened.load()
            return opened
    except (OSError, ValueError, SyntaxError) as error:
        raise PictureError(str(error)) from error


def read_data_url(url: str) -> bytes:
    """The bytes in a data: URL of a picture.

    Raises:
        PictureError: it is something else.
    """
    head, comma, text = url.partition(",")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64"):
        raise PictureError("It is no data: URL of a picture.")
    return read_base64(text)


def read_base64(text: str) -> bytes:
    """The bytes in plain base64; raises `PictureError`."""
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError as error:
        raise PictureError("It is no base64.") from error


def draw_edit(
    job: Job,
    pictures: list[Image.Image],
    width: int,
    height: int,
    *,
    mask: Image.Image | None = None,
    format: str = "png",
) -> bytes:
    """A new picture; with a mask only where that is white, and elsewhere the first of the pictures as it was."""
    from PIL import Image

    content = job.draw(width, height)
    if job.spoiled:
        return content
    with Image.open(io.BytesIO(content)) as opened:
        painted = opened.convert("RGB")
    if mask is not None:
        kept = pictures[0].convert("RGB").resize(painted.size)
        painted = Image.composite(painted, kept, mask.convert("L").resize(painted.size))
    else:
        side = max(1, min(width, height) // _SHARE)
        for at, picture in enumerate(pictures):
            painted.paste(picture.convert("RGB").resize((side, side)), (at * side, 0))
    file = io.BytesIO()
    painted.save(file, format.upper(), **({"compress_level": 1} if format == "png" else {}))
    return file.getvalue()
