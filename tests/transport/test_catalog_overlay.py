"""What is kept of the lists and prices of the providers, and when it is said."""

from __future__ import annotations

import datetime
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

import imagen
from imagen._transport.catalog_overlay import (
    CatalogOverlay,
    catalog_age_note,
    read_overlay,
    refresh_overlay,
)
from imagen._transport.discovery import DiscoveredModel, Discovery
from imagen.providers import CATALOG_AS_OF, PROVIDERS, ListedPrice
from imagen.testing.simulator import Overloaded, open_simulator
from tests.support.exchanges import CATALOG, Walk, reply
from tests.support.simulated_client import open_simulated

NOW = datetime.datetime(2026, 11, 29, 12, tzinfo=datetime.UTC)
LATER = NOW + datetime.timedelta(days=3)
FILE = "catalog-overlay.json"


def discovered(model: str, usd: str | None, unit: str = "image", **more: Any) -> DiscoveredModel:
    entry = CATALOG.find(model)
    price = None
    if usd is not None:
        price = ListedPrice(wire_name=entry.wire_name, usd=Decimal(usd), unit=unit)
    fields = {"name": entry.name, "listed": True, "price": price, **more}
    return DiscoveredModel(
        provider=entry.provider, wire_name=entry.wire_name, model=entry, **fields
    )


def refreshed(home: Path, *models: DiscoveredModel, now: datetime.datetime = NOW) -> Any:
    return refresh_overlay(home, Discovery(models=models, failures={}), now)


# --- the file -----------------------------------------------------------------


def test_a_refresh_is_a_dated_file_in_the_home(tmp_path):
    assert read_overlay(tmp_path) is None
    day = datetime.date(2026, 12, 1)
    made = refreshed(tmp_path, discovered("gpt-image-2", None, retires_on=day))
    assert read_overlay(tmp_path) == made.overlay
    assert made.overlay.refreshed_at == NOW
    (listed,) = made.overlay.providers["openai"]
    assert (listed.wire_name, listed.retires_on) == ("gpt-image-2", day)
    assert not made.news


def test_what_no_provider_listed_is_not_in_it(tmp_path):
    made = refreshed(tmp_path, discovered("gpt-image-2", None, listed=False))
    assert not made.overlay.providers


def test_a_provider_that_could_not_be_asked_keeps_what_it_listed(tmp_path):
    refreshed(tmp_path, discovered("gpt-image-2", None), discovered("fal/flux-dev", "0.03"))
    made = refreshed(tmp_path, discovered("grok-imagine-image", None), now=LATER)
    assert made.overlay.providers.keys() == {"openai", "fal", "xai"}
    assert made.overlay.prices.keys() == {"fal/flux-dev"}
    assert made.overlay.refreshed_at == LATER


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"refreshed_at": 3}', b'{"refreshed_at": "soon"}', b"\xff\xfe", b"null"],
)
def test_a_damaged_file_counts_as_none_and_is_replaced(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    assert read_overlay(tmp_path) is None
    refreshed(tmp_path, discovered("gpt-image-2", None))
    assert isinstance(read_overlay(tmp_path), CatalogOverlay)


# --- prices -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "usd", "unit", "differs"),
    [
        ("grok-imagine-image", "0.02", "image", False),
        ("grok-imagine-image", "0.03", "image", True),
        ("grok-imagine-image-2.0", "0.04", "image", False),
        ("fal/flux-dev", "0.025", "megapixels", False),
        ("fal/flux-dev", "0.0250", "megapixel", False),
        ("fal/flux-dev", "0.03", "megapixels", True),
        ("fal/nano-banana-pro", "0.15", "images", False),
        ("fal/nano-banana-pro", "0.14", "images", True),
        ("fal/qwen-image-3", "0.00017", "compute seconds", False),
        ("fal/birefnet", "0.01", "images", False),
    ],
)
def test_a_price_is_held_against_that_of_the_same_unit(tmp_path, model, usd, unit, differs):
    made = refreshed(tmp_path, discovered(model, usd, unit))
    assert [news.model for news in made.news] == [model] * differs
    assert made.overlay.prices.keys() == ({model} if differs else set())


def test_a_difference_is_said_once_and_kept(tmp_path):
    dearer = discovered("grok-imagine-image", "0.03")
    (news,) = refreshed(tmp_path, dearer).news
    assert "xai lists grok-imagine-image at 0.03" in str(news)
    assert "the catalog has 0.02" in str(news)
    again = refreshed(tmp_path, dearer, now=LATER)
    assert not again.news
    assert again.overlay.prices["grok-imagine-image"].listed_on == NOW.date()
    (changed,) = refreshed(tmp_path, discovered("grok-imagine-image", "0.04"), now=LATER).news
    assert changed.listed_usd == Decimal("0.04")


def test_a_difference_that_is_gone_is_forgotten(tmp_path):
    refreshed(tmp_path, discovered("grok-imagine-image", "0.03"))
    assert not refreshed(tmp_path, discovered("grok-imagine-image", "0.02")).overlay.prices


# --- the age of the catalog ---------------------------------------------------


@pytest.mark.parametrize(("days", "said"), [(-1, False), (0, False), (90, False), (91, True)])
def test_an_old_catalog_says_so(days, said):
    note = catalog_age_note(CATALOG_AS_OF + datetime.timedelta(days=days))
    assert (note is not None) is said
    assert note is None or f"{days} days ago" in note


# --- the providers ------------------------------------------------------------


def priced(provider: str, body: object, status: int = 200) -> Walk:
    list_prices = PROVIDERS[provider].list_prices
    assert list_prices is not None
    models = [model for model in CATALOG if model.provider == provider]
    settings = PROVIDERS[provider].settings
    return Walk(list_prices(models, settings), *[reply(body, status)] * 3)


def test_fal_is_asked_for_the_prices_of_its_models():
    price = {"endpoint_id": "fal-ai/flux/dev", "unit_price": 0.025, "unit": "megapixels"}
    body = {"prices": [{**price, "currency": "USD"}], "next_cursor": None, "has_more": False}
    walk = priced("fal", body)
    assert walk.run()[0] == ListedPrice(
        wire_name="fal-ai/flux/dev", usd=Decimal("0.025"), unit="megapixels"
    )
    (request,) = walk.requests
    assert request.url.startswith("https://api.fal.ai/v1/models/pricing?endpoint_id=")
    assert "fal-ai/flux/dev" in request.url


@pytest.mark.parametrize(
    "price",
    [
        {"unit_price": 1, "currency": "EUR"},
        {"unit_price": "1", "currency": "USD"},
        {"unit_price": -1, "currency": "USD"},
        {"unit_price": 1e300, "currency": "USD"},
        {"unit_price": True, "currency": "USD"},
        {"currency": "USD"},
    ],
    ids=str,
)
def test_a_price_that_cannot_be_one_is_passed_over(price):
    assert priced("fal", {"prices": [{"endpoint_id": "a", "unit": "images", **price}]}).run() == ()


def test_the_prices_of_xai_are_in_its_list():
    body = {"models": [{"id": "grok-imagine-image", "image_price": 200000000}, {"id": "x"}]}
    assert priced("xai", body).run() == (
        ListedPrice(wire_name="grok-imagine-image", usd=Decimal("0.02")),
    )


@pytest.mark.parametrize("provider", ["fal", "xai"])
@pytest.mark.parametrize(("body", "status"), [({}, 401), ({}, 500), (b"<html>", 200)])
def test_a_list_that_cannot_be_had_is_an_error_and_costs_nothing(provider, body, status):
    error = priced(provider, body, status).fail()
    assert error.billed in ("no", "unknown")


# --- whole --------------------------------------------------------------------


async def test_a_client_refreshes_from_every_provider_that_has_a_key(tmp_path):
    async with open_simulator() as simulator, open_simulated(tmp_path, simulator) as client:
        assert await client.catalog_overlay() is None
        refresh = await client.refresh_catalog()
        assert not refresh.discovery.failures
        assert await client.catalog_overlay() == refresh.overlay
        assert {"openai", "xai", "openrouter"} <= refresh.overlay.providers.keys()
        found = {one.wire_name: one.price for one in refresh.discovery.models}
        assert found["grok-imagine-image"] == ListedPrice(
            wire_name="grok-imagine-image", usd=Decimal("0.02")
        )
        assert found["fal-ai/flux/dev"] is not None
        assert not simulator.bills
        assert not simulator.leaks
        # The simulator was written from the price pages by itself.
        assert not refresh.news


async def test_a_bill_above_its_quote_is_said_once_and_kept(tmp_path):
    """The provider says in its reply what it took; nothing else knew of it."""
    dear = Decimal("0.07")
    async with (
        open_simulator(usd_per_image=dear) as simulator,
        open_simulated(tmp_path, simulator) as client,
    ):
        async with client.open_batch("a cat", n=2, model="grok-imagine-image", together=True) as b:
            assert len([outcome async for outcome in b]) == 2
        (news,) = [one for one in (await client.refresh_catalog()).news if one.billed]
        assert (news.listed_usd, news.catalog_usd) == (dear, Decimal("0.02"))
        assert "xai billed 0.07 dollars for an image of grok-imagine-image" in str(news)
        again = await client.refresh_catalog()
        assert not [one for one in again.news if one.billed]
        assert again.overlay.bills.keys() == {"grok-imagine-image"}


async def test_a_bill_within_its_quote_is_no_news(tmp_path):
    async with open_simulator() as simulator, open_simulated(tmp_path, simulator) as client:
        await client.generate("a cat", model="grok-imagine-image")
        await client.generate("a cat", model="openrouter/flux.2-pro")
        # The reservation of one without a price is the caller's.
        little = Decimal("0.001")
        await client.generate("a cat", model="openrouter/gpt-image-2.5-flare", assume_usd=little)
        assert not (await client.refresh_catalog()).overlay.bills


async def test_a_provider_that_is_down_does_not_hide_the_others(tmp_path):
    async with (
        open_simulator(list_faults=Overloaded()) as simulator,
        open_simulated(tmp_path, simulator) as client,
    ):
        refresh = await client.refresh_catalog()
        assert {"fal", "xai"} <= refresh.discovery.failures.keys()
        assert (tmp_path / FILE).exists()


async def test_a_home_that_cannot_be_written_is_said(tmp_path):
    async with open_simulator() as simulator, open_simulated(tmp_path, simulator) as client:
        (tmp_path / FILE).mkdir()
        with pytest.raises(imagen.StorageError, match="cannot be kept"):
            await client.refresh_catalog()


async def test_the_command_says_a_difference_once(tmp_path):
    (tmp_path / "imagen.toml").write_text(
        '[models.grok-imagine-image.price.table.auto]\n"*" = "0.01"\n'
    )
    async with open_simulator() as simulator:
        environ = {
            "IMAGEN_HOME": str(tmp_path),
            "XAI_API_KEY": simulator.key,
            "XAI_BASE_URL": simulator.base_url("xai"),
        }

        async def run(*options: str) -> tuple[str, str]:
            command = [sys.executable, "-m", "imagen", "models", *options]
            done = await trio.run_process(
                command, env=environ, capture_stdout=True, capture_stderr=True
            )
            return done.stdout.decode(), done.stderr.decode()

        _, first = await run("--refresh")
        _, second = await run("--refresh")
        listed, _ = await run("--provider", "xai")
        records, _ = await run("--refresh", "--json", "--provider", "xai")
    assert first.count("xai lists grok-imagine-image at 0.02") == 1
    assert "grok-imagine-image" not in second
    assert "other prices for grok-imagine-image" in listed
    prices = {
        record["wire_name"]: record["price"]
        for record in map(msgspec.json.decode, records.splitlines())
    }
    assert prices["grok-imagine-image"]["usd"] == "0.02"
