"""Images that look alike are found, all of them within the distance, and
quickly among many.
"""

from __future__ import annotations

import hashlib
import random
import sys
from array import array
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from imagen._requests.request import encode_request
from imagen._storage.database import Database
from imagen.library import Similar, Transform, apply_transform, hash_distance, perceptual_hash
from imagen.library._imaging.grouping import group_hashes
from imagen.library._imaging.similar import _HASH_OF, _KEEP, _NEWEST_OF, _PAGE_OF_HASHES, _UNHASHED
from imagen.testing import InlineWorkers
from tests.support.drawings import bomb, decoded, encoded, image_of, scene

pytestmark = pytest.mark.usefixtures("engine")

REQUEST = encode_request(imagen.Generate(prompt="a test"))
SIGNED = st.integers(-(1 << 63), (1 << 63) - 1)


def signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


class Shelf:
    """A library's table of images, with the bytes beside it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.files: dict[str, bytes] = {}
        self.reads: list[str] = []
        self.similar = Similar(database, InlineWorkers(), read=self.read)

    def read(self, sha256: str) -> bytes | None:
        self.reads.append(sha256)
        return self.files.get(sha256)

    async def add(self, *images: bytes) -> None:
        for data in images:
            sha256 = hashlib.sha256(data).hexdigest()
            self.files[sha256] = data
            await self.list([sha256])

    async def list(self, hashes: list[str]) -> None:
        rows = await self.database.read("SELECT coalesce(max(number), 0) FROM images")
        first = rows[0][0] + 1
        await self.database.write(
            (
                (
                    "INSERT INTO images (number, id, batch_index, sha256, media_type, width,"
                    " height, size_bytes, provider, model, request, cost_source, adjustments,"
                    " seconds, created_at) VALUES (?, ?, 0, ?, 'image/png', 8, 8, 1, 'test',"
                    " 'test', ?, 'unknown', '[]', 0.0, 1.0)"
                ),
                (number, f"{number:032x}", sha256, REQUEST),
            )
            for number, sha256 in enumerate(hashes, start=first)
        )


@pytest.fixture
async def shelf(tmp_path: Path):
    database = await Database.open(tmp_path / "imagen.sqlite3", InlineWorkers())
    yield Shelf(database)
    await database.aclose()


def test_the_same_image_in_other_forms_has_nearly_the_same_hash():
    original = encoded(scene(3, (300, 200)))
    looks = perceptual_hash(original)
    for transform in (
        Transform(width=150),
        Transform(width=90, format="webp", quality=60),
        Transform(format="jpeg", quality=40),
    ):
        assert hash_distance(looks, perceptual_hash(apply_transform(original, transform))) <= 4
    others = [perceptual_hash(encoded(scene(seed))) for seed in range(4, 12)]
    assert min(hash_distance(looks, other) for other in others) > 7


@given(SIGNED, SIGNED)
def test_the_distance_is_the_number_of_bits_that_differ(first, second):
    mask = (1 << 64) - 1
    assert hash_distance(first, second) == bin((first & mask) ^ (second & mask)).count("1")
    assert hash_distance(first, first) == 0


def test_a_hash_fits_into_a_signed_column():
    found = [perceptual_hash(encoded(scene(seed))) for seed in range(10)]
    assert all(-(1 << 63) <= one < 1 << 63 for one in found)
    assert min(found) < 0


def test_without_the_package_a_sentence_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagehash", None)
    with pytest.raises(imagen.ConfigurationError, match=r'pip install "imagen-trio\[similar\]"'):
        perceptual_hash(encoded(scene(1)))


async def test_similar_images_are_found_and_others_are_not(shelf, tmp_path):
    original = encoded(scene(3, (200, 200)))
    small = apply_transform(original, Transform(width=100, format="jpeg"))
    await shelf.add(original, encoded(scene(4)), small, encoded(scene(5)))
    seen = []
    found = await shelf.similar.to(
        original, progress=lambda done, total: seen.append((done, total))
    )
    assert {int(id, 16) for id, _ in found} == {1, 3}
    assert found[0][1] == 0
    assert seen == [(4, 4)]
    image = image_of(original, tmp_path, id=f"{1:032x}")
    assert [int(id, 16) for id, _ in await shelf.similar.to(image)] == [3]
    # Its hash is kept, so the file is not looked at again; that of an image
    # from elsewhere is.
    image.path.unlink()
    assert [int(id, 16) for id, _ in await shelf.similar.to(image)] == [3]
    foreign = image_of(original, id="f" * 32)
    assert {int(id, 16) for id, _ in await shelf.similar.to(foreign)} == {1, 3}


async def test_an_image_is_hashed_once_and_the_same_bytes_too(shelf):
    data = encoded(scene(1))
    await shelf.add(data, data, encoded(scene(2)))
    await shelf.similar.to(data)
    await shelf.add(data, encoded(scene(3)))
    await shelf.similar.to(data)
    assert len(shelf.reads) == len(set(shelf.reads)) == 3
    assert len(await shelf.similar.to(data)) == 3


async def test_a_missing_or_damaged_image_has_no_hash_and_stops_no_search(shelf):
    await shelf.add(bomb(), b"nothing")
    await shelf.list(["f" * 64])
    await shelf.add(encoded(scene(1)))
    assert len(await shelf.similar.to(encoded(scene(1)))) == 1
    assert len(shelf.reads) == 4
    await shelf.similar.to(encoded(scene(1)))
    assert len(shelf.reads) == 4


async def test_a_disk_that_failed_is_asked_again_the_next_time(shelf):
    data = encoded(scene(1))
    await shelf.add(data)
    shelf.similar._read = failing_once(shelf.read)
    assert await shelf.similar.to(data) == []
    assert len(await shelf.similar.to(data)) == 1


def failing_once(read):
    failures = [OSError("the disk is away")]

    def reading(sha256):
        if failures:
            raise failures.pop()
        return read(sha256)

    return reading


async def test_a_cancellation_keeps_the_hashes_that_were_made(shelf):
    await shelf.add(*[encoded(scene(seed)) for seed in range(70)])
    with trio.CancelScope() as scope:
        await shelf.similar.hash_missing(lambda done, total: scope.cancel())
    assert scope.cancelled_caught
    assert (await shelf.database.read("SELECT count(*) FROM image_hashes"))[0][0] == 64
    newest_first = await shelf.database.read("SELECT max(number) FROM images_unhashed")
    assert newest_first[0][0] == 6


async def test_images_in_the_trash_and_deleted_ones_are_left_out(shelf):
    data = encoded(scene(1))
    await shelf.add(data, data, data)
    assert len(await shelf.similar.to(data)) == 3
    assert len(await shelf.similar.to(data, limit=2)) == 2
    await shelf.database.write([("UPDATE images SET trashed_at = 1.0 WHERE number = 1", ())])
    assert len(await shelf.similar.to(data)) == 2
    assert await shelf.similar.groups() == [(f"{3:032x}", f"{2:032x}")]
    await shelf.database.write([("DELETE FROM images WHERE number = 2", ())])
    assert [int(id, 16) for id, _ in await shelf.similar.to(data)] == [3]
    assert await shelf.similar.groups() == []
    assert (await shelf.database.read("SELECT count(*) FROM image_hashes"))[0][0] == 2


async def test_nothing_is_hashed_in_an_empty_library(shelf):
    assert await shelf.similar.to(encoded(scene(1))) == []
    assert await shelf.similar.groups() == []


@pytest.mark.parametrize(
    "wrong", [{"max_distance": 8}, {"max_distance": -1}, {"limit": 0}, {"limit": 1001}]
)
async def test_what_cannot_be_answered_exactly_is_refused(shelf, wrong):
    with pytest.raises(imagen.InvalidRequestError, match="distance from 0 to 7"):
        await shelf.similar.to(encoded(scene(1)), **wrong)
    with pytest.raises(imagen.InvalidRequestError, match="expected 0 to 7"):
        await shelf.similar.groups(max_distance=8)


@pytest.mark.sqlite
async def test_among_a_hundred_thousand_the_answer_is_exact(shelf):
    chance = random.Random(7)
    data = encoded(scene(1))
    looks = perceptual_hash(data)
    hashes = [signed(chance.getrandbits(64)) for _ in range(100_000)]
    for place in range(0, 2000, 2):
        bits = sum(1 << bit for bit in chance.sample(range(64), chance.randint(0, 9)))
        hashes[place] = signed((looks ^ bits) & ((1 << 64) - 1))
    # What else is kept of a new image takes its time, and is no matter here.
    await shelf.database.write([("DROP TRIGGER images_listed", ())])
    await shelf.list(["0" * 64] * len(hashes))
    await shelf.database.write([("DELETE FROM images_unhashed", ())])
    await shelf.database.write(
        (_KEEP, (phash, number)) for number, phash in enumerate(hashes, start=1)
    )
    for max_distance in (0, 3, 7):
        found = await shelf.similar.to(data, limit=1000, max_distance=max_distance)
        expected = {
            f"{number:032x}": distance
            for number, phash in enumerate(hashes, start=1)
            if (distance := hash_distance(looks, phash)) <= max_distance
        }
        assert dict(found) == expected
        assert [distance for _, distance in found] == sorted(distance for _, distance in found)


@pytest.mark.sqlite
async def test_every_question_is_answered_by_an_index(shelf):
    probes = ", ".join("?" * 17)
    questions = [
        (_UNHASHED, (0, 1)),
        (_PAGE_OF_HASHES, (0, 1)),
        (_HASH_OF, ("0",)),
        (_NEWEST_OF, (0, 0, 0, 1)),
        (f"SELECT phash FROM image_hashes WHERE phash >> 32 & 65535 IN ({probes})", (0,) * 17),
    ]
    for sql, values in questions:
        plan = [
            str(row[3]) for row in await shelf.database.read(f"EXPLAIN QUERY PLAN {sql}", values)
        ]
        assert plan
        assert not any(step.startswith("SCAN") for step in plan), (sql, plan)


@settings(max_examples=40, deadline=None)
@given(
    seeds=st.lists(SIGNED, min_size=1, max_size=6, unique=True),
    flips=st.lists(
        st.tuples(st.integers(0, 5), st.lists(st.integers(0, 63), max_size=8)), max_size=25
    ),
    max_distance=st.integers(0, 7),
)
def test_groups_are_those_that_chains_of_near_images_make(seeds, flips, max_distance):
    hashes = list(seeds)
    for which, bits in flips:
        looks = hashes[which % len(hashes)] & ((1 << 64) - 1)
        for bit in bits:
            looks ^= 1 << bit
        hashes.append(signed(looks))
    expected = chained(hashes, max_distance)
    found = group_hashes(array("q", range(len(hashes))), array("q", hashes), max_distance)
    assert {frozenset(group) for group in found} == expected
    assert [len(group) for group in found] == sorted((len(group) for group in found), reverse=True)
    assert all(group == sorted(group, reverse=True) for group in found)


def chained(hashes: list[int], max_distance: int) -> set[frozenset[int]]:
    """By looking at every pair, again and again."""
    groups = [{place} for place in range(len(hashes))]
    for first in range(len(hashes)):
        for second in range(first):
            if hash_distance(hashes[first], hashes[second]) <= max_distance:
                one = next(group for group in groups if first in group)
                other = next(group for group in groups if second in group)
                if one is not other:
                    groups.remove(other)
                    one |= other
    return {frozenset(group) for group in groups if len(group) > 1}


async def test_near_duplicates_are_grouped(shelf):
    originals = [encoded(scene(seed, (200, 200))) for seed in (1, 2, 3)]
    smaller = [apply_transform(data, Transform(width=100)) for data in originals[:2]]
    tiny = apply_transform(originals[0], Transform(width=64, format="webp"))
    await shelf.add(*originals, *smaller, tiny)
    groups = await shelf.similar.groups()
    assert [[int(id, 16) for id in group] for group in groups] == [[6, 4, 1], [5, 2]]
    assert decoded(tiny).width == 64
