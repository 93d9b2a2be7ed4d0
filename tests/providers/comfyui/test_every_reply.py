"""Whatever a ComfyUI says on its socket, and however it writes its replies, the
image is fetched, or the job ends as an error that costs nothing.

Other providers have this in `tests/providers/test_every_reply.py`. Here the
socket's messages are mutated too, one by one and as bytes.

`IMAGEN_LONG=1` runs 10,000 of them.
"""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Callable, Sequence

import msgspec
import pytest
from wsproto.connection import SERVER, Connection
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

import imagen
from imagen.providers import HttpRequest
from imagen.testing import InlineWorkers, ScriptedReply, ScriptedTransport
from tests.support.images import PNG
from tests.support.lengths import length
from tests.support.mutations import HARMFUL, HARMLESS
from tests.support.providers.comfyui import (
    JOB,
    LIST,
    TAKEN,
    past,
    preview,
    queue,
    told,
)

EACH = 10_000 if os.environ.get("IMAGEN_LONG") else length(1_000, short=90)
A_BATCH = 50
# The image that the job made, and the bytes of previews of it.
OTHER = "00000000-0000-0000-0000-00000000dead"
REPLIES = ("prompt", "history", "queue", "view")

Event = object
SocketMutation = Callable[[list[Event], random.Random], list[Event]]


def job_events() -> list[Event]:
    """What a server sends of a job, from the queue to its end."""
    return [
        TextMessage(
            data=json.dumps(
                {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 2}}}}
            )
        ),
        told("execution_start"),
        told("execution_cached", nodes=["4"]),
        told("executing", node="3"),
        told("progress", value=1, max=20, node="3"),
        preview(PNG),
        told("progress", value=20, max=20, node="3"),
        preview(PNG, event=4, more=2),
        told("executed", node="9", output={"images": [{"filename": "a b&c.png"}]}),
        told("executing", node=None),
        told("execution_success"),
    ]


# --- mutations of messages ----------------------------------------------------


def _text(data: bytes) -> TextMessage:
    return TextMessage(data=data.decode("utf-8", "replace"))


def _rewritten(events: list[Event], chance: random.Random) -> list[Event]:
    """Mutate the JSON of a message as that of a reply."""
    at = chance.choice([n for n, event in enumerate(events) if isinstance(event, TextMessage)])
    mutate = chance.choice([*HARMFUL.values(), *HARMLESS.values()])
    changed = _text(mutate(events[at].data.encode(), chance)[:100_000])
    return [*events[:at], changed, *events[at + 1 :]]


def _inserted(make: Callable[[random.Random], Event]) -> SocketMutation:
    def mutate(events: list[Event], chance: random.Random) -> list[Event]:
        at = chance.randrange(len(events) + 1)
        return [*events[:at], make(chance), *events[at:]]

    return mutate


def _of_another_job(chance: random.Random) -> Event:
    kind = chance.choice(("execution_success", "execution_error", "executing", "progress"))
    return told(kind, prompt_id=OTHER, node=None, value=3, max=2)


def _odd_progress(chance: random.Random) -> Event:
    odd = (None, -1, 0, 1e400, "7", True, [], {}, 10**40, float("nan"))
    return told("progress", value=chance.choice(odd), max=chance.choice(odd))


def _odd_preview(chance: random.Random) -> Event:
    kind, more = chance.randrange(6), chance.choice((0, 1, 7, 2**31, 2**32 - 1))
    head = struct.pack(">II", kind, more)[: chance.choice((0, 3, 8, 8))]
    return BytesMessage(data=head + chance.randbytes(chance.choice((0, 1, 40))))


def _shuffled(events: list[Event], chance: random.Random) -> list[Event]:
    return chance.sample(events, len(events))


MUTATIONS: dict[str, SocketMutation] = {
    "as they are": lambda events, chance: events,
    "one is rewritten": _rewritten,
    "one is missing": lambda events, chance: chance.sample(events, len(events) - 1),
    "one comes twice": lambda events, chance: [*events, chance.choice(events)],
    "in another order": _shuffled,
    "cut off": lambda events, chance: events[: chance.randrange(len(events))],
    "none": lambda events, chance: [],
    "of another job": _inserted(_of_another_job),
    "odd progress": _inserted(_odd_progress),
    "odd preview": _inserted(_odd_preview),
    "a ping": _inserted(lambda chance: Ping(payload=b"x")),
    "an early end": _inserted(lambda chance: told("execution_success")),
    "an error that was none": _inserted(lambda chance: told("execution_error", node_id="3")),
    "an interruption": _inserted(lambda chance: told("execution_interrupted")),
    "a close": _inserted(lambda chance: CloseConnection(code=chance.choice((1000, 1001, 1012)))),
    "no object": _inserted(lambda chance: _text(chance.choice((b"[]", b"7", b"null", b"", b"{")))),
    "deep": _inserted(lambda chance: _text(b'{"data":' * 5000 + b"1" + b"}" * 5000)),
}


def _as_chunks(events: Sequence[Event], chance: random.Random) -> tuple[bytes, ...]:
    """Bytes of the messages, in pieces as a network cuts them, some damaged."""
    server, data = Connection(SERVER), b""
    for event in events:
        data += bytes(server.send(event))
        if isinstance(event, CloseConnection):
            break
    match chance.randrange(6):
        case 0 if data:
            at = chance.randrange(len(data))
            data = data[:at] + chance.randbytes(chance.choice((1, 4, 30))) + data[at + 1 :]
        case 1:
            data = data[: chance.randrange(len(data) + 1)]
        case 2:
            data += b"\x82\x7f" + struct.pack(">Q", chance.choice((2**20, 2**40, 2**62)))
        case _:
            pass
    size = chance.choice((1_000_000, 1_000_000, 4096, 100, 7))
    return tuple(data[at : at + size] for at in range(0, len(data), size))


# --- one job ------------------------------------------------------------------


def server(
    chunks: tuple[bytes, ...], *, seconds: float = 0.0, changed: dict[str, bytes] | None = None
) -> Callable[[HttpRequest], ScriptedReply]:
    """A server that has done its job whatever its socket says, with the bodies
    of some replies `changed`.
    """
    bodies = {
        "models": LIST.body,
        "prompt": TAKEN.body,
        "history": past().body,
        "queue": queue(running=[[1, JOB]]).body,
        "view": PNG,
        **(changed or {}),
    }

    def answer(request: HttpRequest) -> ScriptedReply:
        name = request.url.partition("?")[0].partition("/")[0]
        if name == "ws":
            return ScriptedReply(
                status=101,
                headers={"upgrade": "websocket"},
                chunks=chunks,
                chunk_seconds=seconds,
            )
        return ScriptedReply(chunks=(bodies.get(name, b"{}"),))

    return answer


async def outcome_of(
    home: object, answer: Callable[[HttpRequest], ScriptedReply], previews: int = 0
) -> imagen.Outcome:
    transport = ScriptedTransport(answer)
    settings = imagen.load_settings({"IMAGEN_HOME": str(home), "COMFYUI_URL": "http://127.0.0.1:1"})
    async with (
        imagen.open_client(
            settings, transport=lambda access: transport, workers=InlineWorkers()
        ) as client,
        client.open_batch(
            [imagen.Generate(prompt="a cat", model="comfyui", previews=previews)]
        ) as batch,
    ):
        (outcome,) = [outcome async for outcome in batch]
        spending = await client.spending()
        assert spending.settled_usd == spending.unknown_usd == 0
    assert transport.open_replies == 0
    return outcome


@pytest.mark.parametrize("label", MUTATIONS)
async def test_no_message_of_the_socket_costs_the_image(label, tmp_path, autojump_clock):
    wrong: list[str] = []
    for number in range(max(1, EACH // len(MUTATIONS))):
        chance = random.Random(f"{label}/{number}")
        chunks = _as_chunks(MUTATIONS[label](job_events(), chance), chance)
        answer = server(chunks, seconds=chance.choice((0.0, 0.0, 3.0, 20.0)))
        home = tmp_path / f"home-{number // A_BATCH}"
        outcome = await outcome_of(home, answer, previews=chance.randrange(3))
        if not isinstance(outcome, imagen.Image) or outcome.data != PNG:
            wrong.append(f"number {number}: {outcome}")
    assert wrong == []


@pytest.mark.parametrize("label", HARMLESS)
async def test_a_reply_that_is_written_otherwise_is_read(label, tmp_path, autojump_clock):
    chance = random.Random(label)
    good = {"prompt": TAKEN.body, "history": past().body, "queue": queue().body}
    for name, body in good.items():
        changed = {name: HARMLESS[label](body, chance)}
        outcome = await outcome_of(tmp_path / "home", server((), changed=changed))
        assert isinstance(outcome, imagen.Image), f"{name}: {outcome}"


async def test_any_reply_ends_as_an_image_or_as_an_error_that_costs_nothing(
    tmp_path, autojump_clock
):
    good = {"prompt": TAKEN.body, "history": past().body, "queue": queue().body, "view": PNG}
    wrong: list[str] = []
    for number in range(EACH):
        chance = random.Random(number)
        name = chance.choice(REPLIES)
        label, mutate = chance.choice(list(HARMFUL.items()))
        label_of_socket, change = chance.choice(list(MUTATIONS.items()))
        chunks = _as_chunks(change(job_events(), chance), chance)
        answer = server(chunks, changed={name: mutate(good[name], chance)})
        home = tmp_path / f"home-{number // A_BATCH}"
        outcome = await outcome_of(home, answer)
        error = outcome.error if isinstance(outcome, imagen.Failure) else None
        # Bytes that are no image are kept, as the server drew something.
        is_kept = error is None or error.billed == "no" or "kept_at" in error.details
        if outcome.cost.usd != 0 or not is_kept:
            wrong.append(f"number {number}, {name} {label}, {label_of_socket}: {outcome}")
    assert wrong == []


async def test_a_reply_without_an_image_is_no_image(tmp_path, autojump_clock):
    """The properties above would pass if every outcome were an image."""
    for changed in ({"view": b"<html/>"}, {"history": past({}).body}, {"prompt": b"[]"}):
        outcome = await outcome_of(tmp_path / "home", server((), changed=changed))
        assert isinstance(outcome, imagen.Failure)
    assert msgspec.json.decode(TAKEN.body)["prompt_id"] == JOB
