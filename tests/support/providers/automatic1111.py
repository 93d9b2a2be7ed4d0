"""Clients of the simulated web UI."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

import imagen
from imagen.testing.simulator import Simulator, open_simulator
from imagen.testing.simulator._providers.automatic1111 import WebUI
from tests.support.drivers import RETRY


@asynccontextmanager
async def open_web_ui(
    home: Path,
    *,
    settings: dict[str, Any] | None = None,
    on_event: imagen.EventHandler | None = None,
    service: dict[str, Any] | None = None,
    models: dict[str, Any] | None = None,
    **simulated: Any,
) -> AsyncIterator[tuple[imagen.Client, Simulator]]:
    """A client that asks every 20 ms how far an image is."""
    async with open_simulator(WebUI(**(service or {})), **simulated) as simulator:
        loaded = imagen.load_settings(
            {
                "SD_WEBUI_URL": simulator.base_url("automatic1111"),
                "SD_WEBUI_AUTH": simulator.key,
                "IMAGEN_HOME": str(home),
            }
        )
        access = loaded.access["automatic1111"]
        changed = msgspec.structs.replace(
            access, settings={**access.settings, "progress_seconds": 0.02, **(settings or {})}
        )
        loaded = msgspec.structs.replace(
            loaded,
            retry=RETRY,
            models=models or {},
            access={**loaded.access, "automatic1111": changed},
        )
        async with imagen.open_client(loaded, on_event=on_event) as client:
            yield client, simulator
