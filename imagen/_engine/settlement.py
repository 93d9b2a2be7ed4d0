"""Settlement: what an attempt cost, and the images that it brought.

The order keeps a paid image: receipt, files, rows. The receipt is written to
the ledger before the files. So a file without a row is known by its hash to
belong to an attempt, and its cost is known, even if the process dies in
between.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path

import msgspec
import trio

from .._errors import ContentFilterError, ErrorCode, ImagenError, ProviderError, StorageError
from .._requests.translation import Adjustment
from .._results.events import AttemptRecovered
from .._results.images import Cost, CostSource, Failure, Image, Outcome
from .._results.prices import cost_of, share_cost, tidy_usd
from .._storage.database import from_nanousd, to_nanousd
from .._storage.ledger import AttemptRecord, State
from .._system.ids import new_id
from ..library._files import PreparedImage
from ..library._rows import ImageRow, insert_image, row_of
from ..metadata._image_header import ImageHeader, read_image_header
from ..providers._replies.image_search import whole_image
from ..providers._steps import (
    AnyImage,
    GeneratedImage,
    GeneratedImages,
    LostImage,
    UnmadeImage,
    WithheldImage,
)
from .attempt import RunningAttempt
from .runtime import Runtime
from .unread_replies import UnreadReplies

__all__ = ["FREE", "Settlement", "recovered_event"]

FREE = Cost(usd=Decimal(0), source="reported")
_CLEANUP_SECONDS = 35.0
# Up to here hashing takes no longer than the way to a thread and back, which is
# 0.4 ms.
_SMALL_BYTES = 512 << 10


class _Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """Result of an attempt before its files are written: `files` are the paths
    of its `images`.
    """

    state: State
    cost_nanousd: int | None
    cost_source: CostSource
    error_code: ErrorCode | None = None
    error_message: str | None = None
    images: tuple[ImageRow, ...] = ()
    files: tuple[str, ...] = ()


_decode_receipt = msgspec.json.Decoder(_Receipt).decode


class Settlement:
    """Settlement of the attempts of one client."""

    def __init__(self, runtime: Runtime) -> None:
        self._ledger = runtime.ledger
        self._unread = UnreadReplies(runtime)
        self._set_aside = runtime.set_aside
        self._files = None if runtime.library is None else runtime.library.files
        self._uploads = None if runtime.library is None else runtime.library.uploads
        self._workers = runtime.workers
        self._max_pixels = runtime.settings.bounds.max_pixels
        self._connections = runtime.connections
        self._now = runtime.now
        self._emit = runtime.emit

    async def succeed(self, attempt: RunningAttempt, result: GeneratedImages) -> None:
        """Settle a success: the cost, the receipt, the files, the rows.

        Raises:
            StorageError: the disk does not respond.
        """
        planned = attempt.planned
        # Paid: from here nothing may cut it short but the bound on cleanup.
        with trio.move_on_after(_CLEANUP_SECONDS, shield=True) as bound:
            cost = cost_of(planned.model, planned.sent, result, economy=planned.economy)
            attempt.reservation.settle(cost.usd)
            attempt.usage = result.usage
            result = await self._unread.bound(attempt, result)
            if all(isinstance(image, GeneratedImage) for image in result.images):
                # The images hold all that is paid; the body takes as much memory again.
                attempt.received.clear()
            attempt.outcomes = await self._keep(attempt, result, cost)
            if attempt.recovered and all(isinstance(one, Image) for one in attempt.outcomes):
                await self._unread.drop(attempt)
            attempt.emit_ended()
        if bound.cancelled_caught:
            raise StorageError(
                f"The disk did not answer for {_CLEANUP_SECONDS:g} seconds; the image is paid.",
                billed="yes",
            )

    async def fail(self, attempt: RunningAttempt, error: ImagenError) -> None:
        """Settle a failure, and note it on the attempt."""
        planned = attempt.planned
        error = self._clean(error, planned.provider.name)
        billed = error.billed if attempt.sent else "no"
        refused = isinstance(error, ContentFilterError)
        kept = False
        if billed != "no" and not refused:
            with trio.move_on_after(_CLEANUP_SECONDS, shield=True):
                kept = await self._unread.keep(attempt, error)
        if billed == "yes" and error.cost_usd is None:
            billed_images = GeneratedImages(
                images=(GeneratedImage(data=b""),) * len(planned.indexes)
            )
            error.cost_usd = cost_of(
                planned.model, planned.sent, billed_images, economy=planned.economy
            ).usd
            error.cost_source = "estimated"
        cost = FREE if billed == "no" else Cost()
        if error.cost_usd is not None:
            cost = Cost(usd=tidy_usd(error.cost_usd), source=error.cost_source)
        unknown = billed == "unknown" or kept
        state: State = "unknown" if unknown else "refused" if refused else "failed"
        await self.end(attempt, state, cost, error)
        attempt.fail(error)

    async def end(
        self, attempt: RunningAttempt, state: State, cost: Cost, error: ImagenError
    ) -> None:
        """Release the money that was not spent and end the row; if the write
        fails, the row stays in flight.
        """
        attempt.reservation.settle(cost.usd)
        attempt.note_settled(state, cost)
        with trio.move_on_after(_CLEANUP_SECONDS, shield=True):
            try:
                await self._ledger.settle(
                    attempt.id,
                    state,
                    cost,
                    now=self._now(),
                    error_code=error.code,
                    error_message=error.message,
                )
            except StorageError:
                # The caller gets the first error.
                return

    def _clean(self, error: ImagenError, provider: str) -> ImagenError:
        """A provider may repeat the key in its error text."""
        hide_secrets = partial(self._connections.hide_secrets, provider)
        error.message = hide_secrets(error.message)
        error.args = (error.message,)
        error.details = {name: hide_secrets(value) for name, value in error.details.items()}
        return error

    async def adopt(self, row: AttemptRecord) -> bool:
        """Settles an attempt by its receipt, and lists the images whose files
        were written, in whichever library they are.

        Return False if there is no receipt, or if the images can still be
        fetched.
        """
        if row.receipt is None:
            return False
        receipt = _decode_receipt(row.receipt)
        there = await self._workers.run_remote(partial(self._are_there, receipt))
        if not all(there) and row.remote_id is not None:
            return False
        state, code, message = receipt.state, receipt.error_code, receipt.error_message
        if not all(there):
            state, code = "unknown", "STORAGE_ERROR"
            lost = f"{there.count(False)} of {len(there)} images"
            message = (
                f"The program ended before {lost} had been written to the disk; they were billed."
            )
        cost = Cost(usd=from_nanousd(receipt.cost_nanousd), source=receipt.cost_source)
        if self._uploads is not None:
            await self._uploads.put([Path(file) for file in receipt.files])
        await self._ledger.settle(
            row.id,
            state,
            cost,
            now=self._now(),
            error_code=code,
            error_message=message,
            along=[
                insert_image(image)
                for image, whole in zip(receipt.images, there, strict=True)
                if whole
            ],
        )
        self._emit(recovered_event(row, state, cost))
        return True

    def _are_there(self, receipt: _Receipt) -> Sequence[bool]:
        """Return which images of a receipt are whole in any place that this
        client sees.

        Raises:
            StorageError: the store cannot be asked.
        """
        try:
            return [
                Path(file).is_file() or self._is_in_store(row)
                for file, row in zip(receipt.files, receipt.images, strict=True)
            ]
        except StorageError:
            raise
        except ImagenError as error:
            raise StorageError(error.message) from error

    def _is_in_store(self, row: ImageRow) -> bool:
        return self._files is not None and self._files.is_kept(
            row.sha256, row.media_type, row.size_bytes
        )

    # --- the images -----------------------------------------------------------

    async def _keep(
        self, attempt: RunningAttempt, result: GeneratedImages, cost: Cost
    ) -> tuple[Outcome, ...]:
        """Return one outcome per index. If the disk fails, the bytes stay with
        the image.
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
            outcome, data = await self._outcome(attempt, image, share, index, result.adjustments)
            outcomes.append(outcome)
            if isinstance(outcome, Image):
                bytes_of[outcome.id] = data
        if any(isinstance(image, LostImage) for image in result.images):
            await self._keep_lost(attempt, outcomes)
        outcomes = await self._settle(attempt, outcomes, bytes_of, cost)
        if missing := planned.indexes[len(outcomes) :]:
            error = ProviderError(
                f"{planned.provider.name} returned {len(outcomes)} of {len(planned.indexes)}"
                " images."
            )
            outcomes += [planned.failure(index, error) for index in missing]
        return tuple(outcomes[: len(planned.indexes)])

    # --- one image ------------------------------------------------------------

    async def _outcome(
        self,
        attempt: RunningAttempt,
        image: AnyImage,
        cost: Cost,
        index: int,
        adjustments: tuple[Adjustment, ...],
    ) -> tuple[Outcome, bytes]:
        """Return the outcome of an image, and its bytes if it is there."""
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
            case UnmadeImage():
                error = image.error.copy()
                error.billed = "yes"
            case GeneratedImage():
                try:
                    return await self._image(attempt, image, cost, index, adjustments)
                except ProviderError as unreadable:
                    error = await self._unread.keep_image(attempt, image.data, unreadable)
        return msgspec.structs.replace(planned.failure(index, error), cost=cost), b""

    async def _image(
        self,
        attempt: RunningAttempt,
        image: GeneratedImage,
        cost: Cost,
        index: int,
        adjustments: tuple[Adjustment, ...],
    ) -> tuple[Image, bytes]:
        planned = attempt.planned
        prepared: PreparedImage | None = None
        if self._files is not None:
            prepare = partial(self._files.prepare, image.data)
            small = len(image.data) <= _SMALL_BYTES
            prepared = prepare() if small else await self._workers.run(prepare)
        data = whole_image(image.data) if prepared is None else prepared.data
        found = read_image_header(data) if prepared is None else prepared.header
        self._check_pixels(found)
        kept = Image(
            id=new_id(),
            index=index,
            request=planned.request,
            media_type=found.media_type,
            width=found.width,
            height=found.height,
            size_bytes=len(data),
            stored_sha256=None if prepared is None else prepared.sha256,
            path=None if prepared is None else prepared.path,
            remote=None if prepared is None else prepared.remote,
            inline_data=data if prepared is None else None,
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
        return kept, data

    def _check_pixels(self, found: ImageHeader) -> None:
        """Refuse an image whose decoding would exhaust the memory, e.g. for a
        thumbnail.
        """
        if found.width * found.height > self._max_pixels:
            raise ProviderError(
                f"The reply claims to be an image of {found.width} x {found.height} pixels, which"
                " is more than imagen opens.",
                billed="yes",
            )

    async def _keep_lost(self, attempt: RunningAttempt, outcomes: Sequence[Outcome]) -> None:
        """Keep the replies for the images that could not be had."""
        for outcome in outcomes:
            if isinstance(outcome, Failure) and not isinstance(outcome.error, ContentFilterError):
                await self._unread.keep(attempt, outcome.error)
                return

    # --- all of them ----------------------------------------------------------

    async def _settle(
        self,
        attempt: RunningAttempt,
        outcomes: list[Outcome],
        bytes_of: dict[str, bytes],
        cost: Cost,
    ) -> list[Outcome]:
        receipt = _write_receipt(outcomes, cost, self._homes(outcomes))
        attempt.note_settled(receipt.state, cost)
        try:
            is_beside = bool(receipt.images) and await self._announce(attempt, receipt)
            outcomes = [await self._store(outcome, bytes_of) for outcome in outcomes]
            if self._uploads is not None:
                # Before the rows. What a store does not take stays here and is put later.
                await self._uploads.put(self._homes(outcomes))
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
            if is_beside:
                await self._set_aside.drop_receipt(attempt.id)
        except StorageError as error:
            # The images are there and paid: they are handed over with the news
            # that the disk failed.
            return [_with_storage_error(outcome, error, bytes_of) for outcome in outcomes]
        return outcomes

    def _homes(self, outcomes: Sequence[Outcome]) -> Sequence[Path]:
        """Return the files that the images are written to first."""
        if self._files is None:
            return []
        images = [outcome for outcome in outcomes if isinstance(outcome, Image)]
        return [self._files.home_of(image.path) for image in images if image.path is not None]

    async def _announce(self, attempt: RunningAttempt, receipt: _Receipt) -> bool:
        """Write the receipt, beside a database that does not take it; return
        whether it is there.
        """
        text = msgspec.json.encode(receipt).decode()
        try:
            await self._ledger.mark_received(attempt.id, text)
        except StorageError:
            # A later client lists the images by it, at their true cost.
            await self._set_aside.keep_receipt(attempt.id, text)
            return True
        return False

    async def _store(self, outcome: Outcome, bytes_of: dict[str, bytes]) -> Outcome:
        if not isinstance(outcome, Image) or self._files is None or outcome.path is None:
            return outcome
        try:
            await self._files.store(bytes_of[outcome.id], outcome.path)
        except StorageError as error:
            return msgspec.structs.replace(
                outcome,
                path=None,
                stored_sha256=None,
                inline_data=bytes_of[outcome.id],
                storage_error=error.message,
            )
        return outcome


def recovered_event(row: AttemptRecord, state: State, cost: Cost) -> AttemptRecovered:
    """Return the event of an attempt that is settled without a request."""
    return AttemptRecovered(
        attempt_id=row.id,
        batch_id=row.batch_id,
        model=row.model,
        provider=row.provider,
        operation=row.operation,
        tag=row.tag,
        images=row.images,
        state=state,
        settled_usd=cost.usd,
        cost_source=cost.source,
    )


def _write_receipt(outcomes: Sequence[Outcome], cost: Cost, files: Sequence[Path]) -> _Receipt:
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
        files=tuple(str(file) for file in files),
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
