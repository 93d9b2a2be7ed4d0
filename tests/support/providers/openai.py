"""Clients of a simulator for the providers with OpenAI's wire format, and what
can be seen in the images.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from PIL import Image

import imagen
from imagen.providers import PROVIDERS
from imagen.testing.simulator import Simulator
from tests.support.drivers import RETRY


@asynccontextmanager
async def open_client(
    home: Path,
    simulator: Simulator,
    *names: str,
    key: str | None = None,
    on_event: imagen.EventHandler | None = None,
) -> AsyncIterator[imagen.Client]:
    """A client that knows these providers, with the simulator's key."""
    environ = {"IMAGEN_HOME": str(home)}
    for name in names:
        provider = PROVIDERS[name]
        assert provider.base_url_variable is not None
        environ |= {
            provider.base_url_variable: simulator.base_url(name),
            provider.key_variables[0]: key or simulator.key,
        }
    settings = msgspec.structs.replace(imagen.load_settings(environ), retry=RETRY)
    async with imagen.open_client(settings, on_event=on_event) as client:
        yield client


def opened(image: imagen.Image) -> Image.Image:
    """The pixels of an image that came."""
    with Image.open(io.BytesIO(image.data)) as decoded:
        return decoded.convert("RGB")


def near(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two colours are the same but for what JPEG makes of them."""
    return all(abs(a - b) < 12 for a, b in zip(one, other, strict=True))


async def books_balance(client: imagen.Client, simulator: Simulator) -> None:
    """The ledger says what was billed, nothing is under way, and no key went
    where it must not go.
    """
    spending = await client.spending()
    assert spending.settled_usd == simulator.billed_usd
    assert spending.reserved_usd == spending.unknown_usd == 0
    assert not simulator.leaks
