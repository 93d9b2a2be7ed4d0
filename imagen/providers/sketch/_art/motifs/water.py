"""Water: sea, lake and river, and their reflections."""

from __future__ import annotations

import math
from random import Random

from PIL import Image, ImageFilter, ImageOps

from ..canvas import Canvas
from ..palettes import Colour, mix
from ..stencils import gradient
from .grounds import draw_hills
from .land import lay_land, level_of, soft_ridge
from .plants import draw_pines


def draw_sea(c: Canvas) -> None:
    """Open water; islands close the horizon unless a city or mountains do."""
    dice = c.dice("islands")
    for i in range(0 if {"city", "mountain"} & set(c.tags) else 2):
        ridge = soft_ridge(
            c,
            dice,
            c.horizon + c.unit * (0.05 + 0.02 * i),
            c.unit * (0.15 - 0.03 * i),
            0.5 + 0.4 * i,
        )
        cut, tone = c.cut(), c.wood(0.1 + 0.2 * i)
        shore = [(ridge[-1][0], c.horizon), (ridge[0][0], c.horizon)]
        cut.poly([(x, min(y, c.horizon)) for x, y in ridge] + shore)
        c.lay(cut, tone, c.lit(tone, 0.4), speckle=c.lit(tone, 0.6))
    _draw_water(c)


def draw_lake(c: Canvas) -> None:
    """Still water between a wooded far bank and pines at the near shore."""
    dice, tone = c.dice("lake"), c.shaded(c.wood(0.5), 0.2)
    if "city" not in c.tags:
        ridge = soft_ridge(c, dice, c.horizon - c.unit * 0.02, c.unit * 0.03, 0.8)
        draw_pines(c, dice, level_of(ridge), c.unit * 0.06, tone, tone)
        lay_land(c, ridge, tone)
    _draw_water(c)
    _shore(c, dice)


def draw_river(c: Canvas) -> None:
    """Hills, and a river that winds through them and widens towards the viewer."""
    draw_hills(c)
    dice, cut, left, right = c.dice("river"), c.cut(), [], []
    phase, top = dice.uniform(0, math.tau), c.horizon + c.unit * 0.09
    for i in range(65):
        t = i / 64
        x = c.w / 2 - c.side * 0.1 * c.unit + math.sin(phase + 7 * t**0.6) * c.unit * 0.24 * t**0.7
        half, y = c.unit * (0.006 + 0.17 * t**2.2), top + (c.h - top) * t * 1.02
        left.append((x - half, y))
        right.append((x + half, y))
    cut.poly([*left, *reversed(right)])
    c.lay(cut, c.lit(c.palette.sun, 0.6), c.palette.sky[1], speckle=c.palette.sky[0])


def _shore(c: Canvas, dice: Random) -> None:
    """Dark pines in a lower corner lead the eye into the image."""
    side = -c.side if "boat" in c.tags else c.side
    reach, low, edge = c.unit * dice.uniform(0.5, 0.75), c.unit * 0.1, c.w if side > 0 else 0
    bank = [
        (x, c.h - low * max(-0.6, 1 - abs(x - edge) / reach))
        for x in (c.w * i / 64 for i in range(65))
    ]
    tone = c.shaded(c.wood(0.8), 0.4)
    start = min(edge, edge - side * reach * 0.8)
    draw_pines(
        c, dice, level_of(bank), c.unit * 0.32, tone, c.palette.dark, (start, start + reach * 0.8)
    )
    lay_land(c, bank, tone, speckle=c.palette.dark)


def _draw_water(c: Canvas) -> None:
    """Everything above the waterline comes back upside down, blurred and
    tinted.
    """
    top = round(c.horizon)
    deep, palette = c.h - top, c.palette
    mirror = ImageOps.flip(c.sheet.crop((0, max(0, top - deep), c.w, top))).resize((c.w, deep))
    mirror = mirror.filter(ImageFilter.BoxBlur((c.unit * 0.003, c.unit * 0.012)))
    tones = (palette.sky[2], mix(palette.sky[1], c.land(0.5), 0.5), c.shaded(palette.sky[0], 0.45))
    c.sheet.paste(Image.blend(mirror, gradient((c.w, deep), tones), 0.5), (0, top))
    shine = 0.3 if c.mood == "storm" else 0.85
    strokes = (
        (palette.dark, 0.3, 0.0, 70),
        (c.lit(palette.sun, 0.6), 0.4, 0.0, 60),
        (palette.sun, shine, 0.05, 140),
    )
    for colour, alpha, spread, count in strokes:
        _ripples(c, colour, alpha, spread, count)


def _ripples(c: Canvas, colour: Colour, alpha: float, spread: float, count: int) -> None:
    """Flat strokes that widen towards the viewer; with a spread, they glitter
    below the sun.
    """
    dice, cut = c.dice(f"ripples{count}"), c.cut()
    for _ in range(count if spread else round(count * max(1.0, c.w / c.unit))):
        t = dice.random() ** 1.5
        x = (
            c.sun_at[0] + dice.gauss(0, 1) * c.unit * (0.03 + spread * t)
            if spread
            else dice.random() * c.w
        )
        wide = c.unit * (0.012 + 0.06 * t) * dice.uniform(0.4, 1.5)
        cut.oval(
            x, c.horizon + (c.h - c.horizon) * (0.012 + t), wide, c.unit * (0.001 + 0.0035 * t)
        )
    c.lay(cut, colour, alpha=alpha)
