"""The simulated providers: `SIMULATED` of each module and folder of
`_providers`.
"""

import importlib
import pkgutil
from functools import cache

from .. import _providers
from .messages import Provider


@cache
def default_providers() -> tuple[Provider, ...]:
    """Return one instance of each, with its default settings."""
    names = [found.name for found in pkgutil.iter_modules(_providers.__path__)]
    modules = [importlib.import_module(f"{_providers.__name__}.{name}") for name in names]
    return tuple(provider for module in modules for provider in module.SIMULATED)
