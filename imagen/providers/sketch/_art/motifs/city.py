"""Buildings: the skyline behind the ground, and the roofs of a town."""

from __future__ import annotations

import math
from random import Random

from ..canvas import Canvas
from ..palettes import Colour
from ..stencils import Point, Stencil


def draw_city(c: Canvas) -> None:
    """Three rows of towers that swell towards a centre; the last row is too far
    to show its windows.
    """
    dice = c.dice("city")
    centre, tall = c.w * dice.uniform(0.3, 0.7), min(c.unit * 0.52, c.horizon * 0.72)
    tall *= 0.55 if "roof" in c.tags else 1
    lights = {"night": 0.4, "dusk": 0.35, "storm": 0.3}.get(c.mood, 0.12)
    for i, t in enumerate((0.05, 0.45, 0.9)):
        towers, windows, x = c.cut(), c.cut(), -c.unit * dice.uniform(0.0, 0.06)
        while x < c.w:
            wide = c.unit * dice.uniform(0.04, 0.095)
            swell = math.exp(-(((x - centre) / (0.36 * c.w)) ** 2)) * dice.choice(
                (0.3, 0.45, 0.6, 1.0)
            )
            high = tall * (0.14 + (0.95 - 0.25 * i) * swell + 0.12 * dice.random())
            _tower(c, dice, towers, (x, c.horizon - high), wide)
            if i:
                _windows(c, dice, windows, (x, c.horizon - high), wide, lights * i / 2)
            x += wide * dice.choice((1.0, 1.04, 1.04, 1.5))
        tone = c.wood(t)
        c.lay(towers, tone, c.lit(tone, 0.4 - 0.15 * i), speckle=c.lit(tone, 0.5))
        c.lay(windows, c.palette.light, alpha=0.9)


def _tower(c: Canvas, dice: Random, cut: Stencil, at: Point, wide: float) -> None:
    """A box with one of several crowns: a spire, a slant, a dome, steps with a
    mast, or none.
    """
    (x, y), mid, crown = at, at[0] + wide / 2, dice.randrange(9)
    cut.box(x, y, x + wide, c.h)
    if crown == 0:
        cut.poly(((x, y), (x + wide, y), (mid, y - wide * 0.9)))
    elif crown == 1:
        cut.poly(((x, y), (x + wide, y), (x + wide, y - wide * 0.5)))
    elif crown == 2:
        cut.pie(mid, y, wide * 0.4, 180, 360)
    elif crown < 5:
        for step in (0.34, 0.2, 0.06):
            cut.box(mid - wide * step, y - wide * (0.9 - 1.8 * step), mid + wide * step, y)
        cut.line(((mid, y - wide * 1.5), (mid, y)), c.unit * 0.003)


def _windows(c: Canvas, dice: Random, cut: Stencil, at: Point, wide: float, lights: float) -> None:
    pane = max(1.5, c.unit * 0.0065)
    columns = max(1, int(wide / pane / 2.4))
    rows = [
        at[1] + pane * (1.6 + 2.4 * row) for row in range(int((c.horizon - at[1]) / pane / 2.4))
    ]
    for y in rows:
        # Offices are lit by the floor as often as by the room.
        chance = lights * dice.choice((0.3, 1.0, 1.7))
        for column in range(columns):
            if dice.random() < chance:
                x = at[0] + wide * (column + 0.5) / columns
                cut.box(x - pane * 0.5, y, x + pane * 0.5, y + pane * 1.2, dice.randint(120, 255))


def draw_roofs(c: Canvas) -> None:
    """Two rows of gables with chimneys, and before them the roof for the
    subject.
    """
    dice, unit = c.dice("roofs"), c.unit
    for depth, y in ((0.6, c.horizon + unit * 0.02), (0.9, c.horizon + unit * 0.12)):
        cut, x = c.cut(), -unit * dice.random() * 0.3
        while x < c.w:
            wide, top = unit * dice.uniform(0.25, 0.45), y + unit * dice.uniform(-0.05, 0.05)
            eaves, slope = wide * 0.56, wide * 0.34
            mid = x + wide / 2
            cut.poly(((mid - eaves, top + slope), (mid, top), (mid + eaves, top + slope)))
            cut.box(x, top + slope * 0.9, x + wide, c.h)
            cut.box(x + wide * 0.68, top - wide * 0.04, x + wide * 0.78, top + slope)
            x += wide * dice.uniform(0.95, 1.2)
        c.lay(cut, c.wood(depth), c.shaded(c.wood(depth), 0.5), speckle=c.palette.dark)
    _near_roof(c)


def _near_roof(c: Canvas) -> None:
    """The roof that a subject sits on, its ridge running out of the image."""
    (x, y), side, tone = c.spot(), c.side, c.shaded(c.wood(0.9), 0.45)
    _chimney(c, x, y)
    roof = c.cut()
    far, end = x - side * c.unit * 0.3, x + side * c.w
    roof.poly(((far, y), (end, y), (end, c.h), (far - side * (c.h - y) * 0.8, c.h)))
    c.lay(roof, tone, c.palette.dark, speckle=c.palette.dark)
    _roof_tiles(c, far, end, y, tone)


def _chimney(c: Canvas, x: float, y: float) -> None:
    """A chimney on the ridge, well behind the subject that sits at this point."""
    unit, stack = c.unit, c.cut()
    near, middle, far = (x + c.side * unit * share for share in (0.35, 0.42, 0.49))
    stack.line(((middle, y + unit * 0.1), (middle, y - unit * 0.15)), unit * 0.1)
    stack.line(((near, y - unit * 0.16), (far, y - unit * 0.16)), unit * 0.03)
    c.lay(stack, c.shaded(c.palette.accent, 0.6), c.palette.dark, speckle=c.palette.dark)


def _roof_tiles(c: Canvas, far: float, end: float, y: float, tone: Colour) -> None:
    tiles, step = c.cut(), c.unit * 0.036
    for row in range(int((c.h - y) / step) + 1):
        edge, level = far - c.side * row * step * 0.8, y + row * step
        tiles.line(((edge, level), (end, level)), c.unit * 0.0028)
        for i in range(int(abs(end - edge) / step)):
            x = edge + c.side * step * (i + 0.5 * (row % 2))
            tiles.line(((x, level), (x, level + step)), c.unit * 0.002)
    c.lay(tiles, c.lit(tone, 0.4), tone, alpha=0.5)
