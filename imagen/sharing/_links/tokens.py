"""Signed tokens of shares: share id, expiry, and a signature by the holder of
the secret.

Tokens are not stored, so a leaked database reveals no links, and a forged token
costs no query.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from typing import NamedTuple

from ..._errors import ConfigurationError
from ..._system.secret import Secret

__all__ = ["ShareTokens", "TOKEN_LETTERS", "TokenContents"]

_LEAST_SECRET = 16
# Separates this use from any other signatures with the same key.
_PURPOSE = b"imagen share\0"
# Version, id of the share, expiry. With the signature 45 bytes, which base64
# encodes without padding and in one way only.
_HEAD = struct.Struct(">B8sI")
_FORM = 1
_SIGNATURE_BYTES = 32
TOKEN_LETTERS = 60


class TokenContents(NamedTuple):
    """Contents of a token: id of the share, and Unix time of expiry."""

    share_id: str
    expires_at: int


class ShareTokens:
    """Creation and verification of tokens."""

    def __init__(self, secret: Secret) -> None:
        if len(secret.reveal()) < _LEAST_SECRET:
            raise ConfigurationError(
                f"IMAGEN_SHARE_SECRET is too short: expected at least {_LEAST_SECRET} random"
                " characters."
            )
        self._secret = secret

    def make(self, share_id: str, expires_at: int) -> str:
        """Return the token of a share; it is deterministic."""
        head = _HEAD.pack(_FORM, bytes.fromhex(share_id), expires_at)
        return base64.urlsafe_b64encode(head + self._sign(head)).decode()

    def read(self, token: str, now: float) -> TokenContents | None:
        """Return the contents of a token; None if it is forged or expired."""
        if len(token) != TOKEN_LETTERS or not token.isascii():
            return None
        try:
            data = base64.b64decode(token, altchars=b"-_", validate=True)
        except binascii.Error:
            return None
        head, signature = data[:-_SIGNATURE_BYTES], data[-_SIGNATURE_BYTES:]
        if len(head) != _HEAD.size or not hmac.compare_digest(signature, self._sign(head)):
            return None
        _, share_id, expires_at = _HEAD.unpack(head)
        return TokenContents(share_id.hex(), expires_at) if now < expires_at else None

    def _sign(self, head: bytes) -> bytes:
        return hmac.digest(self._secret.reveal().encode(), _PURPOSE + head, hashlib.sha256)
