"""Images as text: base64 in every form that encoders write."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import pybase64

__all__ = ["read_base64"]

_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
# JSON that was encoded twice leaves backslashes.
_IGNORED = b" \t\r\n\v\f\\\"'"
_PADDING = re.compile(rb"=+")


def read_base64(text: str) -> bytes | None:
    """Return the bytes of a base64 text; None if it is not one.

    Wrapped lines, missing padding, padding in the middle (encoders that work in
    blocks) and URL-safe letters are read, and a data: URL.
    """
    head, comma, rest = text.partition(",")
    head = head.strip().lower()
    if head.startswith("data:") and comma:
        raw = unquote_to_bytes(rest)
        if not head.endswith(";base64"):
            return raw
    else:
        raw = text.encode("ascii", "replace")
    packed = raw.translate(_TO_STANDARD, _IGNORED)
    try:
        return b"".join(map(_decode_block, _PADDING.split(packed)))
    except ValueError:
        return None


def _decode_block(block: bytes) -> bytes:
    # One letter more than whole bytes is the rest of a text that was cut off.
    block = block[: len(block) - (len(block) % 4 == 1)]
    return pybase64.b64decode(block + b"=" * (-len(block) % 4), validate=True)
