"""Black Forest Labs' FLUX models: every call is a job that is submitted, asked
for, and fetched from a link.

The table `wire` of a model's catalog entry maps the fields of its endpoint; see
`_Wire`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from decimal import Decimal
from functools import partial
from urllib.parse import quote

import msgspec
import pybase64

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
from .._requests.catalog import JsonValue, Model, RateLimit
from .._requests.request import Restyle, Vary
from .._requests.sizes import parse_size
from .._requests.translation import Adjustment
from .._system.retry_after import read_wait_seconds
from ._provider import Call, Callback, CallbackReading, EncodedImage, Provider
from ._replies.amounts import read_fraction, read_seed
from ._replies.decoding import MALFORMED, decode, decode_json, download, one_line, outage, trace
from ._replies.error_text import quote_error
from ._steps import (
    Compute,
    Exchange,
    GeneratedImage,
    GeneratedImages,
    HttpRequest,
    HttpResponse,
    JobAccepted,
    Progress,
    Step,
    WithheldImage,
)
from ._wire.http import add_options, as_base64, json_request, leave_out, send
from ._wire.masks import white_mask
from ._wire.polling import Ended, Job, await_end
from ._wire.signatures import check_hash, hash_with, read_job_id, refused, signed_header
from ._wire.wire_table import read_wire

__all__ = ["PROVIDER", "collect", "edit", "generate", "read_callback", "restyle", "vary"]

_NAME = "Black Forest Labs"
_RESTYLING = "Redraw image 1 in the style of image 2. Keep what image 1 shows."
# These have their own parameters, and some decide the price.
_RESERVED = (
    "prompt",
    "width",
    "height",
    "aspect_ratio",
    "resolution",
    "image",
    "mask",
    "image_prompt",
    "images",
    "input_image",
    *(f"input_image_{number}" for number in range(2, 11)),
    "person",
    "garment",
)
# Right after the submission not every cluster knows the job yet.
_GRACE_POLLS = 5
# FLUX 3 refuses unknown fields, and callbacks are undocumented for it and for
# the tools.
_NOT_CALLING_BACK = ("flux-3", "flux-tools/")
# One credit is a cent (docs.bfl.ai, pricing). No image costs as many; more
# would overflow the money arithmetic.
_CREDITS_PER_USD = 100
_MOST_CREDITS = 10**6


class _Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Differences between the endpoints.

    `images` are the fields of the images, in their order, all required if
    `every_image`; `image_list` is one field for all. `variation` is the field
    of an image to vary, `likeness` its closeness from 0 to 1. `safety` is the
    tolerance for strict, standard and relaxed. At least one of `one_of_options`
    is required, and a size if `size_required`: without them the endpoint would
    change nothing, for money.
    """

    images: tuple[str, ...] = ()
    image_list: str | None = None
    every_image: bool = False
    variation: str | None = None
    likeness: str | None = None
    safety: tuple[int, int, int] = (0, 2, 6)
    prompt: bool = True
    one_of_options: tuple[str, ...] = ()
    size_required: bool = False


# --- operations ---------------------------------------------------------------


def generate(call: Call) -> Exchange:
    """Text to image; references use the fields of an edit's images."""
    wire = read_wire(call.model, _Wire)
    return (yield from _work(call, wire, _place(call.references, wire, call.model)))


def edit(call: Call) -> Exchange:
    """Images and a prompt to a new image, with a mask if the endpoint has one;
    and the tools without a prompt.
    """
    wire = read_wire(call.model, _Wire)
    images = _place(call.images, wire, call.model)
    if call.mask is not None:
        mask = yield Compute(call=partial(white_mask, call.mask), repeatable=True)
        assert isinstance(mask, bytes)
        images["mask"] = pybase64.b64encode_as_string(mask)
    return (yield from _work(call, wire, images))


def vary(call: Call) -> Exchange:
    """Vary an image that replaces the prompt."""
    wire, request = read_wire(call.model, _Wire), call.request
    images: dict[str, JsonValue] = {wire.variation or "image_prompt": as_base64(call.images[0])}
    if wire.likeness is not None and isinstance(request, Vary) and request.strength is not None:
        images[wire.likeness] = round(1 - request.strength, 4)
    return (yield from _work(call, wire, images))


def restyle(call: Call) -> Exchange:
    """There is no field for a style: the prompt names the two images."""
    wire = read_wire(call.model, _Wire)
    return (yield from _work(call, wire, _place(call.images + call.references, wire, call.model)))


def _place(images: tuple[EncodedImage, ...], wire: _Wire, model: Model) -> dict[str, JsonValue]:
    if wire.image_list is not None and images:
        return {wire.image_list: [as_base64(image) for image in images]}
    if wire.every_image and len(images) != len(wire.images):
        raise InvalidRequestError(
            f"{model.id} needs {len(wire.images)} images: {' and '.join(wire.images)}."
        )
    return {field: as_base64(image) for field, image in zip(wire.images, images, strict=False)}


def _work(call: Call, wire: _Wire, images: Mapping[str, JsonValue]) -> Exchange:
    request = call.request
    if wire.one_of_options and not any(request.options.get(name) for name in wire.one_of_options):
        raise InvalidRequestError(
            f"{call.model.id} needs one of {', '.join(wire.one_of_options)} in options."
        )
    if wire.size_required and request.size is None:
        raise InvalidRequestError(f"{call.model.id} needs a size: that of the new image.")
    fitted, _ = _fit(call, wire)
    body = _request_body(fitted, wire, images)
    response = yield from send(json_request(f"v1/{call.model.wire_name}", body))
    if response.status >= 300:
        raise _refusal(response, _charges(call))
    accepted = _read_job(response)
    yield accepted
    return (yield from collect(call, accepted))


def _fit(call: Call, wire: _Wire) -> tuple[Call, tuple[Adjustment, ...]]:
    """The call with the prompt that its endpoint is given."""
    if not wire.prompt:
        return leave_out(call, "prompt", reason="it takes no prompt")
    if isinstance(call.request, Restyle):
        prompt = f"{_RESTYLING} {call.request.prompt}".strip()
        call = msgspec.structs.replace(
            call, request=msgspec.structs.replace(call.request, prompt=prompt)
        )
    return call, ()


def _request_body(call: Call, wire: _Wire, images: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The fields that were asked for; FLUX 3 refuses every one that it does not
    know.
    """
    request = call.request
    asked: dict[str, JsonValue] = {
        "prompt": request.prompt if wire.prompt and request.prompt else None,
        **images,
        "aspect_ratio": request.aspect_ratio,
        "resolution": None if request.resolution is None else _resolution_word(request.resolution),
        "seed": request.seed,
        "steps": request.steps,
        "guidance": request.guidance,
        "output_format": request.output_format,
    }
    if request.size is not None and (pair := parse_size(request.size)) is not None:
        asked["width"], asked["height"] = pair
    if request.safety is not None:
        asked["safety_tolerance"] = wire.safety[
            ("strict", "standard", "relaxed").index(request.safety)
        ]
    body = {field: value for field, value in asked.items() if value is not None}
    return add_options({**body, **_callback_fields(call)}, request, reserved=_RESERVED)


def _callback_fields(call: Call) -> dict[str, JsonValue]:
    """Return the fields for the callback; a webhook of the caller has its own
    secret.
    """
    if call.callback_url is None or call.model.wire_name.startswith(_NOT_CALLING_BACK):
        return {}
    if "webhook_url" in call.request.options:
        return {}
    secret: dict[str, JsonValue] = (
        {} if call.callback_secret is None else {"webhook_secret": call.callback_secret}
    )
    return {"webhook_url": call.callback_url, **secret}


def _resolution_word(resolution: str) -> str:
    """Return "2k" for "2K", and "768sq" for a number, which is the side of a
    square.
    """
    return resolution.lower() if resolution.endswith("K") else f"{resolution}sq"


# --- the life of a job --------------------------------------------------------


class _Submitted(msgspec.Struct):
    # Any of these may be missing, e.g. with a webhook; no wrong type may lose a
    # paid job.
    id: object = None
    polling_url: object = None
    cost: object = None


class _Answer(msgspec.Struct):
    status: object = None
    progress: object = None
    details: object = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    cost: object = None


class _Result(msgspec.Struct):
    sample: str
    prompt: object = None
    seed: object = None
    cost: object = None


_decode_submitted = msgspec.json.Decoder(_Submitted).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_result = msgspec.json.Decoder(_Result).decode

_READY = "ready"
_OUTPUT_REFUSED = "content moderated"
_INPUT_REFUSED = "request moderated"
_FAILED = ("error", "failed")
_NOT_FOUND = "task not found"
# A failed job may come with one of the others, with its status in the body.
_STATUS_COUNTS = (200, 422, 503)
_ENDS = (_READY, _OUTPUT_REFUSED, _INPUT_REFUSED, *_FAILED, _NOT_FOUND)


def collect(call: Call, accepted: JobAccepted) -> Exchange:
    """Waits for the end of a job and fetches its image."""
    fitted, adjustments = _fit(call, read_wire(call.model, _Wire))
    charges = _charges(call)
    job = Job(
        id=accepted.job_id,
        url=accepted.poll_url,
        provider=_NAME,
        grace_polls=_GRACE_POLLS,
        called_back=bool(_callback_fields(call)),
    )
    answer = yield from await_end(
        call, job, partial(_read_verdict, job=job, charges=charges), _said
    )
    told = _read_cost(answer.cost)
    cost_usd = accepted.reported_cost_usd if told is None else told
    if _status_of(answer) == _OUTPUT_REFUSED:
        withheld = WithheldImage(reason=_why(answer, "its filter refuses it."))
        return GeneratedImages(
            images=(withheld,),
            reported_cost_usd=cost_usd if charges else Decimal(0),
            adjustments=adjustments,
        )
    result = _read_result(answer)
    data = yield from _fetch(job, result.sample)
    seed = call.request.seed if (told_seed := read_seed(result.seed)) is None else told_seed
    revised = (
        result.prompt
        if isinstance(result.prompt, str) and result.prompt != fitted.request.prompt
        else None
    )
    image = GeneratedImage(data=data, revised_prompt=revised or None, seed=seed, provider_id=job.id)
    told = _read_cost(result.cost)
    return GeneratedImages(
        images=(image,),
        reported_cost_usd=cost_usd if told is None else told,
        adjustments=adjustments,
    )


def read_callback(callback: Callback) -> CallbackReading:
    """The body, which is that of a poll, is signed with the secret of the call."""
    yield from ()
    signature = signed_header(callback, "x-bfl-signature", _NAME)
    if callback.secret is None:
        raise refused(_NAME, "cannot be checked, as no secret is set for callbacks: set one")
    digest = hash_with(callback.secret.encode(), callback.body).hex()
    check_hash(f"sha256={digest}", [signature], _NAME)
    return read_job_id(callback, "id", _NAME)


def _charges(call: Call) -> bool:
    """Return True if an image that the filter refuses is billed."""
    return call.settings.get("charges_for_moderated") is not False


def _read_job(response: HttpResponse) -> JobAccepted:
    submitted = decode(_decode_submitted, response, _NAME)
    job_id = submitted.id if isinstance(submitted.id, str) else ""
    url = submitted.polling_url if isinstance(submitted.polling_url, str) else ""
    if not job_id and not url:
        raise ProviderError(
            f"{_NAME} took the request and did not say how to ask for the image; it may have been"
            " billed.",
            billed="unknown",
            details=trace(response),
        )
    return JobAccepted(
        job_id=job_id or url,
        # Only the cluster that has the job knows it, so the link is used
        # unchanged.
        poll_url=url or f"v1/get_result?id={quote(job_id, safe='')}",
        reported_cost_usd=_read_cost(submitted.cost),
    )


def _read_verdict(
    response: HttpResponse, early: bool, job: Job, charges: bool
) -> Ended[_Answer] | tuple[Progress, ...] | None:
    """Read the status in the body before that of HTTP: a failed job may come
    with another one.
    """
    answer = _read_answer(response)
    status = _NOT_FOUND if response.status == 404 else ""
    status = status or (_status_of(answer) if response.status in _STATUS_COUNTS else "")
    if status == _NOT_FOUND and early:
        return ()
    if status in (_READY, _OUTPUT_REFUSED):
        return Ended(answer)
    if status in _ENDS:
        raise _end(status, answer, charges, job)
    if status and _has_image(answer):
        # A status that is not known, with the image.
        return Ended(answer)
    return (
        (Progress(fraction=read_fraction(answer.progress), note=one_line(answer.status)),)
        if status
        else None
    )


def _read_answer(response: HttpResponse) -> _Answer:
    try:
        return decode_json(_decode_answer, response.body)
    except MALFORMED:
        return _Answer()


def _status_of(answer: _Answer) -> str:
    """Return the status in lower case; "" if there is none."""
    return answer.status.strip().casefold() if isinstance(answer.status, str) else ""


def _end(status: str, answer: _Answer, charges: bool, job: Job | None = None) -> ImagenError:
    """Return the error of a job without an image. It is undocumented which of
    these are billed.
    """
    details = {} if job is None else {"job_id": job.id}
    if status in (_INPUT_REFUSED, _OUTPUT_REFUSED):
        billed: Billed = "unknown" if charges else "no"
        text = f"{_NAME} refuses the request: {_why(answer, 'its filter does not let it pass.')}"
        return ContentFilterError(
            f"{text} Change the prompt or the images.", billed=billed, details=details
        )
    if status == _NOT_FOUND:
        text = (
            f"{_NAME} does not know the job any more: it ran out, or is unknown to this cluster; it"
            " may be billed."
        )
        return ProviderError(text, billed="unknown", details=details)
    text = (
        f"{_NAME} failed to make the image: {_why(answer, 'it does not say why.')} It may be"
        " billed; try once more."
    )
    return ProviderError(text, retryable=True, billed="unknown", details=details)


def _why(answer: _Answer, otherwise: str) -> str:
    """Return the text of `details`, whatever its form."""
    found = answer.details
    if isinstance(found, dict):
        values = (
            item
            for value in found.values()
            for item in (value if isinstance(value, list) else [value])
        )
        found = ", ".join(filter(None, map(one_line, values)))
    text = one_line(found)
    return f"{text.rstrip('.')}." if text else otherwise


def _read_result(answer: _Answer) -> _Result:
    try:
        return _decode_result(answer.result)
    except MALFORMED as error:
        raise ProviderError(
            f"{_NAME} made the image and answered without its link; it was billed.", billed="yes"
        ) from error


def _has_image(answer: _Answer) -> bool:
    try:
        return bool(_decode_result(answer.result).sample)
    except MALFORMED:
        return False


def _fetch(job: Job, link: str) -> Generator[Step, HttpResponse | bytes | None, bytes]:
    """Download the image. A link expires after ten minutes; then the job is
    polled once for another.
    """
    try:
        return (yield from download(link, _NAME, pauses=()))
    except ProviderError as error:
        if error.details.get("status") not in ("403", "404"):
            raise
        response = yield from send(HttpRequest(method="GET", url=job.url, repeatable=True))
        try:
            fresh = _decode_result(_read_answer(response).result).sample
        except MALFORMED:
            raise error from None
    return (yield from download(fresh, _NAME, pauses=()))


def _read_cost(credits: object) -> Decimal | None:
    """Return credits as US dollars; None for an implausible amount."""
    if (
        isinstance(credits, bool)
        or not isinstance(credits, (int, float))
        or not 0 <= credits <= _MOST_CREDITS
    ):
        return None
    # A tiny float has more digits than money.
    return (Decimal(str(credits)) / _CREDITS_PER_USD).quantize(Decimal("1e-9"))


# --- errors -------------------------------------------------------------------


class _Refused(msgspec.Struct):
    # Published is `detail`, a text or a list; the others have been seen.
    detail: object = None
    message: object = None
    error: object = None


_decode_refused = msgspec.json.Decoder(_Refused).decode


def _refusal(response: HttpResponse, charges: bool) -> ImagenError:
    """Return the error of a refused submission. A status in the body counts
    more than the HTTP code.
    """
    answer = _read_answer(response)
    if response.status in _STATUS_COUNTS and (status := _status_of(answer)) in _ENDS:
        return _end(status, answer, charges)
    said = _said(response) or quote_error(response, _NAME)
    details = trace(response)
    match response.status:
        case 401 | 403:
            return AuthenticationError(
                f"{_NAME} does not accept the key. {said} Check BFL_API_KEY.", details=details
            )
        case 402:
            return QuotaExceededError(f"{said} Buy credits at {_NAME}.", details=details)
        case 404:
            return ModelNotFoundError(
                f"{said} Check the model and the base URL.", code="API_ERROR", details=details
            )
        case 400 | 413 | 422:
            return InvalidRequestError(said, code="INVALID_PROMPT", details=details)
        case 429:
            wait = read_wait_seconds(response.headers, said, response.body)
            return RateLimitError(
                f"{said} At most 24 jobs may run at once.",
                retry_after_seconds=wait,
                details=details,
            )
        case code if 400 <= code < 500 and code != 408:
            return InvalidRequestError(said, code="API_ERROR", details=details)
        case code if 300 <= code < 400:
            return ProviderError(
                f"{_NAME} redirects to another address, which is not followed.", details=details
            )
        case _:
            return outage(response, _NAME, said)


def _said(response: HttpResponse) -> str:
    """Return the provider's own words as a sentence; "" if there are none."""
    try:
        refused = decode_json(_decode_refused, response.body)
    except MALFORMED:
        return ""
    if isinstance(refused.detail, list):
        text = one_line("; ".join(_complaints(refused.detail)))
    else:
        text = one_line(refused.detail) or one_line(refused.message) or one_line(refused.error)
    return f"{_NAME} says: {text.rstrip('.')}." if text else ""


def _complaints(detail: Iterable[object]) -> Iterable[str]:
    for item in detail:
        if isinstance(item, dict):
            place = item.get("loc")
            field = ".".join(map(one_line, place[1:])) if isinstance(place, list) else ""
            yield f"{field}: {one_line(item.get('msg'))}".removeprefix(": ")


PROVIDER = Provider(
    name="bfl",
    operations={"generate": generate, "edit": edit, "vary": vary, "restyle": restyle},
    collect=collect,
    read_callback=read_callback,
    base_url="https://api.bfl.ai",
    base_url_variable="BFL_BASE_URL",
    key_variables=("BFL_API_KEY",),
    key_header="x-key",
    key_prefix="",
    # A job is polled at the cluster that accepted it, on a host of its own.
    key_domains=(".bfl.ai",),
    probe_url="v1/credits",
    home_page="dashboard.bfl.ai",
    # docs.bfl.ai, 2026: 24 jobs at once, on all models but FLUX.1 Kontext Max
    # together.
    rate_limit=RateLimit(max_at_once=24),
    settings={
        # Seconds between two questions whether a job has ended.
        "poll_seconds": 1.0,
        # True if an image that the filter refuses is billed: undocumented, so
        # the worse is assumed.
        "charges_for_moderated": True,
    },
)
