"""Time and size limits of one step of an exchange."""

from __future__ import annotations

import msgspec

__all__ = ["Bounds"]


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how much one step may take.

    `reply_seconds` is the time to the first byte, which is when the image is
    drawn: the official OpenAI SDK waits 600 s. `max_body_bytes` holds for a
    body, and in a stream for what comes from one preview to the next,
    `max_input_bytes` for a file or link to work on, and `max_pixels` for every
    image, before anything decodes it.
    """

    connect_seconds: float = 15.0
    reply_seconds: float = 600.0
    idle_seconds: float = 60.0
    max_body_bytes: int = 256 << 20
    max_input_bytes: int = 64 << 20
    max_pixels: int = 1 << 28
