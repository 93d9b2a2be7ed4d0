"""Dry land before the horizon: hills, forest, a flower field, dunes."""

from __future__ import annotations

import math
from random import Random

from ..canvas import Canvas
from ..palettes import Colour, mix
from ..stencils import Point
from .land import lay_land, level_of, soft_ridge
from .plants import draw_broadleaves, draw_copse, draw_flower_bed, draw_pines


def draw_hills(c: Canvas) -> None:
    """Five swells of meadow, most of them with a copse."""
    dice, room = c.dice("hills"), c.h - c.horizon
    for i in range(5):
        t = i / 4
        tone = c.lit(c.land(0.15 + 0.8 * t), 0.4 * (1 - t) + 0.08)
        y = c.horizon + room * (0.02 + 0.72 * t**1.2)
        ridge = soft_ridge(c, dice, y, c.unit * dice.uniform(0.05, 0.1), dice.uniform(0.5, 1.0))
        if i and dice.random() < 0.75:
            draw_copse(c, dice, ridge, c.unit * (0.01 + 0.022 * t), c.wood(0.3 + 0.6 * t))
        lay_land(c, ridge, tone, mist=0.2 * (1 - t), speckle=c.shaded(tone, 0.1 + 0.3 * t))


def draw_forest(c: Canvas) -> None:
    """Five rows of trees, taller and darker towards the viewer."""
    dice, room = c.dice("forest"), c.h - c.horizon
    leafy = "autumn" in c.tags or (dice.random() < 0.25 and not c.snowy)
    for i in range(5):
        t = i / 4
        ridge = soft_ridge(
            c, dice, c.horizon + room * (0.02 + 0.75 * t), c.unit * 0.05, dice.uniform(0.5, 0.9)
        )
        tone, size = c.wood(0.15 + 0.85 * t), c.unit * (0.1 + 0.24 * t**1.4)
        low = c.lit(tone, 0.5 - 0.4 * t) if i < 4 else c.shaded(tone, 0.8)
        if leafy:
            draw_broadleaves(c, dice, level_of(ridge), size, t)
        else:
            draw_pines(c, dice, level_of(ridge), size, tone, low)
        lay_land(c, ridge, low, mist=0.3 * (1 - t), speckle=c.shaded(low, 0.3))


def draw_flower_field(c: Canvas) -> None:
    """Low hills, planted rows before them, and single flowers right at the
    front.
    """
    dice = c.dice("field")
    for i, t in enumerate((0.15, 0.4)):
        ridge = soft_ridge(c, dice, c.horizon + c.unit * 0.03 * i, c.unit * 0.06, 0.6)
        draw_copse(c, dice, ridge, c.unit * (0.012 + 0.008 * i), c.wood(t + 0.2))
        lay_land(c, ridge, c.land(t), mist=0.3, speckle=c.lit(c.land(t), 0.4))
    _planted_rows(c)
    for i, size in enumerate((0.02, 0.036, 0.058)):
        draw_flower_bed(c, dice, c.unit * size, c.h - c.unit * (0.2 - 0.1 * i), 0.3 + 0.25 * i)


def _planted_rows(c: Canvas) -> None:
    """Planted rows run together at a point beyond the horizon."""
    top, step, ground, rows = c.horizon + c.unit * 0.075, c.unit * 0.2, c.cut(), c.cut()
    ground.box(0, top, c.w, c.h)
    c.lay(ground, c.lit(c.palette.near, 0.25), c.shaded(c.palette.near, 0.3))
    vanish_x, vanish_y = c.w / 2 - c.side * 0.15 * c.unit, top - c.unit * 0.05
    share = (top - vanish_y) / (c.h - vanish_y)  # how much of a row's width is left at the far end
    for i in range(-int(c.w / step * 3), int(c.w / step * 3)):
        left, right = i * step, (i + 0.52) * step
        far = [(vanish_x + left * share, top), (vanish_x + right * share, top)]
        rows.poly([*far, (vanish_x + right, c.h), (vanish_x + left, c.h)])
    bloom = mix(c.palette.accent, c.palette.near, 0.15)
    c.lay(rows, c.lit(bloom, 0.35), bloom, speckle=c.shaded(bloom, 0.5))


def draw_dunes(c: Canvas) -> None:
    """Five dunes that lean to the left and to the right in turn."""
    dice, room, way = c.dice("dunes"), c.h - c.horizon, c.side
    for i in range(5):
        t = i / 4
        y = c.horizon + room * (0.08 + 0.7 * t)
        x = c.w / 2 + way * c.w * dice.uniform(0.05, 0.38)
        high = c.unit * (0.08 + 0.1 * t) * dice.uniform(0.8, 1.3)
        _dune(c, dice, (x, y - high), y, c.land(0.1 + 0.75 * t))
        way = -way


def _dune(c: Canvas, dice: Random, top: Point, y: float, tone: Colour) -> None:
    """A lit slope, and beyond its winding crest the face in shadow."""
    reach, wind = c.unit * dice.uniform(0.45, 0.8), dice.uniform(0.05, 0.1) * c.unit
    xs = sorted([*(c.w * i / 96 for i in range(-2, 99)), top[0]])
    ridge = [(x, y - (y - top[1]) * math.exp(-1.9 * abs(x - top[0]) / reach)) for x in xs]
    light, away = c.lit(tone, 0.3), 1 if top[0] > c.sun_at[0] else -1
    lay_land(c, ridge, light, speckle=mix(tone, c.palette.near, 0.35))
    flank = sorted((p for p in ridge if (p[0] - top[0]) * away >= 0), key=lambda p: p[0] * away)
    crest = []
    for i in range(33):
        t = i / 32
        sway = wind * math.sin(t * 5) * (0.5 + t) + reach * 0.5 * t * t
        crest.append((top[0] + away * sway, top[1] + (c.h - top[1]) * t))
    shade, dark = c.cut(), mix(tone, c.palette.near, 0.6)
    shade.poly([*flank, (flank[-1][0], c.h), *reversed(crest)])
    c.lay(shade, c.shaded(dark, 0.3), mix(dark, light, 0.5), alpha=0.9, speckle=light)
