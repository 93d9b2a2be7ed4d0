"""The range of mountains behind the ground."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from random import Random

from ..canvas import Canvas
from ..palettes import Colour, mix
from ..stencils import Point
from .land import craggy_line, lay_land

_Peak = tuple[list[Point], list[Point]]  # the way up and the way down, from left to right


def draw_mountains(c: Canvas) -> None:
    """Three ranges, each lower and darker than the one behind it."""
    dice, tall = c.dice("mountains"), min(c.unit * 0.55, c.horizon * 0.66)
    white = c.snowy or dice.random() < 0.6
    for i in range(3):
        tone = c.wood(0.3 * i) if c.snowy else c.shaded(c.land(0.22 * i), 0.14 * i)
        peaks = _peaks(
            c, dice, c.horizon + c.unit * 0.02, tall * (1 - 0.26 * i), c.unit * (0.66 - 0.15 * i)
        )
        line = [point for up, down in peaks for point in up + down]
        lay_land(c, line, tone, mist=0.55 - 0.1 * i, speckle=c.lit(tone, 0.6))
        if white and i < 2:
            _snowcaps(c, dice, peaks, tall)
        _shadows(c, dice, peaks, c.shaded(tone, 0.5))


def _peaks(c: Canvas, dice: Random, y: float, height: float, step: float) -> list[_Peak]:
    """Peaks of uneven height from beyond the left edge to beyond the right one."""
    peaks: list[_Peak] = []
    x = -step * dice.random()
    valley = (x - step * 0.4, y)
    while valley[0] < c.w:
        top = (x, y - height * dice.choice((0.45, 0.6, 0.75, 1.0)) * dice.uniform(0.85, 1.1))
        follow = (x + step * dice.uniform(0.35, 0.6), y - height * dice.uniform(0.0, 0.25))
        peaks.append((craggy_line(dice, valley, top), craggy_line(dice, top, follow)))
        valley, x = follow, follow[0] + step * dice.uniform(0.3, 0.6)
    return peaks


def _snowcaps(c: Canvas, dice: Random, peaks: Sequence[_Peak], tall: float) -> None:
    """Snow on the higher peaks, down to a toothed rim."""
    cut = c.cut()
    for up, down in peaks:
        if c.horizon - down[0][1] < tall * 0.5:
            continue
        deep = down[0][1] + (c.horizon - down[0][1]) * dice.uniform(0.32, 0.5)
        rim = [*_above(up[::-1], deep)[::-1], *_above(down, deep)]
        (x0, y0), (x1, y1) = rim[-1], rim[0]
        teeth = [
            (i / 9, (1 if i % 2 else -1) * dice.uniform(0.2, 1.0) * tall * 0.06)
            for i in range(1, 9)
        ]
        cut.poly([*rim, *((x0 + (x1 - x0) * t, y0 + (y1 - y0) * t + d) for t, d in teeth)])
    c.lay(cut, c.lit(c.palette.sun, 0.4))


def _above(flank: Sequence[Point], deep: float) -> list[Point]:
    """Return the part of a flank above `deep`, from its top."""
    return list(takewhile(lambda point: point[1] < deep, flank))


def _shadows(c: Canvas, dice: Random, peaks: Sequence[_Peak], tone: Colour) -> None:
    """The flank of each peak that looks away from the sun, up to a winding
    spine.
    """
    cut, base = c.cut(), c.horizon + c.unit * 0.03
    for up, down in peaks:
        flank = down if down[0][0] > c.sun_at[0] else up[::-1]
        (x, y), away, spine = flank[0], flank[-1][0], []
        for i in range(9):
            zigzag = (1 if i % 2 else -1) * c.unit * 0.016 * dice.random() * (i > 0)
            spine.append((x + (away - x) * 0.3 * i / 8 + zigzag, y + (base - y) * i / 8))
        cut.poly([*flank, (away, base), *reversed(spine)])
    c.lay(cut, tone, mix(tone, c.palette.far, 0.8), alpha=0.62)
