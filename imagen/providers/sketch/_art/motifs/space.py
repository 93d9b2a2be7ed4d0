"""Beyond the air: stars, planets, and the scene in space."""

from __future__ import annotations

import math
from random import Random

from PIL import ImageChops

from ..canvas import Canvas
from ..palettes import Colour, mix
from ..prompt_words import PLACES
from ..stencils import Point, Stencil, gradient, steep, times, turned
from .figures import draw_figure


def draw_space(c: Canvas) -> None:
    """Draw nebulae, stars, a planet large at the edge or whole, its moon, and
    maybe a traveller.
    """
    c.sheet.paste(gradient(c.size, c.palette.sky[:3]), (0, 0))
    for part, tone in (
        ("nebula", c.palette.sky[3]),
        ("veil", c.palette.far),
        ("ember", c.palette.accent),
    ):
        cloud = c.clouds(part, 2.2).point(steep(122, 3))
        c.wash(cloud.point(times(0.5 if part != "ember" else 0.2)), tone)
    draw_stars(c, 260)
    dice, unit = c.dice("space"), c.unit
    if dice.random() < 0.5:
        draw_planet(c, (c.w / 2 - c.side * unit * 0.18, c.h + unit * 0.28), unit * 0.72)
    else:
        draw_planet(
            c, (c.w / 2 - c.side * unit * 0.12, c.h * 0.56), unit * dice.uniform(0.22, 0.28)
        )
    _globe(
        c,
        (c.w / 2 - c.side * unit * 0.36, c.h * 0.2),
        unit * dice.uniform(0.03, 0.06),
        c.palette.sun,
    )
    for name in ("station", "rocket"):
        if name in c.tags or (name == "rocket" and "station" not in c.tags and dice.random() < 0.4):
            at = (c.w / 2 + c.side * unit * 0.22, min(c.h * 0.3, c.h / 2 - unit * 0.1))
            draw_figure(
                c,
                name,
                at,
                PLACES[name][1] * unit,
                tilt=c.side * (0.6 if name == "rocket" else -0.35),
            )


def draw_stars(c: Canvas, count: int) -> None:
    """`count` stars to a square unit, fewer towards the horizon."""
    dice, cut = c.dice("stars"), c.cut()
    for _ in range(round(count * c.w * c.h / c.unit**2)):
        size = max(0.5, c.unit * dice.choice((0.0009, 0.0012, 0.0016, 0.0026)))
        cut.disc(dice.random() * c.w, dice.random() ** 1.3 * c.h, size, dice.randint(90, 255))
    c.lay(cut, c.palette.light)


def draw_planet(c: Canvas, at: Point, r: float) -> None:
    """A banded globe, often with a ring around it."""
    dice = c.dice("planet")
    tilt, ringed = dice.uniform(-0.5, 0.5), dice.random() < 0.6 and r < c.unit * 0.5
    c.glow(*at, r * 1.8, c.palette.accent, 0.8)
    if ringed:
        _half_ring(c, at, r, tilt, math.pi)
    _globe(c, at, r, c.palette.accent, dice)
    if ringed:
        _half_ring(c, at, r, tilt, 0.0)


def _globe(c: Canvas, at: Point, r: float, tone: Colour, bands: Random | None = None) -> None:
    """A globe: bands bowed around it, and its night in three steps like a
    screen print.
    """
    globe = c.cut()
    globe.disc(*at, r)
    c.lay(globe, mix(tone, c.palette.sun, 0.25), c.shaded(tone, 0.3))
    if bands is not None:
        _globe_bands(c, globe, at, r, bands)
    for step in (0.12, 0.34, 0.62):
        night = c.cut()
        night.disc(*at, r)
        night.disc(at[0] - c.side * step * r, at[1] - step * r * 0.8, r * 1.04, 0)
        c.lay(night, c.palette.dark, alpha=0.36, speckle=c.palette.dark)


def _globe_bands(c: Canvas, globe: Stencil, at: Point, r: float, dice: Random) -> None:
    """Belts in three colours that never leave the globe."""
    xs = [i / 12 - 1 for i in range(25)]
    for colour in (c.palette.sun, c.palette.dark, c.palette.light):
        cut = c.cut()
        for _ in range(3):
            level, thick = dice.uniform(-0.8, 0.8), dice.uniform(0.02, 0.08)
            edge = [(x, level + (0.12 + thick) * (1 - x * x)) for x in xs]
            edge += [(x, level + 0.12 * (1 - x * x)) for x in reversed(xs)]
            cut.poly(turned(at, x * r, y * r, 0.35 * c.side) for x, y in edge)
        cut.mask = ImageChops.multiply(cut.mask, globe.mask)
        c.lay(cut, colour, alpha=0.22)


def _half_ring(c: Canvas, at: Point, r: float, tilt: float, start: float) -> None:
    """Half of a ring: the far half goes below the globe, the near one above it."""
    angles = [start + math.pi * i / 48 for i in range(49)]
    for inner, outer, alpha in ((1.4, 1.62, 0.55), (1.68, 2.0, 0.85)):
        cut = c.cut()
        edge = [(outer, angle) for angle in angles] + [(inner, angle) for angle in reversed(angles)]
        cut.poly(
            turned(at, math.cos(a) * r * reach, math.sin(a) * r * reach * 0.24, tilt)
            for reach, a in edge
        )
        c.lay(cut, mix(c.palette.sun, c.palette.accent, 0.25), alpha=alpha)
