"""A database file that SQLite cannot read: it is found, renamed and never
deleted, and the images are listed again.
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

import imagen
from imagen.library import find_damage, put_aside
from tests.support.images import png
from tests.support.library import open_shelf


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def first_page(data: bytes) -> bytes:
    return data[:4096]


def inside_a_page(data: bytes) -> bytes:
    return data[:5000]


def zeroed_header(data: bytes) -> bytes:
    return bytes(100) + data[100:]


def zeroed_middle(data: bytes) -> bytes:
    return data[:4096] + bytes(len(data) - 4096)


def random_bytes(data: bytes) -> bytes:
    return random.Random(1).randbytes(len(data))


def text(data: bytes) -> bytes:
    return b"not a database\n" * 1000


def head_only(data: bytes) -> bytes:
    return data[:50]


DAMAGE: tuple[Callable[[bytes], bytes], ...] = (
    half,
    first_page,
    inside_a_page,
    zeroed_header,
    zeroed_middle,
    random_bytes,
    text,
    head_only,
)


def opened(home: Path) -> AbstractAsyncContextManager[imagen.Client]:
    return imagen.open_client(imagen.load_settings({"IMAGEN_HOME": str(home)}))


async def made(home: Path, images: int = 3) -> list[imagen.Image]:
    async with opened(home) as client:
        found = [
            await client.generate(f"x {number}", model="sketch", size="64x64")
            for number in range(images)
        ]
    assert len({image.sha256 for image in found}) == images
    # As after a clean end of all programs: the log is in the file.
    with sqlite3.connect(home / "imagen.sqlite3") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return found


def damage_file(home: Path, damage: Callable[[bytes], bytes]) -> bytes:
    path = home / "imagen.sqlite3"
    data = damage(path.read_bytes())
    path.write_bytes(data)
    for part in ("-wal", "-shm"):
        path.with_name(path.name + part).unlink(missing_ok=True)
    return data


async def test_a_whole_database_is_not_damaged(tmp_path):
    assert find_damage(tmp_path) is None
    await made(tmp_path)
    assert find_damage(tmp_path) is None


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_file_that_cannot_be_read_is_renamed_and_the_images_are_listed_again(
    damage, tmp_path
):
    images = await made(tmp_path)
    data = damage_file(tmp_path, damage)
    assert find_damage(tmp_path)
    aside = put_aside(tmp_path)
    assert aside.parent == tmp_path
    assert aside.read_bytes() == data
    assert not (tmp_path / "imagen.sqlite3").exists()
    async with opened(tmp_path) as client:
        findings = await client.library.check(repair=True)
        assert {finding.kind for finding in findings} == {"orphan"}
        listed = await client.library.list(tags=["recovered"])
        assert {image.sha256 for image in listed} == {image.sha256 for image in images}
        assert await client.library.check() == []
        assert await client.generate("y", model="sketch", size="64x64")


async def test_a_log_goes_with_its_database(tmp_path):
    for part in ("", "-wal", "-shm"):
        (tmp_path / f"imagen.sqlite3{part}").write_bytes(part.encode() or b"main")
    aside = put_aside(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        aside.name + part for part in ("", "-wal", "-shm")
    )
    assert aside.with_name(aside.name + "-wal").read_bytes() == b"-wal"


async def test_two_of_one_second_have_two_names(tmp_path):
    names = set()
    for number in range(3):
        (tmp_path / "imagen.sqlite3").write_bytes(b"%d" % number)
        names.add(put_aside(tmp_path))
    assert sorted(name.read_bytes() for name in names) == [b"0", b"1", b"2"]


async def test_a_database_in_use_is_left_alone(tmp_path):
    async with opened(tmp_path):
        before = (tmp_path / "imagen.sqlite3").read_bytes()
        with pytest.raises(imagen.StorageError, match="end it first"):
            put_aside(tmp_path)
        assert (tmp_path / "imagen.sqlite3").read_bytes() == before


async def test_a_database_that_is_held_is_not_called_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr("imagen._storage.unreadable_file._BUSY_SECONDS", 0.05)
    connection = sqlite3.connect(tmp_path / "imagen.sqlite3", isolation_level=None)
    connection.execute("CREATE TABLE images (a)")
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(imagen.StorageError, match="End the programs"):
        find_damage(tmp_path)
    connection.close()


@pytest.mark.parametrize("damaged_text", [b"\xff\xfe", b"\x00\xd8"])
async def test_a_damaged_row_is_no_damaged_file(tmp_path, damaged_text):
    await made(tmp_path, 1)
    with sqlite3.connect(tmp_path / "imagen.sqlite3") as connection:
        sql = "UPDATE attempts SET error_message = CAST(? AS TEXT)"
        connection.execute(sql, (damaged_text,))
    connection.close()
    assert find_damage(tmp_path) is None


async def test_an_image_that_holds_its_record_comes_back_with_it(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        image = await shelf.add(data=png(), prompt="a lighthouse")
        copy = image.save(tmp_path / "copy.png")
        data = copy.read_bytes()
        name = hashlib.sha256(data).hexdigest()
        path = shelf.library.files.path(name, "image/png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        (finding,) = await shelf.library.check(repair=True)
        assert finding.repaired == "listed again"
        (found,) = await shelf.library.list(tags=["recovered"])
    assert (found.prompt, found.model, found.provider) == (
        "a lighthouse",
        image.model,
        image.provider,
    )
