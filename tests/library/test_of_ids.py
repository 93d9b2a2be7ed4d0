"""Many images are read by their ids at once."""

from __future__ import annotations

from tests.support.library import open_shelf


async def test_images_come_in_the_order_of_their_ids(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        made = [await shelf.list_row() for _ in range(1200)]
        ids = [image.id for image in reversed(made)]
        found = await shelf.library.of_ids([*ids, ids[0], "unknown", "'; --", ""])
        assert [image.id for image in found] == ids
        assert await shelf.library.of_ids([]) == []


async def test_those_in_a_collection_are_named(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        made = [await shelf.list_row() for _ in range(3)]
        for name in ("sea", "sea/north"):
            await shelf.library.collections.create(name)
        await shelf.library.collections.add("sea", made[:2])
        await shelf.library.collections.add("sea/north", made[2])
        found = await shelf.library.collections.those_in("sea", [*made, "unknown"])
        assert sorted(found) == sorted(image.id for image in made[:2])
