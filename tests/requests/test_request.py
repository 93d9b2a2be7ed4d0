"""Requests and their checks."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

import imagen
from imagen._requests.translation import translate

CATALOG = imagen.providers.load_catalog()


@pytest.mark.parametrize(
    ("request_", "model", "sentence"),
    [
        (imagen.Generate(prompt=" \n"), "sketch", "The prompt is empty"),
        (imagen.Generate(prompt="x" * 4001), "imagen-4", "at most 4,000"),
        (imagen.Generate(prompt="\ud800"), "sketch", "lone surrogate"),
        (imagen.Generate(prompt="x", size="1024"), "gpt-image-2", "is not a size"),
        (
            imagen.Generate(prompt="x", size="1000x1000", strict=True),
            "gpt-image-2",
            "multiples of 16",
        ),
        (
            imagen.Generate(prompt="x", size="3856x2160", strict=True),
            "gpt-image-2",
            "between 1 and 3840",
        ),
        (imagen.Generate(prompt="x", size="3840x1024", strict=True), "gpt-image-2", "3 times"),
        (imagen.Generate(prompt="x", size="512x512", strict=True), "gpt-image-2", "655,360"),
        (
            imagen.Generate(prompt="x", size="1024x1025", strict=True),
            "gpt-image-1.5",
            "1024x1024 would be sent",
        ),
        (imagen.Generate(prompt="x", quality="bset"), "gpt-image-2", "no quality 'bset'"),
        (imagen.Generate(prompt="x", style="cubist"), "dall-e-3", "vivid, natural"),
        (imagen.Generate(prompt="x", seed=1, strict=True), "gpt-image-2", "seed '1' as it is"),
        (imagen.Generate(prompt="x", previews=-1), "gpt-image-2", "previews must be"),
        (
            imagen.Generate(prompt="x", assume_usd=Decimal(-1)),
            "gpt-image-2",
            "assume_usd is a Decimal, 0 or more",
        ),
        (imagen.Edit(prompt="x", images=(b"",)), "sketch", "cannot edit"),
        (imagen.Vary(image="a.png"), "gpt-image-2", "cannot vary"),
    ],
)
def test_a_request_that_must_fail_is_refused_with_one_sentence(request_, model, sentence):
    with pytest.raises(imagen.InvalidRequestError, match=sentence) as caught:
        translate(request_, CATALOG.find(model))
    assert caught.value.billed == "no"
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (imagen.Edit(prompt="x", images=()), "at least one image"),
        (imagen.Edit(prompt=" ", images=(b"x",)), "The prompt is empty"),
        (imagen.Enhance(image=b"x", scale=1.0), "scale must be"),
        (imagen.Vary(image=b"x", strength=1.5), "strength must be"),
        (imagen.Restyle(image=b"x", reference=b"y", strength=-0.1), "strength must be"),
    ],
)
def test_the_other_operations_are_checked_too(request_, sentence):
    able = msgspec.structs.replace(
        CATALOG.find("gpt-image-2"),
        capabilities=imagen.providers.Capabilities(
            operations=("generate", "edit", "vary", "enhance", "restyle")
        ),
    )
    with pytest.raises(imagen.InvalidRequestError, match=sentence):
        translate(request_, able)


@pytest.mark.parametrize("size", ["auto", "1024x1024", "3840x2160", "2160x3840", "816x816"])
def test_sizes_within_the_rules_pass(size):
    translate(imagen.Generate(prompt="x", size=size), CATALOG.find("gpt-image-2"))


def test_what_a_model_lacks_is_left_out_and_named():
    request = imagen.Generate(prompt="x", seed=3, negative_prompt="dogs", size="1024x1024")
    sent, adjustments = translate(request, CATALOG.find("gpt-image-2"))
    assert (sent.seed, sent.negative_prompt, sent.size) == (None, None, "1024x1024")
    assert [(made.field, made.asked, made.sent) for made in adjustments] == [
        ("seed", "3", None),
        ("negative_prompt", "dogs", None),
    ]


def test_a_request_survives_json():
    request = imagen.Generate(
        prompt="x", options={"a": [1, {"b": None}]}, assume_usd=Decimal("0.1")
    )
    assert msgspec.json.decode(msgspec.json.encode(request), type=imagen.Generate) == request
