"""The simulated Replicate takes every value that the catalog offers for its
models, and gives what was asked for.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import imagen
from imagen._results.prices import quote_request
from imagen.testing.simulator._providers.replicate.models import BY_THE_SECOND
from imagen.testing.simulator._providers.replicate.models import MODELS as SERVED
from tests.support.exchanges import CATALOG

MODELS = [model for model in CATALOG if model.provider == "replicate" and model.lifecycle.live]


def test_what_the_catalog_says_of_a_price_is_what_is_billed():
    """Held against the list of the simulator, which was written from the price
    pages by itself.
    """
    priced = [model for model in MODELS if model.price is not None]
    assert {model.id for model in priced} >= {
        "replicate/flux-schnell",
        "replicate/flux-kontext-max",
    }
    for model in priced:
        # What is billed by the second has no price that holds for everybody.
        assert model.wire_name not in BY_THE_SECOND
        fields: dict[str, Any] = {"resolution": "1K"} if model.capabilities.resolutions else {}
        quote = quote_request(model, imagen.Generate(prompt="x", **fields), 2)
        assert quote.expected_usd == 2 * SERVED[model.wire_name].usd(1, 0) > Decimal(0)
