"""BytePlus: what is sent, what its answers mean, and that it takes what is
offered.
"""

from __future__ import annotations

from typing import Any

import pytest

import imagen
from imagen import (
    AuthenticationError,
    ContentFilterError,
    InvalidRequestError,
    QuotaExceededError,
    RateLimitError,
)
from imagen.providers import PROVIDERS, GeneratedImage
from tests.support.exchanges import IMAGE, Walk, call, images, input_image, reply
from tests.support.providers.gateways import models_of, takes_everything_offered

OPERATIONS = PROVIDERS["byteplus"].operations
MODEL = "seedream-4-5"


def asked(*found: imagen.providers.EncodedImage, **fields: Any) -> dict[str, Any]:
    """The body of a request."""
    request = imagen.Edit(prompt="a hat", images=("x",) * len(found), **fields) if found else None
    the_call = call(MODEL, request=request, images=found, **({} if found else fields))
    walk = Walk(OPERATIONS["edit" if found else "generate"](the_call), reply(images()))
    walk.run()
    assert walk.requests[0].url == "images/generations"
    return walk.body


def refused(status: int, code: str, text: str = "No.") -> imagen.ImagenError:
    body = {"error": {"code": code, "message": text, "param": "", "type": "BadRequest"}}
    return Walk(OPERATIONS["generate"](call(MODEL)), reply(body, status)).fail()


def test_a_generation_is_without_the_watermark():
    assert asked(size="2048x2048") == {
        "model": "seedream-4-5-251128",
        "prompt": "a cat",
        "size": "2048x2048",
        "response_format": "b64_json",
        "watermark": False,
    }


def test_the_watermark_is_an_option():
    assert asked(options={"watermark": True})["watermark"] is True


def test_one_image_is_a_text_and_several_are_a_list():
    one, two = input_image(), input_image(color="red")
    assert asked(one)["image"].startswith("data:image/png;base64,")
    several = asked(one, two)["image"]
    assert [url[:22] for url in several] == ["data:image/png;base64,"] * 2
    assert several[0] != several[1]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "InputTextSensitiveContentDetected", ContentFilterError),
        (400, "InputImageSensitiveContentDetected.PolicyViolation", ContentFilterError),
        (400, "OutputImageSensitiveContentDetected", ContentFilterError),
        (400, "InputTextRiskDetection", ContentFilterError),
        (403, "AccountOverdueError", QuotaExceededError),
        (429, "QuotaExceeded", QuotaExceededError),
        (400, "InvalidParameter", InvalidRequestError),
        (401, "AuthenticationError", AuthenticationError),
        (403, "AccessDenied", AuthenticationError),
        (429, "RateLimitExceeded.EndpointRPMExceeded", RateLimitError),
    ],
)
def test_the_code_of_an_error_says_what_it_is(status, code, kind):
    error = refused(status, code, "The request failed.")
    assert type(error) is kind
    assert error.billed == "no"
    assert "The request failed" in error.message


def test_a_link_is_fetched():
    body = {"data": [{"url": "https://ark-content.example/a.jpeg", "size": "2048x2048"}]}
    walk = Walk(OPERATIONS["generate"](call(MODEL)), reply(body), reply(IMAGE))
    (image,) = walk.run().images
    assert isinstance(image, GeneratedImage)
    assert image.data == IMAGE


@pytest.mark.parametrize("model", models_of("byteplus"))
async def test_the_provider_takes_everything_that_the_catalog_offers(tmp_path, model):
    await takes_everything_offered(tmp_path, model, free_sizes=("2560x1440", "2048x2048"))
