"""ComfyUI, self-hosted."""

from ._adapter import PROVIDER

__all__ = ["PROVIDER"]
