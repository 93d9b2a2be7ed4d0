"""Stability AI: one endpoint per task, requests as forms, replies mostly with
the bytes of the image.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping
from decimal import Decimal
from functools import partial

import msgspec

from .._errors import (
    AuthenticationError,
    Billed,
    ContentFilterError,
    ImagenError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
)
from .._requests.catalog import JsonValue, RateLimit
from .._requests.request import Restyle, Vary
from .._requests.translation import Adjustment
from .._system.retry_after import read_wait_seconds
from ._provider import Call, Provider
from ._replies.decoding import (
    MALFORMED,
    decode,
    decode_base64,
    decode_json,
    one_line,
    outage,
    trace,
)
from ._replies.error_text import read_sentence
from ._steps import (
    Compute,
    Exchange,
    GeneratedImage,
    GeneratedImages,
    HttpResponse,
    JobAccepted,
    Progress,
    Step,
    WithheldImage,
)
from ._wire.http import FormFile, add_options, form_request, leave_out, send
from ._wire.masks import white_mask
from ._wire.polling import Ended, Job, await_end

__all__ = ["PROVIDER", "collect", "draw"]

_NAME = "Stability AI"
# An empty file, so that a form without any is still multipart
# (platform.stability.ai, examples).
_NO_FILE = FormFile("none", b"", "application/octet-stream", "none")
_FILTERED = "CONTENT_FILTERED"
# A client that sends too much is locked out for a minute, without a header
# (platform.stability.ai, rate limits).
_LOCKOUT_SECONDS = 60.0
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
_ABOUT_PROMPT = re.compile(r"(?i)prompt|image")
_NOT_CHARGED = re.compile(r"(?i)\bnot (?:been )?charged\b")
_MOST_SEED = 2**32 - 1


class _Answer(msgspec.Struct):
    """JSON reply: an image, or the id of a job."""

    image: msgspec.Raw = msgspec.Raw(b"null")
    finish_reason: object = ""
    seed: object = None
    id: object = None


_decode_answer = msgspec.json.Decoder(_Answer).decode


def draw(call: Call) -> Exchange:
    """Every operation: the catalog's `wire` has its endpoint and the names of
    its fields.
    """
    fitted, _ = _fit(call)
    fields = _fields(fitted)
    files = yield from _files(call)
    response = yield from send(
        form_request(
            f"v2beta/stable-image/{call.model.wire['path']}",
            fields.items(),
            files or [_NO_FILE],
            headers={"accept": "image/*"},
        )
    )
    if response.status != 200:
        raise _refusal(response)
    if (job_id := _job_in(response)) is None:
        return _read(call, response)
    accepted = JobAccepted(job_id=job_id, poll_url=f"v2beta/results/{job_id}")
    yield accepted
    return (yield from collect(call, accepted))


def collect(call: Call, accepted: JobAccepted) -> Exchange:
    """Wait for the end of a job, whose reply is the image. A job cannot be
    stopped.
    """
    job = Job(
        id=accepted.job_id,
        url=accepted.poll_url,
        provider=_NAME,
        headers={"accept": "*/*"},
        busy_seconds=_LOCKOUT_SECONDS,
    )
    return _read(call, (yield from await_end(call, job, _read_verdict)))


# --- what is sent -------------------------------------------------------------


def _fit(call: Call) -> tuple[Call, tuple[Adjustment, ...]]:
    """The call without what its endpoint has no field for."""
    request, wire = call.request, call.model.wire
    if not wire.get("prompt", "prompt"):
        return leave_out(call, "prompt", reason="it takes no prompt")
    if isinstance(request, Vary) and _table(_table(wire.get("vary")).get("fields")):
        return leave_out(call, "aspect_ratio", reason="a variation keeps that of its image")
    return call, ()


def _fields(call: Call) -> dict[str, JsonValue]:
    request, wire = call.request, call.model.wire
    prompt_field = str(wire.get("prompt", "prompt"))
    fields: dict[str, JsonValue] = {
        **_table(wire.get("fields")),
        **({prompt_field: request.prompt or None} if prompt_field else {}),
        "negative_prompt": request.negative_prompt,
        "aspect_ratio": request.aspect_ratio,
        "style_preset": request.style,
        "seed": request.seed,
        "cfg_scale": request.guidance,
        "output_format": request.output_format,
    }
    if isinstance(request, Vary):
        vary = _table(wire.get("vary"))
        strength = vary.get("strength") if request.strength is None else request.strength
        fields |= {**_table(vary.get("fields")), "strength": strength}
    if isinstance(request, Restyle):
        fields[str(wire.get("strength_field"))] = request.strength
    present = {name: value for name, value in fields.items() if value is not None}
    sent = add_options(present, request, reserved=_reserved(call))
    _check_choice(call, sent)
    return sent


def _reserved(call: Call) -> set[str]:
    """Files have parameters of their own, and the model decides the price."""
    wire = call.model.wire
    return {
        "model",
        "mode",
        "mask",
        "image",
        "prompt",
        str(wire.get("prompt")),
        *_names(wire, "images", ()),
    }


def _check_choice(call: Call, fields: Mapping[str, JsonValue]) -> None:
    """Some endpoints need one field of several; asked without any, they would
    refuse.
    """
    choice = _names(call.model.wire, "one_of_options", ())
    if choice and not any(fields.get(name) for name in choice):
        raise InvalidRequestError(
            f"{call.model.id} needs at least one of {', '.join(choice)} in options, in pixels: say"
            " how far it shall go."
        )


def _files(call: Call) -> Generator[Step, HttpResponse | bytes | None, list[FormFile]]:
    wire = call.model.wire
    references = _names(wire, "references", ())
    if call.model.capabilities.inputs.max_references and not call.references:
        raise InvalidRequestError(
            f"{call.model.id} needs a reference: the image whose style is wanted."
        )
    files = [
        FormFile.of(*pair)
        for pair in zip(_names(wire, "images", ("image",)), call.images, strict=False)
    ]
    files += [FormFile.of(*pair) for pair in zip(references, call.references, strict=False)]
    if call.mask is not None:
        mask = yield Compute(call=partial(white_mask, call.mask), repeatable=True)
        assert isinstance(mask, bytes)
        files.append(FormFile("mask", mask, "image/png", "mask.png"))
    return files


def _table(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _names(wire: Mapping[str, JsonValue], key: str, default: Iterable[str]) -> tuple[str, ...]:
    value = wire.get(key)
    return tuple(map(str, value)) if isinstance(value, (list, tuple)) else tuple(default)


# --- what comes back ----------------------------------------------------------


def _is_json(response: HttpResponse) -> bool:
    return response.headers.get("content-type", "").strip().lower().startswith("application/json")


def _job_in(response: HttpResponse) -> str | None:
    """Return the id of a job, if the reply has no image yet."""
    if not _is_json(response):
        return None
    answer = decode(_decode_answer, response, _NAME)
    if bytes(memoryview(answer.image)[:5]) != b"null" or answer.id is None:
        return None
    if not isinstance(answer.id, str) or not _JOB_ID.fullmatch(answer.id):
        raise ProviderError(
            f"{_NAME} answered with a job whose id is none; it may be billed.", billed="unknown"
        )
    return answer.id


def _read_verdict(
    response: HttpResponse, early: bool
) -> Ended[HttpResponse] | tuple[Progress, ...] | None:
    match response.status:
        case 200:
            return Ended(response)
        case 202:
            return (Progress(note="in progress"),)
        case 404 | 408 | 429:
            return None
        case status if status >= 500:
            return None
        case _:
            raise _job_refusal(response)


def _read(call: Call, response: HttpResponse) -> GeneratedImages:
    _, adjustments = _fit(call)
    return msgspec.structs.replace(_read_image(call, response), adjustments=adjustments)


def _read_image(call: Call, response: HttpResponse) -> GeneratedImages:
    if _is_json(response):
        answer = decode(_decode_answer, response, _NAME)
        if answer.finish_reason == _FILTERED:
            return _withheld(call)
        seed = (
            answer.seed
            if isinstance(answer.seed, int) and not isinstance(answer.seed, bool)
            else None
        )
        return _made(decode_base64(answer.image, _NAME), seed)
    if response.headers.get("finish-reason", "").strip().upper() == _FILTERED:
        return _withheld(call)
    text = response.headers.get("seed", "").strip()
    return _made(
        response.body, int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None
    )


def _made(data: bytes, seed: int | None) -> GeneratedImages:
    return GeneratedImages(
        images=(
            GeneratedImage(
                data=data, seed=seed if seed is None or 0 <= seed <= _MOST_SEED else None
            ),
        )
    )


def _withheld(call: Call) -> GeneratedImages:
    free = call.settings.get("charges_for_blurred") is False
    reason = f"it is blurred ({_FILTERED}). Change the prompt or the image."
    return GeneratedImages(
        images=(WithheldImage(reason=reason),), reported_cost_usd=Decimal(0) if free else None
    )


# --- errors -------------------------------------------------------------------


def _read_error(response: HttpResponse) -> tuple[str, str]:
    """Return the name of an error and its text; older paths and proxies write
    `message`.
    """
    try:
        value: object = decode_json(msgspec.json.decode, response.body)
    except MALFORMED:
        value = None
    fields = value if isinstance(value, dict) else {}
    errors = fields.get("errors")
    said = [one_line(error) for error in errors] if isinstance(errors, list) else [one_line(errors)]
    text = " ".join(filter(None, said)) or one_line(fields.get("message"))
    text = text or read_sentence(response.body) or "It gives no reason"
    return one_line(fields.get("name")), one_line(text).rstrip(".") + "."


def _refusal(response: HttpResponse) -> ImagenError:
    """The error behind a status that is not 200. The name decides before the
    status.
    """
    name, said = _read_error(response)
    details = trace(response) | ({"name": name} if name else {})
    match response.status, name:
        case _, "content_moderation" | "public_figure":
            return ContentFilterError(
                f"{_NAME} refuses the prompt or the image. {said}", details=details
            )
        case (402, _) | (_, "payment_required"):
            return QuotaExceededError(
                f"The account with {_NAME} has no credits left. {said}", details=details
            )
        case (429, _) | (_, "rate_limit_exceeded"):
            wait_seconds = (
                read_wait_seconds(response.headers, said, response.body) or _LOCKOUT_SECONDS
            )
            return RateLimitError(
                f"{_NAME} takes no more requests for {wait_seconds:g} seconds. {said}",
                retry_after_seconds=wait_seconds,
                details=details,
            )
        case 401 | 403, _:
            return AuthenticationError(f"{_NAME} does not accept the key. {said}", details=details)
        case 404, _:
            return ModelNotFoundError(
                f"{_NAME} has no such endpoint. {said}", code="API_ERROR", details=details
            )
        case 413 | 422, _:
            hint = " Its prompts must be in English." if name == "invalid_language" else ""
            hint = hint or (" A request may have 10 MiB." if response.status == 413 else "")
            return InvalidRequestError(
                f"{_NAME} does not take this request. {said}{hint}",
                code="INVALID_PROMPT",
                details=details,
            )
        case 500, "internal_error":
            error = outage(response, _NAME, said, details)
            # From the service itself, not a proxy before it; failed calls are
            # not charged (pricing page).
            error.billed = "no"
            return error
        case status, _ if status >= 500 or status == 408:
            return outage(response, _NAME, said, details)
        case status, _ if status >= 400:
            return InvalidRequestError(
                f"{_NAME} does not take this request. {said}",
                code=(
                    "INVALID_PROMPT"
                    if status == 400 and _ABOUT_PROMPT.search(said)
                    else "API_ERROR"
                ),
                details=details,
            )
        case _:
            return ProviderError(
                f"{_NAME} answered with an unexpected status {response.status}. {said}",
                billed="unknown",
                details=details,
            )


def _job_refusal(response: HttpResponse) -> ImagenError:
    """Return the error of an accepted job: it counts as billed, unless the
    reply tells that it was not.
    """
    name, said = _read_error(response)
    billed: Billed = "no" if _NOT_CHARGED.search(said) else "unknown"
    if name in ("content_moderation", "public_figure"):
        error = _refusal(response)
        error.billed = billed
        return error
    return ProviderError(
        f"{_NAME} took the job and gives no result ({response.status}). {said}",
        billed=billed,
        details=trace(response) | ({"name": name} if name else {}),
    )


PROVIDER = Provider(
    name="stability",
    operations={"generate": draw, "edit": draw, "vary": draw, "enhance": draw, "restyle": draw},
    collect=collect,
    base_url="https://api.stability.ai",
    base_url_variable="STABILITY_BASE_URL",
    key_variables=("STABILITY_API_KEY",),
    probe_url="v1/user/balance",
    home_page="platform.stability.ai/account/keys",
    # REST API reference, 2026: 150 requests in 10 seconds, or no reply for a
    # minute.
    rate_limit=RateLimit(images=150, period_seconds=10),
    settings={"charges_for_blurred": True, "poll_seconds": 10.0},
)
