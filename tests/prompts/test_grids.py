"""Grids: every value of every list with every other, each once, none of it made
before it is asked for.
"""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagen import Generate, InvalidRequestError
from imagen.prompts import Style, Template, grid

INK, OIL = Style(name="ink", suffix="in ink"), Style(name="oil", prefix="oil of")
LISTS = st.fixed_dictionaries(
    {},
    optional={
        "models": st.lists(st.sampled_from(["a", "b", "c"]), max_size=3, unique=True),
        "seeds": st.lists(st.integers(0, 9), max_size=3, unique=True),
        "sizes": st.lists(st.sampled_from(["square", "64x64"]), max_size=2, unique=True),
        "qualities": st.lists(st.sampled_from(["low", "high"]), max_size=2, unique=True),
    },
)


@given(st.lists(st.sampled_from("xyz"), min_size=1, max_size=3, unique=True), LISTS)
def test_a_grid_is_the_product_of_its_lists(prompts, lists):
    made = grid(prompts, **lists)
    axes = [lists.get(name) or [None] for name in ("models", "seeds", "sizes", "qualities")]
    expected = [
        Generate(prompt=prompt, model=model, seed=seed, size=size, quality=quality)
        for prompt, model, seed, size, quality in product(prompts, *axes)
    ]
    assert list(made) == list(made.requests) == expected
    assert len(made) == len(expected)
    assert [made[place] for place in range(len(made))] == expected
    assert made[-1] == expected[-1]
    for place, request in enumerate(expected):
        labels = made.labels(place)
        assert labels["prompt"] == request.prompt
        assert labels.get("seed") == (None if request.seed is None else str(request.seed))


def test_the_first_list_turns_slowest_and_all_have_the_parameters():
    made = grid(["x", "y"], seeds=[1, 2], aspect_ratio="16:9")
    assert [(one.prompt, one.seed, one.aspect_ratio) for one in made] == [
        ("x", 1, "16:9"),
        ("x", 2, "16:9"),
        ("y", 1, "16:9"),
        ("y", 2, "16:9"),
    ]
    assert made.axes == {"prompt": 2, "seed": 2}
    assert made[1:3] == [made[1], made[2]]
    with pytest.raises(IndexError):
        made[4]


def test_styles_are_a_list_too_one_by_one_together_or_none():
    made = grid("a cat", styles=[None, INK, (OIL, INK)], style="vivid")
    assert [one.prompt for one in made] == ["a cat", "a cat, in ink", "oil of a cat, in ink"]
    assert {one.style for one in made} == {"vivid"}
    assert [made.labels(place)["style"] for place in range(3)] == ["no style", "ink", "oil + ink"]


def test_a_caption_says_what_differs():
    made = grid("a cat", models=["m"], seeds=[1, 2], styles=[INK])
    assert made.caption(1) == "2"
    assert made.labels(1) == {"prompt": "a cat", "model": "m", "seed": "2", "style": "ink"}


def test_a_template_is_a_list_that_is_never_held():
    expansions = Template.parse(" ".join(["{a|b}"] * 60)).expand()
    made = grid(expansions, seeds=[1, 2], most=2**62)
    assert len(made) == 2**61
    assert made[-1] == Generate(prompt=" ".join(["b"] * 60), seed=2)
    assert next(iter(made)).seed == 1


def test_too_many_or_none_are_refused_in_a_sentence():
    with pytest.raises(
        InvalidRequestError, match=r"10,100 requests \(101 prompt x 100 seed\); at most 10,000"
    ):
        grid(["x"] * 101, seeds=range(100))
    assert len(grid(["x"] * 101, seeds=range(100), most=20_000)) == 10_100
    with pytest.raises(InvalidRequestError, match=r"more than 1,000,000,000,000,000 requests"):
        grid(Template.parse("{a|b}" * 9000).expand())
    with pytest.raises(InvalidRequestError, match="at least one prompt"):
        grid([], seeds=[1])
    with pytest.raises(
        InvalidRequestError, match="seed is given both as a common value and as a list"
    ):
        grid("x", seeds=[1], seed=2)
