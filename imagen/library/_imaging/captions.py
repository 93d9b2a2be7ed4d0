"""Captions: choice of font, and line breaking.

Pillow's own font covers ASCII; other text needs a system font. Characters that
no font has become plain letters ("é" becomes "e") or a dot.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import TYPE_CHECKING

from ..._errors import ConfigurationError

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

__all__ = ["Caption", "set_caption"]

# Fonts of Linux, macOS and Windows, from the best letters to the widest
# coverage.
_SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "Arial.ttf",
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "msyh.ttc",
)
# Not a character, so a font draws the glyph of missing characters.
_NO_LETTER = "\uffff"
_ELLIPSIS, _DOT = "...", "."
# More is illegible below a small image, and prompts may have 100,000
# characters.
_MOST_LETTERS = 240

Caption = tuple["FreeTypeFont", list[str]]


def set_caption(text: str, *, size: int, width: int, lines: int) -> Caption:
    """Return the font and the lines of a caption; longer text is cut and ends
    in three dots.
    """
    words = " ".join(
        "".join(c if c.isprintable() else " " for c in text[: _MOST_LETTERS + 1]).split()
    )
    font = _best_font(words, size)
    drawn = "".join(_drawable(letter, font) for letter in words[:_MOST_LETTERS])
    return font, _break_lines(drawn, font, width, lines, more=len(text) > _MOST_LETTERS)


def _best_font(text: str, size: int) -> FreeTypeFont:
    letters = set(text) - {" "}
    return max(_fonts(size), key=lambda font: sum(_has(font, letter) for letter in letters))


@cache
def _fonts(size: int) -> tuple[FreeTypeFont, ...]:
    from PIL import ImageFont

    own = ImageFont.load_default(size)
    if not isinstance(own, ImageFont.FreeTypeFont):
        raise ConfigurationError(
            "This Pillow was built without FreeType, which captions need: install it from PyPI."
        )
    found = [own]
    for name in _SYSTEM_FONTS:
        try:
            found.append(ImageFont.truetype(name, size))
        except OSError:
            continue
    return tuple(found)


def _has(font: FreeTypeFont, letter: str) -> bool:
    return letter == " " or bytes(font.getmask(letter)) != bytes(font.getmask(_NO_LETTER))


def _drawable(letter: str, font: FreeTypeFont) -> str:
    if _has(font, letter):
        return letter
    plain = "".join(part for part in unicodedata.normalize("NFKD", letter) if part.isascii())
    if plain or unicodedata.combining(letter):
        return plain
    return "-" if unicodedata.category(letter) == "Pd" else _DOT


def _break_lines(text: str, font: FreeTypeFont, width: int, lines: int, *, more: bool) -> list[str]:
    broken: list[str] = []
    words = text.split(" ")
    while words and len(broken) < lines:
        line = words.pop(0)
        while words and font.getlength(f"{line} {words[0]}") <= width:
            line = f"{line} {words.pop(0)}"
        if font.getlength(line) > width:
            # A single word is too long.
            kept = _cut(line, font, width)
            words.insert(0, line[len(kept) :])
            line = kept
        broken.append(line)
    if broken and (words or more):
        broken[-1] = _cut(broken[-1], font, width - font.getlength(_ELLIPSIS)).rstrip() + _ELLIPSIS
    return broken


def _cut(line: str, font: FreeTypeFont, width: float) -> str:
    while len(line) > 1 and font.getlength(line) > width:
        line = line[:-1]
    return line
