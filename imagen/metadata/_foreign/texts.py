"""Texts of a file under the keywords that PNG has for them.

JPEG and WebP have no keywords. Programs put their texts into EXIF fields that
mean something else, often with the keyword in front, into XMP or a comment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

from .._embed import kind_of, packet_of
from .._formats.exif import read_exif_texts, read_user_comment
from .._formats.jpeg import jpeg_comment, jpeg_exif
from .._formats.png import png_exif, read_texts
from .._formats.webp import webp_exif
from .._formats.xmp import read_packet

__all__ = ["texts_of"]

# "prompt:{...}", as ComfyUI writes it into the fields for the camera.
_PREFIXED: Final = re.compile(r"\s*(prompt|workflow|parameters)\s*:\s*(?=\{)", re.IGNORECASE)
# Keywords of a JSON object that holds what a PNG has as texts.
_KEYWORDS: Final = ("prompt", "workflow", "parameters", "Comment", "Software", "Source", "Title")
# Keywords of PNG for fields of EXIF.
_SAME_AS_PNG: Final = {"Software": "Software", "ImageDescription": "Description"}
_XMP_COMMENT: Final = "{http://ns.adobe.com/exif/1.0/}UserComment"
_XMP_FIELDS: Final = (
    _XMP_COMMENT,
    "{http://purl.org/dc/elements/1.1/}description",
    "{http://ns.adobe.com/tiff/1.0/}Make",
    "{http://ns.adobe.com/tiff/1.0/}Model",
    "{http://ns.adobe.com/tiff/1.0/}ImageDescription",
)


def texts_of(data: bytes) -> Mapping[str, str]:
    """Return the texts of a file by keyword; one without a keyword is
    "parameters".
    """
    texts = dict(read_texts(data)) if kind_of(data) == "image/png" else {}
    exif = _exif_of(data)
    fields = {} if exif is None else read_exif_texts(exif)
    for name, keyword in _SAME_AS_PNG.items():
        if name in fields:
            texts.setdefault(keyword, fields[name])
    for text in _texts_without_keyword(data):
        for keyword, found in _with_keywords(text):
            texts.setdefault(keyword, found)
    return texts


def _texts_without_keyword(data: bytes) -> Iterator[str]:
    exif = _exif_of(data)
    fields = {} if exif is None else read_exif_texts(exif)
    comment = None if exif is None else read_user_comment(exif)
    yield from [comment] if comment else []
    yield from (text for name, text in fields.items() if name not in ("Software", "Artist"))
    properties = read_packet(packet_of(data) or "") or {}
    yield from (properties[name] for name in _XMP_FIELDS if name in properties)
    remark = jpeg_comment(data) if kind_of(data) == "image/jpeg" else None
    yield from [] if remark is None else [remark.decode("utf-8", "replace").strip("\0 ")]


def _exif_of(data: bytes) -> bytes | None:
    match kind_of(data):
        case "image/png":
            return png_exif(data)
        case "image/jpeg":
            return jpeg_exif(data)
        case "image/webp":
            return webp_exif(data)
        case _:
            return None


def _with_keywords(text: str) -> Iterator[tuple[str, str]]:
    """Yield the texts in one, by the keyword before it or those within."""
    prefix = _PREFIXED.match(text)
    if prefix is not None:
        yield prefix[1].lower(), text[prefix.end() :]
        return
    for keyword, value in _object(text).items():
        if keyword in _KEYWORDS and isinstance(value, (str, dict)):
            yield keyword, value if isinstance(value, str) else json.dumps(value)
    # Cameras and editors write other words into the same fields.
    if text.startswith("{") or "Steps:" in text:
        yield "parameters", text


def _object(text: str) -> Mapping[str, object]:
    try:
        found = json.loads(text) if text.startswith("{") else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
