"""A library that an earlier version wrote is found and searched like any other."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import imagen
from imagen._storage.full_text import image_facets, input_hashes
from tests.support.library import open_shelf

MIGRATIONS = Path(imagen.__file__).parent / "_storage" / "migrations"
IMAGE = (
    "INSERT INTO images (id, attempt_id, batch_index, sha256, media_type, width, height,"
    " size_bytes, provider, model, request, cost_nanousd, cost_source, adjustments, seconds,"
    " created_at, parent_id) VALUES (?, 'a', 0, ?, 'image/png', 8, 8, 100, 'openai', 'gpt-image-1',"
    " ?, 40000000, 'computed', '[]', 1.5, ?, ?)"
)


def write_old_library(path: Path) -> None:
    """As the version before this one left it: numbers in the order of
    finishing, no facets.
    """
    with closing(sqlite3.connect(path)) as database:
        for number, script in enumerate(sorted(MIGRATIONS.glob("000[1-4]*.sql")), start=1):
            database.executescript(script.read_text("utf-8"))
            database.execute(f"PRAGMA user_version = {number}")
        database.execute(
            "INSERT INTO attempts (id, batch_id, provider, model, operation, images, request,"
            " state, owner, created_at) VALUES ('a', 'batch', 'openai', 'gpt-image-1', 'generate',"
            " 3, '{}', 'succeeded', 'o', 0)"
        )
        request = '{"operation":"generate","prompt":"a lighthouse %d","model":"gpt-image-1"}'
        # Two of one moment, and one that finished later than it was made.
        for number, moment in enumerate((1_790_000_000.5, 1_790_000_000.5, 1_789_999_999.0)):
            parent = None if number == 0 else f"{0:016x}"
            database.execute(
                IMAGE, (f"{number:016x}", f"{number:064x}", request % number, moment, parent)
            )
        database.commit()


async def test_old_images_are_found_in_the_order_of_time(tmp_path):
    write_old_library(tmp_path / "imagen.sqlite3")
    async with open_shelf(tmp_path) as shelf:
        images = await shelf.library.list()
        assert [image.id for image in images] == [f"{number:016x}" for number in (1, 0, 2)]
        assert [image.prompt for image in await shelf.library.search("lighthouse 2")] == [
            "a lighthouse 2"
        ]
        assert len(await shelf.library.list(model="gpt-image-1", order="cost")) == 3
        assert (await shelf.library.size()).size_bytes == 300
        assert len((await shelf.library.lineage(f"{2:016x}")).children) == 2
        assert len(await shelf.library.of_batch("batch")) == 3
        await shelf.library.tag(images, ["old"])
        assert dict(await shelf.library.tags()) == {"old": 3}
        # They have no file here.
        assert {finding.kind for finding in await shelf.library.check()} == {"missing"}


async def test_an_old_library_without_an_image_is_opened(tmp_path):
    path = tmp_path / "imagen.sqlite3"
    write_old_library(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("DELETE FROM images")
        database.commit()
    async with open_shelf(tmp_path) as shelf:
        assert await shelf.library.list() == []
        assert (await shelf.library.size()).images == 0


def index_as_before(path: Path) -> None:
    """Index the images as the versions up to migration 7 did: by the spaces."""
    with closing(sqlite3.connect(path)) as database:
        database.create_function("as_searched", 1, lambda text: (text or "").casefold())
        database.create_function("image_facets", 13, image_facets)
        database.create_function("input_hashes", 1, input_hashes)
        for number in range(5, 8):
            (script,) = MIGRATIONS.glob(f"{number:04}*.sql")
            database.executescript(script.read_text("utf-8"))
            database.execute(f"PRAGMA user_version = {number}")
        request = '{"operation":"generate","prompt":"วาดประภาคารริมทะเล","model":"gpt-image-1"}'
        database.execute("UPDATE images SET request = ? WHERE batch_index = 0", (request,))
        database.execute("UPDATE images SET rating = 1")
        database.execute(
            "INSERT INTO prompts (number, name, version, created_at) VALUES (1, 'sea', 1, 0)"
        )
        database.execute(
            "INSERT INTO prompt_versions VALUES (1, 1, '등대가 보이는 바다', NULL, '[]', '{}', 0)"
        )
        database.execute(
            "INSERT INTO prompt_search (rowid, name, text, tags, notes)"
            " VALUES (1, 'sea', '등대가 보이는 바다', '', '')"
        )
        database.commit()


async def test_words_of_an_old_index_are_found_inside_sentences(tmp_path):
    write_old_library(tmp_path / "imagen.sqlite3")
    index_as_before(tmp_path / "imagen.sqlite3")
    async with open_shelf(tmp_path) as shelf:
        assert len(await shelf.library.search("ประภาคาร")) == 3
        assert len(await shelf.library.list(rating=1)) == 3
    async with imagen.prompts.open_prompts(tmp_path) as prompts:
        assert [prompt.name for prompt in await prompts.list("등대")] == ["sea"]
