"""Batches that run or ran lately, for an assistant that lost their ids."""

from __future__ import annotations

from collections.abc import Sequence

from mcp.types import CallToolResult
from pydantic import BaseModel

import imagen

from .generation import STATUS, NumberedImage, Problem, Status, result_of
from .text import clip_line

__all__ = ["BatchRow", "BatchesReply", "StatusReply", "batches_reply"]

_LONGEST_PROMPT = 100
_NO_BATCH = "No batch runs, and none ran lately. search_images finds earlier images."


class BatchRow(BaseModel):
    """Batch and the next call for it."""

    session_id: str
    status: Status
    prompt: str
    model: str | None
    requested_count: int
    completed_count: int
    failed_count: int
    used_at: str
    next: str


class BatchesReply(BaseModel):
    """Running batches, then those of the last hour, the latest first."""

    batches: list[BatchRow]


class StatusReply(BaseModel):
    """One batch, or all of them."""

    session_id: str | None = None
    status: Status | None = None
    requested_count: int | None = None
    completed_count: int | None = None
    pending_count: int | None = None
    image: NumberedImage | None = None
    errors: list[Problem] | None = None
    batches: list[BatchRow] | None = None


def batches_reply(found: Sequence[imagen.SessionSummary]) -> CallToolResult:
    """Return a line for each batch, the running ones first."""
    rows = [_row(one) for one in sorted(found, key=lambda one: not one.running)]
    return result_of(BatchesReply(batches=rows), [*map(_line, rows)] or [_NO_BATCH], [])


def _row(one: imagen.SessionSummary) -> BatchRow:
    return BatchRow(
        session_id=one.id,
        status=STATUS[one.state],
        prompt=clip_line(one.request.prompt, _LONGEST_PROMPT),
        model=one.request.model,
        requested_count=one.requested,
        completed_count=one.images,
        failed_count=one.failures,
        used_at=one.touched_at.isoformat(timespec="seconds"),
        next=_next(one),
    )


def _next(one: imagen.SessionSummary) -> str:
    is_resumable = one.state == "CANCELLED" and one.images + one.failures < one.requested
    if is_resumable and not one.images:
        return f'resume_batch(session_id="{one.id}")'
    return f'get_next_image(session_id="{one.id}")'


def _line(row: BatchRow) -> str:
    return (
        f"{row.session_id} is {row.status}, {row.completed_count} of {row.requested_count} images,"
        f" {row.failed_count} failed: {row.prompt or '(no prompt)'}. Next: {row.next}."
    )
