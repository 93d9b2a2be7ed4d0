"""The canned reply: what OpenAI's Images API answers to a generation, with an
image of noise in it.

Every reply carries 32 base64 characters of its own, so that no two images are
the same: a library that files images by their content would otherwise write the
first one only.
"""

from __future__ import annotations

import base64
import json
import random
import struct
import zlib

__all__ = ["MODEL", "SIZES", "UNIQUE_CHARACTERS", "image_bytes", "split_reply"]

MODEL = "gpt-image-2"
# A 1024x1024 PNG of high quality is about 1.5 MB, which is 2 MB as base64.
SIZES = {"large": 2_000_000, "middle": 350_000, "small": 4_096}
UNIQUE_CHARACTERS = 32

_MARK = "?" * UNIQUE_CHARACTERS


def split_reply(size: str) -> tuple[str, bytes]:
    """What comes before the 32 characters that are each reply's own, and what
    comes after them.
    """
    text = json.dumps(
        {
            "created": 1787150086,
            "background": "opaque",
            "data": [{"b64_json": _base64_image(size)}],
            "output_format": "png",
            "quality": "high",
            "size": "1024x1024",
            "usage": {
                "input_tokens": 10,
                "input_tokens_details": {"image_tokens": 0, "text_tokens": 10},
                "output_tokens": 4160,
                "output_tokens_details": {"image_tokens": 4160, "text_tokens": 0},
                "total_tokens": 4170,
            },
        }
    )
    head, _, tail = text.partition(_MARK)
    return head, tail.encode()


def image_bytes(size: str) -> int:
    """How long the image in a reply is."""
    # The reply around the image is small change; no padding, as the text is a
    # multiple of four.
    return len(_base64_image(size)) // 4 * 3


def _base64_image(size: str) -> str:
    header = struct.pack(">2I5B", 1024, 1024, 8, 2, 0, 0, 0)
    checksum = zlib.crc32(b"IHDR" + header)
    # With the 16 bytes behind it a multiple of three, so that nothing is padded.
    noise_length = (SIZES[size] - 500) // 4 * 3 + 2
    # Whole and sound up to the first pixels, which no contender
    # looks at. 42 bytes: a multiple of three.
    start = (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + b"IHDR"
        + header
        + struct.pack(">I", checksum)
    )
    # The first byte, the mark as bytes, and the noise.
    start += struct.pack(">I", 1 + UNIQUE_CHARACTERS * 3 // 4 + noise_length) + b"IDAT" + b"\x78"
    noise = random.Random(size).randbytes(noise_length)
    noise += bytes(4) + struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    return base64.b64encode(start).decode() + _MARK + base64.b64encode(noise).decode()
