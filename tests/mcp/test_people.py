"""People with tokens over HTTP: each has a home of their own, and a stranger
none; health, spending limit, and connections that clients close.
"""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import trio
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

import imagen
from imagen_mcp.__main__ import main
from imagen_mcp._people import read_people
from tests.support.mcp_client import ERAS, text_of
from tests.support.mcp_process import SERVER, process, read_url

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
]

TOKENS = {name: f"{name}-has-a-token-of-her-own" for name in ("anna", "berta", "carla")}
FILE = f"""
[anna]
token = "{TOKENS["anna"]}"
usd_per_day = "5"
[berta]
token = "{TOKENS["berta"]}"
[carla]
token = "{TOKENS["carla"]}"
read_only = true
"""
SKETCH = {"prompt": "a secret lighthouse", "model": "sketch", "size": "64x64"}


@asynccontextmanager
async def serve(home: Path, **more: str) -> AsyncIterator[str]:
    """The URL of a server that lets these people in."""
    (home / "tokens.toml").write_text(FILE)
    env = {"IMAGEN_MCP_TOKENS": str(home / "tokens.toml"), **more}
    async with process(home, [*SERVER, "--http", "127.0.0.1:0"], env) as child:
        yield await read_url(child)


@asynccontextmanager
async def client_of(url: str, name: str, mode: str = "auto") -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {TOKENS[name]}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=20) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


@pytest.mark.parametrize("mode", ERAS)
async def test_nobody_sees_anything_of_another(tmp_path: Path, mode: str) -> None:
    with trio.fail_after(40):
        async with (
            serve(tmp_path) as url,
            client_of(url, "anna", mode) as anna,
            client_of(url, "berta", mode) as berta,
        ):
            made = await anna.call_tool("start_image_batch", {**SKETCH, "count": 2})
            session_id = made.structured_content["session_id"]
            image = made.structured_content["image"]
            await anna.call_tool(
                "organize_images", {"image_ids": [image["id"]], "add_to_collection": "mine"}
            )
            for tool, key in (("search_images", "images"), ("get_batch_status", "batches")):
                own = await anna.call_tool(tool, {})
                foreign = await berta.call_tool(tool, {})
                assert own.structured_content[key]
                assert foreign.structured_content[key] == []
            for tool, arguments in (
                *(
                    (name, {"session_id": session_id})
                    for name in ("get_next_image", "cancel_batch")
                ),
                ("resume_batch", {"session_id": session_id}),
                *(
                    ("show_image", {"image_id": name})
                    for name in (image["id"], image["uri"], image["path"], image["id"][:8])
                ),
                ("edit_image", {"prompt": "x", "images": [image["path"]], "model": "sketch"}),
            ):
                result = await berta.call_tool(tool, arguments)
                assert result.is_error, (tool, arguments)
                assert "secret" not in text_of(result)
            with pytest.raises(MCPError):
                await berta.read_resource(image["uri"])
            (collections,) = (await berta.read_resource("imagen://collections")).contents
            assert "mine" not in collections.text
            assert Path(image["path"]).is_relative_to(tmp_path / "people" / "anna")


async def test_a_person_who_may_only_read_cannot_spend(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with serve(tmp_path) as url, client_of(url, "carla") as carla:
            names = {tool.name for tool in (await carla.list_tools()).tools}
            refused = await carla.call_tool("generate_image", SKETCH)
            found = await carla.call_tool("search_images", {})
    assert "search_images" in names
    assert not {"generate_image", "organize_images", "cancel_batch"} & names
    assert "There is no tool 'generate_image'" in text_of(refused)
    assert found.structured_content["images"] == []


@pytest.mark.parametrize(
    "authorization",
    [None, "Bearer wrong", "Bearer x y", f"Basic {TOKENS['anna']}", f"Bearer {TOKENS['anna']}x"],
)
async def test_a_stranger_is_told_where_tokens_come_from(
    tmp_path: Path, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    more = {
        "IMAGEN_MCP_URL": "https://images.example.com/mcp",
        "IMAGEN_MCP_ISSUER": "https://login.example.com",
    }
    with trio.fail_after(20):
        async with serve(tmp_path, **more) as url, httpx2.AsyncClient(headers=headers) as http:
            refused = await http.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
            base = url.removesuffix("/mcp")
            metadata = await http.get(f"{base}/.well-known/oauth-protected-resource/mcp")
            health = await http.get(f"{base}/health")
    assert refused.status_code == 401
    link = "https://images.example.com/.well-known/oauth-protected-resource/mcp"
    assert f'resource_metadata="{link}"' in refused.headers["www-authenticate"]
    assert metadata.json()["authorization_servers"] == ["https://login.example.com"]
    assert metadata.json()["resource"] == "https://images.example.com/mcp"
    # A monitor has no token.
    assert (health.status_code, health.json()["status"]) == (200, "ok")


async def test_a_session_of_one_is_not_that_of_another(tmp_path: Path) -> None:
    info = {"name": "test", "version": "0"}
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
    headers = {"accept": "application/json, text/event-stream"}
    with trio.fail_after(20):
        async with serve(tmp_path) as url, httpx2.AsyncClient(headers=headers) as http:
            anna, berta = (
                {"authorization": f"Bearer {TOKENS[name]}"} for name in ("anna", "berta")
            )
            rpc = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
            greeted = await http.post(url, json=rpc, headers=anna)
            session = {"mcp-session-id": greeted.headers["mcp-session-id"]}
            call = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}
            own = await http.post(url, json=call, headers={**anna, **session})
            foreign = await http.post(url, json=call, headers={**berta, **session})
    assert own.status_code == 200
    assert foreign.status_code == 404


async def test_no_name_of_an_image_opens_a_file(tmp_path: Path) -> None:
    (tmp_path / "facade").write_text("a file")
    (tmp_path / "people").mkdir()
    dice = random.Random(3)
    roots = ("facade", "tokens.toml", str(tmp_path / "tokens.toml"), "people/anna/imagen.sqlite3")
    twists = ("", "./", "../", "//", "file://", "imagen://images/", "..%2f", "\x00", " ", "~/")
    with trio.fail_after(40):
        async with serve(tmp_path) as url, client_of(url, "berta") as berta:
            for _ in range(60):
                name = dice.choice(twists) + dice.choice(twists) + dice.choice(roots)
                for tool, arguments in (
                    ("show_image", {"image_id": name}),
                    ("edit_image", {"prompt": "x", "images": [name], "model": "sketch"}),
                ):
                    result = await berta.call_tool(tool, arguments)
                    assert result.is_error, name
                    text = text_of(result)
                    assert text.startswith("[INVALID_REQUEST]"), text
                    assert "token of her own" not in text


# --- without people -----------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"OPENAI_API_KEY": "k"}])
async def test_a_server_that_may_spend_without_limit_says_so(
    tmp_path: Path, more: dict[str, str]
) -> None:
    with trio.fail_after(20):
        async with process(tmp_path, [*SERVER, "--http", "127.0.0.1:0"], more) as child:
            said = b""
            while b"listens" not in said:
                said += await child.stderr.receive_some()
    assert (b"no spending limit" in said) == bool(more)


async def test_a_limit_is_no_reason_to_warn(tmp_path: Path) -> None:
    (tmp_path / "imagen.toml").write_text('[[budgets]]\nper = "day"\nusd = "5"\n')
    with trio.fail_after(20):
        more = {"OPENAI_API_KEY": "k"}
        async with process(tmp_path, [*SERVER, "--http", "127.0.0.1:0"], more) as child:
            said = b""
            while b"listens" not in said:
                said += await child.stderr.receive_some()
    assert b"no spending limit" not in said


async def test_a_client_that_closes_its_connection_sees_it_closed(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with process(tmp_path, [*SERVER, "--http", "127.0.0.1:0"]) as child:
            port = int((await read_url(child)).rpartition(":")[2].partition("/")[0])
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(
                b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
            )
            async with stream:
                with trio.fail_after(5):
                    reply = b"".join([chunk async for chunk in stream])
    assert reply.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in reply.lower()


# --- the file of tokens -------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no person"),
        ("anna = 3", "anna|object"),
        ('[anna]\ntoken = "short"', "fewer than 16"),
        ('["../anna"]\ntoken = "0123456789abcdef"', "is no name"),
        ('[Anna]\ntoken = "0123456789abcdef"', "is no name"),
        ('[anna]\ntoken = "0123456789abcdef"\nadmin = true', "admin"),
        ('[anna]\ntoken = "0123456789abcdef"\nusd_per_day = "-1"', "no amount"),
        ('[a]\ntoken = "0123456789abcdef"\n[b]\ntoken = "0123456789abcdef"', "the same token"),
        ("[anna", "IMAGEN_MCP_TOKENS"),
    ],
)
def test_a_wrong_file_is_refused_and_shows_no_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(text)
    monkeypatch.setenv("IMAGEN_MCP_TOKENS", str(file))
    with pytest.raises(imagen.ConfigurationError, match=says) as caught:
        read_people()
    assert "0123456789abcdef" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEN_MCP_TOKENS", str(tmp_path / "nothing"))
    with pytest.raises(imagen.ConfigurationError, match="No such file"):
        read_people()


def test_other_addresses_need_tokens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("IMAGEN_MCP_TOKENS", raising=False)
    with pytest.raises(SystemExit):
        main(["--http", "0.0.0.0:0"])
    assert "IMAGEN_MCP_TOKENS" in capsys.readouterr().err
