"""Callbacks as the providers send them: what tests hand to a receiver, made by
the other side of its check.

They are made from the providers' documents; the keys are those of a test.
"""

import hashlib
import hmac
from typing import TYPE_CHECKING

import pybase64

from .messages import Signed, encode

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_LONGEST_URL = 2083
_USER = "user-1"


def is_callback_url(value: object) -> bool:
    """Return True if a provider would call the URL: none of them uses plain
    http.
    """
    return isinstance(value, str) and value.startswith("https://") and len(value) <= _LONGEST_URL


def keyed_hash(secret: str, message: bytes) -> bytes:
    """HMAC-SHA256."""
    return hmac.new(secret.encode(), message, hashlib.sha256).digest()


def sign_with_key(
    payload: object, key: "Ed25519PrivateKey", *, headers: str, id_header: str, id: str, now: int
) -> Signed:
    """A callback that is signed by Ed25519 over id, user, time and the hash of
    its body.
    """
    body = encode(payload)
    lines = (id, _USER, str(now), hashlib.sha256(body).hexdigest())
    signature = key.sign("\n".join(lines).encode()).hex()
    named = {id_header: id, "user-id": _USER, "timestamp": str(now), "signature": signature}
    return {f"{headers}{name}": value for name, value in named.items()}, body


def published_keys(*keys: "Ed25519PrivateKey") -> dict[str, object]:
    """The key set that these callbacks are checked by (RFC 7517, RFC 8037)."""
    listed = []
    for number, key in enumerate(keys, 1):
        public = (
            pybase64.urlsafe_b64encode(key.public_key().public_bytes_raw()).decode().rstrip("=")
        )
        listed.append(
            {"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": f"v{number}", "x": public}
        )
    return {"keys": listed}
