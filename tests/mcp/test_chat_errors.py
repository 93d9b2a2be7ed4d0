"""Errors for a chat: no command of a shell, the providers of a model, cents."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from mcp import Client

import imagen
from imagen_mcp._results.chat_errors import sentence
from imagen_mcp._results.text import spoken
from imagen_mcp.server import make_server
from tests.support.mcp_client import text_of

COMMAND = re.compile(r"`imagen [^`]*`")


def commands_in_messages() -> list[str]:
    """Every command that a sentence of the library names."""
    found: set[str] = set()
    root = Path(imagen.__file__).parent
    for path in root.rglob("*.py"):
        if "cli" not in path.relative_to(root).parts:
            found.update(COMMAND.findall(path.read_text("utf-8")))
    return sorted(found)


def test_there_are_commands_to_look_for() -> None:
    assert "`imagen models`" in commands_in_messages()


@pytest.mark.parametrize("command", commands_in_messages())
def test_no_command_of_a_shell_reaches_a_chat(command: str) -> None:
    assert "`imagen" not in sentence(imagen.ConfigurationError(f"It is so: {command} shows it."))


def test_the_tool_stands_for_the_command() -> None:
    told = sentence(
        imagen.ConfigurationError(
            "No model that can edit is set up: `imagen models --operation edit` lists those that"
            " could be."
        )
    )
    assert told == (
        'No model that can edit is set up: find_models(operation="edit") lists those that could be.'
    )


async def ask(home: Path, tool: str, arguments: dict[str, object], **keys: str) -> str:
    settings = imagen.load_settings({"IMAGEN_HOME": str(home), **keys})
    async with Client(make_server(settings)) as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    return text_of(result)


@pytest.mark.parametrize("tool", ["generate_image", "start_image_batch", "estimate_cost"])
async def test_a_missing_key_names_every_provider_of_the_model(tmp_path: Path, tool: str) -> None:
    told = await ask(tmp_path, tool, {"prompt": "x", "model": "gpt-image-2"})
    for name in (
        *("OPENAI_API_KEY", "OPENROUTER_API_KEY", "FAL_KEY", "REPLICATE_API_TOKEN"),
        *("openrouter/gpt-image-2", "fal/gpt-image-2", "azure/gpt-image-2"),
    ):
        assert name in told, name
    assert "gpt-image-2.5" not in told


async def test_a_provider_that_shut_the_model_down_is_named_as_such(tmp_path: Path) -> None:
    told = await ask(tmp_path, "generate_image", {"prompt": "x", "model": "gpt-image-1"})
    assert "NEXOS_API_KEY" in told
    assert "openai (model openai/gpt-image-1; shut down on 2026-10-23; OPENAI_API_KEY)" in told


async def test_a_provider_with_a_key_is_pointed_out(tmp_path: Path) -> None:
    asked = {"prompt": "x", "model": "openai/gpt-image-2"}
    told = await ask(tmp_path, "generate_image", asked, FAL_KEY="k")
    assert "fal (model fal/gpt-image-2; has a key)" in told


async def test_the_default_model_without_a_key_is_told_alike(tmp_path: Path) -> None:
    settings = imagen.load_settings({"IMAGEN_HOME": str(tmp_path)})
    settings = msgspec.structs.replace(settings, default_model="gpt-image-2")
    async with Client(make_server(settings)) as client:
        result = await client.call_tool("generate_image", {"prompt": "x"})
    assert "OPENROUTER_API_KEY" in text_of(result)


async def test_an_operation_without_a_model_names_a_tool(tmp_path: Path) -> None:
    source = {"prompt": "x", "images": ["https://example.com/a.png"]}
    told = await ask(tmp_path, "edit_image", source)
    assert "find_models(operation" in told
    assert "`" not in told


@pytest.mark.parametrize(
    ("usd", "words"),
    [
        ("0.01", "1 cent"),
        ("0.053", "5.3 cents"),
        ("0.0000001", "0.01 cents"),
        ("0.5", "50 cents"),
        ("0.99999", "$1.00"),
        ("1", "$1.00"),
        ("1.001", "$1.01"),
        ("12.5", "$12.50"),
        ("0", "0 cents"),
    ],
)
def test_money_is_spoken_in_cents(usd: str, words: str) -> None:
    assert spoken(Decimal(usd)) == words
