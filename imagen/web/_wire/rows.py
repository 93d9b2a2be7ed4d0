"""Images as the API says them: rows for a gallery, details for one."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from ..._errors import ImagenError
from ..._requests.request import operation_of
from ..._requests.translation import Adjustment
from ..._results.images import Image
from ...metadata import Provenance, describe_file
from .requests import write_request

__all__ = ["MOST_LETTERS", "Changed", "Details", "Row", "changed", "details_of", "row_of"]

MOST_LETTERS = 200


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Image as a gallery needs it; `prompt` has at most 200 letters."""

    id: str
    width: int
    height: int
    media_type: str
    prompt: str
    operation: str
    model: str
    stars: int
    tags: Sequence[str]
    created_at: datetime.datetime
    parent: str | None
    trashed: bool


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """Parameter that the model takes differently; `used` is None if it was left
    out.
    """

    parameter: str
    asked: str
    used: str | None
    reason: str


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """Seal of the provider in the file (C2PA); what it claims is None where the
    extra `metadata` is not installed.
    """

    claims: Provenance | None


class Details(Row, frozen=True, kw_only=True):
    """All that is known of an image; `request` can be sent again."""

    revised_prompt: str | None
    provider: str
    seed: int | None
    size_bytes: int
    sha256: str
    cost_usd: Decimal | None
    cost_source: str
    adjustments: Sequence[Changed]
    seconds: float
    notes: str
    collections: Sequence[str]
    request: dict[str, Any]
    trashed_at: datetime.datetime | None
    provider_id: str | None
    file_name: str
    record: dict[str, Any]
    c2pa: Seal | None


def row_of(image: Image) -> Row:
    """Return the row of an image."""
    return Row(**_row(image))


def _row(image: Image) -> dict[str, Any]:
    return {
        "id": image.id,
        "width": image.width,
        "height": image.height,
        "media_type": image.media_type,
        "prompt": image.prompt[:MOST_LETTERS],
        "operation": operation_of(image.request),
        "model": image.model,
        "stars": image.rating,
        "tags": image.tags,
        "created_at": image.created_at,
        "parent": image.parent_id,
        "trashed": image.trashed_at is not None,
    }


def details_of(image: Image, collections: Sequence[str]) -> Details:
    """Return the details of an image. Blocking: the file is read for its seal."""
    return Details(
        **{**_row(image), "prompt": image.prompt},
        revised_prompt=image.revised_prompt,
        provider=image.provider,
        seed=image.seed,
        size_bytes=image.size_bytes,
        sha256=image.sha256,
        cost_usd=image.cost.usd,
        cost_source=image.cost.source,
        adjustments=changed(image.adjustments),
        seconds=image.seconds,
        notes=image.notes,
        collections=collections,
        request=write_request(image.request),
        trashed_at=image.trashed_at,
        provider_id=image.provider_id,
        file_name=f"{image.id}{image.suffix}",
        record=msgspec.to_builtins(image.record),
        c2pa=_seal_of(image),
    )


def changed(adjustments: Iterable[Adjustment]) -> Sequence[Changed]:
    """Return adjustments, each once."""
    return [
        Changed(parameter=one.field, asked=one.asked, used=one.sent, reason=one.reason)
        for one in dict.fromkeys(adjustments)
    ]


def _seal_of(image: Image) -> Seal | None:
    if image.path is None:
        return None
    try:
        found = describe_file(image.fetch())
    except ImagenError:
        # The file is gone or damaged: the rest is known all the same.
        return None
    return Seal(claims=found.provenance) if found.sealed else None
