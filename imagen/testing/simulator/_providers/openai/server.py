"""OpenAI's Images API: POST /images/generations and /images/edits, GET /models,
as of 2026-11-22.

https://developers.openai.com/api/reference/resources/images; with its Batch
API.
"""

import secrets
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from functools import partial
from uuid import uuid4

import msgspec

from ..._core.edits import draw_edit
from ..._core.faults import (
    Decline,
    NotAllowed,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Refused,
    ServerError,
)
from ..._core.fields import BadRequestError, Fields, error_reply
from ..._core.jobs import Job
from ..._core.messages import Drawing, Kind, Reply, Submission, encode, json_reply
from .batches import answer_batch, kind_of
from .models import MODELS, RETIRED, Dalle3, Usage
from .requests import Ask, EditInputs, read_ask, read_edit, read_size

_DALLE_FIELDS = frozenset(
    ("prompt", "model", "n", "size", "quality", "response_format", "style", "user")
)
_CREATED = 1_772_000_000  # of every model in the list


class OpenAI(msgspec.Struct, frozen=True, kw_only=True):
    """The simulated OpenAI.

    Args:
        retired: models that are shut down. `()` brings gpt-image-1 and dall-e-3
            back; adding gpt-image-1.5 and its like shows the state after
            2026-12-01.
        batch_executes: how many requests of a batch are executed before its day
            is over; all by default.
    """

    retired: Collection[str] = RETIRED
    name: str = "openai"
    base_path: str = "/v1"
    batch_executes: int | None = None

    def kind(self, method: str, path: str) -> Kind:
        if path in ("/images/generations", "/images/edits") and method == "POST":
            return "create"
        if path == "/models" and method == "GET":
            return "list"
        return kind_of(method, path) or "other"

    def answer(self, job: Job) -> Reply | Drawing | Submission:
        given = job.received.headers.get("authorization", "")
        if given != f"Bearer {job.key}":
            return _with_headers(_wrong_key(given.removeprefix("Bearer ")))
        kind = self.kind(job.received.method, job.path)
        try:
            if kind_of(job.received.method, job.path) is not None:
                return answer_batch(
                    job, lambda body: self._execute(job, body), executes=self.batch_executes
                )
            if kind == "create":
                edits = job.path == "/images/edits"
                return self._draw(
                    job, *(read_edit(job) if edits else (Fields(job.received.body), None))
                )
            if kind == "list":
                return _with_headers(self._list())
            url = f"{job.received.method} {job.received.path}"
            return _with_headers(error_reply(f"Invalid URL ({url})", status=404))
        except BadRequestError as refusal:
            return _with_headers(refusal.reply)

    def decline(self, job: Job, fault: Decline) -> Reply:
        return _with_headers(_declined(fault))

    def _list(self) -> Reply:
        listed: list[dict[str, object]] = [
            {
                "id": model.id,
                "object": "model",
                "created": _CREATED,
                "owned_by": "system",
                "shutdown_date": model.shutdown_date,
            }
            for model in MODELS.values()
            if model.id not in self.retired
        ]
        chat = {
            "id": "gpt-4.1",
            "object": "model",
            "created": _CREATED,
            "owned_by": "system",
            "shutdown_date": None,
        }
        return json_reply({"object": "list", "data": [*listed, chat]})

    def _execute(self, job: Job, body: bytes) -> Drawing | Reply:
        """Execute one request of a batch."""
        try:
            drawing = self._draw(job, Fields(body), None)
            if drawing.streamed:
                raise BadRequestError(
                    "A batch cannot stream.", param="stream", code="unsupported_parameter"
                )
            return drawing
        except BadRequestError as refusal:
            return refusal.reply

    def _draw(self, job: Job, fields: Fields, edit: EditInputs | None) -> Drawing:
        # The published default is dall-e-2: who names no model learns that it
        # does not exist.
        name = fields.text("model", "dall-e-2")
        model = None if name in self.retired else MODELS.get(name)
        if model is None:
            message = f"The model '{name}' does not exist."
            raise BadRequestError(
                message, param="model", code="invalid_value", kind="image_generation_user_error"
            )
        if isinstance(model, Dalle3):
            return _draw_dalle(job, fields, model)
        ask = read_ask(job, fields, model, edit)
        usd = (
            sum((model.price_usd(usage) for usage in ask.usages), Decimal(0))
            if ask.usages is not None
            else ask.images * (job.usd_per_image or Decimal(0))
        )
        streamed = fields.flag("stream")
        paint = partial(_paint_stream if streamed else _paint, job, ask)
        return Drawing(model=model.id, images=ask.images, usd=usd, paint=paint, streamed=streamed)


def _draw_dalle(job: Job, fields: Fields, model: Dalle3) -> Drawing:
    fields.refuse_unknown(_DALLE_FIELDS)
    prompt = fields.prompt(longest=4000)
    images = job.count(fields.integer("n", 1, 1, 1))
    width, height = read_size(fields.text("size", "1024x1024"), model.sizes)
    quality = fields.choice("quality", model.qualities, "standard")
    linked = fields.choice("response_format", ("url", "b64_json"), "url") == "url"
    fields.choice("style", ("vivid", "natural"), "vivid")
    fields.text("user")
    each_usd = (
        model.image_usd(width, height, quality) if job.usd_per_image is None else job.usd_per_image
    )

    def paint() -> Reply:
        data = []
        for _ in range(images):
            content = job.draw(width, height)
            where = (
                {"url": job.as_link(content)} if linked else {"b64_json": job.as_base64(content)}
            )
            data.append({"revised_prompt": f"A detailed image of {prompt}", **where})
        return _with_headers(json_reply({"created": job.created, "data": data}, chunked=True), job)

    return Drawing(model=model.id, images=images, usd=images * each_usd, paint=paint)


def _draw(job: Job, ask: Ask) -> str:
    if ask.edit is not None and ask.format in ("png", "jpeg", "webp"):
        images, mask = ask.edit.images, ask.edit.mask
        return job.as_base64(
            draw_edit(job, images, ask.width, ask.height, mask=mask, format=ask.format)
        )
    return job.as_base64(job.draw(ask.width, ask.height, format=ask.format, frames=ask.frames))


def _look(ask: Ask) -> dict[str, object]:
    return {
        "background": ask.background,
        "output_format": ask.format,
        "quality": ask.quality,
        "size": ask.size,
    }


def _paint(job: Job, ask: Ask) -> Reply:
    payload: dict[str, object] = {"created": job.created, **_look(ask)}
    payload["data"] = [
        {"b64_json": _draw(job, ask), "generation_id": _generation_id()} for _ in range(ask.images)
    ]
    if ask.usages is not None:
        payload["usage"] = sum(ask.usages, Usage()).as_json()
    # Recorded replies are chunked: a client cannot know their length
    # beforehand.
    return _with_headers(json_reply(payload, chunked=True), job)


def _generation_id() -> str:
    """Undocumented, seen since 2026-09; the recorded one is a UUID without its
    last group.
    """
    return str(uuid4())[:23]


def _paint_stream(job: Job, ask: Ask) -> Reply:
    head = Reply(headers=(("content-type", "text/event-stream; charset=utf-8"),), chunked=True)
    frames = tuple(_frames(job, ask))
    return _with_headers(msgspec.structs.replace(head, pieces=frames), job)


def _frames(job: Job, ask: Ask) -> Iterator[bytes]:
    """The events, without any [DONE].

    With several images, each has its own partials and its own completed event,
    whose usage is for that image alone (not known of the real API); the usages
    add up to the bill.
    """
    sequence, kind = 0, "image_generation" if ask.edit is None else "image_edit"
    for at in range(ask.images):
        for index in range(ask.partials):
            yield _frame(
                job, ask, f"{kind}.partial_image", sequence, {"partial_image_index": index}
            )
            sequence += 1
        usage = {} if ask.usages is None else {"usage": ask.usages[at].as_json()}
        yield _frame(job, ask, f"{kind}.completed", sequence, usage)
        sequence += 1


def _frame(job: Job, ask: Ask, event: str, sequence: int, more: Mapping[str, object]) -> bytes:
    data = {
        "created_at": job.created,
        "type": event,
        "b64_json": _draw(job, ask),
        **_look(ask),
        "sequence_number": sequence,
        **more,
    }
    return b"event: " + event.encode() + b"\ndata: " + encode(data) + b"\n\n"


def _with_headers(reply: Reply, job: Job | None = None) -> Reply:
    """Add the headers seen on recorded replies."""
    headers = (
        ("openai-version", "2020-10-01"),
        ("openai-organization", "org-simulated"),
        ("openai-project", "proj_simulated"),
        ("x-request-id", f"req_{secrets.token_hex(16)}"),
        ("openai-processing-ms", str(round(job.seconds * 1000) if job else 16)),
    )
    return msgspec.structs.replace(reply, headers=reply.headers + headers)


def _wrong_key(given: str) -> Reply:
    shown = given if len(given) <= 8 else f"{given[:4]}{'*' * (len(given) - 8)}{given[-4:]}"
    advice = "You can find your API key at https://platform.openai.com/account/api-keys."
    return error_reply(
        f"Incorrect API key provided: {shown}. {advice}",
        status=401,
        code="invalid_api_key",
        headers=(("www-authenticate", 'Bearer realm="OpenAI API"'),),
    )


def _declined(fault: Decline) -> Reply:
    match fault:
        case RateLimited(wait_seconds=wait, told=told):
            limit = "Rate limit reached for images per minute: Limit 5, Used 5, Requested 1."
            text = f"{limit} Please try again in {_spoken(wait)}." if told == "text" else limit
            # Retry-After is in whole seconds; rounded up, or a client would
            # come back too early.
            headers = (("retry-after", str(-int(-wait // 1))),) if told == "header" else ()
            return error_reply(
                text, status=429, code="rate_limit_exceeded", kind="input-images", headers=headers
            )
        case QuotaExhausted():
            text = "You exceeded your current quota, please check your plan and billing details."
            return error_reply(
                text, status=429, code="insufficient_quota", kind="insufficient_quota"
            )
        case Overloaded():
            text = "The server is currently overloaded. Please try again later."
            return error_reply(text, status=503, code="server_is_overloaded", kind="server_error")
        case NotAllowed():
            text = "Your organization must be verified to use this model."
            return error_reply(text, status=403)
        case Refused():
            # Shape and words as recorded on 2026-09-20; other errors have no
            # `moderation_details`.
            text = (
                "Your request was rejected by the safety system. If you believe this is an error,"
                " contact us at help.openai.com and include the request ID"
                f" req_{secrets.token_hex(16)}."
            )
            error = {
                "message": text,
                "type": "image_generation_user_error",
                "param": None,
                "code": "moderation_blocked",
                "moderation_details": {"moderation_stage": "input", "categories": ["other"]},
            }
            return json_reply({"error": error}, status=400)
        case _:
            assert isinstance(fault, ServerError), fault
            text = "The server had an error while processing your request."
            return error_reply(text, status=500, code="server_error", kind="server_error")


def _spoken(seconds: float) -> str:
    """The three forms seen in real texts: "467ms", "12s", "51.8 seconds"."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    return f"{seconds:g}s" if seconds == int(seconds) else f"{seconds:g} seconds"


SIMULATED = (OpenAI(),)
