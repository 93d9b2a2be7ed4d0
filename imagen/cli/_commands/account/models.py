"""`imagen models`: the catalog, and the models that providers list."""

from __future__ import annotations

import argparse
import datetime

import msgspec

from .... import Client, DiscoveredModel, Model, catalog_age_note, open_client
from ..._console import Console, ExitStatus, say_error

__all__ = ["run_models"]

_LETTERS = {"generate": "G", "edit": "E", "vary": "V", "enhance": "N", "restyle": "R"}


async def run_models(options: argparse.Namespace, console: Console) -> ExitStatus:
    """List the catalog with what can be used now, or the models that the
    providers list.
    """
    today = datetime.datetime.now(datetime.UTC).date()
    async with open_client() as client:
        if options.refresh:
            return await _refresh(options, client, console)
        default = client.default_model.id
        models = [
            model
            for model in client.catalog
            if (options.all or model.lifecycle.state(today) != "retired")
            and _is_asked_for(model, options)
        ]
        if console.json:
            for model in models:
                console.emit(_model_record(model, client, today, default))
            return ExitStatus.DONE
        rows = [_model_row(model, client, today, default) for model in models]
        console.table(rows, ("", "MODEL", "PROVIDER", "DOES", "PRICE", "STATE", "KEY"))
        console.say("")
        console.say(
            "* is the default. A price is per image in US dollars; ? means an unknown price: one."
        )
        console.say("DOES: Generate, Edit, Vary, eNhance, Restyle.")
        await _say_how_old(client, console, today)
    return ExitStatus.DONE


async def _say_how_old(client: Client, console: Console, today: datetime.date) -> None:
    if (note := catalog_age_note(today)) is not None:
        console.say(note)
    overlay = await client.catalog_overlay()
    if overlay is not None and (differing := overlay.prices.keys() | overlay.bills.keys()):
        console.say(
            f"On {overlay.refreshed_at.date()} the providers had other prices for"
            f" {', '.join(sorted(differing))}: catalog-overlay.json in IMAGEN_HOME has them."
        )


def _is_asked_for(model: Model, options: argparse.Namespace) -> bool:
    return options.provider in (None, model.provider) and (
        options.operation is None or options.operation in model.capabilities.operations
    )


async def _refresh(options: argparse.Namespace, client: Client, console: Console) -> ExitStatus:
    refresh = await client.refresh_catalog()
    discovery = refresh.discovery
    found = [
        one
        for one in discovery.models
        if options.provider in (None, one.provider)
        and (
            options.operation is None
            or one.model is None
            or options.operation in one.model.capabilities.operations
        )
    ]
    if console.json:
        for one in found:
            console.emit(_discovered_record(one))
    else:
        rows = [
            (one.wire_name, one.provider, "" if one.model is None else one.model.id, _news(one))
            for one in found
        ]
        console.table(rows, ("LISTED AS", "PROVIDER", "MODEL", "NEWS"))
    for difference in refresh.news:
        if options.provider in (None, difference.provider):
            say_error(str(difference))
    for provider, reason in discovery.failures.items():
        if options.provider in (None, provider):
            say_error(f"{provider}: {reason}")
    return ExitStatus.SOME_FAILED if discovery.failures else ExitStatus.DONE


def _discovered_record(one: DiscoveredModel) -> dict[str, object]:
    return {
        "kind": "discovered_model",
        "provider": one.provider,
        "wire_name": one.wire_name,
        "name": one.name,
        "model": None if one.model is None else one.model.id,
        "listed": one.listed,
        "retires_on": one.retires_on,
        "price": None if one.price is None else msgspec.to_builtins(one.price),
    }


def _news(one: DiscoveredModel) -> str:
    if one.model is None:
        return f'not in the catalog: add [models."{one.provider}/{one.wire_name}"] to imagen.toml'
    if one.listed is False:
        return "not listed for this key"
    if one.retires_on is not None:
        successor = one.model.lifecycle.successor
        return f"retires on {one.retires_on}" + (f", use {successor}" if successor else "")
    return "" if one.listed else "the provider has no list"


def _model_row(model: Model, client: Client, today: datetime.date, default: str) -> tuple[str, ...]:
    state = model.lifecycle.state(today)
    life = model.lifecycle
    if state == "retiring":
        state_text = f"until {life.retires_on}"
    elif life.upstream_retired_on:
        state_text = f"maker ended {life.upstream_retired_on}"
    else:
        state_text = state
    marker = "*" if model.id == default else ""
    does = "".join(_LETTERS[operation] for operation in model.capabilities.operations)
    return (
        marker,
        model.id,
        model.provider,
        does,
        _price_text(model),
        state_text,
        _key_text(model, client),
    )


def _price_text(model: Model) -> str:
    price = model.price
    if price is None:
        return "?"
    if price.usd_per_image is not None:
        return "free" if price.usd_per_image == 0 else f"{price.usd_per_image:f}"
    if price.per_megapixel is not None:
        return f"{price.per_megapixel.first:f} and more"
    if price.usd_per_unit is not None and not price.table:
        return f"about {price.usd_per_unit * price.typical_units:f}"
    figures = sorted(value for row in price.table.values() for value in row.values())
    if not figures:
        return "by tokens"
    return f"{figures[0]:f}" if figures[0] == figures[-1] else f"{figures[0]:f} to {figures[-1]:f}"


def _key_text(model: Model, client: Client) -> str:
    access = client.settings.access.get(model.provider)
    if access is None:
        return "unknown provider"
    provider = access.provider
    if access.configured:
        if access.signer is not None:
            return "AWS credentials"
        return "set" if access.key is not None else "needs none"
    if provider.packages:
        return f"install imagen-trio[{provider.name}]"
    if access.base_url is None:
        return f"set {provider.base_url_variable}"
    return f"set {' or '.join(provider.key_variables)}"


def _model_record(
    model: Model, client: Client, today: datetime.date, default: str
) -> dict[str, object]:
    record: dict[str, object] = msgspec.to_builtins(model)
    access = client.settings.access.get(model.provider)
    return {
        "kind": "model",
        **record,
        "state": model.lifecycle.state(today),
        "configured": bool(access and access.configured),
        "default": model.id == default,
    }
