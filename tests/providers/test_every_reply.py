"""Whatever a paid reply looks like, it ends as an image, as a refusal, or set
aside: of every provider, with replies that were mutated.

`IMAGEN_LONG=1` runs 200,000 of them.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import msgspec
import pytest
import trio

import imagen
from imagen.metadata._whole_image import cut_out_image
from imagen.testing import InlineWorkers, ScriptedReply
from tests.engine.test_fault_matrix import REQUESTS
from tests.support.lengths import length
from tests.support.mutations import HARMFUL, HARMLESS
from tests.support.recorded_exchange import Recording, record

# ComfyUI announces its images on a socket, which a recording has not: its
# messages are mutated in `comfyui/test_every_reply.py`.
ASKED = {
    **{name: request for name, request in REQUESTS.items() if name != "comfyui"},
    "recraft-v4.1-vector": imagen.Generate(prompt="x", model="recraft-v4.1-vector"),
}
NAMES = list(ASKED)
FREE = {"localai", "vllm-omni", "sglang", "sd-server", "automatic1111"}
TOTAL = 200_000 if os.environ.get("IMAGEN_LONG") else length(2_000, short=400)
BILLED = [name for name in NAMES if name not in FREE]
EACH = TOTAL // len(BILLED)
A_BATCH = 50

pytestmark = pytest.mark.filterwarnings("ignore::imagen.providers.ModelRetiringWarning")


_recordings: dict[str, Recording] = {}


@pytest.fixture
def recording(name: str, tmp_path: Path) -> Recording:
    """The exchange of that name, recorded once, in real time."""
    if name not in _recordings:
        _recordings[name] = trio.run(record, tmp_path / "recorded", ASKED[name])
    return _recordings[name]


def paid_steps(recording: Recording) -> list[int]:
    """The replies that come once the image is ordered."""
    ordered = [
        number for number, (request, _) in enumerate(recording.steps) if not request.repeatable
    ]
    return list(range(ordered[0], len(recording.steps)))


async def outcome_of(
    recording: Recording, home: Path, step: int, body: bytes
) -> tuple[imagen.Outcome, str]:
    """The outcome of the request where the reply of one step has that body, and
    what the ledger says of it.
    """
    _, good = recording.steps[step]
    changed = msgspec.structs.replace(good, chunks=(body,))
    transport = recording.play(step, changed)
    settings = msgspec.structs.replace(recording.settings, home=home)
    async with (
        imagen.open_client(
            settings,
            transport=lambda access: transport,
            workers=InlineWorkers(),
            clock=trio.current_time,
        ) as client,
        client.open_batch([recording.request]) as batch,
    ):
        (outcome,) = [outcome async for outcome in batch]
        rows = await client.unknown_attempts()
    return outcome, rows[0].remote_id or "" if rows else ""


def whats_wrong(outcome: imagen.Outcome, job: str, reply: ScriptedReply, body: bytes) -> str | None:
    if isinstance(outcome, imagen.Image):
        cut_out_image(outcome.data)
        return None
    error = outcome.error
    if place := error.details.get("kept_at"):
        kept = Path(place)
        files = list(kept.iterdir()) if kept.is_dir() else [kept]
        return None if any(file.stat().st_size for file in files) else f"nothing is at {place}"
    refused = error.billed == "no" or isinstance(error, imagen.ContentFilterError)
    if refused and not holds_image(reply, body):
        return None
    if job or not body.strip():
        return None
    return f"{type(error).__name__}, billed {error.billed}: {error.message}"


def holds_image(reply: ScriptedReply, body: bytes) -> bool:
    """Whether the whole text of the image is still in the reply."""
    text = max(reply.chunks[0].split(b'"'), key=len)
    return len(text) > 200 and text in body


@pytest.mark.parametrize("name", NAMES)
async def test_a_reply_that_is_written_otherwise_is_read(
    name: str,
    recording: Recording,
    tmp_path: Path,
    autojump_clock: object,
):
    wrong: list[str] = []
    for number, (label, mutate) in enumerate(HARMLESS.items()):
        for step in paid_steps(recording):
            (body,) = recording.steps[step][1].chunks
            changed = mutate(body, random.Random(number))
            if changed == body:
                continue
            outcome, _ = await outcome_of(recording, tmp_path / "home", step, changed)
            if not isinstance(outcome, imagen.Image):
                wrong.append(f"{label}, step {step}: {outcome.error}")
    assert wrong == []


@pytest.mark.parametrize("name", BILLED)
async def test_no_paid_reply_is_dropped(
    name: str,
    recording: Recording,
    tmp_path: Path,
    autojump_clock: object,
):
    mutations = [*HARMFUL.items(), *HARMLESS.items()]
    steps = paid_steps(recording)
    wrong: list[str] = []
    for number in range(EACH):
        chance = random.Random(f"{name}/{number}")
        step, (label, mutate) = chance.choice(steps), chance.choice(mutations)
        reply = recording.steps[step][1]
        body = mutate(reply.chunks[0], chance) if reply.chunks[0] else chance.randbytes(20)
        home = tmp_path / f"home-{number // A_BATCH}"
        outcome, job = await outcome_of(recording, home, step, body)
        if problem := whats_wrong(outcome, job, reply, body):
            wrong.append(f"number {number}, {label}, step {step}: {problem}")
    assert wrong == []
