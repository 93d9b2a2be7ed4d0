"""Renditions are made once, kept whole, and go when they are the oldest."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import trio

import imagen
from imagen.library import Renditions, Transform, apply_transform, thumbnail
from imagen.testing import InlineWorkers
from tests.support.drawings import decoded, encoded, halves, image_of, scene

SMALL = Transform(width=32, format="webp")


class CountingWorkers(InlineWorkers):
    """Says how often each image was made, and lets others run meanwhile."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0

    async def run(self, call):
        self.running += 1
        self.most = max(self.most, self.running)
        await trio.sleep(1)
        try:
            return call()
        finally:
            self.running -= 1


@pytest.fixture
def cache(tmp_path: Path) -> Renditions:
    return Renditions(tmp_path / "renditions", InlineWorkers())


@pytest.fixture
def image(tmp_path: Path) -> imagen.Image:
    return image_of(encoded(halves()), tmp_path)


async def test_a_rendition_is_a_file_that_is_named_by_image_and_parameters(cache, image, tmp_path):
    path = await cache.get(image, SMALL)
    assert path.parent == tmp_path / "renditions" / image.sha256[:2]
    assert path.name.startswith(image.sha256 + "-")
    assert path.suffix == ".webp"
    assert decoded(path.read_bytes()).size == (32, 16)
    others = {
        await cache.get(image, other)
        for other in (SMALL, thumbnail(256), Transform(width=32), Transform())
    }
    assert len(others) == 4
    assert path in others


async def test_it_is_made_once_and_then_only_read(cache, image):
    path = await cache.get(image, SMALL)
    before = path.stat().st_ino
    image.path.unlink()
    assert await cache.get(image, SMALL) == path
    assert path.stat().st_ino == before


async def test_two_tasks_that_ask_at_once_make_it_once(tmp_path, image, autojump_clock):
    workers = CountingWorkers()
    cache = Renditions(tmp_path / "renditions", workers)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(cache.get, image, SMALL)
    assert workers.most == 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cache.get, image, SMALL)
        nursery.start_soon(cache.get, image, thumbnail(256))
    assert workers.most == 2


async def test_one_that_was_cancelled_or_failed_leaves_the_others_to_make_it(
    tmp_path, image, autojump_clock
):
    cache = Renditions(tmp_path / "renditions", CountingWorkers())
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.5) as scope:
            await cache.get(image, SMALL)
        nursery.start_soon(cache.get, image, SMALL)
    assert scope.cancelled_caught
    assert len(list((tmp_path / "renditions").rglob("*.webp"))) == 1


@pytest.mark.parametrize(
    ("format", "damage"),
    [(format, damage) for format in ("png", "jpeg", "webp") for damage in ("cut", "empty", "zeros")]
    # The middle of an AVIF file looks like its end.
    + [("avif", "empty"), ("avif", "zeros")],
)
async def test_a_damaged_file_is_made_again(cache, image, format, damage):
    transform = Transform(width=32, format=format)
    path = await cache.get(image, transform)
    whole = path.read_bytes()
    path.write_bytes(
        {"cut": whole[: len(whole) // 2], "empty": b"", "zeros": bytes(len(whole))}[damage]
    )
    assert (await cache.get(image, transform)).read_bytes() == whole


async def test_an_image_in_memory_is_transformed_and_never_written(cache, tmp_path):
    image = image_of(encoded(halves()))
    data = await cache.read(image, SMALL)
    assert data == apply_transform(image.data, SMALL)
    with pytest.raises(imagen.InvalidRequestError, match="in memory only"):
        await cache.get(image, SMALL)
    assert not list(tmp_path.rglob("*.webp"))


async def test_the_bytes_of_a_rendition_are_those_of_its_file(cache, image):
    assert await cache.read(image, SMALL) == (await cache.get(image, SMALL)).read_bytes()


async def test_removing_takes_every_rendition_of_the_image_and_of_no_other(cache, image, tmp_path):
    other = image_of(encoded(scene(1)), tmp_path)
    kept = await cache.get(other, SMALL)
    gone = [await cache.get(image, SMALL), await cache.get(image, thumbnail(256))]
    assert await cache.remove(image.sha256) == 2
    assert await cache.remove(image.sha256) == 0
    assert kept.exists()
    assert not any(path.exists() for path in gone)
    assert await cache.remove("f" * 64) == 0
    with pytest.raises(imagen.InvalidRequestError, match="64 hexadecimal digits"):
        await cache.remove("../../etc")


async def test_trimming_takes_what_was_not_used_for_the_longest_time(cache, tmp_path):
    images = [image_of(encoded(scene(seed)), tmp_path) for seed in range(6)]
    paths = [await cache.get(image, SMALL) for image in images]
    for age, path in enumerate(paths):
        os.utime(path, (1000 + age, 1000 + age))
    await cache.get(images[0], SMALL)
    sizes = [path.stat().st_size for path in paths]
    assert await cache.trim(sum(sizes) - sizes[1] - sizes[2]) == sizes[1] + sizes[2]
    assert [path.exists() for path in paths] == [True, False, False, True, True, True]
    assert await cache.trim(0) > 0
    assert await cache.trim(0) == 0


async def test_trimming_clears_away_what_a_process_that_died_left(cache, image, tmp_path):
    path = await cache.get(image, SMALL)
    old, young = path.with_name(".a-1.part"), path.with_name(".b-2.part")
    for part in (old, young):
        part.write_bytes(b"half")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    await cache.trim(1 << 30)
    assert (old.exists(), young.exists(), path.exists()) == (False, True, True)


async def test_a_folder_that_cannot_be_written_is_said_in_a_sentence(image, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(imagen.StorageError, match="cannot be written"):
        await Renditions(tmp_path / "file", InlineWorkers()).get(image, SMALL)


async def test_renditions_that_cannot_be_deleted_are_said_in_a_sentence(cache, image, tmp_path):
    await cache.get(image, SMALL)
    folder = tmp_path / "renditions" / image.sha256[:2]
    (folder / f"{image.sha256}-folder").mkdir()
    with pytest.raises(imagen.StorageError, match="cannot be deleted"):
        await cache.remove(image.sha256)


async def test_an_image_that_is_deleted_while_its_rendition_is_made_leaves_none(
    cache, image, tmp_path, monkeypatch
):
    def make(source: bytes, transform: Transform) -> bytes:
        data = apply_transform(source, transform)
        image.path.unlink()
        return data

    monkeypatch.setattr("imagen.library._imaging.renditions.transform_or_placeholder", make)
    with pytest.raises(imagen.StorageError, match="deleted"):
        await cache.get(image, SMALL)
    assert [path for path in (tmp_path / "renditions").rglob("*") if path.is_file()] == []
