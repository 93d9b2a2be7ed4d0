"""Images as the text that makes a terminal show them."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ...library import open_image
from .terminal import Terminal

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

__all__ = ["draw_image"]

_HALF_BLOCK = "\N{UPPER HALF BLOCK}"
_WHITE = (255, 255, 255, 255)
_SIXEL_COLOURS = 256
_KITTY_CHUNK = 4096

_Colour = tuple[int, int, int]


def draw_image(source: bytes | Path, terminal: Terminal, *, columns: int, rows: int) -> bytes:
    """Return what shows an image within these letters and lines; a small one
    is not enlarged. Blocking.

    Raises:
        ImagenError: it is no image that can be shown.
    """
    across, down = terminal.cell
    pixels = open_image(source, side=max(columns * across, rows * down))
    share = min(1.0, columns * across / pixels.width, rows * down / pixels.height)
    width, height = max(1, round(pixels.width * share)), max(1, round(pixels.height * share))
    cells = math.ceil(width / across), math.ceil(height / down)
    match terminal.protocol:
        case "kitty":
            return _draw_kitty(pixels.resize((width, height)), cells)
        case "iterm2":
            return _draw_iterm2(pixels.resize((width, height)), cells)
        case "sixel":
            return _draw_sixel(_flatten(pixels).resize((width, height)))
        case "blocks":
            halves = min(2 * cells[1], 2 * max(1, round(cells[0] * across * height / width / down)))
            small = _flatten(pixels).resize((cells[0], halves))
            return _draw_blocks(small, all_colours=terminal.all_colours)


def _flatten(pixels: Pixels) -> Pixels:
    """Put a transparent image on white: these forms have no transparency."""
    if pixels.mode != "RGBA":
        return pixels
    ground = pixels.copy()
    ground.paste(_WHITE, (0, 0, *pixels.size))
    ground.alpha_composite(pixels)
    return ground.convert("RGB")


def _encode_png(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    pixels.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _draw_kitty(pixels: Pixels, cells: tuple[int, int]) -> bytes:
    # By its longer side: one letter is wider than a narrow image.
    size = b"c=%d" % cells[0] if pixels.width > pixels.height else b"r=%d" % cells[1]
    data = base64.b64encode(_encode_png(pixels))
    parts = [data[start : start + _KITTY_CHUNK] for start in range(0, len(data), _KITTY_CHUNK)]
    last = len(parts) - 1
    texts = [b"m=%d;%s" % (number < last, part) for number, part in enumerate(parts)]
    texts[0] = b"a=T,f=100,%s,q=2,%s" % (size, texts[0])
    return b"".join(b"\x1b_G%s\x1b\\" % text for text in texts) + b"\n"


def _draw_iterm2(pixels: Pixels, cells: tuple[int, int]) -> bytes:
    data = _encode_png(pixels)
    box = f"width={cells[0]};height={cells[1]};preserveAspectRatio=1"
    head = f"\x1b]1337;File=inline=1;size={len(data)};{box}:"
    return head.encode() + base64.b64encode(data) + b"\x07\n"


# --- sixel --------------------------------------------------------------------


def _draw_sixel(pixels: Pixels) -> bytes:
    indexed = pixels.quantize(_SIXEL_COLOURS)
    width, height = indexed.size
    data = indexed.tobytes()
    head = b'\x1bP0;1q"1;1;%d;%d' % (width, height)
    colours = b"".join(_sixel_colours(indexed.getpalette() or [], data))
    bands = [data[top : top + 6 * width] for top in range(0, len(data), 6 * width)]
    return head + colours + b"-".join(_sixel_band(band, width) for band in bands) + b"\x1b\\\n"


def _sixel_colours(palette: list[int], data: bytes) -> Iterator[bytes]:
    for used in sorted(set(data)):
        shares = (value * 100 // 255 for value in palette[3 * used : 3 * used + 3])
        yield b"#%d;2;%d;%d;%d" % (used, *shares)


def _sixel_band(band: bytes, width: int) -> bytes:
    """Return up to six rows: for each colour, six bits in a letter."""
    rows = [band[start : start + width] for start in range(0, len(band), width)]
    lines = []
    for colour in sorted(set(band)):
        bits = bytearray(b"?" * width)
        for number, row in enumerate(rows):
            column = row.find(colour)
            while column >= 0:
                bits[column] += 1 << number
                column = row.find(colour, column + 1)
        lines.append(b"#%d%s" % (colour, _shorten(bytes(bits.rstrip(b"?")))))
    return b"$".join(lines)


def _shorten(line: bytes) -> bytes:
    return re.sub(
        rb"(.)\1{3,}", lambda found: b"!%d%s" % (len(found[0]), found[1]), line, flags=re.DOTALL
    )


# --- half blocks --------------------------------------------------------------


def _draw_blocks(pixels: Pixels, *, all_colours: bool) -> bytes:
    data = pixels.tobytes()
    colours: list[_Colour] = [(*data[start : start + 3],) for start in range(0, len(data), 3)]
    width = pixels.width
    rows = [colours[start : start + width] for start in range(0, len(colours), width)]
    lines = [
        _block_line(upper, lower, all_colours)
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    ]
    return "".join(lines).encode()


def _block_line(upper: list[_Colour], lower: list[_Colour], all_colours: bool) -> str:
    text, last = "", None
    for pair in zip(upper, lower, strict=True):
        if pair != last:
            ink, ground = (_colour_code(colour, all_colours) for colour in pair)
            text += f"\x1b[38;{ink};48;{ground}m"
            last = pair
        text += _HALF_BLOCK
    return f"{text}\x1b[0m\n"


def _colour_code(colour: _Colour, all_colours: bool) -> str:
    red, green, blue = colour
    if all_colours:
        return f"2;{red};{green};{blue}"
    if max(colour) - min(colour) < 12:
        return f"5;{_grey(sum(colour) // 3)}"
    return f"5;{16 + 36 * _level(red) + 6 * _level(green) + _level(blue)}"


def _level(value: int) -> int:
    """Return the nearest of the six levels of the cube: 0, 95, 135, ... 255."""
    return 0 if value < 48 else 1 if value < 115 else (value - 35) // 40


def _grey(value: int) -> int:
    """Return the nearest of the 24 greys, 8 to 238, or black, or white."""
    if value < 4:
        return 16
    return 231 if value > 246 else 232 + min(23, max(0, round((value - 8) / 10)))
