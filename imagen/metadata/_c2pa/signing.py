"""Signing of an image and its record with C2PA; the provider's manifest becomes
its parent.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..._errors import ConfigurationError, InvalidRequestError
from .._embed import embed_in_unsealed, is_sealed, kind_of
from .._formats.xmp import source_type
from .._record import Record
from .context import load_c2pa, open_context

if TYPE_CHECKING:
    import c2pa

__all__ = ["ContentSigner"]

# Algorithms of C2PA; the key determines which one applies.
_ALGORITHMS = ("es256", "es384", "es512", "ps256", "ed25519")


class ContentSigner(msgspec.Struct, frozen=True, kw_only=True):
    """C2PA signer with its own certificate.

    `certificate` is a PEM file with the chain, the signer's certificate first;
    `key` is its private key, as unencrypted PKCS#8 PEM. Both are read at each
    signature and never cached.
    """

    certificate: Path
    key: Path

    def seal(self, data: bytes, record: Record) -> bytes:
        """Embed the record and sign the result with a new manifest. Blocking.

        An existing manifest becomes the parent of the new one, and stays
        readable.

        Raises:
            ConfigurationError: certificate or key are unusable, or the package
                `c2pa-python` is missing.
            InvalidRequestError: the image has no room for the record.
        """
        load_c2pa()
        import c2pa

        marked = embed_in_unsealed(data, record)
        if marked is None:
            raise InvalidRequestError(
                f"The image {record.id} has no room for its record, so it cannot be signed: save it"
                " unsigned."
            )
        try:
            with (
                self._open() as signer,
                open_context() as context,
                _builder(data, record, context) as builder,
            ):
                sealed = BytesIO()
                builder.sign(signer, kind_of(data), BytesIO(marked), sealed)
        except c2pa.C2paError as error:
            raise ConfigurationError(
                f"The image cannot be signed with the certificate {self.certificate}: {error}."
            ) from None
        return sealed.getvalue()

    def _open(self) -> c2pa.Signer:
        import c2pa

        certificate, key = _read(self.certificate), _read(self.key)
        for algorithm in _ALGORITHMS:
            try:
                # No time stamp: it would call a server.
                return c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm, certificate, key, None))
            except c2pa.C2paError:
                continue
        raise ConfigurationError(
            f"Unusable key {self.key}: expected an unencrypted PKCS#8 PEM file of elliptic curve,"
            f" RSA or Ed25519, and its certificate chain in {self.certificate}."
        )


def _builder(data: bytes, record: Record, context: c2pa.Context) -> c2pa.Builder:
    import c2pa

    program = {"name": "imagen", **({"version": record.software} if record.software else {})}
    definition: dict[str, object] = {
        "claim_generator_info": [program],
        "title": f"imagen {record.id}",
    }
    if not is_sealed(data):
        created = {
            "action": "c2pa.created",
            "digitalSourceType": source_type(record),
            "softwareAgent": {"name": f"{record.provider} {record.model}"},
        }
        actions = {"label": "c2pa.actions", "data": {"actions": [created]}}
        return c2pa.Builder({**definition, "assertions": [actions]}, context=context)
    builder = c2pa.Builder({**definition, "assertions": []}, context=context)
    builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
    builder.add_ingredient_from_stream(
        {"title": f"{record.provider} {record.model}", "relationship": "parentOf"},
        kind_of(data),
        BytesIO(data),
    )
    builder.add_action({"action": "c2pa.edited.metadata"})
    return builder


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}.") from error
