"""The simulated providers, found by themselves: `SIMULATED` of each module here whose name has no underscore."""

import importlib
import pkgutil
from functools import cache

from ._words import Provider


@cache
def default_providers() -> tuple[Provider, ...]:
    """One of each, as it is by default."""
    package = __name__.rpartition(".")[0]
    folder = importlib.import_module(package).__path__
    names = [found.name for found in pkgutil.iter_modules(folder) if not found.name.startswith("_")]
    modules = [importlib.import_module(f"{package}.{name}") for name in names]
    return tuple(provider for module in modules for provider in module.SIMULATED)
