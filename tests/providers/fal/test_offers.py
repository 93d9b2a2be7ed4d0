"""The simulated fal.ai takes every value that the catalog offers for its
models, and gives what was asked for.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import imagen
from imagen._results.prices import quote_request
from imagen.testing.simulator._providers.fal.models import MODELS as SERVED
from tests.support.exchanges import CATALOG

MODELS = [model for model in CATALOG if model.provider == "fal" and model.lifecycle.live]
OPERATIONS = ("generate", "edit", "vary", "enhance", "restyle")


def test_no_price_of_the_catalog_is_for_less_than_what_is_billed():
    """Held against the list of the simulator, which was written from the price
    pages by itself.
    """
    for model in MODELS:
        if model.price is None:
            continue
        endpoints = model.wire.get("endpoints", {})
        for operation in model.capabilities.operations:
            served = SERVED[endpoints.get(operation, model.wire_name)]
            fields: dict[str, Any] = {"prompt": "x"}
            if model.capabilities.free_size and operation in ("generate", "edit"):
                for size, megapixels in (("1024x1024", 1), ("1040x1040", 2), ("2048x2048", 4)):
                    quote = quote_request(model, imagen.Generate(size=size, **fields))
                    assert quote.expected_usd == served.usd(megapixels, 0)
            if operation == "edit":
                edit = imagen.Edit(images=("a",), **fields)
                assert quote_request(model, edit).low_usd == served.usd(1, 1)
            if operation in ("vary", "enhance"):
                quote = quote_request(model, imagen.Generate(**fields))
                assert quote.high_usd is not None
                # Enlarged to 16 megapixels, or four drawn anew.
                assert quote.high_usd >= served.usd(16 if operation == "enhance" else 4, 1)
            if operation == "generate" and model.capabilities.resolutions:
                quote = quote_request(model, imagen.Generate(resolution="1K", **fields))
                assert quote.expected_usd == served.usd(1, 0) > Decimal(0)
