"""Each tool and resource, through the SDK's client in memory."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import trio
from mcp import Client, MCPError
from mcp.types import CallToolResult

import imagen
import imagen_mcp._tools.sessions
import imagen_mcp.server
from imagen_mcp.server import make_server
from tests.support.mcp_client import (
    ERAS,
    MODEL,
    Painter,
    connect,
    open_shown,
    png,
    settings,
    shown,
    text_of,
)

BATCH_KEYS = {
    "session_id",
    "status",
    "requested_count",
    "completed_count",
    "pending_count",
    "image",
    "errors",
}
IMAGE_KEYS = {
    "index",
    "id",
    "uri",
    "path",
    "media_type",
    "width",
    "height",
    "size_bytes",
    "model",
    "cost_usd",
} | {
    "parent_id",
    "cached",
    "adjustments",
}
MODEL_KEYS = {
    "id",
    "name",
    "provider",
    "description",
    "capabilities",
    "rate_limit",
    "use_cases",
    "strengths",
    "weaknesses",
}
SMALL = {"prompt": "a lighthouse", "model": "sketch", "size": "128x128"}
PAID = {"prompt": "a lighthouse", "model": MODEL}


def check_shape(result: CallToolResult) -> None:
    """What holds for every result: bounded, and base64 in image blocks only."""
    assert len(result.model_dump_json()) < 1 << 20
    rest = result.model_copy(
        update={"content": [block for block in result.content if block.type != "image"]}
    )
    assert len(rest.model_dump_json()) < 8000
    for block in shown(result):
        assert len(block.data) <= 700_000


async def call(client: Client, tool: str, /, **arguments: object) -> CallToolResult:
    result = await client.call_tool(tool, arguments)
    check_shape(result)
    return result


def test_the_facade_uses_public_names_only() -> None:
    for path in Path(imagen_mcp.server.__file__).parent.glob("*.py"):
        assert re.findall(r"imagen\._|from imagen import", path.read_text("utf-8")) == []


async def kept_in(home: Path) -> Sequence[imagen.Image]:
    async with imagen.open_client(settings(home)) as client:
        return await client.library.list()


# --- what is listed -----------------------------------------------------------


@pytest.mark.parametrize("mode", ERAS)
async def test_every_tool_says_what_it_is(tmp_path: Path, mode: str) -> None:
    async with connect(tmp_path, mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert client.instructions is not None
        assert "Never call start_image_batch" in client.instructions
        assert "sketch" in client.instructions
    assert set(tools) == {
        "generate_image",
        "edit_image",
        "create_variations",
        "restyle_image",
        "start_image_batch",
        "get_next_image",
        "get_batch_status",
        "cancel_batch",
        "resume_batch",
        "estimate_cost",
        "find_models",
        "search_images",
        "show_image",
        "organize_images",
    }
    for tool in tools.values():
        assert tool.title
        assert tool.description
        assert tool.output_schema
        assert tool.annotations is not None
        assert all("description" in field for field in tool.input_schema["properties"].values())
    assert set(tools["start_image_batch"].input_schema["properties"]) == {
        *(
            "prompt",
            "model",
            "size",
            "quality",
            "style",
            "count",
            "timeout",
            "max_cost_usd",
            "confirm_cost",
        ),
        *("apply_styles", "values", "cache", "aspect_ratio", "resolution", "seed"),
        *("negative_prompt", "background", "output_format", "references", "new"),
    }
    assert set(tools["get_next_image"].input_schema["properties"]) == {
        "session_id",
        "after",
        "timeout",
        "full",
    }
    assert tools["get_next_image"].annotations is not None
    assert tools["get_next_image"].annotations.read_only_hint
    assert tools["get_next_image"].annotations.idempotent_hint
    assert set(tools["get_next_image"].output_schema["properties"]) == BATCH_KEYS


async def test_the_models_resource_lists_what_can_be_had(tmp_path: Path) -> None:
    async with connect(tmp_path) as client:
        (content,) = (await client.read_resource("models://image-generation")).contents
        listed = {resource.uri for resource in (await client.list_resources()).resources}
        templates = {
            item.uri_template
            for item in (await client.list_resource_templates()).resource_templates
        }
    assert listed == {
        "models://image-generation",
        *(f"imagen://{name}" for name in ("collections", "styles", "prompts")),
    }
    assert templates == {
        *(
            "imagen://images/{image_id}",
            "imagen://images/{image_id}/thumbnail",
            "imagen://collections/{+name}",
            "models://image-generation/{provider}",
        ),
    }
    assert content.mime_type == "application/json"
    models = {model["id"]: model for model in json.loads(content.text)}
    assert models["sketch"].keys() >= MODEL_KEYS
    assert models["sketch"]["available"]
    assert models[MODEL]["available"]
    assert models["sketch"]["capabilities"]["free_size"]["max_side"] == 4096
    nexos = [model for model in models.values() if model["provider"] == "nexos"]
    assert len(nexos) == 7
    assert all(
        set(model) == {"id", "name", "provider", "available", "operations"} for model in nexos
    )
    assert not any(model["available"] for model in nexos)
    # It is read into a conversation.
    assert len(content.text) < 50_000


# --- one image ----------------------------------------------------------------


@pytest.mark.parametrize("mode", ERAS)
async def test_one_image_comes_with_path_preview_and_link(tmp_path: Path, mode: str) -> None:
    async with connect(tmp_path, mode=mode) as client:
        result = await call(client, "generate_image", **SMALL)
        image = result.structured_content["image"]
        (content,) = (await client.read_resource(image["uri"])).contents
    assert not result.is_error
    assert result.structured_content.keys() == {"image"}
    assert image.keys() == IMAGE_KEYS
    assert (image["index"], image["width"], image["height"], image["model"]) == (
        0,
        128,
        128,
        "sketch",
    )
    assert image["cost_usd"] == "0"
    assert image["path"] in text_of(result)
    assert [block.type for block in result.content] == ["text", "image", "resource_link"]
    assert result.content[2].uri == image["uri"]
    whole = Path(image["path"]).read_bytes()
    assert base64.b64decode(content.blob) == whole
    assert content.mime_type == image["media_type"] == "image/png"
    assert open_shown(result).size == (128, 128)


async def test_a_preview_is_small_and_the_whole_image_is_a_resource(tmp_path: Path) -> None:
    large = png(1600, 1000)
    async with connect(tmp_path, Painter(image=lambda: large)) as client:
        result = await call(client, "generate_image", **PAID, full=True)
        (content,) = (
            await client.read_resource(result.structured_content["image"]["uri"])
        ).contents
    preview = open_shown(result)
    assert (preview.format, preview.size) == ("JPEG", (768, 480))
    assert "preview of at most 768 pixels" in text_of(result)
    assert "too large to be shown in full" in text_of(result)
    assert base64.b64decode(content.blob) == large


async def test_a_small_image_is_shown_in_full_on_request(tmp_path: Path) -> None:
    async with connect(tmp_path) as client:
        result = await call(client, "generate_image", **SMALL, full=True)
    (block,) = shown(result)
    assert (
        base64.b64decode(block.data)
        == Path(result.structured_content["image"]["path"]).read_bytes()
    )
    assert block.mime_type == "image/png"


async def test_transparency_is_shown_on_white(tmp_path: Path) -> None:
    clear = png(16, 16, noise=False, mode="RGBA")
    async with connect(tmp_path, Painter(image=lambda: clear)) as client:
        result = await call(client, "generate_image", **PAID)
    assert open_shown(result).getpixel((8, 8)) == (255, 255, 255)


async def test_an_image_that_cannot_be_decoded_is_delivered_without_a_preview(
    tmp_path: Path,
) -> None:
    whole = png(64, 64)
    broken = whole[:60] + bytes(20) + whole[80:]
    async with connect(tmp_path, Painter(image=lambda: broken)) as client:
        result = await call(client, "generate_image", **PAID)
    assert not result.is_error
    assert shown(result) == []
    assert "cannot be decoded" in text_of(result)
    assert Path(result.structured_content["image"]["path"]).read_bytes() == broken


@pytest.mark.parametrize("kind", ["WEBP", "JPEG", "GIF"])
async def test_an_image_keeps_its_media_type(tmp_path: Path, kind: str) -> None:
    async with connect(tmp_path, Painter(image=lambda: png(40, 30, kind=kind))) as client:
        result = await call(client, "generate_image", **PAID)
        image = result.structured_content["image"]
        (content,) = (await client.read_resource(image["uri"])).contents
    assert content.mime_type == image["media_type"] == f"image/{kind.lower()}"
    assert open_shown(result).size == (40, 30)
    assert "wording of the prompt: A tall lighthouse." in text_of(result)


async def test_links_can_be_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEN_MCP_LINKS", "0")
    async with connect(tmp_path) as client:
        result = await call(client, "generate_image", **SMALL)
    assert [block.type for block in result.content] == ["text", "image"]


async def test_without_a_file_the_answer_holds_the_image(tmp_path: Path) -> None:
    open_client = partial(imagen.open_client, library=None)
    async with Client(make_server(settings(tmp_path), open_client=open_client)) as client:
        result = await call(client, "generate_image", **SMALL)
    image = result.structured_content["image"]
    assert image["path"] is None
    assert image["uri"] is None
    (block,) = shown(result)
    assert len(base64.b64decode(block.data)) == image["size_bytes"]


async def test_a_wait_that_is_over_leaves_an_image_that_can_be_pulled(tmp_path: Path) -> None:
    painter = Painter(gated=True)
    async with connect(tmp_path, painter) as client:
        result = await call(client, "generate_image", **PAID, timeout=1)
        assert result.is_error
        assert text_of(result).startswith("[TIMEOUT] ")
        assert "library" in text_of(result)
        session_id = text_of(result).partition('session_id="')[2].partition('"')[0]
        painter.answer()
        pulled = await call(client, "get_next_image", session_id=session_id)
    assert pulled.structured_content["image"]["index"] == 0
    assert pulled.structured_content["requested_count"] == 1
    assert painter.requests == 1


async def test_dropped_parameters_and_retirement_are_told(tmp_path: Path) -> None:
    models = {MODEL: {"lifecycle": {"retires_on": "2099-01-01", "successor": "sketch"}}}
    async with connect(tmp_path, Painter(), models=models) as client:
        with pytest.warns(
            imagen.providers.ModelRetiringWarning
        ):  # from the batch's own task, where it is not caught
            result = await call(client, "generate_image", **PAID, style="vivid")
    assert "style 'vivid' was left out" in text_of(result)
    assert "will be retired on 2099-01-01" in text_of(result)


# --- errors -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "arguments", "begins"),
    [
        ("generate_image", {"prompt": "  "}, "[INVALID_PROMPT] The prompt is empty"),
        (
            "start_image_batch",
            {"prompt": "", "model": "sketch"},
            "[INVALID_PROMPT] The prompt is empty",
        ),
        ("generate_image", {"prompt": "x", "model": "sketsh"}, "[MODEL_NOT_FOUND] "),
        (
            "generate_image",
            {"prompt": "x", "model": "sketch", "size": "9by9"},
            "[INVALID_REQUEST] ",
        ),
        (
            "generate_image",
            {"prompt": "x", "model": "sketch", "style": "no such"},
            "[INVALID_REQUEST] ",
        ),
        ("get_next_image", {"session_id": "none"}, "[SESSION] There is no session 'none'"),
        ("get_batch_status", {"session_id": "none"}, "[SESSION] There is no session 'none'"),
        ("cancel_batch", {"session_id": "none"}, "[SESSION] There is no session 'none'"),
        (
            "start_image_batch",
            {"prompt": "x", "count": 1},
            "[INVALID_REQUEST] count: Input should be greater",
        ),
        (
            "start_image_batch",
            {"prompt": "x", "count": 11},
            "[INVALID_REQUEST] count: Input should be less",
        ),
    ],
)
async def test_what_is_wrong_is_said_in_a_sentence(
    tmp_path: Path, tool: str, arguments: dict[str, object], begins: str
) -> None:
    async with connect(tmp_path) as client:
        result = await call(client, tool, **arguments)
    assert result.is_error
    assert text_of(result).startswith(begins)


async def test_a_missing_key_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    server = make_server(imagen.load_settings({"IMAGEN_HOME": str(tmp_path)}))
    async with Client(server) as client:
        result = await call(client, "start_image_batch", **PAID)
    assert result.is_error
    assert text_of(result).startswith("[CONFIGURATION] openai needs a key: set OPENAI_API_KEY")


async def test_a_refusal_is_a_tool_error(tmp_path: Path) -> None:
    painter = Painter(refused={0: (400, "moderation_blocked", "Not this.")})
    async with connect(tmp_path, painter) as client:
        result = await call(client, "generate_image", **PAID)
    assert result.is_error
    assert text_of(result).startswith("[CONTENT_FILTER] ")


async def test_a_rate_limit_says_when_to_come_back(tmp_path: Path) -> None:
    async with connect(
        tmp_path, Painter(refused={0: (429, "rate_limit_exceeded", "Slowly.")})
    ) as client:
        result = await call(client, "generate_image", **PAID)
    assert text_of(result).startswith("[RATE_LIMIT] ")
    assert text_of(result).endswith("Wait 500 seconds before trying again.")


async def test_a_bug_is_logged_and_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(imagen_mcp._tools.sessions, "image_reply", stumble)
    async with connect(tmp_path) as client:
        result = await call(client, "generate_image", **SMALL)
    assert result.is_error
    assert text_of(result) == "Error executing tool generate_image"
    assert "ZeroDivisionError: a bug" in caplog.text


async def test_empty_text_stands_for_a_parameter_left_out(tmp_path: Path) -> None:
    async with connect(tmp_path, default_model="sketch") as client:
        result = await call(
            client, "generate_image", prompt="x", model="", size="128x128", quality="", style=""
        )
    assert not result.is_error


async def test_an_expired_session_is_a_tool_error(tmp_path: Path) -> None:
    async with connect(tmp_path, session_ttl_seconds=0.2) as client:
        result = await call(client, "start_image_batch", **SMALL, count=2)
        session_id = result.structured_content["session_id"]
        while not result.is_error:
            await trio.sleep(0.25)
            result = await call(client, "get_batch_status", session_id=session_id)
    assert text_of(result).startswith(f"[SESSION] The session {session_id} has expired")


async def test_too_many_batches_are_refused(tmp_path: Path) -> None:
    painter = Painter(gated=True)
    async with connect(tmp_path, painter, max_concurrent_sessions=1) as client:
        await call(client, "start_image_batch", **PAID, count=2, timeout=0)
        result = await call(client, "start_image_batch", **PAID, count=2, timeout=0, new=True)
        painter.answer(2)
    assert text_of(result).startswith("[SESSION] ")


async def test_an_unknown_image_is_an_error(tmp_path: Path) -> None:
    async with connect(tmp_path) as client:
        with pytest.raises(MCPError, match="no image 'ffff'"):
            await client.read_resource("imagen://images/ffff")


async def test_an_image_whose_file_is_gone_is_an_error(tmp_path: Path) -> None:
    async with connect(tmp_path) as client:
        image = (await call(client, "generate_image", **SMALL)).structured_content["image"]
        Path(image["path"]).unlink()
        with pytest.raises(MCPError, match="STORAGE_ERROR"):
            await client.read_resource(image["uri"])


async def test_a_lost_file_leaves_the_facts_of_an_image(tmp_path: Path) -> None:
    async with connect(tmp_path) as client:
        first = (await call(client, "start_image_batch", **SMALL, count=2)).structured_content
        Path(first["image"]["path"]).unlink()
        again = await call(client, "get_next_image", session_id=first["session_id"], full=True)
    assert not again.is_error
    assert again.structured_content["image"] == first["image"]
    assert "[STORAGE_ERROR]" in text_of(again)


# --- batches ------------------------------------------------------------------


@pytest.mark.parametrize("mode", ERAS)
async def test_a_batch_is_pulled_to_its_end(tmp_path: Path, mode: str) -> None:
    async with connect(tmp_path, mode=mode) as client:
        result = await call(client, "start_image_batch", **SMALL, count=4)
        batch = result.structured_content
        assert batch.keys() == BATCH_KEYS
        assert batch["image"].keys() == IMAGE_KEYS
        assert batch["requested_count"] == 4
        session_id, pulled = batch["session_id"], [batch["image"]]
        while True:
            result = await call(
                client, "get_next_image", session_id=session_id, after=pulled[-1]["index"]
            )
            batch = result.structured_content
            if batch["image"] is None:
                break
            pulled.append(batch["image"])
        status = await call(client, "get_batch_status", session_id=session_id)
    assert [image["index"] for image in pulled] == [0, 1, 2, 3]
    assert len({image["id"] for image in pulled}) == 4
    assert (batch["status"], batch["completed_count"], batch["pending_count"]) == (
        "completed",
        4,
        0,
    )
    assert "The batch is over" in text_of(result)
    assert status.structured_content == batch
    assert "can be pulled: 0, 1, 2, 3" in text_of(status)


async def test_a_pull_can_be_repeated(tmp_path: Path) -> None:
    async with connect(tmp_path) as client:
        first = (await call(client, "start_image_batch", **SMALL, count=3)).structured_content
        pull = partial(call, client, "get_next_image", session_id=first["session_id"])
        assert (await pull()).structured_content["image"] == first["image"]
        second = (await pull(after=0)).structured_content["image"]
        assert second["index"] == 1
        assert (await pull(after=0, full=True)).structured_content["image"] == second


async def test_a_wait_in_vain_says_how_to_go_on(tmp_path: Path) -> None:
    painter = Painter(gated=True)
    async with connect(tmp_path, painter) as client:
        result = await call(client, "start_image_batch", **PAID, count=2, timeout=0)
        batch = result.structured_content
        assert batch["image"] is None
        assert batch["pending_count"] == 2
        assert "Nothing new yet" in text_of(result)
        painter.answer()
        pull = partial(call, client, "get_next_image", session_id=batch["session_id"])
        assert (await pull()).structured_content["image"]["index"] == 0
        result = await pull(after=0, timeout=0.05)
        assert result.structured_content["image"] is None
        assert result.structured_content["status"] == "generating"
        assert f'get_next_image(session_id="{batch["session_id"]}", after=0) again' in text_of(
            result
        )
        painter.answer()
        assert (await pull(after=0)).structured_content["image"]["index"] == 1


async def test_waiting_reports_progress_that_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagen_mcp._tools.sessions, "HEARTBEAT_SECONDS", 0.01)
    painter = Painter(gated=True)
    beats: list[tuple[float, float | None, str | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        beats.append((progress, total, message))
        if len(beats) in (5, 10):
            painter.answer()

    async with connect(tmp_path, painter, mode="legacy") as client:
        arguments = {**PAID, "count": 2}
        result = await client.call_tool(
            "start_image_batch", arguments, progress_callback=on_progress
        )
        session_id = result.structured_content["session_id"]
        count = len(beats)
        await client.call_tool(
            "get_next_image", {"session_id": session_id, "after": 0}, progress_callback=on_progress
        )
    assert count >= 5
    for run in (beats[:count], beats[count:]):
        values = [progress for progress, _, _ in run]
        assert values == sorted(set(values))
        assert all(value < 2 for value in values)
    assert beats[0][1:] == (2, "0 of 2 images")
    assert beats[-1][1:] == (2, "1 of 2 images")


async def test_failures_stand_beside_the_images(tmp_path: Path) -> None:
    painter = Painter(
        refused={1: (400, "moderation_blocked", "Not this.")}, pause=lambda number: number / 20
    )
    async with connect(tmp_path, painter) as client:
        batch = (await call(client, "start_image_batch", **PAID, count=3)).structured_content
        pull = partial(call, client, "get_next_image", session_id=batch["session_id"])
        result = await pull(after=0)
        last = await pull(after=2)
    assert result.structured_content["image"]["index"] == 2
    assert last.structured_content["status"] == "completed"
    assert last.structured_content["completed_count"] == 2
    (error,) = last.structured_content["errors"]
    assert error.keys() == {"index", "code", "message", "retryable"}
    assert (error["index"], error["code"], error["retryable"]) == (1, "CONTENT_FILTER", False)
    assert "Failed, image 1: [CONTENT_FILTER]" in text_of(last)


async def test_a_batch_that_made_nothing_is_an_answer_and_no_error(tmp_path: Path) -> None:
    refusal = (400, "moderation_blocked", "x" * 5000)
    painter = Painter(refused=dict.fromkeys(range(10), refusal))
    async with connect(tmp_path, painter) as client:
        result = await call(client, "start_image_batch", **PAID, count=10)
    assert not result.is_error
    batch = result.structured_content
    assert (batch["status"], batch["image"], batch["pending_count"]) == ("failed", None, 0)
    assert [error["index"] for error in batch["errors"]] == list(range(10))
    assert "no image was made" in text_of(result)


async def test_cancelling_keeps_what_is_there_and_sends_no_more(tmp_path: Path) -> None:
    painter = Painter(gated=True)
    async with connect(tmp_path, painter) as client:
        started = await call(client, "start_image_batch", **PAID, count=10, timeout=0)
        session_id = started.structured_content["session_id"]
        painter.answer()
        first = (await call(client, "get_next_image", session_id=session_id)).structured_content[
            "image"
        ]
        await painter.wait_asked(5)
        for _ in range(2):
            cancelled = (
                await call(client, "cancel_batch", session_id=session_id)
            ).structured_content
            assert (cancelled["status"], cancelled["pending_count"]) == ("cancelled", 0)
        again = (await call(client, "get_next_image", session_id=session_id)).structured_content
        assert again["image"] == first
        end = await call(client, "get_next_image", session_id=session_id, after=0)
        assert end.structured_content["image"] is None
        assert "The batch is over" in text_of(end)
        painter.answer(10)
    assert painter.requests == 5


@pytest.mark.parametrize("mode", ERAS)
async def test_an_unanswered_start_stops_spending_and_keeps_the_paid(
    tmp_path: Path, mode: str
) -> None:
    painter = Painter(gated=True)
    async with connect(tmp_path, painter, mode=mode) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.call_tool, "start_image_batch", {**PAID, "count": 10})
            await painter.wait_asked(4)
            nursery.cancel_scope.cancel()
        # The server hears of it before it reads the next request.
        await call(client, "get_batch_status", session_id="none")
        painter.answer(10)
    assert painter.requests == 4
    assert len(await kept_in(tmp_path)) == 4
