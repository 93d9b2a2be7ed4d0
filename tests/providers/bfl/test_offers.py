"""The simulated Black Forest Labs takes every value that the catalog offers for
its models, and gives what was asked for.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

import imagen
from imagen._results.prices import quote_request
from imagen.testing.simulator._providers.bfl.models import ENDPOINTS
from tests.support.exchanges import CATALOG

MODELS = [model for model in CATALOG if model.provider == "bfl" and model.lifecycle.live]


PRICED = [model for model in MODELS if model.price is not None]


@pytest.mark.parametrize("model", PRICED, ids=lambda model: model.id)
def test_what_the_catalog_says_of_a_price_is_what_is_billed(model):
    """Held against the list of the simulator, which was written from the price
    page by itself.
    """
    endpoint = ENDPOINTS[model.wire_name]
    if endpoint.usd_by_class:
        prices = {
            word.removesuffix("sq").upper(): Decimal(usd)
            for word, usd in endpoint.usd_by_class.items()
        }
        for resolution in (None, *model.capabilities.resolutions):
            request = imagen.Generate(prompt="x", resolution=resolution)
            # Its price is undocumented.
            expected = None if resolution == "1.5K" else prices[resolution or "1K"]
            assert quote_request(model, request).expected_usd == expected
        return
    for size, megapixels in ((None, 1), ("1024x1024", 1), ("1040x1040", 2), ("2048x2048", 4)):
        if size is None or (model.capabilities.free_size and model.id != "flux-pro-1.1"):
            expected = quote_request(model, imagen.Generate(prompt="x", size=size)).expected_usd
            assert expected == endpoint.usd(megapixels, 0)
    edit = imagen.Edit(prompt="x", images=("a", "b"), size="1024x1024")
    if model.capabilities.inputs.max_images > 1:
        assert quote_request(model, edit).low_usd == endpoint.usd(1, 2)


@pytest.mark.parametrize(
    ("size", "usd"),
    [
        ("768x768", "0.041"),
        ("1024x1024", "0.048"),
        ("1040x1024", "0.10"),
        ("1536x1536", "0.10"),
        ("2048x2048", "0.10"),
        ("2064x2048", "0.607"),
        ("4096x4096", "0.607"),
    ],
)
def test_an_exact_size_of_flux_3_is_quoted_at_the_class_that_holds_it(size, usd):
    quote = quote_request(CATALOG.find("flux-3-image"), imagen.Generate(prompt="x", size=size))
    assert quote.high_usd == Decimal(usd)
