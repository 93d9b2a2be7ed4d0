"""`imagen worker`: makes what clients have submitted."""

from __future__ import annotations

import argparse
from functools import partial

import trio

from ... import ImagenError, open_client, run_worker
from .._arguments.options import add_command, whole
from .._console import Console, ExitStatus, ending_signals

__all__ = ["add_worker_command"]

_MOST = 1000
_ENDING = "The worker takes nothing more, and ends once what is paid has come."


def add_worker_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The arguments of the command."""
    parser = commands.add_parser(
        "worker",
        help="make the sessions that clients have submitted",
        description=(
            "Make the sessions that were left to workers with `client.submit`, until Ctrl-C or"
            " SIGTERM. Any number of workers may run on one database. IMAGEN_QUEUE_URL makes them"
            " take turns by a queue in Redis or Valkey; docs/cluster.md."
        ),
    )
    add_command(parser, run_work)
    parser.add_argument(
        "--concurrency",
        type=whole(1, _MOST),
        default=8,
        help="sessions side by side (default: 8)",
    )
    parser.add_argument(
        "--per-tag",
        type=whole(1, _MOST),
        metavar="N",
        help="sessions of one tag side by side in all workers",
    )


async def run_work(options: argparse.Namespace, console: Console) -> ExitStatus:
    """Work until a signal comes."""
    work = partial(
        run_worker,
        concurrency=options.concurrency,
        most_per_tag=options.per_tag,
        say=console.note,
    )
    refused: ImagenError | None = None
    with trio.open_signal_receiver(*ending_signals()) as signals:

        async def end() -> None:
            console.notice(await anext(signals))
            console.note(_ENDING)
            nursery.cancel_scope.cancel()

        async with open_client() as client, trio.open_nursery() as nursery:
            nursery.start_soon(end)
            _tell_begun(options.concurrency, console)
            try:
                await work(client)
            except ImagenError as error:
                refused = error
                nursery.cancel_scope.cancel()
    if refused is not None:
        raise refused
    return ExitStatus.DONE


def _tell_begun(concurrency: int, console: Console) -> None:
    if console.json:
        console.emit({"kind": "worker", "concurrency": concurrency})
    else:
        console.say(f"The worker makes up to {concurrency} sessions at once.")
