"""`imagen batch`: continue a batch that was left."""

from __future__ import annotations

import argparse

import trio

from .... import Client, ImagenError, InvalidRequestError, open_client
from ..._console import Console, ExitStatus, ending_signals
from ..._output.json_output import money
from ..._output.printer import Costs, OutcomePrinter, prepare_folder

__all__ = ["run_batch"]

_FRAME_SECONDS = 0.2
# Reading what is there takes less.
_PATIENCE_SECONDS = 1.0


async def run_batch(options: argparse.Namespace, console: Console) -> ExitStatus:
    """Print the outcomes that exist and those that still come. Ctrl-C leaves
    the rest with the provider; nothing is lost.
    """
    if options.out is not None:
        await prepare_folder(options.out)
    teller = OutcomePrinter(console, out=options.out)
    started_at = trio.current_time()
    left = trio.CancelScope()
    error: ImagenError | None = None
    async with open_client() as client, trio.open_nursery() as nursery:
        await nursery.start(_leave_on_signal, left, console)
        nursery.start_soon(_show_waiting, client, teller, console)
        with left:
            try:
                async with client.reopen_batch(options.id) as batch:
                    async for outcome in batch:
                        await teller.tell(outcome)
            except ImagenError as raised:
                # The nursery would wrap it in a group.
                error = raised
        nursery.cancel_scope.cancel("all is printed")
    if error is not None:
        raise error
    interrupted = left.cancelled_caught
    if not teller.done and not interrupted:
        raise InvalidRequestError(
            f"There is no batch {options.id!r}: `imagen spend --by batch` lists them."
        )
    _finish(teller, console, seconds=trio.current_time() - started_at, interrupted=interrupted)
    if interrupted:
        console.note(
            f"imagen: What the provider works on is left there: `imagen batch {options.id}`"
            " goes on."
        )
        return ExitStatus.INTERRUPTED
    return ExitStatus.SOME_FAILED if teller.failures or teller.not_saved else ExitStatus.DONE


async def _leave_on_signal(
    scope: trio.CancelScope,
    console: Console,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    with trio.open_signal_receiver(*ending_signals()) as signals:
        task_status.started()
        async for number in signals:
            console.notice(number)
            scope.cancel("interrupted")


async def _show_waiting(client: Client, teller: OutcomePrinter, console: Console) -> None:
    """Print once that the batch waits, and its progress on a terminal."""
    started_at = trio.current_time()
    await trio.sleep(_PATIENCE_SECONDS)
    console.note("imagen: Waiting for the provider, which may take hours; Ctrl-C leaves it there.")
    while console.shows_live:
        elapsed = trio.current_time() - started_at
        console.live(f"{teller.done} there, {client.in_flight} under way, {elapsed:.0f} s")
        await trio.sleep(_FRAME_SECONDS)


def _finish(teller: OutcomePrinter, console: Console, *, seconds: float, interrupted: bool) -> None:
    """The last line. How many were asked for is known when nothing is missing
    any more.
    """
    costs = Costs()
    costs.add([*teller.made, *teller.failures])
    made, failed = len(teller.made), len(teller.failures)
    console.clear_live()
    if console.json:
        console.emit(
            {
                "kind": "summary",
                "requested": None if interrupted else made + failed,
                "succeeded": made,
                "failed": failed,
                "cost_usd": money(costs.known_usd),
                "seconds": round(seconds, 3),
            }
        )
        return
    of = f"interrupted: {made}" if interrupted else f"{made} of {made + failed}"
    not_made = f", {failed} not made" if failed else ""
    console.say(f"{of} made{not_made}, {costs}, {seconds:.1f} s")
