"""What the calls work with."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import TypeVar

import msgspec

from ..._client.client import Client
from .batches import Batches
from .changes import Changes
from .events import EventLog
from .uploads import Uploads
from .zips import Zips

__all__ = ["Desk"]

_Result = TypeVar("_Result")


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """The client and what the page adds to it. Above `confirm_above_usd` the
    user's consent is asked for.
    """

    client: Client
    events: EventLog
    batches: Batches
    changes: Changes
    zips: Zips
    uploads: Uploads
    confirm_above_usd: Decimal | None

    @property
    def moment(self) -> datetime.datetime:
        """The time of the client, in UTC."""
        return datetime.datetime.fromtimestamp(self.client._services.runtime.now(), datetime.UTC)

    async def work(self, call: Callable[..., _Result], *arguments: object) -> _Result:
        """Run blocking work in a thread."""
        return await self.client._services.runtime.workers.run(partial(call, *arguments))
