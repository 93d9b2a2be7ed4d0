"""Rows and files agree, or it is said where they do not, and mended."""

from __future__ import annotations

import os
from functools import partial

import pytest
import trio

import imagen
from tests.support.images import png
from tests.support.library import open_shelf
from tests.support.scripted_client import FakeProvider, open_test_client

pytestmark = pytest.mark.usefixtures("engine")


async def kinds(library: imagen.library.Library) -> list[str]:
    return [finding.kind for finding in await library.check()]


async def test_a_library_as_it_should_be_has_no_findings(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, _):
        async with client.open_batch("a cat", n=5) as batch:
            _ = [outcome async for outcome in batch]
        seen: list[int] = []
        assert await client.library.check(on_progress=seen.append) == []
        assert seen == [5]


async def test_a_missing_file_and_a_damaged_one_are_found_and_their_images_set_aside(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        missing, damaged, fine = [await shelf.add() for _ in range(3)]
        missing.path.unlink()
        damaged.path.write_bytes(damaged.path.read_bytes()[:-1] + b"x")
        found = {(finding.kind, finding.image_id) for finding in await shelf.library.check()}
        assert found == {("missing", missing.id), ("damaged", damaged.id)}
        assert all(finding.repaired for finding in await shelf.library.check(repair=True))
        assert await kinds(shelf.library) == []
        assert [image.id for image in await shelf.library.list()] == [fine.id]
        assert (tmp_path / "images" / "damaged" / damaged.path.name).exists()


async def test_an_unknown_file_is_listed_with_its_visible_facts(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        image = await shelf.add(data=png(size=(9, 5)))
        await shelf.database.write([("DELETE FROM images", ()), ("DELETE FROM removals", ())])
        await shelf.library.check(repair=True)
        (found,) = await shelf.library.list(tags=["recovered"])
        assert (found.sha256, found.width, found.height, found.model) == (
            image.sha256,
            9,
            5,
            "unknown",
        )
        assert await kinds(shelf.library) == []


async def test_a_damaged_unknown_file_is_set_aside(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        stray = tmp_path / "images" / "a" / ("a" * 64 + ".png")
        stray.parent.mkdir(parents=True)
        stray.write_bytes(b"no image")
        assert await kinds(shelf.library) == ["orphan"]
        (finding,) = await shelf.library.check(repair=True)
        assert "damaged" in finding.repaired
        assert await kinds(shelf.library) == []


async def test_what_a_write_left_over_is_removed_unless_it_is_fresh(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        await shelf.add()
        folder = tmp_path / "images" / "0"
        folder.mkdir(exist_ok=True)
        fresh, stale = folder / ".x-1.part", folder / ".x-2.part"
        for path in (fresh, stale):
            path.write_bytes(b"half")
        os.utime(stale, (0, 0))
        assert await kinds(shelf.library) == ["leftover"]
        await shelf.library.check(repair=True)
        assert fresh.exists()
        assert not stale.exists()


async def test_an_image_that_search_does_not_find_is_indexed(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        image = await shelf.add(prompt="a lighthouse")
        await shelf.database.write([("DELETE FROM image_search", ())])
        assert await kinds(shelf.library) == ["unindexed"]
        await shelf.library.check(repair=True)
        assert [one.id for one in await shelf.library.search("lighthouse")] == [image.id]


async def test_a_damaged_file_of_two_images_sets_both_aside(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        one, other = await shelf.add(data=png()), await shelf.add(data=png())
        one.path.write_bytes(b"damaged")
        assert all(finding.repaired for finding in await shelf.library.check(repair=True))
        assert {image.id for image in await shelf.library.list(state="trashed")} == {
            one.id,
            other.id,
        }


async def test_an_image_whose_file_is_whole_again_by_the_time_it_is_mended_stays(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        damaged, missing = await shelf.add(), await shelf.add()
        files = {image.path: image.path.read_bytes() for image in (damaged, missing)}
        damaged.path.write_bytes(b"damaged")
        missing.path.unlink()

        def make_again(checked: int) -> None:
            for path, data in files.items():
                path.write_bytes(data)

        findings = await shelf.library.check(repair=True, on_progress=make_again)
        assert {finding.repaired for finding in findings} == {"it is whole again"}
        assert len(await shelf.library.list()) == 2
        assert await kinds(shelf.library) == []


async def test_two_that_mend_at_once_do_not_trip_each_other(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        damaged, orphan = await shelf.add(), await shelf.add()
        damaged.path.write_bytes(b"damaged")
        orphan.path.write_bytes(b"damaged too")
        await shelf.database.write(
            [("DELETE FROM images WHERE id = ?", (orphan.id,)), ("DELETE FROM removals", ())]
        )
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(partial(shelf.library.check, repair=True))
        assert await kinds(shelf.library) == []


async def test_images_whose_folder_is_away_are_not_set_aside(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        images = [await shelf.add() for _ in range(3)]
        (tmp_path / "images").rename(tmp_path / "unmounted")
        with pytest.raises(imagen.StorageError, match="files of all 3 images"):
            await shelf.library.check(repair=True)
        assert len(await shelf.library.list()) == len(images)
        assert await kinds(shelf.library) == ["missing"] * 3
