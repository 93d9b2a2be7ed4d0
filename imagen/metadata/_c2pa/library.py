"""The C2PA library, held so that it never goes to the network and never opens
pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._errors import ConfigurationError

if TYPE_CHECKING:
    import c2pa

__all__ = ["load_c2pa", "open_context"]


def load_c2pa() -> None:
    """Makes sure that the library is there.

    Raises:
        ConfigurationError: it is not.
    """
    try:
        import c2pa  # noqa: F401
    except (ImportError, OSError):
        # OSError: its native part is not for this machine.
        raise ConfigurationError(
            'C2PA needs the extra "metadata": pip install "imagen-trio[metadata]".'
        ) from None


def open_context(trust_anchors: str | None = None) -> c2pa.Context:
    """Settings of a read or a signature; `trust_anchors` are certificates as
    PEM.

    One for each, as a context refuses to be used by two threads at a time.
    """
    import c2pa

    settings: dict[str, object] = {
        "version": 1,
        # A file that somebody sent must not make us ask an address that it
        # names: that tells who looks at it, and when.
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
        "builder": {"thumbnail": {"enabled": False}},
    }
    if trust_anchors is not None:
        settings["trust"] = {"trust_anchors": trust_anchors}
    return c2pa.Context.from_dict(settings)
