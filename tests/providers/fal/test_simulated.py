"""The simulated fal.ai refuses what the real one would, so that an adapter that
is wrong fails against it.
"""

from __future__ import annotations

from typing import Any

import httpx2
import pybase64
import pytest

from imagen.testing.simulator import (
    NotAllowed,
    QuotaExhausted,
    RateLimited,
    ServerError,
    open_simulator,
)
from imagen.testing.simulator._providers.fal.server import Fal
from tests.support.images import RED, large_png, left_mask

KEY = {"authorization": "Key test-key"}


def url(data: bytes) -> str:
    return f"data:image/png;base64,{pybase64.b64encode(data).decode()}"


IMAGE, SMALL, MASK = url(large_png(RED)), url(large_png(RED, (64, 64))), url(left_mask())
SCHNELL, FILL, EDIT = "fal-ai/flux/schnell", "fal-ai/flux-pro/v1/fill", "fal-ai/flux-2-pro/edit"
WRONG: dict[str, tuple[str, Any, str, str]] = {
    "no prompt": (SCHNELL, {}, "prompt", "missing"),
    "unknown field": (SCHNELL, {"prompt": "x", "n": 2}, "n", "extra_forbidden"),
    "field of another model": (
        FILL,
        {"prompt": "x", "image_size": "square"},
        "image_url",
        "missing",
    ),
    "size of another model": (
        "fal-ai/flux-pro/kontext/text-to-image",
        {"prompt": "x", "image_size": "square"},
        "image_size",
        "extra_forbidden",
    ),
    "text for a number": (SCHNELL, {"prompt": "x", "seed": "3"}, "seed", "int_type"),
    "fraction": (
        SCHNELL,
        {"prompt": "x", "num_inference_steps": 2.5},
        "num_inference_steps",
        "int_type",
    ),
    "too many": (SCHNELL, {"prompt": "x", "num_images": 5}, "num_images", "less_than_equal"),
    "too few": (
        SCHNELL,
        {"prompt": "x", "num_inference_steps": 0},
        "num_inference_steps",
        "greater_than_equal",
    ),
    "number for a tolerance": (
        "fal-ai/flux-pro/v1.1",
        {"prompt": "x", "safety_tolerance": 2},
        "safety_tolerance",
        "one_of",
    ),
    "text for a flag": (
        SCHNELL,
        {"prompt": "x", "enable_safety_checker": "no"},
        "enable_safety_checker",
        "bool_type",
    ),
    "number for a text": (SCHNELL, {"prompt": 3}, "prompt", "string_type"),
    "format": (SCHNELL, {"prompt": "x", "output_format": "gif"}, "output_format", "one_of"),
    "name of a size": (SCHNELL, {"prompt": "x", "image_size": "1024x1024"}, "image_size", "one_of"),
    "half a size": (SCHNELL, {"prompt": "x", "image_size": {"width": 512}}, "image_size", "one_of"),
    "resolution": (
        "blackforestlabs/flux-3/text-to-image",
        {"prompt": "x", "resolution": "1K"},
        "resolution",
        "one_of",
    ),
    "no mask": (FILL, {"prompt": "x", "image_url": IMAGE}, "mask_url", "missing"),
    "mask of another size": (
        FILL,
        {"prompt": "x", "image_url": SMALL, "mask_url": MASK},
        "mask_url",
        "value_error",
    ),
    "no list": (EDIT, {"prompt": "x", "image_urls": IMAGE}, "image_urls", "list_type"),
    "too many images": (
        EDIT,
        {"prompt": "x", "image_urls": [SMALL] * 10},
        "image_urls",
        "sequence_too_long",
    ),
    "no image": (
        EDIT,
        {"prompt": "x", "image_urls": ["data:image/png;base64,AAAA"]},
        "image_urls",
        "image_load_error",
    ),
    "plain base64": (
        EDIT,
        {"prompt": "x", "image_urls": [IMAGE.partition(",")[2]]},
        "image_urls",
        "image_load_error",
    ),
}


@pytest.mark.parametrize(("model", "body", "field", "kind"), WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_input_is_taken_and_refused_by_the_model_for_nothing(
    model, body, field, kind
):
    async with open_simulator() as simulator, httpx2.AsyncClient(headers=KEY) as http:
        taken = await http.post(f"{simulator.base_url('fal')}/{model}", json=body)
        assert taken.status_code == 200
        status = await http.get(taken.json()["status_url"])
        assert (status.json()["status"], status.json()["error_type"]) == ("COMPLETED", kind)
        result = await http.get(taken.json()["response_url"])
        assert (result.status_code, result.headers["x-fal-error-type"]) == (422, kind)
        (detail,) = result.json()["detail"]
        assert (detail["loc"], detail["type"]) == (["body", field], kind)
        assert simulator.billed_usd == 0


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", f"/{SCHNELL}", {}, 401),
        ("POST", f"/{SCHNELL}", {"authorization": "Bearer test-key"}, 401),
        ("POST", "/fal-ai/flux/nine", KEY, 404),
        ("GET", f"/{SCHNELL}", KEY, 404),
        ("GET", "/fal-ai/flux/requests/unknown/status", KEY, 404),
        ("PUT", "/fal-ai/flux/requests/unknown/cancel", KEY, 404),
        # The sub-path is no part of these.
        ("GET", f"/{SCHNELL}/requests/unknown/status", KEY, 405),
        ("GET", "/workflows/acme/requests/unknown", KEY, 405),
    ],
)
async def test_paths_and_keys(method, path, headers, status):
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        response = await http.request(method, simulator.base_url("fal") + path, headers=headers)
        assert response.status_code == status


async def test_a_body_that_is_no_object_is_refused():
    async with open_simulator() as simulator, httpx2.AsyncClient(headers=KEY) as http:
        response = await http.post(f"{simulator.base_url('fal')}/{SCHNELL}", content=b"[]")
        assert (response.status_code, response.json()["error_type"]) == (400, "bad_request")


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (RateLimited(wait_seconds=3), 429),
        (RateLimited(wait_seconds=3, told="text"), 429),
        (QuotaExhausted(), 403),
        (NotAllowed(), 403),
        (ServerError(), 500),
    ],
    ids=repr,
)
async def test_it_declines_in_its_own_words(fault, status):
    async with open_simulator(faults=fault) as simulator, httpx2.AsyncClient(headers=KEY) as http:
        response = await http.post(f"{simulator.base_url('fal')}/{SCHNELL}", json={"prompt": "x"})
        assert response.status_code == status
        assert response.json()["detail"]
        if status == 429:
            assert response.headers.get("retry-after") == ("3" if fault.told == "header" else None)


async def take(http: httpx2.AsyncClient, base: str) -> dict[str, Any]:
    taken = await http.post(f"{base}/{SCHNELL}", json={"prompt": "x"})
    return taken.json()


async def test_the_states_of_a_job_have_their_http_codes():
    service = Fal(queued_share=0.0)
    async with (
        open_simulator(service, latency=30) as simulator,
        httpx2.AsyncClient(headers=KEY) as http,
    ):
        job = await take(http, simulator.base_url("fal"))
        assert "/fal-ai/flux/requests/" in job["status_url"]
        running = await http.get(job["status_url"])
        assert (running.status_code, running.json()["status"], running.json()["logs"]) == (
            202,
            "IN_PROGRESS",
            [],
        )
        told = await http.get(f"{job['status_url']}?logs=1")
        assert "%|" in told.json()["logs"][0]["message"]
        early = await http.get(job["response_url"])
        assert (early.status_code, early.json()) == (
            400,
            {"detail": "Request is still in progress"},
        )


@pytest.mark.parametrize(
    ("queued", "heeds", "stopped"), [(1.0, False, True), (0.0, True, True), (0.0, False, False)]
)
async def test_what_is_queued_is_stopped_and_what_runs_may_go_on(queued, heeds, stopped):
    service = Fal(queued_share=queued, stops_running=heeds)
    async with (
        open_simulator(service, latency=30) as simulator,
        httpx2.AsyncClient(headers=KEY) as http,
    ):
        job = await take(http, simulator.base_url("fal"))
        asked = await http.put(job["cancel_url"])
        assert (asked.status_code, asked.json()) == (202, {"status": "CANCELLATION_REQUESTED"})
        result = await http.get(job["response_url"])
        assert result.status_code == (499 if stopped else 400)
        again = await http.put(job["cancel_url"])
        assert again.status_code == (400 if stopped else 202)


async def test_a_job_that_has_ended_cannot_be_stopped():
    async with open_simulator() as simulator, httpx2.AsyncClient(headers=KEY) as http:
        job = await take(http, simulator.base_url("fal"))
        asked = await http.put(job["cancel_url"])
        assert (asked.status_code, asked.json()) == (400, {"status": "ALREADY_COMPLETED"})
        result = await http.get(job["response_url"])
        assert result.headers["x-fal-billable-units"] == "1.0"
        # The result can be fetched again, and is the same.
        second = await http.get(job["response_url"])
        assert second.json()["images"][0]["width"] == result.json()["images"][0]["width"] == 1024
