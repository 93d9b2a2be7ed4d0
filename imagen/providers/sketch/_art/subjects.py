"""Subjects: their place, and what accompanies them: a rise, a flock, a beam of
light, smoke.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .canvas import Canvas
from .motifs.figures import FIGURES, draw_figure
from .motifs.plants import draw_tree
from .prompt_words import PLACES
from .stencils import Point


def draw_subject(c: Canvas, name: str) -> None:
    """Put a subject into the landscape, at its kind of place."""
    place, size, _ = PLACES[name]
    if place == "flock":
        _flock(c, name, size * c.unit)
    elif place == "water":
        x, y = c.w / 2 + c.side * c.unit * 0.14, c.horizon + (c.h - c.horizon) * 0.3
        draw_figure(c, name, (x, y), size * c.unit, flip=-0.6, alpha=0.3)
        draw_figure(c, name, (x, y), size * c.unit)
    elif place in ("rock", "rise"):
        x, y = c.spot() if "roof" in c.tags else _rise(c, rocky=place == "rock")
        reach = min(size * c.unit, y * 0.72)
        if name in _EXTRAS:
            _EXTRAS[name](c, (x, y), reach)
        if name in FIGURES:
            draw_figure(c, name, (x, y), reach)


def _rise(c: Canvas, *, rocky: bool) -> Point:
    """Draw a foreground rise for a subject, steep towards the sun and gentle
    away from it.
    """
    (x, y), dice, cut, crest = c.spot(), c.dice("rise"), c.cut(), []
    half = c.unit * (0.36 if rocky else 0.7)
    for i in range(-90, 91):
        t = i / 30
        drop = t * t * (1.2 if i * c.side < 0 else 0.3) * (c.h - y)
        rough = dice.uniform(0, c.unit * 0.02) if rocky and abs(i) > 3 else 0.0
        crest.append((x + t * half, y + drop + rough))
    cut.poly([(crest[0][0], c.h * 2), *crest, (crest[-1][0], c.h * 2)])
    tone = c.shaded(c.palette.near, 0.1 if c.snowy else 0.35)
    c.lay(cut, tone, c.shaded(tone, 0.6), speckle=c.palette.dark)
    return x, y + c.unit * 0.004


def _flock(c: Canvas, name: str, size: float) -> None:
    """Draw one large and some small ones around it, all in the sky."""
    dice, many = c.dice("flock"), 8 if name == "gull" else 2
    x, y = c.w / 2 + c.side * c.unit * 0.16, max(size * 1.3, c.horizon - c.unit * 0.38)
    for _ in range(many):
        at = (x - c.side * c.unit * dice.uniform(-0.1, 0.6), y + c.unit * dice.uniform(-0.16, 0.2))
        draw_figure(
            c, name, at, size * dice.uniform(0.22, 0.5), tilt=dice.uniform(-0.2, 0.2) * (many > 2)
        )
    draw_figure(c, name, (x, y), size)


def _beam(c: Canvas, at: Point, size: float) -> None:
    """The lamp of a lighthouse: by day a glow, in the dark two beams as well."""
    x, y, far = at[0], at[1] - size * 0.86, c.w + c.unit
    if c.mood in ("night", "dusk", "storm"):
        for spread, alpha in ((0.05, 0.22), (0.11, 0.15)):
            cut = c.cut()
            for way in (-far, far):
                rise = -0.1 * way * c.side
                cut.poly(
                    ((x, y), (x + way, y + rise - spread * far), (x + way, y + rise + spread * far))
                )
            c.lay(cut, c.palette.light, alpha=alpha)
    c.glow(x, y, size * 0.34, c.palette.light, 0.2 if c.mood == "day" else 0.9)


def _smoke(c: Canvas, at: Point, size: float) -> None:
    """Smoke from the chimney, wider and thinner as it rises."""
    cut = c.cut()
    for i in range(12):
        t = i / 11
        drift = c.side * size * (0.28 + 0.5 * t + 0.09 * math.sin(t * 7))
        cut.disc(
            at[0] + drift,
            at[1] - size * (1 + 0.9 * t),
            size * (0.04 + 0.11 * t),
            round(150 * (1 - t)),
        )
    c.lay(cut, c.palette.sky[3], alpha=0.7)


# Drawn behind a figure, or in its place if there is none.
_EXTRAS: dict[str, Callable[[Canvas, Point, float], None]] = {
    "lighthouse": _beam, "house": _smoke, "tree": draw_tree
}  # fmt: skip
