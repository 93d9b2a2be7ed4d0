"""Tasks: a batch seen from the other side, for clients that declare them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import trio

from tests.support.mcp_process import SERVER, process, read_url

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

VERSION = "2026-07-28"
TASKS = "io.modelcontextprotocol/tasks"
SKETCH = {"prompt": "a boat", "model": "sketch", "size": "64x64"}


class Caller:
    """Speaks the protocol of 2026 by hand, with or without tasks declared."""

    def __init__(self, http: httpx2.AsyncClient, url: str) -> None:
        self._http, self._url = http, url

    async def ask(
        self, method: str, params: dict[str, object], name: str, *, tasks: bool = True
    ) -> dict[str, object]:
        meta = {
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientCapabilities": (
                {"extensions": {TASKS: {}}} if tasks else {}
            ),
        }
        headers = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": VERSION,
            "mcp-method": method,
            "mcp-name": name,
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
        reply = (await self._http.post(self._url, json=body, headers=headers)).json()
        return reply.get("result") or {"error": reply["error"]}

    async def call(
        self, tool: str, arguments: dict[str, object], *, tasks: bool = True
    ) -> dict[str, object]:
        params = {"name": tool, "arguments": arguments}
        return await self.ask("tools/call", params, tool, tasks=tasks)

    async def task(self, method: str, task_id: str, **options: bool) -> dict[str, object]:
        return await self.ask(f"tasks/{method}", {"taskId": task_id}, task_id, **options)

    async def answer(self, task_id: str, *keys: str) -> dict[str, object]:
        answers = {key: {"action": "accept", "content": {"name": "Ada"}} for key in keys}
        params = {"taskId": task_id, "inputResponses": answers}
        return await self.ask("tasks/update", params, task_id)

    async def wait(self, task_id: str) -> dict[str, object]:
        """The task when it is over."""
        while (found := await self.task("get", task_id))["status"] == "working":
            await trio.sleep(0.1)
        return found


@asynccontextmanager
async def open_caller(home: Path) -> AsyncIterator[Caller]:
    with trio.fail_after(30):
        async with process(home, [*SERVER, "--http", "127.0.0.1:0"]) as child:
            url = await read_url(child)
            async with httpx2.AsyncClient(timeout=20) as http:
                yield Caller(http, url)


async def test_a_call_is_a_task_whose_id_is_the_batch(tmp_path: Path) -> None:
    async with open_caller(tmp_path) as caller:
        begun = await caller.call("start_image_batch", {**SKETCH, "count": 3})
        task_id = str(begun["taskId"])
        over = await caller.wait(task_id)
        asked = {"session_id": task_id}
        batch = (await caller.call("get_batch_status", asked))["structuredContent"]
    assert (begun["resultType"], begun["status"]) == ("task", "working")
    assert begun["pollIntervalMs"] == 1000
    assert over["status"] == "completed"
    result = over["result"]
    assert result["structuredContent"]["completed_count"] == batch["completed_count"] == 3
    assert [block["type"] for block in result["content"]] == ["text", "image", "resource_link"]


async def test_one_image_is_the_result_of_its_task(tmp_path: Path) -> None:
    async with open_caller(tmp_path) as caller:
        begun = await caller.call("generate_image", SKETCH)
        over = await caller.wait(str(begun["taskId"]))
    image = over["result"]["structuredContent"]["image"]
    assert image["width"] == 64
    assert over["statusMessage"] == "1 of 1 images"


async def test_without_tasks_declared_everything_is_as_before(tmp_path: Path) -> None:
    async with open_caller(tmp_path) as caller:
        result = await caller.call("generate_image", SKETCH, tasks=False)
        refused = await caller.task("get", "0123456789abcdef", tasks=False)
    assert result["resultType"] == "complete"
    assert result["structuredContent"]["image"]["width"] == 64
    assert refused["error"]["code"] == -32021


async def test_what_is_no_task_or_cannot_be_one_is_told(tmp_path: Path) -> None:
    async with open_caller(tmp_path) as caller:
        unknown = await caller.task("get", "0123456789abcdef")
        wrong = await caller.call("generate_image", {**SKETCH, "model": "nothing"})
        odd = await caller.call("generate_image", {**SKETCH, "n": 2})
        reading = await caller.call("search_images", {})
        begun = await caller.call("generate_image", SKETCH)
        task_id = str(begun["taskId"])
        mismatch = await caller.ask("tasks/get", {"taskId": task_id}, "another")
        updated = await caller.task("update", task_id)
    assert unknown["error"]["code"] == -32602
    assert wrong["isError"]
    assert odd["isError"]
    assert reading["structuredContent"]["images"] == []
    assert mismatch["error"]["code"] == -32020
    assert updated["resultType"] == "complete"


async def test_a_task_is_cancelled_with_its_batch(tmp_path: Path) -> None:
    async with open_caller(tmp_path) as caller:
        large = {"prompt": "a boat", "model": "sketch", "size": "2048x2048", "count": 10}
        begun = await caller.call("start_image_batch", large)
        task_id = str(begun["taskId"])
        await caller.task("cancel", task_id)
        over = await caller.wait(task_id)
        listed = (await caller.call("get_batch_status", {}))["structuredContent"]["batches"]
    assert over["status"] == "cancelled"
    assert [(row["session_id"], row["status"]) for row in listed] == [(task_id, "cancelled")]


async def test_a_task_asks_and_fails(tmp_path: Path) -> None:
    # imagen's own tools ask before their task; a program may add others.
    with trio.fail_after(30):
        async with process(tmp_path, ["-m", "tests.support.conformance", "0"]) as child:
            assert child.stdout is not None
            url = (await child.stdout.receive_some()).decode().strip()
            async with httpx2.AsyncClient(timeout=20) as http:
                caller = Caller(http, url)
                task_id = str((await caller.call("multi_input", {}))["taskId"])
                asked = await caller.task("get", task_id)
                first, second = asked["inputRequests"]
                await caller.answer(task_id, first, "another")
                waiting = await caller.task("get", task_id)
                await caller.answer(task_id, second)
                over = await caller.task("get", task_id)
                broken = await caller.call("protocol_error_job", {})
                failed = await caller.task("get", str(broken["taskId"]))
    assert asked["status"] == waiting["status"] == "input_required"
    assert asked["inputRequests"][first]["method"] == "elicitation/create"
    assert list(waiting["inputRequests"]) == [second]
    assert (over["status"], "inputRequests" in over) == ("completed", False)
    assert failed["status"] == "failed"
    assert failed["error"] == {"code": -32603, "message": "The fixture fails."}
    assert "result" not in failed
