"""The words that open shares: which one, until when, and a signature that only
the holder of the key can make.

Nothing of it is kept, so a database that somebody reads gives no links away,
and whoever asks for a forged one costs no query.
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

__all__ = ["Opened", "ShareTokens", "TOKEN_LETTERS"]

_LEAST_SECRET = 16
# For this use alone, should the same key sign something else as well.
_PURPOSE = b"imagen share\0"
# The form of the token, the id of the share, its end. With the signature 45
# bytes, which base64 writes without padding and in one way only.
_HEAD = struct.Struct(">B8sI")
_FORM = 1
_SIGNATURE_BYTES = 32
TOKEN_LETTERS = 60


class Opened(NamedTuple):
    """What a token says: the id of the share, and the Unix time of its end."""

    share_id: str
    expires_at: int


class ShareTokens:
    """Makes and reads tokens."""

    def __init__(self, secret: Secret) -> None:
        if len(secret.reveal()) < _LEAST_SECRET:
            raise ConfigurationError(
                "IMAGEN_SHARE_SECRET is too short to sign links with: give at least"
                f" {_LEAST_SECRET} characters by chance."
            )
        self._secret = secret

    def make(self, share_id: str, expires_at: int) -> str:
        """The token of a share; always the same one."""
        head = _HEAD.pack(_FORM, bytes.fromhex(share_id), expires_at)
        return base64.urlsafe_b64encode(head + self._sign(head)).decode()

    def read(self, token: str, now: float) -> Opened | None:
        """What a token opens; None where it was not made here, or its time is
        over.
        """
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
        return Opened(share_id.hex(), expires_at) if now < expires_at else None

    def _sign(self, head: bytes) -> bytes:
        return hmac.digest(self._secret.reveal().encode(), _PURPOSE + head, hashlib.sha256)
