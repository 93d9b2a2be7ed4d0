"""SVG documents as programs write them, and as attackers do."""

from __future__ import annotations

import importlib.util

import pytest

HEAD = 'xmlns="http://www.w3.org/2000/svg"'
SQUARE = '<rect width="10" height="20" fill="#f00"/>'
PLAIN = f'<svg {HEAD} width="10" height="20">{SQUARE}</svg>'.encode()
SCRIPT = f'<svg {HEAD} width="10" height="20"><script>alert(1)</script>{SQUARE}</svg>'.encode()
ENTITIES = (
    f'<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;">]><svg {HEAD}>&b;</svg>'.encode()
)

# A document, and the size that a browser gives it.
SIZES = {
    "width and height": (f'<svg {HEAD} width="10" height="20">{SQUARE}</svg>', (10, 20)),
    "viewBox alone, as Recraft writes": (f'<svg {HEAD} viewBox="0 0 2048 1024"/>', (2048, 1024)),
    "viewBox with commas": (f'<svg {HEAD} viewBox="0,0, 30,40"/>', (30, 40)),
    "one length": (f'<svg {HEAD} width="100" viewBox="0 0 30 60"/>', (100, 200)),
    "the other length": (f'<svg {HEAD} height="100" viewBox="0 0 30 60"/>', (50, 100)),
    "percentages": (f'<svg {HEAD} width="100%" height="100%" viewBox="0 0 24 24"/>', (24, 24)),
    "units": (f'<svg {HEAD} width="1in" height="25.4mm"/>', (96, 96)),
    "points": (f'<svg {HEAD} width="72pt" height="1pc"/>', (96, 16)),
    "fractions": (f'<svg {HEAD} width=" 10.6px " height=".5e1"/>', (11, 5)),
    "none": (f"<svg {HEAD}/>", (300, 150)),
    "nonsense": (f'<svg {HEAD} width="-4" height="NaN" viewBox="0 0 0 x"/>', (300, 150)),
    "more than is decoded": (f'<svg {HEAD} viewBox="0 0 1e8 5e7"/>', (8192, 4096)),
    "a hair": (f'<svg {HEAD} viewBox="0 0 1000000 1"/>', (8192, 1)),
    "single quotes": ("<svg xmlns='x' width='7' height='8'></svg>", (7, 8)),
    "a prefix": ('<s:svg xmlns:s="x" width="7" height="8"></s:svg>', (7, 8)),
    "a declaration": (f'<?xml version="1.0" encoding="UTF-8"?>\n<svg {HEAD} width="7"/>', (7, 4)),
    "a document type": (
        '<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN"'
        f' "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd"><svg {HEAD} width="7" height="8"/>',
        (7, 8),
    ),
    "comments": (f'<!-- a > b --><!--c--> <svg {HEAD} width="7" height="8"/>', (7, 8)),
}

needs_renderer = pytest.mark.skipif(
    importlib.util.find_spec("resvg_py") is None, reason="the extra `svg` is not installed"
)


@pytest.fixture
def no_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra `svg` is not installed."""
    monkeypatch.setattr("imagen.metadata._svg_drawing._RENDERER", "no_such_renderer")
