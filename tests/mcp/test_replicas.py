"""Servers behind a load balancer: each request may reach another one, and all
see the same batches, images and answers.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import trio
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult

import imagen
from imagen_mcp._http import read_replica_key
from tests.support.mcp_client import ERAS, text_of
from tests.support.mcp_process import SERVER, process, read_url, silent_provider

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
]

KEY = "a key that all replicas have, as it happens"
SKETCH = {"prompt": "a lighthouse", "model": "sketch", "size": "64x64"}


class RoundRobin(httpx2.AsyncBaseTransport):
    """Load balancer that never sends two requests in a row to one server."""

    def __init__(self, urls: list[str]) -> None:
        self._ports = itertools.cycle([httpx2.URL(url).port for url in urls])
        self._inner = httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.url = request.url.copy_with(port=next(self._ports))
        request.headers["host"] = f"127.0.0.1:{request.url.port}"
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


@asynccontextmanager
async def open_client(home: Path, mode: str, **more: str) -> AsyncIterator[Client]:
    """A client of two replicas."""
    env = {"IMAGEN_MCP_REPLICA_KEY": KEY, **more}
    async with AsyncExitStack() as stack:
        children = [
            await stack.enter_async_context(process(home, [*SERVER, "--http", "127.0.0.1:0"], env))
            for _ in range(2)
        ]
        urls = [await read_url(child) for child in children]
        http = httpx2.AsyncClient(transport=RoundRobin(urls), timeout=20)
        transport = streamable_http_client(urls[0], http_client=await _enter(stack, http))
        client = Client(transport, mode=mode, elicitation_callback=_agree)
        yield await stack.enter_async_context(client)


async def _enter(stack: AsyncExitStack, http: httpx2.AsyncClient) -> httpx2.AsyncClient:
    return await stack.enter_async_context(http)


async def _agree(context: object, params: object) -> ElicitResult:
    return ElicitResult(action="accept", content={})


@pytest.mark.parametrize("mode", ERAS)
async def test_each_call_may_reach_another_replica(tmp_path: Path, mode: str) -> None:
    with trio.fail_after(40):
        async with open_client(tmp_path, mode) as client:
            started = await client.call_tool("start_image_batch", {**SKETCH, "count": 5})
            asked = {"session_id": started.structured_content["session_id"]}
            ids = {started.structured_content["image"]["id"]}
            after = started.structured_content["image"]["index"]
            while True:
                pulled = await client.call_tool("get_next_image", {**asked, "after": after})
                assert not pulled.is_error, text_of(pulled)
                if (image := pulled.structured_content["image"]) is None:
                    break
                ids.add(image["id"])
                after = image["index"]
            found = [await client.call_tool("search_images", {}) for _ in range(2)]
            listed = [await client.call_tool("get_batch_status", {}) for _ in range(2)]
            resource = await client.read_resource(f"imagen://images/{min(ids)}")
    assert len(ids) == 5
    for one in found:
        assert {image["id"] for image in one.structured_content["images"]} == ids
    for one in listed:
        (batch,) = one.structured_content["batches"]
        assert (batch["status"], batch["completed_count"]) == ("completed", 5)
    assert resource.contents


@pytest.mark.parametrize("mode", ERAS)
async def test_consent_and_cancelling_reach_whichever_replica(tmp_path: Path, mode: str) -> None:
    (tmp_path / "imagen.toml").write_text('confirm_above_usd = "0.001"\n')
    costly = {"prompt": "a boat", "model": "gpt-image-2", "count": 2, "timeout": 0}
    with trio.fail_after(40):
        async with silent_provider() as (url, _):
            more = {"OPENAI_API_KEY": "test-key", "OPENAI_BASE_URL": url}
            async with open_client(tmp_path, mode, **more) as client:
                started = await client.call_tool("start_image_batch", costly)
                if mode == "legacy":
                    # Where a server cannot ask back, the assistant does.
                    assert "confirm_cost=true" in text_of(started)
                    agreed = {**costly, "confirm_cost": True}
                    started = await client.call_tool("start_image_batch", agreed)
                assert not started.is_error, text_of(started)
                asked = {"session_id": started.structured_content["session_id"]}
                cancelled = await client.call_tool("cancel_batch", asked)
                assert not cancelled.is_error, text_of(cancelled)
                while True:
                    status = await client.call_tool("get_batch_status", asked)
                    if status.structured_content["status"] == "cancelled":
                        break
                    await trio.sleep(0.1)


def test_a_short_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEN_MCP_REPLICA_KEY", "short")
    with pytest.raises(imagen.ConfigurationError, match="openssl rand -hex 32") as raised:
        read_replica_key()
    assert "short'" not in str(raised.value)
