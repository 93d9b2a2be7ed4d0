"""A provider for tests: OpenAI's wire format by script, with a bill of its own,
and clients that talk to it.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import msgspec
import pybase64
import trio

import imagen
from imagen.testing import InlineWorkers, ScriptedReply, ScriptedTransport
from tests.support.images import PNG

PRICE = Decimal("0.04")
MODEL = "test-model"
REFUSED = {
    "error": {"message": "No.", "type": "image_generation_user_error", "code": "moderation_blocked"}
}


def images_reply(
    count: int = 1, *, data: bytes = PNG, after_seconds: float = 0.0, **more: object
) -> ScriptedReply:
    """The answer to a generation."""
    items = [{"b64_json": pybase64.b64encode(data).decode()}] * count
    body = msgspec.json.encode({"created": 1, "data": items, **more})
    return ScriptedReply(
        chunks=(body,), headers={"content-type": "application/json"}, after_seconds=after_seconds
    )


def error_reply(status: int, body: object, **headers: str) -> ScriptedReply:
    """An answer that is no image."""
    return ScriptedReply(status=status, headers=headers, chunks=(msgspec.json.encode(body),))


class FakeProvider:
    """Answers generations at random, from a seed, and keeps its own account of
    what it bills.

    `faults` names what may happen beside an image: "refusal", "busy" (429),
    "down" (503), "broken" (500), "garbage", "refused" (no connection), "lost"
    and "cut" (the reply), and "foreign" (an image that is none).
    """

    def __init__(
        self, seed: int = 0, *, faults: tuple[str, ...] = (), max_seconds: float = 2.0
    ) -> None:
        self._random = random.Random(seed)
        self._choices = ("fine", "fine", *faults)
        self._max_seconds = max_seconds
        self.billed_usd = Decimal(0)
        self.lost_usd = Decimal(0)
        self.arrived = 0

    def __call__(self, request: imagen.providers.HttpRequest) -> ScriptedReply:
        count: int = msgspec.json.decode(request.body)["n"]
        chosen = self._random.choice(self._choices)
        seconds = self._random.random() * self._max_seconds
        if chosen != "refused":
            self.arrived += 1
        match chosen:
            case "refusal":
                return error_reply(400, REFUSED)
            case "busy":
                return error_reply(429, {"error": {"message": "Please try again in 2s."}})
            case "down":
                return error_reply(503, {"error": {"message": "overloaded"}})
            case "refused":
                return ScriptedReply(fault="refused")
        self.billed_usd += PRICE * count
        match chosen:
            case "fine":
                return images_reply(count, after_seconds=seconds)
            case "foreign":
                return images_reply(count, data=b"this is no image", after_seconds=seconds)
        # Billed, and the answer does not say so.
        self.lost_usd += PRICE * count
        match chosen:
            case "broken":
                return error_reply(500, {"error": {"message": "server_error"}})
            case "garbage":
                return ScriptedReply(chunks=(self._random.randbytes(50),), after_seconds=seconds)
            case "lost":
                return ScriptedReply(fault="lost", after_seconds=seconds)
            case "cut":
                return ScriptedReply(fault="cut", chunks=(b'{"data": [',), after_seconds=seconds)
        raise AssertionError(chosen)


ALL_FAULTS = ("refusal", "busy", "down", "broken", "garbage", "refused", "lost", "cut", "foreign")


def make_settings(home: Path, **changes: object) -> imagen.Settings:
    """Settings with an OpenAI key and one more model, which bills 0.04 an image
    and takes ten at once.
    """
    settings = imagen.load_settings({"IMAGEN_HOME": str(home), "OPENAI_API_KEY": "sk-test-secret"})
    model = {
        "provider": "openai",
        "price": {"usd_per_image": str(PRICE)},
        "capabilities": {"sizes": ["64x64"], "max_images_per_request": 10, "max_previews": 3},
    }
    return msgspec.structs.replace(
        settings, **{"models": {MODEL: model}, "default_model": MODEL, **changes}
    )


@asynccontextmanager
async def open_test_client(
    answer: Callable[[imagen.providers.HttpRequest], ScriptedReply],
    *,
    home: Path | None = None,
    library: Path | str | None = "home",
    on_event: imagen.EventHandler | None = None,
    confirm: imagen.Confirm | None = None,
    **settings: object,
) -> AsyncIterator[tuple[imagen.Client, ScriptedTransport]]:
    """A client under virtual time that talks to a script, with a home that is
    thrown away.
    """
    transport = ScriptedTransport(answer)
    with tempfile.TemporaryDirectory() as folder:
        async with imagen.open_client(
            make_settings(home or Path(folder), **settings),
            library=library,
            transport=lambda access: transport,
            workers=InlineWorkers(),
            on_event=on_event,
            clock=virtual_time,
            confirm=confirm,
        ) as client:
            yield client, transport
        assert transport.open_replies == 0
        assert transport.closed or not transport.requests


def virtual_time() -> float:
    """Unix time that goes with Trio's virtual clock, from a moment in November
    2027 on.
    """
    return 1_826_000_000 + trio.current_time()


def books_balance(spending: imagen.Spending, provider: FakeProvider) -> None:
    """Nothing is in flight, and the ledger says what the provider billed: to
    the cent where it could know.
    """
    assert spending.reserved_usd == 0
    assert spending.attempts.in_flight == 0
    assert spending.settled_usd == provider.billed_usd - provider.lost_usd
    assert spending.unknown_usd >= provider.lost_usd
