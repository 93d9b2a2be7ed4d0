"""Object store, through obstore. All calls block and raise our exceptions.

obstore also has an asyncio API, which Trio cannot run. Its blocking calls
release the GIL, so threads suffice.
"""

from __future__ import annotations

import datetime
import re
import threading
from typing import TYPE_CHECKING

from .._errors import (
    AuthenticationError,
    ConfigurationError,
    ImagenError,
    InvalidRequestError,
    ProviderError,
)
from .._policy.store_settings import StorePlace
from ..metadata._formats.svg import SVG

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store
    from obstore.store import ObjectStore as AnyStore

__all__ = ["MAX_SIGNED_SECONDS", "ObjectStore", "TIMEOUT_SECONDS"]

# For one request, from its first byte to the last of the reply.
TIMEOUT_SECONDS = 60
_CONNECT_SECONDS = 10
# Limit of S3: seven days.
MAX_SIGNED_SECONDS = 604_800
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
# Cloud machines request keys here if the environment has none.
_METADATA_HOSTS = ("169.254.169.254", "169.254.170.2", "metadata.google.internal")
_BUSY = {408, 425, 429}
_KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}


class ObjectStore:
    """The store of the settings, opened at first use, as importing obstore is
    slow.

    Every method may raise:
        ConfigurationError: the extra `store` is not installed, or the place does not exist.
        AuthenticationError: keys are missing, wrong, or lack a permission.
        ProviderError: the store failed; `retryable` is set if it may succeed later.
    """

    def __init__(self, settings: StorePlace, *, cache_control: str | None = None) -> None:
        self._settings = settings
        self._cache_control = cache_control
        self._opening = threading.Lock()
        self._opened: AnyStore | None = None

    def check(self) -> None:
        """Open the store, without a request."""
        self._store()

    def put(self, key: str, data: bytes, media_type: str) -> None:
        """Write an object; idempotent."""
        import obstore

        store = self._store()
        # A folder stores no headers: its server derives the type from the
        # suffix.
        is_folder = self._settings.scheme == "file"
        headers = {"Content-Type": media_type}
        if self._cache_control is not None:
            headers["Cache-Control"] = self._cache_control
        if media_type == SVG:
            # Opened by itself, its scripts would run in the origin of the store.
            headers["Content-Disposition"] = "attachment"
        try:
            obstore.put(
                store, key, data, attributes=None if is_folder else headers, use_multipart=False
            )
        except Exception as error:
            raise self._translate(error) from None

    def get(self, key: str) -> bytes | None:
        """Return the bytes of an object; None if it does not exist."""
        import obstore

        store = self._store()
        try:
            return bytes(obstore.get(store, key).bytes())
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._translate(error) from None

    def size(self, key: str) -> int | None:
        """Return the size of an object in bytes; None if it does not exist."""
        import obstore

        store = self._store()
        try:
            return obstore.head(store, key)["size"]
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._translate(error) from None

    def delete(self, key: str) -> None:
        """Delete an object; idempotent."""
        import obstore

        store = self._store()
        try:
            obstore.delete(store, key)
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise self._translate(error) from None
        except Exception as error:
            raise self._translate(error) from None

    def sign(self, key: str, expires_seconds: int) -> str:
        """Return an expiring link to an object. Google's store may need the
        network for it.

        Raises:
            InvalidRequestError: the store is a folder, or the lifetime is not
                from one second to seven days.
        """
        import obstore

        if not 1 <= expires_seconds <= MAX_SIGNED_SECONDS:
            raise InvalidRequestError(
                "Invalid lifetime of a signed link: expected 1 second to 7 days (604800 seconds)."
            )
        if self._settings.scheme == "file":
            raise InvalidRequestError(
                "A folder does not support signed links: use s3://, gs:// or az:// as the URL of"
                " the store."
            )
        store: S3Store | GCSStore | AzureStore = self._store()  # type: ignore[assignment]
        try:
            return obstore.sign(store, "GET", key, datetime.timedelta(seconds=expires_seconds))
        except Exception as error:
            raise self._translate(error) from None

    def _store(self) -> AnyStore:
        with self._opening:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    def _open(self) -> AnyStore:
        try:
            from obstore.store import from_url
        except ImportError as error:
            raise ConfigurationError(
                f'The store {self._settings.url} needs obstore: pip install "imagen-trio[store]".'
            ) from error
        settings = self._settings
        try:
            if settings.scheme == "file":
                return from_url(settings.url, mkdir=True)
            opened: AnyStore = from_url(
                settings.url,
                config=dict(settings.options),  # type: ignore[call-overload]
                client_options={
                    # Plain http is allowed for servers on this machine only,
                    # which StoreSettings has checked.
                    "allow_http": settings.options.get("endpoint", "").startswith("http://"),
                    "connect_timeout": f"{_CONNECT_SECONDS}s",
                    "timeout": f"{TIMEOUT_SECONDS}s",
                },
                # The callers retry, and persist what is left to do.
                retry_config={"max_retries": 0},
            )
            return opened
        except Exception:
            # obstore's message may quote the environment, which has the keys.
            wanted = _KEYS.get(settings.scheme, "the folder")
            raise ConfigurationError(
                f"The store {settings.url} cannot be opened: check the URL and options of the"
                f" store, and {wanted}."
            ) from None

    def _translate(self, error: Exception) -> ImagenError:
        """Translate an exception of obstore. Its message is omitted, as it has
        the URL of the request, which may be signed.
        """
        from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

        place, text = self._settings.url, str(error)
        found = _STATUS.search(text)
        status = int(found[1]) if found else None
        code = _CODE.search(text)
        because = f" ({code[1]})" if code else ""
        keys = _KEYS.get(self._settings.scheme, "")
        if any(host in text for host in _METADATA_HOSTS):
            return AuthenticationError(
                f"No keys for {place} were found: set {keys} in the environment."
            )
        if isinstance(error, PermissionDeniedError | UnauthenticatedError) or status in (401, 403):
            if self._settings.scheme == "file":
                return ConfigurationError(
                    f"The folder {place} cannot be written: choose another one."
                )
            return AuthenticationError(
                f"The store {place} refuses the keys{because}: check {keys}, and what they allow."
            )
        if isinstance(error, FileNotFoundError):
            return ConfigurationError(
                f"{place} does not exist{because}: create the bucket, or correct the URL of the"
                " store."
            )
        if ("redirect" in text and status is None) or status in (301, 307):
            return ConfigurationError(
                f"The bucket of {place} is in another region: set region in"
                f" [{self._settings.table}.options]."
            )
        if status is not None and 400 <= status < 500 and status not in _BUSY:
            return ConfigurationError(
                f"The store {place} answered {status}{because}: check the URL and options of the"
                " store."
            )
        what = f"answered {status}{because}" if status is not None else "cannot be reached"
        if self._settings.scheme == "file":
            what = "cannot be written: check whether it is full"
        return ProviderError(f"The store {place} {what}.", retryable=True)
