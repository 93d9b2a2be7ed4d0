"""An export or an import that is cancelled, at whatever step, leaves nothing
half.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import trio

from imagen.testing import cancel_at_every_step
from tests.support.images import png
from tests.support.sharing import open_desk

IMAGES = 3


def test_a_cancelled_export_leaves_nothing_but_what_was_there():
    async def scenario(scope: trio.CancelScope) -> None:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "out")
            out.mkdir()
            async with open_desk(Path(folder, "home")) as desk:
                for day in range(IMAGES):
                    await desk.shelf.add(day=day, data=png((day, 1, 1)))
                with scope:
                    await desk.archives.export_to(out / "all.zip")
            left = [path.name for path in out.iterdir()]
            assert left in ([], ["all.zip"])
            if left:
                with zipfile.ZipFile(out / "all.zip") as archive:
                    assert len(archive.read("records.jsonl").splitlines()) == IMAGES
            assert left or scope.cancelled_caught

    assert cancel_at_every_step(scenario, every=3) > 5


def test_a_cancelled_import_is_completed_by_the_next():
    async def scenario(scope: trio.CancelScope) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "all.zip")
            async with open_desk(Path(folder, "before")) as desk:
                images = [
                    await desk.shelf.add(day=day, data=png((day, 1, 1))) for day in range(IMAGES)
                ]
                await desk.library.collections.create("sea")
                await desk.library.collections.add("sea", images)
                await desk.archives.export_to(path)
            async with open_desk(Path(folder, "after")) as desk:
                with scope:
                    await desk.archives.import_from(path)
                there = len(await desk.everything())
                assert await desk.library.check() == []
                done = await desk.archives.import_from(path)
                assert (done.added, done.already_there) == (IMAGES - there, there)
                assert (await desk.library.collections.get("sea")).images == IMAGES

    assert cancel_at_every_step(scenario, every=3) > 5
