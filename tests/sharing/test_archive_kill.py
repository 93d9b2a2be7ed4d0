"""Processes that die in the middle of an export or an import."""

from __future__ import annotations

import subprocess
import sys
import time
import zipfile

import pytest

from imagen._system.threads import ThreadWorkers
from tests.support.images import png
from tests.support.paths import ROOT
from tests.support.sharing import Desk, open_desk

IMAGES = 40
CHILD = """
import sys, trio
from pathlib import Path
from imagen._system.threads import ThreadWorkers
from tests.support.sharing import open_desk

def tell(done):
    print(done, flush=True)

async def main(work, home, path):
    async with open_desk(Path(home), ThreadWorkers()) as desk:
        print("ready", flush=True)
        if work == "export":
            await desk.archives.export_to(path, on_progress=tell)
        else:
            await desk.archives.import_from(path, trusted=True, on_progress=tell)
        print("over", flush=True)

trio.run(main, *sys.argv[1:])
"""


def run_until(said: int, *arguments: str) -> bool:
    """Runs a child until it has said so many lines, and kills it a little
    later; gives whether it was over.
    """
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    lines = [child.stdout.readline() for _ in range(said + 1)]
    assert lines[0] == "ready\n"
    time.sleep(0.0007 * said)
    child.kill()
    return child.communicate()[0].endswith("over\n") or "over\n" in lines


async def fill(desk: Desk) -> list[str]:
    images = [
        await desk.shelf.add(day=day, data=png((day, 5, 5)), notes=f"note {day}")
        for day in range(IMAGES)
    ]
    await desk.library.collections.create("sea")
    await desk.library.collections.add("sea", images)
    return [image.id for image in images]


@pytest.mark.parametrize("said", [1, IMAGES - 1, IMAGES])
async def test_an_export_that_dies_leaves_no_half_archive_under_its_name(said, tmp_path):
    path = tmp_path / "out" / "all.zip"
    path.parent.mkdir()
    async with open_desk(tmp_path / "home", ThreadWorkers()) as desk:
        await fill(desk)
        over = run_until(said, "export", str(tmp_path / "home"), str(path))
        assert over <= path.exists()
        if path.exists():
            with zipfile.ZipFile(path) as archive:
                assert archive.testzip() is None
        assert {one.name for one in path.parent.iterdir() if not one.name.endswith(".part")} <= {
            "all.zip"
        }
        await desk.archives.export_to(path)
    with zipfile.ZipFile(path) as archive:
        assert len(archive.read("records.jsonl").splitlines()) == IMAGES


@pytest.mark.parametrize("said", [0, 1, 13, IMAGES])
async def test_an_import_that_dies_shows_nothing_half_and_is_completed_by_the_next(said, tmp_path):
    path = tmp_path / "all.zip"
    async with open_desk(tmp_path / "before", ThreadWorkers()) as desk:
        ids = await fill(desk)
        await desk.archives.export_to(path)
    run_until(said, "import", str(tmp_path / "after"), str(path))
    async with open_desk(tmp_path / "after", ThreadWorkers()) as desk:
        half = await desk.everything()
        assert [image.id for image in half] == ids[: len(half)]
        assert len(half) >= said
        assert all(image.data and image.notes for image in half)
        assert await desk.library.check() == []
        done = await desk.archives.import_from(path, trusted=True)
        assert (done.added, done.already_there, done.refused) == (IMAGES - len(half), len(half), ())
        assert [image.id for image in await desk.everything()] == ids
        assert [image.id for image in await desk.library.collections.images("sea")] == ids
        assert await desk.library.check() == []
