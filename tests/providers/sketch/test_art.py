"""The images of the sketch engine: the same request gives the same bytes, and
any prompt gives an image.
"""

import io
from itertools import combinations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageStat
from PIL.PngImagePlugin import PngImageFile

from imagen.providers.sketch._art import STYLES, draw

SOFTWARE = "imagen sketch engine (procedural, no AI)"
# Between them they call every motif, ground, sky and weather.
SCENES = (
    "a lighthouse in a thunderstorm",
    "a red sailboat before the skyline, sunset",
    "a cabin in the mountains, snow",
    "a castle by the river in autumn fog",
    "a windmill in a field of tulips at dawn",
    "an orange cat on a roof, full moon",
    "a fox in the pine forest",
    "a wanderer in the desert",
    "gulls over a lake, rain",
    "balloons and an old tree, winter hills",
    "aurora over the sea, starry sky",
    "a rocket and a station in space",
    "Saturn above the dunes",
)
# No known word in them: of the three abstract prints, a dozen prompts meet each
# one.
ABSTRACTS = tuple(f"theorem no. {number}" for number in range(12))


def draw_image(
    prompt: str = SCENES[0],
    size: tuple[int, int] = (64, 48),
    seed: int = 1,
    style: str | None = None,
) -> bytes:
    return draw(prompt, width=size[0], height=size[1], seed=seed, style=style)


def opened(data: bytes) -> PngImageFile:
    image = Image.open(io.BytesIO(data))
    assert isinstance(image, PngImageFile)
    image.load()
    return image


def pixels(data: bytes) -> bytes:
    """The image alone: files differ in their description already."""
    return opened(data).tobytes()


@pytest.mark.parametrize("style", [None, *STYLES])
@pytest.mark.parametrize("prompt", [*SCENES, *ABSTRACTS])
def test_the_same_arguments_give_the_same_bytes(prompt: str, style: str | None) -> None:
    data = draw_image(prompt, style=style)
    assert data == draw_image(prompt, style=style)
    assert ImageStat.Stat(opened(data).convert("L")).stddev[0] > 3, "a blank sheet"


@pytest.mark.parametrize("prompt", [SCENES[0], SCENES[11], ABSTRACTS[0]])
def test_another_seed_or_style_gives_another_image(prompt: str) -> None:
    drawn = [draw_image(prompt, seed=seed) for seed in range(8)] + [
        draw_image(prompt, style=style) for style in STYLES
    ]
    assert len({pixels(data) for data in drawn}) == len(drawn)


def test_another_prompt_gives_another_image() -> None:
    drawn = {prompt: pixels(draw_image(prompt)) for prompt in (*SCENES, *ABSTRACTS)}
    for one, other in combinations(drawn, 2):
        assert drawn[one] != drawn[other], (one, other)


def test_another_size_gives_another_image() -> None:
    small, large = (opened(draw_image(SCENES[2], size)) for size in ((64, 48), (128, 96)))
    assert small.tobytes() != large.resize(small.size).tobytes()


def test_one_seed_keeps_its_composition_from_size_to_size() -> None:
    small, large, other = (
        opened(draw_image(SCENES[1], size, seed, "flat")).resize((16, 12), Image.Resampling.BOX)
        for size, seed in (((160, 120), 5), ((320, 240), 5), ((160, 120), 6))
    )
    assert distance(small, large) < 12 < distance(small, other)


def distance(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of two images, in levels of 256."""
    a, b = one.tobytes(), other.tobytes()
    return sum(abs(x - y) for x, y in zip(a, b, strict=True)) / len(a)


@pytest.mark.parametrize("style", [None, *STYLES])
@pytest.mark.parametrize("size", [(16, 16), (160, 40), (40, 160), (97, 61)])
@pytest.mark.parametrize("prompt", [*SCENES[:6], SCENES[11], *ABSTRACTS[:4]])
def test_size_is_as_asked(prompt: str, size: tuple[int, int], style: str | None) -> None:
    image = opened(draw_image(prompt, size, style=style))
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", size)


def test_a_large_sheet_is_cut_without_enlarging() -> None:
    image = opened(draw_image("a house by the sea", (2400, 1900), style="flat"))
    assert image.size == (2400, 1900)


@pytest.mark.parametrize("prompt", ["a cat", "eine Katze über den Dächern 🐈", ""])
def test_the_file_says_what_made_it(prompt: str) -> None:
    assert opened(draw_image(prompt)).text == {"Software": SOFTWARE, "Description": prompt}


def test_what_a_text_cannot_hold_is_left_out_of_the_description() -> None:
    assert opened(draw_image("a\0 cat \ud800!")).text["Description"] == "a cat ?!"


def test_a_night_is_darker_than_a_day() -> None:
    day, night = (
        opened(draw_image(f"a lake at {hour}")).convert("L") for hour in ("noon", "midnight")
    )
    assert ImageStat.Stat(night).mean[0] < 0.6 * ImageStat.Stat(day).mean[0]


def test_a_named_colour_tints_the_image() -> None:
    red, blue = (opened(draw_image(f"{colour} mountains")) for colour in ("red", "blue"))
    assert warmth(red) > 40 > -40 > warmth(blue)


def warmth(image: Image.Image) -> float:
    red, _, blue = ImageStat.Stat(image).mean
    return red - blue


@pytest.mark.parametrize("style", ["", "unknown", "FLAT", "\ud800"])
@pytest.mark.parametrize("prompt", [SCENES[5], ABSTRACTS[1]])
def test_an_unknown_style_is_no_style(prompt: str, style: str) -> None:
    assert draw_image(prompt, style=style) == draw_image(prompt)


words = st.sampled_from([word for scene in SCENES for word in scene.split()])
prompts = st.text(st.characters(codec=None), max_size=40) | st.lists(words, max_size=8).map(
    " ".join
)


@given(
    prompts,
    st.integers(16, 64),
    st.integers(16, 64),
    st.integers(),
    st.sampled_from([None, *STYLES]),
)
@example("", 16, 64, 0, None)
@example("🦊🌙", 64, 16, -1, "ink")
@example("\ud800", 32, 32, 2**70, "riso")
@example("a\0b\r\n\t", 32, 32, 0, "flat")
@example("s ss ies İ ß", 32, 32, 0, "night")
@example("cat " * 25_000, 32, 32, 0, None)
@example("q" * 100_000, 32, 32, 0, None)
@settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
def test_any_prompt_gives_an_image(
    prompt: str, width: int, height: int, seed: int, style: str | None
) -> None:
    image = opened(draw(prompt, width=width, height=height, seed=seed, style=style))
    assert (image.size, image.text["Software"]) == ((width, height), SOFTWARE)
