"""OpenAI's image models as deployments at Azure (Azure OpenAI, Foundry): the
same wire format below another path, and edits as forms only.

A key goes into `api-key`; a token of Microsoft Entra, which other programs
renew, is the provider `azure_entra`.
"""

from __future__ import annotations

import re
from functools import partial
from urllib.parse import quote

import msgspec

from ..._errors import (
    ConfigurationError,
    ContentFilterError,
    ImagenError,
    ModelNotFoundError,
)
from ..._requests.catalog import JsonValue
from .._provider import Call, EncodedImage, Provider
from .._steps import Compute, Exchange, HttpRequest
from .._wire.http import FormFile, form_request, json_request
from .._wire.masks import transparent_mask
from ._adapter import as_edit, order, request_body

__all__ = ["PROVIDERS"]

# A version that is a day belongs to the paths of deployments.
_DAY = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}(-preview)?")
_VERSION = re.compile(r"[A-Za-z0-9.-]{1,40}")
_FILTERED = re.compile(r"(?i)content_?(?:filter|policy)|ResponsibleAI")


def generate(call: Call) -> Exchange:
    """Text to image, with previews if they are asked for."""
    request = json_request(_address(call, "generations"), _body(call))
    return (yield from _order(call, request))


def edit(call: Call) -> Exchange:
    """Images, the first of which changes, to a new one; with a mask only where
    it is white.
    """
    images = (*call.images, *call.references)
    files = [FormFile.of("image", image)._replace(name="image[]") for image in images]
    if call.mask is not None:
        data = yield Compute(call=partial(transparent_mask, call.mask), repeatable=True)
        assert isinstance(data, bytes)
        files.append(FormFile.of("mask", _png(data, call.mask)))
    request = form_request(_address(call, "edits"), _body(call).items(), files)
    return (yield from _order(call, request))


def restyle(call: Call) -> Exchange:
    """Edit the image with the reference as the second one, and a prompt that
    explains it.
    """
    return edit(as_edit(call))


def _png(data: bytes, mask: EncodedImage) -> EncodedImage:
    return msgspec.structs.replace(mask, data=data, media_type="image/png")


def _address(call: Call, work: str) -> str:
    version = str(call.settings.get("api_version", ""))
    if not _VERSION.fullmatch(version):
        raise ConfigurationError(
            f"api_version of Azure is {version!r}: write preview, or a version such as"
            " 2025-04-01-preview."
        )
    if not _DAY.fullmatch(version):
        return f"openai/v1/images/{work}?api-version={version}"
    deployment = quote(call.model.wire_name, safe="")
    return f"openai/deployments/{deployment}/images/{work}?api-version={version}"


def _body(call: Call) -> dict[str, JsonValue]:
    """The fields of OpenAI; the path of a deployment has its name already."""
    body = request_body(call)
    if _DAY.fullmatch(str(call.settings.get("api_version", ""))):
        del body["model"]
    return body


def _order(call: Call, request: HttpRequest) -> Exchange:
    try:
        return (yield from order(call, request))
    except ImagenError as error:
        raise _translate(error, call) from error


def _translate(error: ImagenError, call: Call) -> ImagenError:
    """Name Azure, whose key and deployments the caller can look at."""
    text = error.message.replace("OpenAI", "Azure OpenAI")
    if isinstance(error, ModelNotFoundError):
        text = (
            f"{text} The deployment that was asked for is {call.model.wire_name!r}: set wire_name"
            f' of [models."{call.model.id}"] to the name of yours.'
        )
    said = f"{error.details.get('code', '')} {error.details.get('type', '')}"
    if error.details.get("status") == "400" and _FILTERED.search(said):
        return ContentFilterError(text, details=error.details)
    named = error.copy()
    named.message, named.args = text, (text,)
    return named


def _provider(name: str, *, key_header: str, key_prefix: str, key_variable: str) -> Provider:
    return Provider(
        name=name,
        operations={"generate": generate, "edit": edit, "restyle": restyle},
        base_url_variable=f"{name.upper().replace('AZURE', 'AZURE_OPENAI')}_ENDPOINT",
        key_variables=(key_variable,),
        key_header=key_header,
        key_prefix=key_prefix,
        probe_url="openai/v1/models?api-version=preview",
        home_page="ai.azure.com",
        # A day, such as 2025-04-01-preview, uses the older paths of deployments.
        settings={"api_version": "preview"},
    )


PROVIDERS = (
    _provider("azure", key_header="api-key", key_prefix="", key_variable="AZURE_OPENAI_API_KEY"),
    _provider(
        "azure_entra",
        key_header="authorization",
        key_prefix="Bearer ",
        key_variable="AZURE_OPENAI_AD_TOKEN",
    ),
)
