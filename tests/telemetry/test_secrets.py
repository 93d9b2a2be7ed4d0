"""What no trace, metric or log may hold unless it is asked for."""

from __future__ import annotations

import base64
from contextlib import suppress

import pytest
import trio

import imagen
from imagen.testing import ScriptedReply
from tests.support.scripted_client import error_reply, images_reply, open_test_client
from tests.support.telemetry import Watch

PROMPT = "PLANTED-PROMPT of a fox"
NEGATIVE = "PLANTED-NEGATIVE"
KEY = "sk-test-secret"
SIGNED = "https://files.example/x.png?X-Amz-Signature=PLANTED-SIGNATURE"
DATA = "data:image/png;base64,PLANTEDBASE64PLANTEDBASE64PLANTEDBASE64"
BLOB = base64.b64encode(bytes(range(90))).decode()
TEXT = f"Refused: {PROMPT!r} and {SIGNED} and {DATA} and {BLOB} with {KEY}."
REPLIES: tuple[ScriptedReply, ...] = (
    images_reply(),
    error_reply(400, {"error": {"message": TEXT, "code": "moderation_blocked"}}),
    error_reply(401, {"error": {"message": TEXT}}),
    error_reply(429, {"error": {"message": TEXT}}),
    error_reply(500, {"error": {"message": TEXT}}),
    ScriptedReply(chunks=(TEXT.encode(),)),
)


async def run_all(watch: Watch) -> str:
    """Return everything that was written."""
    replies = list(REPLIES)
    async with open_test_client(
        lambda request: replies.pop(0) if replies else images_reply(), on_event=watch.handlers
    ) as (client, _):
        for _ in range(len(REPLIES)):
            with suppress(imagen.ImagenError):
                await client.generate(PROMPT, negative_prompt=NEGATIVE)
        session = client.start_session(PROMPT)
        with trio.move_on_after(60):
            await session.wait_finished()
        await client.generate(PROMPT, cache=True)
    assert len(watch.spans) > len(REPLIES)
    spans = "".join(span.to_json() for span in watch.spans)
    return spans + watch.prometheus.render()[0].decode() + watch.text.getvalue()


async def test_nothing_planted_is_written(autojump_clock, watch):
    text = await run_all(watch)
    for secret in ("PLANTED", KEY, BLOB[:40], SIGNED, "iVBOR"):
        assert secret not in text, secret


async def test_prompts_are_written_where_they_are_asked_for_and_nothing_else(autojump_clock):
    watch = Watch(prompts=True)
    await run_all(watch)
    spans = "".join(span.to_json() for span in watch.spans)
    lines = watch.text.getvalue()
    assert PROMPT in spans
    assert PROMPT in lines
    assert any("Refused" in str(line.get("message")) for line in watch.lines)
    for secret in (KEY, "PLANTED-SIGNATURE", "PLANTEDBASE64", BLOB[:40]):
        assert secret not in spans + lines, secret


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("see https://a.example/b?sig=1, then", "see [URL] then"),
        ("wss://h/x?token=1", "[URL]"),
        ("data:image/png;base64,AAAA", "[URL]"),
        ("DATA:,x", "[URL]"),
        (f"got {BLOB}", "got [data]"),
        ("a word, an id 0123456789abcdef", "a word, an id 0123456789abcdef"),
    ],
)
def test_urls_and_bytes_are_blotted_out(text, left):
    from imagen.telemetry.logs import _scrub

    assert _scrub(text) == left
