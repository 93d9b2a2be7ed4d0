"""Images are found by words and filters, page by page, whatever a user types."""

from __future__ import annotations

import datetime
import sqlite3
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from imagen._storage.full_text import match_words
from tests.support.library import START, Shelf, open_shelf

WORDS = ("lighthouse", "neon", "cat", "rain")
MODELS = ("flux-2-pro", "gpt-image-1", "imagen-4")
TAGS = ("sea", "night", "x y")
COSTS = (None, "0", "0.04", "0.045", "1.20")


async def found(shelf: Shelf, query: str, **filters: object) -> list[str]:
    return [image.prompt for image in await shelf.library.search(query, **filters)]


@pytest.mark.usefixtures("engine")
async def test_all_words_must_be_there_in_any_order(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        await shelf.list_row(prompt="A neon lighthouse, at dusk")
        await shelf.list_row(prompt="a lighthouse in the rain")
        assert await found(shelf, "lighthouse neon") == ["A neon lighthouse, at dusk"]
        assert await found(shelf, "LIGHTHOUSE") == [
            "a lighthouse in the rain",
            "A neon lighthouse, at dusk",
        ]
        assert await found(shelf, '"neon lighthouse"') == ["A neon lighthouse, at dusk"]
        assert await found(shelf, '"lighthouse neon"') == []
        assert await found(shelf, "lighthouse -neon") == ["a lighthouse in the rain"]
        assert len(await found(shelf, "light*")) == 2
        assert await found(shelf, "light") == []


@pytest.mark.usefixtures("engine")
async def test_accents_and_scripts_without_spaces_are_found(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        await shelf.list_row(prompt="un café à Orléans")
        await shelf.list_row(prompt="夜晚的灯塔和海")
        await shelf.list_row(prompt="a 🏠 on a hill")
        assert await found(shelf, "cafe orleans") == ["un café à Orléans"]
        assert await found(shelf, "灯塔") == ["夜晚的灯塔和海"]
        assert await found(shelf, "塔灯") == []
        assert await found(shelf, "🏠") == ["a 🏠 on a hill"]


@pytest.mark.usefixtures("engine")
async def test_revised_prompts_tags_and_notes_are_searched_too(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        image = await shelf.list_row(prompt="a", revised_prompt="An ancient harbour")
        await shelf.library.tag(image, ["Best Of"])
        await shelf.library.annotate(image, "for the calendar")
        for query in ("harbour", "best", "calendar"):
            assert await found(shelf, query) == ["a"]
        await shelf.library.tag(image, remove=["best of"])
        await shelf.library.annotate(image, "")
        assert await found(shelf, "best") == await found(shelf, "calendar") == []


@pytest.mark.usefixtures("engine")
async def test_filters_are_not_found_as_words(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        image = await shelf.list_row(prompt="a cat", seed=7)
        await shelf.library.trash(image)
        for query in ("trashed", "s7", "r0", "p64", "z8x8"):
            assert await found(shelf, query, state="any") == []


@pytest.mark.parametrize(
    "hostile", ["", " ", "-", "-cat", '"', '""', "!!!", "***", "a*", "ab*", "\x00", "(", "- -x"]
)
async def test_a_query_without_a_word_is_refused_in_a_sentence(tmp_path, hostile):
    async with open_shelf(tmp_path) as shelf:
        with pytest.raises(imagen.InvalidRequestError, match=r"word|letters"):
            await shelf.library.search(hostile)


HOSTILE = (
    "cat AND NOT (",
    "prompt:cat",
    "{facets}: trashed",
    "NEAR(cat dog)",
    "cat OR dog",
    "^cat",
    "cat'; DROP TABLE images",
    'a"b"c"d',
    "cat NOT",
    "../../etc/passwd",
    "<script>alert(1)</script>",
    "cat\x00dog",
    "a" * 100_000,
    "\N{ZERO WIDTH JOINER}x",
)


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
async def test_the_language_of_the_search_engine_is_only_words(tmp_path, hostile):
    async with open_shelf(tmp_path) as shelf:
        image = await shelf.list_row(prompt=hostile.replace("\x00", " "))
        await shelf.list_row(prompt="something else")
        assert [one.id for one in await shelf.library.search(hostile)] == [image.id]


@given(st.text())
def test_any_text_makes_a_query_or_a_sentence(words, text):
    try:
        expression = match_words(text)
    except imagen.InvalidRequestError:
        return
    words.execute("SELECT 1 FROM words WHERE words MATCH ?", (expression,)).fetchall()


@pytest.fixture(scope="module")
def words() -> Iterator[sqlite3.Connection]:
    """The search engine by itself, which raises where it does not understand."""
    with closing(sqlite3.connect(":memory:")) as database:
        tokenizer = "unicode61 remove_diacritics 2 categories 'L* N* Co So'"
        database.execute(f'CREATE VIRTUAL TABLE words USING fts5 (word, tokenize = "{tokenizer}")')
        yield database


# --- against a list in memory -------------------------------------------------

IMAGES = st.lists(
    st.fixed_dictionaries(
        {
            "prompt": st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join),
            "model": st.sampled_from(MODELS),
            "usd": st.sampled_from(COSTS),
            "day": st.integers(0, 3),
            "seed": st.sampled_from((None, 7, -7)),
            "size": st.sampled_from(((8, 8), (16, 8), (16, 4))),
            "tags": st.lists(st.sampled_from(TAGS), unique=True).map(
                lambda tags: tuple(sorted(tags))
            ),
            "rating": st.integers(0, 5),
            "trashed": st.booleans(),
        }
    ),
    max_size=14,
)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(MODELS),
        "tags": st.lists(st.sampled_from(TAGS), max_size=2),
        "seed": st.sampled_from((7, -7)),
        "size": st.sampled_from(("8x8", "16x8")),
        "state": st.sampled_from(("kept", "trashed", "any")),
        "min_rating": st.integers(0, 5),
        "min_usd": st.sampled_from((Decimal("0.04"), Decimal("0.041"))),
        "max_usd": st.sampled_from((Decimal(0), Decimal("0.044"), Decimal(2))),
        "min_pixels": st.sampled_from((64, 65)),
        "max_pixels": st.sampled_from((64, 1000)),
        "since": st.integers(0, 3).map(lambda day: START + datetime.timedelta(days=day)),
        "until": st.integers(0, 3).map(lambda day: START + datetime.timedelta(days=day)),
    },
)
ORDERS = st.sampled_from(("newest", "oldest", "rating", "cost", "pixels"))


def fits(image: imagen.Image, query: str | None, filters: dict[str, object]) -> bool:
    usd = image.cost.usd
    states = {
        "kept": image.trashed_at is None,
        "trashed": image.trashed_at is not None,
        "any": True,
    }
    pixels = image.width * image.height
    checks = {
        "model": lambda value: image.model == value,
        "tags": lambda value: set(value) <= set(image.tags),
        "seed": lambda value: image.seed == value,
        "size": lambda value: f"{image.width}x{image.height}" == value,
        "min_rating": lambda value: image.rating >= value,
        "min_usd": lambda value: usd is not None and usd >= value,
        "max_usd": lambda value: usd is not None and usd <= value,
        "min_pixels": lambda value: pixels >= value,
        "max_pixels": lambda value: pixels <= value,
        "since": lambda value: image.created_at >= value,
        "until": lambda value: image.created_at < value,
        "state": lambda value: True,
    }
    words = [] if query is None else query.split()
    return (
        states[str(filters.get("state", "kept"))]
        and all(word in image.prompt.split() for word in words)
        and all(checks[name](value) for name, value in filters.items())
    )


def in_order(images: list[imagen.Image], order: str) -> list[imagen.Image]:
    """`images` are newest first already."""
    match order:
        case "newest":
            return images
        case "oldest":
            return images[::-1]
        case "rating":
            return sorted(images, key=lambda image: -image.rating)
        case "pixels":
            return sorted(images, key=lambda image: -image.width * image.height)
    return sorted(images, key=lambda image: (image.cost.usd is None, -(image.cost.usd or 0)))


SEARCHES = st.tuples(
    st.none() | st.lists(st.sampled_from(WORDS), min_size=1, max_size=2).map(" ".join),
    FILTERS,
    ORDERS,
)


AGREE = given(IMAGES, st.lists(SEARCHES, max_size=8), st.integers(1, 5), st.booleans())


@settings(deadline=None, max_examples=60)
@AGREE
def test_pages_agree_with_a_list_in_memory(found, searches, limit, value_by_value):
    compare_pages(found, searches, limit, value_by_value)


@pytest.mark.usefixtures("on_postgresql")
@settings(deadline=None, max_examples=8)
@AGREE
def test_pages_of_postgresql_agree_with_a_list_in_memory(found, searches, limit, value_by_value):
    compare_pages(found, searches, limit, value_by_value)


def compare_pages(found, searches, limit, value_by_value):
    async def main() -> None:
        with tempfile.TemporaryDirectory() as home:
            async with open_shelf(Path(home)) as shelf:
                images = [await _list_image(shelf, **decoded) for decoded in found]
                images.sort(key=lambda image: image.created_at)
                for query, filters, order in searches:
                    wanted = in_order(
                        [one for one in images[::-1] if fits(one, query, filters)], order
                    )
                    assert await _all_pages(shelf, query, filters, order, limit) == [
                        one.id for one in wanted
                    ]

    with pytest.MonkeyPatch.context() as patch:
        if value_by_value:
            # As for many images.
            patch.setattr("imagen.library._query._FEW", 0)
            patch.setattr("imagen.library._query._MOST_VALUES", 1)
        trio.run(main)


async def _list_image(
    shelf: Shelf, *, size: tuple[int, int], trashed: bool, **fields: object
) -> imagen.Image:
    moment = START if trashed else None
    image = await shelf.list_row(width=size[0], height=size[1], trashed_at=moment, **fields)
    found = await shelf.library.get(image.id)
    assert found is not None
    return found


async def _all_pages(
    shelf: Shelf, query: str | None, filters: dict[str, object], order: str, limit: int
) -> list[str]:
    ids: list[str] = []
    after = None
    while True:
        page = await shelf.library._page(query, limit, after, order, filters)
        assert len(page) <= limit
        ids += [image.id for image in page]
        if (after := page.cursor) is None:
            return ids


# --- cursors ------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
async def test_a_page_goes_on_though_its_last_image_was_deleted(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        images = [await shelf.list_row(day=day) for day in range(4)]
        page = await shelf.library.list(limit=2)
        await shelf.library.delete(page[-1])
        rest = await shelf.library.list(after=page.cursor)
        assert [image.id for image in [*page, *rest]] == [image.id for image in images[::-1]]


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "newest:", "oldest:5", "newest:1:2", "newest:9" + "9" * 30, "newest:²", "newest:-1"],
)
async def test_a_cursor_that_is_none_is_refused(tmp_path, cursor):
    async with open_shelf(tmp_path) as shelf:
        with pytest.raises(imagen.InvalidRequestError, match="cursor"):
            await shelf.library.list(after=cursor)


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_a_page_of_no_length_is_refused(tmp_path, limit):
    async with open_shelf(tmp_path) as shelf:
        with pytest.raises(imagen.InvalidRequestError, match="Invalid limit"):
            await shelf.library.list(limit=limit)


@pytest.mark.usefixtures("engine")
async def test_images_of_one_moment_are_all_there(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        images = [await shelf.list_row() for _ in range(50)]
        # The next free places belong to others.
        images += [
            await shelf.list_row(day=1 / 86_400),
            await shelf.list_row(day=1 / 86_400 - 1e-6 / 86_400),
        ]
        images += [await shelf.list_row() for _ in range(3)]
        assert {image.id async for image in shelf.library.find()} == {image.id for image in images}


@pytest.mark.usefixtures("engine")
async def test_find_goes_through_all_pages(tmp_path, monkeypatch):
    monkeypatch.setattr("imagen.library._library._PAGE", 3)
    async with open_shelf(tmp_path) as shelf:
        images = [await shelf.list_row(prompt="a cat", day=day) for day in range(8)]
        assert [image.id async for image in shelf.library.find("cat", order="oldest")] == [
            image.id for image in images
        ]


# --- plans --------------------------------------------------------------------


ALL_FILTERS = (
    {},
    {"state": "any"},
    {"state": "trashed"},
    {"model": "flux-2-pro", "tags": ["sea"]},
    {"min_usd": Decimal("0.01")},
    {"since": START},
)


@pytest.mark.parametrize("order", ["newest", "oldest", "rating", "cost", "pixels"])
@pytest.mark.parametrize("filters", ALL_FILTERS, ids=str)
@pytest.mark.parametrize("query", [None, "lighthouse neon"])
async def test_no_page_reads_a_whole_table(tmp_path, monkeypatch, order, filters, query):
    plans: list[tuple[str, str]] = []
    run = imagen._storage.database.Transaction.run

    def explain(self, sql, values=()):
        plans.extend((sql, str(row[3])) for row in run(self, f"EXPLAIN QUERY PLAN {sql}", values))
        return run(self, sql, values)

    async with open_shelf(tmp_path) as shelf:
        for number in range(30):
            await shelf.list_row(
                prompt="lighthouse neon",
                usd=f"0.{number + 1:02}",
                model="flux-2-pro",
                tags=("sea",),
            )
        monkeypatch.setattr("imagen._storage.database.Transaction.run", explain)
        page = await shelf.library._page(query, 5, None, order, filters)
        await shelf.library._page(query, 5, page.cursor, order, filters)
    assert plans
    for sql, plan in plans:
        scans = (
            plan.startswith("SCAN") and "VIRTUAL TABLE INDEX" not in plan and "USING" not in plan
        )
        assert not scans or plan == "SCAN CONSTANT ROW", (sql, plan)
        assert "USING TEMP B-TREE" not in plan or "number IN" in sql, (sql, plan)


@pytest.mark.parametrize(
    "filters",
    [
        {"min_pixels": 2**70},
        {"max_pixels": 2**70},
        {"max_usd": Decimal("1e30")},
        {"min_usd": Decimal("Infinity")},
        {"max_usd": Decimal("NaN")},
        {"model": "\udc80"},
        {"provider": "\udc80"},
        {"collection": "\udc80"},
        {"tags": "cat"},
        {"since": datetime.datetime.min},
    ],
)
async def test_what_no_image_can_be_like_finds_none_or_is_refused_in_a_sentence(tmp_path, filters):
    async with open_shelf(tmp_path) as shelf:
        image = await shelf.add(tags=("c", "a", "t"))
        for order in ("newest", "cost"):
            try:
                page = await shelf.library.list(order=order, **filters)
            except imagen.InvalidRequestError:
                continue
            assert [one.id for one in page] == (
                [image.id] if set(filters) & {"max_pixels", "max_usd", "since"} else []
            )


@pytest.mark.usefixtures("engine")
async def test_an_id_that_is_no_text_names_no_image(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        await shelf.add()
        assert await shelf.library.get("\udc80") is None
        for call in (
            shelf.library.rate("\udc80", 3),
            shelf.library.delete("\udc80"),
            shelf.library.lineage("\udc80"),
        ):
            with pytest.raises(imagen.ImagenError):
                await call


@pytest.mark.parametrize(
    "word", ["Größe", "Straße", "ﬁne", "ΣΊΣΥΦΟΣ", "가나다", "がっこう", "étude", "İstanbul"]
)
async def test_a_word_is_found_however_its_letters_are_written(tmp_path, word):
    forms = [word, word.upper(), *(unicodedata.normalize(form, word) for form in ("NFC", "NFD"))]
    async with open_shelf(tmp_path) as shelf:
        for form in forms:
            await shelf.list_row(prompt=f"a {form} here")
        for form in forms:
            image = await shelf.list_row(prompt=f"tagged {form}")
            await shelf.library.tag(image, [form])
        for form in forms:
            for query in (form, f'"{form}"'):
                assert len(await shelf.library.search(query)) == 2 * len(forms), query
            assert len(await shelf.library.list(tags=[form])) == len(forms)


@pytest.mark.usefixtures("engine")
async def test_the_path_of_a_file_leads_to_its_image(tmp_path):
    async with imagen.open_client(imagen.load_settings({"IMAGEN_HOME": str(tmp_path)})) as client:
        made = await client.generate("a boat", model="sketch", size="64x64")
        found = await client.library.of_file(str(made.path))
        assert found is not None
        assert found.id == made.id
        copied = tmp_path / made.path.name
        copied.write_bytes(made.data)
        for other in (copied, tmp_path / "nothing.png", made.path.name, "", "a\x00b", "%"):
            assert await client.library.of_file(other) is None
