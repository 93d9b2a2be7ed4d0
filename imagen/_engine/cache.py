"""Answers a request out of the library where the same was asked before, and
lets requests that are alike share one attempt.

Requests are alike that ask a model for the same, whoever pays for it. Without a
seed any image of such a request will do, and several in one batch are answered
by different ones.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec
import trio

from .._requests.request import fingerprint_of
from .._results.images import Image, Outcome, as_hit
from .._storage.database import to_nanousd
from ..library._library import Library
from .attempt import RunningAttempt
from .engine import Engine
from .planning import PlannedRequest
from .runtime import Runtime

__all__ = ["NO_SIBLINGS", "ResultCache", "Siblings", "Wanted"]


class Siblings(msgspec.Struct, frozen=True, kw_only=True):
    """The other images of the very same request that a batch wants: how many
    come `before` this one, and those that the cache has `handed` over for them,
    to which it adds; None where one may come again.
    """

    before: int = 0
    handed: set[str] | None = None


NO_SIBLINGS = Siblings()


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the images of a request. The seed is what was asked for: an
    order has one in any case, where the model takes any.
    """

    seed: int | None
    siblings: Siblings


class _Flight:
    """Somebody makes this image now. `attempts` are the attempts of one who was
    cancelled: they go on without him.
    """

    def __init__(self) -> None:
        self.over = trio.Event()
        self.attempts: list[RunningAttempt] = []


class ResultCache:
    """One per client. What is in flight is shared within the client, what is in
    the library by all.
    """

    def __init__(self, runtime: Runtime, library: Library, engine: Engine) -> None:
        self._database = runtime.database
        self._library = library
        self._engine = engine
        self._now = runtime.now
        self._flights: dict[tuple[str, int | None, int], _Flight] = {}

    async def run(
        self,
        planned_requests: Sequence[PlannedRequest],
        wanted: Wanted,
        make: Callable[[], Awaitable[tuple[Outcome, ...]]],
    ) -> tuple[Outcome, ...]:
        """Gives what is there already, or what somebody else is making, or else
        what `make` gives.

        Args:
            orders: The same request for each model that may do it; inputs have
                been read.
            wanted: Which of the images that would do.
        """
        fingerprint = fingerprint_of(
            planned_requests[0].inputs.request, planned_requests[0].model.id
        )
        key = (fingerprint, wanted.seed, wanted.siblings.before)
        while True:
            if (found := await self._find(planned_requests, wanted)) is not None:
                return found
            flight = self._flights.get(key)
            if flight is None:
                return await self._lead(key, planned_requests, make)
            await flight.over.wait()
            for attempt in flight.attempts:
                await attempt.done.wait()
            if self._flights.get(key) is flight:
                del self._flights[key]

    async def _lead(
        self,
        key: tuple[str, int | None, int],
        planned_requests: Sequence[PlannedRequest],
        make: Callable[[], Awaitable[tuple[Outcome, ...]]],
    ) -> tuple[Outcome, ...]:
        flight = self._flights[key] = _Flight()
        try:
            outcomes = await make()
        except BaseException:
            # The one who asked is gone, and what he sent goes on: nobody shall
            # pay for it again meanwhile.
            flight.attempts = [
                one
                for one in self._engine.attempts
                if any(_is_of(one, planned) for planned in planned_requests)
            ]
            raise
        finally:
            flight.over.set()
            if not flight.attempts:
                del self._flights[key]
        return outcomes

    async def _find(
        self, planned_requests: Sequence[PlannedRequest], wanted: Wanted
    ) -> tuple[Outcome, ...] | None:
        """An image for each index, or nothing."""
        for planned in planned_requests:
            images = await self._choose(planned, wanted)
            if len(images) == len(planned.indexes):
                return await self._hand_over(images, planned)
        return None

    async def _choose(self, planned: PlannedRequest, wanted: Wanted) -> Sequence[Image]:
        """As many images as are wanted, if there are; those are taken then."""
        fingerprint, limit = (
            fingerprint_of(planned.inputs.request, planned.model.id),
            len(planned.indexes),
        )
        seed, handed = wanted.seed, wanted.siblings.handed
        if handed is None:
            return await self._library.made_of(fingerprint, seed, limit=limit)
        while True:
            # What the batch itself makes is on its way to another place of it.
            images = await self._library.made_of(
                fingerprint, seed, limit=limit, without=tuple(handed), but_of_batch=planned.batch_id
            )
            if not any(image.id in handed for image in images):
                handed.update(image.id for image in images if len(images) == limit)
                return images

    async def _hand_over(
        self, images: Sequence[Image], planned: PlannedRequest
    ) -> tuple[Outcome, ...]:
        await self._database.write(
            [
                (
                    (
                        "INSERT INTO cache_hits (image_id, batch_id, batch_index, model, tag,"
                        " saved_nanousd, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)"
                    ),
                    (
                        image.id,
                        planned.batch_id,
                        index,
                        image.model,
                        planned.request.tag or "",
                        to_nanousd(image.cost.usd),
                        self._now(),
                    ),
                )
                for image, index in zip(images, planned.indexes, strict=True)
            ]
        )
        return tuple(
            as_hit(image, index) for image, index in zip(images, planned.indexes, strict=True)
        )


def _is_of(attempt: RunningAttempt, planned: PlannedRequest) -> bool:
    return (
        attempt.planned.batch_id == planned.batch_id
        and attempt.planned.indexes == planned.indexes
        and attempt.planned.request_json == planned.request_json
    )
