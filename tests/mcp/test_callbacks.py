"""The server over HTTP takes callbacks beside what assistants ask, where it has
been told under which URL.
"""

from __future__ import annotations

import sys
from pathlib import Path

import httpx2
import pytest
import trio

from imagen.testing.simulator._providers.bfl import server as bfl
from tests.support.mcp_process import SERVER, process, read_url

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

SECRET = "a-secret-of-this-test"


@pytest.mark.parametrize("folder", ["/callbacks", "/a/b", ""])
async def test_callbacks_come_in_below_the_path_of_their_url(tmp_path: Path, folder: str) -> None:
    more = {
        "IMAGEN_CALLBACK_URL": f"https://atelier.example{folder}",
        "IMAGEN_CALLBACK_SECRET": SECRET,
        "BFL_API_KEY": "k",
    }
    headers, body = bfl.sign_callback("j1", SECRET)
    # As a proxy passes it on.
    headers["host"] = "atelier.example"
    with trio.fail_after(20):
        async with (
            process(tmp_path, [*SERVER, "--http", "127.0.0.1:0"], more) as child,
            httpx2.AsyncClient() as http,
        ):
            url = (await read_url(child)).removesuffix("/mcp")
            assert (
                await http.post(f"{url}{folder}/bfl", headers=headers, content=body)
            ).status_code == 204
            forged = await http.post(f"{url}{folder}/bfl", headers=headers, content=body + b" ")
            assert (forged.status_code, forged.content) == (401, b"")
            assert (
                await http.post(f"{url}{folder}/unknown", headers=headers, content=body)
            ).status_code == 404
            # Assistants are refused under that name as ever.
            assert (
                await http.post(f"{url}/mcp", json={}, headers={"host": "atelier.example"})
            ).status_code == 421
            child.terminate()
            assert await child.wait() == 0
            said = b"".join([chunk async for chunk in child.stderr])
    # The SDK says which host it refused, and callbacks are not mentioned.
    assert not {word for word in (b"Traceback", b"j1", b"bfl", b"sha256") if word in said}


async def test_without_such_a_url_there_is_nothing(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with (
            process(tmp_path, [*SERVER, "--http", "127.0.0.1:0"]) as child,
            httpx2.AsyncClient() as http,
        ):
            url = (await read_url(child)).removesuffix("/mcp")
            assert (await http.post(f"{url}/callbacks/bfl")).status_code == 404
