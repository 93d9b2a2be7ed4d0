"""Whatever is done to a library, in whatever order, it is what a dictionary
would be.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
import trio
import trio.lowlevel
from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from imagen import StoreSettings
from imagen.library._rows import insert_image, row_of
from imagen.sharing import Publisher
from imagen.testing import InlineWorkers
from tests.support.images import png
from tests.support.library import Shelf, open_shelf

NAMES = ("sea", "night")
IMAGES = st.integers(0, 5)
# Those that are there from the beginning.
FIRST = st.integers(0, 3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), IMAGES),
        st.tuples(st.just("tag"), IMAGES, st.sampled_from(NAMES), st.booleans()),
        st.tuples(st.just("rate"), IMAGES, st.integers(0, 5)),
        st.tuples(st.just("annotate"), IMAGES, st.sampled_from(("", "harbour"))),
        st.tuples(st.just("trash"), IMAGES),
        st.tuples(st.just("restore"), IMAGES),
        st.tuples(st.just("delete"), IMAGES),
        st.tuples(st.just("create"), st.sampled_from(NAMES)),
        st.tuples(st.just("collect"), st.just("sea"), IMAGES),
        st.tuples(st.just("collect"), st.just("sea"), IMAGES),
        st.tuples(st.just("collect"), st.just("night"), IMAGES),
        st.tuples(st.just("release"), st.sampled_from(NAMES), IMAGES),
        st.tuples(st.just("arrange"), st.just("sea"), st.lists(IMAGES, max_size=3)),
        st.tuples(st.just("drop"), st.sampled_from(NAMES)),
        st.tuples(st.just("edit"), IMAGES, IMAGES),
        st.tuples(st.just("clean"), st.integers(0, 2)),
        st.tuples(st.just("publish"), FIRST),
        st.tuples(st.just("publish"), FIRST),
        st.tuples(st.just("delete"), FIRST),
        st.tuples(st.just("unpublish"), FIRST),
        st.tuples(st.just("pass"), st.integers(1, 40)),
    ),
    min_size=12,
    max_size=30,
)
DAY = 86_400.0


@dataclass
class Kept:
    """What is known of an image."""

    image: imagen.Image
    tags: set[str] = field(default_factory=set)
    rating: int = 0
    notes: str = ""
    trashed_at: float | None = None


class Model:
    """Plain model of the library."""

    def __init__(self, shelf: Shelf, publisher: Publisher, store: Path) -> None:
        self.shelf = shelf
        self.publisher = publisher
        self.store = store
        self.published: set[str] = set()
        self.kept: dict[int, Kept] = {}
        self.collections: dict[str, list[int]] = {}
        self.known: dict[int, imagen.Image] = {}

    async def step(self, what: str, *given: object) -> None:
        await getattr(self, what)(*given)

    def _id(self, number: int) -> str:
        return self.known[number].id if number in self.known else "0" * 16

    async def add(self, number: int) -> None:
        if number not in self.known:
            self.known[number] = image = await self.shelf.add(
                day=number, data=png((max(number, 1), 0, 0))
            )
            self.kept[number] = Kept(image)

    async def edit(self, number: int, parent: int) -> None:
        if number not in self.known and parent in self.known:
            image = self.shelf.image(day=number, data=b"", parent_id=self._id(parent), size_bytes=0)
            self.known[number] = image
            self.kept[number] = Kept(image)
            await self.shelf.database.write([insert_image(row_of(image))])

    async def tag(self, number: int, tag: str, is_added: bool) -> None:
        await self.shelf.library.tag(
            self._id(number), [tag] if is_added else [], remove=[] if is_added else [tag]
        )
        if number in self.kept:
            (set.add if is_added else set.discard)(self.kept[number].tags, tag)

    async def rate(self, number: int, stars: int) -> None:
        changed = await self.shelf.library.rate(self._id(number), stars)
        assert changed == (number in self.kept and self.kept[number].rating != stars)
        if number in self.kept:
            self.kept[number].rating = stars

    async def annotate(self, number: int, notes: str) -> None:
        await self.shelf.library.annotate(self._id(number), notes)
        if number in self.kept:
            self.kept[number].notes = notes

    async def trash(self, number: int) -> None:
        changed = await self.shelf.library.trash(self._id(number))
        assert changed == (number in self.kept and self.kept[number].trashed_at is None)
        if changed:
            self.kept[number].trashed_at = self.shelf.clock.now

    async def restore(self, number: int) -> None:
        await self.shelf.library.restore(self._id(number))
        if number in self.kept:
            self.kept[number].trashed_at = None

    async def delete(self, number: int) -> None:
        assert await self.shelf.library.delete(self._id(number)) == (number in self.kept)
        self._forget(number)

    def _forget(self, number: int) -> None:
        self.kept.pop(number, None)
        for members in self.collections.values():
            if number in members:
                members.remove(number)

    async def create(self, name: str) -> None:
        if name not in self.collections:
            await self.shelf.library.collections.create(name)
            self.collections[name] = []

    async def collect(self, name: str, number: int) -> None:
        if name in self.collections:
            await self.shelf.library.collections.add(name, self._id(number))
            if number in self.kept and number not in self.collections[name]:
                self.collections[name].append(number)

    async def release(self, name: str, number: int) -> None:
        if name in self.collections:
            await self.shelf.library.collections.remove(name, self._id(number))
            if number in self.collections[name]:
                self.collections[name].remove(number)

    async def arrange(self, name: str, numbers: list[int]) -> None:
        if name in self.collections:
            await self.shelf.library.collections.arrange(
                name, [self._id(number) for number in numbers]
            )
            first = [
                number for number in dict.fromkeys(numbers) if number in self.collections[name]
            ]
            rest = [number for number in self.collections[name] if number not in first]
            self.collections[name] = first + rest

    async def drop(self, name: str) -> None:
        if name in self.collections:
            await self.shelf.library.collections.delete(name)
            del self.collections[name]

    async def clean(self, most: int) -> None:
        rules = imagen.library.CleanupRules(max_images=most)
        planned = await self.shelf.library.clean(rules, dry_run=True)
        assert await self.shelf.library.clean(rules) == planned
        now = self.shelf.clock.now
        overdue = [
            n
            for n, one in self.kept.items()
            if one.trashed_at is not None and one.trashed_at < now - 30 * DAY
        ]
        there = sorted(number for number, one in self.kept.items() if one.trashed_at is None)
        collected = {number for members in self.collections.values() for number in members}
        loose = [
            number for number in there if not self.kept[number].rating and number not in collected
        ]
        for number in loose[: max(0, len(there) - most)]:
            self.kept[number].trashed_at = now
        for number in overdue:
            self._forget(number)

    async def publish(self, number: int) -> None:
        if number in self.kept:
            image = self.kept[number].image
            (publication,) = await self.publisher.publish([image])
            # One without a file cannot be put anywhere.
            assert (publication.state == "published") == bool(image.size_bytes)
            if image.size_bytes:
                self.published.add(image.sha256)

    async def unpublish(self, number: int) -> None:
        if number in self.known:
            await self.publisher.unpublish([self.known[number]])
            self.published.discard(self.known[number].sha256)

    async def pass_(self, days: int) -> None:
        await trio.lowlevel.checkpoint()
        self.shelf.clock.now += days * DAY

    # --- what must be true at every moment ------------------------------------

    async def compare(self) -> None:
        library = self.shelf.library
        listed = {image.id: image async for image in library.find(state="any")}
        assert set(listed) == {one.image.id for one in self.kept.values()}
        for one in self.kept.values():
            image = listed[one.image.id]
            assert (set(image.tags), image.rating, image.notes) == (one.tags, one.rating, one.notes)
            assert (image.trashed_at is None) == (one.trashed_at is None)
        await self._compare_finding()
        await self._compare_collections()
        sizes = [one.image.size_bytes for one in self.kept.values() if one.trashed_at is None]
        size = await library.size()
        assert (size.images, size.size_bytes) == (len(sizes), sum(sizes))
        assert size.trashed_images == len(self.kept) - len(sizes)
        files = {path.stem for path in library.folder.rglob("*.png")}
        there = {one.image.sha256 for one in self.kept.values() if one.image.size_bytes}
        assert files == there
        # What was deleted for good goes from the store too.
        self.published &= there
        while (await self.publisher.status()).removing:
            await trio.lowlevel.checkpoint()
        assert {path.stem for path in self.store.rglob("*.png")} == self.published

    async def _compare_finding(self) -> None:
        library = self.shelf.library
        counts: dict[str, int] = {}
        for tag in NAMES:
            ids = {image.id async for image in library.find(tags=[tag])}
            assert ids == {
                one.image.id
                for one in self.kept.values()
                if tag in one.tags and one.trashed_at is None
            }
            if count := sum(tag in one.tags for one in self.kept.values()):
                counts[tag] = count
        assert dict(await library.tags()) == counts
        noted = {image.id async for image in library.find("harbour", state="any")}
        assert noted == {one.image.id for one in self.kept.values() if one.notes}

    async def _compare_collections(self) -> None:
        collections = self.shelf.library.collections
        assert {one.name: one.images for one in await collections.list()} == {
            name: sum(self.kept[number].trashed_at is None for number in members)
            for name, members in self.collections.items()
        }
        for name, members in self.collections.items():
            there = [self._id(number) for number in members if self.kept[number].trashed_at is None]
            assert [image.id for image in await collections.images(name)] == there
            assert {image.id async for image in self.shelf.library.find(collection=name)} == set(
                there
            )


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_a_library_is_what_was_done_to_it(steps):
    do_and_compare(steps)


@pytest.mark.usefixtures("on_postgresql")
@settings(deadline=None, max_examples=6)
@given(STEPS)
def test_a_library_on_postgresql_is_what_was_done_to_it(steps):
    do_and_compare(steps)


def do_and_compare(steps):
    async def main() -> None:
        with tempfile.TemporaryDirectory() as home:
            async with open_shelf(Path(home)) as shelf, trio.open_nursery() as nursery:
                store = Path(home) / "store"
                store.mkdir()
                publisher = Publisher(
                    shelf.database,
                    InlineWorkers(),
                    StoreSettings(url=store.as_uri()),
                    read=shelf.library.files.find_input,
                    now=shelf.clock,
                )
                await nursery.start(publisher.run)
                model = Model(shelf, publisher, store)
                for number in range(4):
                    await model.add(number)
                await model.create("sea")
                await model.collect("sea", 0)
                for what, *given_ in steps:
                    await model.step("pass_" if what == "pass" else what, *given_)
                    await model.compare()
                # Images without a file are those that this test made up.
                findings = await shelf.library.check()
                made_up = {one.image.id for one in model.kept.values() if not one.image.size_bytes}
                assert all(
                    finding.kind == "missing" and finding.image_id in made_up
                    for finding in findings
                )
                publisher.close()

    with pytest.MonkeyPatch.context() as patch:
        # A trigger does not wake the loop, so it is looked for what there is to do.
        patch.setattr("imagen.sharing._publishing.publisher._LOOK_SECONDS", 0.001)
        trio.run(main)


def test_the_model_knows_every_field_that_can_be_set():
    assert {"tags", "rating", "notes", "trashed_at"} <= {
        field.name for field in msgspec.structs.fields(imagen.Image)
    }
