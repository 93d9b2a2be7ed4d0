"""Providers that imitate OpenAI's Images API; `_dialects.py` has their
differences.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TypeAlias

import msgspec

from ..._errors import (
    ContentFilterError,
    ImagenError,
    InvalidRequestError,
    QuotaExceededError,
)
from ..._requests.catalog import JsonValue, Model, Operation
from ..._requests.request import Enhance, Vary
from ..._requests.translation import Adjustment
from .._provider import Call, ListedPrice, ModelListing, PriceListing, Provider
from .._replies.decoding import decode
from .._replies.refusals import refusal
from .._steps import (
    Compute,
    Exchange,
    GeneratedImage,
    GeneratedImages,
    HttpRequest,
    HttpResponse,
    LostImage,
    Step,
    WithheldImage,
)
from .._wire.http import FormFile, add_options, form_request, json_request, leave_out, send
from .._wire.masks import white_mask
from .._wire.wire_table import read_wire
from ._dialects import (
    BYTEPLUS,
    LOCALAI,
    OPENROUTER,
    RECRAFT,
    SD_SERVER,
    SGLANG,
    TOGETHER,
    VLLM_OMNI,
    XAI,
    Dialect,
)
from ._wire import decode_reply, read_cost, read_images, read_list

__all__ = ["PROVIDERS"]

_Image: TypeAlias = GeneratedImage | WithheldImage | LostImage

_RESERVED = ("model", "prompt", "n", "stream")
# As the model of a self-hosted server: the one it has loaded, so the field is
# left out.
_LOADED_MODEL = "default"
_FIELDS = (
    "size",
    "aspect_ratio",
    "resolution",
    "quality",
    "style",
    "seed",
    "negative_prompt",
    "guidance",
    "steps",
    "background",
    "output_format",
)
_REFUSAL = re.compile(
    r"(?i)\b(?:content policy|policy violation|safety system|moderation|usage guidelines|nsfw)\b"
)


# --- operations ---------------------------------------------------------------


def _generate(dialect: Dialect, call: Call) -> Exchange:
    """Text to image, with references if the model takes any."""
    body = _body(dialect, call) | (dialect.refer(call.references) if call.references else {})
    return (yield from _order(dialect, call, dialect.generate_path, body))


def _edit(dialect: Dialect, call: Call) -> Exchange:
    """One or more images to a new one: a form, or JSON that holds the images."""
    if (tool := _tool_of(dialect, call.model)) is not None:
        return (yield from _use_tool(dialect, call, tool))
    if call.mask is not None and dialect.inpaint_path is not None:
        return (yield from _inpaint(dialect, call, dialect.inpaint_path))
    if dialect.edits == "json":
        body = _body(dialect, call) | dialect.change(call.images)
        return (yield from _order(dialect, call, dialect.edit_path, body))
    name = "image" if len(call.images) == 1 else "image[]"
    files = [FormFile.of("image", image)._replace(name=name) for image in call.images]
    if call.mask is not None:
        files.append((yield from _mask_file(call)))
    return (yield from _order(dialect, call, dialect.edit_path, _body(dialect, call), files))


def _inpaint(dialect: Dialect, call: Call, path: str) -> Exchange:
    """Edit with a mask, for servers where that is another path with few fields."""
    if len(call.images) > 1:
        raise InvalidRequestError(
            f"With a mask {dialect.name} edits one image: leave out the others, or the mask."
        )
    files = [FormFile.of("image", call.images[0]), (yield from _mask_file(call))]
    if dialect.inpaint_fields is not None:
        return (yield from _change(dialect, call, path, files))
    body: dict[str, JsonValue] = {
        **_model_field(call),
        "prompt": call.request.prompt,
        "steps": call.request.steps,
    }
    others = (field for field in _FIELDS if field != "steps")
    call, adjustments = leave_out(
        call, *others, reason=f"{dialect.name} edits by a mask without it"
    )
    return (yield from _order(dialect, call, path, body, files, adjustments=adjustments))


def _vary(dialect: Dialect, call: Call) -> Exchange:
    """Another image like this one."""
    assert dialect.vary_path is not None
    assert isinstance(call.request, Vary)
    strength = call.request.strength
    files = [FormFile.of("image", call.images[0])]
    more: dict[str, JsonValue] = {"strength": dialect.strength if strength is None else strength}
    return (yield from _change(dialect, call, dialect.vary_path, files, more))


def _change(
    dialect: Dialect,
    call: Call,
    path: str,
    files: list[FormFile],
    more: Mapping[str, JsonValue] = MappingProxyType({}),
) -> Exchange:
    """Change an image, which lends its size to the new one."""
    assert dialect.inpaint_fields is not None
    others = (field for field in _FIELDS if field not in dialect.inpaint_fields)
    call, adjustments = leave_out(
        call, *others, reason=f"{dialect.name} changes an image without it"
    )
    body = {**_body(dialect, call), **more}
    return (yield from _order(dialect, call, path, body, files, adjustments=adjustments))


def _enhance(dialect: Dialect, call: Call) -> Exchange:
    """Enlarge the image."""
    if (tool := _tool_of(dialect, call.model)) is not None:
        return (yield from _use_tool(dialect, call, tool))
    assert dialect.upscale_path is not None
    assert isinstance(call.request, Enhance)
    body: dict[str, JsonValue] = {**_model_field(call), "scale": int(call.request.scale or 2)}
    files = [FormFile.of("image", call.images[0])]
    call, adjustments = leave_out(
        call, "prompt", *_FIELDS, reason=f"{dialect.name} enlarges without it"
    )
    return (
        yield from _order(dialect, call, dialect.upscale_path, body, files, adjustments=adjustments)
    )


class _Tool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Table `wire` of a model with a path of its own, the fields that it takes,
    and those of which it needs one. Without a prompt the path is the model.
    """

    path: str
    fields: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()


def _tool_of(dialect: Dialect, model: Model) -> _Tool | None:
    return read_wire(model, _Tool) if dialect.tools and model.wire else None


def _use_tool(dialect: Dialect, call: Call, tool: _Tool) -> Exchange:
    """Change an image at a path of its own."""
    if "prompt" in tool.fields and not call.request.prompt.strip():
        raise InvalidRequestError(
            f"The prompt is empty: say what {call.model.id} should draw.", code="INVALID_PROMPT"
        )
    others = (field for field in ("prompt", *_FIELDS) if field not in tool.fields)
    call, adjustments = leave_out(call, *others, reason=f"{dialect.name} does this without it")
    body = _body(dialect, call)
    if "prompt" not in tool.fields:
        body = {name: value for name, value in body.items() if name not in ("model", "prompt")}
    if tool.one_of and not any(
        body.get(one) or call.request.options.get(one) for one in tool.one_of
    ):
        raise InvalidRequestError(
            f"{call.model.id} needs a size, or one of {', '.join(tool.one_of[1:])} in options: say"
            " how far it shall go."
        )
    files = [FormFile.of("image", call.images[0])]
    if call.mask is not None:
        files.append((yield from _mask_file(call)))
    return (yield from _order(dialect, call, tool.path, body, files, adjustments=adjustments))


def _list_models(dialect: Dialect, path: str) -> ModelListing:
    response = yield from send(HttpRequest(method="GET", url=path, repeatable=True))
    return read_list(response, dialect.name, kind=dialect.listed_kind)


class _PricedModel(msgspec.Struct):
    id: str = ""
    image_price: object = None


class _PricedList(msgspec.Struct):
    models: list[_PricedModel] = []


_decode_priced = msgspec.json.Decoder(_PricedList).decode
_MOST_TICKS = 10**16


def _list_prices(
    dialect: Dialect, path: str, models: Sequence[Model], settings: Mapping[str, JsonValue]
) -> PriceListing:
    """Price of an image, which xAI's list has in the units of its replies."""
    response = yield from send(HttpRequest(method="GET", url=path, repeatable=True))
    if response.status != 200:
        raise refusal(response, dialect.name)
    listed = decode(_decode_priced, response, dialect.name, billed="no").models
    return tuple(
        ListedPrice(wire_name=one.id, usd=(ticks * dialect.usd_per_cost).normalize())
        for one in listed
        if isinstance(ticks := one.image_price, int) and 0 < ticks <= _MOST_TICKS
    )


def _keep_free(operation: Callable[[Call], Exchange], call: Call) -> Exchange:
    """Mark the errors of a self-hosted server as free and permanent: it would
    fail again.
    """
    try:
        return (yield from operation(call))
    except ImagenError as error:
        error.billed = "no"
        if error.details.get("status") == "500":
            error.retryable = False
        raise


def _imply(format: str, operation: Callable[[Call], Exchange], call: Call) -> Exchange:
    """Run an operation without a format that no parameter has."""
    if call.request.output_format == format:
        request = msgspec.structs.replace(call.request, output_format=None)
        call = msgspec.structs.replace(call, request=request)
    return (yield from operation(call))


# --- requests -----------------------------------------------------------------


def _body(dialect: Dialect, call: Call) -> dict[str, JsonValue]:
    """The fields that were asked for, by the names that they have here."""
    request = call.request
    body: dict[str, JsonValue] = {**_model_field(call), "prompt": dialect.phrase(request)}
    if call.count > 1:
        body["n"] = call.count
    for field in _FIELDS:
        value = getattr(request, field)
        if value is not None and field not in dialect.in_prompt:
            body[dialect.names.get(field, field)] = value
    if dialect.small_k and request.resolution is not None:
        body["resolution"] = request.resolution.lower()
    if dialect.sides and (size := body.pop("size", None)):
        width, _, height = str(size).partition("x")
        body |= {"width": int(width), "height": int(height)}
    if request.safety == "relaxed":
        body |= dialect.relaxed
    return body


def _model_field(call: Call) -> dict[str, JsonValue]:
    name = call.model.wire_name
    return {} if name == _LOADED_MODEL else {"model": name}


def _mask_file(call: Call) -> Generator[Step, HttpResponse | bytes | None, FormFile]:
    assert call.mask is not None
    data = yield Compute(call=partial(white_mask, call.mask), repeatable=True)
    assert isinstance(data, bytes)
    return FormFile("mask", data, "image/png", "mask.png")


def _order(
    dialect: Dialect,
    call: Call,
    path: str,
    body: Mapping[str, JsonValue],
    files: list[FormFile] | None = None,
    *,
    adjustments: tuple[Adjustment, ...] = (),
) -> Exchange:
    """Send a request that may be billed, and once more if only the wish for
    base64 was wrong: nothing was made then.
    """
    body = add_options(body, call.request, reserved=_RESERVED)
    wish: dict[str, JsonValue] = {**dialect.fixed}
    if dialect.base64_word is not None:
        wish["response_format"] = dialect.base64_word
    response = yield from send(_post(path, {**wish, **body}, files))
    ours = dialect.base64_word is not None and "response_format" not in body
    if ours and response.status in (400, 422) and b"response_format" in response.body:
        response = yield from send(_post(path, {**dialect.fixed, **body}, files))
    if response.status != 200:
        raise _refusal(dialect, response)
    reply = decode_reply(response, dialect.name)
    images = yield from read_images(reply, dialect.name, seed=call.request.seed)
    usd = None
    if dialect.cost_field is not None:
        place = msgspec.Raw(response.body) if dialect.cost_at_root else reply.usage
        usd = read_cost(place, dialect.cost_field, dialect.usd_per_cost)
    return GeneratedImages(images=images, reported_cost_usd=usd, adjustments=adjustments)


def _post(path: str, body: Mapping[str, JsonValue], files: list[FormFile] | None) -> HttpRequest:
    return json_request(path, body) if files is None else form_request(path, body.items(), files)


def _refusal(dialect: Dialect, response: HttpResponse) -> ImagenError:
    error = refusal(response, dialect.name)
    code = error.details.get("code", "")
    if dialect.unpaid_codes and re.search(dialect.unpaid_codes, code):
        return QuotaExceededError(f"{error.message} Top up the account.", details=error.details)
    if response.status in (400, 403, 422) and (
        _REFUSAL.search(error.message)
        or (dialect.refused_codes and re.search(dialect.refused_codes, code))
    ):
        return ContentFilterError(error.message, details=error.details)
    if (
        isinstance(error, InvalidRequestError)
        and dialect.blames_prompt
        and response.status in (400, 422)
    ):
        error.code = "INVALID_PROMPT"
    return error


# --- the providers ------------------------------------------------------------


def _provider(
    name: str,
    dialect: Dialect,
    *,
    base_url: str,
    home_page: str,
    probe_url: str | None = "models",
    key_variables: tuple[str, ...] = (),
) -> Provider:
    operations: dict[Operation, Callable[[Call], Exchange]] = {
        "generate": partial(_generate, dialect),
        "edit": partial(_edit, dialect),
    }
    if dialect.upscale_path is not None or dialect.tools:
        operations["enhance"] = partial(_enhance, dialect)
    if dialect.vary_path is not None:
        operations["vary"] = partial(_vary, dialect)
    if (format := dialect.implied_format) is not None:
        operations = {
            operation: partial(_imply, format, exchange)
            for operation, exchange in operations.items()
        }
    if dialect.free:
        operations = {
            operation: partial(_keep_free, exchange) for operation, exchange in operations.items()
        }
    prefix = name.upper()
    return Provider(
        name=name,
        operations=operations,
        list_models=(
            None if dialect.list_path is None else partial(_list_models, dialect, dialect.list_path)
        ),
        list_prices=(
            partial(_list_prices, dialect, dialect.list_path)
            if dialect.lists_prices and dialect.list_path is not None
            else None
        ),
        base_url=base_url,
        base_url_variable=f"{prefix}_BASE_URL",
        key_variables=key_variables or (f"{prefix}_API_KEY",),
        # A self-hosted server seldom wants a key; it is a default only once it
        # is configured.
        key_required=not dialect.free,
        optional=dialect.free,
        probe_url=probe_url,
        home_page=home_page,
    )


PROVIDERS = (
    _provider("xai", XAI, base_url="https://api.x.ai/v1", home_page="console.x.ai"),
    # Its list of models is public; only this path checks the key.
    _provider(
        "openrouter",
        OPENROUTER,
        base_url="https://openrouter.ai/api/v1",
        home_page="openrouter.ai/settings/keys",
        probe_url="key",
    ),
    _provider(
        "together", TOGETHER, base_url="https://api.together.xyz/v1", home_page="api.together.ai"
    ),
    _provider(
        "byteplus",
        BYTEPLUS,
        base_url="https://ark.ap-southeast.bytepluses.com/api/v3",
        home_page="console.byteplus.com/ark",
        probe_url=None,
        key_variables=("BYTEPLUS_API_KEY", "ARK_API_KEY"),
    ),
    _provider(
        "recraft",
        RECRAFT,
        base_url="https://external.api.recraft.ai/v1",
        home_page="app.recraft.ai/profile/api",
        probe_url="users/me",
        key_variables=("RECRAFT_API_TOKEN",),
    ),
    _provider("localai", LOCALAI, base_url="http://localhost:8080/v1", home_page="localai.io"),
    _provider(
        "vllm_omni",
        VLLM_OMNI,
        base_url="http://localhost:8000/v1",
        home_page="docs.vllm.ai/projects/vllm-omni",
    ),
    _provider("sglang", SGLANG, base_url="http://localhost:30000/v1", home_page="docs.sglang.ai"),
    _provider(
        "sd_server",
        SD_SERVER,
        base_url="http://localhost:1234/v1",
        home_page="github.com/leejet/stable-diffusion.cpp",
    ),
)
