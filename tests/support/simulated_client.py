"""A client whose every provider is the simulator's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

import imagen
from imagen.providers import PROVIDERS
from imagen.testing.simulator import Simulator

RETRY = imagen.RetryPolicy(
    attempts=3, total_seconds=5.0, wait_initial_seconds=0.001, wait_max_seconds=0.002
)
POLL_SECONDS = 0.01


def simulated_settings(simulator: Simulator, home: Path) -> imagen.Settings:
    """Settings with a key and a base URL for every provider that has any, and
    polls that do not wait.
    """
    environ = {"IMAGEN_HOME": str(home)}
    for provider in PROVIDERS.values():
        if provider.base_url_variable is not None:
            environ[provider.base_url_variable] = simulator.base_url(provider.name)
        for variable in provider.key_variables[:1]:
            environ[variable] = simulator.key
    settings = imagen.load_settings(environ)
    quick = {
        name: msgspec.structs.replace(
            access,
            settings={
                **access.settings,
                **{
                    name: POLL_SECONDS
                    for name in ("poll_seconds", "economy_poll_seconds")
                    if name in access.settings
                },
                # No test may ask the real one for prices.
                **(
                    {"platform_url": f"{access.base_url}/v1"}
                    if "platform_url" in access.settings
                    else {}
                ),
            },
        )
        for name, access in settings.access.items()
    }
    return msgspec.structs.replace(settings, access=quick, retry=RETRY)


@asynccontextmanager
async def open_simulated(
    home: Path,
    simulator: Simulator,
    *,
    library: str | None = "home",
    on_event: imagen.EventHandler | None = None,
    **changes: object,
) -> AsyncIterator[imagen.Client]:
    settings = msgspec.structs.replace(simulated_settings(simulator, home), **changes)
    async with imagen.open_client(settings, library=library, on_event=on_event) as client:
        yield client
