"""OpenAI, the servers that speak its wire format, and nexos.ai."""

from . import _adapter, _compatible, _nexos

__all__ = ["PROVIDERS"]

PROVIDERS = (_nexos.PROVIDER, _adapter.PROVIDER, *_compatible.PROVIDERS)
