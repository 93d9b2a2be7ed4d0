"""Clients of the simulated Google, and its replies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

import imagen
from imagen.testing.simulator import (
    Simulator,
)
from tests.support.drivers import RETRY

CHEAP = "gemini-3.1-flash-lite-image"


@asynccontextmanager
async def open_client(
    home: Path, simulator: Simulator, *, key: str | None = None, **settings: Any
) -> AsyncIterator[imagen.Client]:
    loaded = imagen.load_settings(
        {
            "GOOGLE_BASE_URL": simulator.base_url("google"),
            "GEMINI_API_KEY": key or simulator.key,
            "VERTEX_BASE_URL": simulator.base_url("vertex"),
            "VERTEX_ACCESS_TOKEN": key or simulator.key,
            "IMAGEN_HOME": str(home),
        }
    )
    access = {
        name: msgspec.structs.replace(
            loaded.access[name], settings={**loaded.access[name].settings, **settings}
        )
        for name in ("google", "vertex")
    }
    loaded = msgspec.structs.replace(loaded, retry=RETRY, access={**loaded.access, **access})
    async with imagen.open_client(loaded, library=None) as client:
        yield client
