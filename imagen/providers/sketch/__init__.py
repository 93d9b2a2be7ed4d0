"""The built-in engine `sketch`: procedural landscapes, offline and free."""

from ._adapter import PROVIDER

__all__ = ["PROVIDER"]
