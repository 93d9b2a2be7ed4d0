"""The pieces that commands put their arguments together from."""

from __future__ import annotations

import argparse
import datetime
import os
import re
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Literal

from ... import Client, open_client
from .._console import Console, ExitStatus

__all__ = [
    "add_client_command",
    "add_command",
    "add_out",
    "hedge",
    "number_from",
    "scale",
    "seconds",
    "share",
    "since",
    "span",
    "usd_amount",
    "whole",
]

_SPAN = re.compile(r"([0-9]{1,5})([hdw])")
_SPAN_HOURS = {"h": 1, "d": 24, "w": 168}
# More is not a plausible amount, and less than the ledger can count.
_MOST_USD = Decimal(1_000_000_000)


def add_command(
    parser: argparse.ArgumentParser,
    command: Callable[..., Awaitable[ExitStatus]],
    *,
    csv: bool = False,
) -> argparse.ArgumentParser:
    parser.set_defaults(command=command)
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument(
        "--json", action="store_true", help="one JSON object a line on standard output"
    )
    if csv:
        forms.add_argument(
            "--csv", action="store_true", help="a table for other programs on standard output"
        )
    return parser


def add_client_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    help_text: str,
    work: Callable[[argparse.Namespace, Client, Console], Awaitable[ExitStatus]],
    description: str | None = None,
) -> argparse.ArgumentParser:
    """A command that needs nothing but an open client."""

    async def run(options: argparse.Namespace, console: Console) -> ExitStatus:
        async with open_client() as client:
            return await work(options, client, console)

    return add_command(commands.add_parser(name, help=help_text, description=description), run)


def add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=user_path, metavar="DIR", help="folder for copies with readable names"
    )


def user_path(text: str) -> Path:
    """Return the path of an option; no shell expands the tilde of --out=~/x."""
    return Path(os.path.expanduser(text))


def whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return number

    return read


def number_from(low: float) -> Callable[[str], float]:
    return lambda text: _number(text, low, 1e9, f"from {low:g} up")


def share(text: str) -> float:
    return _number(text, 0.0, 1.0, "from 0 to 1")


def scale(text: str) -> float:
    return _number(text, 1.0, 16.0, "from 1 to 16")


def _number(text: str, low: float, high: float, words: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = low - 1
    if not low <= found <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number {words}")
    return found


def usd_amount(text: str) -> Decimal:
    try:
        amount = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount < _MOST_USD:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of US dollars such as 0.50")
    return amount


def seconds(text: str) -> float:
    try:
        length = float(text)
    except ValueError:
        length = -1.0
    if not 0 < length < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return length


def hedge(text: str) -> float | Literal["p95"]:
    if text == "p95":
        return "p95"
    try:
        return seconds(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, and not p95") from None


def span(text: str) -> datetime.timedelta:
    if found := _SPAN.fullmatch(text):
        return datetime.timedelta(hours=int(found[1]) * _SPAN_HOURS[found[2]])
    raise argparse.ArgumentTypeError(f"{text!r} is not a span such as 12h, 7d or 4w")


def since(text: str) -> datetime.datetime:
    if _SPAN.fullmatch(text):
        return datetime.datetime.now(datetime.UTC) - span(text)
    try:
        return datetime.datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a date such as 2026-11-01 nor a span such as 7d"
        ) from None
