"""A gallery loads nothing from elsewhere, and what people wrote is text in it
and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagen.sharing._archive.gallery import GalleryItem, GalleryPage, page_policy, render_page
from tests.support.sharing import open_desk, read_from

TEXTS = st.text(max_size=60) | st.sampled_from(
    (
        "</style><script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onload='alert(1)",
        "<!--", "]]>", "&lt;b&gt;", "javascript:alert(1)", "\0<\0b>", "{{7*7}}",
        "</title>", "</textarea>",
    )
)  # fmt: skip
CARDS = st.builds(
    GalleryItem,
    link=st.just("pictures/a.png"),
    thumbnail=st.none() | st.just("thumbnails/a.webp"),
    width=st.just(8),
    height=st.just(8),
    caption=TEXTS,
    facts=st.lists(st.tuples(st.just("Model"), TEXTS), max_size=2).map(tuple),
    tags=st.lists(TEXTS, max_size=2).map(tuple),
    notes=TEXTS,
)


class Reader(HTMLParser):
    """What a browser makes of a page: its elements, and the text outside of
    style and script.
    """

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def read_page(page: bytes) -> Reader:
    reader = Reader()
    reader.feed(page.decode())
    reader.close()
    return reader


ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "header", "h1", "p", "main", "figure", "a",
    "img", "span", "figcaption",
    "details", "summary", "dl", "div", "dt", "dd", "ul", "li", "nav", "script",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "name", "dir", "class", "href", "rel",
    "src", "width", "height", "loading",
    "decoding", "alt",
}  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(title=TEXTS, notes=TEXTS, cards=st.lists(CARDS, max_size=3))
def test_no_text_of_a_user_is_more_than_text(title, notes, cards):
    reader = read_page(render_page(GalleryPage(title=title, notes=notes, cards=cards)))
    tags = [tag for tag, _ in reader.elements]
    assert set(tags) <= ELEMENTS
    assert (tags.count("script"), tags.count("style"), tags.count("figure")) == (1, 1, len(cards))
    assert tags.count("a") == len(cards)
    assert tags.count("img") == sum(card.thumbnail is not None for card in cards)
    for _, attributes in reader.elements:
        assert attributes.keys() <= ATTRIBUTES
        assert attributes.get("href", "pictures/a.png") == "pictures/a.png"
        assert attributes.get("src", "thumbnails/a.webp") == "thumbnails/a.webp"


def test_a_prompt_is_there_whole_with_its_lines_and_long_ones_behind_their_beginning():
    long = "first line\n" + "word " * 100 + "the end"
    cards = [
        GalleryItem(link="a", thumbnail=None, width=1, height=1, caption=caption)
        for caption in ("short & <b>", long)
    ]
    page = render_page(GalleryPage(title="t", cards=cards)).decode()
    assert "short &amp; &lt;b&gt;</p>" in page
    assert "first line\nword" in page
    assert "the end</p></details>" in page
    assert page.count("<details>") == 1


def test_letters_that_cannot_be_seen_are_shown_as_such_and_emoji_stay_whole():
    card = GalleryItem(
        link="a", thumbnail=None, width=1, height=1, caption="\u202egnp\0 👩\u200d🚀"
    )
    page = render_page(GalleryPage(title="t", cards=[card])).decode()
    assert "\ufffdgnp\ufffd 👩\u200d🚀" in page


def test_the_policy_allows_the_page_its_own_style_and_script_and_nothing_else():
    page = render_page(GalleryPage(title="t", cards=[])).decode()
    style, script = (
        re.search("<style>(.*)</style>", page, re.S)[1],
        re.search("<script>(.*)</script>", page, re.S)[1],
    )
    digests = {
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, script)
    }
    assert set(re.findall(r"'sha256-([^']+)'", page_policy())) == digests
    assert page_policy().startswith("default-src 'none'; ")
    assert "unsafe" not in page_policy()
    (policy,) = [
        one["content"] for tag, one in read_page(page.encode()).elements if one.get("http-equiv")
    ]
    assert policy == page_policy()
    assert not re.search(r"https?:|//[a-z]|url\(|@import|innerHTML|eval\(|fetch\(", style + script)


async def test_a_gallery_names_files_of_its_archive_only(tmp_path):
    async with open_desk(tmp_path) as desk:
        await desk.shelf.add(
            prompt='50% of 夜の東京? #1 "<b>"',
            tags=("<i>",),
            notes="<u>",
            rating=4,
            usd="0.040000000",
        )
        await desk.archives.export_to(tmp_path / "all.zip")
    reader = read_page(read_from(tmp_path / "all.zip", "index.html"))
    links = [
        unquote(one[name] or "")
        for _, one in reader.elements
        for name in ("href", "src")
        if name in one
    ]
    assert len(links) == 2
    for link in links:
        assert read_from(tmp_path / "all.zip", link)
    for words in (
        '50% of 夜の東京? #1 "<b>"',
        "<i>",
        "<u>",
        "★★★★",
        "$0.04",
        "test-model",
        "1 image",
    ):
        assert words in reader.text


@pytest.mark.parametrize(("count", "words"), [(1, "1 image<"), (2, "2 images<")])
def test_a_page_says_how_many_there_are(count, words):
    card = GalleryItem(link="a", thumbnail=None, width=1, height=1)
    assert words in render_page(GalleryPage(title="t", cards=[card] * count)).decode()
