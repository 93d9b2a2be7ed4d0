"""`--dry-run`: what images would cost. Nothing is sent, no key is needed, and
the home is left alone.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import msgspec

from .... import Client, Quote, Request, Settings, load_settings, open_client
from ..._arguments.requests import read_requests
from ..._console import Console, ExitStatus, usd
from ..._output.json_output import quote_record

__all__ = ["figures", "open_quoting_client", "run_dry", "tell_limits"]


async def run_dry(options: argparse.Namespace, console: Console) -> ExitStatus:
    """Print the cost of the whole batch for its model and for each fallback."""
    requests = await read_requests(options)
    images = len(requests)
    async with open_quoting_client() as client:
        quotes = [
            (_models_of(asked, client), client.quote(asked, economy=options.economy))
            for asked in (requests, *(_by(name, requests) for name in options.fallback))
        ]
        limit = client.settings.confirm_above_usd
    if console.json:
        for model, quote in quotes:
            console.emit(quote_record(model, images, quote))
        return ExitStatus.DONE
    rows = [(model, str(images), *figures(quote)) for model, quote in quotes]
    console.table(rows, ("MODEL", "IMAGES", "AT LEAST", "EXPECTED", "AT MOST"), right=range(1, 5))
    tell_limits([quote for _, quote in quotes], limit, console)
    return ExitStatus.DONE


def _by(model: str, requests: Sequence[Request]) -> Sequence[Request]:
    return [msgspec.structs.replace(request, model=model) for request in requests]


def _models_of(requests: Sequence[Request], client: Client) -> str:
    """Return the model of the requests, "*" if there are several."""
    names = {client.model_for(request).id for request in requests}
    return names.pop() if len(names) == 1 else "*"


def tell_limits(quotes: Sequence[Quote], limit: Decimal | None, console: Console) -> None:
    """Print the limits beside the figures."""
    console.say("")
    console.say("Nothing was sent.")
    if any(quote.high_usd is None for quote in quotes):
        console.say("The price is unknown: --assume USD sets the most that one image may cost.")
    if limit is not None and any(
        quote.high_usd is None or quote.high_usd > limit for quote in quotes
    ):
        console.say(
            f"Above {usd(limit)} (confirm_above_usd) imagen asks before it sends anything; --yes"
            " agrees."
        )


def figures(quote: Quote) -> list[str]:
    """At least, expected, at most, for people."""
    figures = (quote.low_usd, quote.expected_usd, quote.high_usd)
    return ["unknown" if figure is None else usd(figure) for figure in figures]


@asynccontextmanager
async def open_quoting_client() -> AsyncIterator[Client]:
    """Return a client that quotes for every provider, configured or not."""
    # In a temporary home: opening the user's would settle attempts of earlier
    # processes, and ask their providers.
    with tempfile.TemporaryDirectory(prefix="imagen-") as home:
        async with open_client(_able_to_quote(load_settings(), Path(home)), library=None) as client:
            yield client


def _able_to_quote(settings: Settings, home: Path) -> Settings:
    """Return the settings as if every provider were configured, with the same
    default model.
    """
    access = {
        name: msgspec.structs.replace(
            one, configured=True, preferred=one.configured and one.preferred
        )
        for name, one in settings.access.items()
    }
    return msgspec.structs.replace(settings, home=home, access=access)
