"""Images that were set aside because no reader knew their form, read again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pybase64
import pytest

import imagen
from imagen.testing import ScriptedReply
from tests.support.images import PNG, large_png
from tests.support.scripted_client import PRICE, images_reply, open_test_client
from tests.support.svg import PLAIN

UNKNOWN = b"a form of a later year"


def refuse(request: imagen.providers.HttpRequest) -> ScriptedReply:
    raise AssertionError("nothing is ordered")


def reply_of(*images: bytes) -> ScriptedReply:
    items = [{"b64_json": pybase64.b64encode(data).decode()} for data in images]
    return ScriptedReply(
        headers={"content-type": "application/json"},
        chunks=(msgspec.json.encode({"created": 1, "data": items}),),
    )


async def set_aside(home: Path, *, later: bytes | None) -> Path:
    """Pay an image of unknown form, and put the bytes of `later` in its place:
    a later version knows the form.
    """
    async with open_test_client(lambda request: images_reply(data=UNKNOWN), home=home) as (
        client,
        _,
    ):
        with pytest.raises(imagen.ProviderError) as caught:
            await client.generate("a fox")
    path = Path(caught.value.details["kept_at"])
    assert path.read_bytes() == UNKNOWN
    if later is not None:
        path.write_bytes(later)
    return path


@pytest.mark.parametrize("data", [PNG, PLAIN], ids=["png", "svg"])
async def test_one_that_can_be_read_by_now_joins_the_library(autojump_clock, tmp_path, data):
    path = await set_aside(tmp_path, later=data)
    events: list[imagen.Event] = []
    async with open_test_client(refuse, home=tmp_path, on_event=events.append) as (client, _):
        assert await client.collect() == 1
        (image,) = await client.library.list()
        assert (await client.spending()).settled_usd == PRICE
        assert await client.collect() == 0
        assert len(await client.library.list()) == 1
        assert await client.library.check() == []
    assert image.data == data
    assert (image.prompt, image.model, image.cost.usd) == ("a fox", "test-model", PRICE)
    assert image.attempt_id == path.parent.name
    assert not path.parent.exists()
    (event,) = events
    assert isinstance(event, imagen.AttemptEnded)
    assert event.outcomes[0].id == image.id


async def test_a_paid_svg_of_a_version_that_held_none(autojump_clock, tmp_path, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr("imagen.metadata._whole_image.find_svg", lambda data, **more: None)
        earlier.setattr("imagen.metadata._image_header.find_svg", lambda data: None)
        async with open_test_client(lambda request: images_reply(data=PLAIN), home=tmp_path) as (
            client,
            _,
        ):
            with pytest.raises(imagen.ProviderError):
                await client.generate("a fox")
    async with open_test_client(refuse, home=tmp_path) as (client, _):
        await client.collect()
        (image,) = await client.library.list()
    assert (image.data, image.media_type) == (PLAIN, "image/svg+xml")


@pytest.mark.parametrize("n", [1, 2], ids=["more than ordered", "ordered"])
async def test_one_of_two_joins_the_other_at_its_share(autojump_clock, tmp_path, n):
    async with open_test_client(lambda request: reply_of(PNG, UNKNOWN), home=tmp_path) as (
        client,
        _,
    ):
        async with client.open_batch("a fox", n=n, together=True) as batch:
            outcomes = [outcome async for outcome in batch]
    assert sum(isinstance(outcome, imagen.Failure) for outcome in outcomes) == n - 1
    (path,) = (tmp_path / "set-aside").glob("*/image-1.bin")
    path.write_bytes(large_png())
    async with open_test_client(refuse, home=tmp_path) as (client, _):
        assert await client.collect() == 1
        images = await client.library.list()
        assert (await client.spending()).settled_usd == 2 * PRICE
    assert [image.cost.usd for image in images] == [PRICE, PRICE]
    assert {image.width: image.index for image in images} == {8: 0, 256: n - 1}


async def test_three_of_one_attempt_share_its_cost(autojump_clock, tmp_path):
    async with open_test_client(lambda request: reply_of(*[UNKNOWN] * 3), home=tmp_path) as (
        client,
        _,
    ):
        async with client.open_batch("a fox", n=3, together=True) as batch:
            batch_id = batch.id
            assert [type(outcome) async for outcome in batch] == [imagen.Failure] * 3
    for path in (tmp_path / "set-aside").glob("*/image-*.bin"):
        path.write_bytes(large_png() if path.name == "image-2.bin" else PNG)
    async with open_test_client(refuse, home=tmp_path) as (client, _):
        # Three images of one attempt.
        assert await client.collect() == 1
        images = await client.library.list()
        async with client.reopen_batch(batch_id) as batch:
            assert [type(outcome) async for outcome in batch] == [imagen.Image] * 3
        assert (await client.spending()).settled_usd == 3 * PRICE
    assert [image.cost.usd for image in images] == [PRICE] * 3
    assert sorted(image.index for image in images) == [0, 1, 2]


@pytest.mark.parametrize(
    "later",
    [None, b"", PNG[:40], b"<svg", b"<html></html>"],
    ids=["unknown", "empty", "cut", "cut svg", "page"],
)
async def test_one_that_cannot_be_read_stays(autojump_clock, tmp_path, later):
    path = await set_aside(tmp_path, later=later)
    async with open_test_client(refuse, home=tmp_path) as (client, _):
        assert await client.collect() == 0
        assert await client.library.list() == []
    assert path.read_bytes() == (UNKNOWN if later is None else later)


async def test_one_of_too_many_pixels_stays(autojump_clock, tmp_path):
    path = await set_aside(tmp_path, later=large_png())
    bounds = imagen.Bounds(max_pixels=1000)
    async with open_test_client(refuse, home=tmp_path, bounds=bounds) as (client, _):
        assert await client.collect() == 0
    assert path.is_file()


async def test_without_a_library_it_stays(autojump_clock, tmp_path):
    path = await set_aside(tmp_path, later=PNG)
    async with open_test_client(refuse, home=tmp_path, library=None) as (client, _):
        assert await client.collect() == 0
    assert path.is_file()


async def test_a_file_of_no_attempt_stays(autojump_clock, tmp_path):
    path = await set_aside(tmp_path, later=PNG)
    other = path.parent.with_name("0123456789abcdef")
    path.parent.rename(other)
    async with open_test_client(refuse, home=tmp_path) as (client, _):
        assert await client.collect() == 0
    assert (other / path.name).is_file()


async def test_what_else_was_set_aside_stays(autojump_clock, tmp_path):
    path = await set_aside(tmp_path, later=PNG)
    path.with_name("reply-1.bin").write_bytes(b"a reply")
    async with open_test_client(refuse, home=tmp_path) as (client, _):
        assert await client.collect() == 1
    assert [left.name for left in path.parent.iterdir()] == ["reply-1.bin"]


async def test_one_whose_process_died_in_between_is_listed_once(autojump_clock, tmp_path):
    path = await set_aside(tmp_path, later=PNG)
    for _ in range(2):
        async with open_test_client(refuse, home=tmp_path) as (client, _):
            await client.collect()
            assert len(await client.library.list()) == 1
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(PNG)


@pytest.mark.parametrize(
    ("column", "value"),
    [("request", "{"), ("sent_at", 1e300), ("settled_nanousd", None), ("images", 0)],
)
async def test_the_image_of_a_damaged_row_is_listed(autojump_clock, tmp_path, column, value):
    await set_aside(tmp_path, later=PNG)
    with closing(sqlite3.connect(tmp_path / "imagen.sqlite3")) as database:
        database.execute(f"UPDATE attempts SET {column} = ?", (value,))
        database.commit()
    async with open_test_client(refuse, home=tmp_path) as (client, _):
        assert await client.collect() == 1
        (image,) = await client.library.list()
    assert image.data == PNG
    assert image.cost.usd in (PRICE, None)
