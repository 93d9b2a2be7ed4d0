"""The tools of the library: search, show, organize; styles, kept prompts and
the cache where images are made.
"""

from __future__ import annotations

import datetime
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import trio
from mcp import Client
from mcp.types import CallToolResult

import imagen
from imagen.library._rows import row_of
from tests.support.mcp_client import (
    ERAS,
    MODEL,
    Painter,
    connect,
    open_shown,
    settings,
    shown,
    text_of,
)

SMALL = {"prompt": "a lighthouse", "model": "sketch", "size": "64x64"}
FOUND_KEYS = {"id", "path", "prompt", "model", "created_at", "cost_usd", "rating", "tags"}


def without_images(result: CallToolResult) -> str:
    """All of an answer that a host counts as words."""
    return result.model_copy(
        update={"content": [one for one in result.content if one.type != "image"]}
    ).model_dump_json()


async def call(client: Client, tool: str, /, **arguments: object) -> CallToolResult:
    result = await client.call_tool(tool, arguments)
    # The best known limit of a host is 25,000 tokens, each of them about four
    # letters.
    assert len(without_images(result)) < 30_000
    return result


async def done(client: Client, tool: str, /, **arguments: object) -> dict[str, object]:
    result = await call(client, tool, **arguments)
    assert not result.is_error, text_of(result)
    return result.structured_content


async def make(client: Client, prompt: str = "a lighthouse", **arguments: object) -> str:
    return (await done(client, "generate_image", **{**SMALL, "prompt": prompt, **arguments}))[
        "image"
    ]["id"]


def ids(found: dict[str, object]) -> list[str]:
    return [image["id"] for image in found["images"]]


# --- search -------------------------------------------------------------------


@pytest.mark.parametrize("mode", ERAS)
async def test_a_search_lists_images_without_showing_them(tmp_path: Path, mode: str) -> None:
    async with connect(tmp_path, mode=mode) as client:
        boat = await make(client, "a boat at dusk")
        await make(client, "a tree at dawn")
        result = await call(client, "search_images", query="dusk boat")
    (image,) = result.structured_content["images"]
    assert image.keys() == FOUND_KEYS
    assert (image["id"], image["prompt"], image["model"], image["cost_usd"]) == (
        boat,
        "a boat at dusk",
        "sketch",
        "0",
    )
    assert Path(image["path"]).is_file()
    assert result.structured_content["cursor"] is None
    assert [block.type for block in result.content] == ["text"]
    assert f"{boat}  {datetime.datetime.now(datetime.UTC):%Y-}" in text_of(result)
    assert "a boat at dusk" in text_of(result)


async def test_a_search_goes_on_behind_its_cursor(tmp_path: Path) -> None:
    async with connect(tmp_path) as client:
        made = [await make(client, f"number {number}") for number in range(5)]
        first = await call(client, "search_images", limit=3)
        cursor = first.structured_content["cursor"]
        second = await done(client, "search_images", limit=3, after=cursor)
    assert f'after="{cursor}"' in text_of(first)
    assert [*ids(first.structured_content), *ids(second)] == made[::-1]
    assert second["cursor"] is None


async def test_filters_of_a_search_count_together(tmp_path: Path) -> None:
    async with connect(tmp_path) as client:
        best, other, plain = [await make(client, f"boat {number}") for number in range(3)]
        await done(
            client,
            "organize_images",
            image_ids=[best, other],
            add_tags=["Sea"],
            add_to_collection="trips/rome",
        )
        await done(client, "organize_images", image_ids=[best], rating=5)
        for filters, found in (
            ({"tags": ["sea"]}, [other, best]),
            ({"tags": ["sea"], "min_rating": 4}, [best]),
            ({"collection": "trips"}, [other, best]),
            ({"collection": "trips/rome", "query": "2"}, []),
            ({"model": "sketch", "since": "2020-01-01"}, [plain, other, best]),
            ({"model": MODEL}, []),
            ({"since": "2999-12-31T23:59:59Z"}, []),
            # Hosts fill in optional fields with empty text.
            (
                {"query": "", "model": "", "tags": [], "collection": "", "since": "", "after": ""},
                [plain, other, best],
            ),
        ):
            assert ids(await done(client, "search_images", **filters)) == found, filters


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fourteen hours before Greenwich."""
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.skipif(sys.platform == "win32", reason="the time zone of a process")
@pytest.mark.usefixtures("far_east")
async def test_a_time_without_a_zone_is_utc_wherever_the_server_runs(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    async with connect(tmp_path) as client:
        image = await make(client)
        before, later = [(now + datetime.timedelta(hours=hours)).isoformat() for hours in (-1, 1)]
        assert ids(await done(client, "search_images", since=before)) == [image]
        assert ids(await done(client, "search_images", since=later)) == []


async def test_a_page_of_huge_prompts_is_a_small_answer(tmp_path: Path) -> None:
    async with imagen.open_client(settings(tmp_path)) as client:
        request = imagen.Generate(
            prompt="<b>word</b>\x1b[31m " * 5000, model="sketch", size="64x64"
        )
        async with client.open_batch(request, n=21) as batch:
            images = [outcome async for outcome in batch]
        tags = [f"{'long ' * 12}{number}" for number in range(40)]
        await client.library.tag(images, tags)
        await client.library.annotate(images, "\x1b]0;owned\x07 note " * 5000)
    async with connect(tmp_path) as client:
        page = await call(client, "search_images", limit=20)
        one = await call(client, "show_image", image_id=images[0].id)
    assert len(page.structured_content["images"]) == 20
    assert len(without_images(one)) < 14_000
    for result in (page, one):
        assert "\x1b" not in text_of(result)
        assert "\x07" not in text_of(result)
        assert "\\u001b" not in without_images(result)


# --- show ---------------------------------------------------------------------


@pytest.mark.parametrize("mode", ERAS)
async def test_an_image_is_shown_with_what_is_known_of_it(tmp_path: Path, mode: str) -> None:
    async with connect(tmp_path, Painter(), mode=mode) as client:
        root = await make(client, "a boat", model=MODEL, size="1024x1024", quality="low")
        child = (await done(client, "edit_image", prompt="at night", images=[root], model=MODEL))[
            "image"
        ]["id"]
        leaf = (
            await done(client, "edit_image", prompt="with a moon", images=[child], model=MODEL)
        )["image"]["id"]
        await done(
            client,
            "organize_images",
            image_ids=[child],
            add_tags=["sea"],
            rating=3,
            notes="the best",
        )
        await done(client, "organize_images", image_ids=[child], add_to_collection="trips")
        result = await call(client, "show_image", image_id=child)
        first = await done(client, "show_image", image_id=root[:10])
    facts = result.structured_content
    assert facts["image"]["id"] == child
    assert (facts["prompt"], facts["rating"], facts["tags"], facts["notes"]) == (
        "at night",
        3,
        ["sea"],
        "the best",
    )
    assert (facts["collections"], facts["trashed"]) == (["trips"], False)
    assert (facts["parents"], facts["children"], facts["children_count"]) == ([root], [leaf], 1)
    assert facts["request"]["operation"] == "edit"
    assert first["request"]["quality"] == "low"
    assert (first["parents"], first["children"]) == ([], [child])
    assert [block.type for block in result.content] == ["text", "image", "resource_link"]
    assert open_shown(result).format == "JPEG"
    for words in (
        "Tags: sea",
        "Stars: 3 of 5",
        "Notes: the best",
        f"Made from: {root}",
        f"Made from it: 1, {leaf}",
    ):
        assert words in text_of(result)


async def test_a_small_image_of_the_library_is_shown_in_full_on_request(tmp_path: Path) -> None:
    async with connect(tmp_path) as client:
        result = await call(client, "show_image", image_id=await make(client), full=True)
    assert shown(result)[0].mime_type == "image/png"
    assert "shown in full" in text_of(result)


async def test_what_an_image_was_made_from_may_be_gone(tmp_path: Path) -> None:
    async with connect(tmp_path, Painter()) as client:
        root = await make(client, "a boat", model=MODEL)
        child = (await done(client, "edit_image", prompt="at night", images=[root], model=MODEL))[
            "image"
        ]["id"]
        async with imagen.open_client(settings(tmp_path)) as other:
            await other.library.delete(root)
        facts = await done(client, "show_image", image_id=child)
    assert facts["parents"] == [root]
    assert facts["children"] == []


async def test_many_children_of_an_image_are_counted_and_some_named(tmp_path: Path) -> None:
    async with imagen.open_client(settings(tmp_path)) as client:
        root = await client.generate("a boat", model="sketch", size="64x64")
        child = msgspec.structs.replace(root, parent_id=root.id)
        for number in range(30):
            row = msgspec.structs.replace(child, id=f"{number:016x}", attempt_id="")
            await adopt(client, row, root.data)
    async with connect(tmp_path) as client:
        facts = await done(client, "show_image", image_id=root.id)
    assert facts["children_count"] == 30
    assert len(facts["children"]) == 20


async def adopt(client: imagen.Client, image: imagen.Image, data: bytes) -> None:
    await client.library.adopt(row_of(image), data)


async def test_an_image_whose_file_is_gone_is_still_told_of(tmp_path: Path) -> None:
    async with imagen.open_client(settings(tmp_path)) as client:
        image = await client.generate("a boat", model="sketch", size="64x64")
    assert image.path is not None
    image.path.unlink()
    async with connect(tmp_path) as client:
        result = await call(client, "show_image", image_id=image.id)
    assert not result.is_error
    assert result.structured_content["prompt"] == "a boat"
    assert "There is no preview. [STORAGE_ERROR]" in text_of(result)
    assert shown(result) == []


# --- organize -----------------------------------------------------------------


@pytest.mark.parametrize("mode", ERAS)
async def test_images_are_organized_in_one_call_and_back(tmp_path: Path, mode: str) -> None:
    async with connect(tmp_path, mode=mode) as client:
        both = [await make(client, f"boat {number}") for number in range(2)]
        changed = await done(
            client,
            "organize_images",
            image_ids=both,
            add_tags=["Sea", "dusk"],
            rating=4,
            notes="for the wall",
            add_to_collection="trips / rome",
        )
        again = await done(
            client, "organize_images", image_ids=both, rating=4, add_to_collection="trips/rome"
        )
        back = await done(
            client,
            "organize_images",
            image_ids=both,
            remove_tags=["sea"],
            rating=0,
            remove_from_collection="trips/rome",
        )
        facts = await done(client, "show_image", image_id=both[0])
    assert changed == {
        "image_ids": both,
        "changed": {"tags": 2, "rating": 2, "notes": 2, "add_to_collection": 2},
    }
    assert again["changed"] == {"rating": 0, "add_to_collection": 0}
    assert back["changed"] == {"tags": 2, "rating": 2, "remove_from_collection": 2}
    assert (facts["tags"], facts["rating"], facts["notes"]) == (["dusk"], 0, "for the wall")
    assert facts["collections"] == []


async def test_the_trash_gives_images_back(tmp_path: Path) -> None:
    async with connect(tmp_path) as client:
        image = await make(client)
        trashed = await call(client, "organize_images", image_ids=[image], trash=True)
        assert ids(await done(client, "search_images")) == []
        assert ids(await done(client, "search_images", trashed=True)) == [image]
        shown_there = await call(client, "show_image", image_id=image)
        await done(client, "organize_images", image_ids=[image], restore=True)
        found = await done(client, "search_images")
    assert "30 days" in text_of(trashed)
    assert "It is in the trash." in text_of(shown_there)
    assert ids(found) == [image]
    assert Path(found["images"][0]["path"]).is_file()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"add_tags": ["fine"], "rating": 9}, "rating: Input should be less than or equal to 5"),
        ({"add_tags": ["fine", "a,b"], "rating": 3}, "A tag is 1 to 64 letters"),
        ({"add_tags": ["a,b"], "add_to_collection": "new"}, "A tag is 1 to 64 letters"),
        (
            {"add_tags": ["fine"], "remove_from_collection": "none"},
            "There is no collection 'none'; there is none yet.",
        ),
        ({"add_tags": ["fine"], "add_to_collection": "a/b/c"}, "Invalid collection name"),
        ({"add_tags": ["fine"], "trash": True, "restore": True}, "not both"),
        ({"image_ids": ["ffff"], "add_tags": ["fine"]}, "There is no image 'ffff' in the library"),
        ({"image_ids": [], "add_tags": ["fine"]}, "image_ids: List should have at least 1 item"),
        ({}, "Say what is to change"),
    ],
    ids=lambda value: next(reversed(value), "nothing") if isinstance(value, dict) else "",
)
async def test_where_something_is_wrong_nothing_is_changed(
    tmp_path: Path, arguments: dict[str, object], says: str
) -> None:
    async with connect(tmp_path) as client:
        image = await make(client)
        wanted = (
            [image, *arguments.get("image_ids", [])] if arguments.get("image_ids") != [] else []
        )
        result = await call(client, "organize_images", **{**arguments, "image_ids": wanted})
        facts = await done(client, "show_image", image_id=image)
        (collections,) = (await client.read_resource("imagen://collections")).contents
    assert result.is_error
    assert text_of(result).startswith("[INVALID_REQUEST] ")
    assert json.loads(collections.text)["collections"] == []
    assert says in text_of(result)
    assert (facts["tags"], facts["rating"], facts["trashed"]) == ([], 0, False)


async def test_calls_at_once_make_a_collection_once(tmp_path: Path) -> None:
    async with connect(tmp_path) as client:
        images = [await make(client, f"boat {number}") for number in range(4)]
        async with trio.open_nursery() as nursery:
            for image in images:
                nursery.start_soon(_put_together, client, image)
        found = await done(client, "search_images", collection="together")
    assert set(ids(found)) == set(images)


async def _put_together(client: Client, image: str) -> None:
    await done(client, "organize_images", image_ids=[image], add_to_collection="together")


# --- styles, kept prompts, the cache ------------------------------------------


@pytest.mark.parametrize("mode", ERAS)
async def test_styles_are_put_on_a_prompt(tmp_path: Path, mode: str) -> None:
    async with connect(tmp_path, mode=mode) as client:
        image = await make(client, "a boat", apply_styles=["oil", ""])
        facts = await done(client, "show_image", image_id=image)
        batch = await done(client, "start_image_batch", **SMALL, count=2, apply_styles=["ink"])
        inked = await done(client, "show_image", image_id=batch["image"]["id"])
        estimate = await done(client, "estimate_cost", **SMALL, apply_styles=["oil"])
        unknown = await call(client, "generate_image", **SMALL, apply_styles=["oli"])
    assert facts["prompt"].startswith("an oil painting of a boat")
    assert "a lighthouse" in inked["prompt"]
    assert inked["prompt"] != "a lighthouse"
    assert estimate["high_usd"] == "0"
    assert text_of(unknown).startswith("[INVALID_REQUEST] There is no style 'oli'; there are ")
    assert "oil" in text_of(unknown)


async def test_a_kept_prompt_is_filled_in_with_all_that_goes_with_it(tmp_path: Path) -> None:
    async with imagen.open_client(settings(tmp_path)) as client:
        await client.prompts.save(
            "harbour",
            "a {{weather:choice(rainy,sunny)=sunny}} harbour in {{place}}",
            styles=["oil"],
            parameters={"size": "64x64"},
        )
        await client.prompts.save("cars", "a {red|blue} car")
    asked = {"prompt": "@harbour", "model": "sketch"}
    async with connect(tmp_path) as client:
        made = await done(
            client, "generate_image", **asked, values={"place": "{Rome|Paris}", "weather": "rainy"}
        )
        facts = await done(client, "show_image", image_id=made["image"]["id"])
        refused = {
            "Missing value": await call(client, "generate_image", **asked),
            "Unknown variable 'city'": await call(
                client, "generate_image", **asked, values={"place": "x", "city": "Rome"}
            ),
            "There is no prompt 'harbor'; there are cars, harbour.": await call(
                client, "generate_image", prompt="@harbor"
            ),
            "write out the one that is meant": await call(
                client, "start_image_batch", prompt="@cars"
            ),
            "Only a prompt that is kept": await call(
                client, "generate_image", **SMALL, values={"place": "Rome"}
            ),
        }
    assert facts["prompt"].startswith("an oil painting of a rainy harbour in {Rome|Paris}")
    assert (made["image"]["width"], made["image"]["height"]) == (64, 64)
    for says, result in refused.items():
        assert result.is_error
        assert says in text_of(result)


@pytest.mark.parametrize("mode", ERAS)
async def test_the_cache_answers_for_nothing_and_says_so(tmp_path: Path, mode: str) -> None:
    painter = Painter()
    asked = {"prompt": "a lighthouse", "model": MODEL, "cache": True}
    async with connect(tmp_path, painter, mode=mode) as client:
        first = await call(client, "generate_image", **asked)
        second = await call(client, "generate_image", **asked)
        anew = await call(client, "generate_image", **{**asked, "cache": False})
        batch = await done(client, "start_image_batch", **asked, count=2)
    assert painter.requests == 2
    assert first.structured_content["image"]["cached"] is False
    assert "free" not in text_of(first)
    image = second.structured_content["image"]
    assert (image["id"], image["cached"], image["cost_usd"]) == (
        first.structured_content["image"]["id"],
        True,
        "0",
    )
    assert "free, as the library had it already" in text_of(second)
    assert anew.structured_content["image"]["id"] != image["id"]
    assert batch["image"]["cached"] is True
