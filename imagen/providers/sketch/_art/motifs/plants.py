"""Plants: the lone tree, rows of trees, copses on a hill, beds of flowers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

from ..canvas import Canvas
from ..palettes import Colour, mix
from ..stencils import Point, turned


def draw_tree(c: Canvas, at: Point, size: float) -> None:
    """A single tree that branches five times, with leaves in three tones at its
    twigs.
    """
    dice, trunk, leaves = c.dice("tree"), c.cut(), [c.cut(), c.cut(), c.cut()]

    def grow(at: Point, angle: float, size: float, depth: int) -> None:
        end = turned(at, 0, -size, angle)
        trunk.line((at, end), max(c.unit * 0.002, size * depth / 28))
        if depth < 3:
            dice.choice(leaves).disc(*end, c.unit * dice.uniform(0.012, 0.034))
        for turn in (-0.42, 0.38, 0.05)[: 3 if depth > 3 else 2] if depth else ():
            grow(
                end,
                angle + turn + dice.uniform(-0.16, 0.16),
                size * dice.uniform(0.68, 0.82),
                depth - 1,
            )

    grow((at[0], at[1] + c.unit * 0.01), dice.uniform(-0.06, 0.06), size, 5)
    c.lay(trunk, c.palette.dark)
    hue = c.palette.light if c.snowy else c.palette.accent
    for cut, tone in zip(
        leaves, (hue, mix(hue, c.palette.sun, 0.4), c.shaded(hue, 0.35)), strict=True
    ):
        c.lay(cut, tone, alpha=0.9)


def draw_pines(
    c: Canvas,
    dice: Random,
    base: Callable[[float], float],
    size: float,
    top: Colour,
    bottom: Colour,
    span: tuple[float, float] | None = None,
) -> None:
    """A row of pines along a skyline, over the whole width or a span of it."""
    cut, (x, end) = c.cut(), span or (0.0, float(c.w))
    while x < end:
        high = size * dice.uniform(0.5, 1.1)
        half, y, edge = high * dice.uniform(0.16, 0.22), base(x) + size * 0.06, []
        for i in range(12):
            # Even steps are the inner, odd ones the outer end of a bough.
            t = (i // 2 + i % 2) / 6
            edge.append(
                (half * t * (dice.uniform(0.85, 1.15) if i % 2 else 0.55), -high * (1 - t * 0.92))
            )
        cut.poly(
            [(x - dx, y + dy) for dx, dy in edge] + [(x + dx, y + dy) for dx, dy in reversed(edge)]
        )
        cut.box(x - high * 0.018, y - high * 0.1, x + high * 0.018, y)
        x += high * dice.uniform(0.2, 0.42)
    c.lay(cut, top, bottom, speckle=bottom)


def draw_copse(c: Canvas, dice: Random, ridge: Sequence[Point], size: float, tone: Colour) -> None:
    """A few groups of bushes along a skyline."""
    cut = c.cut()
    for _ in range(dice.randint(2, 4)):
        start = dice.randrange(len(ridge) - 14)
        for x, y in ridge[start : start + dice.randint(3, 12)]:
            r = size * dice.uniform(0.6, 1.2)
            cut.oval(x, y - r * 0.6, r, r * 1.15)
    c.lay(cut, tone, speckle=c.shaded(tone, 0.6))


def draw_broadleaves(
    c: Canvas, dice: Random, base: Callable[[float], float], size: float, t: float
) -> None:
    """Broad-leaved trees in three tones of leaf, paler with distance."""
    trunks, leaves, x = c.cut(), [c.cut(), c.cut(), c.cut()], -size * 0.3
    while x < c.w + size * 0.3:
        y, high = base(x), size * dice.uniform(0.7, 1.15)
        trunks.poly(
            ((x - size * 0.03, y + size * 0.1), (x, y - high), (x + size * 0.03, y + size * 0.1))
        )
        dice.choice(leaves).oval(x, y - high * 0.72, high * dice.uniform(0.2, 0.3), high * 0.42)
        x += size * dice.uniform(0.22, 0.5)
    hue = c.palette.accent if "autumn" in c.tags else c.palette.near
    for cut, leaf in zip(
        leaves, (c.shaded(hue, 0.25), hue, mix(hue, (250, 196, 70), 0.55)), strict=True
    ):
        leaf = mix(c.lit(c.palette.far, 0.3), leaf, 0.35 + 0.65 * t)
        c.lay(cut, leaf, speckle=c.shaded(leaf, 0.4))
    c.lay(trunks, c.shaded(c.wood(t), 0.3), alpha=0.8)


def draw_flower_bed(c: Canvas, dice: Random, size: float, low: float, dark: float) -> None:
    """A row of five-petalled flowers in two tones, whose stems leave the sheet
    below.
    """
    stems, hearts, heads, x = c.cut(), c.cut(), [c.cut(), c.cut()], -size
    while x < c.w + size:
        y, r, head = (
            low - c.unit * dice.uniform(0.02, 0.15),
            size * dice.uniform(0.75, 1.2),
            dice.choice(heads),
        )
        turn, squash = dice.uniform(0, math.tau), dice.uniform(0.6, 0.95)
        stems.line(((x, y), (x + size * dice.uniform(-0.4, 0.4), c.h + size)), size * 0.09)
        for i in range(5):
            dx, dy = turned((0, 0), r * 0.5, 0, turn + i * math.tau / 5)
            head.oval(x + dx, y + dy * squash, r * 0.5, r * 0.5 * squash)
        hearts.oval(x, y, r * 0.2, r * 0.2 * squash)
        x += size * dice.uniform(1.0, 3.2)
    c.lay(stems, c.shaded(c.palette.near, dark))
    for cut, tone in zip(
        heads, (c.palette.accent, mix(c.palette.accent, c.palette.sun, 0.35)), strict=True
    ):
        c.lay(cut, tone, speckle=c.shaded(tone, 0.45))
    c.lay(hearts, c.palette.dark)
