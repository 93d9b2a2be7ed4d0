"""Outcomes as the JSON objects that `--json` promises."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import msgspec

from .. import Failure, Image
from ._requests import operation_name

__all__ = ["failure_record", "image_record", "money"]


def money(usd: Decimal | None) -> str | None:
    """Money travels as text: a float would round it."""
    return None if usd is None else f"{usd.normalize():f}"


def image_record(image: Image, path: Path | None = None) -> Mapping[str, object]:
    """One picture; `path` is where the caller finds it, by default in the library."""
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
    }


def failure_record(failure: Failure) -> Mapping[str, object]:
    """One request that gave no picture."""
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
