"""Every name of an image that a result hands out is accepted back, and no name
that looks like one opens a file of a server with remote callers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from mcp import Client, MCPError

import imagen
from imagen_mcp._tools.image_names import id_in
from imagen_mcp.server import make_server
from tests.support.mcp_client import MODEL, Painter, png, settings, text_of

SKETCH = {"prompt": "a boat", "model": "sketch", "size": "64x64"}
ID = "00112233aabbccdd"


@asynccontextmanager
async def serve(
    home: Path, painter: Painter | None = None, *, local_files: bool
) -> AsyncIterator[Client]:
    open_client = partial(imagen.open_client, transport=lambda _: painter or Painter())
    server = make_server(settings(home), open_client=open_client, local_files=local_files)
    async with Client(server) as client:
        yield client


async def make(client: Client) -> dict[str, str]:
    return (await client.call_tool("generate_image", SKETCH)).structured_content["image"]


def names_of(image: dict[str, str]) -> list[str]:
    return [
        image["id"],
        image["id"].upper(),
        f" {image['id']} ",
        image["id"][:12],
        f"{image['id']}.png",
        f"{image['id']}.jpeg",
        image["uri"],
        image["uri"].upper(),
        f"{image['uri']}/thumbnail",
        f"imagen://images/{image['id'][:12]}",
        image["path"],
    ]


@pytest.mark.parametrize("local_files", [True, False])
async def test_every_name_is_taken_wherever_an_image_is_named(
    tmp_path: Path, local_files: bool
) -> None:
    async with serve(tmp_path, local_files=local_files) as client:
        image = await make(client)
        for name in names_of(image):
            edited = await client.call_tool(
                "edit_image", {"prompt": "x", "images": [name], "model": MODEL}
            )
            assert not edited.is_error, (name, text_of(edited))
            assert edited.structured_content["image"]["parent_id"] == image["id"], name
            shown = await client.call_tool("show_image", {"image_id": name})
            assert shown.structured_content["image"]["id"] == image["id"], name
            changed = await client.call_tool("organize_images", {"image_ids": [name], "rating": 3})
            assert changed.structured_content["image_ids"] == [image["id"]], name
            prompt = await client.get_prompt("refine_image", {"image_id": name, "wish": "red"})
            assert image["id"] in prompt.messages[0].content.text, name


async def test_masks_references_and_other_operations_take_them_too(tmp_path: Path) -> None:
    async with serve(tmp_path, local_files=False) as client:
        image = await make(client)
        uri = image["uri"]
        for tool, arguments in (
            ("edit_image", {"prompt": "x", "images": [uri], "mask": uri, "model": MODEL}),
            ("create_variations", {"image": uri, "count": 1, "model": MODEL}),
            ("restyle_image", {"image": uri, "reference": uri, "model": MODEL}),
        ):
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, (tool, text_of(result))


@pytest.mark.parametrize(
    "name",
    ["facade", "badcafe", "deadbeef", ID, f"{ID}.png", "face.png", "facade.png", "FACADE", "cafe"],
)
async def test_a_file_whose_name_looks_like_an_id_is_not_opened_over_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / name).write_bytes(png())
    monkeypatch.chdir(work)
    painter = Painter()
    async with serve(tmp_path / "home", painter, local_files=False) as client:
        for source in (name, f" {name}", f"./{name}", str(work / name), f"imagen://images/{name}"):
            result = await client.call_tool(
                "edit_image", {"prompt": "x", "images": [source], "model": MODEL}
            )
            assert result.is_error, source
            result = await client.call_tool("show_image", {"image_id": source})
            assert result.is_error, source
    assert painter.requests == 0


async def test_a_file_of_the_user_wins_over_the_beginning_of_an_id_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    async with serve(tmp_path / "home", local_files=True) as client:
        image = await make(client)
        (work / image["id"][:6]).write_bytes(png())
        (work / image["id"]).write_bytes(png())
        by_beginning, by_id = [
            await client.call_tool("edit_image", {"prompt": "x", "images": [name], "model": MODEL})
            for name in (image["id"][:6], image["id"])
        ]
    assert by_beginning.structured_content["image"]["parent_id"] is None
    assert by_id.structured_content["image"]["parent_id"] == image["id"]


@pytest.mark.parametrize("name", ["1", "a", "0f", "abc"])
@pytest.mark.parametrize("local_files", [True, False])
async def test_a_few_digits_are_no_image_to_pay_for(
    tmp_path: Path, name: str, local_files: bool
) -> None:
    painter = Painter()
    async with serve(tmp_path, painter, local_files=local_files) as client:
        await make(client)
        result = await client.call_tool(
            "edit_image", {"prompt": "x", "images": [name], "model": MODEL}
        )
    assert result.is_error
    assert painter.requests == 0


@pytest.mark.parametrize("tail", ["", ".png", "/thumbnail"])
async def test_a_resource_takes_the_names_too(tmp_path: Path, tail: str) -> None:
    async with serve(tmp_path, local_files=False) as client:
        image = await make(client)
        (content,) = (await client.read_resource(f"{image['uri']}{tail}")).contents
        (short,) = (await client.read_resource(f"imagen://images/{image['id'][:12]}")).contents
    assert content.blob
    assert short.blob


@pytest.mark.parametrize("name", ["facade", ID, "nonsense", "..%2F..%2Fetc%2Fpasswd", "%2Fetc"])
async def test_a_resource_that_is_not_there_is_a_wrong_parameter(tmp_path: Path, name: str) -> None:
    async with serve(tmp_path, local_files=True) as client:
        for tail in ("", "/thumbnail"):
            with pytest.raises(MCPError) as caught:
                await client.read_resource(f"imagen://images/{name}{tail}")
            assert caught.value.error.code == -32602


async def test_an_ambiguous_resource_is_a_wrong_parameter(tmp_path: Path) -> None:
    async with serve(tmp_path, local_files=True) as client:
        made: set[str] = set()
        while (first := (await make(client))["id"][0]) not in made:
            made.add(first)
        with pytest.raises(MCPError, match="Ambiguous image id") as caught:
            await client.read_resource(f"imagen://images/{first}")
    assert caught.value.error.code == -32602


async def test_the_uri_of_a_collection_names_it(tmp_path: Path) -> None:
    async with serve(tmp_path, local_files=True) as client:
        image = await make(client)
        await client.call_tool(
            "organize_images", {"image_ids": [image["id"]], "add_to_collection": "my boats"}
        )
        found = await client.call_tool(
            "search_images", {"collection": "imagen://collections/my%20boats"}
        )
    assert [one["id"] for one in found.structured_content["images"]] == [image["id"]]


@pytest.mark.parametrize(
    ("name", "image_id"),
    [
        (ID, ID),
        (f"imagen://images/{ID}.webp/thumbnail", ID),
        (f"{ID}.gif", ID),
        ("0a", "0a"),
        ("face.png", None),
        (f"{ID}0", None),
        (f"imagen://images/../{ID}", None),
        (f"imagen://collections/{ID}", None),
        ("", None),
    ],
)
def test_the_id_in_a_name(name: str, image_id: str | None) -> None:
    assert id_in(name) == image_id
