"""One portable request in the words of each model, and what is said of the
difference.
"""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import imagen
from imagen._requests.sizes import fit_shape, parse_ratio, parse_size
from imagen._requests.translation import translate

CATALOG = imagen.providers.load_catalog()
SQUARE_LIST = imagen.providers.Capabilities(sizes=("auto", "1024x1024", "1536x1024", "1024x1536"))
FREE = imagen.providers.Capabilities(
    free_size=imagen.providers.FreeSize(
        multiple_of=16, max_ratio=3.0, max_side=3840, min_pixels=655360, max_pixels=8294400
    )
)
RATIOS = imagen.providers.Capabilities(
    aspect_ratios=("1:1", "16:9", "9:16", "3:2", "2:3"), resolutions=("1K", "2K", "4K")
)
RATIOS_ONLY = imagen.providers.Capabilities(aspect_ratios=("1:1", "16:9", "21:9"))
NOTHING = imagen.providers.Capabilities()
FRUGAL = imagen.providers.Capabilities(prompt_required=())


def model(can: imagen.providers.Capabilities, **more: object) -> imagen.Model:
    return imagen.Model(
        id="test", provider="test", name="Test", wire_name="test", capabilities=can, **more
    )


@pytest.mark.parametrize(
    ("can", "asked", "sent", "reported"),
    [
        (SQUARE_LIST, {"size": "auto"}, ("auto", None, None), False),
        (SQUARE_LIST, {"size": "1024x1536"}, ("1024x1536", None, None), False),
        (SQUARE_LIST, {"size": "1000x1000"}, ("1024x1024", None, None), True),
        (SQUARE_LIST, {"size": "1920x1080"}, ("1536x1024", None, None), True),
        (SQUARE_LIST, {"size": "portrait"}, ("1024x1536", None, None), False),
        (SQUARE_LIST, {"size": "banner"}, ("1536x1024", None, None), True),
        (SQUARE_LIST, {"aspect_ratio": "2:3"}, ("1024x1536", None, None), False),
        (SQUARE_LIST, {"aspect_ratio": "1:1", "resolution": "4K"}, ("1024x1024", None, None), True),
        (SQUARE_LIST, {"resolution": "1K"}, ("1024x1024", None, None), False),
        (FREE, {"size": "1024x1024"}, ("1024x1024", None, None), False),
        (FREE, {"size": "banner"}, ("1536x512", None, None), False),
        (FREE, {"size": "1000x1000"}, ("992x992", None, None), True),
        (FREE, {"size": "avatar"}, ("816x816", None, None), True),
        (FREE, {"aspect_ratio": "16:9", "resolution": "2K"}, ("2736x1536", None, None), False),
        (FREE, {"size": "auto"}, (None, None, None), False),
        (RATIOS, {"size": "1024x1024"}, (None, "1:1", "1K"), True),
        (RATIOS, {"size": "square"}, (None, "1:1", "1K"), False),
        (RATIOS, {"size": "3840x2160"}, (None, "16:9", "2K"), True),
        (RATIOS, {"aspect_ratio": "16:9"}, (None, "16:9", None), False),
        (RATIOS, {"aspect_ratio": "5:4"}, (None, "3:2", None), True),
        (RATIOS, {"resolution": "2K"}, (None, None, "2K"), False),
        (RATIOS_ONLY, {"aspect_ratio": "21:9", "resolution": "1K"}, (None, "21:9", None), False),
        (RATIOS_ONLY, {"aspect_ratio": "1:1", "resolution": "4K"}, (None, "1:1", None), True),
        (NOTHING, {"size": "1024x1024"}, (None, None, None), True),
        (NOTHING, {"aspect_ratio": "16:9"}, (None, None, None), True),
    ],
)
def test_a_shape_becomes_the_nearest_that_the_model_has_and_the_difference_is_said(
    can, asked, sent, reported
):
    request = imagen.Generate(prompt="x", **asked)
    result, adjustments = translate(request, model(can))
    assert (result.size, result.aspect_ratio, result.resolution) == sent
    assert bool(adjustments) is reported
    strict = msgspec.structs.replace(request, strict=True)
    if reported:
        with pytest.raises(imagen.InvalidRequestError, match="drop strict"):
            translate(strict, model(can))
    else:
        translate(strict, model(can))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"size": "large"}, "WIDTHxHEIGHT"),
        ({"size": "0x5"}, "WIDTHxHEIGHT"),
        ({"aspect_ratio": "wide"}, "16:9"),
        ({"aspect_ratio": "1:0"}, "16:9"),
        ({"aspect_ratio": "1:1000"}, "16:9"),
        ({"resolution": "huge"}, "1K, 2K or 4K"),
        ({"size": "64x64", "aspect_ratio": "1:1"}, "not both"),
        ({"size": "64x64", "resolution": "1K"}, "not both"),
        ({"safety": "off"}, "strict, standard, relaxed"),
        ({"references": ("a.png",)}, "takes no references"),
    ],
)
def test_what_is_no_shape_is_refused_in_a_sentence(asked, sentence):
    for can in (SQUARE_LIST, FREE, RATIOS):
        with pytest.raises(imagen.InvalidRequestError, match=sentence):
            translate(imagen.Generate(prompt="x", **asked), model(can))


sides = st.integers(1, 20000)


@given(
    width=sides,
    height=sides,
    multiple=st.sampled_from([1, 8, 16, 32, 64]),
    max_ratio=st.floats(1.0, 8.0),
    max_side=st.integers(512, 8192),
)
def test_whatever_size_is_asked_a_free_model_gets_one_that_it_takes(
    width, height, multiple, max_ratio, max_side
):
    free = imagen.providers.FreeSize(
        multiple_of=multiple,
        max_ratio=max_ratio,
        max_side=max_side,
        min_side=64,
        max_pixels=max_side * max_side // 2,
    )
    shape = fit_shape(
        imagen.Generate(prompt="x", size=f"{width}x{height}"),
        imagen.providers.Capabilities(free_size=free),
    )
    pair = parse_size(shape.size or "")
    assert pair is not None
    assert free.complaint(*pair) is None
    if free.complaint(width, height) is None:
        assert (pair, shape.reason) == ((width, height), None)


@given(width=sides, height=sides)
def test_a_list_of_ratios_gives_the_nearest(width, height):
    shape = fit_shape(imagen.Generate(prompt="x", size=f"{width}x{height}"), RATIOS)
    chosen = parse_ratio(shape.aspect_ratio or "")
    assert chosen is not None
    best = min(abs(math.log(parse_ratio(text) / (width / height))) for text in RATIOS.aspect_ratios)
    assert abs(math.log(chosen / (width / height))) == pytest.approx(best)


RICH = imagen.providers.Capabilities(
    qualities=("low", "medium", "high"),
    styles=("vivid", "natural"),
    backgrounds=("auto", "opaque"),
    output_formats=("png", "jpeg"),
    seed=True,
    negative_prompt=True,
    guidance=imagen.providers.NumberRange(low=1.5, high=10),
    steps=imagen.providers.NumberRange(low=1, high=50),
    safety=("standard", "relaxed"),
    max_previews=2,
)


@pytest.mark.parametrize(
    ("field", "asked", "sent"),
    [
        ("quality", "high", "high"),
        ("quality", "hd", "high"),
        ("quality", "standard", "medium"),
        ("quality", "draft", "low"),
        ("style", "vivid", "vivid"),
        ("background", "transparent", None),
        ("output_format", "webp", None),
        ("seed", 7, 7),
        ("guidance", 20.0, 10.0),
        ("guidance", 3.5, 3.5),
        ("steps", 100, 50),
        ("safety", "strict", None),
        ("safety", "relaxed", "relaxed"),
        ("previews", 3, 2),
        ("negative_prompt", "dogs", "dogs"),
    ],
)
def test_each_field_is_kept_or_becomes_the_nearest_or_is_left_out_and_said(field, asked, sent):
    request = imagen.Generate(prompt="x", **{field: asked})
    result, adjustments = translate(request, model(RICH))
    assert getattr(result, field) == sent
    changed = [(made.field, made.asked) for made in adjustments]
    assert changed == (
        []
        if sent == asked
        else [(field, str(asked) if not isinstance(asked, float) else f"{asked:g}")]
    )


@pytest.mark.parametrize("field", ["quality", "style", "background", "output_format"])
def test_a_word_of_no_model_is_a_typo_and_is_refused(field):
    with pytest.raises(imagen.InvalidRequestError, match="choose one of"):
        translate(imagen.Generate(prompt="x", **{field: "hihg"}), model(RICH))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "size": st.sampled_from(["auto", "square", "banner", "1000x700", "1024x1024"]),
            "quality": st.sampled_from(["low", "hd", "max", "draft"]),
            "seed": st.integers(0, 2**31),
            "negative_prompt": st.text(max_size=5),
            "guidance": st.floats(0, 100),
            "steps": st.integers(1, 500),
            "safety": st.sampled_from(["strict", "standard", "relaxed"]),
            "background": st.sampled_from(["auto", "opaque", "transparent"]),
            "output_format": st.sampled_from(["png", "jpeg", "webp", "gif"]),
            "previews": st.integers(0, 5),
        },
    ),
    st.sampled_from(
        sorted(one.id for one in CATALOG if one.capabilities.operations[:1] == ("generate",))
    ),
)
def test_no_model_of_the_catalog_is_sent_what_it_does_not_take_and_nothing_changes_in_silence(
    fields, name
):
    entry = CATALOG.find(name)
    if entry.capabilities.required_options:
        return
    request = imagen.Generate(prompt="x", **fields)
    sent, adjustments = translate(request, entry)
    again, none = translate(sent, entry)
    assert (again, none) == (sent, ())
    named = {made.field for made in adjustments}
    for field in fields:
        if field not in ("size",) and getattr(sent, field) != fields[field]:
            assert field in named


# --- operations ---------------------------------------------------------------

EDITOR = imagen.providers.Capabilities(
    operations=("generate", "edit"),
    resolutions=("1K", "2K"),
    aspect_ratios=("1:1",),
    inputs=imagen.providers.InputLimits(max_images=2),
)


@pytest.mark.parametrize(
    ("request_", "images", "words"),
    [
        (imagen.Vary(image="a", emulate=True), ("a",), "variation"),
        (imagen.Enhance(image="a", scale=2, emulate=True), ("a",), "higher resolution"),
        (imagen.Restyle(image="a", reference="b", emulate=True), ("a", "b"), "style of the second"),
    ],
)
def test_an_operation_that_is_not_there_is_emulated_on_request_and_that_is_said(
    request_, images, words
):
    sent, adjustments = translate(request_, model(EDITOR))
    assert isinstance(sent, imagen.Edit)
    assert sent.images == images
    assert words in sent.prompt
    assert (adjustments[0].field, adjustments[0].sent) == ("operation", "edit")
    with pytest.raises(imagen.InvalidRequestError, match="emulate=True"):
        translate(msgspec.structs.replace(request_, emulate=False), model(EDITOR))
    with pytest.raises(imagen.InvalidRequestError, match="drop strict"):
        translate(msgspec.structs.replace(request_, strict=True), model(EDITOR))


@pytest.mark.parametrize(
    ("request_", "lost"),
    [
        (imagen.Vary(image="a", strength=0.2, emulate=True), ["strength"]),
        (imagen.Enhance(image="a", scale=2, mode="fast", emulate=True), ["scale", "mode"]),
    ],
)
def test_what_an_emulation_cannot_do_is_said(request_, lost):
    _, adjustments = translate(request_, model(EDITOR))
    assert [(made.field, made.sent) for made in adjustments[1:]] == [
        (field, None) for field in lost
    ]


def test_an_emulated_enhancement_asks_for_the_largest_image():
    sent, _ = translate(imagen.Enhance(image="a", emulate=True), model(EDITOR))
    assert sent.resolution == "2K"


@pytest.mark.parametrize(
    ("request_", "can", "sentence"),
    [
        (imagen.Edit(prompt="x", images=("a",)), NOTHING, "cannot edit; it can generate"),
        (imagen.Edit(prompt="x", images=("a",), mask="m"), EDITOR, "takes no mask"),
        (imagen.Edit(prompt="x", images=("a", "b", "c")), EDITOR, "at most 2 images"),
        (imagen.Edit(prompt="x", images="a.png"), EDITOR, "a tuple of images"),
        (
            imagen.Edit(prompt="x", images=("a",)),
            msgspec.structs.replace(EDITOR, mask=True, mask_required=True),
            "needs a mask",
        ),
        (
            imagen.Generate(prompt="x"),
            msgspec.structs.replace(NOTHING, required_options=("zoom",)),
            "needs zoom",
        ),
        (imagen.Vary(image="a", emulate=True), NOTHING, "cannot vary"),
    ],
)
def test_what_the_model_cannot_do_is_refused_in_a_sentence(request_, can, sentence):
    with pytest.raises(imagen.InvalidRequestError, match=sentence):
        translate(request_, model(can))


def test_a_model_that_needs_no_prompt_gets_along_without():
    translate(imagen.Generate(), model(FRUGAL))
    with pytest.raises(imagen.InvalidRequestError, match="prompt is empty"):
        translate(imagen.Generate(), model(NOTHING))


def test_the_scale_and_mode_of_an_enhancement_are_the_nearest_that_there_are():
    can = imagen.providers.Capabilities(operations=("enhance",), scales=(4.0,), modes=("fast",))
    sent, adjustments = translate(imagen.Enhance(image="a", scale=2, mode="creative"), model(can))
    assert (sent.scale, sent.mode) == (4.0, "fast")
    assert {made.field for made in adjustments} == {"scale", "mode"}
    silent, none = translate(imagen.Enhance(image="a"), model(can))
    assert (silent.scale, none) == (None, ())
