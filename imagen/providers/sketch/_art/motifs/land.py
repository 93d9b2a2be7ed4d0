"""The lines of the land: soft skylines, crags, and the land filled in below
them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

from ..canvas import Canvas
from ..palettes import Colour
from ..stencils import Point


def soft_ridge(c: Canvas, dice: Random, y: float, height: float, waves: float) -> list[Point]:
    """A soft skyline from beyond the left edge to beyond the right one."""
    shares = ((1, 0.6), (2.1, 0.3), (4, 0.1))
    parts = [
        (waves * octave * dice.uniform(0.8, 1.2), dice.uniform(0, math.tau), share)
        for octave, share in shares
    ]

    def swell(x: float) -> float:
        return sum(
            share * math.sin(waves * math.tau * x / c.unit + phase) for waves, phase, share in parts
        )

    return [(x, y - height * swell(x)) for x in (c.w * i / 128 for i in range(-2, 131))]


def level_of(ridge: Sequence[Point]) -> Callable[[float], float]:
    """The height of an evenly spaced skyline at any x."""
    first, step, last = ridge[0][0], ridge[1][0] - ridge[0][0], len(ridge) - 1
    return lambda x: ridge[max(0, min(last, round((x - first) / step)))][1]


def craggy_line(dice: Random, start: Point, end: Point) -> list[Point]:
    """A rough line from one point to another, by halving it over and over."""
    line, jag = [start, end], abs(end[1] - start[1]) * 0.16 + abs(end[0] - start[0]) * 0.05
    for _ in range(4):
        halves = [
            ((p[0] + q[0]) / 2, (p[1] + q[1]) / 2 + dice.uniform(-jag, jag))
            for p, q in pairwise(line)
        ]
        line = [point for pair in zip(line[:-1], halves, strict=True) for point in pair] + [end]
        jag *= 0.52
    return line


def lay_land(
    c: Canvas,
    ridge: Sequence[Point],
    tone: Colour,
    *,
    mist: float = 0.0,
    speckle: Colour | None = None,
) -> None:
    """Everything below a skyline, with mist lying on its lower edge."""
    cut = c.cut()
    cut.poly([(ridge[0][0], c.h + 1), *ridge, (ridge[-1][0], c.h + 1)])
    c.lay(cut, tone, c.lit(tone, mist), speckle=speckle)
