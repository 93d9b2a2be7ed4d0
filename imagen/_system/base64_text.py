"""Images as text: base64 in every form that encoders write."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import pybase64

__all__ = ["is_data_url", "read_base64"]

_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
# JSON that was encoded twice leaves backslashes.
_IGNORED = b" \t\r\n\v\f\\\"'"
# A byte order mark, and a space without width.
_MARKS = ("\ufeff".encode(), "\u200b".encode())
_DATA_URL = re.compile(r"\s*data:", re.IGNORECASE)
_IS_BASE64 = re.compile(rb";\s*base64\s*(;|$)", re.IGNORECASE)
# Longest head of a data: URL: media type and parameters.
_LONGEST_HEAD = 1000
_PADDING = re.compile(rb"=+")


def is_data_url(text: str) -> bool:
    """Return whether a text claims to be a data: URL."""
    return _DATA_URL.match(text) is not None


def read_base64(text: str) -> bytes | None:
    """Return the bytes of a base64 text; None if it is not one.

    Wrapped lines, missing padding, padding in the middle (encoders that work in
    blocks) and URL-safe letters are read, and a data: URL.
    """
    raw = text.encode("utf-8", "replace")
    if is_data_url(text) and "," in text[:_LONGEST_HEAD]:
        head, _, rest = raw.partition(b",")
        raw = unquote_to_bytes(rest)
        if not _IS_BASE64.search(head):
            # Pixels that need no percent sign do not exist; markup often does.
            return raw if b"%" in rest or rest.lstrip().startswith(b"<") else None
    for mark in _MARKS:
        raw = raw.replace(mark, b"")
    packed = raw.translate(_TO_STANDARD, _IGNORED)
    try:
        return b"".join(map(_decode_block, _PADDING.split(packed)))
    except ValueError:
        return None


def _decode_block(block: bytes) -> bytes:
    # One letter more than whole bytes is the rest of a text that was cut off.
    block = block[: len(block) - (len(block) % 4 == 1)]
    return pybase64.b64decode(block + b"=" * (-len(block) % 4), validate=True)
