"""Replicate, a gateway to many models behind one protocol: a prediction is
created, asked for, and fetched from links.

The inputs of a model are data: the table `wire` of its catalog entry, see
`imagen/providers/_wire/model_inputs.py`. Every operation is the same exchange,
with another input.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from decimal import Decimal
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
from .._requests.catalog import JsonValue, RateLimit
from .._system.retry_after import read_wait_seconds
from ._provider import Call, Callback, CallbackReading, EncodedImage, Provider
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
from ._replies.error_text import quote_error
from ._steps import (
    Cancellable,
    Exchange,
    GeneratedImage,
    GeneratedImages,
    HttpRequest,
    HttpResponse,
    JobAccepted,
    Progress,
    Step,
)
from ._wire.http import FormFile, as_data_url, form_request, json_request, send
from ._wire.model_inputs import Steps, make_input
from ._wire.polling import Ended, Job, await_end
from ._wire.signatures import check_age, check_hash, hash_with, read_job_id, signed_header

__all__ = ["PROVIDER", "collect", "read_callback", "run"]

_NAME = "Replicate"
# These decide the cost, under one name or another.
_RESERVED = (
    "num_outputs",
    "number_of_images",
    "image",
    "mask",
    "input_image",
    "input_images",
    "image_input",
    "images",
)
# Larger files are better handed in by a link (replicate.com/docs, predictions).
_LARGEST_INLINE_BYTES = 256_000
# Nothing runs for longer than half an hour; more would overflow the money
# arithmetic.
_MOST_SECONDS = 10**6
_PERCENT = re.compile(r"(?<![0-9.])([0-9]{1,3})(?:\.[0-9]+)?%")
_REFUSED = re.compile(
    r"(?i)flagged as sensitive|\(E005\)|NSFW content|\bsafety\b|\bmoderat(?:ion|ed)\b"
)
_NO_MONEY = re.compile(r"(?i)monthly spend limit|insufficient credit")
_BUSY = re.compile(r"(?i)rate limit|high demand|\(E003\)|throttled")
_LASTING = re.compile(r"(?i)\bE1001\b|out of memory")
_FLEETING = re.compile(
    r"(?i)please retry|\(code: PA\)|unexpected error handling prediction|\bE1000\b"
)


def run(call: Call) -> Exchange:
    """Creates a prediction from the input of a call, waits for its end and
    fetches the images.
    """
    made = yield from make_input(call, _hand_in, reserved=_RESERVED)
    order: dict[str, JsonValue] = {
        "version": made.endpoint,
        "input": made.fields,
        **_callback_fields(call),
    }
    response = yield from send(json_request("predictions", order))
    if response.status >= 300:
        raise _refusal(response)
    prediction = decode(_decode_prediction, response, _NAME)
    job_id = prediction.id
    if not isinstance(job_id, str) or not job_id:
        raise ProviderError(
            f"{_NAME} took the request and did not say how to ask for the images; it may be"
            " billed.",
            billed="unknown",
            details=trace(response),
        )
    # Below the base URL, whatever host the reply names: the key goes only
    # there.
    accepted = JobAccepted(job_id=job_id, poll_url=f"predictions/{quote(job_id, safe='')}")
    yield accepted
    result = yield from _finish(call, accepted, prediction)
    return msgspec.structs.replace(result, adjustments=made.adjustments)


def collect(call: Call, accepted: JobAccepted) -> Exchange:
    """Waits for the end of a prediction and fetches its images."""
    # The call has no images to upload: this is for the adjustments.
    made = yield from make_input(call, _hand_in, reserved=_RESERVED)
    result = yield from _finish(call, accepted, _Prediction())
    return msgspec.structs.replace(result, adjustments=made.adjustments)


def _callback_fields(call: Call) -> dict[str, JsonValue]:
    """Return the fields for the callback; plain http is refused."""
    if call.callback_url is None or not call.callback_url.startswith("https://"):
        return {}
    return {"webhook": call.callback_url, "webhook_events_filter": ["completed"]}


# --- images to work on --------------------------------------------------------


class _File(msgspec.Struct):
    urls: object = None


_decode_file = msgspec.json.Decoder(_File).decode


def _hand_in(image: EncodedImage) -> Steps:
    """Return a small image as a data: URL, a larger one as the link of an
    upload, which is free.
    """
    if len(image.data) < _LARGEST_INLINE_BYTES:
        return as_data_url(image)
    request = form_request("files", (), [FormFile.of("content", image)])
    response = yield from send(msgspec.structs.replace(request, repeatable=True))
    if response.status >= 300:
        error = _refusal(response)
        error.billed = "no"
        raise error
    urls = decode(_decode_file, response, _NAME, billed="no").urls
    link = urls.get("get") if isinstance(urls, dict) else None
    if not isinstance(link, str) or not link:
        raise ProviderError(
            f"{_NAME} took a file and gave no link to it; nothing was ordered.", retryable=True
        )
    return link


# --- the life of a prediction -------------------------------------------------


class _Prediction(msgspec.Struct):
    # No wrong type may lose paid images: each field is checked when it is used.
    id: object = None
    status: object = None
    output: object = None
    error: object = None
    logs: object = None
    data_removed: object = None
    metrics: object = None


_decode_prediction = msgspec.json.Decoder(_Prediction).decode

_STARTING = "starting"
_SUCCEEDED = "succeeded"
_FAILED = "failed"
_STOPPED = ("canceled", "aborted")
_ENDS = (_SUCCEEDED, _FAILED, *_STOPPED)


def _finish(call: Call, accepted: JobAccepted, known: _Prediction) -> Exchange:
    """Second half of every operation; `known` is the last state of the
    prediction.
    """
    called_back = bool(_callback_fields(call))
    job = Job(id=accepted.job_id, url=accepted.poll_url, provider=_NAME, called_back=called_back)
    prediction = yield from _await_end(call, job, known)
    return (yield from _collect(call, job.id, prediction))


def _await_end(
    call: Call, job: Job, known: _Prediction
) -> Generator[Step, HttpResponse | bytes | None, _Prediction]:
    """Asks until the prediction has succeeded; the other ends are raised."""
    stop = HttpRequest(method="POST", url=f"{job.url}/cancel")
    free_to_stop: bool | None = None

    def look(prediction: _Prediction) -> Ended[_Prediction] | list[Progress | Cancellable] | None:
        nonlocal free_to_stop
        status = _status_of(prediction)
        if status == _SUCCEEDED:
            return Ended(prediction)
        if status in _ENDS:
            raise _failure(call, prediction, job.id)
        if not status:
            return None
        progress = Progress(
            fraction=_read_fraction(prediction.logs), note=one_line(prediction.status)
        )
        # Nothing has run while it starts; once it has run, nothing makes it
        # free again.
        free = status == _STARTING and free_to_stop is not False
        free = free and call.settings.get("charges_for_starting") is not True
        if free is free_to_stop:
            return [progress]
        free_to_stop = free
        return [Cancellable(request=stop, stops_bill=free), progress]

    first = look(known)
    if isinstance(first, Ended):
        return first.answer
    yield from first or ()
    return (
        yield from await_end(
            call,
            job,
            lambda response, early: look(_read_prediction(response)),
            lambda response: _said(_read_problem(response)),
        )
    )


def _read_prediction(response: HttpResponse) -> _Prediction:
    """Return the prediction; an empty one for an unreadable reply."""
    if response.status >= 300:
        return _Prediction()
    try:
        return decode_json(_decode_prediction, response.body)
    except MALFORMED:
        return _Prediction()


def _status_of(prediction: _Prediction) -> str:
    return prediction.status.strip().casefold() if isinstance(prediction.status, str) else ""


def _read_fraction(logs: object) -> float | None:
    """Return the last percentage in the log, where most models report their
    progress.
    """
    found = _PERCENT.findall(logs[-2000:]) if isinstance(logs, str) else []
    return min(int(found[-1]), 100) / 100 if found else None


def _collect(call: Call, job_id: str, prediction: _Prediction) -> Exchange:
    links = list(_links(prediction.output))
    if not links:
        raise _no_output(prediction, job_id)
    images = yield from collect_each(_fetch(call, job_id, link) for link in links)
    return GeneratedImages(images=images, units=_read_seconds(prediction.metrics))


def _fetch(
    call: Call, job_id: str, link: str
) -> Generator[Step, HttpResponse | bytes | None, GeneratedImage]:
    data = yield from download(link, _NAME)
    return GeneratedImage(data=data, seed=call.request.seed, provider_id=job_id)


def _links(output: object) -> Iterator[str]:
    """The links in an output: a text, a list of them, or an object that holds
    some.
    """
    match output:
        case str() if output.startswith(("https://", "http://", "data:")):
            yield output
        case list():
            for item in output:
                yield from _links(item if isinstance(item, (str, dict)) else None)
        case dict():
            yield from (
                link for item in output.values() if isinstance(item, str) for link in _links(item)
            )


def _no_output(prediction: _Prediction, job_id: str) -> ImagenError:
    details = {"job_id": job_id}
    if prediction.data_removed is True:
        text = (
            f"{_NAME} made the images of {job_id} and has deleted them, as it does after an hour;"
            " they were billed."
        )
        return ProviderError(text, billed="yes", details=details)
    text = f"{_NAME} says that {job_id} succeeded and gives no image; it may be billed."
    return ProviderError(text, billed="unknown", details=details)


def _read_seconds(metrics: object) -> Decimal | None:
    """The seconds of hardware, which models without a price per image are
    billed by.
    """
    seconds = metrics.get("predict_time") if isinstance(metrics, dict) else None
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, (int, float))
        or not 0 <= seconds <= _MOST_SECONDS
    ):
        return None
    # A tiny float has more digits than money.
    return Decimal(str(seconds)).quantize(Decimal("1e-9"))


def _failure(call: Call, prediction: _Prediction, job_id: str) -> ImagenError:
    """Return the error of a prediction without an image."""
    status, told = _status_of(prediction), one_line(prediction.error)
    details = {"job_id": job_id}
    billed = _billed(call)
    if status in _STOPPED:
        # A deadline before the start aborts what has not run.
        stopped: Billed = "no" if status == "aborted" else billed
        return ProviderError(
            f"{_NAME} stopped the prediction: {told or status}.", billed=stopped, details=details
        )
    said = told.rstrip(".") or "it does not say why"
    if _REFUSED.search(told):
        text = f"{_NAME} refuses the request: {said}. Change the prompt or the images."
        return ContentFilterError(text, billed=billed, details=details)
    if _NO_MONEY.search(told):
        return QuotaExceededError(
            f"{_NAME} says: {said}. Raise the limit there.", billed=billed, details=details
        )
    if _BUSY.search(told):
        wait = read_wait_seconds({}, told)
        text = f"{_NAME} says: {said}."
        return RateLimitError(text, billed=billed, retry_after_seconds=wait, details=details)
    if _LASTING.search(told):
        text = f"{_NAME} failed to make the image: {said}. A smaller one may do."
        return ProviderError(text, billed=billed, details=details)
    again = _FLEETING.search(told) is not None
    hint = " Try once more." if again else ""
    text = f"{_NAME} failed to make the image: {said}.{hint}"
    return ProviderError(text, retryable=again, billed=billed, details=details)


def _billed(call: Call) -> Billed:
    """Return True if a failed run is billed: by the second it is; for other
    prices it is undocumented.
    """
    by_the_second = call.model.price is not None and call.model.price.usd_per_unit is not None
    return (
        "unknown" if by_the_second or call.settings.get("charges_for_failed") is not False else "no"
    )


# --- callbacks ----------------------------------------------------------------


class _Secret(msgspec.Struct):
    key: str


_decode_secret = msgspec.json.Decoder(_Secret).decode
_SECRET_SECONDS = 3600.0


def read_callback(callback: Callback) -> CallbackReading:
    """Replicate signs callbacks with a secret of the account, in the way of
    standardwebhooks.com.
    """
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    message_id, timestamp, signatures = (signed_header(callback, name, _NAME) for name in names)
    check_age(callback, timestamp, _NAME)
    secret = yield from _fetch_secret()
    head = f"{message_id}.{timestamp}.".encode(errors="replace")
    digest = pybase64.b64encode_as_string(hash_with(secret, head, callback.body))
    # One for each of the secrets that are valid while one of them is replaced.
    check_hash(f"v1,{digest}", signatures.split(" "), _NAME)
    return read_job_id(callback, "id", _NAME)


def _fetch_secret() -> Generator[Step, HttpResponse | bytes | None, bytes]:
    url = "webhooks/default/secret"
    response = yield from send(
        HttpRequest(method="GET", url=url, repeatable=True, cache_seconds=_SECRET_SECONDS)
    )
    if response.status != 200:
        raise _refusal(response)
    text = decode(_decode_secret, response, _NAME, billed="no").key
    try:
        return pybase64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        # Not chained: the text is the secret.
        raise ProviderError(f"{_NAME} tells a secret for callbacks that is no base64.") from None


# --- errors -------------------------------------------------------------------


class _Problem(msgspec.Struct):
    title: object = None
    detail: object = None
    invalid_fields: object = None


_decode_problem = msgspec.json.Decoder(_Problem).decode


def _refusal(response: HttpResponse) -> ImagenError:
    """Return the error of a refused prediction or file."""
    problem = _read_problem(response)
    said = _said(problem) or quote_error(response, _NAME)
    details = trace(response)
    match response.status:
        case 401 | 403:
            return AuthenticationError(
                f"{_NAME} does not accept the token, or not for this model. {said} Check"
                " REPLICATE_API_TOKEN.",
                details=details,
            )
        case 402:
            return QuotaExceededError(
                f"{said} Buy credit at {_NAME}, or raise the limit there.", details=details
            )
        case 404:
            return ModelNotFoundError(
                f"{said} Check the model and the base URL.", code="API_ERROR", details=details
            )
        case 422 if "version" in one_line(problem.title).casefold():
            return ModelNotFoundError(f"{said} Check the model.", code="API_ERROR", details=details)
        case 400 | 413 | 422:
            return InvalidRequestError(said, code="INVALID_PROMPT", details=details)
        case 429:
            return RateLimitError(
                said, retry_after_seconds=_read_wait(response, said), details=details
            )
        case code if 400 <= code < 500 and code != 408:
            return InvalidRequestError(said, code="API_ERROR", details=details)
        case code if 300 <= code < 400:
            return ProviderError(
                f"{_NAME} redirects to another address, which is not followed.", details=details
            )
        case _:
            return outage(response, _NAME, said)


def _read_wait(response: HttpResponse, said: str) -> float | None:
    """Return the wait of the reply; else the seconds until the rate limit
    resets.
    """
    asked = read_wait_seconds(response.headers, said, response.body)
    reset = response.headers.get("ratelimit-reset", "").strip()
    if asked is None and reset.isascii() and reset.isdigit() and len(reset) < 6:
        return float(reset)
    return asked


def _read_problem(response: HttpResponse) -> _Problem:
    try:
        return decode_json(_decode_problem, response.body)
    except MALFORMED:
        return _Problem()


def _said(problem: _Problem) -> str:
    """Return the provider's own words as a sentence; "" if there are none."""
    title, detail = one_line(problem.title).rstrip("."), one_line(problem.detail).rstrip(".")
    words = [title, detail, *_invalid_fields(problem.invalid_fields)]
    text = one_line(": ".join(filter(None, words)))
    return f"{_NAME} says: {text}." if text else ""


def _invalid_fields(fields: object) -> Iterator[str]:
    for item in fields if isinstance(fields, list) else []:
        if isinstance(item, dict):
            name, why = one_line(item.get("field")), one_line(item.get("description"))
            yield f"{name} {why}".strip().rstrip(".")


PROVIDER = Provider(
    name="replicate",
    operations={"generate": run, "edit": run, "vary": run, "enhance": run, "restyle": run},
    collect=collect,
    read_callback=read_callback,
    base_url="https://api.replicate.com/v1",
    base_url_variable="REPLICATE_BASE_URL",
    key_variables=("REPLICATE_API_TOKEN",),
    probe_url="account",
    home_page="replicate.com/account/api-tokens",
    # replicate.com/docs, topics/predictions/rate-limits, 2026.
    rate_limit=RateLimit(requests_per_minute=600),
    settings={
        # Seconds between two questions whether a prediction has ended.
        "poll_seconds": 1.0,
        # True if a failed one may be billed at a price per image: documented as
        # free, not confirmed.
        "charges_for_failed": True,
        # True if one that is stopped before it runs is billed: by the second it
        # is not; for other prices it is undocumented.
        "charges_for_starting": False,
    },
)
