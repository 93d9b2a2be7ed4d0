"""imagen for assistants: a server of the Model Context Protocol over imagen's public names.

Importing this package costs nothing; `imagen_mcp.server` needs the extra `imagen-trio[mcp]`.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["package_version"]


def package_version() -> str:
    """The version of the distribution; "0" where it is not installed."""
    try:
        return version("imagen-trio")
    except PackageNotFoundError:
        return "0"
