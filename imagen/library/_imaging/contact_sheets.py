"""Contact sheets: a grid of images with captions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from ..._errors import ImagenError, InvalidRequestError
from ..._results.images import Image
from ...metadata._formats.svg import SVG
from .captions import set_caption
from .decoding import MAX_PIXELS, open_image
from .placeholder import placeholder
from .transforms import encode_image, flatten

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels
    from PIL.ImageDraw import ImageDraw

__all__ = ["contact_sheet"]

# Smaller images are unrecognizable.
_LEAST_SIDE, _MOST_SIDE = 48, 4096
_CAPTION_LINES = 2
# A neutral grey does not change the impression of adjacent colours.
_GROUND, _CELL, _INK = (246, 246, 246), (236, 236, 236), (48, 48, 48)


class _Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Layout of a sheet; lengths in pixels."""

    columns: int
    rows: int
    side: int
    gap: int
    letter: int
    caption: int

    @property
    def size(self) -> tuple[int, int]:
        width = self.gap + self.columns * (self.side + self.gap)
        return width, self.gap + self.rows * (self.side + self.caption + self.gap)

    def corner(self, place: int) -> tuple[int, int]:
        row, column = divmod(place, self.columns)
        return self.gap + column * (self.side + self.gap), self.gap + row * (
            self.side + self.caption + self.gap
        )


def contact_sheet(
    images: Sequence[Image],
    *,
    columns: int | None = None,
    captions: Callable[[Image], str] | None = None,
    side: int = 512,
    format: Literal["png", "jpeg"] = "png",
) -> bytes:
    """Draw a grid of images, each whole in a square cell. Only one image is in
    memory at a time. Blocking.

    Args:
        columns: Images per row; by default about the number of rows.
        captions: Returns the text below an image, cut to two lines: `lambda
            image: image.prompt`.
        side: Side of a cell, from 48 to 4096 pixels. It shrinks if the sheet
            would exceed 64 megapixels.

    An unreadable image leaves its cell empty, and an SVG that cannot be drawn
    has a grey one with its name.

    Raises:
        InvalidRequestError: there are no images, or too many for one sheet.
    """
    import PIL.Image
    import PIL.ImageDraw

    layout = _lay_out(len(images), columns, side, with_captions=captions is not None)
    sheet = PIL.Image.new("RGB", layout.size, _GROUND)
    draw = PIL.ImageDraw.Draw(sheet)
    for place, image in enumerate(images):
        left, top = layout.corner(place)
        draw.rectangle((left, top, left + layout.side - 1, top + layout.side - 1), fill=_CELL)
        small = _shrink(image, layout.side)
        if small is not None:
            sheet.paste(
                small,
                (left + (layout.side - small.width) // 2, top + (layout.side - small.height) // 2),
            )
        if captions is not None:
            _write(draw, captions(image), (left, top + layout.side), layout)
    return encode_image(sheet, format, quality=90)


def _lay_out(count: int, columns: int | None, side: int, *, with_captions: bool) -> _Layout:
    if count == 0:
        raise InvalidRequestError("Empty contact sheet: expected at least one image.")
    if not _LEAST_SIDE <= side <= _MOST_SIDE or (columns is not None and columns < 1):
        raise InvalidRequestError(
            "Invalid contact sheet: expected at least one column, and cells of 48 to 4096 pixels."
        )
    across = min(count, columns or math.ceil(math.sqrt(count)))
    rows = math.ceil(count / across)
    while True:
        letter = max(11, round(side / 22))
        line = round(letter * 1.35)
        caption = line * _CAPTION_LINES + letter // 2 if with_captions else 0
        layout = _Layout(
            columns=across,
            rows=rows,
            side=side,
            gap=max(6, side // 16),
            letter=letter,
            caption=caption,
        )
        if math.prod(layout.size) <= MAX_PIXELS and max(layout.size) < 1 << 16:
            return layout
        if side == _LEAST_SIDE:
            raise InvalidRequestError(
                f"{count} images do not fit on one contact sheet: make several."
            )
        side = max(_LEAST_SIDE, side * 9 // 10)


def _shrink(image: Image, side: int) -> Pixels | None:
    try:
        source = image.data if image.path is None else image.fetch()
        pixels = flatten(open_image(source, side=side))
    except ImagenError:
        if image.media_type != SVG:
            return None
        pixels = placeholder(image.data, side)
    pixels.thumbnail((side, side))
    return pixels


def _write(draw: ImageDraw, text: str, corner: tuple[int, int], layout: _Layout) -> None:
    font, lines = set_caption(text, size=layout.letter, width=layout.side, lines=_CAPTION_LINES)
    left, top = corner
    for number, line in enumerate(lines):
        below = top + layout.letter // 2 + round(number * layout.letter * 1.35)
        draw.text((left + layout.side / 2, below), line, font=font, fill=_INK, anchor="ma")
