"""Clients of a simulator for the providers with OpenAI's wire format, and what
can be seen in the images.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

import imagen
from imagen import (
    AuthenticationError,
    ContentFilterError,
    InvalidRequestError,
    ModelNotFoundError,
)
from imagen._results.prices import cost_of
from imagen.providers import PROVIDERS
from imagen.testing.simulator import Simulator
from tests.support.drivers import RETRY
from tests.support.exchanges import (
    CATALOG,
    Walk,
)


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


async def books_balance(client: imagen.Client, simulator: Simulator) -> None:
    """The ledger says what was billed, nothing is under way, and no key went
    where it must not go.
    """
    spending = await client.spending()
    assert spending.settled_usd == simulator.billed_usd
    assert spending.reserved_usd == spending.unknown_usd == 0
    assert not simulator.leaks


RECORDED_ERRORS = {
    "edit: image_url is an SVG": (InvalidRequestError, "INVALID_PROMPT"),
    "edit: image_url answers 404": (InvalidRequestError, "INVALID_PROMPT"),
    "edit: multipart upload of a wrong file type": (InvalidRequestError, "INVALID_PROMPT"),
    "wrong API key": (AuthenticationError, "AUTHENTICATION"),
    "response_format sent to a GPT image model": (InvalidRequestError, "API_ERROR"),
    "prompt refused by moderation": (ContentFilterError, "CONTENT_FILTER"),
    "retired model": (ModelNotFoundError, "API_ERROR"),
    "size not supported by gpt-image-1": (InvalidRequestError, "API_ERROR"),
}


def ends_well(walked: Walk) -> None:
    """Images or an ImagenError: another exception comes out of here."""
    result, error = None, None
    try:
        result = walked.run()
    except imagen.ImagenError as caught:
        error = caught
    if result is not None:
        assert result.images
        assert all(
            isinstance(image, imagen.providers.WithheldImage | imagen.providers.LostImage)
            or isinstance(image.data, bytes)
            for image in result.images
        )
        assert (
            0
            <= cost_of(CATALOG.find("gpt-image-2"), imagen.Generate(prompt="a cat"), result).usd
            < 10**9
        )
    if error is not None:
        assert error.message
        assert error.billed in ("yes", "no", "unknown")
        assert error.retry_after_seconds is None or 0 <= error.retry_after_seconds < 1e12
        assert all(isinstance(value, str) for value in error.details.values())
