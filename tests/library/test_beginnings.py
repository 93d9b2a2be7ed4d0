"""The beginning of a word is looked for in the newest images, and finds what the index does."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

import imagen
from imagen._storage.full_text import as_searched, read_words, words_in
from imagen.library import _beginnings, _query
from tests.support.library import Shelf, open_shelf

MATCH = "SELECT 1 FROM words WHERE words MATCH ?"
# Accents, two ways to write them, scripts without spaces, marks, digits, signs.
LETTERS = st.text(
    st.sampled_from("abcÁáéĀßǅñøżİı19_-'.,  e\u0301\u0327가각漢字かกำाक्षعַם\u200dﬁ²½🏠\n")
)
# A letter that is younger than the index is not one to it.
LATER = st.characters(max_codepoint=0x2FFF, exclude_categories=["Cn"])


@pytest.fixture(scope="module")
def words() -> Iterator[sqlite3.Connection]:
    """The index by itself."""
    with closing(sqlite3.connect(":memory:")) as database:
        tokenizer = "unicode61 remove_diacritics 2 categories 'L* N* Co So'"
        database.execute(f'CREATE VIRTUAL TABLE words USING fts5 (word, tokenize = "{tokenizer}")')
        yield database


@settings(max_examples=300, deadline=None)
@given(LETTERS | st.text(LATER), LETTERS)
@example("crème brûlée", "bru*")
@example("ein Straßenfest", "strassen*")
@example("ВОСХОД солнца", "восх*")
@example("state-of-the-art", "of-the-ar*")
@example("가각 나무", "가*")
@example("नमस्ते दुनिया", "नमस्*")
def test_words_begin_as_the_index_says(words, text, query):
    try:
        (word,) = read_words(query + "*").wanted[:1]
    except imagen.InvalidRequestError:
        return
    if not words_in(word.text).strip():
        return
    words.execute("DELETE FROM words")
    words.execute("INSERT INTO words VALUES (?)", (as_searched(text),))
    assert (_beginnings._searched(word) in words_in(text)) == bool(
        words.execute(MATCH, (str(word),)).fetchall()
    )


TEXTS = _beginnings._texts_of
QUERIES = (
    "lig*",
    "lig* neon",
    "neo* lig* -rai*",
    "lig* -rain",
    "rain -lig*",
    "cal* -neon",
    '"neon light" lig*',
    "neon-lig*",
    "zeb*",
)
PROMPTS = (
    "a neon lighthouse",
    "rain on a light",
    "neon light in the rain",
    "calm sea",
    "NEON-LIGHTS",
    "delight",
    "rainbow neon",
)


def small(chunk: int, sample: int) -> mock._patch:
    return mock.patch.multiple(_beginnings, _FIRST=chunk, _MOST=2 * chunk, _SAMPLE=sample)


async def fill(shelf: Shelf) -> None:
    for number in range(28):
        image = await shelf.list_row(
            prompt=PROMPTS[number % len(PROMPTS)],
            day=number / 9,
            rating=number % 3,
            tags=("lit",) if number % 5 == 0 else (),
            revised_prompt="light rain" if number % 11 == 0 else None,
        )
        if number % 6 == 0:
            await shelf.library.annotate(image, "for the calendar")
        if number % 13 == 0:
            await shelf.library.trash(image)


FILTERS = ({}, {"min_rating": 1}, {"tags": ["lit"]}, {"state": "any"}, {"state": "trashed"})
ORDERS = ("newest", "oldest", "rating", "cost")


async def everything(shelf: Shelf, query: str) -> list[object]:
    library, found = shelf.library, []
    for filters in FILTERS:
        for order in ORDERS:
            ids, after, pages = [], None, 0
            while pages == 0 or after is not None:
                page = await library.search(query, limit=4, after=after, order=order, **filters)
                ids += [image.id for image in page]
                after, pages = page.cursor, pages + 1
            found.append(ids)
        timeline = await library.timeline(query, **filters)
        found.append(timeline.days)
        for day, images in timeline.days:
            of_day = await library.of_day(day, query, offset=1, limit=3, **filters)
            found.append([image.id for image in of_day])
            assert len(of_day) == min(3, images - 1)
    return found


async def test_all_orders_pages_and_days_are_those_of_the_index(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        await fill(shelf)
        for query in QUERIES:
            with mock.patch.object(_query, "walk", return_value=None):
                expected = await everything(shelf, query)
            assert await everything(shelf, query) == expected
            with small(3, 10_000):
                assert await everything(shelf, query) == expected
            with small(2, 4):
                assert await everything(shelf, query) == expected


async def test_few_images_are_looked_at(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        for number in range(120):
            prompt = "a zebra and a horse" if number == 0 else "a horse"
            await shelf.list_row(prompt=prompt, day=number)
        for query, limit, looked in (("zeb*", 50, 60), ("hor*", 10, 20), ("zeb* hor*", 50, 61)):
            with small(20, 40), mock.patch.object(_beginnings, "_texts_of", wraps=TEXTS) as looks:
                found = await shelf.library.search(query, limit=limit)
            assert len(found) == (1 if "zeb" in query else 10)
            assert looks.call_count == looked


async def test_a_damaged_row_does_not_end_a_search(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        await shelf.list_row(prompt="a lighthouse")
        bad = await shelf.list_row(prompt="a lightning", notes="lighter")
        await shelf.database.write(
            [("UPDATE images SET adjustments = 'x', tags = tags WHERE id = ?", (bad.id,))]
        )
        with pytest.raises(imagen.StorageError, match=bad.id):
            await shelf.library.search("light*")
        assert (await shelf.library.timeline("light*")).total == 2


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(("red", "redder", "blue")))),
    st.integers(1, 9),
    st.sampled_from(("red", "red*", None)),
)
def test_a_count_in_pieces_adds_up_to_the_whole(images, most, query):
    async def run(folder: Path) -> None:
        async with open_shelf(folder) as shelf:
            for day, prompt in images:
                await shelf.list_row(prompt=prompt, day=day, tags=("x",))
            whole = await shelf.library.timeline(query, tags=["x"])
            assert whole.is_whole
            with mock.patch.multiple(_query, _PIECE=most, _WALKED_PIECE=most):
                assert await shelf.library.timeline(query, tags=["x"]) == whole
                enough = await shelf.library.timeline(query, most=100, tags=["x"])
            assert enough == whole
            part = await shelf.library.timeline(query, most=most, tags=["x"])
            assert part.is_whole == (whole.total <= most)
            assert part.total == min(whole.total, most)
            assert part.days[:-1] == whole.days[: max(0, len(part.days) - 1)]

    with TemporaryDirectory() as folder:
        trio.run(run, Path(folder))


async def test_no_image_is_not_enough(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        with pytest.raises(imagen.InvalidRequestError, match="most"):
            await shelf.library.timeline(most=0)


async def test_all_images_with_a_beginning_are_counted_at_once(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        for number in range(9):
            await shelf.list_row(prompt="a horse", day=number)
        counts = mock.patch.object(_query, "_days", wraps=_query._days)
        with mock.patch.multiple(_query, _PIECE=2), counts as pieces:
            assert (await shelf.library.timeline("hor*")).total == 9
        assert pieces.call_count == 1
