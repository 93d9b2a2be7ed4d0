"""Stencils to print through, and soft masks for shading."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from PIL import Image, ImageChops, ImageDraw

from .palettes import Colour

Point = tuple[float, float]


class Stencil:
    """A mask cut at `scale` times the size of the sheet, so that its edges come
    out smooth.

    Lengths are pixels of the sheet; 0 cuts away what was there, less than 255
    prints thinner.
    """

    def __init__(self, size: tuple[int, int], scale: int) -> None:
        self.scale = scale
        self.mask = Image.new("L", (size[0] * scale, size[1] * scale))
        self.pen = ImageDraw.Draw(self.mask)

    def poly(self, points: Iterable[Point], value: int = 255) -> None:
        self.pen.polygon([(x * self.scale, y * self.scale) for x, y in points], fill=value)

    def box(self, x0: float, y0: float, x1: float, y1: float, value: int = 255) -> None:
        self.poly(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), value)

    def line(self, points: Iterable[Point], width: float) -> None:
        enlarged = [(x * self.scale, y * self.scale) for x, y in points]
        self.pen.line(enlarged, fill=255, width=max(1, round(width * self.scale)), joint="curve")

    def oval(self, x: float, y: float, rx: float, ry: float, value: int = 255) -> None:
        self.pen.ellipse(self._around(x, y, rx, ry), fill=value)

    def disc(self, x: float, y: float, r: float, value: int = 255) -> None:
        self.oval(x, y, r, r, value)

    def pie(self, x: float, y: float, r: float, start: float, end: float, value: int = 255) -> None:
        self.pen.pieslice(self._around(x, y, r, r), start, end, fill=value)

    def _around(
        self, x: float, y: float, rx: float, ry: float
    ) -> tuple[float, float, float, float]:
        scale = self.scale
        return (x - rx) * scale, (y - ry) * scale, (x + rx) * scale, (y + ry) * scale


def turned(at: Point, dx: float, dy: float, angle: float) -> Point:
    """The point at an offset that is turned around `at`."""
    cos, sin = math.cos(angle), math.sin(angle)
    return at[0] + dx * cos - dy * sin, at[1] + dx * sin + dy * cos


def gradient(size: tuple[int, int], stops: Sequence[Colour]) -> Image.Image:
    """Colours that run into one another from top to bottom."""
    strip = Image.frombytes("RGB", (1, len(stops)), bytes(part for stop in stops for part in stop))
    # Without the box the first and the last stop would take half a share each
    # of plain colour.
    return strip.resize(size, Image.Resampling.BILINEAR, box=(0, 0.5, 1, len(stops) - 0.5))


def grey_ramp(size: tuple[int, int], *levels: int) -> Image.Image:
    """A gradient to be used as a mask."""
    return gradient(size, [(level, level, level) for level in levels]).getchannel(0)


def stipple(density: Image.Image, noise: Image.Image) -> Image.Image:
    """Return a mask of grains; a denser mask has more."""
    return ImageChops.subtract(density, noise).point(lambda value: 255 if value else 0)


def steep(low: int, slope: int, high: int = 255) -> list[int]:
    """Return a curve for `Image.point`: nothing up to `low`, then a quick rise
    to `high`, an edge for smooth noise.
    """
    return [max(0, min(high, (value - low) * slope)) for value in range(256)]


def times(factor: float) -> Callable[[int], int]:
    """For `Image.point`: a mask made thinner or thicker."""
    return lambda value: round(value * factor)
