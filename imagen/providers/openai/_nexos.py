"""The nexos.ai gateway: OpenAI's wire format with a strict set of fields, and
models that each workspace names itself.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from decimal import Decimal, InvalidOperation

import msgspec

from ..._errors import (
    AuthenticationError,
    ConfigurationError,
    ContentFilterError,
    ImagenError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderError,
)
from ..._requests.catalog import JsonValue, Model
from .._provider import Call, ListedModel, ModelListing, Provider
from .._replies.decoding import MALFORMED, decode_json
from .._replies.refusals import refusal
from .._steps import Exchange, GeneratedImages, HttpRequest, HttpResponse, Step
from .._wire.http import add_options, json_request, send
from ._adapter import RESERVED
from ._wire import decode_reply, read_cost, read_images

__all__ = ["PROVIDER", "generate", "list_models"]

_NAME = "nexos.ai"
# The list changes only when an administrator changes the workspace; UUIDs
# differ between workspaces.
_LIST_CACHE_SECONDS = 300.0
_MODEL_NOT_FOUND = "100110"
# Refusals of the makers are passed on as text, often without a code.
_REFUSAL = re.compile(r"(?i)\b(?:safety|content policy|policy violation)\b")
_ABOUT_PROMPT = re.compile(r"(?i)\bprompt\b")
_MOST_USD_PER_CREDIT = 1000


class _ListedModel(msgspec.Struct):
    id: str
    nexos_model_id: str
    endpoints: list[str] = []


class _ModelList(msgspec.Struct):
    data: list[_ListedModel]


_decode_list = msgspec.json.Decoder(_ModelList).decode


def generate(call: Call) -> Exchange:
    """Text to image: the model's UUID from the list, which costs nothing, then
    one POST.
    """
    usd_per_credit = _read_usd_per_credit(call.settings.get("usd_per_credit"))
    model_id = _match(call.model, (yield from _fetch_list(cache_seconds=_LIST_CACHE_SECONDS)))
    response = yield from send(json_request("images/generations", _request_body(call, model_id)))
    if response.status != 200:
        raise _refusal(response)
    reply = decode_reply(response, _NAME)
    images = yield from read_images(reply, _NAME)
    usd = read_cost(reply.usage, "nexos_credits_cost", usd_per_credit)
    return GeneratedImages(images=images, reported_cost_usd=usd)


def list_models() -> ModelListing:
    """The image models of the workspace, by the names that its administrator
    gave them.
    """
    listed = yield from _fetch_list()
    return tuple(ListedModel(wire_name=entry.id, name=entry.id) for entry in listed)


def _request_body(call: Call, model_id: str) -> dict[str, JsonValue]:
    """The schema forbids unknown fields; its enums are the catalog's for this
    provider.
    """
    request = call.request
    asked: dict[str, JsonValue] = {
        "size": request.size,
        "quality": request.quality,
        "style": request.style,
    }
    body: dict[str, JsonValue] = {
        "model": model_id,
        "prompt": request.prompt,
        "n": call.count,
        # A link expires; the bytes do not.
        "response_format": "b64_json",
    }
    body |= {field: value for field, value in asked.items() if value is not None}
    return add_options(body, request, reserved=RESERVED)


def _fetch_list(
    *, cache_seconds: float = 0.0
) -> Generator[Step, HttpResponse | bytes | None, list[_ListedModel]]:
    response = yield from send(
        HttpRequest(method="GET", url="models", repeatable=True, cache_seconds=cache_seconds)
    )
    if response.status == 404:
        raise AuthenticationError(f"{_NAME} does not know the user of this key.")
    if response.status != 200:
        error = _refusal(response)
        # Nothing has been ordered yet, whatever happened.
        error.billed = "no"
        raise error
    try:
        listed = decode_json(_decode_list, response.body).data
    except MALFORMED as error:
        raise ProviderError(
            f"{_NAME} answered its model list with {len(response.body)} bytes that are no list."
        ) from error
    return [entry for entry in listed if "image_generation" in entry.endpoints]


def _match(model: Model, listed: list[_ListedModel]) -> str:
    """Match the exact name, then without case, spaces, dots and dashes; the
    caller must tell two of the same name apart.
    """
    wanted = model.wire_name
    found = [entry for entry in listed if wanted in (entry.id, entry.nexos_model_id)]
    found = found or [entry for entry in listed if _squeeze(entry.id) == _squeeze(wanted)]
    match found:
        case [entry]:
            return entry.nexos_model_id
        case []:
            names = ", ".join(sorted(entry.id for entry in listed)) or "none"
            successor = model.lifecycle.successor
            hint = f" Its successor is {successor}." if successor else ""
            raise ModelNotFoundError(
                f"Your nexos.ai workspace has no image model {wanted!r}; it has: {names}.{hint}",
                details={"successor": successor} if successor else None,
            )
        case _:
            ids = " and ".join(entry.nexos_model_id for entry in found)
            raise ModelNotFoundError(
                f"Your nexos.ai workspace has several models {wanted!r}: set wire_name of"
                f' [models."{model.id}"] in imagen.toml to one of {ids}.'
            )


def _squeeze(name: str) -> str:
    return re.sub(r"[\s.\-]", "", name).casefold()


def _refusal(response: HttpResponse) -> ImagenError:
    if response.status == 403 and b"error code: 1010" in response.body[:200]:
        return ProviderError(
            "The CDN in front of nexos.ai blocks this client's User-Agent (error code 1010)."
        )
    error = refusal(response, _NAME)
    if response.status != 400 or not isinstance(error, InvalidRequestError):
        return error
    if error.details.get("code") == _MODEL_NOT_FOUND:
        return ModelNotFoundError(error.message, code="API_ERROR", details=error.details)
    if _REFUSAL.search(error.message):
        return ContentFilterError(error.message, details=error.details)
    if _ABOUT_PROMPT.search(error.message):
        error.code = "INVALID_PROMPT"
    return error


def _read_usd_per_credit(setting: JsonValue) -> Decimal:
    """Return the value of a credit, which depends on the contract. Checked
    before anything is ordered.
    """
    try:
        usd = Decimal(setting) if isinstance(setting, str) else Decimal("NaN")
    except InvalidOperation:
        usd = Decimal("NaN")
    if not usd.is_finite() or not 0 < usd <= _MOST_USD_PER_CREDIT:
        raise ConfigurationError(
            "The setting usd_per_credit of nexos in imagen.toml must be an amount in US dollars as"
            f' text, such as "1" or "0.011", not {setting!r}.'
        )
    return usd


PROVIDER = Provider(
    name="nexos",
    operations={"generate": generate},
    list_models=list_models,
    base_url="https://api.nexos.ai/v1",
    base_url_variable="NEXOS_API_BASE_URL",
    key_variables=("NEXOS_API_KEY",),
    probe_url="models",
    home_page="nexos.ai",
    # One credit is assumed to be one dollar; the setting overrides it.
    settings={"usd_per_credit": "1"},
)
