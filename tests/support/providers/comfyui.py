"""Clients of the simulated ComfyUI."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import strategies as st
from wsproto.connection import SERVER, Connection
from wsproto.events import BytesMessage, CloseConnection, TextMessage

import imagen
from imagen.providers import (
    HttpResponse,
)
from imagen.providers.comfyui._adapter import PROVIDER
from imagen.testing.simulator import (
    Simulator,
    open_simulator,
)
from imagen.testing.simulator._providers.comfyui.server import ComfyUI
from tests.support.drivers import RETRY
from tests.support.exchanges import IMAGE, Walk, call, reply
from tests.support.reply_strategies import mutated


@asynccontextmanager
async def open_comfyui(
    home: Path,
    *,
    settings: dict[str, Any] | None = None,
    on_event: imagen.EventHandler | None = None,
    service: dict[str, Any] | None = None,
    models: dict[str, Any] | None = None,
    **simulated: Any,
) -> AsyncIterator[tuple[imagen.Client, Simulator]]:
    """A client that looks for its job every 10 ms where it does not listen, or
    hears nothing for a second.
    """
    async with open_simulator(ComfyUI(**(service or {})), **simulated) as simulator:
        loaded = imagen.load_settings(
            {"COMFYUI_URL": simulator.base_url("comfyui"), "IMAGEN_HOME": str(home)}
        )
        access = loaded.access["comfyui"]
        quick = {"poll_seconds": 0.01, "silence_seconds": 1.0}
        changed = msgspec.structs.replace(
            access, settings={**access.settings, **quick, **(settings or {})}
        )
        loaded = msgspec.structs.replace(
            loaded, retry=RETRY, models=models or {}, access={**loaded.access, "comfyui": changed}
        )
        async with imagen.open_client(loaded, on_event=on_event) as client:
            yield client, simulator


def posted(simulator: Simulator) -> list[dict[str, Any]]:
    return [
        json.loads(received.body) for received in simulator.received if received.kind == "create"
    ]


def kinds(simulator: Simulator) -> list[str]:
    return [received.kind for received in simulator.received]


async def books_are_balanced(client: imagen.Client, simulator: Simulator) -> None:
    spending = await client.spending()
    assert (
        spending.settled_usd
        == simulator.billed_usd
        == spending.reserved_usd
        == spending.unknown_usd
        == 0
    )
    assert all(bill.delivered for bill in simulator.bills)
    assert not simulator.leaks


JOB = "00000000-0000-0000-0000-000000000001"


LIST = reply(["a.safetensors"])


TAKEN = reply({"prompt_id": JOB, "number": 1, "node_errors": {}})


FILE = reply(IMAGE)


EMPTY = reply({})


SWITCHED = HttpResponse(status=101, headers={"upgrade": "websocket"})


NO_SOCKET = reply(b"404: Not Found", 404)


def past(outputs: object = None, **status: object) -> HttpResponse:
    told = {"status_str": "success", "completed": True, "messages": [], **status}
    shown = {"9": {"images": [{"filename": "a b&c.png", "subfolder": "x/y", "type": "output"}]}}
    return reply(
        {
            JOB: {
                "prompt": [1, JOB, {}, {}, ["9"]],
                "outputs": shown if outputs is None else outputs,
                "status": told,
            }
        }
    )


def queue(running: list[object] | None = None, pending: list[object] | None = None) -> HttpResponse:
    return reply({"queue_running": running or [], "queue_pending": pending or []})


def walk(*responses: HttpResponse, chunks: Any = (), socket: bool = False, **more: Any) -> Walk:
    """A generation from its order on; the list of checkpoints is there already."""
    asked = call("comfyui", settings={"socket": socket, **more.pop("settings", {})}, **more)
    first = (LIST, SWITCHED) if socket else (LIST,)
    return Walk(PROVIDER.operations["generate"](asked), *first, *responses, chunks=chunks)


def frames(*events: object) -> list[bytes]:
    server = Connection(SERVER)
    return [bytes(server.send(event)) for event in events]  # type: ignore[arg-type]


def told(kind: str, **data: object) -> TextMessage:
    return TextMessage(data=json.dumps({"type": kind, "data": {"prompt_id": JOB, **data}}))


def preview(data: bytes = b"jpeg", *, event: int = 1, more: int = 1) -> BytesMessage:
    return BytesMessage(data=struct.pack(">II", event, more) + data)


TEXT: dict[str, Any] = {
    "a": {
        "class_type": "CheckpointLoaderSimple",
        "inputs": {"ckpt_name": "sdxl.safetensors"},
        "_meta": {"title": "x"},
    },
    "b": {
        "class_type": "CLIPTextEncode",
        "inputs": {"text": "best, {{prompt}}, {{mood}}", "clip": ["a", 1]},
    },
    "c": {
        "class_type": "CLIPTextEncode",
        "inputs": {"text": "{{ negative_prompt }}", "clip": ["a", 1]},
    },
    "d": {
        "class_type": "EmptyLatentImage",
        "inputs": {"width": "{{width}}", "height": "{{height}}", "batch_size": 1},
    },
    "e": {
        "class_type": "KSampler",
        "inputs": {
            "seed": "{{seed}}",
            "steps": "{{steps}}",
            "cfg": 3.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": "{{strength}}",
            "model": ["a", 0],
            "positive": ["b", 0],
            "negative": ["c", 0],
            "latent_image": ["d", 0],
        },
    },
    "f": {"class_type": "VAEDecode", "inputs": {"samples": ["e", 0], "vae": ["a", 2]}},
    "g": {"class_type": "PreviewImage", "inputs": {"images": ["f", 0]}},
    "h": {"class_type": "SaveImage", "inputs": {"images": ["f", 0], "filename_prefix": "x"}},
}


def polled(*responses: HttpResponse, **more: Any) -> Walk:
    return walk(TAKEN, *responses, **more)


def refused(kind: str, **nodes: object) -> dict[str, object]:
    error = {"type": kind, "message": "It is wrong", "details": "", "extra_info": {}}
    return {"error": error, "node_errors": nodes}


def node_error(kind: str) -> dict[str, object]:
    error = {
        "type": kind,
        "message": "Value not in list",
        "details": "ckpt_name: 'x' not in []",
        "extra_info": {},
    }
    return refused(
        "prompt_outputs_failed_validation",
        **{
            "4": {
                "errors": [error],
                "dependent_outputs": ["9"],
                "class_type": "CheckpointLoaderSimple",
            }
        },
    )


def failed(*messages: object) -> HttpResponse:
    return past({}, status_str="error", completed=False, messages=list(messages))


SAMPLES: tuple[dict[str, Any], ...] = (
    json.loads(TAKEN.body),
    json.loads(past().body),
    json.loads(failed(["execution_error", {"exception_type": "E"}]).body),
    json.loads(queue(running=[[1, JOB]], pending=[[2, "x"]]).body),
    node_error("value_not_in_list"),
    {"name": "a.png", "subfolder": "", "type": "input"},
)


QUICK = {"poll_seconds": 600.0, "silence_seconds": 600.0}


messages = st.lists(
    st.one_of(
        st.binary(max_size=60),
        st.none(),
        st.sampled_from(
            frames(
                told("execution_start"),
                told("progress", value=1, max=2),
                preview(),
                told("execution_success"),
            )
        ),
        mutated(
            tuple(frames(told("progress", value=1, max=2), preview(), CloseConnection(code=1001)))
        ),
    ),
    max_size=8,
)
