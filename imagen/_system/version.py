"""Version of imagen."""

from __future__ import annotations

from functools import cache

__all__ = ["version"]


@cache
def version() -> str:
    """Return the version of the installed distribution, "0" if it is not
    installed.
    """
    # 4 ms to import, and only requests and --version need it.
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed_version

    try:
        return installed_version("imagen-trio")
    except PackageNotFoundError:
        return "0"
