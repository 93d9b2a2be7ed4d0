"""`imagen reconcile`: settle attempts of unknown outcome."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from decimal import Decimal

from .... import AttemptEnded, AttemptRecord, Client, Event, Image, InvalidRequestError, open_client
from ..._console import Console, ExitStatus, usd
from ..._output.json_output import image_record, money
from .spend import list_unknown

__all__ = ["run_reconcile"]


async def run_reconcile(options: argparse.Namespace, console: Console) -> ExitStatus:
    """Fetches what still can be had, or books one attempt by hand."""
    if options.id is None:
        return await _collect(console)
    if options.usd is None:
        raise InvalidRequestError(
            f"Say what {options.id} did cost by the provider's account: imagen reconcile"
            f" {options.id} USD, 0 where nothing."
        )
    async with open_client() as client:
        attempt = _find(options.id, await client.unknown_attempts())
        await client.reconcile(attempt.id, options.usd)
    _tell_booked(attempt, options.usd, console)
    return ExitStatus.DONE


async def _collect(console: Console) -> ExitStatus:
    """Return status 1 if an attempt stays unknown, as the user has to look it
    up.
    """
    fetched: list[Image] = []

    def hear(event: Event) -> None:
        if isinstance(event, AttemptEnded):
            images = [outcome for outcome in event.outcomes if isinstance(outcome, Image)]
            fetched.extend(images)
            for image in images:
                _tell_image(image, console)

    async with open_client(on_event=hear) as client:
        if await _something_is_out(client):
            console.note(
                "imagen: Asking the providers for what is still out. This can take minutes; Ctrl-C"
                " leaves it for later."
            )
        await client.collect()
        left = await client.unknown_attempts()
    if console.json:
        list_unknown(left, console)
        console.emit({"kind": "summary", "fetched": len(fetched), "unknown": len(left)})
    else:
        console.say(f"{len(fetched)} images fetched, {len(left)} requests stay unknown")
        if left:
            console.say("")
            list_unknown(left, console)
    return ExitStatus.SOME_FAILED if left else ExitStatus.DONE


async def _something_is_out(client: Client) -> bool:
    return client.in_flight > 0 or any(
        attempt.remote_id for attempt in await client.unknown_attempts()
    )


def _tell_image(image: Image, console: Console) -> None:
    if console.json:
        console.emit(image_record(image))
    else:
        console.say(
            f"{image.path}  {image.width}x{image.height}  {usd(image.cost.usd)}  {image.model}"
        )


def _find(beginning: str, attempts: Sequence[AttemptRecord]) -> AttemptRecord:
    found = [attempt for attempt in attempts if beginning and attempt.id.startswith(beginning)]
    if not found:
        raise InvalidRequestError(
            f"There is no attempt {beginning!r} of unknown outcome: `imagen spend --unknown` lists"
            " them."
        )
    if len(found) > 1:
        ids = ", ".join(attempt.id for attempt in found)
        raise InvalidRequestError(
            f"{beginning!r} is the beginning of {len(found)} ids, {ids}: give more of it."
        )
    return found[0]


def _tell_booked(attempt: AttemptRecord, amount: Decimal, console: Console) -> None:
    if console.json:
        console.emit({"kind": "reconciled", "id": attempt.id, "cost_usd": money(amount)})
    else:
        console.say(
            f"{attempt.id}: {attempt.model} at {attempt.provider} is booked with {usd(amount)}."
        )
