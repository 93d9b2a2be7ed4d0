"""The providers, each a module of pure exchanges, and the steps they yield.

A new provider is a module here with a `PROVIDER` (or `PROVIDERS`, if one wire
format has several), which is discovered, a file in `_requests/models/`, an
entry in `testing/simulator/_providers/` and a folder of tests.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from .._requests.catalog import (
    CATALOG_AS_OF,
    Capabilities,
    Catalog,
    FreeSize,
    InputLimits,
    Lifecycle,
    MegapixelPrices,
    ModelRetiringWarning,
    NumberRange,
    Price,
    RateLimit,
    TokenPrices,
    load_catalog,
)
from ._provider import (
    BatchApi,
    Call,
    Callback,
    CallbackReading,
    EncodedImage,
    ListedModel,
    ListedPrice,
    ModelListing,
    PriceListing,
    Provider,
)
from ._steps import (
    BatchExchange,
    Cancellable,
    Compute,
    Exchange,
    GeneratedImage,
    GeneratedImages,
    HttpRequest,
    HttpResponse,
    JobAccepted,
    LostImage,
    Meanwhile,
    PartialImage,
    Progress,
    ReadChunk,
    Render,
    Reporter,
    ResultDelivered,
    Step,
    StreamedReply,
    Transport,
    Usage,
    Wait,
    WithheldImage,
)

__all__ = [
    "BatchApi",
    "BatchExchange",
    "CATALOG_AS_OF",
    "Call",
    "Callback",
    "CallbackReading",
    "Cancellable",
    "Capabilities",
    "Catalog",
    "Compute",
    "EncodedImage",
    "Exchange",
    "FreeSize",
    "GeneratedImage",
    "GeneratedImages",
    "HttpRequest",
    "HttpResponse",
    "InputLimits",
    "JobAccepted",
    "Lifecycle",
    "ListedModel",
    "ListedPrice",
    "LostImage",
    "Meanwhile",
    "MegapixelPrices",
    "ModelListing",
    "ModelRetiringWarning",
    "NumberRange",
    "PROVIDERS",
    "PartialImage",
    "Price",
    "PriceListing",
    "Progress",
    "Provider",
    "RateLimit",
    "ReadChunk",
    "Render",
    "Reporter",
    "ResultDelivered",
    "Step",
    "StreamedReply",
    "TokenPrices",
    "Transport",
    "Usage",
    "Wait",
    "WithheldImage",
    "load_catalog",
]


def _find() -> Iterator[Provider]:
    for module_info in pkgutil.iter_modules(__path__):
        if not module_info.name.startswith("_"):
            module = importlib.import_module(f"{__name__}.{module_info.name}")
            yield from getattr(module, "PROVIDERS", None) or (module.PROVIDER,)


PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in _find()}
