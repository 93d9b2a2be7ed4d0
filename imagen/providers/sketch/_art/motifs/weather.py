"""The weather in front of everything: lightning, rain, snow, fog."""

from __future__ import annotations

from collections.abc import Callable

from PIL import ImageChops

from ..canvas import Canvas
from ..stencils import grey_ramp, times
from .land import craggy_line


def _lightning(c: Canvas) -> None:
    """A jagged bolt with two branches that drift away from it."""
    dice, cut, x = c.dice("bolt"), c.cut(), c.w / 2 - c.side * c.unit * 0.2
    line = craggy_line(
        dice, (x, c.horizon * 0.08), (x + c.unit * dice.uniform(-0.1, 0.1), c.horizon)
    )
    way = sorted(
        ((px + dice.uniform(-1, 1) * c.unit * 0.018, py) for px, py in line), key=lambda p: p[1]
    )
    for start, width in ((0, 0.006), (4, 0.003), (8, 0.003)):
        shift = c.unit * dice.uniform(-0.02, 0.02) * (start > 0)
        part = way[start : start + (6 if start else 99)]
        cut.line([(px + shift * i, py) for i, (px, py) in enumerate(part)], c.unit * width)
    c.glow(x, c.horizon * 0.5, c.unit * 0.5, c.palette.light, 0.45)
    c.lay(cut, c.palette.light)


def _rain(c: Canvas) -> None:
    """Two sheets of slanting strokes, the nearer one longer."""
    dice = c.dice("rain")
    for size, alpha in ((0.025, 0.28), (0.05, 0.4)):
        cut = c.cut()
        for _ in range(round(150 * c.w * c.h / c.unit**2)):
            x, y, fall = (
                dice.random() * c.w * 1.1,
                dice.random() * c.h,
                c.unit * size * dice.uniform(0.6, 1.6),
            )
            cut.line(((x, y), (x - fall * 0.22 * c.side, y + fall)), c.unit * size * 0.045)
        c.lay(cut, c.lit((255, 255, 255), 0.5), alpha=alpha)


def _snow(c: Canvas) -> None:
    """Flakes all over the sheet, most of them small."""
    dice, cut = c.dice("snow"), c.cut()
    for _ in range(round(230 * c.w * c.h / c.unit**2)):
        size = c.unit * (0.0015 + 0.006 * dice.random() ** 4)
        cut.disc(dice.random() * c.w, dice.random() * c.h, size, dice.randint(130, 255))
    c.lay(cut, (255, 253, 248), alpha=0.9)


def _fog(c: Canvas) -> None:
    """Banks of smooth noise, thickest around the horizon."""
    bank = c.clouds("fog", 2.2, 3.5).point(times(1.5))
    c.wash(
        ImageChops.multiply(bank, grey_ramp(c.size, 0, 40, 200, 170, 60)),
        c.lit(c.palette.sky[2], 0.7),
        0.3,
    )


WEATHER: dict[str, Callable[[Canvas], None]] = {
    "storm": _lightning,
    "rain": _rain,
    "snow": _snow,
    "fog": _fog,
}
