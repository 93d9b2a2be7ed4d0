"""Random ids of attempts, images, batches, sessions and clients."""

from __future__ import annotations

import os
import random

__all__ = ["new_id"]

# Seeded by the system, and apart from `random` itself, which a program may seed.
# A read of the system's source takes 20 us under load, a number of this 0.2.
_random = random.Random()
if hasattr(os, "register_at_fork"):
    # Windows has no fork.
    os.register_at_fork(after_in_child=_random.seed)


def new_id() -> str:
    """Return 16 random hexadecimal digits. They can be guessed: no secrets."""
    return f"{_random.getrandbits(64):016x}"
