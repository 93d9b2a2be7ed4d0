"""Sheet, layout of all parts of an image, and printing on it."""

from __future__ import annotations

import hashlib
import math
from random import Random

from PIL import Image, ImageChops

from .palettes import Colour, choose_mood, choose_palette, from_hex, mix
from .prompt_words import TINTS, known_words, plan_tags
from .stencils import Point, Stencil, gradient, stipple, times


class Canvas:
    """The sheet, its palette and the few decisions that all parts of an image
    share.

    `unit` is the unit of every length: it follows the area, so that a motif
    neither drowns in a banner nor bursts it. `side` is -1 or 1: the sun is on
    one side, shadows and subjects are on the other.
    """

    def __init__(self, prompt: str, seed: int, size: tuple[int, int], style: str | None) -> None:
        self.prompt, self.seed, self.size, self.style = prompt, seed, size, style
        self.w, self.h = size
        self.grainy = style not in ("flat", "ink")  # an engraver's lines stand in for grain
        self.unit = min(math.sqrt(self.w * self.h), 1.5 * min(size))
        self.scale = (
            2 if self.w * self.h <= 4_500_000 else 1
        )  # large sheets are smooth enough, and costly
        words = known_words(prompt)
        self.tags = plan_tags(words, self.dice("plan"))
        self.mood = choose_mood(self.tags, style, self.dice("mood"))
        self.snowy = bool({"snow", "winter"} & set(self.tags))
        self.tints = [from_hex(TINTS[word]) for word in words if word in TINTS]
        self.palette = choose_palette(self.mood, self.tags, self.tints, self.dice("palette"))
        dice = self.dice("layout")
        self.side = dice.choice((-1, 1))
        self.horizon = self.h * dice.uniform(0.56, 0.66)
        self.sun_at = self._place_sun(dice)
        self.sheet = Image.new("RGB", size, self.palette.sky[3])
        self.noise = self._noise()

    def _place_sun(self, dice: Random) -> Point:
        high = dice.uniform(0.02, 0.2) if self.mood in ("dusk", "dawn") else dice.uniform(0.3, 0.5)
        across = 0.5 - self.side * dice.uniform(0.06, 0.24)
        return self.w * across, max(self.horizon * (1 - high), self.horizon - 0.8 * self.unit)

    def dice(self, part: str) -> Random:
        """Return the random numbers of one part: they never move another part."""
        return _seeded(self.prompt, self.seed, part)

    def spot(self) -> Point:
        """Return the place of a subject: on the third opposite the sun, or
        before the moon on a roof.
        """
        if "roof" in self.tags:
            across = self.sun_at[0] + self.side * self.unit * 0.1
            return across, min(self.h - self.unit * 0.12, self.horizon + self.unit * 0.1)
        across = self.w / 2 + self.side * min(self.w * 0.22, self.unit * 0.4)
        return across, min(self.h - self.unit * 0.1, self.horizon + (self.h - self.horizon) * 0.42)

    def cut(self) -> Stencil:
        """An empty stencil for this sheet."""
        return Stencil(self.size, self.scale)

    def land(self, t: float) -> Colour:
        """Open land at a distance: 0 is the farthest ridge, 1 the nearest."""
        return mix(self.palette.far, self.palette.near, t)

    def wood(self, t: float) -> Colour:
        """Colour of objects on the land: always darker than it, most of all on
        snow.
        """
        if self.snowy:
            return mix(self.palette.far, self.palette.dark, 0.15 + 0.75 * t)
        return mix(self.land(t), self.palette.dark, 0.4 * t)

    def lit(self, colour: Colour, t: float) -> Colour:
        """Towards the light above the horizon, as haze and distance do it."""
        return mix(colour, self.palette.sky[3], t)

    def shaded(self, colour: Colour, t: float) -> Colour:
        """Towards the darkest ink."""
        return mix(colour, self.palette.dark, t)

    def _noise(self) -> Image.Image:
        # On a large sheet grains of one pixel would be too fine to see.
        grain = max(1, round(min(self.size) / 1100))
        w, h = -(-self.w // grain), -(-self.h // grain)
        dice = _seeded(self.prompt, self.seed, self.style, "grain")
        fine = Image.frombytes("L", (w, h), dice.randbytes(w * h))
        return fine if grain == 1 else fine.resize(self.size, Image.Resampling.NEAREST)

    def clouds(self, part: str, cells: float, stretch: float = 1.0) -> Image.Image:
        """Smooth noise over the whole sheet, `cells` bumps to the unit."""
        dice, total = self.dice(part), Image.new("L", self.size)
        for octave, weight in ((1, 0.55), (2.3, 0.3), (5.1, 0.15)):
            w = max(3, round(self.w / self.unit * cells * octave / stretch))
            h = max(3, round(self.h / self.unit * cells * octave))
            rough = Image.frombytes("L", (w, h), dice.randbytes(w * h)).point(times(weight))
            total = ImageChops.add(total, rough.resize(self.size, Image.Resampling.BICUBIC))
        return total

    def lay(
        self, stencil: Stencil, top: Colour, bottom: Colour | None = None, *,
        alpha: float = 1.0, speckle: Colour | None = None, amount: float = 0.55,
    ) -> None:  # fmt: skip
        """Print through a stencil: a gradient, and a speckle that thickens
        towards the lower edge.
        """
        mask = stencil.mask.reduce(self.scale) if self.scale > 1 else stencil.mask
        box = mask.getbbox()
        if box is None:
            return
        mask = mask.crop(box) if alpha == 1 else mask.crop(box).point(times(alpha))
        self.sheet.paste(gradient(mask.size, (top, bottom or top)), box[:2], mask)
        if speckle is not None and self.grainy:
            ramp = Image.linear_gradient("L").resize(mask.size).point(times(amount))
            self.sheet.paste(
                speckle, box[:2], ImageChops.multiply(stipple(ramp, self.noise.crop(box)), mask)
            )

    def wash(self, mask: Image.Image, colour: Colour, dots: float = 0.8) -> None:
        """Print a soft mask: a smooth tone, with grain scattered over it."""
        self.sheet.paste(colour, (0, 0), mask)
        if self.grainy:
            self.sheet.paste(colour, (0, 0), stipple(mask.point(times(dots)), self.noise))

    def glow(self, x: float, y: float, radius: float, colour: Colour, alpha: float) -> None:
        """Light around a point, fading out to all sides."""
        ball = Image.radial_gradient("L").point(
            lambda v: round(max(0.0, 1 - v / 180) ** 2 * 255 * alpha)
        )
        light, size = Image.new("L", self.size), max(2, round(2 * radius))
        light.paste(
            ball.resize((size, size), Image.Resampling.BILINEAR),
            (round(x - radius), round(y - radius)),
        )
        self.wash(light, colour)


def _seeded(*parts: object) -> Random:
    # Not `hash`, which differs from one run to the next. A prompt may hold half
    # a surrogate pair.
    text = "\0".join(str(part) for part in parts)
    return Random(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
