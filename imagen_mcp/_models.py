"""The models as an assistant reads them: found by what they do and cost, and
listed within bounds, since what is read goes into a conversation.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

import imagen

from ._results.text import clip_line

__all__ = [
    "MODELS_URI",
    "Wish",
    "describe_model",
    "find_models",
    "is_available",
    "live_models",
    "list_models",
    "summarize_model",
]

MODELS_URI = "models://image-generation"

# Some 15,000 tokens in all: descriptions as far as they go, and a line of about
# 60 tokens for each of the other models.
_DESCRIBED_CHARACTERS = 40_000
_LONGEST_NAME = 60


class Wish(NamedTuple):
    """Wanted model."""

    words: str = ""
    operation: imagen.Operation | None = None
    provider: str | None = None
    max_price_usd: float | None = None
    with_key: bool = False


def find_models(
    wish: Wish, settings: imagen.Settings, catalog: imagen.providers.Catalog
) -> list[imagen.Model]:
    """Return the models that fit: those that match most words first, then those
    with a key, then in the order of the catalog.
    """
    words = wish.words.casefold().split()
    fitting = [model for model in live_models(catalog) if _fits(model, wish, settings)]
    scores = {model.id: _matched(model, words) for model in fitting}
    best = max(scores.values(), default=0)
    # Of many words one may be no word of ours; of all the matches of one word
    # most would be noise.
    least = best if len(words) <= 1 else max(1, (best + 1) // 2)
    found = [model for model in fitting if scores[model.id] >= least]
    found.sort(key=lambda model: (-scores[model.id], not is_available(model, settings)))
    return found if best or not words else []


def _fits(model: imagen.Model, wish: Wish, settings: imagen.Settings) -> bool:
    lowest, _ = model.price_range
    return (
        wish.operation in (None, *model.capabilities.operations)
        and wish.provider in (None, model.provider)
        and (not wish.with_key or is_available(model, settings))
        and (
            wish.max_price_usd is None
            or (lowest is not None and float(lowest) <= wish.max_price_usd)
        )
    )


def _matched(model: imagen.Model, words: Sequence[str]) -> int:
    text = " ".join(
        (
            *(model.id, model.name, model.provider, model.description),
            *(*model.use_cases, *model.strengths),
        )
    ).casefold()
    return sum(word in text for word in words)


# --- lists --------------------------------------------------------------------


def list_models(
    settings: imagen.Settings, catalog: imagen.providers.Catalog, provider: str | None = None
) -> list[dict[str, object]]:
    """Return the live models, those with a key first: described as far as the
    bound allows, and the others summarized.
    """
    models = [model for model in live_models(catalog) if provider in (None, model.provider)]
    models.sort(key=lambda model: not is_available(model, settings))
    is_described = _bounded(models)
    return [
        (
            describe_model(model, settings)
            if (provider is not None or is_available(model, settings)) and is_described(model)
            else summarize_model(model, settings)
        )
        for model in models
    ]


def _bounded(models: Iterable[imagen.Model]) -> Callable[[imagen.Model], bool]:
    """Return what says whether there is room for the description of a model,
    and counts it.
    """
    left = _DESCRIBED_CHARACTERS

    def take(model: imagen.Model) -> bool:
        nonlocal left
        left -= len(msgspec.json.encode(model))
        return left >= 0

    return take


def summarize_model(model: imagen.Model, settings: imagen.Settings) -> dict[str, object]:
    """Return a line of a list: names, operations, whether there is a key."""
    return {
        "id": model.id,
        "name": clip_line(model.name, _LONGEST_NAME),
        "provider": model.provider,
        "available": is_available(model, settings),
        "operations": model.capabilities.operations,
    }


def describe_model(model: imagen.Model, settings: imagen.Settings) -> dict[str, object]:
    """Return all that the catalog has of a model, without what is absent."""
    capabilities: dict[str, object] = msgspec.to_builtins(model.capabilities)
    return {
        "id": model.id,
        "name": model.name,
        "provider": model.provider,
        "description": model.description,
        "available": is_available(model, settings),
        "capabilities": dict(_present(capabilities)),
        "rate_limit": model.rate_limit,
        "price": model.price,
        "use_cases": model.use_cases,
        "strengths": model.strengths,
        "weaknesses": model.weaknesses,
        "retires_on": model.lifecycle.retires_on,
    }


def _present(fields: dict[str, object]) -> Iterator[tuple[str, object]]:
    return ((name, value) for name, value in fields.items() if value not in (None, False, [], ()))


def live_models(
    catalog: imagen.providers.Catalog, today: datetime.date | None = None
) -> list[imagen.Model]:
    """The models that are not retired."""
    today = today or datetime.datetime.now(datetime.UTC).date()
    return [model for model in catalog if model.lifecycle.state(today) != "retired"]


def is_available(model: imagen.Model, settings: imagen.Settings) -> bool:
    """Return True if there is a key for it, which is there for images: an
    assistant is not to choose what the AWS credentials of other work pay for.
    """
    access = settings.access.get(model.provider)
    return access is not None and access.configured and access.preferred
