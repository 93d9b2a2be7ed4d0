"""Fireworks AI: open FLUX models that answer with the image itself, and FLUX.1
Kontext as a job.

The table `wire` of a model's catalog entry says which of the two it is; see
`_Wire`.
"""

from __future__ import annotations

from collections.abc import Generator
from decimal import Decimal
from functools import partial

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
from .._requests.catalog import JsonValue, Model
from .._system.retry_after import read_wait_seconds
from ._provider import Call, Provider
from ._replies.amounts import read_fraction, read_seed
from ._replies.decoding import (
    MALFORMED,
    decode,
    decode_base64,
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
    Progress,
    Step,
    WithheldImage,
)
from ._wire.http import add_options, as_data_url, json_request, send
from ._wire.polling import Ended, Job, await_end
from ._wire.wire_table import read_wire

__all__ = ["PROVIDER", "collect", "run"]

_NAME = "Fireworks"
_RESERVED = (
    "prompt",
    "input_image",
    "aspect_ratio",
    "num_inference_steps",
    "webhook_url",
    "webhook_secret",
)
# A job is not known at once: a recorded one was not after two seconds.
_GRACE_POLLS = 10


class _Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`steps` are those of a request that names none; without them the model
    takes jobs. `safety` is the tolerance for strict, standard and relaxed.
    """

    steps: int | None = None
    safety: tuple[int, int, int] = (0, 2, 6)


def run(call: Call) -> Exchange:
    """One POST whose reply is the image, or a job that is polled."""
    wire = read_wire(call.model, _Wire)
    return (yield from _order_job(call, wire) if wire.steps is None else _draw(call, wire.steps))


def _path(model: Model, work: str = "") -> str:
    return f"workflows/accounts/fireworks/models/{model.wire_name}{work}"


def _body(call: Call, **more: JsonValue) -> dict[str, JsonValue]:
    request = call.request
    asked: dict[str, JsonValue] = {
        "prompt": request.prompt,
        "aspect_ratio": request.aspect_ratio,
        "seed": request.seed,
        **more,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    return add_options(given, request, reserved=_RESERVED)


# --- models that answer with the image ----------------------------------------


class _Drawn(msgspec.Struct):
    base64: object = None
    finish_reason: object = msgspec.field(default=None, name="finishReason")
    seed: object = None


_decode_drawn = msgspec.json.Decoder(_Drawn).decode


def _draw(call: Call, steps: int) -> Exchange:
    steps = steps if call.request.steps is None else int(call.request.steps)
    body = _body(call, num_inference_steps=steps, guidance_scale=call.request.guidance)
    request = json_request(_path(call.model, "/text_to_image"), body)
    kind = f"image/{call.request.output_format or 'jpeg'}"
    headers = {**request.headers, "accept": kind}
    response = yield from send(msgspec.structs.replace(request, headers=headers))
    if response.status != 200:
        raise _refusal(response)
    # Steps are what is billed.
    return GeneratedImages(images=(_read_drawn(call, response),), units=Decimal(steps))


def _read_drawn(call: Call, response: HttpResponse) -> GeneratedImage | WithheldImage:
    """The image is the body, or base64 in JSON."""
    if "json" not in response.headers.get("content-type", ""):
        reason, told = response.headers.get("finish-reason", ""), response.headers.get("seed", "")
        data, seed = response.body, int(told) if told.isascii() and told.isdigit() else None
    else:
        drawn = decode(_decode_drawn, response, _NAME)
        reason, seed = one_line(drawn.finish_reason), read_seed(drawn.seed)
        data = b"" if _is_bad(reason) else _decode_first(drawn.base64)
    if _is_bad(reason):
        return WithheldImage(reason=f"its filter refuses it ({one_line(reason)}).")
    if not data:
        raise ProviderError(f"{_NAME} answered without an image; it was billed.", billed="yes")
    return GeneratedImage(data=data, seed=call.request.seed if seed is None else seed)


def _decode_first(told: object) -> bytes:
    first = told[0] if isinstance(told, list) and told else told
    return decode_base64(first, _NAME) if isinstance(first, str) else b""


def _is_bad(reason: str) -> bool:
    return "FILTER" in reason.upper()


# --- models that take jobs ----------------------------------------------------


class _Submitted(msgspec.Struct):
    request_id: object = None
    id: object = None


class _Answer(msgspec.Struct):
    status: object = None
    result: object = None
    progress: object = None
    details: object = None


_decode_submitted = msgspec.json.Decoder(_Submitted).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode


def _order_job(call: Call, wire: _Wire) -> Exchange:
    request = call.request
    safety = request.safety
    body = _body(
        call,
        input_image=as_data_url(call.images[0]) if call.images else None,
        output_format=request.output_format,
        safety_tolerance=(
            None if safety is None else wire.safety[("strict", "standard", "relaxed").index(safety)]
        ),
    )
    response = yield from send(json_request(_path(call.model), body))
    if response.status >= 300:
        raise _refusal(response)
    submitted = decode(_decode_submitted, response, _NAME)
    job_id = submitted.request_id or submitted.id
    if not isinstance(job_id, str):
        raise ProviderError(
            f"{_NAME} took the request and did not say how to ask for the image; it may be billed.",
            billed="unknown",
            details=trace(response),
        )
    accepted = JobAccepted(job_id=job_id, poll_url=_path(call.model, "/get_result"))
    yield accepted
    return (yield from collect(call, accepted))


def collect(call: Call, accepted: JobAccepted) -> Exchange:
    """Wait for the end of a job and fetch its image."""
    job = Job(
        id=accepted.job_id,
        url=accepted.poll_url,
        provider=_NAME,
        question={"id": accepted.job_id},
        grace_polls=_GRACE_POLLS,
    )
    answer = yield from await_end(
        call, job, partial(_read_verdict, job=job), partial(quote_words, provider=_NAME)
    )
    result = _result_of(answer)
    data = yield from _fetch(job, _place_of(result))
    told = read_seed(result.get("seed"))
    image = GeneratedImage(
        data=data, seed=call.request.seed if told is None else told, provider_id=job.id
    )
    return GeneratedImages(images=(image,))


def _result_of(answer: _Answer) -> dict[object, object]:
    return answer.result if isinstance(answer.result, dict) else {"sample": answer.result}


def _place_of(result: dict[object, object]) -> object:
    return result.get("sample") or result.get("url")


def _fetch(job: Job, place: object) -> Generator[Step, HttpResponse | bytes | None, bytes]:
    """Return the image behind a link, or in base64."""
    if isinstance(place, str) and place.startswith(("https://", "http://", "data:")):
        return (yield from download(place, _NAME))
    if isinstance(place, str) and place:
        return decode_base64(place, _NAME)
    raise ProviderError(
        f"{_NAME} made the image and answered without its link; it was billed.",
        billed="yes",
        details={"job_id": job.id},
    )


def _read_verdict(
    response: HttpResponse, early: bool, *, job: Job
) -> Ended[_Answer] | tuple[Progress, ...] | None:
    answer = _read_answer(response)
    word = one_line(answer.status).casefold()
    if word in ("ready", "success", "succeeded", "complete", "completed"):
        return Ended(answer)
    if "moderated" in word:
        # Which of these are billed is not published.
        raise ContentFilterError(
            f"{_NAME} refuses the request: {word}. Change the prompt or the image.",
            billed="unknown",
            details={"job_id": job.id},
        )
    if word == "task not found" and not early:
        raise ProviderError(
            f"{_NAME} does not know the job {job.id} any more; it may be billed.",
            billed="unknown",
            details={"job_id": job.id},
        )
    if word == "task not found":
        return ()
    if word in ("error", "failed"):
        why = one_line(answer.details) or "it does not say why"
        raise ProviderError(
            f"{_NAME} failed to make the image: {why}. It may be billed.",
            billed="unknown",
            details={"job_id": job.id},
        )
    if word and _place_of(_result_of(answer)):
        # A word that is not known, with the image.
        return Ended(answer)
    return (Progress(fraction=read_fraction(answer.progress), note=word),) if word else None


def _read_answer(response: HttpResponse) -> _Answer:
    try:
        return decode_json(_decode_answer, response.body)
    except MALFORMED:
        return _Answer()


# --- errors -------------------------------------------------------------------


def _refusal(response: HttpResponse) -> ImagenError:
    said = quote_error(response, _NAME)
    details = trace(response)
    match response.status:
        case 401 | 403:
            return AuthenticationError(
                f"{_NAME} does not accept the key. {said} Check FIREWORKS_API_KEY.", details=details
            )
        case 402 | 412:
            return QuotaExceededError(f"{said} Top up the account.", details=details)
        case 404:
            return ModelNotFoundError(
                f"{said} Check the model and the base URL.", code="API_ERROR", details=details
            )
        case 429:
            wait = read_wait_seconds(response.headers, said, response.body)
            return RateLimitError(said, retry_after_seconds=wait, details=details)
        case 400 | 422 if any(word in said.casefold() for word in ("nsfw", "safety", "moderat")):
            return ContentFilterError(f"{said} Change the prompt.", details=details)
        case status if 400 <= status < 500 and status != 408:
            about_input = status in (400, 413, 422)
            return InvalidRequestError(
                said, code="INVALID_PROMPT" if about_input else "API_ERROR", details=details
            )
        case status if 300 <= status < 400:
            return ProviderError(
                f"{_NAME} redirects to another address, which is not followed.", details=details
            )
        case _:
            return outage(response, _NAME, said)


PROVIDER = Provider(
    name="fireworks",
    operations={"generate": run, "edit": run},
    collect=collect,
    base_url="https://api.fireworks.ai/inference/v1",
    base_url_variable="FIREWORKS_BASE_URL",
    key_variables=("FIREWORKS_API_KEY",),
    probe_url="models",
    home_page="app.fireworks.ai/settings/users/api-keys",
    # Seconds between two questions whether a job has ended.
    settings={"poll_seconds": 1.0},
)
