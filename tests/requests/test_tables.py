"""Requests of tables: CSV files as spreadsheets write them, JSON Lines,
mappings, and data frames.
"""

from __future__ import annotations

import builtins
import csv
import io
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import imagen

FOX = imagen.Generate(prompt="a red fox")


def one(text: str | bytes, **defaults: object) -> imagen.Generate:
    (request,) = imagen.requests_from(text.encode() if isinstance(text, str) else text, **defaults)
    return request


@pytest.mark.parametrize(
    "text",
    [
        "prompt\na red fox",
        "prompt\r\na red fox\r\n",
        "prompt\ra red fox\r",
        "\ufeffprompt\na red fox\n",
        'sep=;\r\nprompt;seed\r\n"a red fox";\r\n',
        '"prompt","seed"\n"a red fox",""\n',
        "Prompt,Seed,,\na red fox,,,\n,,,\n\n",
        "seed;prompt\n;a red fox\n",
        "prompt\tseed\na red fox\t\n",
        "seed|prompt\n|a red fox\n",
        " PROMPT , Negative Prompt \na red fox, \n",
        "\n\nprompt\n\na red fox\n",
        '{"prompt": "a red fox"}',
        '\n{"prompt": "a red fox", "seed": null}\n\n',
        "prompt;seed\na red fox",
    ],
)
def test_a_table_is_read_as_it_is_written(text):
    assert one(text) == FOX


def test_a_table_of_excel_in_utf_16_is_read():
    assert one("prompt\tseed\na red fox\t7\n".encode("utf-16")).seed == 7


def test_cells_hold_commas_quotes_and_lines():
    made = one('prompt,seed\n"a fox, ""red""\nat dusk",3\n')
    assert (made.prompt, made.seed) == ('a fox, "red"\nat dusk', 3)
    assert one("prompt\na red fox, at dusk, in snow\n").prompt == "a red fox, at dusk, in snow"
    assert one('prompt,seed\n5" of snow,3\n').prompt == '5" of snow'


def test_every_field_has_a_column():
    made = one(
        "prompt;model;size;quality;style;seed;negative prompt;guidance;steps;safety;background;"
        "output_format;previews;options;strict;emulate;assume_usd;tag;references\n"
        'a fox;gpt-image-2;square;high;vivid;5;cats;7,5;30;relaxed;opaque;png;2;"{""a"": [1]}";yes;'
        'FALSE;0,05;foxes;"a.png\nhttps://example.com/b;c.png"\n'
    )
    assert made == imagen.Generate(
        prompt="a fox",
        model="gpt-image-2",
        size="square",
        quality="high",
        style="vivid",
        seed=5,
        negative_prompt="cats",
        guidance=7.5,
        steps=30,
        safety="relaxed",
        background="opaque",
        output_format="png",
        previews=2,
        options={"a": [1]},
        strict=True,
        assume_usd=Decimal("0.05"),
        tag="foxes",
        references=("a.png", "https://example.com/b;c.png"),
    )


def test_a_row_says_how_many_images_it_makes():
    made = imagen.requests_from(b"prompt,n\na,2\nb,\nc,1\n", n=3)
    assert "".join(request.prompt for request in made) == "aabbbc"


def test_a_row_is_stronger_than_the_defaults():
    made = one("prompt,aspect_ratio,seed\na,16:9,\n", size="square", seed=4, model="m")
    assert (made.size, made.aspect_ratio, made.seed, made.model) == (None, "16:9", 4, "m")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("promt\na", ["'promt'", "'prompt'"]),
        ("prompt,sede\na,1", ["'sede'", "'seed'"]),
        ("prompt,tags\na,1", ["'tags'", "'tag'"]),
        ("prompt,negativ_promt\na,b", ["'negative_prompt'"]),
        ("prompt,,seed\na,b,1", ["''"]),
        ("prompt,Prompt\na,b", ["two columns 'prompt'"]),
        ("prompt,seed\na,many", ["Line 2", "seed", "whole number", "'many'"]),
        ("prompt,seed\na,1\nb,2.5", ["Line 3", "seed", "'2.5'"]),
        ("prompt,guidance\na,hot", ["guidance", "a number"]),
        ("prompt,strict\na,maybe", ["strict", "true or false"]),
        ("prompt,assume_usd\na,cheap", ["assume_usd", "US dollars"]),
        ("prompt,assume_usd\na,-1", ["Line 2", "assume_usd"]),
        ("prompt,safety\na,none", ["safety", "relaxed"]),
        ("prompt,options\na,{x", ["options", "JSON object"]),
        ("prompt,options\na,[1]", ["options", "JSON object"]),
        ("prompt,size,aspect_ratio\na,square,16:9", ["Line 2", "not both"]),
        ("prompt,n\na,0", ["n is a whole number", "'0'"]),
        ("prompt,n\na,1001", ["1001"]),
        ("seed\n1", ["Line 2", "no prompt"]),
        ('prompt,seed\n"a\n b",1\n,2', ["Line 4", "no prompt"]),
        ("prompt,seed\na fox, red,1", ["Line 2", "3 cells", "quotes"]),
        ('prompt,seed\na,1\n"b,2\nc,3', ["Line 3", "not CSV"]),
        ('prompt\n"a" b', ["Line 2", "not CSV"]),
        ("prompt\n", ["no row"]),
        ("", ["no row"]),
        ('{"prompt": "a"}\n{"prompt": ', ["Line 2", "not JSON"]),
        ('{"prompt": "a"}\n["b"]', ["Line 2", "no object"]),
        ('{"prompt": "a", "seed": [1]}', ["seed"]),
        ("prompt\nd\xe9j\xe0 vu".encode("latin-1"), ["Line 2", "UTF-8"]),
        (b"PK\x03\x04....", ["workbook"]),
    ],
)
def test_what_is_wrong_is_a_sentence(text, words):
    with pytest.raises(imagen.InvalidRequestError) as caught:
        imagen.requests_from(text.encode() if isinstance(text, str) else text)
    for word in words:
        assert word in caught.value.message
    assert caught.value.message.count("\n") == 0


def test_a_path_is_read_by_its_ending(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('\n{"prompt": "a red fox"}')
    assert imagen.requests_from(path) == [FOX]
    with pytest.raises(imagen.StorageError, match=r"gone\.csv"):
        imagen.requests_from(tmp_path / "gone.csv")


@pytest.mark.parametrize("table", ["prompts.csv", {"prompt": "a"}, [1], ["a"], 3, object()])
def test_what_is_no_table_is_a_sentence(table):
    with pytest.raises(imagen.InvalidRequestError, match="table"):
        imagen.requests_from(table)


TEXTS = st.text(
    st.characters(codec="utf-8", exclude_characters="\x1f\x00"), min_size=1, max_size=60
)


@given(
    st.lists(st.tuples(TEXTS.filter(str.strip), st.none() | st.integers(0, 99)), min_size=1),
    st.sampled_from(",;\t|"),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_a_csv_writer_writes_is_read(rows, separator, quoting, encoding):
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, quoting=quoting)
    writer.writerows([("prompt", "seed"), *rows])
    made = imagen.requests_from(text.getvalue().encode(encoding))
    assert [(request.prompt, request.seed) for request in made] == rows


@given(st.lists(st.fixed_dictionaries({"prompt": TEXTS.filter(str.strip)}), min_size=1))
def test_json_lines_are_read_as_they_are(rows):
    text = b"\n".join(msgspec.json.encode(row) for row in rows)
    assert [{"prompt": made.prompt} for made in imagen.requests_from(text)] == rows


def frames(name: str) -> object:
    library = pytest.importorskip(name)
    return library.DataFrame(
        {
            "prompt": ["a fox", "an owl", "a hare"],
            "seed": [1, None, 3],
            "guidance": [7.5, None, float("nan")],
            "strict": [True, False, None],
            "size": ["square", None, ""],
            "n": [1, 2, None],
        }
    )


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_a_data_frame_is_read(name):
    made = imagen.requests_from(frames(name), model="sketch")
    assert [(one.prompt, one.seed, one.guidance, one.strict, one.size) for one in made] == [
        ("a fox", 1, 7.5, True, "square"),
        *[("an owl", None, None, False, None)] * 2,
        ("a hare", 3, None, False, None),
    ]
    assert {one.model for one in made} == {"sketch"}
    assert all(type(one.seed) in (int, type(None)) for one in made)


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_a_data_frame_with_a_wrong_cell_is_a_sentence(name):
    library = pytest.importorskip(name)
    table = library.DataFrame({"prompt": ["a", "b"], "seed": [1.0, 2.5]})
    with pytest.raises(imagen.InvalidRequestError, match=r"Row 2 of the table: seed .* 2\.5"):
        imagen.requests_from(table)


def test_frames_of_other_kinds_are_read():
    polars = pytest.importorskip("polars")
    assert imagen.requests_from(polars.LazyFrame({"prompt": ["a red fox"]})) == [FOX]
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"prompt": ["a red fox"], "seed": [pandas.NA], "tag": [pandas.NaT]})
    assert imagen.requests_from(table) == [FOX]
    assert imagen.requests_from(table.convert_dtypes()) == [FOX]


def test_without_narwhals_a_frame_is_a_sentence(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "narwhals":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(imagen.ConfigurationError, match=r"imagen-trio\[frames\]"):
        imagen.requests_from(object())
    assert imagen.requests_from([{"prompt": "a red fox"}]) == [FOX]
    assert imagen.requests_from({"prompt": "a red fox"} for _ in range(1)) == [FOX]


def test_a_path_with_a_tilde_is_a_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "p.csv").write_text("prompt\na red fox\n")
    assert imagen.requests_from(Path("~/p.csv")) == [FOX]
