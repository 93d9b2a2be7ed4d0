"""The simulated ComfyUI refuses what the real one would, so that a graph that
is wrong fails against it.
"""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from imagen.testing.simulator import open_simulator
from imagen.testing.simulator._core.messages import KEY_HEADERS
from tests.support.images import RED, large_png
from tests.support.providers.comfyui import TEXT

GOOD: dict[str, Any] = json.loads(json.dumps(TEXT))
GOOD["b"]["inputs"]["text"] = GOOD["c"]["inputs"]["text"] = "x"
GOOD["d"]["inputs"] |= {"width": 64, "height": 64}
GOOD["e"]["inputs"] |= {"seed": 1, "steps": 2, "denoise": 1.0}


def changed(node: str, **inputs: object) -> dict[str, Any]:
    graph = json.loads(json.dumps(GOOD))
    graph[node]["inputs"] |= inputs
    return graph


def without(node: str, name: str) -> dict[str, Any]:
    graph = json.loads(json.dumps(GOOD))
    del graph[node]["inputs"][name]
    return graph


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "missing": (without("e", "cfg"), "required_input_missing"),
    "unknown": (changed("e", more=1), "custom_validation_failed"),
    "choice": (changed("e", sampler_name="mine"), "value_not_in_list"),
    "checkpoint": (changed("a", ckpt_name="mine"), "value_not_in_list"),
    "too small": (changed("e", steps=0), "value_smaller_than_min"),
    "too large": (changed("e", seed=2**64), "value_bigger_than_max"),
    "text for a number": (changed("e", steps="{{steps}}"), "invalid_input_type"),
    "fraction": (changed("e", steps=2.5), "invalid_input_type"),
    "number for a text": (changed("b", text=5), "invalid_input_type"),
    "no link": (changed("f", samples="e"), "bad_linked_input"),
    "link to nowhere": (changed("f", samples=["z", 0]), "bad_linked_input"),
    "link of another type": (changed("f", samples=["a", 0]), "return_type_mismatch"),
    "link to no output": (changed("f", samples=["e", 1]), "return_type_mismatch"),
}


@pytest.mark.parametrize(("graph", "kind"), WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_node_is_named(graph, kind):
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        response = await http.post(
            f"{simulator.base_url('comfyui')}/prompt", json={"prompt": graph}
        )
        assert response.status_code == 400
        (found,) = response.json()["node_errors"].values()
        assert [error["type"] for error in found["errors"]] == [kind]
        assert not simulator.bills


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({}, "no_prompt"),
        ([], "no_prompt"),
        ({"prompt": GOOD, "seed": 5}, "invalid_prompt"),
        ({"prompt": {"1": {"class_type": "Nothing", "inputs": {}}}}, "invalid_prompt"),
        ({"prompt": {"a": GOOD["a"]}}, "prompt_no_outputs"),
    ],
)
async def test_a_wrong_order_is_refused(body, kind):
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        response = await http.post(f"{simulator.base_url('comfyui')}/prompt", json=body)
        assert (response.status_code, response.json()["error"]["type"]) == (400, kind)


@pytest.mark.parametrize(
    "more",
    [
        {"files": {"image": ("a.png", b"no image")}},
        {"files": {"mask": ("a.png", large_png(RED))}},
        {"content": b"x"},
    ],
)
async def test_a_wrong_upload_is_refused(more):
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        data = {} if "content" in more else {"data": {"overwrite": "true"}}
        response = await http.post(f"{simulator.base_url('comfyui')}/upload/image", **more, **data)
        assert response.status_code == 400


async def test_an_upload_must_say_that_it_overwrites():
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        url = f"{simulator.base_url('comfyui')}/upload/image"
        files = {"image": ("a.png", large_png(RED))}
        assert (await http.post(url, files=files)).status_code == 400
        assert (await http.post(url, files=files, data={"overwrite": "true"})).json()[
            "name"
        ] == "a.png"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("ws?clientId=x", 400),
        ("view?filename=a&type=output", 404),
        ("models/nothing", 404),
        ("nothing", 404),
    ],
)
async def test_what_is_not_there(path, status):
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        assert (await http.get(f"{simulator.base_url('comfyui')}/{path}")).status_code == status
        assert not any(name in KEY_HEADERS for name in simulator.received[0].headers)


@pytest.mark.parametrize(
    ("key", "version"), [("short", "13"), ("*" * 24, "13"), ("x" * 22 + "==", "12")]
)
async def test_a_handshake_must_be_right(key, version):
    async with open_simulator() as simulator, httpx2.AsyncClient() as http:
        headers = {
            "connection": "Upgrade",
            "upgrade": "websocket",
            "sec-websocket-version": version,
        }
        url = f"{simulator.base_url('comfyui')}/ws?clientId=x"
        response = await http.get(url, headers={**headers, "sec-websocket-key": key})
        assert response.status_code == 400


async def test_a_job_waits_for_the_one_before_it():
    async with open_simulator(latency=[30.0, 0.0]) as simulator, httpx2.AsyncClient() as http:
        base = simulator.base_url("comfyui")
        ids = [
            (await http.post(f"{base}/prompt", json={"prompt": GOOD})).json()["prompt_id"]
            for _ in range(3)
        ]
        queue = (await http.get(f"{base}/queue")).json()
        assert [entry[1] for entry in queue["queue_running"]] == ids[:1]
        assert {entry[1] for entry in queue["queue_pending"]} == set(ids[1:])
        assert (await http.get(f"{base}/history/{ids[1]}")).json() == {}
        await http.post(f"{base}/queue", json={"delete": [ids[0], ids[1], "unknown"]})
        await http.post(f"{base}/interrupt", json={"prompt_id": ids[2]})
        queue = (await http.get(f"{base}/queue")).json()
        # What runs is not taken out of the queue, and what waits is not
        # interrupted.
        assert [
            [entry[1] for entry in queue[name]] for name in ("queue_running", "queue_pending")
        ] == [
            [ids[0]],
            [ids[2]],
        ]
        await http.post(f"{base}/interrupt", json={"prompt_id": ids[0]})
        status = (await http.get(f"{base}/history/{ids[0]}")).json()[ids[0]]["status"]
        assert (status["status_str"], status["messages"][-1][0]) == (
            "error",
            "execution_interrupted",
        )
