"""The server over HTTP answers links to images beside what assistants ask,
where it has been told under which URL.
"""

from __future__ import annotations

import sys
from pathlib import Path

import httpx2
import pytest
import trio

import imagen
from tests.support.mcp_process import SERVER, process, read_url

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

SECRET = "a-secret-of-this-test"


@pytest.mark.parametrize(
    ("folder", "callbacks"),
    [
        ("/look", "/look/callbacks"),
        ("/a/b", "/look/callbacks"),
        ("", "/look/callbacks"),
        ("/look", "/look"),
        ("", ""),
    ],
)
async def test_links_are_followed_below_the_path_of_their_url(
    tmp_path: Path, folder: str, callbacks: str
) -> None:
    more = {
        "IMAGEN_SHARE_URL": f"https://atelier.example{folder}",
        "IMAGEN_SHARE_SECRET": SECRET,
        "IMAGEN_CALLBACK_URL": f"https://callbacks.example{callbacks}",
        "IMAGEN_CALLBACK_SECRET": SECRET,
        "BFL_API_KEY": "k",
    }
    settings = imagen.load_settings({"IMAGEN_HOME": str(tmp_path), **more})
    async with imagen.open_client(settings) as client:
        image = await client.generate("a boat", model="sketch", size="64x64")
        share = await client.shares.share(image)
    assert share.url == f"https://atelier.example{folder}/{share.token}"
    with trio.fail_after(20):
        async with (
            process(tmp_path, [*SERVER, "--http", "127.0.0.1:0"], more) as child,
            httpx2.AsyncClient() as http,
        ):
            url = (await read_url(child)).removesuffix("/mcp")
            # As a proxy passes it on.
            host = {"host": "atelier.example"}
            found = await http.get(f"{url}{folder}/{share.token}", headers=host)
            # The sketch engine writes the prompt into its files, and that stays
            # here.
            assert (found.status_code, found.headers["content-type"]) == (200, "image/png")
            assert b"a boat" in image.data
            assert b"a boat" not in found.content
            assert (
                await http.get(f"{url}{folder}/{share.token[::-1]}", headers=host)
            ).status_code == 404
            assert (await http.post(f"{url}{callbacks}/bfl", headers=host)).status_code == 401
            assert (await http.post(f"{url}/mcp", json={}, headers=host)).status_code == 421
            child.terminate()
            assert await child.wait() == 0
            said = b"".join([chunk async for chunk in child.stderr])
    assert not {word for word in (b"Traceback", share.token.encode()) if word in said}


async def test_without_such_a_url_there_is_nothing(tmp_path: Path) -> None:
    settings = imagen.load_settings({"IMAGEN_HOME": str(tmp_path), "IMAGEN_SHARE_SECRET": SECRET})
    async with imagen.open_client(settings) as client:
        share = await client.shares.share(
            await client.generate("a boat", model="sketch", size="64x64")
        )
    assert share.url is None
    more = {"IMAGEN_SHARE_SECRET": SECRET}
    with trio.fail_after(20):
        async with (
            process(tmp_path, [*SERVER, "--http", "127.0.0.1:0"], more) as child,
            httpx2.AsyncClient() as http,
        ):
            url = (await read_url(child)).removesuffix("/mcp")
            assert (await http.get(f"{url}/look/{share.token}")).status_code == 404


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://atelier.example", "must begin with https://"),
        ("https://a.example/?x=1", "leave out what begins with"),
    ],
)
def test_a_url_that_exposes_images_in_transit_is_refused(
    url: str, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(imagen.ConfigurationError, match=f"IMAGEN_SHARE_URL.*{sentence}"):
        imagen.load_settings({"IMAGEN_HOME": str(tmp_path), "IMAGEN_SHARE_URL": url})
