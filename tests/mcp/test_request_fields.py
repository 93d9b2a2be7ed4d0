"""The tools take what a request takes, and what they take arrives in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.mcp_client import MODEL, Painter, connect, text_of

SKETCH = {"prompt": "a boat", "model": "sketch", "size": "64x64"}
FIELDS = {
    "aspect_ratio": "16:9",
    "resolution": "1K",
    "seed": 0,
    "negative_prompt": "people",
    "background": "opaque",
    "output_format": "jpeg",
}


async def test_every_field_of_a_generation_is_in_the_record(tmp_path: Path) -> None:
    async with connect(tmp_path) as client:
        arguments = {"prompt": "a boat", "model": "sketch", **FIELDS}
        made = await client.call_tool("generate_image", arguments)
        image = made.structured_content["image"]
        shown = await client.call_tool("show_image", {"image_id": image["id"]})
    asked = shown.structured_content["request"]
    for name, value in FIELDS.items():
        assert asked[name] == value, name
    assert image["width"] / image["height"] == pytest.approx(16 / 9, rel=0.02)


async def test_a_batch_an_estimate_and_an_edit_take_them_too(tmp_path: Path) -> None:
    async with connect(tmp_path, Painter()) as client:
        source = await client.call_tool("generate_image", SKETCH)
        lent = source.structured_content["image"]["id"]
        asked = {"prompt": "a boat", "model": MODEL, **FIELDS}
        for tool, arguments in (
            ("start_image_batch", {**asked, "count": 2}),
            ("estimate_cost", asked),
            ("edit_image", {**asked, "images": [lent]}),
        ):
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, text_of(result)
    assert any("seed" in change for change in result.structured_content["image"]["adjustments"])


async def test_references_reach_the_model(tmp_path: Path) -> None:
    async with connect(tmp_path) as client:
        source = await client.call_tool("generate_image", SKETCH)
        lent = {"references": [source.structured_content["image"]["id"]]}
        for tool in ("generate_image", "start_image_batch", "estimate_cost"):
            refused = await client.call_tool(tool, {**SKETCH, **lent})
            assert "sketch takes no references" in text_of(refused)
            none = await client.call_tool(tool, {**SKETCH, "references": []})
            assert not none.is_error


@pytest.mark.parametrize(
    ("size", "ratio"), [("16:9", 16 / 9), ("square", 1), ("banner", 3), ("2:3", 2 / 3)]
)
async def test_a_size_is_a_name_or_a_ratio_too(tmp_path: Path, size: str, ratio: float) -> None:
    async with connect(tmp_path) as client:
        made = await client.call_tool(
            "generate_image", {"prompt": "a boat", "model": "sketch", "size": size}
        )
    image = made.structured_content["image"]
    assert image["width"] / image["height"] == pytest.approx(ratio, rel=0.02)


async def test_the_names_of_sizes_are_told(tmp_path: Path) -> None:
    async with connect(tmp_path) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        refused = await client.call_tool("generate_image", {**SKETCH, "size": "huge"})
    said = tools["generate_image"].input_schema["properties"]["size"]["description"]
    known = text_of(refused).partition("one of ")[2].rstrip(".").split(", ")
    assert len(known) > 5
    assert all(name in said for name in (*known, "16:9"))


@pytest.mark.parametrize("nothing", ["", None])
async def test_an_optional_field_that_says_nothing_is_left_out(
    tmp_path: Path, nothing: str | None
) -> None:
    left_out = ("seed", "count", "timeout", "references", "max_cost_usd", "cache", "values")
    async with connect(tmp_path) as client:
        result = await client.call_tool(
            "start_image_batch", {**SKETCH, **dict.fromkeys(left_out, nothing)}
        )
    assert not result.is_error, text_of(result)
    assert result.structured_content["requested_count"] == 4
