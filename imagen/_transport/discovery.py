"""Models that the providers list, compared with the catalog."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping

import msgspec
import trio

from .._errors import ImagenError
from .._policy.settings import ProviderAccess
from .._requests.catalog import Catalog, Model
from .._system.nursery import open_bare_nursery
from ..providers._provider import ListedModel, ListedPrice
from .driver import ExchangeDriver, ExchangeObserver

__all__ = ["DiscoveredModel", "Discovery", "discover_models"]

_LIST_SECONDS = 30.0


class DiscoveredModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model, as its provider and the catalog know it.

    `model` is the catalog entry, None if there is none. `listed` is True if the
    provider lists the model for this key, None if it has no list. `retires_on`
    is the earlier of the dates of provider and catalog. `price` is what the
    provider lists for it, if prices were asked for and it lists any.
    """

    provider: str
    wire_name: str
    name: str
    model: Model | None
    listed: bool | None
    retires_on: datetime.date | None = None
    price: ListedPrice | None = None


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a discovery; `failures` has a sentence for each provider that
    could not be asked.
    """

    models: tuple[DiscoveredModel, ...]
    failures: Mapping[str, str]


async def discover_models(
    access: Iterable[ProviderAccess],
    catalog: Catalog,
    driver_of: Callable[[str], ExchangeDriver],
    *,
    prices: bool = False,
) -> Discovery:
    """Asks every provider that is set up and has a list, all at once, for at
    most half a minute; with `prices` for its prices too.
    """
    found: dict[str, list[DiscoveredModel]] = {}
    failures: dict[str, str] = {}

    async def ask(one: ProviderAccess) -> None:
        name = one.provider.name
        known = [model for model in catalog if model.provider == name]
        found[name] = [_unlisted(model, None) for model in known]
        with trio.move_on_after(_LIST_SECONDS) as patience:
            try:
                await ask_models(one, known)
                if prices:
                    await ask_prices(one, known)
            except ImagenError as error:
                failures[name] = error.message
        if patience.cancelled_caught:
            failures[name] = f"{name} gave no list within {_LIST_SECONDS:g} seconds."

    async def ask_models(one: ProviderAccess, known: list[Model]) -> None:
        name, list_models = one.provider.name, one.provider.list_models
        if list_models is not None:
            found[name] = []
            listed = await driver_of(name).run(list_models(), ExchangeObserver())
            found[name] = _merge(name, listed, known)

    async def ask_prices(one: ProviderAccess, known: list[Model]) -> None:
        name, list_prices = one.provider.name, one.provider.list_prices
        if list_prices is not None:
            listed = await driver_of(name).run(list_prices(known, one.settings), ExchangeObserver())
            found[name] = _priced(found[name], listed)

    asked = [one for one in access if one.configured and one.preferred]
    async with open_bare_nursery() as nursery:
        for one in asked:
            nursery.start_soon(ask, one)
    models = tuple(model for one in asked for model in found.get(one.provider.name, ()))
    return Discovery(models=models, failures=failures)


def _merge(
    provider: str, listed: Iterable[ListedModel], known: list[Model]
) -> list[DiscoveredModel]:
    by_wire_name = {model.wire_name: model for model in known}
    merged: list[DiscoveredModel] = []
    for entry in listed:
        model = by_wire_name.pop(entry.wire_name, None)
        dates = [entry.retires_on, None if model is None else model.lifecycle.retires_on]
        merged.append(
            DiscoveredModel(
                provider=provider,
                wire_name=entry.wire_name,
                name=entry.name or (entry.wire_name if model is None else model.name),
                model=model,
                listed=True,
                retires_on=min((date for date in dates if date is not None), default=None),
            )
        )
    return merged + [_unlisted(model, False) for model in by_wire_name.values()]


def _priced(
    models: Iterable[DiscoveredModel], listed: Iterable[ListedPrice]
) -> list[DiscoveredModel]:
    prices = {price.wire_name: price for price in listed}
    return [msgspec.structs.replace(model, price=prices.get(model.wire_name)) for model in models]


def _unlisted(model: Model, listed: bool | None) -> DiscoveredModel:
    return DiscoveredModel(
        provider=model.provider,
        wire_name=model.wire_name,
        name=model.name,
        model=model,
        listed=listed,
        retires_on=model.lifecycle.retires_on,
    )
