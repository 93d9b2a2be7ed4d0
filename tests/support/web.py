"""A page without a server or a browser: its application, called directly."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import httpx2
import trio

import imagen

__all__ = ["HOST", "ORIGIN", "PageCaller", "open_page_caller", "page_of", "settings_of", "sketch"]

HOST = "127.0.0.1:8700"
ORIGIN = f"http://{HOST}"


def sketch(prompt: str = "a harbour", **fields: object) -> dict[str, object]:
    """A request that costs nothing and is made in a moment."""
    return {
        "operation": "generate",
        "prompt": prompt,
        "model": "sketch",
        "size": "64x64",
        **fields,
    }


def settings_of(home: Path, text: str = "") -> imagen.Settings:
    """Settings of a home without keys, with an imagen.toml."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "imagen.toml").write_text(text, "utf-8")
    return imagen.load_settings({"IMAGEN_HOME": str(home)})


class PageCaller:
    """The page's own calls, or those of anything else, by their headers."""

    def __init__(self, http: httpx2.AsyncClient, client: imagen.Client, base: str) -> None:
        self.http = http
        self.client = client
        self.base = base

    async def get(self, path: str, **params: object) -> httpx2.Response:
        return await self.http.get(f"{self.base}/api/1/{path}", params=params)

    async def post(self, path: str, body: object = None, **more: object) -> httpx2.Response:
        return await self.http.post(f"{self.base}/api/1/{path}", json=body, **more)

    async def read(self, path: str, **params: object) -> dict:
        reply = await self.get(path, **params)
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def done(self, path: str, body: object = None) -> dict:
        reply = await self.post(path, body)
        assert reply.status_code in (200, 201), reply.text
        return reply.json()

    async def until(self, batch_id: str, is_so: Callable[[Mapping], bool]) -> dict:
        """Wait for a state of a batch."""
        with trio.fail_after(60):
            while not is_so(view := await self.read(f"batches/{batch_id}")):
                await trio.sleep(0.01)
        return view

    async def make(self, *requests: Mapping, **body: object) -> dict:
        """Make images, and return the batch when it is over."""
        started = await self.done("batches", {"requests": list(requests), **body})
        return await self.until(started["id"], lambda view: view["state"] != "running")


@asynccontextmanager
async def open_page_caller(
    home: Path | None = None,
    text: str = "",
    *,
    secret: str | None = None,
    headers: Mapping[str, str] | None = None,
    confirm: str | None = None,
) -> AsyncIterator[PageCaller]:
    """A page of this home, called as its own browser would."""
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_of(home or Path(folder), text)
        async with (
            imagen.open_client(settings) as client,
            page_of(client, secret=secret, headers=headers, confirm=confirm) as page,
        ):
            yield page


@asynccontextmanager
async def page_of(
    client: imagen.Client,
    *,
    secret: str | None = None,
    headers: Mapping[str, str] | None = None,
    confirm: str | None = None,
) -> AsyncIterator[PageCaller]:
    """The page of a client."""
    above = None if confirm is None else Decimal(confirm)
    async with (
        imagen.web.open_app(client, secret=secret, hosts=[HOST], confirm_above_usd=above) as app,
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app),
            base_url=ORIGIN,
            headers={"origin": ORIGIN} if headers is None else headers,
        ) as http,
    ):
        yield PageCaller(http, client, "" if secret is None else f"/{secret}")
