"""Clients of the simulated Stability AI."""

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
from tests.support.exchanges import mask_image
from tests.support.images import png

TEAL, RED, BLUE = (0, 128, 128), (200, 30, 30), (30, 30, 200)


IMAGE = png(TEAL, (128, 64))


MASK = mask_image(128, 64).data


@asynccontextmanager
async def open_client(
    home: Path, simulator: Simulator, **settings: Any
) -> AsyncIterator[imagen.Client]:
    loaded = imagen.load_settings(
        {
            "STABILITY_BASE_URL": simulator.base_url("stability"),
            "STABILITY_API_KEY": simulator.key,
            "IMAGEN_HOME": str(home),
        }
    )
    own = {**loaded.access["stability"].settings, "poll_seconds": 0.01, **settings}
    access = msgspec.structs.replace(loaded.access["stability"], settings=own)
    loaded = msgspec.structs.replace(
        loaded, retry=RETRY, access={**loaded.access, "stability": access}
    )
    async with imagen.open_client(loaded, library=None) as client:
        yield client
