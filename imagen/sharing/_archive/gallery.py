"""Gallery pages: one HTML file that loads only its images, with or without
JavaScript.

All text is escaped. If that should fail, the content security policy of the
page blocks scripts and foreign resources.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from pathlib import Path

import msgspec

__all__ = ["GalleryItem", "GalleryPage", "page_policy", "render_page"]

_LONGEST_ALT = 200
_LONGEST_TITLE = 140
# Line ends, and characters that join others in emoji and many scripts.
_JOINERS = "\n\u200c\u200d"


class GalleryItem(msgspec.Struct, frozen=True, kw_only=True):
    """An image on a page. Links are relative, and already escaped for URLs.
    Without a `link` only the thumbnail is shown.
    """

    link: str | None
    thumbnail: str | None
    width: int
    height: int
    caption: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    notes: str = ""


class GalleryPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a gallery; `before` and `after` are links to its neighbours."""

    title: str
    notes: str = ""
    cards: Sequence[GalleryItem]
    before: str | None = None
    after: str | None = None


def render_page(page: GalleryPage) -> bytes:
    """Render the page as UTF-8."""
    title = _text(page.title)
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(page_policy())}">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        '<meta name="referrer" content="no-referrer">\n<meta name="robots" content="noindex">\n',
        f"<title>{title}</title>\n<style>{_asset('gallery.css')}</style>\n</head>\n",
        "<body>\n<header>\n",
        f'<h1 dir="auto">{title}</h1>\n',
        f'<p class="notes" dir="auto">{_text(page.notes)}</p>\n' if page.notes else "",
        "" if page.before or page.after else f'<p class="count">{_count(len(page.cards))}</p>\n',
        "</header>\n<main>\n",
        *map(_figure, page.cards),
        "</main>\n",
        _neighbours(page),
        f"<script>{_asset('gallery.js')}</script>\n</body>\n</html>\n",
    ]
    return "".join(parts).encode("utf-8", "replace")


@cache
def page_policy() -> str:
    """Return the content security policy of a page: images beside it, its own
    style and its own script.
    """
    style, script = (_digest(_asset(name)) for name in ("gallery.css", "gallery.js"))
    return (
        f"default-src 'none'; img-src 'self' file:; style-src '{style}'; script-src '{script}'; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8").strip()


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _text(text: str) -> str:
    """Escape text as HTML; unprintable characters are replaced, except line
    ends.
    """
    seen = (
        letter if letter.isprintable() or letter in _JOINERS else "\N{REPLACEMENT CHARACTER}"
        for letter in text
    )
    return escape("".join(seen))


def _count(images: int) -> str:
    return f"{images:,} {'image' if images == 1 else 'images'}"


def _figure(card: GalleryItem) -> str:
    caption = card.caption.strip()
    shown = (
        f'<img src="{escape(card.thumbnail)}" width="{card.width}" height="{card.height}"'
        ' loading="lazy" decoding="async"'
        f' alt="{_text(_short(caption, _LONGEST_ALT) or "An image")}">'
        if card.thumbnail is not None
        else '<span class="none">No preview</span>'
    )
    details = "".join(_captions(card, caption))
    shot = (
        f'<span class="shot">{shown}</span>'
        if card.link is None
        else f'<a class="shot" href="{escape(card.link)}">{shown}</a>'
    )
    return (
        f"<figure>{shot}"
        + (f"<figcaption>{details}</figcaption>" if details else "")
        + "</figure>\n"
    )


def _captions(card: GalleryItem, caption: str) -> Iterable[str]:
    """Yield the caption, collapsed if long, and the other metadata."""
    short = _short(caption, _LONGEST_TITLE)
    if caption and short == caption:
        yield f'<p class="prompt" dir="auto">{_text(caption)}</p>'
    elif caption:
        yield (
            f'<details><summary class="prompt" dir="auto">{_text(short)}</summary>'
            f'<p class="whole" dir="auto">{_text(caption)}</p></details>'
        )
    if card.facts:
        rows = (
            f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>"
            for name, value in card.facts
        )
        yield f"<dl>{''.join(rows)}</dl>"
    if card.tags:
        yield f"<ul>{''.join(f'<li>{_text(tag)}</li>' for tag in card.tags)}</ul>"
    if card.notes:
        yield f'<p class="notes" dir="auto">{_text(card.notes)}</p>'


def _short(text: str, longest: int) -> str:
    line = " ".join(text[: 4 * longest].split())
    if len(line) <= longest and len(text) <= 4 * longest:
        return text if "\n" not in text else line
    return line[: longest - 1] + "…"


def _neighbours(page: GalleryPage) -> str:
    links = ((page.before, "prev", "← Previous"), (page.after, "next", "Next →"))
    shown = "".join(
        f'<a rel="{rel}" href="{escape(link)}">{words}</a>'
        for link, rel, words in links
        if link is not None
    )
    return f"<nav>{shown}</nav>\n" if shown else ""
