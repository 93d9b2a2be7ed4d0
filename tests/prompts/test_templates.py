"""Templates: what they stand for is counted without being made, and values stay
what they are.
"""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagen import InvalidRequestError
from imagen.prompts import Template

WORDS = st.text(alphabet="ab _-é水🐈,", max_size=5)
WILDCARDS = {"one": ["x"], "few": ["red", "{light|dark} blue"], "deep/er": ["a __few__", "__one__"]}
PLAIN = WORDS.filter(lambda text: "__" not in text)


@st.composite
def choices(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    alternatives = draw(st.lists(inner, min_size=2, max_size=4))
    bounds = ""
    if draw(st.booleans()):
        low = draw(st.integers(0, len(alternatives)))
        high = draw(st.integers(low, len(alternatives)))
        bounds = f"{low}-{high}$$" + draw(st.sampled_from(["", " and $$"]))
    return "{" + bounds + "|".join(alternatives) + "}"


TEMPLATES = st.recursive(
    PLAIN
    | st.sampled_from(
        ["__one__", "__few__", "__deep/er__", "{{name}}", "{{n:int=3}}", r"\{", r"\_"]
    ),
    lambda inner: choices(inner) | st.lists(inner, min_size=1, max_size=3).map(" ".join),
    max_leaves=8,
)
SYNTAX = st.text(alphabet="{}|$_-123abc:=(), \\\n/.é\ud800\0", max_size=60) | st.text(max_size=60)


def texts(template: str, **values: str | int | float) -> list[str]:
    return list(Template.parse(template).expand(values, WILDCARDS))


@given(TEMPLATES)
def test_the_count_is_how_many_prompts_there_are(text):
    template = Template.parse(text)
    expansions = template.expand({"name": "n"} if "{{name}}" in text else {}, WILDCARDS)
    assert template.count(WILDCARDS) == expansions.total
    made = list(islice(expansions, 2000))
    assert len(made) == min(expansions.total, 2000)
    assert made == expansions[:2000]


@given(
    st.lists(
        st.lists(st.text("abc", min_size=1, max_size=3), min_size=2, max_size=4, unique=True),
        max_size=4,
    )
)
def test_prompts_come_in_the_order_of_an_odometer_and_each_differs(axes):
    template = " ".join("{" + "|".join(axis) + "}" for axis in axes)
    expected = [""]
    for place, axis in enumerate(axes):
        expected = [f"{before}{' ' * (place > 0)}{word}" for before in expected for word in axis]
    assert texts(template) == expected
    assert len(set(expected)) == len(expected)


@given(SYNTAX)
def test_no_text_is_too_strange_to_be_read_or_refused(text):
    try:
        Template.parse(text).expand({}, {})
    except InvalidRequestError as error:
        assert error.message.endswith("."), error.message


@given(SYNTAX.filter(lambda text: "\ud800" not in text))
def test_a_value_stays_what_it_is(value):
    assert texts("a {{name}} {x|y}", name=value) == [f"a {value} x", f"a {value} y"]


@given(TEMPLATES, st.integers(0, 2**32), st.integers(1, 5))
def test_a_sample_is_of_different_choices_and_the_same_for_the_same_seed(text, seed, n):
    expansions = Template.parse(text).expand({"name": "n"} if "{{name}}" in text else {}, WILDCARDS)
    if n > expansions.total:
        with pytest.raises(InvalidRequestError, match="Invalid sample size"):
            expansions.sample(n, seed)
        return
    chosen = expansions.sample(n, seed)
    assert chosen == expansions.sample(n, seed)
    assert len(chosen) == n
    everything = list(islice(expansions, 2000))
    for text in set(chosen) if expansions.total <= 2000 else ():
        assert chosen.count(text) <= everything.count(text)


def test_a_sample_of_everything_is_everything():
    expansions = Template.parse("{1|2|3|4} {a|b}").expand()
    assert sorted(expansions.sample(8, seed=5)) == sorted(expansions)
    assert expansions.sample(8, seed=5) != list(expansions)
    template = Template.parse("{{n}} {1|2|3|4|__few__}")
    assert template.sample(3, 5, {"n": "n"}, WILDCARDS) == template.expand(
        {"n": "n"}, WILDCARDS
    ).sample(3, 5)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("a cat", ["a cat"]),
        ("a {red|blue} car", ["a red car", "a blue car"]),
        ("{a|{b|c}d}", ["a", "bd", "cd"]),
        ("{{a|b}|c}", ["a", "b", "c"]),
        ("{|a }b", ["b", "a b"]),
        ("{{a: {b|c}|d}|e}", ["a: b", "a: c", "d", "e"]),
        ("{2$$a|b|c}", ["a, b", "a, c", "b, c"]),
        ("{2$$ and $$a|{b|c}}", ["a and b", "a and c"]),
        ("{-2$$a|b}", ["a", "b", "a, b"]),
        ("{0-1$$a|b}", ["", "a", "b"]),
        ("{2-$$ $$a|b}", ["a b"]),
        ("__few__ __one__", ["red x", "light blue x", "dark blue x"]),
        ("__deep/er__", ["a red", "a light blue", "a dark blue", "x"]),
        ("____ and a __ b", ["____ and a __ b"]),
        (r"\{a\|b\} \_\_one__ \\", ["{a|b} __one__ \\"]),
        (r"C:\new", [r"C:\new"]),
        ("x | y", ["x | y"]),
        ('{"shot": {"light": "soft"}}', ['{"shot": {"light": "soft"}}']),
        ("{}", ["{}"]),
        ("{{name}} and {{name}}", ["Ada and Ada"]),
        ("{{{name}}|x}", ["Ada", "x"]),
        ("{x|{{name}}}", ["x", "Ada"]),
    ],
)
def test_templates_say_what_they_look_like(template, expected):
    values = {"name": "Ada"} if "{{name}}" in template else {}
    assert texts(template, **values) == expected


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("a {red|blue car", "at character 3 is not closed"),
        ("a\nred} car", "in line 2 at character 4 has no opening brace"),
        ("{3$$a|b}", "3 to 3 of 2"),
        ("{2-1$$a|b}", "2 to 1 of 2"),
        ("{{my name}}", "Invalid variable"),
        ("{{a={x}}}", "Invalid variable"),
        ("{{a:text={x|y}}}", "with no braces in the default"),
        ("{{n:integer}}", "Invalid type of the variable n: expected text, int"),
        ("{{n:choice}}", "Invalid type of the variable n: expected text, int"),
        ("{{n:choice(,)}}", "Invalid type of the variable n: expected text, int"),
        ("{{n:int(3)}}", "Invalid type of the variable n: expected text, int"),
        ("{{n:int=three}}", "'three' of the variable n: expected a whole number"),
        ("{{n:choice(a,b)=c}}", "'c' of the variable n: expected one of a, b"),
        ("{{n:int}} {{n:float}}", "declared twice"),
        ("{{n=1}} {{n=2}}", "declared twice"),
        ("__../secret__", "Invalid wildcard"),
        ("__/etc/passwd__", "Invalid wildcard"),
        ("__a//b__", "Invalid wildcard"),
        ("__none__", "Unknown wildcard none"),
        ("{" * 11 + "|}" * 11, "nested more than 10 deep"),
        ("x" * 100_001, "at most 100,000 characters, not 100,001"),
    ],
)
def test_a_slip_is_one_sentence(template, sentence):
    with pytest.raises(InvalidRequestError) as caught:
        texts(template)
    assert sentence in caught.value.message
    assert "\n" not in caught.value.message


def test_variables_are_listed_with_their_types_and_defaults():
    template = Template.parse(
        "{{who}} {{n:int=3}} {{x: float = 1.5}} {{mood:choice(calm, stormy)=calm}} {{who}}"
    )
    assert [(one.name, one.type, one.options, one.default) for one in template.variables] == [
        ("who", "text", (), None),
        ("n", "int", (), "3"),
        ("x", "float", (), "1.5"),
        ("mood", "choice", ("calm", "stormy"), "calm"),
    ]
    assert list(template.expand({"who": "I", "n": 4, "x": 2})) == ["I 4 2 calm I"]
    assert (
        Template.parse("{{n}} {{n:int=3}}").variables
        == Template.parse("{{n:int=3}} {{n}}").variables
    )


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "Missing value of the variable who"),
        ({"who": "I", "whom": "you"}, "Unknown variable 'whom': the template has who, n, x, mood"),
        ({"who": "I", "n": "3.5"}, "variable n: expected a whole number"),
        ({"who": "I", "n": True}, "variable n: expected a whole number"),
        ({"who": "I", "n": 2.0}, "variable n: expected a whole number"),
        ({"who": "I", "n": 10**5000}, "variable n: expected a whole number"),
        ({"who": "I", "x": "nan"}, "variable x: expected a number"),
        ({"who": "I", "x": "1,5"}, "variable x: expected a number"),
        ({"who": "I", "x": float("inf")}, "variable x: expected a number"),
        ({"who": "I", "mood": "sad"}, "variable mood: expected one of calm, stormy"),
        ({"who": ["I"]}, "variable who: expected a text"),
        ({"who": "I" * 100_001}, "variable who: expected a text"),
    ],
)
def test_a_value_of_the_wrong_kind_is_one_sentence(values, sentence):
    template = Template.parse("{{who}} {{n:int=3}} {{x:float=1}} {{mood:choice(calm,stormy)=calm}}")
    with pytest.raises(InvalidRequestError) as caught:
        template.check(values)
    assert sentence in caught.value.message


@pytest.mark.parametrize(
    "unit",
    [
        "{",
        "{{",
        " ",
        "{ ",
        "{{a",
        "{{a:",
        "{{a=",
        "{{a:choice(",
        "__",
        "_",
        "__a",
        "|",
        "\\",
        "2$$",
        "{1-",
        "$",
    ],
)
def test_no_text_takes_long_to_be_read(unit):
    # Twice the letters take twice the steps: what backtracks would not end.
    for text in (
        unit * (90_000 // len(unit)),
        "{" + unit * (90_000 // len(unit)),
        "{{a" + unit * (90_000 // len(unit)),
    ):
        try:
            Template.parse(text)
        except InvalidRequestError as error:
            assert len(error.message) < 400


def test_counting_and_finding_do_not_depend_on_how_many_there_are():
    template = Template.parse(" ".join(["{a|b}"] * 10_000))
    assert template.count() == 2**10_000
    expansions = template.expand()
    assert expansions[-1] == " ".join(["b"] * 10_000)
    assert expansions[2].endswith(" a b a")
    assert len(set(expansions.sample(3, seed=1))) == 3
    with pytest.raises(InvalidRequestError, match="more than 1,000,000,000,000,000"):
        expansions.sample(0, seed=1)


def test_a_choice_of_several_of_many_is_counted():
    template = Template.parse("{50$$" + "|".join("abcde" for _ in range(100)) + "}")
    assert template.count() == 100891344545564193334812497256
    with pytest.raises(InvalidRequestError, match="at most 100, not 101"):
        Template.parse("{2$$" + "|" * 100 + "}").count()


def test_a_wildcard_that_holds_itself_is_refused():
    circle = {"a": ["x __b__"], "b": ["__c__"], "c": ["{1|__a__}"]}
    with pytest.raises(InvalidRequestError, match="is recursive \\(a -> b -> c -> a\\)"):
        Template.parse("__a__").count(circle)
    with pytest.raises(InvalidRequestError, match="more than 10 deep"):
        Template.parse("__w0__").count({f"w{n}": [f"__w{n + 1}__"] for n in range(50)})


def test_a_few_wildcards_cannot_grow_into_a_prompt_that_fills_the_memory():
    lines = {f"w{n}": [f"__w{n + 1}__" * 10] for n in range(9)} | {"w9": ["ha"]}
    with pytest.raises(InvalidRequestError, match=r"2,000,000,000 characters"):
        Template.parse("__w0__").count(lines)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["{{x}}"], "variables are allowed in templates only"),
        ([], "is empty"),
        (["{a"], "not closed"),
    ],
)
def test_a_wildcard_that_cannot_be_used_is_one_sentence(lines, sentence):
    with pytest.raises(InvalidRequestError, match=sentence):
        Template.parse("__a__").count({"a": lines})


def test_expansions_are_a_sequence():
    expansions = Template.parse("{a|b|c}").expand()
    assert (len(expansions), expansions[-1], expansions[1:]) == (3, "c", ["b", "c"])
    assert "b" in expansions
    with pytest.raises(IndexError):
        expansions[3]
    assert repr(Template.parse("{a|b}")) == "Template('{a|b}')"
