"""Random ids of attempts, images, batches, sessions and clients."""

from __future__ import annotations

import secrets

__all__ = ["new_id"]


def new_id() -> str:
    """Return 16 random hexadecimal digits."""
    return secrets.token_hex(8)
