"""Alibaba Cloud Model Studio (DashScope): Qwen-Image and Wan. Every call is a
task that is created, asked for, and fetched from links.

The table `wire` of a model's catalog entry has the path of its tasks, and the
form of its input; see `_Wire`.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from decimal import Decimal
from functools import partial
from typing import Literal
from urllib.parse import quote

import msgspec

from .._errors import (
    AuthenticationError,
    ContentFilterError,
    ImagenError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
)
from .._requests.catalog import JsonValue
from .._system.retry_after import read_wait_seconds
from ._provider import Call, Provider
from ._replies.decoding import (
    MALFORMED,
    collect_each,
    decode,
    decode_json,
    download,
    one_line,
    outage,
    trace,
)
from ._replies.error_text import quote_error, quote_words
from ._steps import (
    Exchange,
    GeneratedImage,
    GeneratedImages,
    HttpResponse,
    JobAccepted,
    LostImage,
    Progress,
    Step,
    WithheldImage,
)
from ._wire.http import add_options, as_data_url, json_request, send
from ._wire.polling import Ended, Job, await_end
from ._wire.wire_table import read_wire

__all__ = ["PROVIDER", "collect", "run"]

_NAME = "Alibaba Model Studio"
# Without the number a model draws four, and the others decide the price too.
_RESERVED = ("n", "size", "enable_sequential", "prompt", "messages", "images")
_REFUSED = re.compile(r"(?i)DataInspection|IPInfringement|Sensitive|Inappropriate")
_UNPAID = re.compile(r"(?i)Arrearage|FreeTierOnly|PrepaidBillOverdue|Insufficient")
# No task draws as many; more would overflow the money arithmetic.
_MOST_IMAGES = 1000


class _Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`path` creates tasks; `form` is the place of the prompt: a field of its
    own, or one part of a message beside the images.
    """

    path: str = "services/aigc/image-generation/generation"
    form: Literal["message", "prompt"] = "message"


def run(call: Call) -> Exchange:
    """Create a task, wait for its end and fetch the images."""
    wire = read_wire(call.model, _Wire)
    request = json_request(wire.path, _body(call, wire))
    headers = {**request.headers, "x-dashscope-async": "enable"}
    response = yield from send(msgspec.structs.replace(request, headers=headers))
    if response.status >= 300:
        raise _refusal(response)
    accepted = _read_task(response)
    yield accepted
    return (yield from collect(call, accepted))


def collect(call: Call, accepted: JobAccepted) -> Exchange:
    """Wait for the end of a task and fetch its images."""
    job = Job(id=accepted.job_id, url=accepted.poll_url, provider=_NAME)
    answer = yield from await_end(
        call, job, partial(_read_verdict, job=job), partial(quote_words, provider=_NAME)
    )
    items = _items(answer.output)
    if not items:
        raise ProviderError(
            f"{_NAME} completed the task and gave no image; it may be billed.",
            billed="unknown",
            details={"job_id": job.id},
        )
    images = yield from collect_each(_fetch(call, job, item) for item in items)
    return GeneratedImages(images=images, units=_read_units(answer.usage))


# --- what is sent -------------------------------------------------------------


def _body(call: Call, wire: _Wire) -> dict[str, JsonValue]:
    request = call.request
    asked: dict[str, JsonValue] = {
        "size": None if request.size is None else request.size.replace("x", "*"),
        "n": call.count,
        "seed": request.seed,
        "negative_prompt": request.negative_prompt,
        # Otherwise a text is painted into the corner of each image.
        "watermark": False,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    return {
        "model": call.model.wire_name,
        "input": _input(call, wire),
        "parameters": add_options(given, request, reserved=_RESERVED),
    }


def _input(call: Call, wire: _Wire) -> dict[str, JsonValue]:
    if wire.form == "prompt":
        return {"prompt": call.request.prompt}
    images: list[JsonValue] = [
        {"image": as_data_url(image)} for image in (*call.images, *call.references)
    ]
    content = [*images, {"text": call.request.prompt}]
    return {"messages": [{"role": "user", "content": content}]}


# --- what comes back ----------------------------------------------------------


class _Answer(msgspec.Struct):
    # No wrong type may lose a paid task: each field is checked when it is used.
    output: object = None
    usage: object = None
    code: object = None
    message: object = None


_decode_answer = msgspec.json.Decoder(_Answer).decode
_RUNNING = ("pending", "running", "suspended")
_FAILED = ("failed", "canceled", "cancelled")


def _read_task(response: HttpResponse) -> JobAccepted:
    answer = decode(_decode_answer, response, _NAME)
    task_id = answer.output.get("task_id") if isinstance(answer.output, dict) else None
    if not isinstance(task_id, str) or not task_id:
        raise ProviderError(
            f"{_NAME} took the request and did not say how to ask for the images; it may be"
            " billed.",
            billed="unknown",
            details=trace(response),
        )
    return JobAccepted(job_id=task_id, poll_url=f"tasks/{quote(task_id, safe='')}")


def _read_verdict(
    response: HttpResponse, early: bool, *, job: Job
) -> Ended[_Answer] | tuple[Progress, ...] | None:
    answer = _read_answer(response)
    output = answer.output if isinstance(answer.output, dict) else {}
    word = one_line(output.get("task_status")).casefold()
    if response.status != 200 or not word:
        return None
    if word in _FAILED:
        raise _failure(one_line(output.get("code")), one_line(output.get("message")), job)
    if word in _RUNNING:
        return (Progress(note=word),)
    if word == "succeeded" or _items(output):
        return Ended(answer)
    if word == "unknown" and not early:
        raise ProviderError(
            f"{_NAME} does not know the task {job.id} any more: it is older than a day, or another"
            " account's; it may be billed.",
            billed="unknown",
            details={"job_id": job.id},
        )
    return () if word == "unknown" else None


def _read_answer(response: HttpResponse) -> _Answer:
    try:
        return decode_json(_decode_answer, response.body)
    except MALFORMED:
        return _Answer()


def _items(output: object) -> list[object]:
    """The images of a task, in the form of either path; a link is under `url`
    or `image`.
    """
    if not isinstance(output, dict):
        return []
    if isinstance(results := output.get("results"), list):
        return results
    return list(_parts(output.get("choices")))


def _parts(choices: object) -> Iterable[object]:
    for choice in choices if isinstance(choices, list) else ():
        message = choice.get("message") if isinstance(choice, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict) and "image" in part:
                yield part


def _fetch(
    call: Call, job: Job, item: object
) -> Generator[Step, HttpResponse | bytes | None, GeneratedImage | WithheldImage | LostImage]:
    fields = item if isinstance(item, dict) else {"url": item}
    link = fields.get("url") or fields.get("image")
    if not isinstance(link, str) or not link:
        return _without_link(one_line(fields.get("code")), one_line(fields.get("message")))
    revised = fields.get("actual_prompt")
    return GeneratedImage(
        data=(yield from download(link, _NAME)),
        revised_prompt=(
            revised
            if isinstance(revised, str) and revised and revised != call.request.prompt
            else None
        ),
        seed=call.request.seed,
        provider_id=job.id,
    )


def _without_link(code: str, message: str) -> WithheldImage | LostImage:
    """One of several that failed by itself; only images that succeed are billed
    (Model Studio, billing of image generation).
    """
    if _REFUSED.search(code):
        return WithheldImage(reason=message or "its filter refuses it.", billed=False)
    return LostImage(reason=message or "its answer holds no link to the image.")


def _read_units(usage: object) -> Decimal | None:
    """The number of images that are billed."""
    count = usage.get("image_count") if isinstance(usage, dict) else None
    if isinstance(count, bool) or not isinstance(count, int) or not 0 < count <= _MOST_IMAGES:
        return None
    return Decimal(count)


# --- errors -------------------------------------------------------------------


def _failure(code: str, message: str, job: Job) -> ImagenError:
    """A task that failed is not billed."""
    said = _sentence(message) or f"{_NAME} does not say why."
    details = {"job_id": job.id} | ({"code": code} if code else {})
    if _REFUSED.search(code):
        return ContentFilterError(f"{said} Change the prompt or the images.", details=details)
    if code.startswith(("InvalidParameter", "InvalidURL", "BadRequest")):
        return InvalidRequestError(said, code="INVALID_PROMPT", details=details)
    return ProviderError(
        f"The task failed: {said}", retryable=code.startswith("Internal"), details=details
    )


def _refusal(response: HttpResponse) -> ImagenError:
    """The error of a refused request: the code decides before the status."""
    answer = _read_answer(response)
    code = one_line(answer.code)
    said = quote_error(response, _NAME)
    details = trace(response) | ({"code": code} if code else {})
    if _REFUSED.search(code):
        return ContentFilterError(f"{said} Change the prompt or the images.", details=details)
    if _UNPAID.search(code) or response.status == 402:
        return QuotaExceededError(f"{said} Top up the account.", details=details)
    match response.status:
        case 401 | 403:
            return AuthenticationError(
                f"{said} Check DASHSCOPE_API_KEY, and that it is of the region of the base URL.",
                details=details,
            )
        case 404:
            return ModelNotFoundError(
                f"{said} Check the model and the base URL.", code="API_ERROR", details=details
            )
        case 429:
            wait = read_wait_seconds(response.headers, said, response.body)
            return RateLimitError(said, retry_after_seconds=wait, details=details)
        case status if 400 <= status < 500 and status != 408:
            about_prompt = code.startswith("InvalidParameter") or "prompt" in said.casefold()
            return InvalidRequestError(
                said, code="INVALID_PROMPT" if about_prompt else "API_ERROR", details=details
            )
        case status if 300 <= status < 400:
            return ProviderError(
                f"{_NAME} redirects to another address, which is not followed.", details=details
            )
        case _:
            return outage(response, _NAME, said, details)


def _sentence(text: str) -> str:
    return f"{_NAME} says: {text.rstrip('.')}." if text else ""


PROVIDER = Provider(
    name="dashscope",
    operations={"generate": run, "edit": run},
    collect=collect,
    base_url="https://dashscope-intl.aliyuncs.com/api/v1",
    base_url_variable="DASHSCOPE_BASE_URL",
    key_variables=("DASHSCOPE_API_KEY",),
    home_page="modelstudio.console.alibabacloud.com",
    # Seconds between two questions whether a task has ended.
    settings={"poll_seconds": 2.0},
)
