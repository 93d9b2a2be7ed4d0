"""Drawing of the built-in `sketch` engine: procedural landscapes, not an AI.

An image is printed like a poster, layer over layer from back to front. The
words of the prompt are looked up in a table. Their tags choose a palette (the
mood), a sky, a backdrop (mountains, a skyline), a ground (sea, forest, dunes),
a subject (a lighthouse, a cat) and the weather. A prompt without known words
becomes an abstract print. Every layer is a stencil: a mask cut at twice the
size, through which a colour gradient is laid onto the sheet, often with a
speckle of grain. At the end a style finishes the sheet: paper grain, an
engraving, or a two-ink riso print.

Each part has its own random numbers, seeded by prompt, seed and the part's
name: the same arguments give the same bytes, and one seed keeps its composition
in every size.

A module imports only from those above it:

    prompt_words  known words, their tags, the place of a subject
    palettes      moods and their colours, mixing and tinting
    stencils      masks to cut; gradients and other soft masks
    canvas        the sheet, the layout all parts share, printing
    motifs/       figures, land, plants, space, skies, mountains, city, grounds,
                  water, weather; abstracts for prompts without known words
    subjects      the place of a subject, and what accompanies it
    styles        the finish of the sheet
    compose       `draw`: calls the parts in their order and writes the PNG

Throughout, `c` is the canvas, `t` runs from 0 to 1 (mostly from far to near), y
grows downwards, and a length is a share of `c.unit`. To add a motif, give it
words in `prompt_words` and a table in `motifs/figures`.
"""

from .compose import draw
from .styles import STYLES

__all__ = ["STYLES", "draw"]
