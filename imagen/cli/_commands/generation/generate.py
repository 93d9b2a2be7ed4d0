"""`imagen generate`, `edit`, `vary`, `enhance`, `restyle`: a batch, and a line
for each image.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import trio

from .... import (
    AttemptDropped,
    AttemptEnded,
    AttemptReserved,
    AttemptSent,
    AuthenticationError,
    Batch,
    Budget,
    BudgetAlarm,
    BudgetExceededError,
    CallOptions,
    Client,
    ConfigurationError,
    Event,
    Generate,
    Image,
    ImagenError,
    InvalidRequestError,
    PreviewReceived,
    ProgressReported,
    Quote,
    Request,
    open_client,
)
from ..._arguments.requests import read_requests
from ..._console import Console, ExitStatus, ending_signals, say_error, usd
from ..._output.json_output import alarm_record, money
from ..._output.preview import Preview
from ..._output.printer import Costs, OutcomePrinter, prepare_folder, slug
from .dry_run import run_dry

__all__ = ["Run", "carry_out", "run_make", "warn_of_sketch"]

_FRAME_SECONDS = 0.2
# A note of a wait ends with it.
_NOTE_ENDS = (AttemptReserved, AttemptDropped, AttemptSent, PreviewReceived, AttemptEnded)
_NO_AI = (
    "No key is set, so this is the built-in sketch engine: procedural images, no AI. "
    "Set a key such as OPENAI_API_KEY for a real model; `imagen doctor` names them all."
)


async def run_make(options: argparse.Namespace, console: Console) -> ExitStatus:
    """Make the images. Ctrl-C drops what has not been sent and waits for what
    is paid; a second one stops waiting.
    """
    _check_economy(options)
    if options.dry_run:
        return await run_dry(options, console)
    run = Run(options, console)
    if options.out is not None:
        await prepare_folder(options.out)
    async with open_client(
        confirm=run.confirm if options.yes or console.can_ask else None
    ) as client:
        requests = await read_requests(options)
        run.expect(len(requests))
        _check(options, requests, client)
        if any(isinstance(one, Generate) and one.model is None for one in requests):
            warn_of_sketch(client, console)
        await carry_out(run, client, run.open(client, requests))
    run.finish()
    return run.status


async def carry_out(run: Run, client: Client, opened: AbstractAsyncContextManager[Batch]) -> None:
    """Make the images of a batch, and wait for what is paid."""
    async with trio.open_nursery() as nursery:
        await nursery.start(run.watch_signals, client)
        nursery.start_soon(run.show_progress, client)
        await run.make(opened)
        await run.salvage(client)
        nursery.cancel_scope.cancel("all is done")


class Run:
    """State of one run of the command: outcomes, and the exit status."""

    def __init__(self, options: argparse.Namespace, console: Console) -> None:
        self._options = options
        self._console = console
        self._scope = trio.CancelScope()
        self._started_at = trio.current_time()
        self._teller = OutcomePrinter(
            console,
            out=options.out,
            total=options.n,
            preview=Preview(console, options.preview),
        )
        self._costs = Costs()
        self._late: list[Image] = []
        self._fractions: dict[str, float | None] = {}
        self._notes: dict[str, str] = {}
        self._batch_id = ""
        self._left = 0
        self._refusal: ImagenError | None = None
        self._salvaging = False
        self.interrupted = False
        self.timed_out = False

    # --- making ---------------------------------------------------------------

    def expect(self, images: int) -> None:
        """Take the number of images, where a table says it."""
        self._options.n = images
        self._teller.expect(images)

    def open(
        self, client: Client, requests: Sequence[Request]
    ) -> AbstractAsyncContextManager[Batch]:
        """The batch that the options ask for."""
        options = self._options
        one = options.table is None
        return client.open_batch(
            requests[0] if one else requests,
            n=len(requests) if one else 1,
            max_at_once=options.max_at_once,
            together=options.together,
            economy=options.economy,
            budget=self.budget,
            on_event=self.hear,
            **_read_way(options),
        )

    @property
    def budget(self) -> Budget | None:
        """Budget of the batch, if one was given."""
        return None if self._options.budget is None else Budget(self._options.budget)

    @property
    def made(self) -> list[Image]:
        """Images in order of completion."""
        return self._teller.made

    async def make(self, opened: AbstractAsyncContextManager[Batch]) -> None:
        """Run the batch and print each outcome as it comes."""
        with self._scope, trio.move_on_after(self._options.deadline or float("inf")) as deadline:
            try:
                async with opened as batch:
                    if self._options.economy:
                        self._tell_batch(batch.id)
                    async for outcome in batch:
                        await self._teller.tell(outcome)
            except ImagenError as error:
                self._tell_refusal(error)
        self.timed_out = deadline.cancelled_caught

    async def confirm(self, quote: Quote, images: int) -> bool:
        """Return True if the user agrees to the cost."""
        if self._options.yes:
            return True
        cost = (
            "have an unknown price"
            if quote.high_usd is None
            else f"cost up to {usd(quote.high_usd)}"
        )
        return await self._console.ask(f"imagen: {images} images may {cost}. Make them?")

    async def salvage(self, client: Client) -> None:
        """Wait for what is paid and print it: after an interruption, or if two
        models were asked.
        """
        seconds = client.settings.salvage_seconds
        again = " again" if self.interrupted else ""
        self._salvaging = True
        client.bound_salvage(seconds)
        if client.in_flight:
            # What costs nothing is gone in a moment.
            await trio.sleep(_FRAME_SECONDS / 4)
        if client.in_flight:
            self._console.note(
                f"imagen: waiting up to {seconds:g} s for {client.in_flight} request(s) that may be"
                f" paid; Ctrl-C{again} gives them up."
            )
        while client.in_flight or self._late:
            while self._late:
                await self._teller.tell(self._late.pop(0))
            await trio.sleep(_FRAME_SECONDS / 4)

    def hear(self, event: Event) -> None:
        """Note every outcome, also those that no reader takes any more."""
        if isinstance(event, BudgetAlarm):
            self._tell_alarm(event)
            return
        if isinstance(event, AttemptEnded):
            self._note_end(event)
        elif isinstance(event, ProgressReported):
            self._fractions[event.attempt_id] = event.fraction
            self._notes[event.attempt_id] = event.note
        elif isinstance(event, PreviewReceived):
            self._save_preview(event)
        if isinstance(event, _NOTE_ENDS):
            self._notes.pop(event.attempt_id, None)

    def _note_end(self, event: AttemptEnded) -> None:
        self._fractions.pop(event.attempt_id, None)
        if event.left and self._options.economy:
            self._left += len(event.outcomes)
            return
        # Every attempt has its cost, also a fallback or a hedge.
        self._costs.add(event.outcomes)
        if self.interrupted or self.timed_out:
            self._late += [outcome for outcome in event.outcomes if isinstance(outcome, Image)]

    def _save_preview(self, event: PreviewReceived) -> None:
        if self._options.out is None:
            return
        name = f"{slug(event.request.prompt)}-{event.indexes[0] + 1}"
        path = self._options.out / f"{name}-preview-{event.number + 1}.png"
        try:
            path.write_bytes(event.data)
        except OSError as error:
            self._console.note(
                f"imagen: A preview cannot be saved as {path}: {error.strerror or error}."
            )

    def _tell_batch(self, batch_id: str) -> None:
        self._batch_id = batch_id
        if self._console.json:
            self._console.emit({"kind": "batch", "id": batch_id})
        self._console.note(
            f"imagen: Batch {batch_id} may take hours; Ctrl-C leaves it with the provider, `imagen"
            f" batch {batch_id}` goes on."
        )

    def _tell_refusal(self, error: ImagenError) -> None:
        """Print why the batch as a whole was refused, e.g. without consent to
        its cost.
        """
        self._refusal = error
        unasked = isinstance(error, BudgetExceededError) and not self._console.can_ask
        say_error(f"{error.message} Add --yes to agree to it." if unasked else error.message)

    def _tell_alarm(self, alarm: BudgetAlarm) -> None:
        if self._console.json:
            self._console.emit(alarm_record(alarm))
        else:
            self._console.note(
                f"imagen: {alarm.share:.0%} of the budget of {alarm.budget} is spent or reserved."
            )

    # --- around it ------------------------------------------------------------

    async def watch_signals(
        self, client: Client, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """The first Ctrl-C ends the batch, the second the salvage."""
        with trio.open_signal_receiver(*ending_signals()) as signals:
            task_status.started()
            async for number in signals:
                self._console.notice(number)
                if self.interrupted or self._salvaging:
                    client.bound_salvage(0)
                self.interrupted = True
                self._scope.cancel("interrupted")

    async def show_progress(self, client: Client) -> None:
        """The changing line under the images, on a terminal."""
        if not self._console.shows_live:
            return
        while True:
            elapsed = trio.current_time() - self._started_at
            under_way = f"{client.in_flight} under way{self._fraction_text()}"
            self._console.live(
                f"{self._teller.done} of {self._options.n} done, {under_way}, {elapsed:.0f} s, "
                f"{self._costs}{self._note_text()}"
            )
            await trio.sleep(_FRAME_SECONDS)

    def finish(self) -> None:
        """Print the last line: the images and their cost."""
        seconds = trio.current_time() - self._started_at
        made = len(self._teller.made)
        missing = self._options.n - made - self._left
        self._console.clear_live()
        if self._console.json:
            summary = {
                "kind": "summary",
                "requested": self._options.n,
                "succeeded": made,
                "failed": missing,
                "cost_usd": money(self._costs.known_usd),
                "seconds": round(seconds, 3),
            }
            self._console.emit(
                {**summary, "left": self._left} if self._options.economy else summary
            )
        else:
            why = "interrupted: " if self.interrupted else "out of time: " if self.timed_out else ""
            left = f", {self._left} left with the provider" if self._left else ""
            failed = f", {missing} not made" if missing else ""
            self._console.say(
                f"{why}{made} of {self._options.n} made{left}{failed}, {self._costs},"
                f" {seconds:.1f} s"
            )
        if self._left:
            self._console.note(
                f"imagen: `imagen batch {self._batch_id}` goes on with what the provider has taken."
            )

    def _fraction_text(self) -> str:
        known = [fraction for fraction in self._fractions.values() if fraction is not None]
        return f" ({sum(known) / len(known):.0%})" if known else ""

    def _note_text(self) -> str:
        """Return the text of a wait: for a slot, or in the provider's queue."""
        return next((f"; {note}" for note in self._notes.values() if note), "")

    @property
    def status(self) -> ExitStatus:
        """Return the exit status."""
        errors = [failure.error for failure in self._teller.failures]
        if self.interrupted:
            return ExitStatus.INTERRUPTED
        if self._refusal is not None:
            errors.append(self._refusal)
        if any(error.code == "BUDGET" for error in errors):
            return ExitStatus.OVER_BUDGET
        if errors and not self._teller.made and all(_is_setup_fault(error) for error in errors):
            return ExitStatus.USAGE
        if (
            errors
            or self.timed_out
            or self._teller.not_saved
            or len(self._teller.made) < self._options.n
        ):
            return ExitStatus.SOME_FAILED
        return ExitStatus.DONE


def _read_way(options: argparse.Namespace) -> CallOptions:
    way = CallOptions(wait=not options.no_wait, cache=options.cache)
    if options.fallback:
        way["fallback"] = options.fallback
    if options.routing is not None:
        way["routing"] = options.routing
    if options.hedge_after is not None:
        way["hedge_after_seconds"] = options.hedge_after
    return way


def _check_economy(options: argparse.Namespace) -> None:
    others = (
        options.together,
        options.fallback,
        options.routing,
        options.hedge_after,
        options.cache,
        options.no_wait,
        options.previews,
    )
    if options.economy and any(others):
        raise InvalidRequestError(
            "--economy sends everything to one model and waits: leave out --together, --fallback,"
            " --routing, --hedge-after, --cache, --no-wait and --previews."
        )


def _check(options: argparse.Namespace, requests: Sequence[Request], client: Client) -> None:
    """Refuse at once what cannot be sent, and options that another model of the
    fallback would ignore.
    """
    named = dict.fromkeys(one.model for one in requests if one.model is not None)
    for name in (*named, *options.fallback):
        client.catalog.find(name)
    settled = options.economy or all(one.model is not None for one in requests)
    others = options.fallback or (() if settled else client.settings.routes.fallback)
    if (options.hedge_after or options.routing) and not others:
        raise InvalidRequestError(
            "--routing and --hedge-after choose among several models: name another one with"
            " --fallback."
        )
    try:
        client.quote(requests if options.table else requests[:1], economy=options.economy)
    except ConfigurationError:
        # The first model is not set up here; the next one may be.
        if not others:
            raise


def warn_of_sketch(client: Client, console: Console) -> None:
    """Warn that the images come from `sketch`, if no key is set."""
    if client.default_model.provider == "sketch" and not client.settings.default_model:
        console.note(_NO_AI)


def _is_setup_fault(error: ImagenError) -> bool:
    return isinstance(error, (AuthenticationError, ConfigurationError, InvalidRequestError))
