"""The tools that work on an image, and which images an assistant may name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from mcp.client import Client
from mcp.types import CallToolResult

import imagen
from imagen_mcp.server import make_server
from tests.support.custom_provider import Atelier
from tests.support.images import PNG
from tests.support.mcp_client import text_of


@asynccontextmanager
async def serve(home: Path, atelier: Atelier, *, local_files: bool = True) -> AsyncIterator[Client]:
    environ = {"IMAGEN_HOME": str(home), "IMAGEN_DEFAULT_MODEL": "atelier-1"}
    settings = imagen.load_settings(environ, providers=[atelier.provider()])
    with trio.fail_after(15):
        async with Client(make_server(settings, local_files=local_files)) as client:
            yield client


async def call(client: Client, tool: str, /, **arguments: object) -> CallToolResult:
    return await client.call_tool(tool, arguments)


async def test_each_operation_is_a_tool(tmp_path: Path):
    image = tmp_path / "a.png"
    image.write_bytes(PNG)
    atelier = Atelier()
    async with serve(tmp_path / "home", atelier) as client:
        first = await call(client, "generate_image", prompt="a cat")
        parent = first.structured_content["image"]["id"]
        edited = await call(client, "edit_image", prompt="a dog", images=[parent, str(image)])
        varied = await call(client, "create_variations", image=parent, count=2, strength=0.4)
        enhanced = await call(client, "enhance_image", image=parent, scale=2, mode="fast")
        restyled = await call(client, "restyle_image", image=parent, reference=str(image))
    for result in (edited, varied, enhanced, restyled):
        assert not result.is_error, text_of(result)
        assert result.structured_content["image"]["parent_id"] == parent
        assert result.content[1].type == "image"
    assert varied.structured_content["requested_count"] == 2
    kinds = [type(one.request).__name__ for one in atelier.calls]
    assert kinds[:2] == ["Generate", "Edit"]
    assert kinds.count("Vary") == 2
    assert kinds[-2:] == ["Enhance", "Restyle"]


async def test_a_named_model_without_the_operation_does_it_by_an_edit_and_says_so(tmp_path: Path):
    image = tmp_path / "a.png"
    image.write_bytes(PNG)
    async with serve(tmp_path / "home", Atelier()) as client:
        result = await call(
            client, "create_variations", image=str(image), count=1, model="atelier-editor"
        )
    assert "operation 'vary' was sent as edit" in text_of(result)
    assert len(result.structured_content["image"]["adjustments"]) == 1


@pytest.mark.parametrize("named", ["/etc/hostname", "a.png", "../secret.png", "file:///etc/passwd"])
async def test_callers_from_elsewhere_may_name_no_file(tmp_path: Path, named: str):
    (tmp_path / "a.png").write_bytes(PNG)
    atelier = Atelier()
    async with serve(tmp_path / "home", atelier, local_files=False) as client:
        made = await call(client, "generate_image", prompt="a cat")
        refused = await call(client, "enhance_image", image=named)
        fine = await call(client, "enhance_image", image=made.structured_content["image"]["id"])
    assert refused.is_error
    assert "opens no files" in text_of(refused)
    assert not fine.is_error


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        ("nothing.png", "no file 'nothing.png'"),
        ("https://10.0.0.1/a.png", "not a public address"),
        ("", "is an empty text"),
    ],
)
async def test_an_image_that_is_not_there_is_a_sentence(tmp_path: Path, image: str, sentence: str):
    atelier = Atelier()
    async with serve(tmp_path / "home", atelier) as client:
        result = await call(client, "enhance_image", image=image)
    assert result.is_error
    assert sentence in text_of(result)
    assert not atelier.calls
