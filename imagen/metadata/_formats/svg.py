"""SVG documents: where they begin and end, their size, and what they refer to.

The parser is expat. It loads nothing from elsewhere, and a document that
declares entities is refused, as those may stand for files or for gigabytes.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Mapping
from typing import Final
from xml.parsers import expat

import msgspec

__all__ = ["SVG", "SvgContents", "find_svg", "read_svg", "svg_size", "svg_text"]

SVG: Final = "image/svg+xml"
_LARGEST_DOCUMENT: Final = 64 << 20
# Editors put licences and comments before the root.
_LONGEST_PROLOG: Final = 64 << 10
_UTF_8_MARK: Final = codecs.BOM_UTF8
_UTF_16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Text before a document, which is neither other markup nor JSON.
_BEFORE: Final = re.compile(rb"[^<{\[]*")
_SPACE: Final = re.compile(rb"\s*")
_ROOT: Final = re.compile(rb"<(?:[\w.-]+:)?svg[\s/>]")
_DOCTYPE: Final = re.compile(rb"<!DOCTYPE\s+(?:[\w.-]+:)?svg[\s>\[]")
# CSS: lengths in pixels of 96 to the inch, and fonts of 16 pixels.
_LENGTH: Final = re.compile(
    r"\s*([+]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,3})?)\s*([a-z%]*)\s*", re.IGNORECASE
)
_UNITS: Final[Mapping[str, float]] = {
    "": 1, "px": 1, "pt": 96 / 72, "pc": 16, "in": 96, "cm": 96 / 2.54, "mm": 96 / 25.4,
    "q": 96 / 101.6, "em": 16, "rem": 16, "ex": 8, "ch": 8,
}  # fmt: skip
# Size of a replaced element that has none (CSS 2.2, 10.3.2).
_NO_SIZE: Final = (300.0, 150.0)
# A document has no pixels, so a claim above what is decoded is scaled down.
_LONGEST_SIDE: Final = 8192
# Elements that draw, besides the primitives of filters; all others may act, or
# show what is elsewhere.
_DRAWING: Final = frozenset(
    (
        *("svg", "g", "defs", "symbol", "use", "switch", "title", "desc", "metadata", "style"),
        *("path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "image"),
        *("text", "tspan", "textPath", "linearGradient", "radialGradient", "stop", "pattern"),
        *("clipPath", "mask", "marker", "filter"),
    )
)
_FILTER: Final = "fe"
_PIXELS: Final = re.compile(r"data:image/(?:png|jpe?g|webp|gif)[;,]", re.IGNORECASE)
_ACTIVE_TEXT: Final = re.compile(
    r"javascript:|@import|\\|expression\s*\(|url\(\s*(?![\s\"']*#)", re.IGNORECASE
)


class SvgContents(msgspec.Struct, frozen=True, kw_only=True):
    """What a whole document holds.

    `end` is the offset behind it. `is_inert` is set if it only draws: no
    script, no handler, no link, no style from elsewhere. `needs_files` is set
    if it shows images that are not inside.
    """

    end: int
    is_inert: bool
    needs_files: bool


def find_svg(data: bytes, *, most_before: int = 0) -> int | None:
    """Return the offset of an SVG document, behind white space and a byte order
    mark; None if there is none.

    Args:
        most_before: Bytes of other text that may stand before it.
    """
    if data.startswith(_UTF_16_MARKS):
        return None if find_svg(_head(data).encode()) is None else 0
    mark = len(_UTF_8_MARK) if data.startswith(_UTF_8_MARK) else 0
    before, most = (_BEFORE, most_before) if most_before else (_SPACE, _LONGEST_PROLOG)
    found = before.match(data, mark, mark + most)
    return found.end() if found is not None and _is_document(data, found.end()) else None


def _head(data: bytes) -> str:
    return data[:_LONGEST_PROLOG].decode("utf-16", "replace")


def _is_document(data: bytes, at: int) -> bool:
    """Walk declarations, comments and a document type up to the root."""
    while at < _LONGEST_PROLOG:
        if data.startswith(b"<?", at):
            end = data.find(b"?>", at, _LONGEST_PROLOG)
        elif data.startswith(b"<!--", at):
            end = data.find(b"-->", at, _LONGEST_PROLOG)
        elif _DOCTYPE.match(data, at):
            inner, end = data.find(b"[", at, _LONGEST_PROLOG), data.find(b">", at, _LONGEST_PROLOG)
            if -1 < inner < end:
                end = data.find(b"]", inner, _LONGEST_PROLOG)
        else:
            return _ROOT.match(data, at) is not None
        if end < 0:
            return False
        following = _SPACE.match(data, data.find(b">", end) + 1)
        assert following is not None
        at = max(end, following.end())
    return False


# --- size ---------------------------------------------------------------------


def svg_size(data: bytes) -> tuple[int, int]:
    """Return width and height of a document in pixels, from its attributes or
    else its viewBox; (0, 0) if its root cannot be read.
    """
    reader = _Reader(root_only=True)
    reader.read(data)
    return (0, 0) if reader.root is None else _size(reader.root)


def _size(root: Mapping[str, str]) -> tuple[int, int]:
    width, height = _length(root.get("width")), _length(root.get("height"))
    box = _view_box(root.get("viewBox", ""))
    if width is None or height is None:
        shape = box or _NO_SIZE
        if width is not None:
            height = width * shape[1] / shape[0]
        elif height is not None:
            width = height * shape[0] / shape[1]
        else:
            width, height = shape
    scale = min(1.0, _LONGEST_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _length(text: str | None) -> float | None:
    """Return a length in pixels; None for a percentage, and for none at all."""
    found = _LENGTH.fullmatch(text or "")
    unit = None if found is None else _UNITS.get(found[2].lower())
    if found is None or unit is None:
        return None
    return _plausible(float(found[1]) * unit)


def _view_box(text: str) -> tuple[float, float] | None:
    parts = text.replace(",", " ").split()
    try:
        width, height = (_plausible(float(part)) for part in parts[2:])
    except ValueError:
        return None
    return None if width is None or height is None else (width, height)


def _plausible(length: float) -> float | None:
    return length if math.isfinite(length) and 1e-3 <= length <= 1e9 else None


# --- contents -----------------------------------------------------------------


def read_svg(data: bytes) -> SvgContents | None:
    """Read a whole document that begins at the first byte; None if its end is
    missing, or if it is no well-formed XML.
    """
    if len(data) > _LARGEST_DOCUMENT:
        return None
    reader = _Reader()
    end = reader.read(data)
    if reader.root is None or end is None:
        return None
    return SvgContents(end=end, is_inert=reader.is_inert, needs_files=reader.needs_files)


def svg_text(data: bytes) -> str:
    """Return the text of a document, by its mark or its declaration."""
    reader = _Reader(root_only=True)
    reader.read(data)
    name = "utf-16" if data.startswith(_UTF_16_MARKS) else reader.encoding or "utf-8"
    try:
        return data.decode(name, "replace").lstrip("\ufeff")
    except LookupError:
        return data.decode("utf-8", "replace")


class _EndOfReadingError(Exception):
    """Enough was read, or too much is declared."""


class _Reader:
    """One pass over a document."""

    def __init__(self, *, root_only: bool = False) -> None:
        self.root: Mapping[str, str] | None = None
        self.encoding: str | None = None
        self.is_inert = True
        self.needs_files = False
        self._root_only = root_only
        self._depth = 0
        # Text of an open `style`, which expat hands over in pieces.
        self._style: list[str] | None = None
        self._end: int | None = None
        self._parser = parser = expat.ParserCreate()
        parser.XmlDeclHandler = self._declare
        parser.EntityDeclHandler = self._refuse_entity
        parser.StartElementHandler = self._open
        if not root_only:
            parser.EndElementHandler = self._close
            parser.CharacterDataHandler = self._read_text
            parser.ProcessingInstructionHandler = self._read_instruction
            parser.buffer_text = True

    def read(self, data: bytes) -> int | None:
        """Read bytes, and return the offset behind the root; None if it has no
        end.
        """
        try:
            self._parser.Parse(data, True)
        except (expat.ExpatError, _EndOfReadingError, LookupError, ValueError):
            # What stands behind the root is not the document's.
            return self._end_of_tag(data)
        return len(data)

    def _end_of_tag(self, data: bytes) -> int | None:
        start = self._end
        if start is None or not data.startswith(b"</", start):
            return None
        return data.find(b">", start) + 1

    def _declare(self, version: str, encoding: str | None, standalone: int) -> None:
        self.encoding = encoding

    def _refuse_entity(self, *declaration: object) -> None:
        raise _EndOfReadingError

    def _open(self, name: str, attributes: dict[str, str]) -> None:
        element = _local(name)
        if self.root is None:
            if element != "svg":
                raise _EndOfReadingError
            self.root = attributes
            if self._root_only:
                raise _EndOfReadingError
        self._depth += 1
        if element == "style":
            self._style = []
        self.is_inert &= element in _DRAWING or element.startswith(_FILTER)
        for attribute, value in attributes.items():
            self._look_at(element, _local(attribute).lower(), value.strip())

    def _look_at(self, element: str, attribute: str, value: str) -> None:
        if attribute == "href" and not value.startswith("#"):
            self.is_inert &= _PIXELS.match(value) is not None
            is_inside = value[:5].lower() == "data:"
            self.needs_files |= element != "a" and bool(value) and not is_inside
        elif attribute.startswith("on") or attribute == "base" or _ACTIVE_TEXT.search(value):
            self.is_inert = False

    def _close(self, name: str) -> None:
        self._depth -= 1
        if self._style is not None and _local(name) == "style":
            self.is_inert &= _ACTIVE_TEXT.search("".join(self._style)) is None
            self._style = None
        if self._depth == 0:
            self._end = self._parser.CurrentByteIndex

    def _read_text(self, text: str) -> None:
        if self._style is not None:
            self._style.append(text)

    def _read_instruction(self, target: str, text: str) -> None:
        self.is_inert = False


def _local(name: str) -> str:
    return name.rpartition(":")[2]
