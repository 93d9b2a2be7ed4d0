"""The providers, each a module of pure exchanges.

A new one is a module here whose `PROVIDER` (or `PROVIDERS`, where one wire
format has several) is found by itself, a file in `catalog/`, an entry in
`testing/simulator/` and a folder of tests.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from ._provider import Provider

__all__ = ["PROVIDERS"]


def _find() -> Iterator[Provider]:
    for module_info in pkgutil.iter_modules(__path__):
        if not module_info.name.startswith("_"):
            module = importlib.import_module(f"{__name__}.{module_info.name}")
            yield from getattr(module, "PROVIDERS", None) or (module.PROVIDER,)


PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in _find()}
