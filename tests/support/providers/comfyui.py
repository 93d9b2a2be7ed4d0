"""Clients of the simulated ComfyUI."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

import imagen
from imagen.testing.simulator import Simulator, open_simulator
from imagen.testing.simulator._providers.comfyui.server import ComfyUI
from tests.support.drivers import RETRY


@asynccontextmanager
async def open_comfyui(
    home: Path,
    *,
    settings: dict[str, Any] | None = None,
    on_event: imagen.EventHandler | None = None,
    service: dict[str, Any] | None = None,
    models: dict[str, Any] | None = None,
    **simulated: Any,
) -> AsyncIterator[tuple[imagen.Client, Simulator]]:
    """A client that looks for its job every 10 ms where it does not listen, or
    hears nothing for a second.
    """
    async with open_simulator(ComfyUI(**(service or {})), **simulated) as simulator:
        loaded = imagen.load_settings(
            {"COMFYUI_URL": simulator.base_url("comfyui"), "IMAGEN_HOME": str(home)}
        )
        access = loaded.access["comfyui"]
        quick = {"poll_seconds": 0.01, "silence_seconds": 1.0}
        changed = msgspec.structs.replace(
            access, settings={**access.settings, **quick, **(settings or {})}
        )
        loaded = msgspec.structs.replace(
            loaded, retry=RETRY, models=models or {}, access={**loaded.access, "comfyui": changed}
        )
        async with imagen.open_client(loaded, on_event=on_event) as client:
            yield client, simulator
