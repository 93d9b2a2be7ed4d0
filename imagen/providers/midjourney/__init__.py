"""Midjourney through a proxy."""

from ._adapter import PROVIDERS

__all__ = ["PROVIDERS"]
