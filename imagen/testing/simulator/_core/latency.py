"""Duration of a drawing."""

import random
from collections.abc import Callable, Sequence
from typing import TypeAlias

Latency: TypeAlias = float | tuple[float, float] | Sequence[float] | Callable[[int], float]
"""Seconds for a drawing: always the same; a pair (low, high) to choose from at
random (by the seed); a list by the request's place among the creating ones,
whose last item holds from then on; or a function of that place.
"""


def latency_seconds(latency: Latency, place: int, *, seed: int) -> float:
    """The latency of the `place`-th creating request; it does not depend on the
    others.
    """
    if isinstance(latency, (int, float)):
        return float(latency)
    if isinstance(latency, tuple) and len(latency) == 2:
        return random.Random(f"{seed}/latency/{place}").uniform(*latency)
    if isinstance(latency, Sequence):
        return latency[min(place, len(latency) - 1)] if latency else 0.0
    return latency(place)
