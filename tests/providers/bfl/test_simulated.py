"""The simulated Black Forest Labs refuses what the real one would, so that an
adapter that is wrong fails against it.
"""

from __future__ import annotations

import io
from typing import Any

import httpx2
import pybase64
import pytest
from PIL import Image as PillowImage

from imagen.testing.simulator import (
    NotAllowed,
    QuotaExhausted,
    RateLimited,
    ServerError,
    open_simulator,
)
from tests.support.images import RED, large_png, left_mask

KEY = {"x-key": "test-key"}


def text(data: bytes) -> str:
    return pybase64.b64encode(data).decode()


IMAGE, SMALL, MASK = text(large_png(RED)), text(large_png(RED, (64, 64))), text(left_mask())
WRONG: dict[str, tuple[str, Any, str]] = {
    "no object": ("flux-2-pro", [], "body"),
    "no prompt": ("flux-2-pro", {}, "prompt"),
    "unknown field": ("flux-2-pro", {"prompt": "x", "n": 2}, "n"),
    "field of another family": ("flux-3-image", {"prompt": "x", "steps": 3}, "steps"),
    "half a size": ("flux-3-image", {"prompt": "x", "width": 1024}, "width"),
    "size and ratio": (
        "flux-3-image",
        {"prompt": "x", "width": 1024, "height": 1024, "aspect_ratio": "1:1"},
        "width",
    ),
    "step of 16": ("flux-3-image", {"prompt": "x", "width": 1000, "height": 1024}, "width"),
    "more than 4K": ("flux-3-image", {"prompt": "x", "width": 4096, "height": 4112}, "width"),
    "tolerance": ("flux-3-image", {"prompt": "x", "safety_tolerance": 8}, "safety_tolerance"),
    "field of another endpoint": ("flux-kontext-pro", {"prompt": "x", "width": 512}, "width"),
    "text for a number": ("flux-2-pro", {"prompt": "x", "seed": "3"}, "seed"),
    "number out of range": (
        "flux-2-pro",
        {"prompt": "x", "safety_tolerance": 6},
        "safety_tolerance",
    ),
    "fraction": ("flux-2-flex", {"prompt": "x", "steps": 2.5}, "steps"),
    "text for a flag": ("flux-dev", {"prompt_upsampling": "yes"}, "prompt_upsampling"),
    "number for a text": ("flux-dev", {"prompt": 3}, "prompt"),
    "format": ("flux-dev", {"prompt": "x", "output_format": "gif"}, "output_format"),
    "ratio": ("flux-kontext-pro", {"prompt": "x", "aspect_ratio": "16x9"}, "aspect_ratio"),
    "resolution": ("flux-3-image", {"prompt": "x", "resolution": "2K"}, "resolution"),
    "step of 32": ("flux-pro-1.1", {"prompt": "x", "width": 1000}, "width"),
    "side": ("flux-pro-1.1", {"prompt": "x", "width": 2048}, "width"),
    "area": ("flux-2-pro", {"prompt": "x", "width": 4096, "height": 4096}, "width"),
    "long prompt": ("flux-3-image", {"prompt": "x" * 15001}, "prompt"),
    "no base64": ("flux-2-pro", {"prompt": "x", "input_image": "???"}, "input_image"),
    "no image": ("flux-2-pro", {"prompt": "x", "input_image": "AAAA"}, "input_image"),
    "no mask": ("flux-tools/erase-v1", {"image": IMAGE}, "mask"),
    "mask of another size": ("flux-pro-1.0-fill", {"image": SMALL, "mask": MASK}, "mask"),
    "too many images": ("flux-3-image", {"prompt": "x", "images": [IMAGE] * 11}, "images"),
    "no text in the list": ("flux-3-image", {"prompt": "x", "images": [3]}, "images.0"),
    "small image": ("flux-3-image", {"prompt": "x", "images": SMALL}, "images.0"),
}


@pytest.mark.parametrize(("model", "body", "field"), WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_request_is_refused_and_costs_nothing(model, body, field):
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        response = await http.post(
            f"{simulator.base_url('bfl')}/v1/{model}", json=body, headers=KEY
        )
        assert response.status_code == 422
        assert response.json()["detail"][0]["loc"] == ["body", field]
        assert not simulator.bills


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/v1/flux-2-pro", {}, 403),
        ("POST", "/v1/flux-2-pro", {"authorization": "Bearer test-key"}, 403),
        ("POST", "/v1/flux-9", KEY, 404),
        ("GET", "/v1/flux-2-pro", KEY, 404),
        ("GET", "/v1/credits", KEY, 200),
        ("GET", "/v1/get_result?id=unknown", KEY, 200),
    ],
)
async def test_paths_and_keys(method, path, headers, status):
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        response = await http.request(method, simulator.base_url("bfl") + path, headers=headers)
        assert response.status_code == status
        if "unknown" in path:
            assert response.json()["status"] == "Task not found"


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (RateLimited(wait_seconds=3), 429),
        (RateLimited(wait_seconds=3, told="text"), 429),
        (QuotaExhausted(), 402),
        (NotAllowed(), 403),
        (ServerError(), 500),
    ],
    ids=repr,
)
async def test_it_declines_in_its_own_words(fault, status):
    async with open_simulator(faults=fault) as simulator, httpx2.AsyncClient() as http:
        response = await http.post(
            f"{simulator.base_url('bfl')}/v1/flux-2-pro", json={"prompt": "x"}, headers=KEY
        )
        assert response.status_code == status
        assert response.json()["detail"]
        if status == 429:
            assert response.headers.get("retry-after") == ("3" if fault.told == "header" else None)


async def test_a_size_of_flux_2_is_rounded_and_zero_follows_the_input():
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        for body, size in (
            ({"width": 1000, "height": 600}, (992, 592)),
            (
                {"width": 0, "height": 0, "input_image": f"data:image/png;base64,{IMAGE}"},
                (256, 256),
            ),
        ):
            taken = await http.post(
                f"{simulator.base_url('bfl')}/v1/flux-2-pro",
                json={"prompt": "x", **body},
                headers=KEY,
            )
            ready = await http.get(taken.json()["polling_url"], headers=KEY)
            file = await http.get(ready.json()["result"]["sample"])
            assert PillowImage.open(io.BytesIO(file.content)).size == size
