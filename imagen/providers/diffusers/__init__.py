"""Hugging Face diffusers, in this process."""

from ._adapter import PROVIDER

__all__ = ["PROVIDER"]
