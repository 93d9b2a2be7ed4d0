"""The overlay: what the providers listed when they were last asked, as a dated
file in the home.

It changes no quote: a limit must not move because a page was read. A price that
disagrees with the catalog is said once; an entry in imagen.toml takes it over.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path

import msgspec

from .._requests.catalog import CATALOG_AS_OF, Model
from .._system.atomic_files import write_atomically
from ..providers._provider import ListedPrice
from .discovery import DiscoveredModel, Discovery

__all__ = [
    "CatalogOverlay",
    "CatalogRefresh",
    "OverlayModel",
    "PriceDifference",
    "catalog_age_note",
    "read_overlay",
    "refresh_overlay",
]

_FILE = "catalog-overlay.json"
_OLD_AFTER = datetime.timedelta(days=90)
_MEGAPIXELS = ("megapixel", "megapixels")
# Seconds of a machine, which say nothing about an image, are left out.
_IMAGES = ("image", "images", "unit", "units")


class OverlayModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model as its provider listed it."""

    wire_name: str
    name: str = ""
    retires_on: datetime.date | None = None


class PriceDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A price in US dollars that a provider listed, and that of the catalog for
    the same unit. One that was `billed` is out of a reply, and above the high
    end of its quote.
    """

    model: str
    provider: str
    unit: str
    listed_usd: Decimal
    catalog_usd: Decimal
    listed_on: datetime.date
    billed: bool = False

    def __str__(self) -> str:
        if self.billed:
            return (
                f"{self.provider} billed {self.listed_usd:f} dollars for an image of {self.model},"
                f" for which the catalog reserves {self.catalog_usd:f}. Set price of"
                f' [models."{self.model}"] in imagen.toml, so that budgets hold.'
            )
        return (
            f"{self.provider} lists {self.model} at {self.listed_usd:f} dollars per {self.unit},"
            f" the catalog has {self.catalog_usd:f}. Set price of"
            f' [models."{self.model}"] in imagen.toml to change what is quoted.'
        )


class CatalogOverlay(msgspec.Struct, frozen=True, kw_only=True):
    """What the providers listed, by provider, and the prices that differ from
    the catalog, by model: those of lists, and those of `bills`.
    """

    refreshed_at: datetime.datetime
    providers: dict[str, tuple[OverlayModel, ...]] = {}
    prices: dict[str, PriceDifference] = {}
    bills: dict[str, PriceDifference] = {}


class CatalogRefresh(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a refresh: what was found, the overlay as it was written, and
    the differences that no earlier overlay had.
    """

    discovery: Discovery
    overlay: CatalogOverlay
    news: tuple[PriceDifference, ...] = ()


def catalog_age_note(today: datetime.date) -> str | None:
    """Return a sentence once the built-in catalog is older than 90 days."""
    age = today - CATALOG_AS_OF
    if age <= _OLD_AFTER:
        return None
    return (
        f"The built-in catalog is of {CATALOG_AS_OF}, {age.days} days ago: prices and models may"
        " have changed. Update imagen, and see `imagen models --refresh`."
    )


def read_overlay(home: Path) -> CatalogOverlay | None:
    """Return the overlay of a home; None if there is none that can be read."""
    try:
        return msgspec.json.decode((home / _FILE).read_bytes(), type=CatalogOverlay)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def refresh_overlay(
    home: Path,
    discovery: Discovery,
    now: datetime.datetime,
    bills: Iterable[PriceDifference] = (),
) -> CatalogRefresh:
    """Merge a discovery, and what replies billed, into the overlay of a home
    and write it. Blocking.

    A provider that could not be asked keeps what it listed before.

    Raises:
        OSError: the file cannot be written.
    """
    before = read_overlay(home) or CatalogOverlay(refreshed_at=now)
    asked = {one.model.id for one in discovery.models if one.model and one.price is not None}
    kept = {model: old for model, old in before.prices.items() if model not in asked}
    prices, news = _dated(_differences(discovery.models, now.date()), before.prices)
    billed, more_news = _dated({bill.model: bill for bill in bills}, before.bills)
    overlay = CatalogOverlay(
        refreshed_at=now,
        providers={**before.providers, **_listed(discovery.models)},
        prices={**kept, **prices},
        bills={**before.bills, **billed},
    )
    write_atomically(home / _FILE, msgspec.json.format(msgspec.json.encode(overlay)))
    return CatalogRefresh(discovery=discovery, overlay=overlay, news=(*news, *more_news))


def _dated(
    found: Mapping[str, PriceDifference], before: Mapping[str, PriceDifference]
) -> tuple[dict[str, PriceDifference], list[PriceDifference]]:
    """Return the differences, with the day of those that were there before, and
    those that were not.
    """
    dated = {
        model: before[model] if _was_said(new, before) else new for model, new in found.items()
    }
    return dated, [new for new in found.values() if not _was_said(new, before)]


def _listed(models: Iterable[DiscoveredModel]) -> dict[str, tuple[OverlayModel, ...]]:
    listed: dict[str, list[OverlayModel]] = {}
    for one in models:
        if one.listed:
            entry = OverlayModel(wire_name=one.wire_name, name=one.name, retires_on=one.retires_on)
            listed.setdefault(one.provider, []).append(entry)
    return {provider: tuple(entries) for provider, entries in listed.items()}


def _differences(
    models: Iterable[DiscoveredModel], today: datetime.date
) -> dict[str, PriceDifference]:
    found: dict[str, PriceDifference] = {}
    for one in models:
        if one.model is None or one.price is None:
            continue
        ours = _catalog_price(one.model, one.price)
        if ours is not None and ours != one.price.usd:
            found[one.model.id] = PriceDifference(
                model=one.model.id,
                provider=one.provider,
                unit=one.price.unit,
                listed_usd=one.price.usd,
                catalog_usd=ours,
                listed_on=today,
            )
    return found


def _was_said(new: PriceDifference, before: Mapping[str, PriceDifference]) -> bool:
    old = before.get(new.model)
    return old is not None and msgspec.structs.replace(old, listed_on=new.listed_on) == new


def _catalog_price(model: Model, listed: ListedPrice) -> Decimal | None:
    """The price of the catalog for the unit of a listed one; None if it has
    none that could be compared.
    """
    price, unit = model.price, listed.unit.casefold()
    if price is None or unit not in (*_MEGAPIXELS, *_IMAGES):
        return None
    if unit in _MEGAPIXELS:
        return price.per_megapixel.first if price.per_megapixel else price.usd_per_unit
    if price.usd_per_unit is not None:
        return price.usd_per_unit
    figures = [usd for row in price.table.values() for usd in row.values()]
    return price.usd_per_image or min(figures, default=None)
