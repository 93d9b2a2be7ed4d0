"""Processes that share a library, and die in the middle of whatever they do to
it.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

import imagen
from imagen._system.threads import ThreadWorkers
from tests.support.lengths import length
from tests.support.library import open_shelf
from tests.support.paths import ROOT

# Adds images, looks after them, trashes, cleans and deletes, for ever; says
# what it has done after it is done.
CHILD = """
import random, sys, trio
from pathlib import Path
from imagen.library import CleanupRules
from imagen._system.threads import ThreadWorkers
from tests.support.library import open_shelf
from tests.support.images import png

async def main(home, seed):
    rnd = random.Random(seed)
    async with open_shelf(Path(home), ThreadWorkers()) as shelf:
        library = shelf.library
        print("ready", flush=True)
        while True:
            colour = (rnd.randrange(256), rnd.randrange(256), seed)
            image = await shelf.add(day=rnd.random() * 300, data=png(colour))
            print("added", image.id, image.sha256, flush=True)
            await library.tag(image, [rnd.choice(("sea", "night"))])
            try:
                await library.collections.create("all")
            except Exception:
                pass
            if rnd.random() < 0.3:
                await library.collections.add("all", image)
            elif rnd.random() < 0.3:
                await library.rate(image, 5)
            await library.clean(CleanupRules(max_images=15, trash_days=0))
            shelf.clock.now += 1

trio.run(main, sys.argv[1], int(sys.argv[2]))
"""


def start(home: Path, seed: int) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(home), str(seed)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


@pytest.mark.parametrize("seed", range(length(6, short=2)))
async def test_a_killed_process_leaves_a_library_that_is_whole(tmp_path, seed):
    rnd = random.Random(seed)
    children = [start(tmp_path, seed * 10), start(tmp_path, seed * 10 + 1)]
    time.sleep(0.1 + rnd.random() * 0.6)
    for child in children:
        child.kill()
    told = [child.communicate()[0].splitlines() for child in children]
    assert any(lines for lines in told)
    async with open_shelf(tmp_path, ThreadWorkers()) as shelf:
        assert await shelf.library.check() == []
        await shelf.library.delete([])
        assert await shelf.library.check() == []
        assert await shelf.database.read("SELECT 1 FROM removals") == []
        await compare_with_what_is_kept(shelf.library)


async def compare_with_what_is_kept(library: imagen.library.Library) -> None:
    images = [image async for image in library.find(state="any")]
    assert all(image.data for image in images)
    kept = [image for image in images if image.trashed_at is None]
    size = await library.size()
    assert (size.images, size.trashed_images) == (len(kept), len(images) - len(kept))
    assert size.size_bytes == sum(image.size_bytes for image in kept)
    for tag, count in await library.tags():
        assert count == sum(tag in image.tags for image in images)
    for collection in await library.collections.list():
        members = await library.collections.images(collection.name, limit=1000)
        assert collection.images == len(members)
        assert {image.id for image in members} == {
            image.id async for image in library.find(collection=collection.name)
        }


async def test_several_may_look_after_the_same_images_at_once(tmp_path):
    async with open_shelf(tmp_path, ThreadWorkers()) as shelf:
        images = [await shelf.add(day=day) for day in range(20)]
    code = (
        "import sys, trio, imagen\n"
        "async def main():\n"
        "    async with imagen.open_client() as client:\n"
        "        for image_id in sys.argv[2:]:\n"
        "            await client.library.tag(image_id, [sys.argv[1]])\n"
        "trio.run(main)"
    )
    environ = {"IMAGEN_HOME": str(tmp_path), "HOME": str(tmp_path)}
    ids = [image.id for image in images]
    children = [
        subprocess.Popen([sys.executable, "-c", code, f"tag{n}", *ids], env=environ)
        for n in range(3)
    ]
    assert [child.wait(timeout=60) for child in children] == [0, 0, 0]
    async with open_shelf(tmp_path, ThreadWorkers()) as shelf:
        assert {image.tags async for image in shelf.library.find()} == {("tag0", "tag1", "tag2")}
        assert dict(await shelf.library.tags()) == {"tag0": 20, "tag1": 20, "tag2": 20}
