"""Amazon Bedrock: what is sent, what its answers mean, and that it takes what is
offered.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pybase64
import pytest

import imagen
from imagen import (
    AuthenticationError,
    ContentFilterError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
)
from imagen.providers import GeneratedImage, LostImage, WithheldImage, bedrock
from imagen.testing.simulator import Withheld
from tests.support.exchanges import CATALOG, IMAGE, IMAGE_BASE64, Walk, call, input_image, reply
from tests.support.providers.gateways import CAT, models_of, opened, takes_everything_offered

CORE, LARGE = "bedrock/stable-image-core", "bedrock/sd3.5-large"


def walk(*responses: Any, model: str = CORE, **fields: Any) -> Walk:
    return Walk(bedrock.draw(call(model, **fields)), *responses)


def drawn(images: object = (IMAGE_BASE64,), reasons: object = (None,), seeds: object = (9,)) -> Any:
    return reply({"images": images, "finish_reasons": reasons, "seeds": seeds})


def test_a_generation_is_one_invocation():
    walked = walk(drawn(), aspect_ratio="16:9", seed=7, negative_prompt="dogs", output_format="png")
    result = walked.run()
    (request,) = walked.requests
    assert request.url == "model/stability.stable-image-core-v1%3A1/invoke"
    assert json.loads(request.body) == {
        "prompt": "a cat",
        "negative_prompt": "dogs",
        "aspect_ratio": "16:9",
        "seed": 7,
        "output_format": "png",
    }
    assert result.images == (GeneratedImage(data=IMAGE, seed=9),)


@pytest.mark.parametrize(("strength", "sent"), [(None, 0.7), (0.2, 0.2)])
def test_a_variation_sends_its_image_and_how_far_it_goes(strength, sent):
    request = imagen.Vary(prompt="a cat", image="x", strength=strength)
    image = input_image()
    walked = Walk(bedrock.draw(call(LARGE, request=request, images=(image,))), drawn())
    walked.run()
    assert walked.body == {
        "prompt": "a cat",
        "mode": "image-to-image",
        "image": pybase64.b64encode(image.data).decode(),
        "strength": sent,
    }


@pytest.mark.parametrize(
    ("seeds", "seed"), [([9], 9), (["9"], 9), ([], 7), (None, 7), ([True], 7), ([2**40], 7)]
)
def test_the_seed_of_the_reply_counts_if_it_can_be_one(seeds, seed):
    (image,) = walk(drawn(seeds=seeds), seed=7).run().images
    assert isinstance(image, GeneratedImage)
    assert image.seed == seed


@pytest.mark.parametrize(
    ("images", "reasons"),
    [
        ([], ["Filter reason: prompt"]),
        ([""], ["Filter reason: output image"]),
        ([IMAGE_BASE64], ["Filter reason: input image"]),
        (None, ["Filter reason: prompt"]),
    ],
)
def test_a_filter_in_a_reply_of_200_withholds_the_image(images, reasons):
    (image,) = walk(drawn(images, reasons)).run().images
    assert isinstance(image, WithheldImage)
    assert reasons[0] in image.reason


def test_one_of_two_that_failed_does_not_lose_the_other():
    first, second = walk(drawn([IMAGE_BASE64, ""], [None, "Inference error"])).run().images
    assert isinstance(first, GeneratedImage)
    assert second == LostImage(reason="Inference error")


@pytest.mark.parametrize("body", [{}, {"images": []}, {"images": "x"}, [], b"<html>"])
def test_a_reply_without_an_image_may_be_billed(body):
    error = walk(reply(body)).fail()
    assert error.billed == "unknown"


@pytest.mark.parametrize(
    ("status", "kind", "text", "expected", "retryable"),
    [
        (400, "ValidationException", "Bad seed", InvalidRequestError, False),
        (400, "ValidationException", "Blocked by our content filters", ContentFilterError, False),
        (400, "ServiceQuotaExceededException", "Used up", QuotaExceededError, False),
        (403, "AccessDeniedException", "No access", AuthenticationError, False),
        (404, "ResourceNotFoundException", "No model", ModelNotFoundError, False),
        (429, "ThrottlingException", "Too many", RateLimitError, True),
        (429, "ModelNotReadyException", "Not ready", RateLimitError, True),
        (503, "ServiceUnavailableException", "Try again", ProviderError, True),
    ],
)
def test_the_type_of_a_refusal_says_what_it_is(status, kind, text, expected, retryable):
    headers = {"x_amzn_errortype": f"{kind}:http://internal.amazon.com/"}
    error = walk(reply({"message": text}, status, **headers)).fail()
    assert (type(error), error.billed, error.retryable) == (expected, "no", retryable)
    assert text in error.message
    assert error.details["type"] == kind


@pytest.mark.parametrize(("status", "kind"), [(408, "ModelTimeoutException"), (424, "ModelError")])
def test_a_model_that_took_too_long_may_be_billed(status, kind):
    error = walk(reply({"message": "Slow"}, status, x_amzn_errortype=kind)).fail()
    assert error.billed == "unknown"


@pytest.mark.parametrize("model", models_of("bedrock"))
async def test_the_provider_takes_everything_that_the_catalog_offers(tmp_path, model):
    await takes_everything_offered(tmp_path, model)


async def test_a_variation_goes_all_the_way(tmp_path):
    async with opened(tmp_path) as (client, simulator):
        image = await client.vary(CAT, prompt="a cat", model=LARGE, strength=0.0)
        assert (image.width, image.height) == (512, 512)
        assert (await client.spending()).settled_usd == simulator.billed_usd == Decimal("0.08")


async def test_an_image_that_is_withheld_counts_as_paid(tmp_path):
    async with opened(tmp_path, faults=Withheld()) as (client, _):
        with pytest.raises(ContentFilterError) as caught:
            await client.generate("a cat", model=CORE)
        assert caught.value.billed == "yes"


def test_what_amazon_has_ended_is_not_offered():
    names = [model.wire_name for model in CATALOG if model.provider == "bedrock"]
    assert names
    assert not [name for name in names if "nova" in name or "titan" in name]
