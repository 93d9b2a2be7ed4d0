"""The pictures that were made, kept for years: files, rows, and whatever helps to find one again."""

from __future__ import annotations

from ._library import Library

__all__ = ["Library"]
