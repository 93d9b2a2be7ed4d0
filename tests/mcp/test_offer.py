"""The list of tools is short, and has what the user chose and models can serve."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import msgspec
import pytest
import trio
from mcp import Client

import imagen
from imagen_mcp._offer import GROUPS, Offer
from imagen_mcp.server import make_server
from tests.support.mcp_client import ERAS, connect, settings, text_of

# Tools have four characters per token (o200k); measured: 4.2.
CHARACTERS_PER_TOKEN = 4.1
MOST_TOKENS = 5_000
READS = {
    "get_next_image",
    "get_batch_status",
    "search_images",
    "show_image",
    "find_models",
    "estimate_cost",
}


def keys_of(*providers: str) -> dict[str, str]:
    """Keys of these providers, or of all."""
    return {
        variable: "k"
        for provider in imagen.providers.PROVIDERS.values()
        if not providers or provider.name in providers
        for variable in provider.key_variables
    }


async def listed(home: Path, keys: dict[str, str], **options: bool) -> dict[str, object]:
    loaded = imagen.load_settings({"IMAGEN_HOME": str(home), **keys})
    async with Client(make_server(loaded, **options)) as client:
        return {tool.name: tool for tool in (await client.list_tools()).tools}


@pytest.mark.parametrize("mode", ERAS)
async def test_the_list_of_all_tools_has_less_than_five_thousand_tokens(
    tmp_path: Path, mode: str
) -> None:
    loaded = imagen.load_settings({"IMAGEN_HOME": str(tmp_path), **keys_of()})
    async with Client(make_server(loaded), mode=mode) as client:
        listing = await client.list_tools()
    text = listing.model_dump_json(exclude_none=True, by_alias=True)
    assert "enhance_image" in text
    assert len(text) < MOST_TOKENS * CHARACTERS_PER_TOKEN


async def test_schemas_have_no_titles_and_no_null(tmp_path: Path) -> None:
    for tool in (await listed(tmp_path, keys_of())).values():
        for schema in (tool.input_schema, tool.output_schema):
            text = json.dumps(schema)
            assert '"title"' not in text
            assert "$defs" not in text
        assert "null" not in json.dumps(tool.input_schema)
        assert "\n" not in tool.description


@pytest.mark.parametrize(
    ("keys", "there", "missing"),
    [
        ({}, {"generate_image"}, {"edit_image", "enhance_image", "restyle_image"}),
        (
            keys_of("openai"),
            {"edit_image", "create_variations", "restyle_image"},
            {"enhance_image"},
        ),
        (keys_of("stability"), {"enhance_image", "edit_image"}, set()),
    ],
)
async def test_a_tool_that_no_model_serves_is_not_listed(
    tmp_path: Path, keys: dict[str, str], there: set[str], missing: set[str]
) -> None:
    names = set(await listed(tmp_path, keys))
    assert there <= names
    assert not missing & names


async def test_a_tool_that_is_not_listed_says_why_it_cannot_work(tmp_path: Path) -> None:
    loaded = imagen.load_settings({"IMAGEN_HOME": str(tmp_path)})
    async with Client(make_server(loaded)) as client:
        result = await client.call_tool("enhance_image", {"image": "https://example.com/a.png"})
    assert text_of(result).startswith("[CONFIGURATION] No model that can enhance is set up")


async def test_read_only_offers_nothing_that_spends_or_changes(tmp_path: Path) -> None:
    tools = await listed(tmp_path, keys_of(), read_only=True)
    assert set(tools) == READS
    assert all(tool.annotations.read_only_hint for tool in tools.values())
    loaded = imagen.load_settings({"IMAGEN_HOME": str(tmp_path)})
    async with Client(make_server(loaded, read_only=True)) as client:
        for tool, arguments in (
            ("generate_image", {"prompt": "x", "model": "sketch"}),
            ("start_image_batch", {"prompt": "x", "model": "sketch"}),
            ("organize_images", {"image_ids": ["0123"], "trash": True}),
            ("resume_batch", {"session_id": "x"}),
            ("cancel_batch", {"session_id": "x"}),
        ):
            result = await client.call_tool(tool, arguments)
            assert result.is_error
            assert "There is no tool" in text_of(result)
        assert (await client.list_prompts()).prompts == []
        assert "generate_image" not in (client.instructions or "")
        found = await client.call_tool("search_images", {})
    assert found.structured_content["images"] == []


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ("generate_image", {"generate_image"}),
        ("generate_image, search_images", {"generate_image", "search_images"}),
        ("library models", GROUPS["library"] | GROUPS["models"]),
        ("batch,show_image", GROUPS["batch"] | {"show_image"}),
    ],
)
async def test_the_user_chooses_tools_and_groups_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str, names: set[str]
) -> None:
    monkeypatch.setenv("IMAGEN_MCP_TOOLS", chosen)
    assert set(await listed(tmp_path, keys_of())) == names


async def test_read_only_holds_for_chosen_tools_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEN_MCP_TOOLS", "batch generate_image")
    assert set(await listed(tmp_path, {}, read_only=True)) == {"get_next_image", "get_batch_status"}


@pytest.mark.parametrize(
    ("chosen", "meant"), [("generate_images", "generate_image"), ("zz", "batch")]
)
def test_a_choice_of_no_tool_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str, meant: str
) -> None:
    monkeypatch.setenv("IMAGEN_MCP_TOOLS", chosen)
    with pytest.raises(imagen.ConfigurationError, match=meant):
        make_server(settings(tmp_path))


async def test_every_tool_is_in_a_group(tmp_path: Path) -> None:
    assert set(await listed(tmp_path, keys_of())) == frozenset().union(*GROUPS.values())


class Calendar:
    """The day, which a test turns."""

    def __init__(self, day: str) -> None:
        self.day = datetime.date.fromisoformat(day)

    def __call__(self) -> datetime.date:
        return self.day


def last_enhancer(home: Path) -> tuple[imagen.Settings, imagen.providers.Catalog]:
    """A catalog whose only model that enhances ends on 2027-01-01."""
    loaded = imagen.load_settings({"IMAGEN_HOME": str(home), **keys_of("openai")})
    catalog = loaded.load_catalog()
    ends = imagen.providers.Lifecycle(retires_on=datetime.date(2027, 1, 1))
    enhances = imagen.providers.Capabilities(operations=("enhance",))
    model = msgspec.structs.replace(
        catalog.find("gpt-image-2"), lifecycle=ends, capabilities=enhances
    )
    return loaded, imagen.providers.Catalog({model.id: model})


def test_a_tool_leaves_the_list_with_the_last_model_that_serves_it(tmp_path: Path) -> None:
    today = Calendar("2026-12-31")
    offer = Offer(*last_enhancer(tmp_path), ["enhance_image", "show_image"], today=today)
    assert offer.listed == {"enhance_image", "show_image"}
    today.day += datetime.timedelta(days=1)
    assert offer.listed == {"show_image"}


@pytest.mark.parametrize("mode", ERAS)
async def test_a_server_says_that_its_tools_may_change(tmp_path: Path, mode: str) -> None:
    async with connect(tmp_path, mode=mode) as client:
        capabilities = client.server_capabilities
    assert capabilities.tools is not None
    if mode == "auto":
        assert capabilities.tools.list_changed


@pytest.mark.parametrize("mode", ERAS)
async def test_a_call_after_the_list_has_changed_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    heard: list[str] = []

    async def hear(message: object) -> None:
        heard.append(getattr(message, "method", ""))

    offered = frozenset({"search_images", "show_image"})
    server = make_server(settings(tmp_path))
    with trio.fail_after(10):
        async with Client(server, mode=mode, message_handler=hear) as client:
            await client.call_tool("search_images", {})
            assert heard == []
            monkeypatch.setattr(Offer, "listed", offered)
            assert {tool.name for tool in (await client.list_tools()).tools} == offered
            await client.call_tool("search_images", {})
            await client.call_tool("search_images", {})
    assert heard == (["notifications/tools/list_changed"] if mode == "legacy" else [])


async def test_a_program_that_embeds_the_server_adds_tools_of_its_own(tmp_path: Path) -> None:
    async def add(a: int, b: int = 0) -> int:
        """Add."""
        return a + b

    server = make_server(settings(tmp_path), read_only=True)
    server.add_tool(add)
    with trio.fail_after(10):
        async with Client(server) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == {*READS, "add"}
            result = await client.call_tool("add", {"a": 2, "b": 3})
    assert result.structured_content == {"result": 5}
