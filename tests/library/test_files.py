"""Image files: written side by side, each whole and durable, or with an error."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest
import trio

from imagen._errors import StorageError
from imagen._system.threads import ThreadWorkers
from imagen.library._files import ImageFiles


def path_in(files: ImageFiles, folder: str, number: int) -> Path:
    return files.path(folder + f"{number:063x}", "image/png")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="names descriptors by /proc")
async def test_files_of_several_folders_are_fsynced_side_by_side(monkeypatch, tmp_path):
    files = ImageFiles(tmp_path, ThreadWorkers(images=4))
    # The first file is a group of its own, and the others join behind it.
    several = threading.Barrier(4)
    real, first = os.fsync, [True]

    def fsync(descriptor: int) -> None:
        if not first and os.readlink(f"/proc/self/fd/{descriptor}").endswith(".part"):
            several.wait(timeout=10)
        real(descriptor)

    async def store(folder: str) -> None:
        await files.store(folder.encode(), path_in(files, folder, 1))
        first.clear()

    monkeypatch.setattr(os, "fsync", fsync)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for folder in "01234":
                nursery.start_soon(store, folder)
    assert [path_in(files, folder, 1).read_text() for folder in "01234"] == [*"01234"]


async def test_a_file_that_fails_spoils_no_other(monkeypatch, tmp_path):
    files = ImageFiles(tmp_path, ThreadWorkers(images=4))
    (tmp_path / "3").write_text("a file where a folder should be")
    failed: list[str] = []

    async def store(folder: str, number: int) -> None:
        try:
            await files.store(b"x", path_in(files, folder, number))
        except StorageError:
            failed.append(f"{folder}{number}")

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(store, f"{number % 16:x}", number)
    assert sorted(failed) == sorted(f"3{number}" for number in range(100) if number % 16 == 3)
    written = {int(path.stem, 16) & 0xFF for path in tmp_path.glob("?/*.png")}
    assert written == {number for number in range(100) if number % 16 != 3}
    assert not list(tmp_path.glob("*/.*"))


async def test_the_disk_is_asked_once_for_all_that_come_together(monkeypatch, tmp_path):
    files = ImageFiles(tmp_path, ThreadWorkers(images=4))
    real, asked = shutil.disk_usage, list[str]()

    def disk_usage(folder: Path) -> object:
        asked.append(str(folder))
        return real(folder)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(files.check_room)
    assert asked == [str(tmp_path)]
