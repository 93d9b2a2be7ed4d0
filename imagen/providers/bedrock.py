"""Amazon Bedrock: Stability AI's text-to-image models, one POST each.

The key is a Bedrock API key (AWS_BEARER_TOKEN_BEDROCK), which is sent as it is.
Without one the transport signs by the credentials of AWS.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
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
from .._requests.request import Vary
from .._system.retry_after import read_wait_seconds
from ._provider import Call, Provider
from ._replies.decoding import (
    collect_each,
    decode,
    decode_base64,
    one_line,
    outage,
    trace,
)
from ._replies.error_text import quote_error
from ._steps import (
    Exchange,
    GeneratedImage,
    GeneratedImages,
    HttpResponse,
    LostImage,
    Step,
    WithheldImage,
)
from ._wire.http import add_options, as_base64, json_request, send

__all__ = ["PROVIDER", "draw"]

_NAME = "Amazon Bedrock"
_RESERVED = ("prompt", "image", "mode", "strength")
# How far a variation goes if the caller does not say it.
_STRENGTH = 0.7
_MOST_SEED = 2**32 - 1


def draw(call: Call) -> Exchange:
    """Text to image, or a variation of one."""
    path = f"model/{quote(call.model.wire_name, safe='')}/invoke"
    response = yield from send(json_request(path, _body(call)))
    if response.status != 200:
        raise _refusal(response)
    return (yield from _read(call, response))


def _body(call: Call) -> dict[str, JsonValue]:
    request = call.request
    asked: dict[str, JsonValue] = {
        "prompt": request.prompt or None,
        "negative_prompt": request.negative_prompt,
        "aspect_ratio": request.aspect_ratio,
        "seed": request.seed,
        "output_format": request.output_format,
    }
    if isinstance(request, Vary):
        asked |= {
            "mode": "image-to-image",
            "image": as_base64(call.images[0]),
            "strength": _STRENGTH if request.strength is None else request.strength,
        }
    given = {name: value for name, value in asked.items() if value is not None}
    return add_options(given, request, reserved=_RESERVED)


# --- what comes back ----------------------------------------------------------


class _Answer(msgspec.Struct):
    # No wrong type may lose a paid image: each is looked at when it is read.
    images: object = None
    seeds: object = None
    finish_reasons: object = None


_decode_answer = msgspec.json.Decoder(_Answer).decode


def _read(call: Call, response: HttpResponse) -> Exchange:
    answer = decode(_decode_answer, response, _NAME)
    texts = answer.images if isinstance(answer.images, list) else []
    reasons = answer.finish_reasons if isinstance(answer.finish_reasons, list) else []
    if not texts and not any(reasons):
        raise ProviderError(
            f"{_NAME} answered without an image; it may be billed.",
            billed="unknown",
            details=trace(response),
        )
    count = max(len(texts), len(reasons))
    images = yield from collect_each(
        _item(call, answer, _at(texts, place), one_line(_at(reasons, place)), place)
        for place in range(count)
    )
    return GeneratedImages(images=images)


def _item(
    call: Call, answer: _Answer, text: object, reason: str, place: int
) -> Generator[Step, HttpResponse | bytes | None, GeneratedImage | WithheldImage | LostImage]:
    yield from ()
    if "filter" in reason.casefold():
        # Whether it is billed is not published.
        return WithheldImage(reason=f"{reason}. Change the prompt or the image.")
    if not isinstance(text, str) or not text:
        return LostImage(reason=reason or "its answer holds no image.")
    seeds = answer.seeds if isinstance(answer.seeds, list) else []
    told = _read_seed(_at(seeds, place))
    return GeneratedImage(
        data=decode_base64(text, _NAME), seed=call.request.seed if told is None else told
    )


def _at(values: Sequence[object], place: int) -> object:
    return values[place] if place < len(values) else None


def _read_seed(seed: object) -> int | None:
    """Return a seed; some replies write it as text."""
    if isinstance(seed, str) and seed.isascii() and seed.isdigit() and len(seed) < 12:
        seed = int(seed)
    if isinstance(seed, bool) or not isinstance(seed, int):
        return None
    return seed if 0 <= seed <= _MOST_SEED else None


# --- errors -------------------------------------------------------------------


def _refusal(response: HttpResponse) -> ImagenError:
    """The error of a refused call: its type decides before the status."""
    kind = response.headers.get("x-amzn-errortype", "").partition(":")[0]
    said = quote_error(response, _NAME)
    details = trace(response) | ({"type": kind} if kind else {})
    match response.status, kind:
        case _, "ServiceQuotaExceededException":
            return QuotaExceededError(f"{said} Ask AWS for a higher quota.", details=details)
        case 401 | 403, _:
            return AuthenticationError(
                f"{said} Check AWS_BEARER_TOKEN_BEDROCK or the credentials of AWS, the clock, and"
                " that the account may use the model.",
                details=details,
            )
        case (404, _) | (_, "ResourceNotFoundException"):
            return ModelNotFoundError(
                f"{said} Check the model and the region of the base URL.",
                code="API_ERROR",
                details=details,
            )
        case 429, _:
            wait = read_wait_seconds(response.headers, said, response.body)
            return RateLimitError(said, retry_after_seconds=wait, details=details)
        case 400, _ if "content filter" in said.casefold() or "policy" in said.casefold():
            return ContentFilterError(f"{said} Change the prompt.", details=details)
        case status, _ if 400 <= status < 500 and status not in (408, 424):
            about_input = status in (400, 413, 422)
            return InvalidRequestError(
                said, code="INVALID_PROMPT" if about_input else "API_ERROR", details=details
            )
        case status, _ if 300 <= status < 400:
            return ProviderError(
                f"{_NAME} redirects to another address, which is not followed.", details=details
            )
        case _:
            return outage(response, _NAME, said, details)


PROVIDER = Provider(
    name="bedrock",
    operations={"generate": draw, "vary": draw},
    base_url="https://bedrock-runtime.us-west-2.amazonaws.com",
    base_url_variable="BEDROCK_BASE_URL",
    key_variables=("AWS_BEARER_TOKEN_BEDROCK",),
    aws_service="bedrock",
    home_page="console.aws.amazon.com/bedrock",
)
