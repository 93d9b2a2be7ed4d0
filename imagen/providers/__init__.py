"""The providers, each a module of pure exchanges; a new one is a module here and a line below."""

from __future__ import annotations

from .._providers import Provider
from . import nexos, openai, sketch

__all__ = ["PROVIDERS"]

PROVIDERS: dict[str, Provider] = {
    provider.name: provider for provider in (openai.PROVIDER, nexos.PROVIDER, sketch.PROVIDER)
}
