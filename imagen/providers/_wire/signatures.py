"""Signatures of callbacks: by a shared secret, or by keys that a provider
publishes.

A callback only ends a wait early; the poll reads the state. So one that cannot
be verified is refused, which costs at most the time to the next poll.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Generator, Iterable

import msgspec
import pybase64

from ..._errors import AuthenticationError, ConfigurationError, InvalidRequestError, ProviderError
from .._provider import Callback
from .._replies.decoding import MALFORMED, decode, trace
from .._steps import HttpRequest, HttpResponse, Step
from .http import send

__all__ = [
    "check_age",
    "check_hash",
    "check_signature",
    "hash_with",
    "read_job_id",
    "refused",
    "signed_header",
]

# Tolerance for clocks in the providers' own examples (fal.ai/docs, webhooks;
# replicate.com/docs, webhooks).
_OLDEST_SECONDS = 300.0
_KEYS_SECONDS = 3600.0


def refused(provider: str, why: str) -> AuthenticationError:
    """Return the error of a callback whose sender is not proven."""
    return AuthenticationError(f"A callback in the name of {provider} {why}; it was ignored.")


def signed_header(callback: Callback, name: str, provider: str) -> str:
    """A header that a signed callback has.

    Raises:
        AuthenticationError: the header is missing.
    """
    if not (value := callback.headers.get(name)):
        raise refused(provider, f"has no header {name}, so it is not signed")
    return value


def check_age(callback: Callback, timestamp: str, provider: str) -> None:
    """Raise AuthenticationError if a callback was signed long ago, or by a
    wrong clock.
    """
    is_time = timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 16
    if not is_time or abs(callback.now - int(timestamp)) > _OLDEST_SECONDS:
        raise refused(
            provider, "was not signed within the last five minutes: check the clock of this machine"
        )


def read_job_id(callback: Callback, field: str, provider: str) -> str:
    """The id of a job, in a body whose signature has been checked.

    Raises:
        InvalidRequestError: no job id.
    """
    try:
        body: object = msgspec.json.decode(callback.body)
    except MALFORMED:
        body = None
    job_id = body.get(field) if isinstance(body, dict) else None
    if not isinstance(job_id, str) or not job_id:
        raise InvalidRequestError(
            f"A callback of {provider} names no job in {field!r}; it was ignored."
        )
    return job_id


# --- a key that both sides know -----------------------------------------------


def hash_with(secret: bytes, *parts: bytes) -> bytes:
    """Return the keyed hash of the signed text: HMAC-SHA256 (RFC 2104)."""
    return hmac.digest(secret, b"".join(parts), "sha256")


def check_hash(expected: str, signatures: Iterable[str], provider: str) -> None:
    """Raises AuthenticationError where none of the signatures is the expected
    one.
    """
    if not any(
        hmac.compare_digest(_encode(expected), _encode(signature)) for signature in signatures
    ):
        raise refused(provider, "has a wrong signature")


# --- keys that a provider publishes -------------------------------------------


class _Key(msgspec.Struct):
    """A key of a JWK set (RFC 7517); `x` is an Ed25519 key in base64url (RFC
    8037).
    """

    crv: object = None
    x: object = None


class _Keys(msgspec.Struct):
    keys: list[_Key]


_decode_keys = msgspec.json.Decoder(_Keys).decode


def check_signature(
    callback: Callback, headers: str, id_header: str, keys_url: str, provider: str
) -> Generator[Step, HttpResponse | bytes | None, None]:
    """Checks an Ed25519 signature over id, user, time and the hash of the body,
    a line each.

    The headers' names begin with `headers`; the id is in `id_header`, the
    signature hexadecimal. The keys are fetched from `keys_url`, at most once an
    hour.

    Raises:
        AuthenticationError: no key matches, or the signature is old.
        ConfigurationError: the package for the check is not installed.
        ProviderError: the keys cannot be fetched.
    """
    names = (id_header, "user-id", "timestamp", "signature")
    job, user, timestamp, signature = (
        signed_header(callback, headers + name, provider) for name in names
    )
    check_age(callback, timestamp, provider)
    message = _encode("\n".join((job, user, timestamp, hashlib.sha256(callback.body).hexdigest())))
    try:
        signed = bytes.fromhex(signature)
    except ValueError:
        raise refused(provider, "has a signature that is no hexadecimal number") from None
    verifies = _load_verifier(provider)
    response = yield from send(
        HttpRequest(method="GET", url=keys_url, repeatable=True, cache_seconds=_KEYS_SECONDS)
    )
    if response.status != 200:
        raise ProviderError(
            f"The keys of {provider} answer {response.status}, so a callback could not be checked;"
            " try it again.",
            retryable=True,
            details=trace(response),
        )
    keys = decode(_decode_keys, response, provider, billed="no").keys
    if not any(verifies(key, signed, message) for key in _public_keys(keys)):
        raise refused(provider, "is signed by none of its keys")


def _public_keys(keys: Iterable[_Key]) -> Iterable[bytes]:
    for key in keys:
        if key.crv == "Ed25519" and isinstance(key.x, str):
            try:
                data = pybase64.urlsafe_b64decode(key.x + "=" * (-len(key.x) % 4))
            except ValueError:
                continue
            if len(data) == 32:
                yield data


def _load_verifier(provider: str) -> Callable[[bytes, bytes, bytes], bool]:
    # Imported when used: callbacks are rare, and the package is an extra.
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise ConfigurationError(
            f"To check the callbacks of {provider}, the package cryptography is needed: install"
            " imagen-trio[webhooks]."
        ) from error

    def verifies(key: bytes, signature: bytes, message: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    return verifies


def _encode(text: str) -> bytes:
    """Encode the value of an untrusted header."""
    return text.encode(errors="replace")
