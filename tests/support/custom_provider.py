"""A provider of a user's own, for tests of what lies around providers: every
operation, and a note of every call.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path

import imagen
from imagen.testing import InlineWorkers
from tests.support.images import png

COST = Decimal("0.05")
CAPABILITIES = {
    "operations": ["generate", "edit", "vary", "enhance", "restyle"],
    "sizes": ["64x64"],
    "mask": True,
    "strength": True,
    "scales": [2.0],
    "modes": ["fast"],
    "prompt_required": [],
    "inputs": {"max_images": 3, "max_references": 2},
}


class Atelier:
    """What was asked of the provider, and what it withholds."""

    def __init__(self, *, withhold: bool = False) -> None:
        self.calls: list[imagen.providers.Call] = []
        self._withhold = withhold

    def provider(self) -> imagen.providers.Provider:
        operations: tuple[imagen.Operation, ...] = (
            "generate",
            "edit",
            "vary",
            "enhance",
            "restyle",
        )
        table = {
            "provider": "atelier",
            "capabilities": CAPABILITIES,
            "price": {"usd_per_image": str(COST)},
        }
        editor = {**table, "capabilities": {"operations": ["edit"], "prompt_required": []}}
        return imagen.providers.Provider(
            name="atelier",
            operations=dict.fromkeys(operations, self._work),
            settings={"brushes": 3, "colour": "ochre"},
            models={"atelier-1": table, "atelier-editor": editor},
        )

    def _work(self, call: imagen.providers.Call) -> imagen.providers.Exchange:
        self.calls.append(call)
        shade = 20 * len(self.calls)
        data = yield imagen.providers.Compute(call=partial(png, (shade, shade, shade), (64, 64)))
        assert isinstance(data, bytes)
        image = (
            imagen.providers.WithheldImage(reason="It shows too much.")
            if self._withhold
            else imagen.providers.GeneratedImage(data=data)
        )
        return imagen.providers.GeneratedImages(images=(image,), reported_cost_usd=COST)


@asynccontextmanager
async def open_atelier(
    atelier: Atelier, *, home: Path | None = None, toml: str = "", **client: object
) -> AsyncIterator[imagen.Client]:
    """A client whose default model is this provider's."""
    with tempfile.TemporaryDirectory() as folder:
        root = home or Path(folder)
        root.mkdir(exist_ok=True)
        if toml:
            (root / "imagen.toml").write_text(toml, "utf-8")
        environ = {"IMAGEN_HOME": str(root), "IMAGEN_DEFAULT_MODEL": "atelier-1"}
        settings = imagen.load_settings(environ, providers=[atelier.provider()])
        async with imagen.open_client(settings, workers=InlineWorkers(), **client) as opened:
            yield opened
