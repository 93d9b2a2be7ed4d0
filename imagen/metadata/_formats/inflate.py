"""How much of a stranger's file is looked at: enough for what programs write,
too little for a bomb.
"""

from __future__ import annotations

import zlib
from typing import Final

__all__ = ["LARGEST_TEXT", "MOST_TEXT", "inflate"]

# Graphs of ComfyUI with everything in them stay below 2 MB.
LARGEST_TEXT: Final = 4 << 20
# Of all texts of a file together.
MOST_TEXT: Final = 16 << 20


def inflate(packed: bytes) -> bytes | None:
    """What a zlib stream holds, or None where it is damaged or holds more than
    `LARGEST_TEXT`.
    """
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(packed, LARGEST_TEXT + 1)
    except zlib.error:
        return None
    return text if stream.eof and len(text) <= LARGEST_TEXT else None
