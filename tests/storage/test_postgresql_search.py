"""Both engines find the same images by the same words."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import imagen
from imagen._storage import engines as module
from imagen._storage.database import Database
from imagen._storage.engines import open_database
from imagen._storage.sql_dialect import translate
from imagen._system.secret import Secret
from imagen._system.threads import ThreadWorkers
from imagen.library import Library
from imagen.library._rows import insert_image, row_of
from imagen.sharing._publishing.publications import publish_new_images
from imagen.testing import InlineWorkers
from tests.library.test_search import HOSTILE
from tests.storage.test_full_text import FOUND, NOT_FOUND
from tests.support.library import Shelf

MIGRATION = "0001_ledger_sessions_images.sql"
TEXTS = (
    "A neon lighthouse, at dusk",
    "a lighthouse in the rain; neon-lit, f/2.8 @ 35mm, v6.1",
    "un café à Orléans, l'été — crème brûlée",
    "cafe\u0301 in parts, Straße, ISTANBUL, \u0130stanbul, Σίσυφος",
    "夜晚的灯塔和海 夜晚的灯塔",
    "a 🏠 on a hill, ½ price, x² + y²",
    "x" * 700 + "tail",
    "x" * 700 + "other",
    "one, two, one, three, one two three",
    "don't stop / it's 50% off_now \\ 'quoted' \"twice\"",
    "naïve façade coöperate Ångström ǆ ﬁre",
    "Привет, Ёлка и ёж; Ελλάδα",
    "t666c75 r5 trashed =r0",
)
QUERIES = (
    "lighthouse", "neon lighthouse", '"neon lighthouse"', '"lighthouse neon"', "lighthouse -neon",
    "light*", "neon-lit", '"neon lit"', "-dusk lighthouse", 'lighthouse -"neon lighthouse"',
    '"neon li"*', "nEoN", "cafe", "café", "CAFÉ", "orleans", "creme brulee", '"creme brûlée"',
    "strasse", "Straße", "istanbul", "σισυφος", "Σίσυφος", "灯塔", "塔灯", '"灯塔 和海"', "夜*",
    "夜晚的灯塔", "🏠", "½", "x²", "35mm", "v6.1", "x" * 700 + "tail", "x" * 700 + "o*", "x" * 400,
    "xxx*", '"one two three"', '"two one three"', '"one two"', "don't", '"don t stop"', "50%",
    "off_now", "off", "%", "'quoted'", "\\ twice", "naive", "facade", "angstrom", "ﬁre", "fire",
    "ǆ", "привет", "елка", "ёж", "ελλαδα", "t666c75", "r5", "trashed", "=r0", "sea", '"x y"', "y x",
    "ancient harbour", '"harbour for"', '"harbour x"', "calendar -cafe",
)  # fmt: skip


async def put(home: Path, database: Database, images: list[imagen.Image]) -> Shelf:
    library = Library(home / "images", database, InlineWorkers())
    await database.write([insert_image(row_of(image)) for image in images])
    return Shelf(library, database, lambda: 0.0)


async def ids(shelf: Shelf, query: str, **filters: object) -> list[str] | str:
    try:
        return [image.id for image in await shelf.library.search(query, **filters)]
    except imagen.InvalidRequestError as error:
        return str(error)


async def test_the_same_words_find_the_same_images(postgresql, tmp_path):
    workers = ThreadWorkers()
    sqlite = await Database.open(tmp_path / "a.sqlite3", InlineWorkers())
    other = await open_database(tmp_path, Secret(postgresql.new_schema()), workers)
    maker = Shelf(None, sqlite, lambda: 0.0)
    hostile = [text.replace("\0", " ") for text in HOSTILE]
    texts = [*TEXTS, *hostile, *(text for text, _ in (*FOUND, *NOT_FOUND))]
    images = [
        maker.image(
            prompt=text,
            day=number,
            revised_prompt="An ancient harbour" if number % 3 else None,
            tags=("sea", "x y") if number % 2 else (),
            notes="for the calendar" if number % 5 else "",
            rating=number % 6,
        )
        for number, text in enumerate(texts)
    ]
    shelves = [await put(tmp_path, one, images) for one in (sqlite, other)]
    queries = [*QUERIES, *HOSTILE, *(word for _, word in (*FOUND, *NOT_FOUND))]
    matched = 0
    for query in queries:
        for filters in ({}, {"tags": ["x y"], "min_rating": 2}, {"state": "any", "order": "cost"}):
            expected, found = [await ids(one, query, **filters) for one in shelves]
            assert found == expected, (query, filters)
            matched += bool(found) and isinstance(found, list)
    assert matched > 150
    await sqlite.aclose()
    await other.aclose()


async def test_a_text_that_the_index_cannot_hold_whole_is_kept_and_found(postgresql, tmp_path):
    other = await open_database(tmp_path, Secret(postgresql.new_schema()), ThreadWorkers())
    words = " ".join(f"word{number}\u4e00{number}" for number in range(9_000))
    image = Shelf(None, other, lambda: 0.0).image(prompt=words, revised_prompt=words[::-1])
    image = msgspec.structs.replace(image, notes="".join(map(chr, range(0x4E00, 0x9FFF))))
    shelf = await put(tmp_path, other, [image])
    assert await ids(shelf, "word17") == [image.id]
    assert await ids(shelf, '"word17 一 17"') == [image.id]
    await other.aclose()


@pytest.mark.usefixtures("engine")
async def test_an_index_that_lacks_an_image_is_repaired(tmp_path):
    from tests.support.library import open_shelf

    async with open_shelf(tmp_path) as shelf:
        image = await shelf.add(prompt="a lighthouse")
        await shelf.database.write([("DELETE FROM image_search WHERE rowid > ?", (0,))])
        assert [one.kind for one in await shelf.library.check(repair=True)] == ["unindexed"]
        assert await ids(shelf, "lighthouse") == [image.id]
        assert not await shelf.library.check()


async def test_a_connection_that_replaces_another_publishes_new_images_too(postgresql, tmp_path):
    psycopg = pytest.importorskip("psycopg")
    url = postgresql.new_schema()
    database = await open_database(tmp_path, Secret(url), ThreadWorkers())
    other = await open_database(tmp_path, Secret(url), ThreadWorkers())
    await database.prepare(publish_new_images("mine"))
    maker = Shelf(None, database, lambda: 0.0)
    await put(tmp_path, database, [first := maker.image()])
    ((pid,),) = await database.read("SELECT pg_backend_pid()")
    with psycopg.connect(url) as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
    await put(tmp_path, database, [second := maker.image()])
    await put(tmp_path, other, [maker.image()])
    rows = await other.read("SELECT sha256, store FROM publications ORDER BY queued_at, sha256")
    assert sorted(rows) == sorted([(one.sha256, "mine") for one in (first, second)])
    await database.aclose()
    await other.aclose()


async def test_images_of_a_database_from_before_the_search_are_found(postgresql, tmp_path):
    psycopg = pytest.importorskip("psycopg")
    url = postgresql.new_schema()
    first = Path(module.__file__).with_name("postgresql_migrations") / MIGRATION
    maker = Shelf(None, None, lambda: 0.0)
    images = [maker.image(prompt=f"lighthouse {n}", day=n, tags=("sea",)) for n in range(3)]
    with psycopg.connect(url, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute("CREATE TABLE imagen_version (version bigint NOT NULL)")
        connection.execute("INSERT INTO imagen_version VALUES (1)")
        connection.execute(first.read_bytes())
        for image in images:
            sql, values = insert_image(row_of(image))
            connection.execute(translate(sql).encode(), values)
    database = await open_database(tmp_path, Secret(url), ThreadWorkers())
    shelf = await put(tmp_path, database, [])
    assert await ids(shelf, "lighthouse", tags=["sea"]) == [one.id for one in images[::-1]]
    assert await shelf.library.tags() == [("sea", 3)]
    assert (await shelf.library.timeline()).total == 3
    assert not [one for one in await shelf.library.check() if one.kind == "unindexed"]
    await database.aclose()
