"""Figures drawn from tables, and how a figure is cut and inked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby, pairwise

from ..canvas import Canvas
from ..palettes import Colour
from ..stencils import Point, Stencil, turned

# Figures stand on (0, 0) with y upwards and x away from the sun. A row is: ink,
# shape, numbers. A `blob` is a polygon with rounded corners, a `line` starts
# with its width, an `oval` is x, y and two radii.
FIGURES: dict[str, tuple[str, ...]] = {
    "lighthouse": (
        "pale poly -.11 -.03 -.064 .8 .064 .8 .11 -.03",
        "accent poly -.104 .11 -.096 .24 .096 .24 .104 .11",
        "accent poly -.089 .37 -.081 .5 .081 .5 .089 .37",
        "accent poly -.074 .62 -.067 .75 .067 .75 .074 .62",
        "shade poly .01 -.03 .006 .8 .064 .8 .11 -.03",
        "light poly -.046 .81 -.046 .92 .046 .92 .046 .81",
        "dark poly -.088 .79 -.088 .815 .088 .815 .088 .79",
        "dark poly -.062 .915 -.045 .955 0 .985 .045 .955 .062 .915",
        "dark line .008 0 .97 0 1.04",
        "dark line .006 -.03 .81 -.03 .92",
        "dark line .006 .03 .81 .03 .92",
    ),
    "boat": (
        "accent blob .04 .28 .04 .28 .4 .3 .74 .28 .74 .28 .5 .8 .04 1.72 .04 1.72",
        "pale blob -.06 .3 -.06 .3 -.4 .34 -.68 .3 -.68 .3 -.36 .8 -.06 1.55 -.06 1.55",
        "dark line .03 0 .1 0 1.78",
        "dark blob -.85 .22 -.85 .22 .75 .16 .75 .16 .55 -.06 -.5 -.06",
    ),
    "house": (
        "dark poly .22 .5 .22 .98 .34 .98 .34 .5",
        "accent poly -.5 -.05 -.5 .4 0 .82 .5 .4 .5 -.05",
        "shade poly .1 -.05 .1 .74 .5 .4 .5 -.05",
        "dark line .09 -.64 .3 0 .84 .64 .3",
        "light poly -.34 .12 -.34 .34 -.14 .34 -.14 .12",
        "light poly .2 .12 .2 .34 .38 .34 .38 .12",
        "light oval 0 .52 .07 .07",
    ),
    "castle": (
        "stone poly -.5 -.08 -.5 .36 .5 .36 .5 -.08",
        "stone line .06 -.5 .35 -.5 .4 -.44 .4 -.44 .35 -.34 .35 -.34 .4 -.28 .4 -.28 .35",
        "stone line .06 .28 .35 .28 .4 .34 .4 .34 .35 .4 .35 .4 .4 .44 .4",
        "stone poly -.6 -.08 -.6 .62 -.4 .62 -.4 -.08",
        "stone poly .4 -.08 .4 .7 .61 .7 .61 -.08",
        "stone poly -.3 0 -.3 .98 -.06 .98 -.06 0",
        "stone poly .1 0 .1 .8 .28 .8 .28 0",
        "accent poly -.63 .62 -.5 .94 -.37 .62",
        "accent poly .36 .7 .505 1.06 .65 .7",
        "accent poly -.35 .98 -.18 1.4 -.01 .98",
        "accent poly .07 .8 .19 1.1 .31 .8",
        "shade poly -.16 -.08 -.16 1.3 -.01 .98 -.06 .98 -.06 -.08",
        "shade poly .52 -.08 .52 1.03 .65 .7 .61 .7 .61 -.08",
        "light poly -.2 .74 -.2 .84 -.16 .84 -.16 .74",
        "light poly .18 .6 .18 .68 .21 .68 .21 .6",
        "light poly -.52 .42 -.52 .5 -.48 .5 -.48 .42",
        "dark blob -.07 -.08 -.07 -.08 -.07 .2 0 .28 .07 .2 .07 -.08 .07 -.08",
    ),
    "windmill": (
        "pale poly -.17 -.05 -.1 .6 .1 .6 .17 -.05",
        "shade poly .02 -.05 .02 .6 .1 .6 .17 -.05",
        "accent blob -.14 .58 -.14 .58 -.1 .72 .1 .72 .14 .58 .14 .58",
        "light oval -.02 .36 .025 .035",
        "dark line .018 -.36 .28 .36 1.0",
        "dark line .018 -.36 1.0 .36 .28",
        "accent poly .05 .66 .33 .94 .41 .87 .12 .6",
        "accent poly -.02 .7 -.3 .98 -.23 1.05 .05 .75",
        "accent poly -.05 .62 -.33 .34 -.41 .41 -.12 .68",
        "accent poly .02 .58 .3 .3 .23 .23 -.05 .53",
    ),
    "cat": (
        "fur line .075 .08 .05 .28 .0 .42 .04 .46 .16 .4 .27 .42 .34",
        "fur oval .42 .34 .037 .037",
        "fur blob -.22 -.03 -.26 .14 -.2 .36 -.1 .6 .1 .6 .2 .36 .26 .14 .22 -.03",
        "fur oval 0 .68 .16 .135",
        "fur poly -.155 .7 -.14 .93 -.02 .79",
        "fur poly .155 .7 .14 .93 .02 .79",
    ),
    "fox": (
        "accent blob .1 0 .3 -.04 .56 .04 .62 .22 .5 .42 .4 .3 .36 .16 .2 .12",
        "pale blob .5 .42 .5 .42 .62 .22 .56 .2 .48 .26",
        "accent blob -.2 -.03 -.24 .14 -.17 .36 -.1 .62 .1 .62 .17 .36 .24 .14 .2 -.03",
        "accent blob -.19 .72 -.13 .56 .13 .56 .19 .72 .1 .84 -.1 .84",
        "accent poly -.18 .7 -.17 1.0 -.02 .8",
        "accent poly .18 .7 .17 1.0 .02 .8",
        "dark poly -.15 .86 -.17 1.0 -.1 .9",
        "dark poly .15 .86 .17 1.0 .1 .9",
    ),
    "person": (
        "dark line .075 -.06 .4 -.09 -.02",
        "dark line .075 .06 .4 .09 -.02",
        "dark oval 0 .87 .078 .085",
        "dark line .02 .17 .56 .27 -.02",
        "accent blob -.06 .8 .06 .8 .15 .7 .2 .2 .2 .2 -.18 .2 -.18 .2 -.15 .7",
        "accent line .06 .11 .7 .18 .5",
    ),
    "gull": (
        "dark blob -1 0 -1 0 -.7 .34 -.3 .34 0 .04 0 -.14 -.14 -.14 -.36 .16 -.7 .22",
        "dark blob 1 .14 1 .14 .72 .42 .3 .36 0 .04 -.04 -.14 .1 -.12 .36 .2 .7 .3",
    ),
    "balloon": (
        "accent oval 0 0 1 1",
        "accent poly -.94 -.34 -.2 -1.5 .2 -1.5 .94 -.34",
        "pale oval 0 0 .64 1",
        "pale poly -.61 -.3 -.13 -1.5 .13 -1.5 .61 -.3",
        "accent oval 0 0 .24 1",
        "accent poly -.23 -.3 -.05 -1.5 .05 -1.5 .23 -.3",
        "shade blob .3 .95 .3 .95 .72 .8 1 .3 1 -.25 .6 -.85 .2 -1.5 .2 -1.5 .1 -1.5 .62 -.3",
        "dark line .03 -.18 -1.48 -.12 -1.9",
        "dark line .03 .18 -1.48 .12 -1.9",
        "dark poly -.15 -1.86 -.15 -2.12 .15 -2.12 .15 -1.86",
    ),
    "rocket": (
        "glow blob -.2 -.7 -.2 -.7 -.12 -1.6 0 -3.6 0 -3.6 .12 -1.6 .2 -.7 .2 -.7",
        "light blob -.12 -.7 -.12 -.7 0 -2.1 0 -2.1 .12 -.7 .12 -.7",
        "accent blob -.2 -.1 -.5 -.5 -.55 -1 -.55 -1 -.1 -.7 .1 -.7 .55 -1 .55 -1 .5 -.5 .2 -.1",
        "pale blob 0 1.2 0 1.2 .26 .5 .3 -.1 .17 -.72 .17 -.72 -.17 -.72 -.17 -.72 -.3 -.1 -.26 .5",
        "shade blob 0 1.2 0 1.2 .26 .5 .3 -.1 .17 -.72 .17 -.72 .04 -.72 .04 -.72 .12 0",
        "dark oval 0 .32 .12 .12",
    ),
    "station": (
        *(
            f"accent poly {x - 0.15} {y} {x - 0.15} {y + 0.13} {x + 0.15} {y + 0.13} {x + 0.15} {y}"
            for x in (-0.95, -0.55, 0.55, 0.95)
            for y in (-0.65, -0.5, -0.35, -0.2, 0.07, 0.22, 0.37, 0.52)
        ),
        "pale line .05 -1.3 0 1.3 0",
        "pale line .2 -.32 0 .32 0",
        "pale line .16 0 -.4 0 .4",
        "shade poly -.32 -.1 -.32 -.02 .32 -.02 .32 -.1",
        "dark oval -.17 .03 .03 .03",
        "dark oval .17 .03 .03 .03",
    ),
}  # fmt: skip


def draw_figure(
    c: Canvas,
    name: str,
    at: Point,
    size: float,
    *,
    flip: float = 1.0,
    alpha: float = 1.0,
    tilt: float = 0.0,
) -> None:
    """Stand a figure at a point; a negative flip turns it upside down, as water
    does.
    """

    def put(dx: float, dy: float) -> Point:
        return turned(at, dx * size * c.side, -dy * size * flip, tilt)

    # Neighbours in one ink share a stencil: where they overlap, a thin ink is
    # not laid twice.
    for ink, rows in groupby(FIGURES[name], key=lambda row: row.split()[0]):
        cut = c.cut()
        for row in rows:
            _cut_shape(cut, row.split()[1:], put, size)
        top, bottom, strength = _ink_tones(c, ink)
        c.lay(
            cut,
            top,
            bottom,
            alpha=alpha * strength,
            speckle=bottom if alpha * strength == 1 else None,
        )


def _cut_shape(
    cut: Stencil, row: Sequence[str], put: Callable[[float, float], Point], size: float
) -> None:
    kind, numbers = row[0], [float(number) for number in row[1:]]
    if kind == "oval":
        cut.oval(*put(numbers[0], numbers[1]), numbers[2] * size, numbers[3] * size)
        return
    width = numbers.pop(0) if kind == "line" else 0.0
    points = [put(dx, dy) for dx, dy in zip(numbers[::2], numbers[1::2], strict=True)]
    if kind == "line":
        cut.line(points, width * size)
    else:
        cut.poly(_rounded(points) if kind == "blob" else points)


def _rounded(points: list[Point]) -> list[Point]:
    """Chaikin's corner cutting; a point given twice stays a corner."""
    for _ in range(3):
        points = [
            (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t)
            for a, b in pairwise([*points, points[0]])
            for t in (0.25, 0.75)
        ]
    return points


def _ink_tones(c: Canvas, ink: str) -> tuple[Colour, Colour, float]:
    """Return the colours of an ink at top and bottom, and its density."""
    accent, light, dark = c.palette.accent, c.palette.light, c.palette.dark
    pale, stone = c.lit(light, 0.4), c.shaded(c.wood(0.6), 0.2)
    fur = accent if c.tints else dark
    return {
        "accent": (accent, c.shaded(accent, 0.3), 1.0),
        "pale": (pale, c.shaded(pale, 0.15), 1.0),
        "stone": (stone, c.shaded(stone, 0.5), 1.0),
        "fur": (fur, c.shaded(fur, 0.4), 1.0),
        "light": (light, light, 1.0),
        "glow": (accent, light, 0.5),
        "shade": (dark, dark, 0.35),
        "dark": (dark, dark, 1.0),
    }[ink]
