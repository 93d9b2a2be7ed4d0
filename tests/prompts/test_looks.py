"""A look keeps styles, seeds and references from image to image."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from imagen import Generate, Model
from imagen.prompts import SharedStyle, Style
from imagen.providers import Capabilities, InputLimits, load_catalog


class Kept:
    """An image that was made."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.data = b""


def model_with(references: int) -> Model:
    model, *_ = load_catalog()
    inputs = InputLimits(max_references=references)
    return msgspec.structs.replace(model, capabilities=Capabilities(inputs=inputs))


def look(takes: int = 0, **parts: object) -> SharedStyle:
    return SharedStyle(**parts, model_for=lambda request: model_with(takes))


def test_every_prompt_gets_the_styles_and_what_is_said_for_one_counts_there():
    ink = Style(name="ink", suffix="in ink", parameters={"quality": "high"})
    kept = look(styles=[ink], references=["look.png"])
    assert kept.request("a cat") == Generate(
        prompt="a cat, in ink", quality="high", references=("look.png",)
    )
    assert kept.request("a dog", quality="low", seed=5, references=("dog.png",)) == Generate(
        prompt="a dog, in ink", quality="low", seed=5, references=("dog.png", "look.png")
    )


@given(st.integers(0, 2**40), st.lists(st.text(max_size=3), max_size=20))
def test_each_prompt_has_a_seed_of_its_own_and_the_same_one_again(seed, prompts):
    kept = look(seed=seed)
    first = {prompt: kept.request(prompt).seed for prompt in prompts}
    assert {prompt: kept.request(prompt).seed for prompt in reversed(prompts)} == first
    assert len(set(first.values())) == len(first)
    if first:
        assert first[prompts[0]] == seed
    assert all(value < max(2**32, seed + 1) for value in first.values())


def test_seeds_go_on_one_by_one_and_without_a_seed_there_is_none():
    kept = look(seed=7)
    assert [kept.request(prompt).seed for prompt in ("a", "b", "a", "c")] == [7, 8, 7, 9]
    assert look(seed=2**32 - 1).request("a").seed == 2**32 - 1
    assert look().request("a").seed is None


def test_kept_images_lend_their_look_the_latest_first_as_far_as_the_model_takes_them():
    a, b, c = Kept("a"), Kept("b"), Kept("c")
    kept = look(3, references=["look.png"])
    for image in (a, b, a, c):
        kept.keep(image)
    assert kept.request("x").references == ("look.png", c, a)
    none = look(0, references=["look.png"])
    none.keep(a)
    assert none.request("x").references == ("look.png",)


def test_the_model_is_the_one_of_the_request():
    asked = []

    def model_for(request: Generate) -> Model:
        asked.append(request.model)
        return model_with(1)

    kept = SharedStyle([Style(name="s", parameters={"model": "sketch"})], model_for=model_for)
    kept.request("x")
    kept.keep(Kept("a"))
    kept.request("x")
    kept.request("x", model="other")
    assert asked == ["sketch", "other"]
