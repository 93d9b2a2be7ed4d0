"""The simulated Midjourney server refuses what a client should not send."""

from __future__ import annotations

from typing import Any

import httpx2
import pybase64
import pytest
import trio

from imagen.testing.simulator import Simulator, open_simulator
from imagen.testing.simulator._providers.midjourney import MidjourneyProxy
from tests.support.images import RED, large_png

KEY = {"mj-api-secret": "test-key"}
IMAGE = f"data:image/png;base64,{pybase64.b64encode(large_png(RED)).decode()}"
SMALL = MidjourneyProxy(cell=16)


async def post(
    simulator: Simulator, http: httpx2.AsyncClient, route: str, body: Any
) -> httpx2.Response:
    return await http.post(
        f"{simulator.base_url('midjourney')}/mj/submit/{route}", json=body, headers=KEY
    )


WRONG: dict[str, tuple[str, Any, int]] = {
    "no object": ("imagine", [], 4),
    "no prompt": ("imagine", {}, 4),
    "empty prompt": ("imagine", {"prompt": " "}, 4),
    "unknown field": ("imagine", {"prompt": "x", "n": 4}, 4),
    "bot": ("imagine", {"prompt": "x", "botType": "MINE"}, 4),
    "no list": ("imagine", {"prompt": "x", "base64Array": IMAGE}, 4),
    "no image": ("imagine", {"prompt": "x", "base64Array": ["data:image/png;base64,AAAA"]}, 4),
    "no data URL": ("imagine", {"prompt": "x", "base64Array": ["AAAA"]}, 4),
    "unknown parent": ("action", {"taskId": "5", "customId": "MJ::JOB::upsample::1::0"}, 3),
    "unknown task": ("modal", {"taskId": "5", "prompt": "x"}, 3),
}


@pytest.mark.parametrize(("route", "body", "code"), WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_order_is_refused(route, body, code):
    async with open_simulator(SMALL) as simulator, httpx2.AsyncClient() as http:
        response = await post(simulator, http, route, body)
        assert response.json()["code"] == code
        assert response.status_code == (404 if code == 3 else 200)
        assert not simulator.bills


@pytest.mark.parametrize(
    "prompt",
    [
        "x --hue 5",
        "x --seed 1 --seed 2",
        "x --ar 16x9",
        "x --seed -1",
        "x --iw 4",
        "x --q 8",
        "x --seed 4294967296",
    ],
)
async def test_a_wrong_parameter_fails_later(prompt):
    async with open_simulator(SMALL) as simulator, httpx2.AsyncClient() as http:
        task_id = (await post(simulator, http, "imagine", {"prompt": prompt})).json()["result"]
        url = f"{simulator.base_url('midjourney')}/mj/task/{task_id}/fetch"
        task = (await http.get(url, headers=KEY)).json()
        assert task["status"] == "FAILURE"
        assert task["failReason"].startswith("Invalid parameter")


@pytest.mark.parametrize(
    ("has_buttons", "route"), [(True, "change"), (False, "action"), (True, "nothing")]
)
async def test_a_server_has_one_way_to_press_a_button(has_buttons, route):
    service = MidjourneyProxy(has_buttons=has_buttons)
    async with open_simulator(service) as simulator, httpx2.AsyncClient() as http:
        assert (await post(simulator, http, route, {})).status_code == 404


async def test_a_button_must_be_one_of_a_task_that_has_ended():
    async with open_simulator(SMALL, latency=0.1) as simulator, httpx2.AsyncClient() as http:
        task_id = (await post(simulator, http, "imagine", {"prompt": "x"})).json()["result"]
        uuid = f"{int(task_id):032x}"
        good = {"taskId": task_id, "customId": f"MJ::JOB::upsample::1::{uuid}"}
        assert (await post(simulator, http, "action", good)).json()["code"] == 4
        await trio.sleep(0.12)
        for custom_id in (
            "MJ::JOB::upsample::5::1",
            "MJ::JOB::upsample::1::0",
            f"MJ::JOB::zoom::1::{uuid}",
        ):
            wrong = {"taskId": task_id, "customId": custom_id}
            assert (await post(simulator, http, "action", wrong)).json()["code"] == 4
        assert (await post(simulator, http, "action", good)).json()["code"] == 1


async def test_a_single_image_has_no_places():
    service = MidjourneyProxy(cell=16, has_buttons=False)
    async with open_simulator(service) as simulator, httpx2.AsyncClient() as http:
        task_id = (await post(simulator, http, "imagine", {"prompt": "x"})).json()["result"]
        up = {"taskId": task_id, "action": "UPSCALE", "index": 1}
        single_id = (await post(simulator, http, "change", up)).json()["result"]
        assert (await post(simulator, http, "change", {**up, "index": 0})).json()["code"] == 4
        assert (await post(simulator, http, "change", {**up, "action": "REROLL"})).json()[
            "code"
        ] == 4
        assert (await post(simulator, http, "change", {**up, "taskId": single_id})).json()[
            "code"
        ] == 4


async def test_the_key_is_looked_at_and_an_unknown_task_is_nothing():
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        url = f"{simulator.base_url('midjourney')}/mj/task/5/fetch"
        assert (await http.get(url)).status_code == 401
        unknown = await http.get(url, headers=KEY)
        assert (unknown.status_code, unknown.content) == (204, b"")
        cancelled = await http.post(url.replace("fetch", "cancel"), headers=KEY)
        assert (cancelled.status_code, cancelled.content) == (200, b"")


async def test_a_cancelled_task_fails_in_chinese():
    async with open_simulator(SMALL, latency=30.0) as simulator, httpx2.AsyncClient() as http:
        task_id = (await post(simulator, http, "imagine", {"prompt": "x"})).json()["result"]
        base = f"{simulator.base_url('midjourney')}/mj/task/{task_id}"
        await http.post(f"{base}/cancel", headers=KEY)
        task = (await http.get(f"{base}/fetch", headers=KEY)).json()
        assert (task["status"], task["failReason"]) == ("FAILURE", "取消任务")
