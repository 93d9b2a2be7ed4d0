"""Results as HTML, for notebooks. Every text in it is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from decimal import Decimal
from io import BytesIO
from typing import Final

import pybase64

from .._errors import ImagenError
from ..metadata._seen import MAX_PIXELS, decode

__all__ = [
    "PREVIEW",
    "data_link",
    "escape",
    "figure",
    "preview",
    "preview_link",
    "table",
    "usd_text",
]

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
PREVIEW: Final = "image/webp"
# An output is kept in the notebook's file.
_SIDE = 512
_QUALITY = 80


def escape(value: object) -> str:
    """Return a text for an element or an attribute."""
    return html.escape(str(value), quote=True)


def usd_text(usd: Decimal | None) -> str:
    """Return an amount as people read it; None is unknown."""
    return "cost unknown" if usd is None else f"${usd.normalize():f}"


def preview(data: bytes, side: int = _SIDE) -> bytes | None:
    """Return an image at most that large, as WebP; None if it cannot be decoded.
    Blocking.
    """
    try:
        small = decode(data, _FORMATS, max_pixels=MAX_PIXELS, side=side)[0]
    except ImagenError:
        return None
    small.thumbnail((side, side))
    target = BytesIO()
    small.save(target, "WEBP", quality=_QUALITY, method=2)
    return target.getvalue()


def preview_link(data: bytes, side: int = _SIDE) -> str | None:
    """Return the preview as a data URL."""
    small = preview(data, side)
    return None if small is None else data_link(PREVIEW, small)


def data_link(media_type: str, data: bytes) -> str:
    """Return bytes as a data URL."""
    return f"data:{media_type};base64,{pybase64.b64encode_as_string(data)}"


def figure(link: str | None, alt: str, caption: str) -> str:
    """Return one image with its caption."""
    shown = (
        "<em>The image cannot be shown.</em>"
        if link is None
        else f'<img src="{link}" alt="{escape(alt)}" style="max-width:100%">'
    )
    return (
        '<figure style="display:inline-block;margin:0 8px 8px 0;max-width:512px">'
        f'{shown}<figcaption style="font-size:smaller">{escape(caption)}</figcaption></figure>'
    )


def table(rows: Iterable[Sequence[object]], head: Sequence[str] = ()) -> str:
    """Return a table."""
    heads = "".join(f"<th>{escape(one)}</th>" for one in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table>{f'<tr>{heads}</tr>' if head else ''}{body}</table>"
