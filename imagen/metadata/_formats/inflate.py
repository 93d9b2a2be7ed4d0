"""Decompression with limits: enough for real metadata, too little for a
decompression bomb.
"""

from __future__ import annotations

import zlib
from typing import Final

__all__ = ["LARGEST_TEXT", "MOST_TEXT", "inflate"]

# Complete graphs of ComfyUI stay below 2 MB.
LARGEST_TEXT: Final = 4 << 20
# Total of all texts of a file.
MOST_TEXT: Final = 16 << 20


def inflate(packed: bytes) -> bytes | None:
    """Decompress a zlib stream; return None if it is damaged or exceeds
    `LARGEST_TEXT`.
    """
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(packed, LARGEST_TEXT + 1)
    except zlib.error:
        return None
    return text if stream.eof and len(text) <= LARGEST_TEXT else None
