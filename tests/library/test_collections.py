"""Collections have an order, may lie in one another once, and take nothing with
them when they go.
"""

from __future__ import annotations

import pytest

import imagen
from tests.support.library import open_shelf

pytestmark = pytest.mark.usefixtures("engine")


async def test_images_stay_in_the_order_of_the_collection(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        images = [await shelf.list_row(day=day) for day in range(5)]
        collections = shelf.library.collections
        await collections.create("best")
        assert await collections.add("best", [images[3], images[0], images[4]]) == 3
        assert await collections.add("best", [images[0], images[1], "0" * 16]) == 1
        assert [image.id for image in await collections.images("best")] == [
            images[k].id for k in (3, 0, 4, 1)
        ]
        await collections.arrange("best", [images[4], images[2]])
        page = await collections.images("best", limit=2)
        rest = await collections.images("best", limit=2, after=page.cursor)
        assert [image.id for image in [*page, *rest]] == [images[k].id for k in (4, 3, 0, 1)]
        assert rest.cursor is None
        assert await collections.remove("best", images) == 4


async def test_a_collection_lies_in_one_other_at_most(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        collections = shelf.library.collections
        inner = await collections.create("trips/norway")
        image = await shelf.list_row()
        await collections.add("trips/norway", image)
        assert [one.name for one in await collections.list()] == ["trips", "trips/norway"]
        assert (await collections.get(inner.id)).name == "trips/norway"
        assert [one.id async for one in shelf.library.find(collection="trips")] == [image.id]
        assert [one.name for one in await collections.of_image(image)] == ["trips/norway"]
        with pytest.raises(imagen.InvalidRequestError, match="two such names"):
            await collections.create("trips/norway/oslo")


async def test_a_collection_that_is_made_is_given_however_its_name_was_spaced(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        assert (await shelf.library.collections.create(" best ")).name == "best"
        assert (await shelf.library.collections.create("trips / norway")).name == "trips/norway"


async def test_deleting_a_collection_leaves_its_images(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        collections = shelf.library.collections
        image = await shelf.list_row()
        await collections.create("trips/norway")
        await collections.add("trips/norway", image)
        await collections.delete("trips")
        assert await collections.list() == []
        assert len(await shelf.library.list()) == 1
        await collections.create("trips/norway")
        assert await collections.images("trips/norway") == []


async def test_names_are_taken_once_and_can_be_changed(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        collections = shelf.library.collections
        await collections.create("a")
        await collections.create("b/a")
        with pytest.raises(imagen.InvalidRequestError, match="already"):
            await collections.create("a")
        assert (await collections.rename("b/a", "c")).name == "b/c"
        with pytest.raises(imagen.InvalidRequestError, match="already"):
            await collections.rename("a", "b")
        with pytest.raises(imagen.InvalidRequestError, match="without a slash"):
            await collections.rename("a", "x/y")


@pytest.mark.parametrize("hostile", ["", " ", "/", "a/", "a/b/c", "a\x1b[2J", "x" * 101, "a\n"])
async def test_names_that_make_no_sense_are_refused(tmp_path, hostile):
    async with open_shelf(tmp_path) as shelf:
        with pytest.raises(imagen.InvalidRequestError):
            await shelf.library.collections.create(hostile + "\x00")
        with pytest.raises(imagen.InvalidRequestError, match="Unknown collection"):
            await shelf.library.list(collection=hostile)


async def test_lineage_goes_from_the_first_image_to_all_that_was_made_of_it(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        root = await shelf.list_row(day=0, parent_id="f" * 16)
        child = await shelf.list_row(day=1, parent_id=root.id)
        other = await shelf.list_row(day=2, parent_id=root.id)
        leaf = await shelf.list_row(day=3, parent_id=child.id)
        for image in (root, child, other, leaf):
            tree = await shelf.library.lineage(image.id)
            assert tree.image.id == root.id
            assert tree.missing_parent == "f" * 16
            assert [one.image.id for one in tree.children] == [child.id, other.id]
            assert [one.image.id for one in tree.children[0].children] == [leaf.id]
        assert await shelf.library.lineage("0" * 16) is None


async def test_a_lineage_that_bites_its_tail_ends(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        one = await shelf.list_row(id="a" * 16, parent_id="b" * 16)
        await shelf.list_row(id="b" * 16, parent_id="a" * 16)
        await shelf.list_row(id="c" * 16, parent_id="c" * 16)
        assert (await shelf.library.lineage(one)) is not None
        assert (await shelf.library.lineage("c" * 16)).children == ()


@pytest.mark.sqlite
async def test_a_long_line_is_no_trouble(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        parent = None
        for number in range(1200):
            parent = await shelf.list_row(
                id=f"{number:016x}", day=number, parent_id=parent and parent.id
            )
        assert (await shelf.library.lineage(f"{5:016x}")).image.id == f"{0:016x}"


@pytest.mark.sqlite
async def test_no_collection_is_looked_for_one_by_one(tmp_path, monkeypatch):
    plans: list[str] = []
    fetch = imagen._storage.database.SqliteEngine.fetch

    def explain(self, sql, values):
        plans.extend(str(row[3]) for row in fetch(self, f"EXPLAIN QUERY PLAN {sql}", values))
        return fetch(self, sql, values)

    async with open_shelf(tmp_path) as shelf:
        await shelf.library.collections.create("trips/norway")
        monkeypatch.setattr("imagen._storage.database.SqliteEngine.fetch", explain)
        for name in ("trips", "trips/norway"):
            await shelf.library.collections.images(name)
            await shelf.library.collections.ids_within(name)
    assert plans
    assert not [plan for plan in plans if plan.startswith("SCAN") and plan != "SCAN CONSTANT ROW"]
