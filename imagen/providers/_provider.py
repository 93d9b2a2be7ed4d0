"""The shape of a provider: data about it, and one exchange per operation."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Generator, Mapping, Sequence
from decimal import Decimal

import msgspec

from .._requests.catalog import JsonValue, Model, Operation, RateLimit
from .._requests.request import Request
from ._steps import BatchExchange, Exchange, HttpResponse, JobAccepted, Step

__all__ = [
    "BatchApi",
    "Call",
    "Callback",
    "CallbackReading",
    "EncodedImage",
    "ListedModel",
    "ListedPrice",
    "ModelListing",
    "PriceListing",
    "Provider",
]


class EncodedImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image to work on, read and measured; lengths in pixels."""

    data: bytes
    media_type: str
    width: int
    height: int

    def __repr__(self) -> str:
        return f"EncodedImage({self.media_type} {self.width}x{self.height}, {len(self.data)} bytes)"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """Input of an exchange: `count` images of one request, translated for the
    model.

    The fields of `request` hold only values that the model takes
    (`imagen/_requests/translation.py`). Its sources are read: `images` are
    those that change, the first before the others, `references` those that lend
    style or subject. `mask` has the size of the first image, and is white where
    that changes. `settings` are the provider's, overridden by imagen.toml. A
    provider can announce the end of a job at `callback_url`; `callback_secret`
    signs that, if the provider lets callers choose the secret.
    """

    request: Request
    model: Model
    count: int = 1
    images: tuple[EncodedImage, ...] = ()
    mask: EncodedImage | None = None
    references: tuple[EncodedImage, ...] = ()
    settings: Mapping[str, JsonValue] = {}
    callback_url: str | None = None
    callback_secret: str | None = None

    def __repr__(self) -> str:
        return f"Call({self.model.id}, {self.count} of {self.request!r})"


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """Request that claims to be a provider's callback for an ended job.

    Header names are lower-case; `now` is Unix time, `secret` the
    `callback_secret` of the calls.
    """

    headers: Mapping[str, str]
    body: bytes
    now: float
    secret: str | None = None

    def __repr__(self) -> str:
        return f"Callback({len(self.body)} bytes)"


CallbackReading = Generator[Step, HttpResponse | bytes | None, str]
"""Verifies the signature of a callback and returns the id of its job, or raises
AuthenticationError. It may fetch keys.
"""


class BatchApi(msgspec.Struct, frozen=True, kw_only=True):
    """Batch API of a provider: for less money, within hours.

    `run` sends calls together, waits for them and delivers each result;
    `collect` does the second half for a job of another process. Both get the
    same calls, of one model, in the same order.
    """

    operations: tuple[Operation, ...]
    most_requests: int
    run: Callable[[Sequence[Call]], BatchExchange]
    collect: Callable[[Sequence[Call], JobAccepted], BatchExchange]


class ListedModel(msgspec.Struct, frozen=True, kw_only=True):
    """Image model as a provider lists it: `wire_name` is the name in requests."""

    wire_name: str
    name: str = ""
    retires_on: datetime.date | None = None


ModelListing = Generator[Step, HttpResponse | bytes | None, tuple[ListedModel, ...]]
"""Like an exchange; returns the image models that a provider lists for this
key.
"""


class ListedPrice(msgspec.Struct, frozen=True, kw_only=True):
    """Price of a model as its provider lists it: US dollars for one `unit`
    ("image", "megapixel").
    """

    wire_name: str
    usd: Decimal
    unit: str = "image"


PriceListing = Generator[Step, HttpResponse | bytes | None, tuple[ListedPrice, ...]]
"""Like a `ModelListing`; returns the prices that a provider lists."""


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """Provider: its operations, and how it is reached.

    `base_url_variable` and `key_variables` name environment variables; the
    first key that is set is used. A provider on this machine has none. The key
    goes into the header `key_header`, after `key_prefix`, to the origin of the
    base URL and to hosts whose name ends in one of `key_domains` (".bfl.ai").
    With `basic_auth` it is "user:password", sent by HTTP's Basic scheme.
    Where no key is set, the credentials of AWS sign for `aws_service`, if that is
    named. Without its `packages` a provider cannot be used; the extra of its name
    installs them. `optional` providers (self-hosted servers) are chosen for a
    default model only if their base URL or key is set.

    `collect` continues a job that an operation, e.g. in a process that died,
    reported as `JobAccepted`: it polls the job and fetches the images, like the
    second half of that operation; its call holds no input images.
    `read_callback` verifies requests to `Call.callback_url`. `batch_api` is its
    batch API. `list_prices` gets the provider's models of the catalog and its
    settings.

    `probe_url` is a path that costs nothing and needs the key: `imagen doctor`
    asks it. `settings` are what imagen.toml may change under
    [providers.NAME.settings], with their defaults. `rate_limit` holds for all
    its models together. `models` are tables as in `catalog/*.toml`, for
    providers that are not built in.
    """

    name: str
    operations: Mapping[Operation, Callable[[Call], Exchange]]
    list_models: Callable[[], ModelListing] | None = None
    list_prices: Callable[[Sequence[Model], Mapping[str, JsonValue]], PriceListing] | None = None
    collect: Callable[[Call, JobAccepted], Exchange] | None = None
    read_callback: Callable[[Callback], CallbackReading] | None = None
    batch_api: BatchApi | None = None
    base_url: str | None = None
    base_url_variable: str | None = None
    key_variables: tuple[str, ...] = ()
    key_required: bool = True
    key_header: str = "authorization"
    key_prefix: str = "Bearer "
    key_domains: tuple[str, ...] = ()
    basic_auth: bool = False
    aws_service: str | None = None
    packages: tuple[str, ...] = ()
    optional: bool = False
    probe_url: str | None = None
    home_page: str = ""
    settings: Mapping[str, JsonValue] = {}
    rate_limit: RateLimit | None = None
    models: Mapping[str, Mapping[str, JsonValue]] = {}
