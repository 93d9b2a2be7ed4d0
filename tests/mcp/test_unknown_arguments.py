"""Arguments that a tool does not have: refused by a sentence, and never dropped."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from mcp import Client, MCPError

from tests.support.mcp_client import ERAS, MODEL, Painter, connect, text_of

# What assistants say, and what each tool calls it.
SAID = [
    ("start_image_batch", "n", "count"),
    ("start_image_batch", "num_images", "count"),
    ("start_image_batch", "numberOfImages", "count"),
    ("start_image_batch", "batchSize", "count"),
    ("start_image_batch", "Prompt", "prompt"),
    ("generate_image", "n", "count"),
    ("generate_image", "max_cost", "max_cost_usd"),
    ("generate_image", "maxCostUsd", "max_cost_usd"),
    ("generate_image", "budget", "max_cost_usd"),
    ("generate_image", "width", "size"),
    ("generate_image", "image_size", "size"),
    ("generate_image", "engine", "model"),
    ("generate_image", "text", "prompt"),
    ("generate_image", "styles", "apply_styles"),
    ("generate_image", "mask", "mask"),
    ("get_next_image", "sessionId", "session_id"),
    ("get_next_image", "batch_id", "session_id"),
    ("get_next_image", "cursor", "after"),
    ("cancel_batch", "id", "session_id"),
    ("edit_image", "image", "images"),
    ("edit_image", "image_url", "images"),
    ("edit_image", "mask_image", "mask"),
    ("create_variations", "image_id", "image"),
    ("enhance_image", "upscale_factor", "scale"),
    ("restyle_image", "style_image", "reference"),
    ("search_images", "text", "query"),
    ("search_images", "max_results", "limit"),
    ("show_image", "id", "image_id"),
    ("show_image", "uri", "image_id"),
    ("organize_images", "tags", "add_tags"),
    ("organize_images", "delete", "trash"),
    ("organize_images", "album", "add_to_collection"),
    ("estimate_cost", "n", "count"),
]


async def known(client: Client) -> dict[str, list[str]]:
    return {
        tool.name: list(tool.input_schema["properties"])
        for tool in (await client.list_tools()).tools
    }


@pytest.mark.parametrize("mode", ERAS)
async def test_what_assistants_call_an_argument_leads_to_its_name(
    tmp_path: Path, mode: str
) -> None:
    painter = Painter()
    async with connect(tmp_path, painter, mode=mode) as client:
        for tool, said, meant in SAID:
            result = await client.call_tool(tool, {"prompt": "x", said: "1"})
            text = text_of(result)
            assert result.is_error
            assert text.startswith(f"[INVALID_REQUEST] {tool} has no "), text
            assert f"'{said}'" in text, text
            assert f"'{meant}'" in text, text
            assert "Nothing was made" in text, text
    assert painter.requests == 0


async def test_two_hundred_misspelt_arguments_make_nothing_and_name_what_was_meant(
    tmp_path: Path,
) -> None:
    painter = Painter()
    async with connect(tmp_path, painter, seconds=60) as client:
        names = await known(client)
        for tool, said, meant in misspellings(names, 200):
            arguments = {"prompt": "a boat", "model": MODEL, said: "1"}
            arguments = {key: arguments[key] for key in arguments if key in (*names[tool], said)}
            result = await client.call_tool(tool, arguments)
            assert result.is_error, (tool, said)
            assert f"'{meant}'" in text_of(result), (said, meant, text_of(result))
        found = await client.call_tool("search_images", {})
    assert painter.requests == 0
    assert found.structured_content["images"] == []


def misspellings(names: dict[str, list[str]], count: int) -> Iterator[tuple[str, str, str]]:
    """Tools with a misspelt argument, and the one that was meant."""
    dice = random.Random(16)
    made = 0
    while made < count:
        tool = dice.choice(list(names))
        meant = dice.choice(names[tool])
        said = misspell(meant, dice)
        if said in names[tool] or len(meant) < 4:
            continue
        made += 1
        yield tool, said, meant


def misspell(name: str, dice: random.Random) -> str:
    place = dice.randrange(1, len(name) - 1)
    match dice.randrange(6):
        case 0:
            return name[:place] + name[place + 1 :]
        case 1:
            return name[:place] + name[place] + name[place:]
        case 2:
            return name[:place] + name[place + 1] + name[place] + name[place + 2 :]
        case 3:
            return name[:place] + dice.choice(string.ascii_lowercase) + name[place + 1 :]
        case 4:
            first, *rest = name.split("_")
            return first + "".join(word.title() for word in rest) + ("" if rest else "s")
        case _:
            return name.upper()


async def test_every_schema_says_that_it_takes_no_other_arguments(tmp_path: Path) -> None:
    async with connect(tmp_path) as client:
        for tool in (await client.list_tools()).tools:
            assert tool.input_schema["additionalProperties"] is False


async def test_several_unknown_arguments_are_named_together(tmp_path: Path) -> None:
    async with connect(tmp_path) as client:
        result = await client.call_tool(
            "start_image_batch", {"prompt": "x", "n": 2, "width": 512, "\x1bodd": 1, "more": 1}
        )
    text = text_of(result)
    assert "has no 'n', 'width', ' odd' and 1 more; did you mean 'count' for 'n'," in text
    assert text.isprintable()


async def test_a_word_like_none_of_the_names_is_answered_with_the_names(tmp_path: Path) -> None:
    async with connect(tmp_path) as client:
        result = await client.call_tool("cancel_batch", {"session_id": "x", "zzzzqq": 1})
    assert "'zzzzqq'; it has session_id." in text_of(result)


async def test_arguments_of_the_host_pass_if_the_user_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # n8n adds these to each call.
    monkeypatch.setenv("IMAGEN_MCP_IGNORE_ARGUMENTS", "sessionId, action,chatInput toolCallId")
    added = {"sessionId": "1", "action": "sendMessage", "chatInput": "hi", "toolCallId": "c"}
    async with connect(tmp_path) as client:
        passed = await client.call_tool("search_images", {"query": "boat", **added})
        refused = await client.call_tool("search_images", {"text": "boat", **added})
        prompt = await client.get_prompt("explore_idea", {"idea": "a boat", "action": "go"})
    assert not passed.is_error
    assert "has no 'text'; did you mean 'query'?" in text_of(refused)
    assert "a boat" in prompt.messages[0].content.text


async def test_a_name_that_the_user_lets_pass_still_counts_where_the_tool_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEN_MCP_IGNORE_ARGUMENTS", "count")
    async with connect(tmp_path) as client:
        result = await client.call_tool(
            "estimate_cost", {"prompt": "x", "model": "sketch", "count": 7}
        )
    assert result.structured_content["count"] == 7


async def test_a_prompt_refuses_what_it_does_not_have(tmp_path: Path) -> None:
    async with connect(tmp_path) as client:
        with pytest.raises(MCPError, match=r"explore_idea has no 'n'; did you mean 'count'\?"):
            await client.get_prompt("explore_idea", {"idea": "a boat", "n": "3"})


async def test_a_misspelt_tool_is_answered_with_the_nearest_one(tmp_path: Path) -> None:
    async with connect(tmp_path) as client:
        near = await client.call_tool("generate_images", {"prompt": "x"})
        far = await client.call_tool("qqq", {})
    assert text_of(near) == (
        "[INVALID_REQUEST] There is no tool 'generate_images'; did you mean generate_image?"
    )
    assert text_of(far) == "[INVALID_REQUEST] There is no tool 'qqq'."
