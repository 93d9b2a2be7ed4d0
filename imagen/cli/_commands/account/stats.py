"""`imagen stats`: success, speed and cost of models."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from decimal import Decimal

from .... import Statistics, open_client
from ..._arguments.options import add_command, since
from ..._console import Console, ExitStatus, bar, usd
from ..._output.json_output import money

__all__ = ["add_stats"]

_KEYS = ("model", "provider", "operation", "tag", "day", "month")
_CHARTS = ("images", "cost", "seconds", "success")
_SHORTEST_BAR, _LONGEST_BAR = 8, 40
_TITLES = (
    "IMAGES",
    "SUCCESS",
    "REFUSED",
    "RETRIES",
    "P50",
    "P95",
    "SPENT",
    "PER IMAGE",
    "PER KEPT",
    "CACHED",
)


def add_stats(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The arguments of the command."""
    stats = commands.add_parser(
        "stats",
        help="compare success, speed and cost of models",
        description=(
            "PER IMAGE is the cost of an image that was asked for, PER KEPT of one that is in the"
            " library and not in the trash. P50 and P95 are seconds within which 50 and 95 of 100"
            " images came."
        ),
    )
    add_command(stats, run_stats, csv=True)
    stats.add_argument(
        "--by", choices=_KEYS, default="model", help="group by this (default: model); days are UTC"
    )
    stats.add_argument(
        "--since", type=since, help="date, e.g. 2026-11-01, or span, e.g. 24h, 7d, 4w"
    )
    stats.add_argument(
        "--until", type=since, metavar="WHEN", help="before that date, or longer ago than that span"
    )
    stats.add_argument(
        "--chart", choices=_CHARTS, default="images", help="what the bars show (default: images)"
    )


async def run_stats(options: argparse.Namespace, console: Console) -> ExitStatus:
    """Print the statistics of a period."""
    async with open_client() as client:
        found = await client.statistics(options.by, options.since, options.until)
    if options.csv:
        records = [_record(one, options.by) for one in found]
        console.emit_csv(records, tuple(_record(Statistics(name=""), options.by)))
    elif console.json:
        for one in found:
            console.emit({"kind": "statistics", **_record(one, options.by)})
    elif found:
        _print_table(found, options, console)
    else:
        console.say("Nothing was sent in that time.")
    return ExitStatus.DONE


def _record(one: Statistics, by: str) -> Mapping[str, object]:
    return {
        "by": by,
        "name": one.name,
        "attempts": one.attempts,
        "succeeded": one.succeeded,
        "failed": one.failed,
        "refused": one.refused,
        "unknown": one.unknown,
        "retries": one.retries,
        "asked": one.asked,
        "images": one.images,
        "kept": one.kept,
        "starred": one.starred,
        "success_rate": one.success_rate,
        "refusal_rate": one.refusal_rate,
        "p50_seconds": one.p50_seconds,
        "p95_seconds": one.p95_seconds,
        "usd": money(one.usd),
        "unknown_usd": money(one.unknown_usd),
        "usd_per_image": money(one.usd_per_image),
        "usd_per_kept": money(one.usd_per_kept),
        "usd_per_starred": money(one.usd_per_starred),
        "cached": one.cached,
        "saved_usd": money(one.saved_usd),
    }


def _print_table(
    found: Sequence[Statistics], options: argparse.Namespace, console: Console
) -> None:
    rows = [(one.name or f"(no {options.by})", *_cells(one)) for one in found]
    header = (options.by.upper(), *_TITLES)
    taken = sum(max(map(len, column)) + 2 for column in zip(header, *rows, strict=True))
    bars = _bars(found, options.chart, console.width - taken, console.encoding)
    lines = [(*row, drawn) for row, drawn in zip(rows, bars, strict=True)]
    console.table(lines, (*header, ""), right=range(1, len(header)))


def _cells(one: Statistics) -> tuple[str, ...]:
    return (
        str(one.images),
        _percent(one.success_rate),
        str(one.refused),
        str(one.retries),
        _seconds(one.p50_seconds),
        _seconds(one.p95_seconds),
        usd(one.usd),
        _usd(one.usd_per_image),
        _usd(one.usd_per_kept),
        str(one.cached),
    )


def _bars(found: Sequence[Statistics], chart: str, room: int, encoding: str) -> list[str]:
    """Return a bar for each row; all are empty if there is no room."""
    values = [_value(one, chart) for one in found]
    most = max(values)
    width = min(room, _LONGEST_BAR)
    if not most or width < _SHORTEST_BAR:
        return [""] * len(found)
    return [bar(value / most, width, encoding) for value in values]


def _value(one: Statistics, chart: str) -> float:
    match chart:
        case "cost":
            return float(one.usd)
        case "seconds":
            return one.p95_seconds or 0.0
        case "success":
            return one.success_rate or 0.0
        case _:
            return float(one.images)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"


def _usd(amount: Decimal | None) -> str:
    return "-" if amount is None else usd(round(amount, 4))
