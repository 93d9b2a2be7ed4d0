"""OpenAI, Azure, the servers that speak its wire format, and nexos.ai."""

from . import _adapter, _azure, _compatible, _nexos

__all__ = ["PROVIDERS"]

PROVIDERS = (_nexos.PROVIDER, _adapter.PROVIDER, *_azure.PROVIDERS, *_compatible.PROVIDERS)
