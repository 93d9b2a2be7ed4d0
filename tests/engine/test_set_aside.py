"""Replies that cannot be read: kept whole, named, and read again."""

from __future__ import annotations

import base64
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import trio

import imagen
from imagen.testing import InlineWorkers, ScriptedReply, ScriptedTransport
from tests.support.images import PNG
from tests.support.scripted_client import PRICE, images_reply, make_settings, virtual_time

JSON = {"content-type": "application/json"}
TEXT = base64.b64encode(PNG).decode()
# A form that no reader knows: each letter for itself.
UNKNOWN = msgspec.json.encode({"glyphs": list(TEXT), "echo": "sk-test-secret"})


def client_at(home: Path, *replies: ScriptedReply, **more: object):
    transport = ScriptedTransport(replies)
    return imagen.open_client(
        make_settings(home),
        transport=lambda access: transport,
        workers=InlineWorkers(),
        clock=virtual_time,
        **more,
    )


async def test_a_reply_of_unknown_form_is_kept_whole_without_the_key(autojump_clock, tmp_path):
    async with client_at(tmp_path, ScriptedReply(headers=JSON, chunks=(UNKNOWN,))) as client:
        with pytest.raises(imagen.ProviderError, match="kept at") as caught:
            await client.generate("a cat")
        (row,) = await client.unknown_attempts()
    folder = Path(caught.value.details["kept_at"])
    assert str(folder) in str(caught.value)
    assert row.error_message is not None
    assert str(folder) in row.error_message
    assert (folder / "reply-1.bin").read_bytes() == UNKNOWN.replace(b"sk-test-secret", b"[hidden]")
    (entry,) = msgspec.json.decode((folder / "replies.json").read_bytes())
    assert (entry["method"], entry["status"], entry["file"]) == ("POST", 200, "reply-1.bin")


@pytest.mark.parametrize("chunks", [(b'{"data": [{"b64_', b'json": "iVBO')], ids=["cut"])
async def test_what_came_before_the_connection_broke_is_kept(autojump_clock, tmp_path, chunks):
    reply = ScriptedReply(headers=JSON, chunks=chunks, fault="cut")
    async with client_at(tmp_path, reply) as client:
        with pytest.raises(imagen.OutcomeUnknownError) as caught:
            await client.generate("a cat")
    kept = Path(caught.value.details["kept_at"]) / "reply-1.bin"
    assert kept.read_bytes() == b"".join(chunks)


async def test_what_came_before_the_salvage_ended_is_kept(autojump_clock, tmp_path):
    reply = ScriptedReply(headers=JSON, chunks=(b'{"data": [', b" ") * 99, chunk_seconds=100)
    events: list[imagen.Event] = []
    async with client_at(tmp_path, reply, on_event=events.append) as client:
        with trio.move_on_after(150):
            await client.generate("a cat")
    async with client_at(tmp_path) as client:
        (row,) = await client.unknown_attempts()
    (kept,) = (tmp_path / "set-aside").glob("*/reply-1.bin")
    assert kept.read_bytes().startswith(b'{"data": [')
    assert row.id == kept.parent.name
    (ended,) = [event for event in events if isinstance(event, imagen.AttemptEnded)]
    (outcome,) = ended.outcomes
    assert isinstance(outcome, imagen.Failure)
    assert outcome.error.billed == "unknown"


async def test_an_image_whose_end_is_missing_is_set_aside_and_billed(autojump_clock, tmp_path):
    async with client_at(tmp_path, images_reply(data=PNG[:-8])) as client:
        with pytest.raises(imagen.ProviderError, match="end is missing") as caught:
            await client.generate("a cat")
        assert (await client.spending()).settled_usd == PRICE
    assert caught.value.billed == "yes"
    assert Path(caught.value.details["kept_at"]).read_bytes() == PNG[:-8]


async def test_without_a_library_it_is_kept_too(autojump_clock, tmp_path):
    async with client_at(tmp_path, images_reply(data=b"<html>"), library=None) as client:
        with pytest.raises(imagen.ProviderError, match="kept at") as caught:
            await client.generate("a cat")
    assert Path(caught.value.details["kept_at"]).read_bytes() == b"<html>"


async def test_the_link_of_an_image_that_cannot_be_fetched_is_named(autojump_clock, tmp_path):
    link = "https://files.example/1.png?signature=abc"
    order = ScriptedReply(headers=JSON, chunks=(msgspec.json.encode({"data": [{"url": link}]}),))
    async with client_at(tmp_path, order, *[ScriptedReply(status=410)] * 3) as client:
        with pytest.raises(imagen.ProviderError) as caught:
            await client.generate("a cat")
    assert caught.value.details["link"] == link
    assert link.encode() in (Path(caught.value.details["kept_at"]) / "reply-1.bin").read_bytes()


async def test_one_lost_image_of_two_keeps_the_reply(autojump_clock, tmp_path):
    items = [{"b64_json": TEXT}, {"b64_json": "*"}]
    order = ScriptedReply(headers=JSON, chunks=(msgspec.json.encode({"data": items}),))
    async with client_at(tmp_path, order) as client:
        async with client.open_batch("a cat", n=2, together=True) as batch:
            outcomes = [outcome async for outcome in batch]
    image, failure = sorted(outcomes, key=lambda outcome: isinstance(outcome, imagen.Failure))
    assert isinstance(image, imagen.Image)
    assert isinstance(failure, imagen.Failure)
    assert (Path(failure.error.details["kept_at"]) / "reply-1.bin").is_file()


@pytest.mark.parametrize(
    "reply",
    [
        ScriptedReply(status=400, chunks=(b'{"error": {"message": "no"}}',)),
        ScriptedReply(status=500, chunks=(b'{"error": {"message": "oops"}}',)),
        ScriptedReply(chunks=(b'{"error": {"message": "refused by policy"}}',)),
        ScriptedReply(fault="lost"),
    ],
    ids=["refused", "outage", "error in a success", "no reply"],
)
async def test_a_refusal_and_an_empty_reply_leave_nothing(autojump_clock, tmp_path, reply):
    async with client_at(tmp_path, reply) as client:
        with pytest.raises(imagen.ImagenError) as caught:
            await client.generate("a cat")
    assert "kept_at" not in caught.value.details
    assert not (tmp_path / "set-aside").exists()


async def test_collect_reads_it_again_and_orders_nothing(autojump_clock, tmp_path):
    async with client_at(tmp_path, ScriptedReply(headers=JSON, chunks=(UNKNOWN,))) as client:
        with pytest.raises(imagen.ProviderError) as caught:
            await client.generate("a cat", tag="t")
        assert await client.collect() == 0
        assert len(await client.unknown_attempts()) == 1
    folder = Path(caught.value.details["kept_at"])
    # As if an update of imagen had learned the form.
    (folder / "reply-1.bin").write_bytes(msgspec.json.encode({"data": [{"b64_json": TEXT}]}))
    async with client_at(tmp_path) as client:
        assert await client.collect() == 1
        (image,) = await client.library.list()
        spending = await client.spending()
        assert await client.unknown_attempts() == []
        assert await client.collect() == 0
    assert image.data == PNG
    assert image.request.prompt == "a cat"
    assert (spending.settled_usd, spending.unknown_usd) == (PRICE, Decimal(0))
    assert not folder.exists()


async def test_far_more_images_than_were_ordered_are_cut_off(autojump_clock, tmp_path):
    items = [{"b64_json": TEXT}] * 400
    order = ScriptedReply(headers=JSON, chunks=(msgspec.json.encode({"data": items}),))
    async with client_at(tmp_path, order) as client:
        await client.generate("a cat")
        assert len(await client.library.list(limit=500)) <= 16
    (kept,) = (tmp_path / "set-aside").glob("*/reply-1.bin")
    assert kept.stat().st_size > 400 * len(TEXT)


async def test_a_reply_of_a_million_empty_items_ends_in_bounded_memory(autojump_clock, tmp_path):
    body = b'{"data": [' + b"{}," * 1_000_000 + b"{}]}"
    async with client_at(tmp_path, ScriptedReply(headers=JSON, chunks=(body,))) as client:
        with trio.fail_after(60), pytest.raises(imagen.ProviderError) as caught:
            await client.generate("a cat")
    assert (Path(caught.value.details["kept_at"]) / "reply-1.bin").stat().st_size == len(body)
