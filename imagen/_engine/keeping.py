"""Makes outcomes of the images that came: receipt, files, rows.

The receipt goes into the ledger before the files are written. So a file that
has no row yet is known by its hash to belong to an attempt, and what the
provider billed is known to the cent, even if the process dies in between.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
import trio

from .._errors import ContentFilterError, ErrorCode, ImagenError, ProviderError, StorageError
from .._requests.translation import Adjustment
from .._results.images import Cost, CostSource, Failure, Image, Outcome, failure_of
from .._results.prices import share_cost
from .._storage.database import from_nanousd, to_nanousd
from .._storage.ledger import AttemptRecord, Ledger, State
from .._system.threads import Workers
from ..library._files import ImageFiles, PreparedImage
from ..library._rows import ImageRow, insert_image, row_of
from ..metadata._image_header import ImageHeader, read_image_header
from ..providers._steps import GeneratedImage, GeneratedImages, LostImage, WithheldImage
from .attempt import RunningAttempt, new_id
from .planning import PlannedRequest

__all__ = ["Keeper"]


class _Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt came to, before its files are on the disk: `files` are
    where its `images` will be.
    """

    state: State
    cost_nanousd: int | None
    cost_source: CostSource
    error_code: ErrorCode | None = None
    error_message: str | None = None
    images: tuple[ImageRow, ...] = ()
    files: tuple[str, ...] = ()


_decode_receipt = msgspec.json.Decoder(_Receipt).decode


class Keeper:
    """Keeps what came, and settles its attempt."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        files: ImageFiles | None,
        workers: Workers,
        max_pixels: int,
        now: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._files = files
        self._workers = workers
        self._max_pixels = max_pixels
        self._now = now

    async def keep(
        self, attempt: RunningAttempt, result: GeneratedImages, cost: Cost
    ) -> tuple[Outcome, ...]:
        """Gives one outcome for each index of the order. A disk that fails
        loses nothing: the bytes stay with the image.
        """
        planned = attempt.planned
        shares = share_cost(cost, result.images)
        indexes = [
            *planned.indexes,
            *[planned.indexes[-1]] * (len(result.images) - len(planned.indexes)),
        ]
        outcomes: list[Outcome] = []
        bytes_of: dict[str, bytes] = {}
        for image, share, index in zip(result.images, shares, indexes, strict=False):
            outcome = await self._outcome(attempt, image, share, index, result.adjustments)
            outcomes.append(outcome)
            if isinstance(outcome, Image) and isinstance(image, GeneratedImage):
                bytes_of[outcome.id] = image.data
        outcomes = await self._settle(attempt, outcomes, bytes_of, cost)
        short = ProviderError(
            f"{planned.provider.name} gave {len(outcomes)} images of {len(planned.indexes)} asked"
            " for."
        )
        outcomes += [_failure(planned, index, short) for index in planned.indexes[len(outcomes) :]]
        return tuple(outcomes[: len(planned.indexes)])

    async def adopt(self, row: AttemptRecord) -> bool:
        """Settles an attempt by its receipt, and lists the images whose files
        were written, in whichever library they are.

        Gives False where it has no receipt, or where its images can still be
        fetched.
        """
        if row.receipt is None:
            return False
        receipt = _decode_receipt(row.receipt)
        there = await self._workers.run(lambda: [Path(file).is_file() for file in receipt.files])
        if not all(there) and row.remote_id is not None:
            return False
        state, code, message = receipt.state, receipt.error_code, receipt.error_message
        if not all(there):
            state, code = "unknown", "STORAGE_ERROR"
            lost = f"{there.count(False)} of {len(there)} images"
            message = (
                f"The program ended before {lost} had been written to the disk; they were billed."
            )
        await self._ledger.settle(
            row.id,
            state,
            Cost(usd=from_nanousd(receipt.cost_nanousd), source=receipt.cost_source),
            now=self._now(),
            error_code=code,
            error_message=message,
            along=[
                insert_image(image)
                for image, whole in zip(receipt.images, there, strict=True)
                if whole
            ],
        )
        return True

    # --- one image ------------------------------------------------------------

    async def _outcome(
        self,
        attempt: RunningAttempt,
        image: GeneratedImage | WithheldImage | LostImage,
        cost: Cost,
        index: int,
        adjustments: tuple[Adjustment, ...],
    ) -> Outcome:
        planned = attempt.planned
        match image:
            case WithheldImage():
                error: ImagenError = ContentFilterError(
                    f"{planned.provider.name} made the image and withholds it: {image.reason}",
                    billed="yes" if image.billed and cost.usd != 0 else "no",
                )
            case LostImage():
                error = ProviderError(
                    f"{planned.provider.name} made the image: {image.reason}", billed="yes"
                )
            case GeneratedImage():
                try:
                    return await self._image(attempt, image, cost, index, adjustments)
                except ProviderError as unreadable:
                    error = await self._set_aside(attempt, image.data, unreadable)
        return msgspec.structs.replace(_failure(planned, index, error), cost=cost)

    async def _image(
        self,
        attempt: RunningAttempt,
        image: GeneratedImage,
        cost: Cost,
        index: int,
        adjustments: tuple[Adjustment, ...],
    ) -> Image:
        planned = attempt.planned
        prepared: PreparedImage | None = None
        if self._files is not None:
            prepared = await self._workers.run(partial(self._files.prepare, image.data))
        found = read_image_header(image.data) if prepared is None else prepared.header
        self._check_pixels(found)
        return Image(
            id=new_id(),
            index=index,
            request=planned.request,
            media_type=found.media_type,
            width=found.width,
            height=found.height,
            size_bytes=len(image.data),
            stored_sha256=None if prepared is None else prepared.sha256,
            path=None if prepared is None else prepared.path,
            inline_data=image.data if prepared is None else None,
            revised_prompt=image.revised_prompt,
            model=planned.model.id,
            provider=planned.provider.name,
            seed=image.seed,
            cost=cost,
            adjustments=planned.adjustments + adjustments,
            created_at=datetime.datetime.fromtimestamp(self._now(), datetime.UTC),
            seconds=trio.current_time() - attempt.sent_at,
            attempt_id=attempt.id,
            parent_id=planned.inputs.parent_id,
            provider_id=image.provider_id,
        )

    def _check_pixels(self, found: ImageHeader) -> None:
        """Nobody who opens the image later, to make a thumbnail say, shall run
        out of memory.
        """
        if found.width * found.height > self._max_pixels:
            raise ProviderError(
                f"The reply claims to be an image of {found.width} x {found.height} pixels, which"
                " is more than imagen opens.",
                billed="yes",
            )

    async def _set_aside(
        self, attempt: RunningAttempt, data: bytes, error: ProviderError
    ) -> ProviderError:
        """Keeps bytes that were paid for and that nobody can read yet, and says
        where.
        """
        if self._files is not None:
            try:
                path = await self._workers.run(
                    partial(self._files.store_unreadable, attempt.id, data)
                )
            except StorageError:
                return error
            error.message += f" They are kept at {path}."
            error.args = (error.message,)
        return error

    # --- all of them ----------------------------------------------------------

    async def _settle(
        self,
        attempt: RunningAttempt,
        outcomes: list[Outcome],
        bytes_of: dict[str, bytes],
        cost: Cost,
    ) -> list[Outcome]:
        receipt = _write_receipt(outcomes, cost)
        try:
            if receipt.images:
                await self._ledger.mark_received(attempt.id, msgspec.json.encode(receipt).decode())
            outcomes = [await self._store(outcome, bytes_of) for outcome in outcomes]
            rows = [
                row
                for row in receipt.images
                if any(_is_stored(outcome, row.id) for outcome in outcomes)
            ]
            await self._ledger.settle(
                attempt.id,
                receipt.state,
                cost,
                now=self._now(),
                error_code=receipt.error_code,
                error_message=receipt.error_message,
                along=[insert_image(row) for row in rows],
            )
        except StorageError as error:
            # The images are there and paid: they are handed over with the news
            # that the disk failed.
            return [_with_storage_error(outcome, error, bytes_of) for outcome in outcomes]
        return outcomes

    async def _store(self, outcome: Outcome, bytes_of: dict[str, bytes]) -> Outcome:
        if not isinstance(outcome, Image) or self._files is None or outcome.path is None:
            return outcome
        try:
            await self._workers.run(partial(self._files.store, bytes_of[outcome.id], outcome.path))
        except StorageError as error:
            return msgspec.structs.replace(
                outcome,
                path=None,
                stored_sha256=None,
                inline_data=bytes_of[outcome.id],
                storage_error=error.message,
            )
        return outcome


def _write_receipt(outcomes: Sequence[Outcome], cost: Cost) -> _Receipt:
    images = [outcome for outcome in outcomes if isinstance(outcome, Image)]
    errors = [outcome.error for outcome in outcomes if isinstance(outcome, Failure)]
    refused = any(isinstance(error, ContentFilterError) for error in errors)
    state: State = "succeeded" if images else "refused" if refused else "failed"
    failed = errors and not images
    return _Receipt(
        state=state,
        cost_nanousd=to_nanousd(cost.usd),
        cost_source=cost.source,
        error_code=errors[0].code if failed else None,
        error_message=errors[0].message if failed else None,
        images=tuple(row_of(image) for image in images if image.path is not None),
        files=tuple(str(image.path) for image in images if image.path is not None),
    )


def _is_stored(outcome: Outcome, image_id: str) -> bool:
    return isinstance(outcome, Image) and outcome.id == image_id and outcome.path is not None


def _with_storage_error(
    outcome: Outcome, error: StorageError, bytes_of: dict[str, bytes]
) -> Outcome:
    if not isinstance(outcome, Image) or outcome.storage_error is not None:
        return outcome
    stored = outcome.path is not None and outcome.path.is_file()
    kept = (
        {} if stored else {"path": None, "stored_sha256": None, "inline_data": bytes_of[outcome.id]}
    )
    return msgspec.structs.replace(outcome, storage_error=error.message, **kept)


def _failure(planned: PlannedRequest, index: int, error: ImagenError) -> Failure:
    return failure_of(
        planned.request, index, error, model=planned.model.id, provider=planned.provider.name
    )
