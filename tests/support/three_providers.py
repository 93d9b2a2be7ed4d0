"""Three scripted providers, for tests of the router."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

import imagen
from imagen.providers import HttpRequest
from imagen.testing import InlineWorkers, ScriptedReply, ScriptedTransport
from tests.support.images import PNG
from tests.support.scripted_client import error_reply, virtual_time

DOWN = error_reply(503, {"error": "down"})


BUSY = error_reply(429, {"error": "busy"}, **{"retry-after": "20"})


BROKEN = error_reply(500, {"error": "broken"})


PRICES = {"left": "0.05", "right": "0.04", "third": "0.03"}


def image_reply(after_seconds: float = 1.0) -> ScriptedReply:
    return ScriptedReply(chunks=(PNG,), after_seconds=after_seconds)


def work(call: imagen.providers.Call) -> imagen.providers.Exchange:
    """One request, whose answer is the image."""
    response = yield HttpRequest(method="POST", url="draw")
    assert isinstance(response, imagen.providers.HttpResponse)
    match response.status:
        case 200:
            return imagen.providers.GeneratedImages(
                images=(imagen.providers.GeneratedImage(data=response.body),)
            )
        case 401:
            raise imagen.AuthenticationError("The key is wrong.")
        case 402:
            raise imagen.QuotaExceededError("No money is left.")
        case 429:
            seconds = float(response.headers.get("retry-after", "1"))
            raise imagen.RateLimitError("Too many requests.", retry_after_seconds=seconds)
        case 400:
            raise imagen.ContentFilterError("It is refused.")
        case 500:
            raise imagen.OutcomeUnknownError("It broke.")
    raise imagen.ProviderError("It is down.", retryable=True)


class Town:
    """Three providers with a model each, whose answers are scripts of their
    own.
    """

    def __init__(self, **answers: Callable[[int], ScriptedReply] | ScriptedReply) -> None:
        self._answers = answers
        self.transports: dict[str, ScriptedTransport] = {}

    def sent(self, name: str) -> int:
        return len(self.transports[name].requests) if name in self.transports else 0

    def transport(self, access: imagen.ProviderAccess) -> ScriptedTransport:
        name = access.provider.name
        answer = self._answers.get(name, image_reply())
        transport = ScriptedTransport(
            lambda request: answer(self.sent(name) - 1) if callable(answer) else answer
        )
        self.transports[name] = transport
        return transport


@asynccontextmanager
async def open_town(
    town: Town, home: Path, *, events: list[imagen.Event] | None = None, **settings: object
) -> AsyncIterator[imagen.Client]:
    providers = [
        imagen.providers.Provider(
            name=name,
            operations={"generate": work},
            base_url=f"https://{name}.example",
            key_required=False,
            models={f"{name}-1": {"provider": name, "price": {"usd_per_image": price}}},
        )
        for name, price in PRICES.items()
    ]
    loaded = imagen.load_settings(
        {"IMAGEN_HOME": str(home), "IMAGEN_DEFAULT_MODEL": "left-1"}, providers=providers
    )
    async with imagen.open_client(
        msgspec.structs.replace(loaded, **settings),
        transport=town.transport,
        workers=InlineWorkers(),
        clock=virtual_time,
        on_event=None if events is None else events.append,
    ) as client:
        yield client
