"""Styles: put onto requests, read from files, and carried from and to other
tools.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagen import ConfigurationError, Edit, Generate, InvalidRequestError, StorageError
from imagen.prompts import (
    Style,
    add_styles,
    apply_styles,
    choose_styles,
    load_styles,
    read_styles_csv,
    write_styles_csv,
)

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "size": st.just("1024x1024"),
        "quality": WORDS,
        "guidance": st.floats(0, 1e30),
        "steps": st.integers(1, 2**40),
        "options": st.dictionaries(
            WORDS,
            st.recursive(
                WORDS
                | st.booleans()
                | st.integers(-(2**60), 2**60)
                | st.floats(allow_nan=False, allow_infinity=False),
                lambda inner: (
                    st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3)
                ),
                max_leaves=5,
            ),
            max_size=3,
        ),
    },
)
STYLES = st.builds(
    Style,
    name=NAMES,
    description=WORDS,
    prefix=WORDS,
    suffix=WORDS,
    negative_prompt=WORDS,
    references=st.lists(WORDS.filter(lambda text: "\0" not in text and text), max_size=2).map(
        tuple
    ),
    parameters=VALUES,
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


# --- onto requests ------------------------------------------------------------


@pytest.mark.parametrize(
    ("style", "prompt", "expected"),
    [
        (
            {"prefix": "an oil painting of", "suffix": "thick paint"},
            "a cat",
            "an oil painting of a cat, thick paint",
        ),
        ({"suffix": "thick paint"}, "A cat.", "A cat. thick paint"),
        ({"suffix": ", thick paint"}, "a cat", "a cat, thick paint"),
        ({"prefix": "a painting of "}, " a cat ", "a painting of a cat"),
        ({"prefix": "a painting"}, "", "a painting"),
        ({"suffix": "thick paint"}, "", "thick paint"),
        ({}, " as it is ", " as it is "),
        ({"prefix": "still of {prompt}, film"}, "a cat", "still of a cat, film"),
        (
            {"prefix": "{prompt}", "suffix": "like {prompt}"},
            "{prompt} x",
            "{prompt} x like {prompt} x",
        ),
    ],
)
def test_words_go_around_the_prompt(style, prompt, expected):
    assert apply_styles(Generate(prompt=prompt), [Style(name="s", **style)]).prompt == expected


@given(WORDS)
def test_without_a_style_a_request_is_not_touched(prompt):
    request = Generate(prompt=prompt, negative_prompt="", options={"a": 1})
    assert apply_styles(request, []) is request


def test_styles_go_one_around_the_other_in_their_order():
    oil = Style(
        name="oil",
        prefix="an oil painting of",
        negative_prompt="photo",
        parameters={"quality": "high"},
    )
    old = Style(
        name="old",
        suffix="cracked",
        negative_prompt="new",
        parameters={"quality": "low", "steps": 20},
    )
    styled = apply_styles(Generate(prompt="a cat", negative_prompt="dog"), [oil, old])
    assert styled == Generate(
        prompt="an oil painting of a cat, cracked",
        negative_prompt="dog, photo, new",
        quality="high",
        steps=20,
    )


def test_what_the_request_says_itself_counts():
    style = Style(
        name="s",
        parameters={
            "aspect_ratio": "1:1",
            "resolution": "2K",
            "quality": "low",
            "options": {"a": 1, "b": 1},
        },
    )
    request = Generate(prompt="x", size="1024x1536", quality="high", options={"b": 2})
    assert apply_styles(request, [style]) == Generate(
        prompt="x", size="1024x1536", quality="high", options={"a": 1, "b": 2}
    )
    assert apply_styles(Generate(prompt="x"), [style]).aspect_ratio == "1:1"


def test_references_go_to_generations_and_words_to_every_operation():
    style = Style(name="s", suffix="in ink", references=("look.png",))
    assert apply_styles(Generate(prompt="x", references=("a.png",)), [style]).references == (
        "a.png",
        "look.png",
    )
    assert apply_styles(Edit(prompt="x", images=("a.png",)), [style]) == Edit(
        prompt="x, in ink", images=("a.png",)
    )


def test_a_style_that_is_not_there_is_named_with_those_that_are_near(home):
    styles = load_styles(home)
    assert [style.name for style in choose_styles(styles, ["oil", "ink"])] == ["oil", "ink"]
    with pytest.raises(InvalidRequestError, match=r"did you mean watercolour\?"):
        choose_styles(styles, ["watercolor"])
    with pytest.raises(InvalidRequestError, match="imagen style list"):
        choose_styles({}, ["watercolor"])


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": ""}, "1 to 100 printable characters"),
        ({"name": "a\x1b[2Jb"}, "1 to 100 printable characters"),
        ({"name": "x" * 101}, "1 to 100 printable characters"),
        ({"name": "s", "parameters": {"seed": 1}}, "Unknown parameter 'seed'"),
        ({"name": "s", "parameters": {"steps": "many"}}, "Invalid parameter"),
        ({"name": "s", "parameters": {"size": "square", "aspect_ratio": "1:1"}}, "not both"),
    ],
)
def test_a_style_that_makes_no_sense_is_one_sentence(fields, sentence):
    with pytest.raises(InvalidRequestError, match=sentence):
        Style(**fields)


# --- files --------------------------------------------------------------------


def test_the_styles_that_come_with_imagen_are_there_and_each_says_something(home):
    styles = load_styles(home)
    assert len(styles) >= 16
    for style in styles.values():
        assert style.description
        assert "a cat" in apply_styles(Generate(prompt="a cat"), [style]).prompt


def test_the_users_own_come_after_them_and_take_their_place(home):
    (home / "look.png").write_bytes(b"x")
    (home / "styles.toml").write_text(
        '[oil]\nprefix = "my oil of"\n["our brand"]\nreferences = ["look.png", "0123abcd",'
        ' "https://example.org/a.png"]\nparameters = { aspect_ratio = "16:9", options = { cfg = 3'
        " } }\n"
    )
    styles = load_styles(home)
    assert (styles["oil"].prefix, styles["oil"].suffix) == ("my oil of", "")
    assert list(styles)[-1] == "our brand"
    assert styles["our brand"].references == (
        str(home / "look.png"),
        "0123abcd",
        "https://example.org/a.png",
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[a", "is invalid"),
        ("prefix = 'x'", "in the style 'prefix': Expected a table"),
        ("[a]\nprefux = 'x'", "in the style 'a'.*prefux"),
        ("[a]\nname = 'b'", "in the style 'a': Expected a table"),
        ("[a]\nprefix = 3", "in the style 'a': Expected `str`"),
        ("[a]\nparameters = { tag = 'x' }", "in the style 'a': Unknown parameter 'tag'"),
        ("['']\nprefix = 'x'", "in the style '': Invalid style name"),
        ("[a]\nx = " + "[" * 5000, "is invalid"),
    ],
)
def test_a_slip_in_the_file_is_one_sentence_that_names_it(home, text, sentence):
    (home / "styles.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        load_styles(home)
    assert str(home / "styles.toml") in caught.value.message
    with pytest.raises(ConfigurationError, match=sentence):
        add_styles(home, [Style(name="new")])
    assert (home / "styles.toml").read_text() == text


def test_a_file_that_is_no_text_is_one_sentence(home):
    (home / "styles.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_styles(home)


@given(st.lists(STYLES, max_size=4, unique_by=lambda style: style.name))
def test_what_is_written_is_read_again(tmp_path_factory, styles):
    home = tmp_path_factory.mktemp("home")
    assert add_styles(home, styles) == ([style.name for style in styles], [])
    loaded = load_styles(home)
    assert [loaded[style.name] for style in styles] == styles


def test_what_stands_in_the_file_stays_with_its_comments(home):
    text = "# mine\n[oil]\nprefix = 'my oil of'  # better"
    (home / "styles.toml").write_text(text)
    added, kept = add_styles(
        home, [Style(name="oil", prefix="other"), Style(name="new"), Style(name="new")]
    )
    assert (added, kept) == (["new"], ["oil", "new"])
    assert (home / "styles.toml").read_text().startswith(text + "\n")
    assert load_styles(home)["oil"].prefix == "my oil of"
    assert [path.name for path in home.iterdir()] == ["styles.toml"]


def test_a_folder_that_cannot_be_written_is_one_sentence(home):
    (home / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        add_styles(home / "file", [Style(name="a")])
    with pytest.raises(StorageError, match="cannot be written"):
        write_styles_csv(home / "file" / "styles.csv", [])


# --- styles.csv ---------------------------------------------------------------


def test_styles_of_the_web_ui_are_read_as_it_writes_them(home):
    (home / "styles.csv").write_bytes(
        "\ufeffname,prompt,negative_prompt\r\n"
        '"Cine, ""big""","still of {prompt}, film",ugly\r\n'
        "Plain,masterpiece,\r\n"
        "\r\n"
        'Lines,"two\r\nlines",\r\n'
        ",,\r\n".encode()
    )
    cine, plain, lines = read_styles_csv(home / "styles.csv")
    assert cine == Style(
        name='Cine, "big"', prefix="still of {prompt}, film", negative_prompt="ugly"
    )
    assert apply_styles(Generate(prompt="a cat"), [cine, plain]) == Generate(
        prompt="still of a cat, film, masterpiece", negative_prompt="ugly"
    )
    assert lines.suffix == "two\r\nlines"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "has no column 'name'"),
        (b"name,text\na,b\n", "has no column 'prompt'"),
        (b"name,prompt\na,b,c\n", "too many fields in line 2"),
        (b"name,prompt\n,b\n", "invalid in line 2: Invalid style name"),
        (b'name,prompt\na,"b"c"\n', "is not valid CSV after line 1"),
        (b"name,prompt\na," + b"x" * 200_000, "is not valid CSV after line 1"),
        (b"name,prompt\n\xff,b\n", "not UTF-8"),
    ],
)
def test_a_table_that_is_none_is_one_sentence(home, data, sentence):
    (home / "styles.csv").write_bytes(data)
    with pytest.raises(InvalidRequestError, match=sentence):
        read_styles_csv(home / "styles.csv")


def test_a_table_that_is_not_there_is_one_sentence(home):
    with pytest.raises(InvalidRequestError, match="cannot be read: No such file"):
        read_styles_csv(home / "styles.csv")


@given(st.lists(STYLES, max_size=4), st.text("ab", min_size=1, max_size=8))
def test_what_is_exported_and_imported_frames_a_prompt_with_the_same_words(
    tmp_path_factory, styles, prompt
):
    path = tmp_path_factory.mktemp("tables") / "styles.csv"
    write_styles_csv(path, styles)
    again = read_styles_csv(path)
    assert [style.name for style in again] == [style.name for style in styles]
    for style, read in zip(styles, again, strict=True):
        assert read.negative_prompt == style.negative_prompt.strip()
        as_it_was, as_it_is = (
            apply_styles(Generate(prompt=prompt), [one]).prompt for one in (style, read)
        )
        assert as_it_is.split() == as_it_was.split()


def test_a_reference_that_can_be_no_file_stays_as_it_is(home):
    word = "a" * 300
    (home / "styles.toml").write_text(f'[mine]\nreferences = ["{word}"]', "utf-8")
    assert load_styles(home)["mine"].references == (word,)


def test_a_number_that_python_does_not_read_is_one_sentence(home):
    (home / "styles.toml").write_text(f"[mine]\nparameters = {{ steps = {'9' * 5000} }}", "utf-8")
    with pytest.raises(ConfigurationError, match="is invalid"):
        load_styles(home)


def test_what_two_add_at_once_is_all_there(home):
    with ThreadPoolExecutor(4) as pool:
        for number in range(40):
            pool.submit(add_styles, home, [Style(name=f"mine {number}", prefix="x")])
    assert sum(name.startswith("mine ") for name in load_styles(home)) == 40
    assert [path.name for path in home.iterdir()] == ["styles.toml"]
