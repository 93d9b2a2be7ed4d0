"""Recraft: what is sent, what its answers mean, and that it takes what is
offered.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from imagen import (
    AuthenticationError,
    InvalidRequestError,
    RateLimitError,
)
from imagen.providers import PROVIDERS
from tests.support.exchanges import CATALOG, Walk, call, images, reply
from tests.support.providers.gateways import models_of, opened, takes_everything_offered

GENERATE = PROVIDERS["recraft"].operations["generate"]
MODEL = "recraft-v3"


def test_fields_have_their_names_here():
    asked = call(
        MODEL,
        size="1365x1024",
        seed=7,
        negative_prompt="dogs",
        output_format="png",
        style="realistic_image",
        count=2,
    )
    walk = Walk(GENERATE(asked), reply(images(2)))
    walk.run()
    assert walk.requests[0].url == "images/generations"
    assert walk.body == {
        "response_format": "b64_json",
        "model": "recraftv3",
        "prompt": "a cat",
        "n": 2,
        "size": "1365x1024",
        "style": "realistic_image",
        "random_seed": 7,
        "negative_prompt": "dogs",
        "image_format": "png",
    }


@pytest.mark.parametrize(
    ("credits", "usd"),
    [(35, "0.035"), (210, "0.21"), (40.0, "0.04"), (None, None), ("x", None), (-3, None)],
)
def test_the_credits_of_a_reply_are_its_cost(credits, usd):
    result = Walk(GENERATE(call(MODEL)), reply({**images(), "credits": credits})).run()
    assert result.reported_cost_usd == (None if usd is None else Decimal(usd))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_request", InvalidRequestError),
        (401, "unauthorized", AuthenticationError),
        (429, "rate_limit_exceeded", RateLimitError),
    ],
)
def test_errors_are_a_code_and_a_message(status, code, kind):
    body = {"code": code, "message": "Not so."}
    error = Walk(GENERATE(call(MODEL)), reply(body, status)).fail()
    assert type(error) is kind
    assert error.billed == "no"
    assert "Not so" in error.message


def test_no_model_that_answers_with_svg_is_offered():
    wire_names = [model.wire_name for model in CATALOG if model.provider == "recraft"]
    assert wire_names
    assert not [name for name in wire_names if name.endswith("_vector")]


async def test_a_key_is_looked_at_for_nothing(tmp_path):
    async with opened(tmp_path) as (client, simulator):
        assert (await client.probe("recraft")).usable
        assert not simulator.bills


@pytest.mark.parametrize("model", models_of("recraft"))
async def test_the_provider_takes_everything_that_the_catalog_offers(tmp_path, model):
    await takes_everything_offered(tmp_path, model)
