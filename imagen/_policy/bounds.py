"""Time and size limits of one step of an exchange."""

from __future__ import annotations

import msgspec

from .._system.numbers import check_numbers

__all__ = ["Bounds"]


class Bounds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one step in time and size.

    `reply_seconds` is the time to the first byte of the body, i.e. while the
    image is drawn; the headers may come earlier. The official OpenAI SDK waits
    600 s. `idle_seconds` is the silence within a body; images take up to 180 s,
    and some servers begin the body before. `total_seconds` bounds the whole
    reply; None stands for `reply_seconds`. `max_body_bytes` bounds a body, or in
    a stream the bytes from one preview to the next. `max_input_bytes` bounds an
    input file or link, `max_pixels` every image before it is decoded.
    """

    connect_seconds: float = 15.0
    reply_seconds: float = 600.0
    idle_seconds: float = 180.0
    total_seconds: float | None = None
    max_body_bytes: int = 256 << 20
    max_input_bytes: int = 64 << 20
    max_pixels: int = 1 << 28

    def __post_init__(self) -> None:
        check_numbers(self, above_zero=self.__struct_fields__)

    @property
    def whole_seconds(self) -> float:
        """Seconds from the request to the end of the reply."""
        return self.reply_seconds if self.total_seconds is None else self.total_seconds
