"""A provider without a network, and what the tests of the façade share."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from io import BytesIO
from pathlib import Path

import msgspec
import trio
from mcp import Client
from mcp.types import CallToolResult, ElicitResult, ImageContent
from PIL import Image as PillowImage

import imagen
from imagen_mcp.server import make_server

# The model whose provider the fake transport plays, and the two eras of the
# protocol.
MODEL = "gpt-image-2"
ERAS = ("auto", "legacy")


def png(
    width: int = 8, height: int = 8, *, noise: bool = True, mode: str = "RGB", kind: str = "PNG"
) -> bytes:
    """An image that no other call gives."""
    channels = len(mode)
    pixels = os.urandom(width * height * channels) if noise else bytes(width * height * channels)
    out = BytesIO()
    PillowImage.frombytes(mode, (width, height), pixels).save(out, kind)
    return out.getvalue()


class Painter:
    """Answers as OpenAI does. `pause` is awaited with the request's number
    before each answer.
    """

    def __init__(
        self,
        *,
        image: Callable[[], bytes] = png,
        refused: Mapping[int, tuple[int, str, str]] | None = None,
        gated: bool = False,
        pause: Callable[[int], float] = lambda number: 0.0,
    ) -> None:
        self.requests = 0
        self.answered = 0
        self._image = image
        self._refused = dict(refused or {})
        self._pause = pause
        self._gate = trio.Semaphore(0) if gated else None
        self._asked = trio.Event()

    def answer(self, count: int = 1) -> None:
        """Lets a gated painter answer so many requests."""
        assert self._gate is not None
        for _ in range(count):
            self._gate.release()

    async def wait_asked(self, count: int) -> None:
        while self.requests < count:
            await self._asked.wait()

    @asynccontextmanager
    async def open(self, request: imagen.providers.HttpRequest) -> AsyncIterator[_Reply]:
        number = self.requests
        self.requests += 1
        asked, self._asked = self._asked, trio.Event()
        asked.set()
        if self._gate is not None:
            await self._gate.acquire()
        await trio.sleep(self._pause(number))
        self.answered += 1
        if (refusal := self._refused.get(number)) is not None:
            status, code, message = refusal
            yield _Reply(
                status, {"error": {"code": code, "message": message}}, {"retry-after": "500"}
            )
        else:
            item = {
                "b64_json": base64.b64encode(self._image()).decode(),
                "revised_prompt": "A tall lighthouse.",
            }
            yield _Reply(200, {"data": [item]}, {})

    async def aclose(self) -> None:
        pass


class _Reply:
    def __init__(self, status: int, body: object, headers: dict[str, str]) -> None:
        self.status = status
        self.headers = {"content-type": "application/json", **headers}
        self._body = msgspec.json.encode(body)

    async def receive_some(self) -> bytes:
        body, self._body = self._body, b""
        return body


def settings(home: Path, **changes: object) -> imagen.Settings:
    loaded = imagen.load_settings(
        {"IMAGEN_HOME": str(home), "OPENAI_API_KEY": "k", "IMAGEN_SALVAGE_SECONDS": "2"}
    )
    return msgspec.structs.replace(loaded, **changes)


@asynccontextmanager
async def connect(
    home: Path,
    painter: Painter | None = None,
    *,
    mode: str = "auto",
    seconds: float = 15.0,
    user: Callable[..., Awaitable[ElicitResult]] | None = None,
    **changes: object,
) -> AsyncIterator[Client]:
    """A client of a server in memory, whose `user` answers questions. Nothing
    waits longer than `seconds`.
    """
    open_client = (
        imagen.open_client
        if painter is None
        else partial(imagen.open_client, transport=lambda _: painter)
    )
    server = make_server(settings(home, **changes), open_client=open_client)
    with trio.fail_after(seconds):
        async with Client(server, mode=mode, elicitation_callback=user) as client:
            yield client


def text_of(result: CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if block.type == "text")


def shown(result: CallToolResult) -> list[ImageContent]:
    return [block for block in result.content if isinstance(block, ImageContent)]


def open_shown(result: CallToolResult) -> PillowImage.Image:
    (block,) = shown(result)
    return PillowImage.open(BytesIO(base64.b64decode(block.data)))
