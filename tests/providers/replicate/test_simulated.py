"""The simulated Replicate refuses what the real one would, so that an adapter
that is wrong fails against it.
"""

from __future__ import annotations

from typing import Any

import httpx2
import jsonschema
import pybase64
import pytest

from imagen.testing.simulator import (
    NotAllowed,
    QuotaExhausted,
    RateLimited,
    Refused,
    ServerError,
    open_simulator,
)
from imagen.testing.simulator._providers.replicate.server import Replicate
from tests.support.exchanges import schema
from tests.support.images import RED, large_png, left_mask

KEY = {"authorization": "Bearer test-key"}


def url(data: bytes) -> str:
    return f"data:image/png;base64,{pybase64.b64encode(data).decode()}"


IMAGE, SMALL, MASK = url(large_png(RED)), url(large_png(RED, (64, 64))), url(left_mask())
SCHNELL, FILL, SDXL = (
    "black-forest-labs/flux-schnell",
    "black-forest-labs/flux-fill-pro",
    "stability-ai/sdxl",
)
WRONG: dict[str, tuple[str, Any, str]] = {
    "no prompt": (SCHNELL, {}, "prompt"),
    "unknown field": (SCHNELL, {"prompt": "x", "n": 2}, "n"),
    "field of another model": (SCHNELL, {"prompt": "x", "guidance": 3}, "guidance"),
    "ratio": (SCHNELL, {"prompt": "x", "aspect_ratio": "auto"}, "aspect_ratio"),
    "format": (SCHNELL, {"prompt": "x", "output_format": "jpeg"}, "output_format"),
    "text for a number": (SCHNELL, {"prompt": "x", "seed": "3"}, "seed"),
    "too many": (SCHNELL, {"prompt": "x", "num_outputs": 5}, "num_outputs"),
    "too many steps": (SCHNELL, {"prompt": "x", "num_inference_steps": 12}, "num_inference_steps"),
    "flag": (SCHNELL, {"prompt": "x", "disable_safety_checker": 1}, "disable_safety_checker"),
    "text for a tolerance": (
        FILL,
        {"prompt": "x", "image": IMAGE, "safety_tolerance": "2"},
        "safety_tolerance",
    ),
    "no image": (FILL, {"prompt": "x"}, "image"),
    "broken image": (FILL, {"prompt": "x", "image": "data:image/png;base64,AAAA"}, "image"),
    "plain base64": (FILL, {"prompt": "x", "image": IMAGE.partition(",")[2]}, "image"),
    "link to an unknown file": (
        FILL,
        {"prompt": "x", "image": "https://api.replicate.com/v1/files/unknown"},
        "image",
    ),
    "large data": (
        FILL,
        {"prompt": "x", "image": "data:image/png;base64," + "A" * 1_500_000},
        "image",
    ),
    "mask of another size": (SDXL, {"prompt": "x", "image": SMALL, "mask": MASK}, "mask"),
    "no list": ("google/nano-banana-2", {"prompt": "x", "image_input": IMAGE}, "image_input"),
    "scale": ("topazlabs/image-upscale", {"image": IMAGE, "upscale_factor": 2}, "upscale_factor"),
    "no object": (SCHNELL, [], "input"),
}


@pytest.mark.parametrize(("model", "fields", "field"), WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_input_is_refused_and_costs_nothing(model, fields, field):
    async with open_simulator() as simulator, httpx2.AsyncClient(headers=KEY) as http:
        body = {"version": model, "input": fields}
        response = await http.post(f"{simulator.base_url('replicate')}/predictions", json=body)
        assert response.status_code == 422
        (named,) = response.json()["invalid_fields"]
        assert named["field"] == f"input.{field}"
        assert not simulator.bills


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/predictions", {}, 401),
        ("POST", "/predictions", {"authorization": "Key test-key"}, 401),
        ("POST", "/predictions", KEY, 400),
        ("GET", "/predictions/unknown", KEY, 404),
        ("POST", "/predictions/unknown/cancel", KEY, 404),
        ("POST", "/files", KEY, 400),
        ("GET", "/account", KEY, 200),
        ("GET", "/models", KEY, 404),
    ],
)
async def test_paths_and_keys(method, path, headers, status):
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        response = await http.request(
            method, simulator.base_url("replicate") + path, headers=headers
        )
        assert response.status_code == status


@pytest.mark.parametrize(
    ("body", "title"),
    [
        ({"version": "acme/else", "input": {}}, "Invalid version or not permitted"),
        ({"input": {"prompt": "x"}}, "Invalid version or not permitted"),
        ({"version": SCHNELL, "input": {"prompt": "x"}, "wait": 3}, "Input validation failed"),
    ],
)
async def test_a_version_must_be_known_and_nothing_else_be_there(body, title):
    async with open_simulator() as simulator, httpx2.AsyncClient(headers=KEY) as http:
        response = await http.post(f"{simulator.base_url('replicate')}/predictions", json=body)
        assert (response.status_code, response.json()["title"]) == (422, title)


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (RateLimited(wait_seconds=3), 429),
        (RateLimited(wait_seconds=3, told="text"), 429),
        (QuotaExhausted(), 402),
        (NotAllowed(), 403),
        (Refused(), 422),
        (ServerError(), 500),
    ],
    ids=repr,
)
async def test_it_declines_in_its_own_words(fault, status):
    body = {"version": SCHNELL, "input": {"prompt": "x"}}
    async with open_simulator(faults=fault) as simulator, httpx2.AsyncClient(headers=KEY) as http:
        response = await http.post(f"{simulator.base_url('replicate')}/predictions", json=body)
        assert response.status_code == status
        assert response.json()["detail"]
        if status == 429:
            assert response.headers.get("retry-after") == ("3" if fault.told == "header" else None)
            assert ("resets in ~3s" in response.json()["detail"]) is (fault.told == "text")


async def test_a_prediction_keeps_the_published_form_and_can_be_stopped():
    form = schema("replicate", "schemas_prediction_response")
    service = Replicate(starting_share=0.0)
    body = {"version": f"{SDXL}:{'0a' * 32}", "input": {"prompt": "x"}}
    async with (
        open_simulator(service, latency=30) as simulator,
        httpx2.AsyncClient(headers=KEY) as http,
    ):
        created = await http.post(f"{simulator.base_url('replicate')}/predictions", json=body)
        assert (created.status_code, created.json()["status"]) == (201, "starting")
        running = await http.get(created.json()["urls"]["get"])
        assert (running.json()["status"], running.json()["output"]) == ("processing", None)
        assert "%|" in running.json()["logs"]
        stopped = await http.post(created.json()["urls"]["cancel"])
        assert stopped.json()["status"] == "canceled"
        last = await http.get(created.json()["urls"]["get"])
        assert last.json()["status"] == "canceled"
        for response in (created, running, stopped, last):
            # The schema knows "hidden" twice, and wants it to be known once; so
            # it is shown the number of a version.
            jsonschema.validate({**response.json(), "version": "0a" * 32}, form)
            assert response.headers["ratelimit-remaining"] == "599"


async def test_a_prediction_that_has_ended_cannot_be_stopped():
    body = {"version": SDXL, "input": {"prompt": "x", "num_outputs": 2}}
    async with open_simulator() as simulator, httpx2.AsyncClient(headers=KEY) as http:
        created = await http.post(f"{simulator.base_url('replicate')}/predictions", json=body)
        stopped = await http.post(created.json()["urls"]["cancel"])
        assert stopped.json()["status"] == "succeeded"
        ended = await http.get(created.json()["urls"]["get"])
        assert len(ended.json()["output"]) == 2
        assert ended.json()["metrics"]["predict_time"] == 4.0
