"""Abstract prints for prompts without known words: bands, orbs, tiles."""

from __future__ import annotations

import math
from random import Random

from PIL import Image, ImageChops

from ..canvas import Canvas
from ..palettes import Colour, mix
from ..stencils import Stencil
from .land import lay_land


def _bands(c: Canvas) -> None:
    """Flowing bands under a round sun."""
    dice, sun = c.dice("bands"), c.cut()
    sun.disc(c.sun_at[0], c.h * 0.28, c.unit * dice.uniform(0.14, 0.22))
    c.lay(sun, c.palette.accent, speckle=mix(c.palette.accent, c.palette.near, 0.5))
    inks, lean = _inks(c, dice), dice.uniform(-0.35, 0.35)
    waves = [(dice.uniform(0.5, 1.3), dice.uniform(0, math.tau), octave) for octave in range(3)]
    for i in range(9):
        t, ridge = i / 8, []
        for x in (c.w * j / 128 for j in range(-2, 131)):
            wave = sum(
                math.sin(frequency * math.tau * x / c.unit + phase + 1.6 * t * octave)
                / (octave + 1)
                for frequency, phase, octave in waves
            )
            slope = lean * (x - c.w / 2) * (1 - t)
            ridge.append((x, c.h * (0.36 + 0.66 * t) + slope + wave * c.unit * 0.1 * (1 - 0.4 * t)))
        tone = inks[i % len(inks)]
        lay_land(c, ridge, tone, speckle=mix(tone, c.palette.near, 0.45))


def _orbs(c: Canvas) -> None:
    """Overlapping translucent discs, in inks that mix where they meet."""
    dice, inks = c.dice("orbs"), _inks(c, c.dice("orbs inks"))
    # Ink darkens paper, but on a night sheet it has to shine.
    dark = c.style == "night"
    ground, blend = (
        ((0, 0, 0), ImageChops.screen) if dark else ((255, 255, 255), ImageChops.multiply)
    )
    for i, size in enumerate((0.34, 0.27, 0.22, 0.18, 0.14, 0.1, 0.07, 0.05)):
        cut, below, tone = c.cut(), c.sheet, mix(inks[i % len(inks)], ground, 0.12)
        at = (c.w * dice.uniform(0.16, 0.84), c.h * dice.uniform(0.16, 0.84))
        c.sheet = Image.new("RGB", c.size, ground)
        cut.disc(*at, size * c.unit)
        if i in (2, 4):  # a ring among the discs
            cut.disc(*at, size * c.unit * 0.72, 0)
        c.lay(cut, tone, mix(tone, ground, 0.3), speckle=mix(tone, ground, 0.5))
        c.sheet = blend(below, c.sheet)


def _tiles(c: Canvas) -> None:
    """A grid of quarter circles, discs, wedges and stripes, after the Bauhaus."""
    dice = c.dice("tiles")
    cell, inks = min(c.w, c.h) / dice.choice((3, 4, 5)), _inks(c, dice)
    grounds, marks = [c.cut() for _ in inks], [c.cut() for _ in inks]
    columns, rows = math.ceil(c.w / cell), math.ceil(c.h / cell)
    for i in range(columns * rows):
        x = (c.w - columns * cell) / 2 + i % columns * cell
        y = (c.h - rows * cell) / 2 + i // columns * cell
        below, above = dice.sample(range(len(inks)), 2)
        if dice.random() < 0.7:
            grounds[below].box(x, y, x + cell, y + cell)
        _tile(dice, marks[above], x, y, cell)
    for cuts in (grounds, marks):
        for cut, tone in zip(cuts, inks, strict=True):
            c.lay(cut, tone, speckle=mix(tone, c.palette.near, 0.35), amount=0.4)


def _tile(dice: Random, cut: Stencil, x: float, y: float, cell: float) -> None:
    """Draw one motif in its square: a quarter circle or ring, a disc, a wedge,
    stripes, or a half circle.
    """
    kind, turn = dice.randrange(6), dice.randrange(4)
    corners = ((x, y), (x + cell, y), (x + cell, y + cell), (x, y + cell))
    if kind < 2:
        cut.pie(*corners[turn], cell, 90 * turn, 90 * turn + 90)
        cut.pie(*corners[turn], cell * 0.5, 90 * turn, 90 * turn + 90, 0 if kind else 255)
    elif kind == 2:
        cut.disc(x + cell / 2, y + cell / 2, cell * dice.choice((0.25, 0.38, 0.5)))
    elif kind == 3:
        cut.poly((corners[turn], corners[turn - 1], corners[turn - 2]))
    elif kind == 4:
        for i in range(4):
            cut.box(x, y + cell * (i + 0.25) / 4, x + cell, y + cell * (i + 0.75) / 4)
    else:
        cut.pie(
            x + cell / 2, y + cell * (turn % 2), cell / 2, 180 * (turn % 2), 180 * (turn % 2) + 180
        )


def _inks(c: Canvas, dice: Random) -> list[Colour]:
    """Return the five inks that fit beside one another, shuffled."""
    inks = [*c.palette.sky[:3], c.palette.far, c.palette.near]
    dice.shuffle(inks)
    return inks


ABSTRACTS = (_bands, _orbs, _tiles)
