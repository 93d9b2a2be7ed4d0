"""What is made of the messages on ComfyUI's socket, and of its silence."""

from __future__ import annotations

import itertools
import json

import pytest
from wsproto.connection import SERVER, Connection
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from imagen import OutcomeUnknownError
from imagen.providers import Cancellable, PartialImage, Progress, ReadChunk, Wait
from imagen.providers.comfyui import _socket as _comfyui_socket
from imagen.providers.comfyui._adapter import PROVIDER
from tests.support.exchanges import Walk, call
from tests.support.providers.comfyui import (
    EMPTY,
    FILE,
    JOB,
    LIST,
    NO_SOCKET,
    TAKEN,
    frames,
    past,
    preview,
    queue,
    told,
    walk,
)

pytestmark = pytest.mark.usefixtures("known_ids")


def test_the_handshake_is_one():
    made = walk(TAKEN, past(), FILE, socket=True, chunks=frames(told("execution_success")))
    made.run()
    shake = made.requests[1]
    assert (shake.method, shake.stream, shake.repeatable) == ("GET", True, True)
    assert shake.url == f"ws?clientId={JOB.replace('-', '')}"
    assert shake.url.endswith(made.body["client_id"])
    assert {
        name: shake.headers[name] for name in ("connection", "upgrade", "sec-websocket-version")
    } == {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
    }
    assert len(shake.headers["sec-websocket-key"]) == 24
    assert ReadChunk(wait_seconds=10.0) in made.steps
    # Only one look, and no wait: the socket said that it had ended.
    assert not [step for step in made.steps if isinstance(step, Wait)]


def test_what_the_socket_tells_is_shown():
    events = [
        TextMessage(
            data=json.dumps(
                {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 2}}}}
            )
        ),
        told("execution_start"),
        Ping(),
        told("progress", value=5, max=20, node="5"),
        preview(b"one"),
        told("progress", value=6, max=20, prompt_id="another"),
        preview(b"metaJSONtwo", event=4, more=8),
        preview(b"three"),
        TextMessage(
            data=json.dumps(
                {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 1}}}}
            )
        ),
        told("executing", node=None),
    ]
    made = walk(TAKEN, past(), FILE, socket=True, chunks=frames(*events), previews=2)
    made.run()
    shown = [step for step in made.steps if isinstance(step, (Progress, PartialImage))]
    assert shown == [
        Progress(note="queue of 2"),
        Progress(fraction=0.25, note="step 5 of 20"),
        PartialImage(data=b"one", number=0),
        PartialImage(data=b"two", number=1),
    ]
    stops = [
        step.request.url for step in made.steps if isinstance(step, Cancellable) and step.request
    ]
    assert stops == ["queue", "interrupt"]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_messages_may_come_in_any_pieces(size):
    whole = b"".join(
        frames(told("execution_start"), preview(b"x" * 70_000), told("execution_success"))
    )
    chunks = [whole[at : at + size] for at in range(0, len(whole), size)]
    made = walk(TAKEN, past(), FILE, socket=True, chunks=chunks, previews=1)
    made.run()
    assert made.partials == [PartialImage(data=b"x" * 70_000, number=0)]


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        frames(CloseConnection(code=1001)),
        [b"\xff\xff no frame at all"],
        [*frames(told("execution_start")), b""],
        [*frames(CloseConnection(code=1001)), b"more"],
    ],
)
def test_a_socket_that_ends_leaves_it_to_questions(chunks):
    made = walk(TAKEN, EMPTY, queue(running=[[1, JOB]]), past(), FILE, socket=True, chunks=chunks)
    assert made.run().images
    assert [step.seconds for step in made.steps if isinstance(step, Wait)] == [1.0]


def test_a_message_without_end_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(_comfyui_socket, "_LARGEST_MESSAGE", 100)
    server = Connection(SERVER)
    endless = [
        bytes(server.send(BytesMessage(data=b"x" * 60, message_finished=False))) for _ in range(3)
    ]
    made = walk(TAKEN, past(), FILE, socket=True, chunks=endless)
    made.run()
    assert len([step for step in made.steps if isinstance(step, ReadChunk)]) == 2


def test_silence_is_a_reason_to_look():
    made = walk(
        TAKEN, EMPTY, queue(running=[[1, JOB]]), past(), FILE, socket=True, chunks=[None, None]
    )
    assert made.run().images
    assert not [step for step in made.steps if isinstance(step, Wait)]


def test_silence_for_an_hour_is_the_end():
    running = [EMPTY, queue(running=[[1, JOB]])]
    made = walk(
        TAKEN,
        *running * 8,
        socket=True,
        chunks=itertools.repeat(None),
        settings={"silence_seconds": 600.0},
    )
    assert isinstance(made.fail(), OutcomeUnknownError)


def test_a_server_without_a_socket_is_asked():
    asked = call("comfyui", settings={"socket": True})
    made = Walk(PROVIDER.operations["generate"](asked), LIST, NO_SOCKET, TAKEN, past(), FILE)
    assert made.run().images
    assert not [step for step in made.steps if isinstance(step, ReadChunk)]


@pytest.mark.parametrize(
    "event",
    [
        TextMessage(data="no JSON"),
        TextMessage(data="[]"),
        TextMessage(data='{"type": "progress", "data": 5}'),
        told("progress", value="x", max=None),
        told("progress", value=5, max=0),
        told("status", status={"exec_info": {"queue_remaining": "x"}}),
        told("something_new", a=1),
        BytesMessage(data=b""),
        BytesMessage(data=b"\x00\x00\x00\x01"),
        preview(b"", event=1),
        preview(b"abc", event=4, more=2**32 - 1),
        preview(b"text", event=3),
    ],
)
def test_odd_messages_are_passed_over(event):
    made = walk(
        TAKEN,
        past(),
        FILE,
        socket=True,
        chunks=frames(event, told("execution_success")),
        previews=5,
    )
    assert made.run().images
    assert not made.partials
