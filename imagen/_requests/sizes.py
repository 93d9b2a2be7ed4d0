"""Sizes: the shape a caller asks for, and the nearest that a model takes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import msgspec

from .._errors import InvalidRequestError
from .catalog import Capabilities, FreeSize
from .request import Request

__all__ = ["PRESETS", "Shape", "fit_shape", "parse_ratio", "parse_resolution", "parse_size"]

PRESETS = {
    "square": (1024, 1024),
    "portrait": (1024, 1536),
    "landscape": (1536, 1024),
    "photo": (1152, 864),
    "widescreen": (1344, 768),
    "story": (768, 1344),
    "banner": (1536, 512),
    "avatar": (512, 512),
    "wallpaper": (2560, 1440),
    "poster": (1440, 2160),
}
"""Names for shapes, with their width and height in pixels."""

_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
_RATIO = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,3})?)[:x/]([0-9]{1,4}(?:\.[0-9]{1,3})?)")
_RESOLUTION = re.compile(r"([0-9]{1,2}(?:\.[0-9])?)[kK]|([0-9]{3,5})(?:px|sq)?")
_SIDE = 1024
# Two shapes that differ by less look the same: makers round their sizes to
# multiples of 8 to 64 pixels.
_SAME = 0.04
# Up to half or twice the pixels is the same class of resolution.
_SAME_AREA = 0.7


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """Shape of an image as it is sent, with the reason if it differs from the
    request.

    Either `size` is set, or `aspect_ratio` with or without `resolution`, or
    nothing. `sent` is its text.
    """

    size: str | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    reason: str | None = None

    @property
    def sent(self) -> str | None:
        """Text of the shape; None if the model decides."""
        words = [self.size or self.aspect_ratio, self.resolution]
        return " at ".join(filter(None, words)) or None


class _Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Wanted shape: ratio of the sides, and the pixels in all, if given."""

    ratio: float | None = None
    pixels: float | None = None
    size: tuple[int, int] | None = None


def parse_size(text: str) -> tuple[int, int] | None:
    """Return width and height of "WIDTHxHEIGHT"; None for any other text."""
    match = _SIZE.fullmatch(text)
    return None if match is None else (int(match[1]), int(match[2]))


def parse_ratio(text: str) -> float | None:
    """Return width to height of "16:9"; None for any other text."""
    match = _RATIO.fullmatch(text)
    if match is None or not float(match[1]) or not float(match[2]):
        return None
    return float(match[1]) / float(match[2])


def parse_resolution(text: str) -> float | None:
    """Return the pixels of "1K", "2K", "768": a square of that side. None for
    any other text.
    """
    match = _RESOLUTION.fullmatch(text)
    if match is None:
        return None
    side = float(match[1]) * _SIDE if match[1] else float(match[2])
    return side * side or None


def fit_shape(request: Request, can: Capabilities) -> Shape:
    """Return the requested shape in the model's values; a value that the model
    lists is unchanged.

    Raises:
        InvalidRequestError: the request has an invalid shape.
    """
    size, ratio, resolution = request.size, request.aspect_ratio, request.resolution
    if size is None and ratio is None and resolution is None:
        return Shape()
    if size is not None and size in can.sizes:
        return Shape(size=size)
    if (
        size is None
        and (ratio is None or ratio in can.aspect_ratios)
        and (resolution is None or resolution in can.resolutions)
    ):
        return Shape(aspect_ratio=ratio, resolution=resolution)
    if size == "auto" or ratio == "auto":
        # Every model has a default.
        return Shape()
    wish = _read_wish(size, ratio, resolution)
    if can.free_size is not None:
        return _fit_free(wish, can.free_size)
    if can.sizes:
        return _fit_listed(wish, can.sizes)
    if can.aspect_ratios or can.resolutions:
        return _fit_ratio(wish, can)
    return Shape(reason="it has no such parameter")


def _read_wish(size: str | None, ratio: str | None, resolution: str | None) -> _Wish:
    if size is not None:
        pair = PRESETS.get(size) or parse_size(size)
        if pair is None and (as_ratio := parse_ratio(size) if ":" in size else None) is not None:
            return _Wish(ratio=as_ratio)
        if pair is None:
            raise InvalidRequestError(
                f"{size!r} is not a size: write WIDTHxHEIGHT in pixels, e.g. 1024x1024, or one of"
                f" {', '.join(PRESETS)}."
            )
        return _Wish(
            ratio=pair[0] / pair[1],
            pixels=pair[0] * pair[1],
            size=pair if size not in PRESETS else None,
        )
    wanted_ratio = None if ratio is None else parse_ratio(ratio)
    if ratio is not None and (wanted_ratio is None or not 1 / 32 <= wanted_ratio <= 32):
        raise InvalidRequestError(
            f"{ratio!r} is not an aspect ratio: write WIDTH:HEIGHT, such as 16:9."
        )
    pixels = None if resolution is None else parse_resolution(resolution)
    if resolution is not None and pixels is None:
        raise InvalidRequestError(f"{resolution!r} is not a resolution: write 1K, 2K or 4K.")
    return _Wish(ratio=wanted_ratio, pixels=pixels)


def _fit_free(wish: _Wish, free: FreeSize) -> Shape:
    ratio, pixels = wish.ratio or 1.0, wish.pixels or float(_SIDE * _SIDE)
    width, height = wish.size or (math.sqrt(pixels * ratio), math.sqrt(pixels / ratio))
    complaint = free.complaint(round(width), round(height)) if wish.size else None
    if wish.size and complaint is None:
        return Shape(size=f"{wish.size[0]}x{wish.size[1]}")
    nearest = _nearest_free(width, height, free)
    same = not wish.size and _apart(nearest[0] / nearest[1], ratio) <= _SAME
    same = same and _apart(nearest[0] * nearest[1], pixels) <= _SAME_AREA
    reason = None if same else complaint or "this is the nearest that it takes"
    return Shape(size=f"{nearest[0]}x{nearest[1]}", reason=reason)


def _nearest_free(width: float, height: float, free: FreeSize) -> tuple[int, int]:
    """Narrows the ratio, then scales the area, then rounds the sides; what
    rounding breaks, one more step mends.
    """
    if max(width, height) > free.max_ratio * min(width, height):
        long_side, short_side = (
            math.sqrt(width * height * free.max_ratio),
            math.sqrt(width * height / free.max_ratio),
        )
        width, height = (long_side, short_side) if width > height else (short_side, long_side)
    area = min(max(width * height, free.min_pixels), free.max_pixels)
    factor = math.sqrt(area / (width * height))
    factor = min(factor, free.max_side / max(width, height))
    factor = max(factor, free.min_side / min(width, height))
    step = free.multiple_of
    for rounded in (round, math.floor, math.ceil):
        sides = (max(1, rounded(side * factor / step)) * step for side in (width, height))
        pair = next(sides), next(sides)
        if free.complaint(*pair) is None:
            return pair
    side = math.ceil(math.sqrt(max(free.min_pixels, free.min_side**2)) / step) * step
    return side, side


def _fit_listed(wish: _Wish, sizes: Iterable[str]) -> Shape:
    pairs = {text: pair for text in sizes if (pair := parse_size(text)) is not None}
    if not pairs:
        return Shape(reason="it decides by itself")
    pixels = wish.pixels or float(_SIDE * _SIDE)

    def distance(text: str) -> float:
        width, height = pairs[text]
        # The ratio counts more than the area: a portrait that is too small is
        # still a portrait.
        return _apart(width / height, wish.ratio or 1.0) * 3 + _apart(width * height, pixels)

    nearest = min(pairs, key=distance)
    width, height = pairs[nearest]
    same = not wish.size and _apart(width / height, wish.ratio or 1.0) <= _SAME
    same = same and (wish.pixels is None or _apart(width * height, wish.pixels) <= _SAME_AREA)
    return Shape(size=nearest, reason=None if same else "this is the nearest that it takes")


def _fit_ratio(wish: _Wish, can: Capabilities) -> Shape:
    ratio, resolution, reasons = None, None, list[str]()
    if wish.size:
        reasons.append("it takes no pixel sizes")
    ratios = {
        text: number for text in can.aspect_ratios if (number := parse_ratio(text)) is not None
    }
    if wish.ratio is not None and ratios:
        wanted = wish.ratio
        ratio = min(ratios, key=lambda text: _apart(ratios[text], wanted))
        if _apart(ratios[ratio], wanted) > _SAME:
            reasons.append("this is the nearest aspect ratio that it takes")
    elif wish.ratio is not None:
        reasons.append("it has no aspect ratio")
    classes = {
        text: number for text in can.resolutions if (number := parse_resolution(text)) is not None
    }
    if wish.pixels is not None and classes:
        pixels = wish.pixels
        resolution = min(classes, key=lambda text: _apart(classes[text], pixels))
        if _apart(classes[resolution], pixels) > _SAME_AREA:
            reasons.append("this is the nearest resolution that it takes")
    elif (
        wish.pixels is not None
        and not wish.size
        and _apart(wish.pixels, float(_SIDE * _SIDE)) > _SAME_AREA
    ):
        reasons.append("it has one resolution")
    return Shape(aspect_ratio=ratio, resolution=resolution, reason="; ".join(reasons) or None)


def _apart(one: float, other: float) -> float:
    return abs(math.log(one / other))
