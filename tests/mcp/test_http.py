"""The server over HTTP, on hypercorn's Trio worker."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
import trio
from mcp import Client
from mcp.types import PromptReference

from tests.support.mcp_client import ERAS, MODEL, open_shown
from tests.support.mcp_process import SERVER, process, read_url, silent_provider

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
    # The SDK's HTTP client leaves generators of its streams of events to the
    # garbage collector.
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
]


@pytest.mark.parametrize("mode", ERAS)
async def test_an_image_over_http_and_a_clean_end(tmp_path: Path, mode: str) -> None:
    arguments = {"prompt": "a lighthouse", "model": "sketch", "size": "128x128"}
    with trio.fail_after(20):
        async with process(tmp_path, [*SERVER, "--http", "127.0.0.1:0"]) as child:
            url = await read_url(child)
            async with Client(url, mode=mode) as client:
                result = await client.call_tool("generate_image", arguments)
                (content,) = (
                    await client.read_resource(result.structured_content["image"]["uri"])
                ).contents
                # Neither has a context in the SDK.
                (styles,) = (await client.read_resource("imagen://styles")).contents
                ref = PromptReference(name="use_style")
                completed = (
                    await client.complete(ref, {"name": "style", "value": "water"})
                ).completion.values
            begun = trio.current_time()
            child.send_signal(signal.SIGTERM)
            assert await child.wait() == 0
            errors = b"".join([chunk async for chunk in child.stderr])
    print(f"{mode}: {trio.current_time() - begun:.2f} s")
    assert not result.is_error
    assert open_shown(result).size == (128, 128)
    assert content.mime_type == "image/png"
    assert "watercolour" in styles.text
    assert completed == ["watercolour"]
    assert errors == b""


async def test_it_ends_in_three_seconds_with_images_and_a_stream_open(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with silent_provider() as (provider, wait_connections):
            more = {"OPENAI_BASE_URL": provider, "OPENAI_API_KEY": "k"}
            async with process(tmp_path, [*SERVER, "--http", "127.0.0.1:0"], more) as child:
                url = await read_url(child)

                async def ask_and_wait() -> None:
                    # The connection breaks with the server, which is what is
                    # tested here.
                    with pytest.raises(BaseException):  # noqa: B017, PT011
                        async with Client(url, mode="legacy") as client:
                            await client.call_tool(
                                "start_image_batch", {"prompt": "x", "model": MODEL, "count": 4}
                            )

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ask_and_wait)
                    await wait_connections(4)
                    begun = trio.current_time()
                    child.send_signal(signal.SIGINT)
                    assert await child.wait() == 0
                    seconds = trio.current_time() - begun
                    nursery.cancel_scope.cancel()
    print(f"SIGINT: {seconds:.2f} s")
    assert seconds < 3


async def test_other_host_names_are_refused(tmp_path: Path) -> None:
    import httpx2

    with trio.fail_after(20):
        async with process(tmp_path, [*SERVER, "--http", "127.0.0.1:0"]) as child:
            url = await read_url(child)
            async with httpx2.AsyncClient() as http:
                headers = {"host": "evil.example", "accept": "application/json, text/event-stream"}
                reply = await http.post(url, json={}, headers=headers)
    assert reply.status_code == 421
