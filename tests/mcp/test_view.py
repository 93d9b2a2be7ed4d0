"""The view of images inside hosts with MCP Apps. `make conformance` opens it in
a browser.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from mcp import Client
from mcp.client.extension import advertise
from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID

from imagen_mcp.server import make_server
from tests.support.mcp_client import ERAS, connect, settings, shown, text_of

SKETCH = {"prompt": "a boat", "model": "sketch", "size": "64x64"}
TOOLS = {"view_batch", "view_image", "view_tools"}
URI = "ui://imagen/images.html"


@asynccontextmanager
async def connect_host(home: Path, mode: str = "auto") -> AsyncIterator[Client]:
    apps = advertise(EXTENSION_ID, {"mimeTypes": [APP_MIME_TYPE]})
    server = make_server(settings(home))
    with trio.fail_after(15):
        async with Client(server, mode=mode, extensions=[apps]) as client:
            yield client


@pytest.mark.parametrize("mode", ERAS)
async def test_only_hosts_that_show_views_hear_of_them(tmp_path: Path, mode: str) -> None:
    async with connect(tmp_path / "plain", mode=mode) as client:
        plain = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert URI not in {str(one.uri) for one in (await client.list_resources()).resources}
    async with connect_host(tmp_path / "host", mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert URI in {str(one.uri) for one in (await client.list_resources()).resources}
    assert tools.keys() - plain.keys() == TOOLS
    assert not any((tool.meta or {}).get("ui") for tool in plain.values())
    assert {name for name in TOOLS if tools[name].meta["ui"]["visibility"] == ["app"]} == TOOLS
    bound = {name for name, tool in tools.items() if (tool.meta or {}).get("ui")} - TOOLS
    assert {"generate_image", "start_image_batch", "search_images"} <= bound
    # Each pull would open another view.
    assert not {"get_next_image", "get_batch_status", "estimate_cost"} & bound


async def test_the_page_stands_alone(tmp_path: Path) -> None:
    async with connect_host(tmp_path) as client:
        (page,) = (await client.read_resource(URI)).contents
    assert page.mime_type == APP_MIME_TYPE
    assert page.meta["ui"]["csp"] == {"connectDomains": [], "resourceDomains": []}
    # A host allows nothing but the page itself.
    for outside in ("http:", "https:", 'src="', "@import", "localStorage", "blob:", "eval("):
        assert outside not in page.text


async def test_a_batch_is_followed_to_its_end(tmp_path: Path) -> None:
    async with connect_host(tmp_path) as client:
        begun = await client.call_tool("start_image_batch", {**SKETCH, "count": 3, "timeout": 0})
        session_id = begun.structured_content["session_id"]
        indexes, previews = [], []
        after = {}
        while True:
            result = await client.call_tool("view_batch", {"session_id": session_id, **after})
            state = result.structured_content
            if state["image"] is None:
                break
            indexes.append(state["image"]["index"])
            previews += shown(result)
            after = {"after": indexes[-1]}
            # The page shows words to its user, none to a model.
            assert text_of(result) == ""
    assert indexes == [0, 1, 2]
    assert len(previews) == 3
    assert (state["status"], state["pending_count"], state["cost"]) == ("completed", 0, "free")


async def test_an_image_is_seen_whole(tmp_path: Path) -> None:
    async with connect_host(tmp_path) as client:
        made = await client.call_tool("generate_image", SKETCH)
        image = made.structured_content["image"]
        small = await client.call_tool("view_image", {"image_id": image["id"]})
        whole = await client.call_tool("view_image", {"image_id": image["uri"], "full": True})
        missing = await client.call_tool("view_image", {"image_id": "0" * 32})
    assert shown(small)[0].mime_type == "image/jpeg"
    assert shown(whole)[0].mime_type == "image/png"
    assert missing.is_error


async def test_what_no_model_can_do_is_not_offered(tmp_path: Path) -> None:
    async with connect_host(tmp_path) as client:
        found = (await client.call_tool("view_tools", {})).structured_content
        listed = {tool.name for tool in (await client.list_tools()).tools}
    assert {*found["tools"]} == listed - TOOLS
    assert "enhance_image" not in found["tools"]
