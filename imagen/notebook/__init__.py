"""A live sheet of a batch in a notebook: each image as it arrives, its cost, and
ways to stop, drop, repeat and rate.

    client = imagen.blocking.open_client()
    client.open_batch("a harbour at dusk", n=8)     # as the last line of a cell

Or `imagen.notebook.sheet(batch)`. Needs the extra `notebook`; without it, each
image is displayed as it arrives.
"""

from __future__ import annotations

from ._sheet import Sheet, sheet

__all__ = ["Sheet", "sheet"]
