"""Object stores of imagen.toml: of published images, and of the library."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from typing import ClassVar, Literal

import msgspec

from .._errors import ConfigurationError
from .._system.urls import check_base_url

__all__ = ["IMMUTABLE", "ImageStoreSettings", "Publish", "StorePlace", "StoreSettings"]

Publish = Literal["on_demand", "always"]

# An object is named by the hash of its bytes, so it never changes and caches
# never need to be invalidated.
IMMUTABLE = "public, max-age=31536000, immutable"
_SCHEMES = ("s3", "gs", "az", "file")
# Options that hold an address or a mode, and neither keys nor paths to keys.
_OPTIONS = frozenset(
    {
        "account_name",
        "checksum_algorithm",
        "endpoint",
        "region",
        "server_side_encryption",
        "skip_signature",
        "sse_kms_key_id",
        "virtual_hosted_style_request",
    }
)
_MOST_AT_ONCE = 64


class StorePlace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Place in an object store, or a folder. Keys come from the environment
    only.

    Attributes:
        url: s3://bucket/prefix (R2 and other services like S3 too, with an
            `endpoint`), gs://bucket/prefix, az://container/prefix, or
            file:///folder.
        options: `endpoint`, `region` and the like.

    Raises:
        ConfigurationError: a value is wrong, or is a key.
    """

    table: ClassVar[str] = "store"

    url: str
    options: Mapping[str, str] = {}

    def __post_init__(self) -> None:
        self._check_url()
        if unknown := sorted(self.options.keys() - _OPTIONS):
            raise ConfigurationError(
                f"The options of the store have {unknown[0]}, which is not one of"
                f" {', '.join(sorted(_OPTIONS))}; keys of a store are read from the environment"
                " only."
            )
        if "endpoint" in self.options:
            check_base_url(self.options["endpoint"], variable="endpoint of the store")

    @property
    def scheme(self) -> str:
        """Scheme of the URL: s3, gs, az or file."""
        return urllib.parse.urlsplit(self.url).scheme

    @property
    def name(self) -> str:
        """Name of the store in the database."""
        places = [
            self.options[name] for name in ("endpoint", "account_name") if name in self.options
        ]
        return " ".join([self.url.rstrip("/"), *places])

    def _check_url(self) -> None:
        try:
            url = urllib.parse.urlsplit(self.url)
            has_userinfo = "@" in url.netloc
        except ValueError:
            raise ConfigurationError(
                "The URL of the store is none; it should look like s3://bucket/prefix."
            ) from None
        if has_userinfo or url.query or url.fragment:
            raise ConfigurationError(
                "The URL of the store holds more than a place: keys of a store are read from the"
                " environment only."
            )
        wants_folder = url.scheme == "file"
        if (
            url.scheme not in _SCHEMES
            or bool(url.netloc) == wants_folder
            or (wants_folder and len(url.path) < 2)
        ):
            raise ConfigurationError(
                "The URL of the store must be s3://bucket/prefix, gs://bucket/prefix,"
                " az://container/prefix or file:///folder."
            )


class StoreSettings(StorePlace, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Object store for published images. Keys come from the environment only.

    Attributes:
        url: s3://bucket/prefix (R2 and other services like S3 too, with an
            `endpoint`), gs://bucket/prefix, az://container/prefix, or
            file:///folder.
        options: `endpoint`, `region` and the like.
        public_url: What objects are fetched by, such as the address of a CDN;
            https.
        publish: "on_demand" publishes named images, "always" all new ones.
        cache_control: The header that objects are served with.
        max_at_once: How many are on their way side by side, from 1 to 64.

    Raises:
        ConfigurationError: a value is wrong, or is a key.
    """

    public_url: str | None = None
    publish: Publish = "on_demand"
    cache_control: str = IMMUTABLE
    max_at_once: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.public_url is not None:
            check_base_url(self.public_url, variable="public_url of the store")
        if not self.cache_control.isascii() or not self.cache_control.isprintable():
            raise ConfigurationError(
                "cache_control is a line of plain text, such as: public, max-age=3600"
            )
        if not 1 <= self.max_at_once <= _MOST_AT_ONCE:
            raise ConfigurationError(f"max_at_once of the store is from 1 to {_MOST_AT_ONCE}.")


class ImageStoreSettings(StorePlace, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Object store in which the images of the library live. Keys come from the
    environment only.

    Attributes:
        url: As for `StoreSettings`. Several libraries may share one place: each
            has a folder of its own in it.
        options: As for `StoreSettings`.
        max_cache_bytes: Size of the copies on this machine; the least recently
            used are removed first.

    Raises:
        ConfigurationError: a value is wrong, or is a key.
    """

    table: ClassVar[str] = "images"

    max_cache_bytes: int = 10 << 30

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_cache_bytes < 0:
            raise ConfigurationError("max_cache_bytes of [images] is a number of bytes, 0 or more.")
