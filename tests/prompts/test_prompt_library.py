"""Prompts that are kept: by name, in versions that never change, found by their
words.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from imagen import InvalidRequestError, StorageError
from imagen.prompts import Prompt, PromptLibrary, PromptsImported, open_prompts
from imagen.testing import InlineWorkers

pytestmark = pytest.mark.usefixtures("engine")

NAMES = st.sampled_from(["a", "b", "Ä b", "c 'd'"])
TEXTS = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12
).filter(str.strip)
TAGS = st.lists(st.sampled_from(["sea", "sky", "nice try"]), max_size=2, unique=True)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("save"), NAMES, TEXTS, TAGS | st.none(), st.sampled_from([None, "fog"])),
        st.tuples(st.just("favour"), NAMES, st.booleans()),
        st.tuples(st.just("rename"), NAMES, NAMES),
        st.tuples(st.just("delete"), NAMES),
    ),
    max_size=15,
)


class Model:
    """What the library should hold, as plain lists."""

    def __init__(self) -> None:
        self.prompts: dict[str, dict[str, object]] = {}

    def save(self, name: str, text: str, tags: list[str] | None, negative: str | None) -> None:
        prompt = self.prompts.setdefault(name, {"versions": [], "tags": [], "favourite": False})
        if tags is not None:
            prompt["tags"] = sorted(tags)
        if prompt["versions"][-1:] != [(text, negative)]:
            prompt["versions"].append((text, negative))

    def favour(self, name: str, favourite: bool) -> None:
        if name in self.prompts:
            self.prompts[name]["favourite"] = favourite

    def rename(self, name: str, new_name: str) -> None:
        if name in self.prompts and new_name not in self.prompts:
            self.prompts[new_name] = self.prompts.pop(name)

    def delete(self, name: str) -> None:
        self.prompts.pop(name, None)


async def carry_out(prompts: PromptLibrary, model: Model, step: tuple) -> None:
    match step:
        case ("save", name, text, tags, negative):
            await prompts.save(name, text, tags=tags, negative_prompt=negative)
        case ("favour", name, favourite):
            assert await prompts.favour(name, favourite) == (name in model.prompts)
        case ("rename", name, new_name):
            if name != new_name and new_name in model.prompts:
                with pytest.raises(InvalidRequestError, match="already"):
                    await prompts.rename(name, new_name)
            else:
                assert await prompts.rename(name, new_name) == (name in model.prompts)
        case ("delete", name):
            assert await prompts.delete(name, all_versions=True) == (name in model.prompts)
    getattr(model, step[0])(*step[1:])


@pytest.mark.long_on_postgresql
@settings(max_examples=50)
@given(STEPS)
def test_the_library_is_what_a_plain_list_would_be(tmp_path_factory, steps):
    async def check() -> None:
        model = Model()
        async with open_prompts(
            tmp_path_factory.mktemp("home"), workers=InlineWorkers()
        ) as prompts:
            for step in steps:
                await carry_out(prompts, model, step)
            listed = await prompts.list()
            assert [prompt.name for prompt in listed] == sorted(model.prompts)
            for prompt in listed:
                expected = model.prompts[prompt.name]
                assert (list(prompt.tags), prompt.favourite) == (
                    expected["tags"],
                    expected["favourite"],
                )
                history = await prompts.history(prompt.name)
                assert [(one.text, one.negative_prompt) for one in history] == expected["versions"][
                    ::-1
                ]
                assert history[0] == prompt == await prompts.get(prompt.name)
                assert await prompts.get(prompt.name, 1) == history[-1]
            for tag in ("sea", "sky", "nice try"):
                tagged = [
                    name for name in sorted(model.prompts) if tag in model.prompts[name]["tags"]
                ]
                assert [prompt.name for prompt in await prompts.list(tag=tag)] == tagged
            favourites = [
                name for name in sorted(model.prompts) if model.prompts[name]["favourite"]
            ]
            assert [prompt.name for prompt in await prompts.list(favourites=True)] == favourites

    trio.run(check)


@pytest.fixture
async def prompts(tmp_path):
    async with open_prompts(
        tmp_path, workers=InlineWorkers(), clock=lambda: 1_800_000_000.5
    ) as opened:
        yield opened


async def test_what_is_sent_makes_a_version_and_what_is_said_of_it_does_not(prompts):
    first = await prompts.save(
        "sea", "a sea", tags=["Blue ", "blue", "Water"], notes="for May", styles=["oil"]
    )
    assert first == Prompt(
        name="sea",
        version=1,
        versions=1,
        text="a sea",
        styles=("oil",),
        tags=("blue", "water"),
        notes="for May",
        created_at=first.created_at,
    )
    assert first.created_at.timestamp() == 1_800_000_000.5
    again = await prompts.save("sea", "a sea", styles=["oil"], tags=[])
    assert (again.version, again.tags, again.notes) == (1, (), "for May")
    for number, change in enumerate(
        ({"text": "a lake"}, {"negative_prompt": "boats"}, {"styles": ["ink"]}), start=2
    ):
        assert (await prompts.save("sea", **{"text": "a sea", **change})).version == number
    changed = await prompts.save("sea", "a sea", parameters={"size": "square"})
    assert (changed.version, changed.versions, changed.parameters) == (5, 5, {"size": "square"})
    assert (await prompts.get("sea", 1)).text == "a sea"
    assert await prompts.get("sea", 6) is None
    assert await prompts.get("lake") is None
    assert await prompts.history("lake") == []


async def test_words_are_found_in_names_texts_tags_and_notes_of_the_newest_version(prompts):
    await prompts.save("harbour", "boats at dusk", tags=["sea"], notes="für Zoë")
    await prompts.save("harbour", "ships at dawn 夕暮れの港")
    await prompts.save("forest", "trees at dusk")
    for query, names in {
        "harbour": ["harbour"],
        "HARB*": ["harbour"],
        "ships sea": ["harbour"],
        "zoe": ["harbour"],
        "港": ["harbour"],
        '"at dawn"': ["harbour"],
        "at -dawn": ["forest"],
        "boats": [],
        " ": ["forest", "harbour"],
    }.items():
        assert [prompt.name for prompt in await prompts.list(query)] == names, query
    await prompts.rename("harbour", "port")
    assert [prompt.name for prompt in await prompts.list("port")] == ["port"]
    assert await prompts.list("harbour") == []
    await prompts.delete("port", all_versions=True)
    assert await prompts.list("ships") == []


@pytest.mark.long_on_postgresql
@given(st.text(max_size=20) | st.text(alphabet="\"'*()^:-+{}ANDORT \0\ud800", max_size=20))
@settings(max_examples=50, deadline=None)
def test_no_query_is_taken_for_the_searchs_own_language(tmp_path_factory, query):
    async def check() -> None:
        async with open_prompts(
            tmp_path_factory.mktemp("home"), workers=InlineWorkers()
        ) as prompts:
            await prompts.save("a", "b", tags=["c"])
            try:
                await prompts.list(query)
            except InvalidRequestError as error:
                assert "search" in error.message or "letters before the *" in error.message

    trio.run(check)


async def test_pages_follow_each_other_and_filters_go_together(prompts):
    for number in range(7):
        await prompts.save(f"p{number}", "a boat", tags=["sea"] if number % 2 else [])
    await prompts.favour("p3")
    pages, after = [], None
    while page := await prompts.list("boat", limit=3, after=after):
        after = page[-1].name
        pages.append([prompt.name for prompt in page])
    assert pages == [["p0", "p1", "p2"], ["p3", "p4", "p5"], ["p6"]]
    assert [prompt.name for prompt in await prompts.list("boat", tag="SEA", favourites=True)] == [
        "p3"
    ]
    for limit in (0, -1, 10**20):
        with pytest.raises(InvalidRequestError, match="expected 1 to 100,000"):
            await prompts.list(limit=limit)
    with pytest.raises(InvalidRequestError, match="expected 1 to 100"):
        await prompts.list(after="\ud800")
    assert await prompts.get("p3", 10**30) is None
    assert await prompts.get("p3", -1) is None
    await prompts.favour("p3", False)
    assert await prompts.list(favourites=True) == []


async def test_several_versions_are_deleted_only_when_that_is_said(prompts):
    await prompts.save("sea", "one")
    await prompts.save("sea", "two")
    with pytest.raises(InvalidRequestError, match="'sea' has 2 versions"):
        await prompts.delete("sea")
    assert (await prompts.get("sea")).versions == 2
    assert await prompts.delete("sea", all_versions=True)
    assert not await prompts.delete("sea")
    assert (await prompts.save("sea", "three")).version == 1
    assert await prompts.delete("sea")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": ""}, "expected 1 to 100 printable characters"),
        ({"name": " \t "}, "expected 1 to 100 printable characters"),
        ({"name": "a\x1b[31m"}, "expected 1 to 100 printable characters"),
        ({"name": "x" * 101}, "expected 1 to 100 printable characters"),
        ({"name": "\ud800"}, "expected 1 to 100 printable characters"),
        ({"text": " \n"}, "is empty"),
        ({"text": "x" * 100_001}, "at most 100,000 characters"),
        ({"text": "a\0b"}, "contains the character NUL"),
        ({"text": "\ud800"}, "lone surrogate"),
        ({"negative_prompt": "\ud800"}, "lone surrogate"),
        ({"notes": "\ud800"}, "lone surrogate"),
        ({"tags": ["a,b"]}, "A tag is"),
        ({"tags": "sea"}, "expected a list, even of one"),
        ({"tags": ["\x00"]}, "A tag is"),
        ({"styles": [""]}, "Invalid style name"),
        ({"parameters": {"prompt": "x"}}, "Unknown parameter 'prompt'"),
        ({"parameters": {"steps": "x"}}, "Invalid parameter"),
    ],
)
async def test_what_cannot_be_kept_is_one_sentence(prompts, fields, sentence):
    with pytest.raises(InvalidRequestError, match=sentence):
        await prompts.save(**{"name": "a", "text": "b", **fields})
    assert await prompts.list() == []


async def test_hostile_names_and_texts_stay_what_they_are(prompts):
    for name in (
        "../../etc/passwd",
        "<script>alert(1)</script>",
        "'; DROP TABLE prompts; --",
        "🐈‍⬛"[:1],
        "-rf",
        "%s",
    ):
        saved = await prompts.save(name, f"{name}\n{{a|b}}\r\n\x1b")
        assert (saved.name, saved.text) == (name, f"{name}\n{{a|b}}\r\n\x1b")
        assert await prompts.get(name) == saved
    assert len(await prompts.list()) == 6


@pytest.mark.sqlite
async def test_two_processes_that_save_one_name_lose_nothing(tmp_path):
    code = (
        "import sys, trio\nfrom pathlib import Path\nfrom imagen.prompts import open_prompts\n"
        "async def main():\n"
        "    async with open_prompts(Path(sys.argv[1])) as prompts:\n"
        "        for number in range(20):\n"
        "            await prompts.save('sea', f'{sys.argv[2]} {number}')\n"
        "trio.run(main)"
    )
    async with open_prompts(tmp_path) as prompts:
        processes = [
            await trio.lowlevel.open_process(
                [sys.executable, "-c", code, str(tmp_path), who], stderr=subprocess.PIPE
            )
            for who in ("a", "b")
        ]
        with trio.fail_after(60):
            for process in processes:
                assert await process.wait() == 0
        history = await prompts.history("sea")
        assert [prompt.version for prompt in history] == list(range(40, 0, -1))
        assert {prompt.text for prompt in history} == {
            f"{who} {number}" for who in "ab" for number in range(20)
        }


# --- files --------------------------------------------------------------------

KEPT = st.dictionaries(
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=10),
    st.tuples(TEXTS, st.none() | TEXTS, TAGS),
    max_size=5,
)


@pytest.mark.long_on_postgresql
@settings(max_examples=20)
@given(KEPT)
def test_what_is_exported_is_imported_as_it_was(tmp_path_factory, kept):
    async def check() -> None:
        folder = tmp_path_factory.mktemp("homes")
        async with (
            open_prompts(folder / "one", workers=InlineWorkers()) as one,
            open_prompts(folder / "two", workers=InlineWorkers()) as two,
        ):
            for name, (text, negative, tags) in kept.items():
                await one.save(name, text, negative_prompt=negative, tags=tags)
            before = await one.list()
            assert await one.export_csv(folder / "p.csv") == len(before)
            assert await two.import_file(folder / "p.csv") == PromptsImported(
                added=len(before), changed=0, unchanged=0
            )
            after = await two.list()
            assert [(p.name, p.text, p.negative_prompt, p.tags) for p in after] == [
                (p.name, p.text, p.negative_prompt, p.tags) for p in before
            ]
            same = PromptsImported(added=0, changed=0, unchanged=len(before))
            assert await one.import_file(folder / "p.csv") == same

    trio.run(check)


@pytest.mark.long_on_postgresql
async def test_more_prompts_than_a_page_are_exported(prompts, tmp_path):
    table = tmp_path / "many.csv"
    table.write_text(
        "name,prompt\n" + "".join(f"n{number},text {number}\n" for number in range(1203))
    )
    assert (await prompts.import_file(table)).added == 1203
    assert await prompts.export_csv(tmp_path / "out.csv") == 1203


async def test_an_import_changes_only_what_it_says(prompts, tmp_path):
    await prompts.save(
        "sea", "a sea", tags=["blue"], notes="n", styles=["oil"], parameters={"size": "square"}
    )
    (tmp_path / "p.csv").write_text("Name,Prompt\nsea,a lake\nsky,a sky\nsea,a lake\n")
    assert await prompts.import_file(tmp_path / "p.csv") == PromptsImported(
        added=1, changed=1, unchanged=1
    )
    sea = await prompts.get("sea")
    assert (sea.text, sea.tags, sea.notes, sea.styles, sea.parameters) == (
        "a lake",
        ("blue",),
        "n",
        ("oil",),
        {"size": "square"},
    )


async def test_a_text_has_a_prompt_on_each_line(prompts, tmp_path):
    path = tmp_path / "ideas.txt"
    path.write_bytes("\ufeffa {red|blue} car\r\n\r\n  a cat, sitting  \n".encode())
    assert (await prompts.import_file(path)).added == 2
    assert [(p.name, p.text) for p in await prompts.list()] == [
        ("ideas 1", "a {red|blue} car"),
        ("ideas 3", "a cat, sitting"),
    ]
    path.write_text("a {red|blue} car\n\na dog\n")
    assert await prompts.import_file(path) == PromptsImported(added=0, changed=1, unchanged=1)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"name,prompt\na,b\n,c\n", "invalid in line 3: Invalid prompt name"),
        (b"name,prompt\na,b\nc,\n", "invalid in line 3: The prompt 'c' is empty"),
        (b"name,prompt,tags\na,b,ok\nc,d,\x01\n", "invalid in line 3: A tag is"),
        (b"title,prompt\na,b\n", "has no column 'name'"),
        (b"name,prompt\na,b,c\n", "too many fields"),
        (b"name,prompt\na,\xff\n", "not UTF-8"),
        (b"name,prompt\na,b\nc,d\0\n", "NUL"),
    ],
)
async def test_a_file_that_is_wrong_somewhere_is_not_imported_at_all(
    prompts, tmp_path, data, sentence
):
    (tmp_path / "p.csv").write_bytes(data)
    with pytest.raises(InvalidRequestError, match=sentence):
        await prompts.import_file(tmp_path / "p.csv")
    assert await prompts.list() == []


async def test_a_file_that_cannot_be_read_or_written_is_one_sentence(prompts, tmp_path):
    with pytest.raises(InvalidRequestError, match="cannot be read"):
        await prompts.import_file(tmp_path / "none.txt")
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate((32 << 20) + 1)
    with pytest.raises(InvalidRequestError, match="larger than 32 MiB"):
        await prompts.import_file(tmp_path / "huge.txt")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        await prompts.export_csv(tmp_path / "file" / "p.csv")


@pytest.mark.sqlite
async def test_every_query_goes_by_an_index(tmp_path):
    asked: list[tuple[str, object]] = []
    async with open_prompts(tmp_path, workers=InlineWorkers()) as prompts:
        database = prompts._database
        read = database.read

        async def listen(sql, values=()):
            asked.append((sql, values))
            return await read(sql, values)

        database.read = listen
        await prompts.save("a", "b", tags=["c"])
        await prompts.get("a")
        await prompts.get("a", 1)
        await prompts.history("a")
        for filters in ({}, {"tag": "c"}, {"favourites": True}, {"tag": "c", "favourites": True}):
            await prompts.list(**filters)
            await prompts.list("b", **filters, after="0")
    assert len(asked) == 11
    connection = sqlite3.connect(tmp_path / "imagen.sqlite3")
    for sql, values in asked:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
        for step in plan:
            assert not step.startswith("SCAN") or "VIRTUAL TABLE" in step, (sql, plan)
    connection.close()


@pytest.mark.sqlite
async def test_a_home_that_cannot_be_used_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be opened"):
        async with open_prompts(Path(tmp_path / "file")):
            pass
