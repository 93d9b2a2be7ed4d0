"""The simulated web UI refuses what the real one would, and what a client
should not send.
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
    Refused,
    open_simulator,
)
from tests.support.images import RED, large_png

KEY = {"authorization": "Basic dGVzdC1rZXk="}
IMAGE = pybase64.b64encode(large_png(RED)).decode()

WRONG: dict[str, tuple[str, Any, int, str]] = {
    "no object": ("txt2img", [], 422, "JSON"),
    "unknown field": ("txt2img", {"promt": "x"}, 422, "Extra inputs"),
    "field of another path": ("txt2img", {"mask": IMAGE}, 422, "Extra inputs"),
    "text for a number": ("txt2img", {"steps": "5"}, 422, "valid number"),
    "out of range": ("txt2img", {"steps": 0}, 422, "between 1 and 150"),
    "no multiple of eight": ("txt2img", {"width": 500}, 422, "multiple of 8"),
    "sampler": ("txt2img", {"sampler_name": "Mine"}, 400, "Sampler not found"),
    "settings": ("txt2img", {"override_settings": 5}, 422, "dictionary"),
    "format": ("txt2img", {"override_settings": {"samples_format": "gif"}}, 422, "dictionary"),
    "checkpoint": (
        "txt2img",
        {"override_settings": {"sd_model_checkpoint": "x"}},
        500,
        "Checkpoint not found",
    ),
    "no image": ("img2img", {"prompt": "x"}, 404, "Init image not found"),
    "broken image": ("img2img", {"init_images": ["x"]}, 500, "Invalid encoded image"),
    "no text": ("img2img", {"init_images": [5]}, 500, "Invalid encoded image"),
    "link": ("img2img", {"init_images": ["https://a.example/x.png"]}, 500, "Requests not allowed"),
    "mask": ("img2img", {"init_images": [IMAGE], "mask": "x"}, 500, "Invalid encoded image"),
    "upscaler": (
        "extra-single-image",
        {"image": IMAGE, "upscaler_1": "x"},
        400,
        "Invalid upscaler",
    ),
}


@pytest.mark.parametrize(("path", "body", "status", "words"), WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_request_is_refused(path, body, status, words):
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        url = f"{simulator.base_url('automatic1111')}/sdapi/v1/{path}"
        response = await http.post(url, json=body, headers=KEY)
        assert response.status_code == status
        assert words in response.text
        assert not simulator.bills


async def test_the_key_is_looked_at():
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        url = f"{simulator.base_url('automatic1111')}/sdapi/v1/sd-models"
        assert (await http.get(url)).status_code == 401
        assert (await http.get(url, headers=KEY)).status_code == 200
        assert (await http.get(url.replace("sd-models", "nothing"), headers=KEY)).status_code == 404


@pytest.mark.parametrize(
    ("fault", "status"),
    [(RateLimited(), 429), (QuotaExhausted(), 402), (Refused(), 400), (NotAllowed(), 401)],
)
async def test_faults_are_told_as_a_proxy_would(fault, status):
    async with open_simulator(faults=fault) as simulator, httpx2.AsyncClient() as http:
        url = f"{simulator.base_url('automatic1111')}/sdapi/v1/txt2img"
        assert (await http.post(url, json={}, headers=KEY)).status_code == status


async def test_nothing_is_drawn_between_jobs():
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        base = f"{simulator.base_url('automatic1111')}/sdapi/v1"
        assert (await http.post(f"{base}/interrupt", headers=KEY)).status_code == 200
        told = (await http.get(f"{base}/progress", headers=KEY)).json()
        assert (told["progress"], told["current_task"], told["current_image"]) == (0.0, None, None)


async def test_a_negative_seed_is_one_that_the_engine_chooses():
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        url = f"{simulator.base_url('automatic1111')}/sdapi/v1/txt2img"
        body = {"seed": -1, "width": 64, "height": 64, "batch_size": 2}
        answer = (await http.post(url, json=body, headers=KEY)).json()
        assert len(answer["images"]) == 3
        assert '"all_seeds":[42,43]' in answer["info"]
