"""Call that a page begins with: what is there, and what is going on."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from importlib.util import find_spec

import msgspec

from ..._client.client import Client
from ..._system.version import version
from .._desk.desk import Desk
from .._desk.places import BatchView
from .calls import Calls
from .money import spent_usd

__all__ = ["CALLS"]

CALLS = Calls()


class BudgetView(msgspec.Struct, frozen=True, kw_only=True):
    """Standing budget, and what is left of it: of dollars or of images."""

    name: str
    period: str
    limit_usd: Decimal | None
    taken_usd: Decimal | None
    left_usd: Decimal | None
    limit_images: int | None
    taken_images: int | None


class SpentView(msgspec.Struct, frozen=True, kw_only=True):
    """Dollars spent today and this month (UTC)."""

    today: Decimal
    month: Decimal


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """Abilities that the user has set up or installed."""

    similar: bool
    shares: bool
    publishing: bool


class StateReply(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a page shows at first."""

    version: str
    run: str
    last_event_id: str
    default_model: str
    confirm_above_usd: Decimal | None
    budgets: Sequence[BudgetView]
    spent_usd: SpentView
    batches: Sequence[BatchView]
    images: int
    trashed: int
    features: Features


@CALLS.get("state")
async def state(desk: Desk) -> StateReply:
    """Return what is there, and what is going on."""
    client = desk.client
    # Before the rest: what changes meanwhile is then read twice, not missed.
    last_event_id = desk.events.last_id
    size = await client.library.size()
    return StateReply(
        version=version(),
        run=desk.events.run,
        last_event_id=last_event_id,
        default_model=client.default_model.id,
        confirm_above_usd=desk.confirm_above_usd,
        budgets=await budgets_of(client),
        spent_usd=await _spent(desk),
        batches=desk.batches.all(),
        images=size.images,
        trashed=size.trashed_images,
        features=_features(client),
    )


async def budgets_of(client: Client) -> Sequence[BudgetView]:
    """Return the standing budgets with what is taken."""
    return [
        BudgetView(
            name=str(one.budget),
            period=one.budget.per,
            limit_usd=one.budget.usd,
            taken_usd=one.taken_usd,
            left_usd=one.left_usd,
            limit_images=one.budget.images,
            taken_images=one.taken_images,
        )
        for one in await client.budgets()
    ]


async def _spent(desk: Desk) -> SpentView:
    today = desk.moment.replace(hour=0, minute=0, second=0, microsecond=0)
    first = today.replace(day=1)
    day, month = [spent_usd(await desk.client.spending(since)) for since in (today, first)]
    return SpentView(today=day, month=month)


def _features(client: Client) -> Features:
    settings = client.settings
    return Features(
        similar=find_spec("imagehash") is not None,
        shares=settings.share_secret is not None,
        publishing=settings.store is not None,
    )
