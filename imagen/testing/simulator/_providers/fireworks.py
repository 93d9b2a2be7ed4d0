"""Fireworks AI's image workflows, as of 2026: POST .../text_to_image answers
with the image, POST .../flux-kontext-* with a job, which POST .../get_result
polls.
"""

from __future__ import annotations

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
from .._core.fields import BadRequestError, Fields
from .._core.jobs import Job, RemoteJob
from .._core.messages import Drawing, Kind, Reply, Submission, json_reply

_ROOT = "/workflows/accounts/fireworks/models/"
_USD_PER_STEP = {
    "flux-1-schnell-fp8": (Decimal("0.00035"), 8, 4),
    "flux-1-dev-fp8": (Decimal("0.0005"), 50, 30),
}
_USD_PER_JOB = {"flux-kontext-pro": Decimal("0.04"), "flux-kontext-max": Decimal("0.08")}
_RATIOS = ["1:1", "21:9", "16:9", "3:2", "5:4", "4:5", "2:3", "9:16", "9:21", "4:3", "3:4"]
_DRAW = ("prompt", "aspect_ratio", "guidance_scale", "num_inference_steps", "seed")
_EDIT = (
    "prompt",
    "input_image",
    "seed",
    "aspect_ratio",
    "output_format",
    "prompt_upsampling",
    "safety_tolerance",
    "webhook_url",
    "webhook_secret",
)


class Fireworks(msgspec.Struct, frozen=True, kw_only=True):
    """The simulated gateway."""

    name: str = "fireworks"
    base_path: str = "/inference/v1"

    def kind(self, method: str, path: str) -> Kind:
        if method != "POST" or not path.startswith(_ROOT):
            return "other"
        return "poll" if path.endswith("/get_result") else "create"

    def answer(self, job: Job) -> Reply | Drawing | Submission:
        if job.received.headers.get("authorization") != f"Bearer {job.key}":
            return _error(401, "Unauthorized")
        if job.path == "/models" and job.received.method == "GET":
            return json_reply({"data": []})
        model, _, work = job.path.removeprefix(_ROOT).partition("/")
        try:
            if work == "text_to_image" and model in _USD_PER_STEP:
                return self._draw(job, model)
            if work == "get_result" and model in _USD_PER_JOB:
                return self._poll(job)
            if not work and model in _USD_PER_JOB:
                return self._submit(job, model)
        except BadRequestError as refusal:
            return _error(400, str(refusal))
        return _error(404, "Not Found")

    def decline(self, job: Job, fault: Decline) -> Reply:
        match fault:
            case RateLimited(wait_seconds=wait, told=told):
                text = (
                    f"Rate limit exceeded. Please try again in {wait:g}s."
                    if told == "text"
                    else "Rate limit exceeded."
                )
                headers = (("retry-after", f"{wait:g}"),) if told == "header" else ()
                reply = _error(429, text)
                return msgspec.structs.replace(reply, headers=reply.headers + headers)
            case QuotaExhausted():
                return _error(412, "Account suspended: the spending limit is reached.")
            case Overloaded():
                return _error(503, "Service overloaded.")
            case NotAllowed():
                return _error(403, "Forbidden")
            case Refused():
                return _error(400, "The prompt was rejected by the safety checker.")
            case _:
                return _error(500, "Internal server error.")

    def _draw(self, job: Job, model: str) -> Drawing:
        fields = Fields(job.received.body)
        fields.refuse_unknown(_DRAW)
        fields.prompt()
        each, most, default = _USD_PER_STEP[model]
        steps = fields.integer("num_inference_steps", 1, most, default)
        fields.number("guidance_scale", 0, 20)
        seed = fields.integer("seed", 0, 2**63, 42)
        width, height = _shape(fields.choice("aspect_ratio", _RATIOS, "1:1"))
        accept = job.received.headers.get("accept", "")
        format = "png" if accept == "image/png" else "jpeg"
        usd = each * steps if job.usd_per_image is None else job.usd_per_image

        def paint() -> Reply:
            if isinstance(job.fault, Withheld):
                content, reason = b"", "CONTENT_FILTERED"
            else:
                content, reason = job.draw(width, height, format=format), "SUCCESS"
            headers = (
                ("content-type", f"image/{format}"),
                ("finish-reason", reason),
                ("seed", str(seed)),
            )
            return Reply(headers=headers, pieces=(content,))

        return Drawing(model=model, images=1, usd=usd, paint=paint)

    def _submit(self, job: Job, model: str) -> Submission:
        fields = Fields(job.received.body)
        fields.refuse_unknown(_EDIT)
        fields.prompt()
        fields.integer("seed", 0, 2**63, 0)
        fields.integer("safety_tolerance", 0, 6, 2)
        format = fields.choice("output_format", ("png", "jpeg"), "png")
        image = _read_image(fields)
        ratio = fields.text("aspect_ratio")
        width, height = _shape(ratio) if ratio or image is None else open_image(image).size

        def paint() -> bytes:
            if image is None:
                return job.draw(width, height, format=format)
            return draw_edit(job, [open_image(image)], width, height, format=format)

        remote = job.remote.submit(job, paint)
        usd = _USD_PER_JOB[model] if job.usd_per_image is None else job.usd_per_image
        reply = json_reply({"request_id": remote.id})
        return Submission(model=model, images=1, usd=usd, reply=reply)

    def _poll(self, job: Job) -> Reply:
        job_id = Fields(job.received.body).text("id", required=True)
        remote = job.remote.find(job_id)
        if remote is None:
            return _state(job_id, "Task not found")
        if job.now < remote.ready_at:
            return _state(job_id, "Pending", progress=round(remote.progress(job.now), 2))
        match remote.fault:
            case JobFails(text=text):
                return _state(job_id, "Error", details=text)
            case Withheld():
                return _state(job_id, "Content Moderated")
            case ExpiredLink():
                job.fault = remote.fault
        return self._hand_out(job, remote)

    def _hand_out(self, job: Job, remote: RemoteJob) -> Reply:
        content = remote.painted()
        assert isinstance(content, bytes)
        link = job.as_link(content)
        job.collected(remote)
        return _state(remote.id, "Ready", result={"sample": link})


def _shape(ratio: str) -> tuple[int, int]:
    wide, _, high = (ratio or "1:1").partition(":")
    factor = (int(wide) / int(high)) ** 0.5
    return round(1024 * factor / 16) * 16, round(1024 / factor / 16) * 16


def _read_image(fields: Fields) -> bytes | None:
    if "input_image" not in fields:
        return None
    try:
        data = read_data_url(fields.text("input_image"))
        open_image(data)
    except ImageError as error:
        raise BadRequestError(str(error), param="input_image", code=None) from error
    return data


def _state(id: str, status: str, **more: object) -> Reply:
    empty = {"result": None, "progress": None, "details": None}
    return json_reply({"id": id, "status": status, **empty, **more})


def _error(status: int, text: str) -> Reply:
    return json_reply({"error": {"object": "error", "type": "", "message": text}}, status=status)


SIMULATED = (Fireworks(),)
