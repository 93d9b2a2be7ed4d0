"""Outcomes as the JSON objects that `--json` promises."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import msgspec

from ... import AttemptRecord, BudgetAlarm, Failure, Image, Quote, Spending
from .._arguments.requests import operation_name

__all__ = [
    "alarm_record",
    "attempt_record",
    "failure_record",
    "image_record",
    "kept_record",
    "money",
    "quote_record",
    "spending_record",
    "when",
]


def money(usd: Decimal | None) -> str | None:
    """Money travels as text: a float would round it."""
    return None if usd is None else f"{usd.normalize():f}"


def when(unix_time: float) -> datetime.datetime:
    """A time as people here write it."""
    return datetime.datetime.fromtimestamp(unix_time, datetime.UTC).astimezone()


def image_record(image: Image, path: Path | None = None) -> Mapping[str, object]:
    """Return the record of an image; `path` is the caller's copy, by default
    the file in the library.
    """
    where = path or image.path
    return {
        "kind": "image",
        "index": image.index,
        "id": image.id,
        "path": None if where is None else str(where),
        "media_type": image.media_type,
        "width": image.width,
        "height": image.height,
        "size_bytes": image.size_bytes,
        "model": image.model,
        "provider": image.provider,
        "operation": operation_name(image.request),
        "parent_id": image.parent_id,
        "seed": image.seed,
        "revised_prompt": image.revised_prompt,
        "cost_usd": money(image.cost.usd),
        "cost_source": image.cost.source,
        "seconds": round(image.seconds, 3),
        "adjustments": msgspec.to_builtins(image.adjustments),
        "cached": image.cached,
    }


def kept_record(image: Image) -> Mapping[str, object]:
    """Return the record of a library image with its annotations."""
    return {
        **image_record(image),
        "prompt": image.prompt,
        "created_at": image.created_at,
        "sha256": image.sha256,
        "tags": image.tags,
        "rating": image.rating,
        "notes": image.notes,
        "trashed": image.trashed_at is not None,
    }


def failure_record(failure: Failure) -> Mapping[str, object]:
    """Return the record of a failed request."""
    error = failure.error
    return {
        "kind": "failure",
        "index": failure.index,
        "code": error.code,
        "message": error.message,
        "retryable": error.retryable,
        "billed": error.billed,
        "model": failure.model,
        "provider": failure.provider,
    }


def quote_record(model: str, images: int, quote: Quote) -> Mapping[str, object]:
    """Return the record of a quote."""
    return {
        "kind": "quote",
        "model": model,
        "n": images,
        "low_usd": money(quote.low_usd),
        "expected_usd": money(quote.expected_usd),
        "high_usd": money(quote.high_usd),
    }


def alarm_record(alarm: BudgetAlarm) -> Mapping[str, object]:
    """A share of a budget is taken."""
    return {
        "kind": "budget_alarm",
        "budget": alarm.budget,
        "share": alarm.share,
        "taken": money(alarm.taken),
    }


def spending_record(kind: str, spending: Spending) -> Mapping[str, object]:
    """Return the record of a sum of costs."""
    return {
        "kind": kind,
        "images": spending.images,
        "unpriced": spending.unpriced,
        "settled_usd": money(spending.settled_usd),
        "reserved_usd": money(spending.reserved_usd),
        "unknown_usd": money(spending.unknown_usd),
        "attempts": msgspec.to_builtins(spending.attempts),
        "by_source": {source: money(usd) for source, usd in spending.by_source.items()},
    }


def attempt_record(attempt: AttemptRecord) -> Mapping[str, object]:
    """Return the record of an attempt of unknown outcome; `cost_usd` is its
    known part.
    """
    return {
        "kind": "unknown_attempt",
        "id": attempt.id,
        "created_at": when(attempt.created_at),
        "provider": attempt.provider,
        "model": attempt.model,
        "operation": attempt.operation,
        "images": attempt.images,
        "tag": attempt.tag,
        "batch_id": attempt.batch_id,
        "reserved_usd": money(attempt.reserved_usd),
        "cost_usd": money(
            attempt.settled_usd if attempt.settled_usd is not None else attempt.accepted_usd
        ),
        "remote_id": attempt.remote_id,
        "message": attempt.error_message,
    }
