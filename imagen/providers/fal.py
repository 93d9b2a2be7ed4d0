"""fal.ai, a gateway to hundreds of models behind one queue: a request is
submitted, asked for, and fetched from links.

The inputs of a model are data: the table `wire` of its catalog entry, see
`imagen/providers/_wire/model_inputs.py`. Every operation is the same exchange,
with another input.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from urllib.parse import quote, urlencode, urlsplit

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
from .._requests.catalog import JsonValue, Model
from .._system.retry_after import read_wait_seconds
from ._provider import (
    Call,
    Callback,
    CallbackReading,
    EncodedImage,
    ListedPrice,
    PriceListing,
    Provider,
)
from ._replies.decoding import (
    MALFORMED,
    collect_each,
    decode,
    decode_json,
    download,
    one_line,
    trace,
)
from ._replies.error_text import quote_error
from ._steps import (
    AnyImage,
    Cancellable,
    Exchange,
    GeneratedImage,
    GeneratedImages,
    HttpRequest,
    HttpResponse,
    JobAccepted,
    LostImage,
    Progress,
    Step,
    Wait,
    WithheldImage,
)
from ._wire.http import as_data_url, json_request, send
from ._wire.model_inputs import Steps, make_input
from ._wire.polling import Ended, Job, await_end
from ._wire.signatures import check_signature, read_job_id

__all__ = ["PROVIDER", "collect", "list_prices", "read_callback", "run"]

_NAME = "fal.ai"
# The first makes results that expire after six minutes, the others decide the
# cost.
_RESERVED = ("sync_mode", "num_images", "image_size", "image_url", "image_urls", "mask_url")
# Not below the base URL, and without the key (fal.ai/docs, webhooks).
_KEYS_URL = "https://rest.fal.ai/.well-known/jwks.json"
# A result may come a moment after the status that promises it.
_MOST_RESULT_POLLS = 5
# No job counts as many megapixels or images; more would overflow the money
# arithmetic.
_MOST_UNITS = 10**6
_LARGEST_SEED = 2**63 - 1
_PERCENT = re.compile(r"(?<![0-9.])([0-9]{1,3})(?:\.[0-9]+)?%")
# Owner and app, or three of them: workflows and comfy are namespaces.
_NAMESPACES = ("workflows", "comfy")
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]*")
_NO_MONEY = re.compile(r"(?i)balance|user is locked|top up|billing|credits")


def run(call: Call) -> Exchange:
    """Submits the input of a call, waits for its end and fetches the images."""
    made = yield from make_input(call, _hand_in, reserved=_RESERVED)
    query = "" if call.callback_url is None else f"?{urlencode({'fal_webhook': call.callback_url})}"
    response = yield from send(json_request(made.endpoint + query, made.fields))
    if response.status >= 300:
        raise _refusal(response, None)
    job = _read_job(response, made.endpoint)
    yield JobAccepted(job_id=job.id, poll_url=job.status_url)
    result = yield from _finish(call, job, queued=True)
    return msgspec.structs.replace(result, adjustments=made.adjustments)


def collect(call: Call, accepted: JobAccepted) -> Exchange:
    """Waits for the end of a job and fetches its images."""
    # The call has no images to upload: this is for the adjustments.
    made = yield from make_input(call, _hand_in, reserved=_RESERVED)
    job = _Job(id=accepted.job_id, url=accepted.poll_url.removesuffix(_STATUS))
    result = yield from _finish(call, job, queued=False)
    return msgspec.structs.replace(result, adjustments=made.adjustments)


def read_callback(callback: Callback) -> CallbackReading:
    """fal.ai signs callbacks with keys that it publishes."""
    yield from check_signature(callback, "x-fal-webhook-", "request-id", _KEYS_URL, _NAME)
    return read_job_id(callback, "request_id", _NAME)


def _hand_in(image: EncodedImage) -> Steps:
    # Not as a file: uploads here are public.
    yield from ()
    return as_data_url(image)


# --- prices -------------------------------------------------------------------


class _Price(msgspec.Struct):
    endpoint_id: str = ""
    unit_price: object = None
    unit: str = ""
    currency: str = ""


class _Prices(msgspec.Struct):
    prices: list[_Price] = []


_decode_prices = msgspec.json.Decoder(_Prices).decode
# The endpoint takes fifty models at a time (api.fal.ai, models/pricing).
_MODELS_AT_ONCE = 50
_MOST_USD = 10**6


def list_prices(models: Sequence[Model], settings: Mapping[str, JsonValue]) -> PriceListing:
    """Price of a unit of each model, from the platform API."""
    names = [model.wire_name for model in models if model.lifecycle.live]
    found: list[ListedPrice] = []
    for start in range(0, len(names), _MODELS_AT_ONCE):
        asked = ",".join(names[start : start + _MODELS_AT_ONCE])
        url = f"{settings['platform_url']}/models/pricing?endpoint_id={quote(asked, safe='/,')}"
        response = yield from send(HttpRequest(method="GET", url=url, repeatable=True))
        if response.status != 200:
            raise _refusal(response, None)
        prices = decode(_decode_prices, response, _NAME, billed="no").prices
        found += [listed for price in prices if (listed := _read_price(price)) is not None]
    return tuple(found)


def _read_price(price: _Price) -> ListedPrice | None:
    usd = price.unit_price
    if price.currency != "USD" or isinstance(usd, bool) or not isinstance(usd, (int, float)):
        return None
    if not 0 <= usd <= _MOST_USD:
        return None
    return ListedPrice(wire_name=price.endpoint_id, usd=Decimal(str(usd)), unit=price.unit)


# --- the life of a job --------------------------------------------------------


class _Submitted(msgspec.Struct):
    request_id: object = None
    response_url: object = None


class _Status(msgspec.Struct):
    # No wrong type may lose a paid job: each field is checked when it is used.
    status: object = None
    queue_position: object = None
    logs: object = None
    error: object = None
    error_type: object = None


class _Job(msgspec.Struct, frozen=True):
    """A job by its id, and the path below the base URL of its result."""

    id: str
    url: str

    @property
    def status_url(self) -> str:
        return f"{self.url}{_STATUS}"

    @property
    def cancel_url(self) -> str:
        return f"{self.url}/cancel"


_STATUS = "/status?logs=1"
_decode_submitted = msgspec.json.Decoder(_Submitted).decode
_decode_status = msgspec.json.Decoder(_Status).decode


def _read_job(response: HttpResponse, endpoint: str) -> _Job:
    submitted = decode(_decode_submitted, response, _NAME)
    job_id = submitted.request_id
    if not isinstance(job_id, str) or not job_id:
        raise ProviderError(
            f"{_NAME} took the request and did not say how to ask for the images; it may be"
            " billed.",
            billed="unknown",
            details=trace(response),
        )
    told = _app_of(submitted.response_url, job_id, endpoint)
    return _Job(id=job_id, url=f"{told or _app(endpoint)}/requests/{quote(job_id, safe='')}")


def _app(endpoint: str) -> str:
    """Return the address without what follows the app, as job addresses lack
    that.
    """
    parts = endpoint.strip("/").split("/")
    return "/".join(parts[: _app_parts(endpoint)])


def _app_parts(endpoint: str) -> int:
    return 3 if endpoint.startswith(tuple(f"{name}/" for name in _NAMESPACES)) else 2


def _app_of(url: object, job_id: str, endpoint: str) -> str | None:
    """Return the app in the address of a job; None for another address.

    Only the app is taken from it: the key stays below the base URL, whatever
    host the reply names.
    """
    if not isinstance(url, str):
        return None
    try:
        path = urlsplit(url).path
    except ValueError:
        return None
    head, marker, tail = path.partition("/requests/")
    app = head.strip("/").split("/")[-_app_parts(endpoint) :]
    fits = len(app) == _app_parts(endpoint) and all(map(_SEGMENT.fullmatch, app))
    return "/".join(app) if marker and tail == job_id and fits else None


def _finish(call: Call, job: _Job, *, queued: bool) -> Exchange:
    """Second half of every operation; `queued` if the job is known to wait."""
    end = yield from _await_end(call, job, queued=queued)
    response = yield from _fetch_result(job, end)
    return (yield from _collect(call, job, response))


def _await_end(
    call: Call, job: _Job, *, queued: bool
) -> Generator[Step, HttpResponse | bytes | None, _Status]:
    """Poll until the job is completed; failed jobs are completed too."""
    stop = HttpRequest(method="PUT", url=job.cancel_url)
    # A job in the queue is removed for nothing (fal.ai/docs, queue); a running
    # one may be billed, and may not stop.
    free, has_run = queued, False
    yield Cancellable(request=stop, stops_bill=free)

    def read(response: HttpResponse, early: bool) -> Ended[_Status] | list[Step] | None:
        nonlocal free, has_run
        status = _read_status(response)
        word = _word(status.status)
        if word == "completed":
            return Ended(status)
        if not word:
            return None
        has_run = has_run or word != "in_queue"
        if free is not has_run:
            return [_progress(status, word)]
        free = not has_run
        return [Cancellable(request=stop, stops_bill=free), _progress(status, word)]

    def say(response: HttpResponse) -> str:
        return _sentence(_read_complaint(response).text)

    place = Job(
        id=job.id, url=job.status_url, provider=_NAME, called_back=call.callback_url is not None
    )
    return (yield from await_end(call, place, read, say))


def _read_status(response: HttpResponse) -> _Status:
    """Return the status; an empty one for an unreadable reply."""
    if response.status not in (200, 202):
        return _Status()
    try:
        return decode_json(_decode_status, response.body)
    except MALFORMED:
        return _Status()


def _word(value: object) -> str:
    return value.strip().casefold() if isinstance(value, str) else ""


def _progress(status: _Status, word: str) -> Progress:
    if word == "in_queue":
        before = status.queue_position
        if isinstance(before, bool) or not isinstance(before, int) or before < 0:
            return Progress(note="in the queue")
        return Progress(
            note="next in the queue" if before == 0 else f"in the queue behind {before}"
        )
    return Progress(
        fraction=_read_fraction(status.logs),
        note="running" if word == "in_progress" else one_line(word),
    )


def _read_fraction(logs: object) -> float | None:
    """Return the last percentage in the log, where most models report their
    progress.
    """
    for line in reversed(logs if isinstance(logs, list) else []):
        message = line.get("message") if isinstance(line, dict) else None
        if isinstance(message, str) and (found := _PERCENT.findall(message[-2000:])):
            return min(int(found[-1]), 100) / 100
    return None


def _fetch_result(
    job: _Job, status: _Status
) -> Generator[Step, HttpResponse | bytes | None, HttpResponse]:
    """Fetch the model's own reply; raise unless it is a success."""
    failed = bool(status.error or status.error_type)
    for _ in range(_MOST_RESULT_POLLS):
        # The reply of a failed job never changes, so it is not retried.
        asked = HttpRequest(method="GET", url=job.url, repeatable=not failed, collects=not failed)
        response = yield from send(asked)
        if response.status == 200:
            return response
        if failed or response.status != 400 or "in progress" not in _read_complaint(response).text:
            break
        yield Wait(seconds=1.0, job_id=job.id)
    error = _refusal(response, status)
    error.details["job_id"] = job.id
    raise error


# --- results ------------------------------------------------------------------


class _Output(msgspec.Struct):
    images: object = None
    image: object = None
    seed: object = None
    prompt: object = None
    has_nsfw_concepts: object = None
    nsfw_content_detected: object = None


_decode_output = msgspec.json.Decoder(_Output).decode


def _collect(call: Call, job: _Job, response: HttpResponse) -> Exchange:
    output = decode(_decode_output, response, _NAME, billed="yes")
    items = _items(output)
    if not items:
        raise ProviderError(
            f"{_NAME} completed the job and gave no image; it may have been billed.",
            billed="unknown",
        )
    images = yield from collect_each(
        _fetch(call, job, output, place, item) for place, item in enumerate(items)
    )
    return GeneratedImages(images=images, units=_read_units(response.headers))


def _fetch(
    call: Call, job: _Job, output: _Output, place: int, item: object
) -> Generator[Step, HttpResponse | bytes | None, AnyImage]:
    link = item.get("url") if isinstance(item, dict) else item
    if _is_flagged(output, place):
        return WithheldImage(reason="its filter finds the image unsafe, and blackens it.")
    if not isinstance(link, str) or not link:
        return LostImage(reason="its answer holds no link to the image.")
    return _image(call, job, output, (yield from download(link, _NAME)))


def _items(output: _Output) -> list[object]:
    # Some models send an empty list beside the one image.
    if isinstance(output.images, list) and output.images:
        return output.images
    return [] if output.image is None else [output.image]


def _is_flagged(output: _Output, place: int) -> bool:
    for flags in (output.has_nsfw_concepts, output.nsfw_content_detected):
        if flags is True or (
            isinstance(flags, list) and place < len(flags) and flags[place] is True
        ):
            return True
    return False


def _image(call: Call, job: _Job, output: _Output, data: bytes) -> GeneratedImage:
    seed, prompt = output.seed, output.prompt
    told = isinstance(seed, int) and not isinstance(seed, bool) and abs(seed) <= _LARGEST_SEED
    return GeneratedImage(
        data=data,
        revised_prompt=(
            prompt if isinstance(prompt, str) and prompt and prompt != call.request.prompt else None
        ),
        seed=seed if told and isinstance(seed, int) else call.request.seed,
        provider_id=job.id,
    )


def _read_units(headers: Mapping[str, str]) -> Decimal | None:
    """Return the units of the model's price in the reply; None if absent."""
    text = headers.get("x-fal-billable-units", "").strip()
    try:
        units = Decimal(text) if text.isascii() and len(text) < 30 else None
    except InvalidOperation:
        return None
    if units is None or not units.is_finite() or not 0 <= units <= _MOST_UNITS:
        return None
    return units.quantize(Decimal("1e-9"))


# --- errors -------------------------------------------------------------------


class _Refused(msgspec.Struct):
    detail: object = None
    error_type: object = None
    # Names of the platform, and of proxies.
    message: object = None
    error: object = None


class _Complaint(msgspec.Struct, frozen=True):
    """Reason of a refusal: fal.ai's name of it, its words, and True if a field
    is named.
    """

    kind: str = ""
    text: str = ""
    names_field: bool = False


_decode_refused = msgspec.json.Decoder(_Refused).decode

_FILTERED = ("content_policy_violation", "no_media_generated")
_CANCELLED = ("client_cancelled", "client_disconnected")
# Failures of fal.ai's own service or machines; the HTTP code may be any 5xx.
_BROKEN = (
    "internal_",
    "downstream_service_unavailable",
    "runner_",
    "generation_timeout",
    "startup_timeout",
    "request_timeout",
)
# Worth another try though the request is at fault.
_FLEETING = ("file_download_error", "no_media_generated", "downstream_service_error")


def _read_complaint(response: HttpResponse, status: _Status | None = None) -> _Complaint:
    kind = response.headers.get("x-fal-error-type", "")
    try:
        refused = decode_json(_decode_refused, response.body)
    except MALFORMED:
        refused = _Refused()
    text, names_field = "", False
    if isinstance(refused.detail, list):
        first = next((item for item in refused.detail if isinstance(item, dict)), {})
        kind = one_line(first.get("type")) or kind
        text = one_line("; ".join(_lines(refused.detail)))
        names_field = isinstance(first.get("loc"), list)
    elif isinstance(refused.error, dict):
        kind = kind or one_line(refused.error.get("type"))
        text = one_line(refused.error.get("message"))
    text = text or one_line(refused.detail) or one_line(refused.message) or one_line(refused.error)
    kind = kind or one_line(refused.error_type)
    if status is not None:
        kind, text = kind or one_line(status.error_type), text or one_line(status.error)
    return _Complaint(kind=kind, text=text, names_field=names_field)


def _lines(detail: Iterable[object]) -> Iterable[str]:
    for item in detail:
        if isinstance(item, dict):
            place = item.get("loc")
            field = ".".join(map(one_line, place[1:])) if isinstance(place, list) else ""
            yield f"{field}: {one_line(item.get('msg'))}".removeprefix(": ")


def _sentence(text: str) -> str:
    return f"{_NAME} says: {text.rstrip('.')}." if text else ""


def _refusal(response: HttpResponse, status: _Status | None) -> ImagenError:
    """Return the error of a refused submission, or, with its `status`, of a
    failed job.
    """
    complaint = _read_complaint(response, status)
    said = _sentence(complaint.text) or quote_error(response, _NAME)
    details = trace(response) | ({"type": complaint.kind} if complaint.kind else {})
    error = _error(response, complaint, said, taken=status is not None)
    error.details.update(details)
    if (told := response.headers.get("x-fal-retryable", "").strip().casefold()) in (
        "true",
        "false",
    ):
        error.retryable = told == "true"
    if response.headers.get("x-fal-request-timeout-type", "").strip().casefold() == "user":
        error.retryable = False
    return error


def _error(response: HttpResponse, complaint: _Complaint, said: str, *, taken: bool) -> ImagenError:
    kind, code = complaint.kind, response.status
    # Content is also looked at when the work is done, and then it may be
    # charged (fal.ai/docs, errors).
    after_work: Billed = "unknown" if taken else "no"
    if kind in _FILTERED:
        text = f"{said} Change the prompt or the images."
        return ContentFilterError(text, retryable=kind in _FLEETING, billed=after_work)
    if kind in _CANCELLED or code == 499:
        return ProviderError(f"The job was cancelled. {said}", billed=after_work)
    if kind.startswith(_BROKEN) or code >= 500 or code == 408:
        return _outage(response, complaint, said, taken=taken)
    if 300 <= code < 400:
        text = f"{_NAME} redirects to another address, which is not followed."
        return ProviderError(text, billed=after_work)
    if kind in _FLEETING and code == 400:
        return ProviderError(f"{said} Try again later.", retryable=True)
    match code:
        case 402:
            return QuotaExceededError(f"{said} Top up the balance at {_NAME}.", billed=after_work)
        case 403 if _NO_MONEY.search(complaint.text):
            return QuotaExceededError(f"{said} Top up the balance at {_NAME}.", billed=after_work)
        case 401 | 403:
            return AuthenticationError(
                f"{_NAME} does not accept the key. {said} Check FAL_KEY.", billed=after_work
            )
        case 404 | 405 if taken:
            return ProviderError(
                f"{_NAME} does not know the job any more; it may be billed. {said}",
                billed="unknown",
            )
        case 404:
            return ModelNotFoundError(f"{said} Check the model and the base URL.", code="API_ERROR")
        case 422:
            # Fields are looked at before the work; what names none may have
            # come after it.
            billed: Billed = "no" if complaint.names_field else after_work
            return InvalidRequestError(
                said, code="INVALID_PROMPT", retryable=kind in _FLEETING, billed=billed
            )
        case 429:
            wait = read_wait_seconds(response.headers, complaint.text, response.body)
            return RateLimitError(
                f"{said} Too many jobs at once.", billed=after_work, retry_after_seconds=wait
            )
        case _:
            return InvalidRequestError(
                said, code="API_ERROR", billed="no" if kind or not taken else "unknown"
            )


def _outage(
    response: HttpResponse, complaint: _Complaint, said: str, *, taken: bool
) -> ImagenError:
    """Return the error of a 5xx: fal.ai never charges a job that ends so;
    without a name it may be a proxy's page, or a lost result.
    """
    own = bool(complaint.kind) or (not taken and "x-fal-request-id" in response.headers)
    billed: Billed = "no" if own or (response.status == 503 and not taken) else "unknown"
    return ProviderError(
        f"{_NAME} has trouble ({response.status}). {said} Try again later.",
        retryable=True,
        billed=billed,
        retry_after_seconds=read_wait_seconds(response.headers, body=response.body),
    )


PROVIDER = Provider(
    name="fal",
    operations={"generate": run, "edit": run, "vary": run, "enhance": run, "restyle": run},
    collect=collect,
    read_callback=read_callback,
    base_url="https://queue.fal.run",
    base_url_variable="FAL_BASE_URL",
    key_variables=("FAL_KEY",),
    key_prefix="Key ",
    # Its platform API, which lists prices, is on a host of its own.
    key_domains=("api.fal.ai",),
    list_prices=list_prices,
    home_page="fal.ai/dashboard/keys",
    settings={
        # Seconds between two questions whether a job has ended.
        "poll_seconds": 1.0,
        "platform_url": "https://api.fal.ai/v1",
    },
)
