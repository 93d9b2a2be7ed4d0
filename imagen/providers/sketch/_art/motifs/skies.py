"""The sky above the land: sun or moon, aurora, clouds."""

from __future__ import annotations

from random import Random

from PIL import Image, ImageChops

from ..canvas import Canvas
from ..palettes import from_hex, mix
from ..stencils import Point, Stencil, gradient, grey_ramp, steep, times
from .space import draw_planet, draw_stars


def draw_sky(c: Canvas) -> None:
    """Draw the sky from far to near: air, stars, aurora, sun or moon, clouds."""
    c.sheet.paste(gradient((c.w, max(1, round(c.horizon))), c.palette.sky), (0, 0))
    if c.mood == "night" or "stars" in c.tags:
        draw_stars(c, 150)
    if "aurora" in c.tags:
        _aurora(c)
    if "planet" in c.tags:
        draw_planet(c, c.sun_at, c.unit * 0.2)
    elif c.mood == "night" or "moon" in c.tags:
        _moon(c)
    elif c.mood != "storm":
        _sun(c)
    if c.mood == "storm" or "rain" in c.tags:
        _heavy_clouds(c)
    elif "stars" not in c.tags and "aurora" not in c.tags:
        _light_clouds(c)


def _sun(c: Canvas) -> None:
    """A disc in paler and paler rings."""
    (x, y), r, cut = c.sun_at, c.unit * c.dice("sun").uniform(0.07, 0.13), c.cut()
    c.glow(x, y, c.unit * 0.7, c.palette.sun, 0.8)
    for ring, value in ((2.9, 26), (2.15, 44), (1.5, 80), (1.0, 255)):
        cut.disc(x, y, r * ring, value)
    c.lay(cut, c.palette.sun)


def _moon(c: Canvas) -> None:
    """A crescent, or a full moon with its seas; behind a roof it is full and
    large.
    """
    dice, cut, seas, (x, y) = c.dice("moon"), c.cut(), c.cut(), c.sun_at
    r = c.unit * dice.uniform(0.075, 0.12) * (1.5 if "roof" in c.tags else 1)
    c.glow(x, y, r * 5, c.lit(c.palette.sun, 0.6), 0.7)
    cut.disc(x, y, r)
    if dice.random() < 0.4 and "roof" not in c.tags:
        cut.disc(x + r * 0.42 * c.side, y - r * 0.16, r * 0.86, 0)
    else:
        for dx, dy, size in (
            (-0.3, -0.25, 0.28),
            (0.2, -0.45, 0.16),
            (0.3, 0.15, 0.3),
            (-0.25, 0.4, 0.18),
        ):
            seas.disc(x + dx * r, y + dy * r, size * r)
    c.lay(cut, c.palette.sun, c.lit(c.palette.sun, 0.2))
    c.lay(seas, mix(c.palette.sun, c.palette.sky[2], 0.45), alpha=0.4)


def _aurora(c: Canvas) -> None:
    """Three veils: smooth noise across, a fade from top to bottom."""
    dice, tall = c.dice("aurora"), round(c.horizon)
    for tone, lift in (("5fe3b0", 0.05), ("8a7bf0", 0.2), ("5fe3b0", -0.1)):
        wave = Image.frombytes("L", (18, 1), dice.randbytes(18)).resize(
            (c.w, 1), Image.Resampling.BICUBIC
        )
        mask = Image.new("L", c.size)
        fade = grey_ramp((c.w, tall), 0, 30, 110, 255, 20, 0)
        mask.paste(ImageChops.multiply(wave.resize((c.w, tall)), fade), (0, round(-lift * tall)))
        c.wash(mask.point(times(0.5)), from_hex(tone))


def _light_clouds(c: Canvas) -> None:
    """Streaks of cloud, or on a fair day sometimes heaps."""
    dice = c.dice("clouds")
    tone = c.palette.sky[2] if c.mood == "night" else c.lit(c.palette.sun, 0.5)
    heaped = c.mood in ("day", "winter", "sand") and dice.random() < 0.5
    for alpha in (0.3, 0.55):
        cut = c.cut()
        for _ in range(dice.randint(1, 2) if heaped else dice.randint(2, 3)):
            at = (dice.uniform(-0.05, 1.05) * c.w, c.horizon * dice.uniform(0.1, 0.8))
            (_heap if heaped else _streak)(cut, dice, at, c.unit * dice.uniform(0.16, 0.34))
        c.lay(cut, tone, alpha=alpha)


def _streak(cut: Stencil, dice: Random, at: Point, size: float) -> None:
    """Bars with round ends, stacked and shifted."""
    r = size * 0.035
    for i in range(dice.randint(2, 4)):
        half, x, y = (
            size * dice.uniform(0.35, 1.0),
            at[0] + size * dice.uniform(-0.5, 0.5),
            at[1] + i * 2 * r,
        )
        cut.box(x - half, y - r, x + half, y + r)
        cut.disc(x - half, y, r)
        cut.disc(x + half, y, r)


def _heap(cut: Stencil, dice: Random, at: Point, size: float) -> None:
    """Half discs on one flat base, the tallest in the middle."""
    for i in range(6):
        t = i / 5 * 2 - 1
        r = size * (0.14 + 0.26 * (1 - t * t) * dice.uniform(0.6, 1.1))
        cut.pie(at[0] + t * size * 0.75, at[1], r, 180, 360)


def _heavy_clouds(c: Canvas) -> None:
    """Three banks of cloud, each a ragged threshold of smooth noise that thins
    out towards the horizon.
    """
    for i, tone in enumerate(
        (c.lit(c.palette.sky[1], 0.25), c.palette.sky[1], c.shaded(c.palette.sky[0], 0.3))
    ):
        fall = grey_ramp(c.size, 150 - 12 * i, 95 - 20 * i, 40 - 20 * i, 0, 0, 0)
        bank = ImageChops.add(c.clouds(f"bank{i}", 3.0 + i, 2.4), fall)
        mask = bank.point(steep(185, 16, 235))
        c.sheet.paste(tone, (0, 0), mask)
        rim = ImageChops.subtract(mask, ImageChops.offset(mask, 0, -round(c.unit * 0.035)))
        c.wash(rim.point(times(0.3)), c.lit(tone, 0.5))
