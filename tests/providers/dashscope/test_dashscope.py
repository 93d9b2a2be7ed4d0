"""Alibaba Model Studio: what is sent, what its answers mean, and that it takes
what is offered.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

import imagen
from imagen import (
    AuthenticationError,
    ContentFilterError,
    InvalidRequestError,
    ModelNotFoundError,
    OutcomeUnknownError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
)
from imagen.providers import (
    GeneratedImage,
    HttpResponse,
    JobAccepted,
    LostImage,
    Progress,
    WithheldImage,
    dashscope,
)
from imagen.testing.simulator import JobFails, Withheld
from tests.support.exchanges import CATALOG, IMAGE, Walk, call, input_image, reply
from tests.support.providers.gateways import models_of, opened, takes_everything_offered

WAN, QWEN = "wan2.7-image", "qwen-image-plus"
LINK = "https://dashscope-result.oss.example/a.png?Expires=1"
TAKEN = reply({"output": {"task_id": "t/1", "task_status": "PENDING"}, "request_id": "r"})
FILE = reply(IMAGE)


def task(status: str, **output: object) -> HttpResponse:
    return reply({"output": {"task_id": "t/1", "task_status": status, **output}})


def choices(*contents: list[object]) -> list[object]:
    return [{"message": {"role": "assistant", "content": content}} for content in contents]


def ended(output: dict[str, Any], usage: object = None) -> HttpResponse:
    done = {"task_id": "t/1", "task_status": "SUCCEEDED", **output}
    return reply({"output": done, "usage": usage})


def walk(*responses: HttpResponse, model: str = WAN, **fields: Any) -> Walk:
    return Walk(dashscope.run(call(model, **fields)), *responses)


# --- what is sent -------------------------------------------------------------


def test_a_task_is_created_asked_for_and_fetched():
    done = ended({"choices": choices([{"type": "image", "image": LINK}])}, {"image_count": 1})
    walked = walk(TAKEN, task("PENDING"), task("RUNNING"), done, FILE, size="1024x768", seed=7)
    result = walked.run()
    create, *polls, file = walked.requests
    assert create.url == "services/aigc/image-generation/generation"
    assert create.headers["x-dashscope-async"] == "enable"
    assert walked.body == {
        "model": "wan2.7-image",
        "input": {"messages": [{"role": "user", "content": [{"text": "a cat"}]}]},
        "parameters": {"size": "1024*768", "n": 1, "seed": 7, "watermark": False},
    }
    assert {poll.url for poll in polls} == {"tasks/t%2F1"}
    assert (file.url, file.collects) == (LINK, True)
    assert JobAccepted(job_id="t/1", poll_url="tasks/t%2F1") in walked.steps
    assert Progress(note="running") in walked.steps
    (image,) = result.images
    assert isinstance(image, GeneratedImage)
    assert (image.data, image.seed, image.provider_id) == (IMAGE, 7, "t/1")
    assert result.units == 1


def test_images_stand_before_the_text():
    request = imagen.Edit(prompt="a hat", images=("x", "y"))
    found = (input_image(), input_image(color="red"))
    walked = Walk(
        dashscope.run(call(WAN, request=request, images=found)),
        TAKEN,
        ended({"choices": choices([{"image": LINK}])}),
        FILE,
    )
    walked.run()
    *images, text = walked.body["input"]["messages"][0]["content"]
    assert [part["image"][:22] for part in images] == ["data:image/png;base64,"] * 2
    assert text == {"text": "a hat"}


def test_qwen_has_a_path_and_a_form_of_its_own():
    done = ended({"results": [{"url": LINK}]})
    walked = walk(TAKEN, done, FILE, model=QWEN, negative_prompt="dogs", size="1328x1328")
    walked.run()
    assert walked.requests[0].url == "services/aigc/text2image/image-synthesis"
    assert walked.body["input"] == {"prompt": "a cat"}
    assert walked.body["parameters"] == {
        "size": "1328*1328",
        "n": 1,
        "negative_prompt": "dogs",
        "watermark": False,
    }


@pytest.mark.parametrize("name", ["n", "size", "enable_sequential", "prompt"])
def test_an_option_may_not_decide_the_price(name):
    assert isinstance(walk(options={name: 4}).fail(), InvalidRequestError)


# --- what comes back ----------------------------------------------------------


@pytest.mark.parametrize(
    "output",
    [
        {"results": [{"url": LINK}]},
        {"results": [{"url": LINK, "orig_prompt": "a cat", "actual_prompt": "a cat"}]},
        {"results": [LINK]},
        {"choices": choices([{"image": LINK}])},
        {"choices": choices([{"text": "Here it is."}, {"image": LINK}])},
        {"choices": choices([], [{"type": "image", "image": LINK}])},
    ],
    ids=str,
)
def test_an_image_is_found_in_every_form(output):
    (image,) = walk(TAKEN, ended(output), FILE).run().images
    assert isinstance(image, GeneratedImage)
    assert (image.data, image.revised_prompt) == (IMAGE, None)


def test_the_prompt_that_was_drawn_is_told():
    done = ended({"results": [{"url": LINK, "actual_prompt": "A cat, in detail"}]})
    (image,) = walk(TAKEN, done, FILE, model=QWEN).run().images
    assert isinstance(image, GeneratedImage)
    assert image.revised_prompt == "A cat, in detail"


def test_one_that_failed_does_not_lose_the_others():
    refused = {"code": "DataInspectionFailed", "message": "No."}
    broken = {"code": "InternalError.Timeout", "message": "Too slow"}
    done = ended({"results": [{"url": LINK}, refused, broken]}, {"image_count": 1})
    first, second, third = walk(TAKEN, done, FILE).run().images
    assert isinstance(first, GeneratedImage)
    assert second == WithheldImage(reason="No.", billed=False)
    assert third == LostImage(reason="Too slow")


@pytest.mark.parametrize(
    ("usage", "units"),
    [
        ({"image_count": 2}, Decimal(2)),
        ({"image_count": 0}, None),
        ({"image_count": -1}, None),
        ({"image_count": "2"}, None),
        ({"image_count": True}, None),
        ({"image_count": 10**9}, None),
        ({}, None),
        (None, None),
        ([], None),
    ],
    ids=str,
)
def test_the_images_are_counted_as_they_are_billed(usage, units):
    done = ended({"results": [{"url": LINK}]}, usage)
    assert walk(TAKEN, done, FILE).run().units == units


@pytest.mark.parametrize(
    ("code", "kind", "retryable"),
    [
        ("DataInspectionFailed", ContentFilterError, False),
        ("IPInfringementSuspect", ContentFilterError, False),
        ("InvalidParameter.DataInspection", ContentFilterError, False),
        ("InvalidParameter", InvalidRequestError, False),
        ("InvalidURL", InvalidRequestError, False),
        ("InternalError", ProviderError, True),
        ("InternalError.Timeout", ProviderError, True),
        ("", ProviderError, False),
    ],
)
@pytest.mark.parametrize("status", ["FAILED", "CANCELED", "failed"])
def test_a_task_that_failed_is_not_billed(status, code, kind, retryable):
    error = walk(TAKEN, task(status, code=code, message="Sorry")).fail()
    assert (type(error), error.billed, error.retryable) == (kind, "no", retryable)
    assert "Sorry" in error.message
    assert error.details["job_id"] == "t/1"


def test_a_task_that_nothing_is_known_of_may_be_billed():
    error = walk(TAKEN, *[task("UNKNOWN")] * 10).fail()
    assert "does not know" in error.message
    assert error.billed == "unknown"


def test_a_task_may_be_known_a_moment_later():
    done = ended({"results": [{"url": LINK}]})
    assert walk(TAKEN, task("UNKNOWN"), task("UNKNOWN"), done, FILE).run().images


def test_a_state_that_cannot_be_read_ends_in_bounded_time():
    error = walk(TAKEN, *[reply({"output": {}})] * 10).fail()
    assert isinstance(error, OutcomeUnknownError)


@pytest.mark.parametrize("body", [{}, {"output": None}, {"output": {"task_id": 3}}, [], b"<html>"])
def test_a_task_without_an_id_may_be_billed(body):
    error = walk(reply(body)).fail()
    assert error.billed == "unknown"


def test_an_end_without_an_image_may_be_billed():
    assert walk(TAKEN, ended({"results": []})).fail().billed == "unknown"


@pytest.mark.parametrize(
    ("status", "code", "kind", "retryable"),
    [
        (400, "InvalidParameter", InvalidRequestError, False),
        (400, "DataInspectionFailed", ContentFilterError, False),
        (400, "Arrearage", QuotaExceededError, False),
        (403, "AllocationQuota.FreeTierOnly", QuotaExceededError, False),
        (401, "InvalidApiKey", AuthenticationError, False),
        (403, "Model.AccessDenied", AuthenticationError, False),
        (404, "ModelNotFound", ModelNotFoundError, False),
        (429, "Throttling.RateQuota", RateLimitError, True),
        (503, "ServiceUnavailable", ProviderError, True),
    ],
)
def test_the_code_of_a_refusal_says_what_it_is(status, code, kind, retryable):
    error = walk(reply({"code": code, "message": "Not so", "request_id": "r"}, status)).fail()
    assert (type(error), error.billed, error.retryable) == (kind, "no", retryable)
    assert "Not so" in error.message
    assert error.details["code"] == code


# --- whole --------------------------------------------------------------------


@pytest.mark.parametrize("model", models_of("dashscope"))
async def test_the_provider_takes_everything_that_the_catalog_offers(tmp_path, model):
    await takes_everything_offered(tmp_path, model, free_sizes=("1024x768", "2048x1024"))


async def test_several_images_come_from_one_task(tmp_path):
    async with opened(tmp_path) as (client, simulator):
        async with client.open_batch("a cat", n=4, model=WAN, together=True) as batch:
            outcomes = [outcome async for outcome in batch]
        assert [type(outcome) for outcome in outcomes] == [imagen.Image] * 4
        assert len(simulator.bills) == 1
        assert (await client.spending()).settled_usd == simulator.billed_usd == Decimal("0.12")


@pytest.mark.parametrize(
    ("fault", "kind"), [(JobFails(), ProviderError), (Withheld(), ContentFilterError)]
)
async def test_what_fails_costs_nothing(tmp_path, fault, kind):
    async with opened(tmp_path, faults=fault) as (client, simulator):
        with pytest.raises(kind):
            await client.generate("a cat", model=QWEN)
        assert simulator.billed_usd == 0
        assert (await client.spending()).unknown_usd == 0


def test_every_model_of_it_is_priced_by_the_image():
    for name in models_of("dashscope"):
        price = CATALOG.find(name).price
        assert price is not None
        assert price.usd_per_image == price.usd_per_unit
