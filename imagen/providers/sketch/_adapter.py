"""Built-in engine: a procedural image from prompt, size and seed. It is not an
AI, and needs no key and no network.
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial

from .._provider import Call, Provider
from .._steps import Compute, Exchange, GeneratedImage, GeneratedImages

__all__ = ["PROVIDER", "generate"]

_DEFAULT_SIZE = "1024x1024"


def generate(call: Call) -> Exchange:
    """Draws in a worker thread."""
    width, _, height = (call.request.size or _DEFAULT_SIZE).partition("x")
    seed = call.request.seed or 0
    data = yield Compute(
        call=partial(_draw, call.request.prompt, int(width), int(height), seed, call.request.style)
    )
    assert isinstance(data, bytes)
    return GeneratedImages(
        images=(GeneratedImage(data=data, seed=seed),), reported_cost_usd=Decimal(0)
    )


def _draw(prompt: str, width: int, height: int, seed: int, style: str | None) -> bytes:
    # Pillow is imported only when something is drawn.
    from ._art import draw

    return draw(prompt, width=width, height=height, seed=seed, style=style)


PROVIDER = Provider(name="sketch", operations={"generate": generate})
