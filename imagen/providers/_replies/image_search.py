"""Search for images in a reply that its provider's reader could not read.

A reply that may be paid is read in every form in which images are written: the
image itself, JSON with other names or another nesting, a stream of events,
lines of JSON, Markdown, or a JSON text that was cut off behind the image.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

import msgspec

from ..._errors import ProviderError
from ..._system.base64_text import read_base64
from ...metadata._formats.svg import find_svg
from ...metadata._whole_image import cut_out_image, find_image_start
from .._steps import AnyImage, GeneratedImage, HttpResponse, Step
from .decoding import MALFORMED, collect_each, decode_json, download
from .lenient_json import repair_json

__all__ = ["find_images", "read_found_images", "whole_image"]

_MOST_IMAGES = 64
_MOST_LEVELS = 32
# A sentence and a fence before an SVG.
_MOST_LETTERS_BEFORE = 200
# First letters of PNG, JPEG, WebP and GIF in base64; those of an SVG, of an XML
# declaration, a comment or a document type before it, and of a byte order mark.
_LETTERS = r"iVBORw0KGgo|\\?/9j\\?/|_9j_|UklGR|R0lGOD|PHN2Z|PD94bW|PCEtL|PCFET0NUWVBF|77u/P|77u_P"
_IMAGE_TEXT = re.compile(rf"\s*(?:data:image/|{_LETTERS})", re.IGNORECASE)
_IN_TEXT = re.compile(
    rf"data:image/[\w.+;=-]+,[\w+/=%\\-]+|(?<![\w+/])(?:{_LETTERS})[\w+/=\\-]{{40,}}"
)
_LINK = re.compile(r"\s*https?://\S", re.IGNORECASE)
_LINK_IN_TEXT = re.compile(
    r"!\[[^\]]*\]\(\s*(https?://[^\s)]+)|(https?://[^\s\"'<>)]+\.(?:png|jpe?g|webp|gif)\b[^\s\"'<>)]*)",
    re.IGNORECASE,
)
_PAGE = re.compile(r"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
# Names of fields with a result, of those that repeat the request or hold what is
# unfinished, and of those whose links lead elsewhere.
_RESULTS = re.compile(
    r"(?i)ur[il]|link|href|src|image|img|photo|output|result|sample|file|data|artifact"
    r"|content|asset|media|prediction|b64|base64|bytes|download|svg|vector"
)
_OTHERS = re.compile(
    r"(?i)input|request|parameter|init|mask|reference|prompt|thumb|preview|partial|avatar"
)
_ELSEWHERE = re.compile(
    r"(?i)poll|status|cancel|webhook|callback|logs?$|^urls$|^get$|^web$|stream$|docs|response_url"
)


def find_images(response: HttpResponse, most: int = _MOST_IMAGES) -> list[bytes | str]:
    """Return the images in a reply, each as its bytes or its link, in order."""
    found: dict[bytes | str, None] = {}
    for image in _find(response.body):
        found.setdefault(image)
        if len(found) == most:
            break
    return list(found)


def read_found_images(
    found: Sequence[bytes | str], provider: str
) -> Generator[Step, HttpResponse | bytes | None, tuple[AnyImage, ...]]:
    """Return found images, those behind links fetched.

    Raises:
        ProviderError: not one of them can be had.
    """
    return (yield from collect_each(_read(image, provider) for image in found))


def whole_image(data: bytes) -> bytes:
    """Return the image in the bytes of one: without stray bytes before it, and
    out of a text that holds it.

    Raises:
        ProviderError: there is no image, or its end is missing.
    """
    try:
        return cut_out_image(data)
    except ProviderError:
        for found in find_images(HttpResponse(status=200, body=data)):
            if isinstance(found, bytes) and found != data:
                return cut_out_image(found)
        raise


def _read(
    image: bytes | str, provider: str
) -> Generator[Step, HttpResponse | bytes | None, GeneratedImage]:
    data = image if isinstance(image, bytes) else (yield from download(image, provider))
    return GeneratedImage(data=data)


def _find(body: bytes) -> Iterator[bytes | str]:
    if find_image_start(body) is not None:
        yield body
        return
    values = list(_values(body))
    for value in values:
        yield from _walk(value, "data" if isinstance(value, list) else "")
    if not values:
        yield from _search_text(body.decode("utf-8", "replace"))


def _values(body: bytes) -> Iterator[object]:
    """Read a body as one JSON value, or as one on each line, with or without
    the `data:` of an event.
    """
    lines = [
        line[5:] if line.startswith(b"data:") else line
        for line in body.splitlines()
        if line.startswith((b"data:", b"{", b"["))
    ]
    if len(lines) > 1 or body.lstrip().startswith((b"data:", b"event:", b":")):
        read = [value for line in lines if (value := _read_value(line)) is not None]
        if read:
            yield from read
            return
    if (value := _read_value(body)) is not None:
        yield value


def _read_value(text: bytes) -> object:
    try:
        value: object = decode_json(msgspec.json.decode, text)
    except MALFORMED:
        return None
    return value if isinstance(value, (dict, list)) else None


def _walk(value: object, name: str, levels: int = _MOST_LEVELS) -> Iterator[bytes | str]:
    if levels == 0:
        return
    if isinstance(value, Mapping):
        if not _is_preview(value):
            for field, item in value.items():
                if not _OTHERS.search(str(field)):
                    # {"image_urls": {"original": ...}}
                    inner = str(field) if _RESULTS.search(str(field)) else name
                    found = _walk(item, inner, levels - 1)
                    if _ELSEWHERE.search(str(field)):
                        found = (image for image in found if isinstance(image, bytes))
                    yield from found
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item, name, levels - 1)
    elif isinstance(value, str):
        yield from _read_text(value, name)


def _is_preview(value: Mapping[object, object]) -> bool:
    return "partial" in str(value.get("type", "")) or value.get("thought") is True


def _read_text(text: str, name: str) -> Iterable[bytes | str]:
    if _IMAGE_TEXT.match(text):
        data = _read_image(text)
        # Icons are SVG too, and stand beside errors.
        return [] if data is None or (_is_svg(data) and not _RESULTS.search(name)) else [data]
    if _RESULTS.search(name) and (document := _as_svg(text)) is not None:
        return [document]
    if _LINK.match(text) and len(text.split()) == 1:
        return [text.strip()] if _RESULTS.search(name) else []
    if text.lstrip().startswith(("{", "[")) and (inner := repair_json(text.encode())) is not None:
        # JSON within a text, as some gateways pass the reply of another server.
        return _walk(msgspec.json.decode(inner), name)
    return _search_text(text)


def _read_image(text: str) -> bytes | None:
    data = read_base64(text)
    return None if data is None or find_image_start(data) is None else data


def _is_svg(data: bytes) -> bool:
    return find_svg(data) is not None


def _as_svg(text: str) -> bytes | None:
    """Return the bytes of a text that is an SVG, maybe in Markdown."""
    if "<" not in text[:_MOST_LETTERS_BEFORE]:
        return None
    data = text.encode("utf-8", "replace")
    return None if find_svg(data, most_before=_MOST_LETTERS_BEFORE) is None else data


def _search_text(text: str) -> Iterator[bytes | str]:
    is_page = _PAGE.search(text) is not None
    for found in _IN_TEXT.finditer(text):
        data = _read_image(found[0])
        # The icons of a page are SVG.
        if data is not None and not (is_page and _is_svg(data)):
            yield data
    for found in _LINK_IN_TEXT.finditer(text):
        yield found[1] or found[2]
