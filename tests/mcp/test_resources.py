"""What hosts read beside calling tools: resources, prompts, completions; and
how much all of it weighs.
"""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import pytest
from mcp import Client, MCPError
from mcp.types import PromptReference, ResourceTemplateReference
from PIL import Image as PillowImage

import imagen
from tests.support.mcp_client import ERAS, connect, settings

SMALL = {"prompt": "a lighthouse", "model": "sketch", "size": "600x300"}
COLLECTION = ResourceTemplateReference(uri="imagen://collections/{+name}")
# Half of what the tools weighed before they knew the library.
WEIGHT = 20_500


async def make(client: Client, **arguments: object) -> str:
    result = await client.call_tool("generate_image", {**SMALL, **arguments})
    return result.structured_content["image"]["id"]


async def read(client: Client, uri: str) -> dict[str, object]:
    (content,) = (await client.read_resource(uri)).contents
    assert content.mime_type == "application/json"
    # It is read into a conversation.
    assert len(content.text) < 60_000
    return json.loads(content.text)


async def ask(client: Client, prompt: str, /, **arguments: str) -> str:
    (message,) = (await client.get_prompt(prompt, arguments)).messages
    assert message.role == "user"
    return message.content.text


async def complete(
    client: Client, ref: PromptReference | ResourceTemplateReference, name: str, value: str
) -> list[str]:
    return (await client.complete(ref, {"name": name, "value": value})).completion.values


# --- resources ----------------------------------------------------------------


@pytest.mark.parametrize("mode", ERAS)
async def test_a_thumbnail_is_a_small_webp(tmp_path: Path, mode: str) -> None:
    async with connect(tmp_path, mode=mode) as client:
        image = await make(client)
        (content,) = (await client.read_resource(f"imagen://images/{image}/thumbnail")).contents
        with pytest.raises(MCPError, match="There is no image 'ffff' in the library"):
            await client.read_resource("imagen://images/ffff/thumbnail")
    assert content.mime_type == "image/webp"
    small = PillowImage.open(BytesIO(base64.b64decode(content.blob)))
    assert (small.format, small.size) == ("WEBP", (512, 256))


@pytest.mark.parametrize("mode", ERAS)
async def test_collections_are_listed_and_read_in_their_order(tmp_path: Path, mode: str) -> None:
    name = 'tríps/"Rome" & <b>?#%'
    async with connect(tmp_path, mode=mode) as client:
        first, second = await make(client), await make(client)
        put = {"image_ids": [second, first], "add_to_collection": name}
        assert not (await client.call_tool("organize_images", put)).is_error
        listed = (await read(client, "imagen://collections"))["collections"]
        inner = await read(client, listed[1]["uri"])
        outer = await read(client, "imagen://collections/" + quote("tríps", safe=""))
    assert [(one["name"], one["images"]) for one in listed] == [("tríps", 0), (name, 2)]
    assert [image["id"] for image in inner["images"]] == [second, first]
    assert (inner["name"], inner["more"]) == (name, False)
    assert outer["images"] == []


async def test_lists_that_go_on_for_ever_are_cut_and_say_so(tmp_path: Path) -> None:
    long = "long words " * 9000
    async with imagen.open_client(settings(tmp_path)) as client:
        for number in range(110):
            await client.library.collections.create(f"{number:03} {'x' * 90}", notes=long)
        for number in range(105):
            await client.prompts.save(
                f"{number:03}", long, tags=[f"{'tag' * 20}{one}" for one in range(15)]
            )
        (tmp_path / "styles.toml").write_text(
            "".join(
                f'[style-{number}]\ndescription = "{long[:1000]}"\nprefix = "x"\n'
                for number in range(220)
            )
        )
    async with connect(tmp_path) as client:
        collections = await read(client, "imagen://collections")
        prompts = await read(client, "imagen://prompts")
        styles = await read(client, "imagen://styles")
    for found, what, most in (
        (collections, "collections", 100),
        (prompts, "prompts", 100),
        (styles, "styles", 200),
    ):
        assert len(found[what]) == most
        assert found["more"] is True


async def test_styles_and_prompts_of_the_user_are_listed(tmp_path: Path) -> None:
    (tmp_path / "styles.toml").write_text(
        '[brand]\ndescription = "How we look"\nsuffix = "in teal"\n'
    )
    async with imagen.open_client(settings(tmp_path)) as client:
        await client.prompts.save(
            "harbour", "a {{weather}} harbour", tags=["sea"], styles=["brand"]
        )
    async with connect(tmp_path) as client:
        styles = (await read(client, "imagen://styles"))["styles"]
        prompts = await read(client, "imagen://prompts")
    assert {"name": "brand", "description": "How we look"} in styles
    assert "watercolour" in [style["name"] for style in styles]
    assert prompts == {
        "prompts": [
            {
                "name": "harbour",
                "text": "a {{weather}} harbour",
                "tags": ["sea"],
                "styles": ["brand"],
            }
        ],
        "more": False,
    }


async def test_a_broken_file_of_styles_is_told(tmp_path: Path) -> None:
    (tmp_path / "styles.toml").write_text("[brand]\nsufix = 1\n")
    async with connect(tmp_path) as client:
        with pytest.raises(MCPError, match=r"\[CONFIGURATION\] .*brand"):
            await client.read_resource("imagen://styles")


# --- prompts ------------------------------------------------------------------


@pytest.mark.parametrize("mode", ERAS)
async def test_prompts_lead_from_a_wish_to_the_tools(tmp_path: Path, mode: str) -> None:
    async with imagen.open_client(settings(tmp_path)) as client:
        await client.prompts.save("harbour", "a {{weather=sunny}} harbour in {{place}}")
    async with connect(tmp_path, mode=mode) as client:
        listed = {prompt.name: prompt for prompt in (await client.list_prompts()).prompts}
        image = await make(client)
        kept = await ask(client, "use_prompt", name="harbour", wishes="in Rome")
        styled = await ask(client, "use_style", style="oil", image="a boat")
        explored = await ask(client, "explore_idea", idea="boats", count="6")
        refined = await ask(client, "refine_image", image_id=image, wish="a red sail")
        tools = {tool.name for tool in (await client.list_tools()).tools}
    assert set(listed) == {"use_prompt", "use_style", "explore_idea", "refine_image"}
    for prompt in listed.values():
        assert prompt.title
        assert prompt.description
        assert all(argument.description for argument in prompt.arguments)
    assert 'prompt="@harbour"' in kept
    assert "weather, place" in kept
    assert "Heed this: in Rome" in kept
    assert "apply_styles=['oil']" in styled
    assert "estimate_cost" in explored
    assert (
        explored.index("agree")
        < explored.index("start_image_batch")
        < explored.index("get_next_image")
    )
    assert f'show_image(image_id="{image}")' in refined
    # What they name are tools that there are.
    for word in (
        " ".join([kept, styled, explored, refined]).replace("(", " ").replace(",", " ").split()
    ):
        if word.rstrip(".").endswith(("_image", "_images", "_batch", "_cost", "_variations")):
            assert word.rstrip(".") in tools


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("use_prompt", {"name": "none"}, "There is no prompt 'none'; there is none yet"),
        ("use_prompt", {"name": "\x1b[31m"}, "Invalid prompt name"),
        ("use_prompt", {}, "Missing required arguments"),
        ("use_style", {"style": "none", "image": "x"}, "There is no style 'none'; there are"),
        ("use_style", {"style": "", "image": "x"}, "There is no style ''"),
        ("refine_image", {"image_id": "../../x", "wish": "x"}, "There is no image '../../x'"),
        (
            "explore_idea",
            {"idea": "x" * 100_000},
            "idea: String should have at most 10000 characters",
        ),
        ("none\x1b", {}, "Unknown prompt: none "),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
async def test_what_is_wrong_with_a_prompt_is_said_in_a_sentence(
    tmp_path: Path, name: str, arguments: dict[str, str], says: str
) -> None:
    async with connect(tmp_path) as client:
        with pytest.raises(MCPError) as caught:
            await client.get_prompt(name, arguments)
    message = caught.value.error.message
    assert message.startswith("[INVALID_REQUEST] ")
    assert says in message
    assert len(message) < 600


# --- completion ---------------------------------------------------------------


@pytest.mark.parametrize("mode", ERAS)
async def test_names_are_completed_those_that_begin_so_first(tmp_path: Path, mode: str) -> None:
    async with imagen.open_client(settings(tmp_path)) as client:
        for name in ("a harbour", "harbour", "cars"):
            await client.prompts.save(name, "x")
        await client.library.collections.create("trips/rome")
    async with connect(tmp_path, mode=mode) as client:
        image = await make(client)
        assert await complete(client, PromptReference(name="use_prompt"), "name", "HAR") == [
            "harbour",
            "a harbour",
        ]
        assert await complete(client, PromptReference(name="use_style"), "style", "water") == [
            "watercolour"
        ]
        assert await complete(client, COLLECTION, "name", "rom") == ["trips/rome"]
        assert await complete(
            client, PromptReference(name="refine_image"), "image_id", image[:3]
        ) == [image]
        assert await complete(client, PromptReference(name="explore_idea"), "idea", "") == []
        assert await complete(client, PromptReference(name="none"), "name", "x" * 100_000) == []


async def test_no_more_is_completed_than_the_protocol_allows(tmp_path: Path) -> None:
    async with imagen.open_client(settings(tmp_path)) as client:
        for number in range(120):
            await client.prompts.save(f"{number:03}", "x")
    async with connect(tmp_path) as client:
        found = (
            await client.complete(PromptReference(name="use_prompt"), {"name": "name", "value": ""})
        ).completion
    assert (len(found.values), found.total, found.has_more) == (100, 120, True)


# --- weight -------------------------------------------------------------------


async def test_what_stands_at_the_beginning_of_every_conversation_stays_small(
    tmp_path: Path,
) -> None:
    async with connect(tmp_path) as client:
        tools = (await client.list_tools()).model_dump_json(exclude_none=True, by_alias=True)
        prompts = (await client.list_prompts()).model_dump_json(exclude_none=True, by_alias=True)
        assert client.instructions is not None
        assert len(client.instructions) < 1500
    assert len(tools) < WEIGHT
    assert len(prompts) < 2500
