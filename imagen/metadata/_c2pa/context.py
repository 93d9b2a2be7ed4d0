"""The C2PA library, without network access and without decoding pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._errors import ConfigurationError

if TYPE_CHECKING:
    import c2pa

__all__ = ["load_c2pa", "open_context"]


def load_c2pa() -> None:
    """Check that the library is installed.

    Raises:
        ConfigurationError: it is not.
    """
    try:
        import c2pa  # noqa: F401
    except (ImportError, OSError):
        # OSError: its native part does not support this machine.
        raise ConfigurationError(
            'C2PA needs the extra "metadata": pip install "imagen-trio[metadata]".'
        ) from None


def open_context(trust_anchors: str | None = None) -> c2pa.Context:
    """Create a context for one read or signature; `trust_anchors` are PEM
    certificates.

    A context must not be used by two threads at once, so each call gets its
    own.
    """
    import c2pa

    settings: dict[str, object] = {
        "version": 1,
        # An untrusted file must not make us call an address in it: that would
        # reveal who views it, and when.
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
        "builder": {"thumbnail": {"enabled": False}},
    }
    if trust_anchors is not None:
        settings["trust"] = {"trust_anchors": trust_anchors}
    return c2pa.Context.from_dict(settings)
