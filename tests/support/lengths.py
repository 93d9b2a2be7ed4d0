"""Lengths of long tests: short by default, whole in CI.

`make test-all` sets IMAGEN_TESTS=whole.
"""

from __future__ import annotations

import os

WHOLE = os.environ.get("IMAGEN_TESTS") == "whole"


def length(whole: int, *, short: int) -> int:
    """Return `whole` in CI, otherwise `short`."""
    return whole if WHOLE else short


def examples(whole: int) -> int:
    """Return the number of Hypothesis examples: at most 100 by default."""
    return length(whole, short=min(whole, 100))
