"""Cache: repeated requests answered out of the library, equal ones in flight
made once.

Requests are equal if they ask one model for the same, for any caller.
Without a seed any image of such a request will do; requests of one batch get
different images.
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
    """Other images of the same request in a batch. `before` is the number of
    those with a lower index. `handed` are the ids of cached images that the
    batch has used, and grows; None allows repeats.
    """

    before: int = 0
    handed: set[str] | None = None


NO_SIBLINGS = Siblings()


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Images that satisfy a request. `seed` is the caller's: a planned request
    always has one if its model takes seeds.
    """

    seed: int | None
    siblings: Siblings


class _Flight:
    """Image that another caller makes now. `attempts` are those of a cancelled
    caller, which continue.
    """

    def __init__(self) -> None:
        self.over = trio.Event()
        self.attempts: list[RunningAttempt] = []


class ResultCache:
    """Cache of one client. Requests in flight are shared within the client,
    images by all clients of the library.
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
        """Return images from the library, or of an equal request in flight, or
        of `make`.

        Args:
            planned_requests: The same request for each model that may do it,
                with its inputs read.
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
            # The caller has gone, but its attempts continue: an equal request
            # must not be paid meanwhile.
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
        """Return enough images for the request and mark them as used, or fewer
        than needed.
        """
        fingerprint, limit = (
            fingerprint_of(planned.inputs.request, planned.model.id),
            len(planned.indexes),
        )
        seed, handed = wanted.seed, wanted.siblings.handed
        if handed is None:
            return await self._library.made_of(fingerprint, seed, limit=limit)
        while True:
            # Images made by the batch itself belong to other indexes.
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
