"""Models are found by what they do and cost; lists of them stay bounded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mcp import Client, MCPError
from mcp.types import CallToolResult

import imagen
from imagen_mcp.server import make_server
from tests.support.mcp_client import ERAS, connect, text_of

# JSON about models has 3.5 characters per token (o200k).
CHARACTERS_PER_TOKEN = 3.0
MOST_TOKENS = 25_000


def all_keys() -> dict[str, str]:
    keys: dict[str, str] = {}
    for provider in imagen.providers.PROVIDERS.values():
        keys |= dict.fromkeys(provider.key_variables, "k")
    return keys


async def find(home: Path, keys: dict[str, str], **wish: object) -> CallToolResult:
    settings = imagen.load_settings({"IMAGEN_HOME": str(home), **keys})
    async with Client(make_server(settings)) as client:
        return await client.call_tool("find_models", wish)


@pytest.mark.parametrize(
    ("wish", "holds"),
    [
        ({"operation": "enhance"}, lambda row: "enhance" in row["operations"]),
        ({"provider": "fal"}, lambda row: row["provider"] == "fal"),
        ({"query": "FLUX"}, lambda row: "flux" in f"{row['id']} {row['description']}".lower()),
        ({"max_price_usd": 0.01}, lambda row: float(row["low_usd"]) <= 0.01),
        ({"with_key": True}, lambda row: row["key"] is None),
        (
            {"operation": "edit", "provider": "openai", "query": "gpt image"},
            lambda row: "gpt-image" in row["id"] and "edit" in row["operations"],
        ),
    ],
)
async def test_a_wish_is_kept_by_every_model(tmp_path: Path, wish, holds) -> None:
    reply = (await find(tmp_path, {"OPENAI_API_KEY": "k"}, **wish)).structured_content
    assert 0 < len(reply["models"]) <= 10
    assert all(holds(row) for row in reply["models"])


async def test_at_most_ten_are_shown_and_the_rest_is_counted(tmp_path: Path) -> None:
    result = await find(tmp_path, {})
    assert len(result.structured_content["models"]) == 10
    assert result.structured_content["more"] > 100
    assert len(text_of(result)) < 4000
    few = await find(tmp_path, {}, limit=3, provider="openai")
    assert len(few.structured_content["models"]) == 3
    too_many = await find(tmp_path, {}, limit=11)
    assert too_many.is_error


async def test_what_can_be_used_comes_first_and_the_rest_says_its_key(tmp_path: Path) -> None:
    rows = (
        await find(tmp_path, {"FAL_KEY": "k"}, query="gpt-image-2", operation="generate")
    ).structured_content["models"]
    assert rows[0]["id"] == "fal/gpt-image-2"
    assert rows[0]["key"] is None
    assert any(row["key"] == "OPENAI_API_KEY" for row in rows)


@pytest.mark.parametrize("wish", [{"query": "zzzzqqq"}, {"max_price_usd": 0, "provider": "openai"}])
async def test_nothing_that_fits_is_a_sentence(tmp_path: Path, wish: dict[str, object]) -> None:
    result = await find(tmp_path, {}, **wish)
    assert result.structured_content == {"models": [], "more": 0}
    assert text_of(result) == "No model fits: ask for less at once."


async def test_an_unknown_provider_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    result = await find(tmp_path, {}, provider="opneai")
    assert result.is_error
    assert "openai" in text_of(result)


async def test_words_that_match_only_in_part_still_find(tmp_path: Path) -> None:
    rows = (await find(tmp_path, {}, query="gpt image zzzz")).structured_content["models"]
    assert any("gpt-image" in row["id"] for row in rows)


@pytest.mark.parametrize("keys", [{}, {"OPENAI_API_KEY": "k"}, all_keys()])
async def test_the_lists_of_models_are_bounded_whatever_keys_are_set(
    tmp_path: Path, keys: dict[str, str]
) -> None:
    settings = imagen.load_settings({"IMAGEN_HOME": str(tmp_path), **keys})
    most = MOST_TOKENS * CHARACTERS_PER_TOKEN
    async with Client(make_server(settings)) as client:
        uris = [f"models://image-generation/{provider}" for provider in settings.access]
        for uri in ("models://image-generation", *uris):
            (content,) = (await client.read_resource(uri)).contents
            assert len(content.text) < most, uri
            models = json.loads(content.text)
            assert models or uri.endswith(("diffusers", "automatic1111", "comfyui")), uri
    assert len(keys) < 2 or len(keys) > 15


@pytest.mark.parametrize("mode", ERAS)
async def test_a_provider_is_listed_in_detail(tmp_path: Path, mode: str) -> None:
    async with connect(tmp_path, mode=mode) as client:
        (content,) = (await client.read_resource("models://image-generation/bfl")).contents
        with pytest.raises(MCPError, match="no provider 'nothing'") as caught:
            await client.read_resource("models://image-generation/nothing")
    models = json.loads(content.text)
    assert {model["provider"] for model in models} == {"bfl"}
    assert all("capabilities" in model for model in models)
    assert caught.value.error.code == -32602
