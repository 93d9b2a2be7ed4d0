"""`imagen spend`: costs, and attempts of unknown outcome."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from .... import (
    AttemptCounts,
    AttemptRecord,
    CacheHits,
    Client,
    Spending,
    SpendingGroup,
    open_client,
)
from ..._console import Console, ExitStatus, bar, usd, usd_column
from ..._output.json_output import attempt_record, money, spending_record, when

__all__ = ["list_unknown", "run_spend"]

_AMOUNTS = ("images", "settled_usd", "reserved_usd", "unknown_usd")
_COUNTS = AttemptCounts.__struct_fields__
_UNKNOWN_HEADER = (
    *(
        "id",
        "created_at",
        "provider",
        "model",
        "operation",
        "images",
        "tag",
        "batch_id",
        "reserved_usd",
        "cost_usd",
    ),
    *("remote_id", "message"),
)
_SOURCES: Mapping[Literal["reported", "computed", "estimated"], str] = {
    "reported": "reported by the provider",
    "computed": "computed from the usage that the provider reported",
    "estimated": "estimated from the price list",
}
_LONGEST_BAR = 40
_SHORTEST_BAR = 5
_HOW_TO_RECONCILE = (
    "They may be billed, so they count as spent. `imagen reconcile` fetches those whose job the"
    " provider still knows; look up the others in the provider's account, and book them with"
    " `imagen reconcile ID USD`."
)


async def run_spend(options: argparse.Namespace, console: Console) -> ExitStatus:
    """Sums up the ledger."""
    async with open_client() as client:
        if options.unknown:
            attempts = [
                attempt
                for attempt in await client.unknown_attempts()
                if options.since is None or attempt.created_at >= options.since.timestamp()
            ]
            _tell_unknown(attempts, options, console)
        elif options.by is not None:
            await _tell_groups(client, options, console)
        else:
            _tell_total(await client.spending(options.since), options, console)
            _tell_hits(await client.cache_hits(options.since), options, console)
    return ExitStatus.DONE


def _tell_hits(hits: CacheHits, options: argparse.Namespace, console: Console) -> None:
    """Print what --cache saved, if anything."""
    if not hits.images or options.csv:
        return
    if console.json:
        console.emit(
            {"kind": "cache_hits", "images": hits.images, "saved_usd": money(hits.saved_usd)}
        )
    else:
        console.say(
            f"cache      {hits.images} taken from the library, for which {usd(hits.saved_usd)} had"
            " been paid"
        )


# --- everything together ------------------------------------------------------


def _tell_total(spending: Spending, options: argparse.Namespace, console: Console) -> None:
    counts = spending.attempts
    if options.csv:
        _emit_csv([SpendingGroup(name="total", spending=spending)], console)
    elif console.json:
        console.emit(
            {
                "settled_usd": money(spending.settled_usd),
                "reserved_usd": money(spending.reserved_usd),
                "unknown_usd": money(spending.unknown_usd),
                "attempts": msgspec.to_builtins(counts),
            }
        )
    else:
        console.say(f"spent      {usd(spending.settled_usd)}")
        for source, words in _SOURCES.items():
            if amount := spending.by_source.get(source):
                console.say(f"           {usd(amount)} of it {words}")
        if spending.unpriced:
            console.say(
                f"           beside {spending.unpriced} successful requests of unknown cost"
            )
        console.say(f"in flight  {usd(spending.reserved_usd)} reserved")
        console.say(
            f"unknown    {usd(spending.unknown_usd)} for requests whose answer was lost; they may"
            " be billed"
        )
        console.say(
            f"attempts   {counts.succeeded} succeeded, {counts.failed} failed, {counts.refused}"
            f" refused, {counts.unknown} unknown, {counts.in_flight} in flight"
        )


# --- split --------------------------------------------------------------------


async def _tell_groups(client: Client, options: argparse.Namespace, console: Console) -> None:
    groups = await client.spending_by(options.by, options.since)
    if options.csv:
        _emit_csv(groups, console)
        return
    total = await client.spending(options.since)
    if console.json:
        for group in groups:
            console.emit(
                {
                    **spending_record("spending", group.spending),
                    "by": options.by,
                    "name": group.name,
                }
            )
        console.emit(spending_record("total", total))
        return
    named = [
        SpendingGroup(name=group.name or f"(no {options.by})", spending=group.spending)
        for group in groups
    ]
    _print_table(options.by, named, total, console)


def _print_table(
    key: str, groups: Sequence[SpendingGroup], total: Spending, console: Console
) -> None:
    rows = [*groups, SpendingGroup(name="total", spending=total)]
    header = (key.upper(), "IMAGES", "SETTLED", "RESERVED", "UNKNOWN", "NOT MADE")
    spent = [row.spending for row in rows]
    columns = [
        [row.name for row in rows],
        [str(one.images) for one in spent],
        usd_column([one.settled_usd for one in spent]),
        usd_column([one.reserved_usd for one in spent]),
        usd_column([one.unknown_usd for one in spent]),
        [_not_made(one.attempts) for one in spent],
    ]
    taken = sum(
        max(map(len, (title, *column))) + 2 for title, column in zip(header, columns, strict=True)
    )
    columns.append(
        _bars([group.spending for group in groups], console.width - taken, console.encoding)
    )
    console.table(zip(*columns, strict=True), (*header, ""), right=range(1, 5))


def _not_made(counts: AttemptCounts) -> str:
    found = {"failed": counts.failed, "refused": counts.refused, "unknown": counts.unknown}
    return ", ".join(f"{count} {name}" for name, count in found.items() if count) or "-"


def _bars(spent: Sequence[Spending], room: int, encoding: str) -> list[str]:
    """Return a bar for each counted cost, none for the total; all are empty if
    there is no room.
    """
    amounts = [one.settled_usd + one.unknown_usd for one in spent]
    most = max(amounts, default=0)
    width = min(room, _LONGEST_BAR)
    if not most or width < _SHORTEST_BAR:
        return [""] * (len(amounts) + 1)
    return [*(bar(float(amount / most), width, encoding) for amount in amounts), ""]


def _emit_csv(groups: Sequence[SpendingGroup], console: Console) -> None:
    records = [
        {
            "name": group.name,
            **spending_record("", group.spending),
            **msgspec.structs.asdict(group.spending.attempts),
        }
        for group in groups
    ]
    console.emit_csv(records, ("name", *_AMOUNTS, *_COUNTS))


# --- unknown outcomes --------------------------------------------------------


def _tell_unknown(
    attempts: Sequence[AttemptRecord], options: argparse.Namespace, console: Console
) -> None:
    if options.csv:
        console.emit_csv(map(attempt_record, attempts), _UNKNOWN_HEADER)
    else:
        list_unknown(attempts, console)


def list_unknown(attempts: Sequence[AttemptRecord], console: Console) -> None:
    """The attempts of unknown outcome, and what to do about them."""
    if console.json:
        for attempt in attempts:
            console.emit(attempt_record(attempt))
        return
    if not attempts:
        console.say("No request is of unknown outcome.")
        return
    rows = [
        (
            attempt.id,
            f"{when(attempt.created_at):%Y-%m-%d %H:%M}",
            attempt.provider,
            attempt.model,
            str(attempt.images),
            _cost_text(attempt),
            attempt.remote_id or "-",
        )
        for attempt in attempts
    ]
    console.table(rows, ("ID", "WHEN", "PROVIDER", "MODEL", "IMAGES", "COST", "JOB"), right=(4,))
    console.say("")
    for reason, ids in _reasons(attempts).items():
        console.say(f"{', '.join(ids)}: {reason}")
    console.say(_HOW_TO_RECONCILE)


def _cost_text(attempt: AttemptRecord) -> str:
    if attempt.settled_usd is not None:
        return f"{usd(attempt.settled_usd)} billed"
    if attempt.accepted_usd is not None:
        return f"{usd(attempt.accepted_usd)} announced"
    return "unknown" if attempt.reserved_usd is None else f"up to {usd(attempt.reserved_usd)}"


def _reasons(attempts: Sequence[AttemptRecord]) -> dict[str, list[str]]:
    """Return the reasons of the unknown outcomes, each once."""
    found: dict[str, list[str]] = {}
    for attempt in attempts:
        found.setdefault(attempt.error_message or "The answer was lost.", []).append(attempt.id)
    return found
