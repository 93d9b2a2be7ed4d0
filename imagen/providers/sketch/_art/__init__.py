"""Draws the images of the built-in `sketch` engine: procedural landscapes, no
AI.

An image is printed like a poster, layer over layer from the back to the front.  The words of the
prompt are looked up in a table; the tags found there choose a palette (the mood), a sky, a backdrop
(mountains, a skyline), a ground (sea, forest, dunes), a subject (a lighthouse, a cat) and the weather.
A prompt without known words becomes an abstract print instead.  Every layer is a stencil: a mask cut
at twice the size, through which a colour gradient is laid onto the sheet, often with a speckle of grain.
At the end a style finishes the sheet: paper grain, an engraving, or a two-ink riso print.

Each part has its own random numbers, seeded by prompt, seed and the part's
name: the same arguments give the same bytes, and one seed keeps its composition
in every size.

Modules from the first step to the last; one imports only from those above it:

    _words      which words are known, where a subject belongs, what a prompt asks for
    _palettes   the moods and their colours, mixing and tinting
    _stencils   cutting masks; gradients and other soft masks
    _canvas     the sheet, the layout all parts share, and the ways to print on it
    _figures    drawings by table: lighthouse, boat, house, castle, cat, fox, person, rocket ...
    _land       skylines, crags, and filling the land below them
    _plants     pines, broad-leaved trees, copses, flower beds, the lone tree
    _space      stars, planets, and the scene in space
    _skies      sun, moon, aurora, clouds
    _mountains  the range behind the ground, its snow and its shadows
    _city       the skyline with its windows, and the roofs of a town
    _grounds    hills, forest, flower field, dunes
    _water      sea, lake, river, and what they mirror
    _subjects   where a subject stands, what comes with it: a rise, a flock, a beam, smoke
    _weather    lightning, rain, snow, fog
    _abstracts  the prints for prompts without known words
    _styles     the finish of the sheet
    _compose    `draw`: calls the parts in their order and writes the PNG

Throughout, `c` is the canvas, `t` runs from 0 to 1 (mostly from far to near), y grows downwards, and a
length is a share of `c.unit`.  To add a motif, give it words in `_words` and a table in `_figures`.
"""

from .compose import draw
from .styles import STYLES

__all__ = ["STYLES", "draw"]
