"""An assistant gets a drawing of an SVG, or the reason, and a link to the file."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import cast

import imagen
from imagen_mcp._results.images import image_blocks
from tests.mcp.test_tools import PAID, call
from tests.metadata.test_saving import make_image
from tests.support.mcp_client import Painter, connect, open_shown, text_of
from tests.support.svg import PLAIN, SCRIPT, needs_renderer, no_renderer

__all__ = ["no_renderer"]


@needs_renderer
async def test_a_drawing_and_a_link_come(tmp_path: Path) -> None:
    async with connect(tmp_path, Painter(image=lambda: SCRIPT)) as client:
        result = await call(client, "generate_image", **PAID, full=True)
        uri = result.structured_content["image"]["uri"]
        (content,) = (await client.read_resource(uri)).contents
    assert [block.type for block in result.content] == ["text", "image", "resource_link"]
    assert open_shown(result).size == (384, 768)
    assert "a drawing of the SVG" in text_of(result)
    assert result.content[2].mime_type == content.mime_type == "image/svg+xml"
    assert base64.b64decode(content.blob) == SCRIPT


async def test_without_the_extra_the_text_names_it(tmp_path: Path, no_renderer: None) -> None:
    async with connect(tmp_path, Painter(image=lambda: PLAIN)) as client:
        result = await call(client, "generate_image", **PAID)
        uri = result.structured_content["image"]["uri"]
        (small,) = (await client.read_resource(f"{uri}/thumbnail")).contents
    assert not result.is_error
    assert [block.type for block in result.content] == ["text", "resource_link"]
    assert 'pip install "imagen-trio[svg]"' in text_of(result)
    assert small.mime_type == "image/webp"


async def test_an_svg_without_a_file_is_in_the_result_as_text(no_renderer: None) -> None:
    image = make_image(PLAIN, media_type="image/svg+xml", storage_error="The disk is full.")
    blocks = await image_blocks(cast(imagen.Client, None), image, full=False)
    (block,) = blocks.content
    assert block.type == "resource"
    assert (block.resource.mime_type, block.resource.text) == ("image/svg+xml", PLAIN.decode())
