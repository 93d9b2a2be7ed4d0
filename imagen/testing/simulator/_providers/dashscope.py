"""Alibaba Cloud Model Studio: tasks for Qwen-Image and Wan, as of the API
reference of October 2026.

POST services/aigc/... with `X-DashScope-Async: enable`, then GET tasks/{id}.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from .._core.edits import ImageError, draw_edit, open_image, read_data_url
from .._core.faults import (
    Decline,
    ExpiredLink,
    JobFails,
    NotAllowed,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Refused,
    Withheld,
)
from .._core.jobs import Job, RemoteJob
from .._core.messages import Kind, Reply, Submission, json_reply

_MESSAGES = "/services/aigc/image-generation/generation"
_PROMPTS = "/services/aigc/text2image/image-synthesis"
_PARAMETERS = {
    _MESSAGES: {"size", "n", "seed", "negative_prompt", "watermark", "thinking_mode"},
    _PROMPTS: {"size", "n", "seed", "negative_prompt", "watermark", "prompt_extend"},
}
_CLASSES = {"1K": 1024, "2K": 2048, "4K": 4096}
_QWEN_SIZES = ("1664*928", "1472*1104", "1328*1328", "1104*1472", "928*1664")


class _Model(msgspec.Struct, frozen=True):
    path: str
    usd: Decimal
    most_pixels: int = 2048 * 2048


_MODELS = {
    "wan2.7-image": _Model(_MESSAGES, Decimal("0.03")),
    "wan2.7-image-pro": _Model(_MESSAGES, Decimal("0.075"), 4096 * 4096),
    "qwen-image-plus": _Model(_PROMPTS, Decimal("0.03")),
}


class _InvalidError(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.reply = _error(400, "InvalidParameter", message)


class _Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is fit to be drawn."""

    model: str
    count: int
    width: int
    height: int
    inputs: list[bytes]


class DashScope(msgspec.Struct, frozen=True, kw_only=True):
    """The simulated maker."""

    name: str = "dashscope"
    base_path: str = "/api/v1"

    def kind(self, method: str, path: str) -> Kind:
        if method == "POST" and path in _PARAMETERS:
            return "create"
        return "poll" if method == "GET" and path.startswith("/tasks/") else "other"

    def answer(self, job: Job) -> Reply | Submission:
        if job.received.headers.get("authorization") != f"Bearer {job.key}":
            return _error(401, "InvalidApiKey", "Invalid API-key provided.")
        kind = self.kind(job.received.method, job.path)
        if kind == "poll":
            return self._poll(job, job.path.removeprefix("/tasks/"))
        if kind != "create":
            return _error(404, "NotFound", "Not Found")
        if job.received.headers.get("x-dashscope-async") != "enable":
            return _error(403, "AccessDenied", "current user api does not support synchronous")
        try:
            return self._submit(job, _read_ask(job.path, job.received.body))
        except _InvalidError as refusal:
            return refusal.reply

    def decline(self, job: Job, fault: Decline) -> Reply:
        match fault:
            case RateLimited(wait_seconds=wait, told=told):
                text = (
                    f"Requests rate limit exceeded. Please try again in {wait:g}s."
                    if told == "text"
                    else "Requests rate limit exceeded."
                )
                reply = _error(429, "Throttling.RateQuota", text)
                headers = (("retry-after", f"{wait:g}"),) if told == "header" else ()
                return msgspec.structs.replace(reply, headers=reply.headers + headers)
            case QuotaExhausted():
                return _error(400, "Arrearage", "Access denied, the account is overdue.")
            case Overloaded():
                return _error(503, "ServiceUnavailable", "Too many requests.")
            case NotAllowed():
                return _error(403, "AccessDenied.Unpurchased", "Access to model denied.")
            case Refused():
                return _error(400, "DataInspectionFailed", "Input may contain bad content.")
            case _:
                return _error(500, "InternalError", "An internal error has occurred.")

    def _submit(self, job: Job, ask: _Ask) -> Submission:
        count = job.count(ask.count)
        remote = job.remote.submit(job, lambda: [_paint(job, ask) for _ in range(count)])
        each = _MODELS[ask.model].usd if job.usd_per_image is None else job.usd_per_image
        spares = isinstance(job.fault, JobFails | Withheld)
        payload = {"output": {"task_id": remote.id, "task_status": "PENDING"}, "request_id": "r1"}
        return Submission(
            model=ask.model,
            images=count,
            usd=Decimal(0) if spares else each * count,
            reply=json_reply(payload),
        )

    def _poll(self, job: Job, task_id: str) -> Reply:
        remote = job.remote.find(task_id)
        if remote is None:
            return _task({"task_id": task_id, "task_status": "UNKNOWN"})
        if job.now < remote.ready_at:
            running = "RUNNING" if remote.progress(job.now) > 0.3 else "PENDING"
            return _task({"task_id": task_id, "task_status": running})
        match remote.fault:
            case JobFails(text=text):
                return _failed(remote, "InternalError", text)
            case Withheld():
                return _failed(remote, "DataInspectionFailed", "Output may be inappropriate.")
            case ExpiredLink():
                job.fault = remote.fault
        return self._hand_out(job, remote)

    def _hand_out(self, job: Job, remote: RemoteJob) -> Reply:
        images = remote.painted()
        assert isinstance(images, list)
        links = [job.as_link(image) for image in images]
        job.collected(remote)
        contents = [{"type": "image", "image": link} for link in links]
        choices = [
            {"finish_reason": "stop", "message": {"role": "assistant", "content": [content]}}
            for content in contents
        ]
        output = {"task_id": remote.id, "task_status": "SUCCEEDED", "choices": choices}
        return _task(output, usage={"image_count": len(links)})


def _read_ask(path: str, body: bytes) -> _Ask:
    try:
        fields = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _InvalidError("The body is not a JSON object.") from None
    name, given, parameters = (fields.get(key) for key in ("model", "input", "parameters"))
    model = _MODELS.get(str(name))
    if model is None or model.path != path:
        raise _InvalidError(f"Model not exist: {name}")
    if not isinstance(given, dict) or not isinstance(parameters, dict):
        raise _InvalidError("input and parameters must be objects.")
    if unknown := parameters.keys() - _PARAMETERS[path]:
        raise _InvalidError(f"Unknown parameter {min(unknown)}.")
    images = _read_input(path, given)
    width, height = _read_size(model, parameters, images)
    # Four is what the real one draws if the number is left out.
    count = parameters.get("n", 4)
    if not isinstance(count, int) or not 1 <= count <= (1 if path == _PROMPTS else 4):
        raise _InvalidError("n is out of range.")
    seed = parameters.get("seed", 0)
    if not isinstance(seed, int) or not 0 <= seed <= 2**31 - 1:
        raise _InvalidError("seed is out of range.")
    return _Ask(model=str(name), count=count, width=width, height=height, inputs=images)


def _read_input(path: str, given: Mapping[str, object]) -> list[bytes]:
    """Return the images; the prompt must be there."""
    if path == _PROMPTS:
        if not isinstance(given.get("prompt"), str) or not given["prompt"]:
            raise _InvalidError("prompt is required.")
        return []
    messages = given.get("messages")
    if not isinstance(messages, list) or len(messages) != 1 or messages[0].get("role") != "user":
        raise _InvalidError("messages must hold one message of the user.")
    content = messages[0].get("content")
    if not isinstance(content, list) or sum("text" in part for part in content) != 1:
        raise _InvalidError("content must hold one text.")
    urls = [part["image"] for part in content if "image" in part]
    if len(urls) > 9:
        raise _InvalidError("At most 9 images.")
    try:
        images = [read_data_url(url) for url in urls]
        for image in images:
            open_image(image)
    except ImageError as error:
        raise _InvalidError(f"InvalidImage: {error}") from error
    return images


def _read_size(
    model: _Model, parameters: Mapping[str, object], images: list[bytes]
) -> tuple[int, int]:
    text = parameters.get("size")
    if text is None:
        return open_image(images[-1]).size if images else (1024, 1024)
    if model.path == _PROMPTS and text not in _QWEN_SIZES:
        raise _InvalidError(f"size must be one of {', '.join(_QWEN_SIZES)}.")
    if text in _CLASSES:
        side = _CLASSES[str(text)]
        return side, side
    wide, _, high = str(text).partition("*")
    if not wide.isdigit() or not high.isdigit():
        raise _InvalidError("size must be width*height.")
    if not 768 * 768 <= int(wide) * int(high) <= model.most_pixels:
        raise _InvalidError("size is out of range.")
    return int(wide), int(high)


def _paint(job: Job, ask: _Ask) -> bytes:
    if not ask.inputs:
        return job.draw(ask.width, ask.height)
    return draw_edit(job, [open_image(data) for data in ask.inputs], ask.width, ask.height)


def _task(output: Mapping[str, object], **more: object) -> Reply:
    return json_reply({"request_id": "r1", "output": output, **more})


def _failed(remote: RemoteJob, code: str, message: str) -> Reply:
    return _task({"task_id": remote.id, "task_status": "FAILED", "code": code, "message": message})


def _error(status: int, code: str, message: str) -> Reply:
    return json_reply({"code": code, "message": message, "request_id": "r1"}, status=status)


SIMULATED = (DashScope(),)
