"""The simulated Ideogram refuses what the real one would, so that an adapter
that is wrong fails against it.
"""

from __future__ import annotations

import io
from typing import Any

import httpx2
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

KEY = {"Api-Key": "test-key"}


def file(data: bytes = large_png(RED), media_type: str = "image/png") -> tuple[str, bytes, str]:
    return ("a.png", data, media_type)


def plain_mask() -> bytes:
    out = io.BytesIO()
    PillowImage.new("L", (256, 256), 255).save(out, "PNG")
    return out.getvalue()


MASK = file(left_mask())
JSON_WRONG: dict[str, tuple[str, Any, int]] = {
    "no object": ("generate/ideogram-4", [], 400),
    "no prompt": ("generate/ideogram-4", {}, 400),
    "long prompt": ("generate/ideogram-4", {"prompt": "x" * 10001}, 400),
    "unknown field": ("generate/ideogram-4", {"prompt": "x", "n": 2}, 400),
    "field of another model": ("generate/ideogram-4", {"prompt": "x", "negative_prompt": "y"}, 400),
    "capitals": ("generate/ideogram-4", {"prompt": "x", "magic_prompt": "AUTO"}, 400),
    "colon": ("generate/ideogram-3", {"prompt": "x", "aspect_ratio": "16:9"}, 400),
    "ratio and resolution": (
        "generate/ideogram-3",
        {"prompt": "x", "aspect_ratio": "1x1", "resolution": "1024x1024"},
        400,
    ),
    "size off the list": ("generate/ideogram-4", {"prompt": "x", "resolution": "1000x1000"}, 400),
    "free size without images": (
        "generate/ideogram-4-5",
        {"prompt": "x", "size": "1056x1056"},
        400,
    ),
    "very low without images": (
        "generate/ideogram-4-5",
        {"prompt": "x", "quality": "very_low"},
        400,
    ),
    "text for a number": ("generate/ideogram-4", {"prompt": "x", "num_images": "2"}, 400),
    "text for a flag": ("generate/ideogram-4", {"prompt": "x", "async": "true"}, 400),
    "number out of range": ("generate/ideogram-4", {"prompt": "x", "num_images": 9}, 400),
    "style code": ("generate/ideogram-3", {"prompt": "x", "style_codes": ["xyz"]}, 400),
    "preset with codes": (
        "generate/ideogram-3",
        {"prompt": "x", "style_codes": ["0a1b2c3d"], "style_preset": "bauhaus"},
        400,
    ),
    "no model of one's own": ("generate/ideogram-3-custom-model", {"prompt": "x"}, 400),
    "no file": ("remove-background/ideogram-1", {}, 415),
}
FORM_WRONG: dict[str, tuple[str, dict[str, Any], list[tuple[str, Any]], int]] = {
    "unknown file": ("upscale/auto", {}, [("image", file()), ("extra", file())], 400),
    "field given twice": (
        "upscale/auto",
        {"upscale_factor": ["x2", "x4"]},
        [("image", file())],
        400,
    ),
    "factor": ("upscale/auto", {"upscale_factor": "2"}, [("image", file())], 400),
    "flag": ("upscale/auto", {"async": "yes"}, [("image", file())], 400),
    "prompt where there is none": ("upscale/auto", {"prompt": "x"}, [("image", file())], 400),
    "no image": ("upscale/auto", {}, [("image", file(b"x"))], 400),
    "wrong media type": ("upscale/auto", {}, [("image", file(media_type="image/jpeg"))], 400),
    "mask of another size": (
        "inpaint/ideogram-3",
        {"prompt": "x"},
        [("image", file()), ("mask", file(left_mask((64, 64))))],
        400,
    ),
    "mask of one colour": (
        "inpaint/ideogram-3",
        {"prompt": "x"},
        [("image", file()), ("mask", file(plain_mask()))],
        400,
    ),
    "mask without an image": ("generate/ideogram-4-5", {"prompt": "x"}, [("mask", MASK)], 400),
    "size beside a mask": (
        "generate/ideogram-4-5",
        {"prompt": "x", "size": "512x512"},
        [("images", file()), ("mask", MASK)],
        400,
    ),
    "five images beside a mask": (
        "generate/ideogram-4-5",
        {"prompt": "x"},
        [*[("images", file())] * 5, ("mask", MASK)],
        400,
    ),
    "size off the grid": (
        "generate/ideogram-4-5",
        {"prompt": "x", "size": "500x500"},
        [("images", file())],
        400,
    ),
    "no shape": ("reframe/ideogram-3", {}, [("image", file())], 400),
    "codes with references": (
        "remix/ideogram-3",
        {"prompt": "x", "style_codes": "0a1b2c3d"},
        [("image", file()), ("style_reference_images", file())],
        400,
    ),
}


@pytest.mark.parametrize(("path", "body", "status"), JSON_WRONG.values(), ids=JSON_WRONG.keys())
async def test_wrong_json_is_refused_and_costs_nothing(path, body, status):
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        response = await http.post(
            f"{simulator.base_url('ideogram')}/v2/image/{path}", json=body, headers=KEY
        )
        assert response.status_code == status, response.text
        assert response.json()["error"]
        assert not simulator.bills


@pytest.mark.parametrize(
    ("path", "fields", "files", "status"), FORM_WRONG.values(), ids=FORM_WRONG.keys()
)
async def test_a_wrong_form_is_refused_and_costs_nothing(path, fields, files, status):
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        url = f"{simulator.base_url('ideogram')}/v2/image/{path}"
        response = await http.post(url, data=fields, files=files, headers=KEY)
        assert response.status_code == status, response.text
        assert response.json()["error"]
        assert not simulator.bills


async def test_a_body_that_is_neither_form_nor_json_is_refused():
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        url = f"{simulator.base_url('ideogram')}/v2/image/generate/ideogram-4"
        response = await http.post(url, content=b"x", headers={**KEY, "content-type": "text/plain"})
        assert response.status_code == 400


async def test_a_file_of_more_than_fifty_megabytes_is_too_large(monkeypatch):
    monkeypatch.setattr("imagen.testing.simulator._providers.ideogram.server._LARGEST_FILE", 10)
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        url = f"{simulator.base_url('ideogram')}/v2/image/upscale/auto"
        response = await http.post(url, files=[("image", file())], headers=KEY)
        assert response.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/v2/image/generate/ideogram-4", {}, 401),
        ("POST", "/v2/image/generate/ideogram-4", {"authorization": "Bearer test-key"}, 401),
        ("POST", "/v2/image/generate/ideogram-9", KEY, 404),
        ("GET", "/v2/image/generate/ideogram-4", KEY, 404),
        ("GET", "/v2/generations/unknown", KEY, 404),
    ],
)
async def test_paths_and_keys(method, path, headers, status):
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        response = await http.request(
            method, simulator.base_url("ideogram") + path, headers=headers
        )
        assert response.status_code == status


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
        url = f"{simulator.base_url('ideogram')}/v2/image/generate/ideogram-4"
        response = await http.post(url, json={"prompt": "x"}, headers=KEY)
        assert response.status_code == status
        assert response.json()["error"]
        reason = {429: "inflight_limit", 402: "insufficient_funds"}.get(status)
        assert response.json().get("reject_reason") == reason


async def test_it_replies_at_once_by_default_and_quotes_for_nothing():
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        url = f"{simulator.base_url('ideogram')}/v2/image/generate/ideogram-4"
        body = {"prompt": "x", "num_images": 2, "rendering_speed": "turbo"}
        quote = await http.post(f"{url}?dry_run=true", json=body, headers=KEY)
        assert quote.json() == {
            "object": "price_quote",
            "quantity": 2,
            "usd_micros": 60000,
            "qualifier": "exact",
        }
        assert not simulator.bills
        response = await http.post(url, json=body, headers=KEY)
        assert len(response.json()["data"]) == 2
        assert simulator.bills[0].images == 2
        large = await http.post(
            f"{simulator.base_url('ideogram')}/v2/image/generate/ideogram-4-transparent",
            json={"prompt": "x", "output_resolution": "2k", "async": False},
            headers=KEY,
        )
        content = (await http.get(large.json()["data"][0]["url"])).content
        assert PillowImage.open(io.BytesIO(content)).size == (2048, 2048)
