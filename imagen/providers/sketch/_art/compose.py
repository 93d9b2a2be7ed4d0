"""Composition: the parts of an image, from the prompt to a PNG."""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image, PngImagePlugin

from .canvas import Canvas
from .motifs.abstracts import ABSTRACTS
from .motifs.city import draw_city, draw_roofs
from .motifs.grounds import draw_dunes, draw_flower_field, draw_forest, draw_hills
from .motifs.mountains import draw_mountains
from .motifs.skies import draw_sky
from .motifs.space import draw_space
from .motifs.water import draw_lake, draw_river, draw_sea
from .motifs.weather import WEATHER
from .prompt_words import PLACES
from .styles import STYLES, finish
from .subjects import draw_subject

_GROUNDS: dict[str, Callable[[Canvas], None]] = {
    "roof": draw_roofs,
    "desert": draw_dunes,
    "field": draw_flower_field,
    "forest": draw_forest,
    "river": draw_river,
    "lake": draw_lake,
    "sea": draw_sea,
    "hills": draw_hills,
}


def draw(prompt: str, *, width: int, height: int, seed: int, style: str | None = None) -> bytes:
    """Return the PNG of a prompt; the same arguments always return the same
    bytes.
    """
    canvas = Canvas(prompt, seed, (width, height), style if style in STYLES else None)
    _compose(canvas)
    return _png(finish(canvas), prompt)


def _compose(c: Canvas) -> None:
    """Layer over layer, from the back to the front."""
    ground = next((tag for tag in c.tags if tag in _GROUNDS), None)
    if "abstract" in c.tags:
        c.dice("kind").choice(ABSTRACTS)(c)
    elif ground is None:
        draw_space(c)
    else:
        draw_sky(c)
        for backdrop, tags in ((draw_mountains, {"mountain"}), (draw_city, {"city", "roof"})):
            if tags & set(c.tags):
                backdrop(c)
        _GROUNDS[ground](c)
        # Subjects that want the same kind of place share one spot: more than
        # two would only hide each other.
        for tag in [tag for tag in c.tags if tag in PLACES][:2]:
            draw_subject(c, tag)
        for tag in [tag for tag in c.tags if tag in WEATHER]:
            WEATHER[tag](c)


def _png(image: Image.Image, prompt: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", "imagen sketch engine (procedural, no AI)")
    # A PNG text may hold neither NUL nor half a surrogate pair.
    text = prompt.encode("utf-8", "replace").decode("utf-8").replace("\0", "")
    if text.isascii():
        info.add_text("Description", text)
    else:
        info.add_itxt("Description", text)
    out = io.BytesIO()
    # Grain hardly compresses: a higher level costs several times the time for a
    # tenth of the size.
    image.save(out, "PNG", pnginfo=info, compress_level=1)
    return out.getvalue()
