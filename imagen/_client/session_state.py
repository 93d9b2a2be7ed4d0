"""The life of a background batch, as a state machine without a clock or an
event loop.

::

    CREATED -> GENERATING <-> PARTIAL -> COMPLETED
       |           |             |
       +-----------+-------------+----> FAILED, CANCELLED
    every state but EXPIRED -> EXPIRED

A session is CREATED until its first request is sent, GENERATING while it works
and all its images have been pulled, PARTIAL while it works and some have not.
It is COMPLETED when every request has an outcome and at least one is an image,
FAILED when none is or the batch itself broke, CANCELLED when it was stopped,
and EXPIRED after its time to live.
"""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["SessionEvent", "SessionProgress", "SessionState", "TERMINAL", "advance"]

SessionState = Literal[
    "CREATED", "GENERATING", "PARTIAL", "COMPLETED", "FAILED", "CANCELLED", "EXPIRED"
]
SessionEvent = Literal[
    "started", "image", "failure", "pulled", "ended", "broke", "cancelled", "expired"
]

TERMINAL: frozenset[SessionState] = frozenset({"COMPLETED", "FAILED", "CANCELLED", "EXPIRED"})


class SessionProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Progress of a session: outcomes so far, and how many were pulled."""

    state: SessionState = "CREATED"
    requested: int
    images: int = 0
    failures: int = 0
    pulled: int = 0

    @property
    def outcomes(self) -> int:
        return self.images + self.failures


def advance(progress: SessionProgress, event: SessionEvent, *, pulled: int = 0) -> SessionProgress:
    """Return the progress after an event. An event that does not apply changes
    nothing.

    `pulled` goes with the event of that name: how many outcomes, from the first
    on, the caller has by now.
    """
    pulled = min(max(pulled, progress.pulled), progress.outcomes)
    replace = msgspec.structs.replace
    if progress.state == "EXPIRED":
        return progress
    if event == "expired":
        return replace(progress, state="EXPIRED")
    if progress.state in TERMINAL:
        return replace(progress, pulled=pulled) if event == "pulled" else progress
    if progress.state == "CREATED" and event in ("image", "failure"):
        return progress
    match event:
        case "started":
            return _settle_activity(replace(progress, state="GENERATING"))
        case "image":
            return _settle_activity(replace(progress, images=progress.images + 1))
        case "failure":
            return _settle_activity(replace(progress, failures=progress.failures + 1))
        case "pulled":
            return _settle_activity(replace(progress, pulled=pulled))
        case "ended":
            return replace(progress, state="COMPLETED" if progress.images else "FAILED")
        case "broke":
            return replace(progress, state="FAILED")
        case "cancelled":
            return replace(progress, state="CANCELLED")


def _settle_activity(progress: SessionProgress) -> SessionProgress:
    if progress.state == "CREATED":
        return progress
    waiting = progress.outcomes > progress.pulled
    return msgspec.structs.replace(progress, state="PARTIAL" if waiting else "GENERATING")
