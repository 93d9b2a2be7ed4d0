"""Calls that make images: quotes, batches, uploads, events."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse

from ..._client.client import Client
from ..._policy.budget import Budget, read_usd
from ..._requests.request import Request
from ..._results.prices import Quote
from ...library._imaging.transforms import Transform, apply_transform
from ...metadata._embed import kind_of
from ...metadata._formats.svg import SVG
from .._desk.batch_files import BegunBatch
from .._desk.batches import Opening
from .._desk.desk import Desk
from .._desk.places import BatchView
from .._desk.uploads import InputView
from .._security import CONTENT_POLICY, FOR_EVER
from .._wire.errors import ApiError
from .._wire.requests import AskedRequest, read_input, read_request, repeated
from .._wire.rows import Changed, changed
from .calls import Calls, read_body

__all__ = ["CALLS"]

CALLS = Calls()
_MOST_IMAGES = 500
_PREVIEW_SIDE = 512

Times = Annotated[int, msgspec.Meta(ge=1, le=_MOST_IMAGES)]
Requests = Annotated[list[AskedRequest], msgspec.Meta(min_length=1, max_length=_MOST_IMAGES)]


# --- quote --------------------------------------------------------------------


class QuoteBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests to be quoted, each made `n` times."""

    requests: Requests
    n: Times = 1
    economy: bool = False


class QuoteReply(msgspec.Struct, frozen=True, kw_only=True):
    """Cost of the requests; `left_usd` is the least that a budget has left."""

    images: int
    low_usd: Decimal | None
    expected_usd: Decimal | None
    high_usd: Decimal | None
    needs_consent: bool
    left_usd: Decimal | None
    models: Sequence[str]
    adjustments: Sequence[Changed]


@CALLS.post("quote")
async def quote(desk: Desk, *, body: QuoteBody) -> QuoteReply:
    """Return what requests would cost. Free."""
    requests = await _read_requests(desk, body.requests, body.n)
    found = desk.client.quote(requests, economy=body.economy)
    planned = [desk.client._services.planner.plan(one) for one in requests[:: body.n]]
    return QuoteReply(
        images=len(requests),
        low_usd=found.low_usd,
        expected_usd=found.expected_usd,
        high_usd=found.high_usd,
        needs_consent=_needs_consent(found, desk.confirm_above_usd),
        left_usd=await _left(desk.client),
        models=list(dict.fromkeys(one.model.id for one in planned)),
        adjustments=changed(change for one in planned for change in one.adjustments),
    )


async def _read_requests(desk: Desk, asked: Sequence[msgspec.Struct], n: int) -> list[Request]:
    if len(asked) * n > _MOST_IMAGES:
        raise ApiError(
            400,
            "INVALID_REQUEST",
            f"{len(asked) * n:,} images are asked for: a batch has at most {_MOST_IMAGES}.",
        )
    requests = [await read_request(desk.client, one) for one in asked]
    await desk.uploads.use(requests)
    return repeated(requests, n)


def _needs_consent(quote: Quote, above: Decimal | None) -> bool:
    return above is not None and (quote.high_usd is None or quote.high_usd > above)


async def _left(client: Client) -> Decimal | None:
    left = [one.left_usd for one in await client.budgets() if one.left_usd is not None]
    return min(left, default=None)


# --- batches ------------------------------------------------------------------


class StartBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Batch to be started; `consent_usd` is what the user has agreed to."""

    requests: Requests
    n: Times = 1
    max_at_once: Annotated[int, msgspec.Meta(ge=1, le=32)] = 4
    budget_usd: Decimal | None = None
    consent_usd: str | None = None
    key: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | None = None
    economy: bool = False
    cache: bool = False


class BatchesReply(msgspec.Struct, frozen=True, kw_only=True):
    """Batches, the latest first."""

    batches: Sequence[BatchView]


class DroppedReply(msgspec.Struct, frozen=True, kw_only=True):
    """Whether it was in time."""

    dropped: bool


@CALLS.get("batches")
async def batches(desk: Desk) -> BatchesReply:
    """List the batches, without places."""
    return BatchesReply(batches=desk.batches.all())


@CALLS.post("batches", status=201)
async def start_batch(desk: Desk, *, body: StartBody) -> BatchView:
    """Start a batch in the server, with the user's consent to its cost."""
    requests = await _read_requests(desk, body.requests, body.n)
    _check_consent(desk, body, requests)
    moment = desk.moment

    def begin(batch_id: str) -> BegunBatch:
        return BegunBatch(id=batch_id, requests=requests, started_at=moment, key=body.key)

    batch = await desk.batches.start(_opening(desk.client, body, requests), begin, body.key)
    return batch.whole()


def _check_consent(desk: Desk, body: StartBody, requests: list[Request]) -> None:
    found = desk.client.quote(requests, economy=body.economy)
    if not _needs_consent(found, desk.confirm_above_usd) or _agrees(body.consent_usd, found):
        return
    high = "unknown" if found.high_usd is None else str(found.high_usd)
    raise ApiError(
        409,
        "CONSENT",
        f"{len(requests)} images may cost more than ${desk.confirm_above_usd:f}"
        " (confirm_above_usd): the user must agree to it; nothing was sent.",
        high_usd=high,
        above_usd=str(desk.confirm_above_usd),
    )


def _agrees(consent: str | None, quote: Quote) -> bool:
    if consent is None or quote.high_usd is None:
        return consent == "any"
    return read_usd(consent) >= quote.high_usd


def _opening(client: Client, body: StartBody, requests: list[Request]) -> Opening:
    budget = None if body.budget_usd is None else Budget(body.budget_usd)
    # Options that are left out leave the way to the settings.
    options = {"cache": True} if body.cache else {}
    return lambda notice: client.open_batch(
        requests,
        max_at_once=body.max_at_once,
        economy=body.economy,
        budget=budget,
        on_event=notice,
        **options,  # type: ignore[arg-type]
    )


@CALLS.get("batches/{batch_id}")
async def batch(desk: Desk, *, batch_id: str) -> BatchView:
    """Return a batch with its places."""
    return desk.batches.get(batch_id).whole()


@CALLS.post("batches/{batch_id}/cancel")
async def cancel(desk: Desk, *, batch_id: str) -> BatchView:
    """Drop what was not sent, and keep what was."""
    found = desk.batches.get(batch_id)
    found.cancel()
    return found.whole()


@CALLS.post("batches/{batch_id}/reopen")
async def reopen(desk: Desk, *, batch_id: str) -> BatchView:
    """Collect what an interrupted batch had sent. Sends nothing."""
    return desk.batches.reopen(batch_id).whole()


@CALLS.post("batches/{batch_id}/forget")
async def forget(desk: Desk, *, batch_id: str) -> BatchesReply:
    """Remove a batch from the list; its images stay."""
    await desk.batches.forget(batch_id)
    return await batches(desk)


@CALLS.post("batches/{batch_id}/places/{index:int}/drop")
async def drop(desk: Desk, *, batch_id: str, index: int) -> DroppedReply:
    """Drop one image that was not sent."""
    return DroppedReply(dropped=desk.batches.get(batch_id).drop(index))


@CALLS.get("batches/{batch_id}/places/{index:int}/preview")
async def preview(desk: Desk, *, batch_id: str, index: int) -> Response:
    """Return the latest preview of a place, small."""
    data = desk.batches.get(batch_id).previews.get(index)
    if data is None:
        raise ApiError(404, "NOT_FOUND", "This place has no preview now.")
    small = Transform(width=_PREVIEW_SIDE, height=_PREVIEW_SIDE, format="webp")
    return Response(await desk.work(apply_transform, data, small), media_type="image/webp")


# --- uploads ------------------------------------------------------------------


class UploadQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Name of the file, for the user."""

    name: str = ""


@CALLS.post("inputs", status=201)
async def upload(desk: Desk, *, query: UploadQuery, request: HttpRequest) -> InputView:
    """Keep the body, an image, to work on."""
    data = await read_body(request, desk.client.settings.bounds.max_input_bytes)
    return await desk.uploads.keep(data, query.name)


@CALLS.get("inputs/{handle}")
async def uploaded(desk: Desk, *, handle: str) -> Response:
    """Return an upload."""
    data = await read_input(desk.client, handle)
    kind = kind_of(data)
    headers = {"content-security-policy": CONTENT_POLICY, "cache-control": FOR_EVER}
    if kind == SVG:
        # In a window of its own it would be a page.
        headers["content-disposition"] = "attachment"
    return Response(data, media_type=kind, headers=headers)


# --- events -------------------------------------------------------------------


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Id after which events are wanted, at the first time."""

    after: str | None = None


@CALLS.get("events")
async def events(desk: Desk, *, query: EventsQuery, request: HttpRequest) -> Response:
    """Stream everything that changes, as server-sent events."""
    after = request.headers.get("last-event-id", "") or query.after
    return StreamingResponse(
        desk.events.read(after),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )
