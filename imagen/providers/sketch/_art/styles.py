"""The finish of a sheet: plain, with paper grain, engraved, or as a riso print."""

from __future__ import annotations

from PIL import Image, ImageChops, ImageOps

from .canvas import Canvas
from .palettes import from_hex
from .stencils import steep, times

STYLES: tuple[str, ...] = ("flat", "ink", "riso", "night")


def finish(c: Canvas) -> Image.Image:
    """The sheet in its style; `night` has already chosen the colours and is
    grained like any other.
    """
    if c.style == "flat":
        return c.sheet
    if c.style == "ink":
        return _engraved(c)
    if c.style == "riso":
        return _riso(c)
    # Few levels of grain look the same and pack far better than 256.
    grain = c.noise.point([v * 5 // 256 * 4 for v in range(256)])
    return ImageChops.add(c.sheet, Image.merge("RGB", (grain, grain, grain)), 1, -8)


def _engraved(c: Canvas) -> Image.Image:
    """Lines that swell with the darkness and bend with smooth noise, as in a
    copper engraving.
    """
    tone = ImageOps.autocontrast(c.sheet.convert("L"), cutoff=1).resize(
        (c.w * c.scale, c.h * c.scale)
    )
    pitch = max(3.0, c.unit / 150) * c.scale
    rows = bytes(round(y / pitch * 256) % 256 for y in range(tone.height))
    saw = Image.frombytes("L", (1, tone.height), rows).resize(tone.size, Image.Resampling.NEAREST)
    bent = ImageChops.add_modulo(saw, c.clouds("bend", 2.0).resize(tone.size))
    wave = bent.point([min(255, abs(v - 128) * 2) for v in range(256)])
    lit = ImageChops.add(tone, wave, 2).point(steep(118, 9))
    return ImageOps.colorize(
        lit.reduce(c.scale) if c.scale > 1 else lit, (29, 29, 41), (245, 239, 225)
    )


def _riso(c: Canvas) -> Image.Image:
    """Print two inks on cream paper, one for dark and one for warm areas,
    slightly misaligned.
    """
    pairs = (("1f4e8c", "ff5a4e"), ("00695c", "ff7a59"), ("3b3486", "ff6fa3"), ("23395b", "f7a823"))
    inks, shift = c.dice("inks").choice(pairs), max(1, round(c.unit * 0.005))
    red, _, blue = ImageChops.invert(c.sheet).split()
    # The warm plate leaves the shadows to the dark one, or both would print the
    # same image.
    warm = ImageOps.autocontrast(ImageChops.subtract(blue, red.point(times(0.55))), cutoff=(2, 4))
    proof = Image.new("RGB", c.size, (246, 240, 226))
    for plate, ink in zip((red, ImageChops.offset(warm, shift, -shift)), inks, strict=True):
        worn = ImageChops.subtract(plate, c.noise.point(times(0.3)))
        layer = Image.new("RGB", c.size, (255, 255, 255))
        layer.paste(
            from_hex(ink), (0, 0), worn.point([min(255, round(v * 1.25)) for v in range(256)])
        )
        proof = ImageChops.multiply(proof, layer)
    return proof
