"""Contents and validation of C2PA manifests."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from io import BytesIO
from typing import Literal

import msgspec

from ..._errors import ConfigurationError
from ..._requests.catalog import JsonValue
from .._embed import holds_manifest, kind_of, manifest_address
from .context import load_c2pa, open_context

__all__ = ["Provenance", "read_provenance"]

ProvenanceState = Literal["trusted", "valid", "invalid", "remote"]

_AI_SOURCES = {
    "trainedAlgorithmicMedia",
    "compositeWithTrainedAlgorithmicMedia",
    "compositeSynthetic",
}
_MOST_PROBLEMS = 20
# Not a problem, but the difference between "valid" and "trusted".
_UNTRUSTED = "signingCredential.untrusted"


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of a C2PA manifest.

    `state` is "trusted" if signature and hashes are valid and the certificate
    is on a trust list, "valid" without such a certificate, "invalid" if the
    file or the manifest was changed or cannot be read, and "remote" if the
    manifest is at an address, which is never fetched. `claim_generator` is the
    program that made the claim. `signer` and `issuer` come from its
    certificate, `signed_at` from a time stamp. `made_by_ai` is None if no
    action names the source of the image. All values are claims of the signer;
    those of an invalid manifest are untrusted.
    """

    state: ProvenanceState
    claim_generator: str | None = None
    signer: str | None = None
    issuer: str | None = None
    signed_at: datetime.datetime | None = None
    actions: tuple[str, ...] = ()
    digital_source_type: str | None = None
    made_by_ai: bool | None = None
    ingredients: int = 0
    problems: tuple[str, ...] = ()


# The fields needed of the library's report; all others are ignored.


class _Generator(msgspec.Struct):
    name: str = ""
    version: str | None = None


class _Action(msgspec.Struct, rename="camel"):
    action: str = ""
    digital_source_type: str | None = None


class _Assertion(msgspec.Struct):
    label: str = ""
    data: JsonValue = None


class _Actions(msgspec.Struct):
    actions: list[_Action] = []


class _Signature(msgspec.Struct):
    issuer: str | None = None
    common_name: str | None = None
    time: str | None = None


class _Manifest(msgspec.Struct):
    claim_generator: str | None = None
    claim_generator_info: list[_Generator] = []
    assertions: list[_Assertion] = []
    ingredients: list[JsonValue] = []
    signature_info: _Signature | None = None


class _ValidationStatus(msgspec.Struct):
    code: str = ""
    explanation: str | None = None


class _Report(msgspec.Struct):
    active_manifest: str = ""
    manifests: dict[str, _Manifest] = {}
    validation_status: list[_ValidationStatus] = []
    validation_state: str = "Invalid"


_decode_report = msgspec.json.Decoder(_Report).decode


def read_provenance(data: bytes, *, trust_anchors: str | None = None) -> Provenance | None:
    """Read the C2PA manifest of an image; return None if it has none. Never
    uses the network.

    Args:
        trust_anchors: Trusted PEM certificates; without them no manifest is
            more than "valid".

    Raises:
        ConfigurationError: the package `c2pa-python` is missing, or the
            certificates are invalid.
    """
    if not holds_manifest(data):
        address = manifest_address(data)
        if address is None:
            return None
        problem = f"The manifest is at {address[:200]}, which is not fetched."
        return Provenance(state="remote", problems=(problem,))
    load_c2pa()
    import c2pa

    try:
        context = open_context(trust_anchors)
    except c2pa.C2paError as error:
        raise ConfigurationError(f"The trusted certificates cannot be read: {error}.") from None
    try:
        with context, c2pa.Reader(kind_of(data), BytesIO(data), context=context) as reader:
            return _read_report(_decode_report(reader.json()))
    except (c2pa.C2paError, msgspec.DecodeError, UnicodeError) as error:
        return Provenance(state="invalid", problems=(f"The manifest cannot be read: {error}",))


def _read_report(report: _Report) -> Provenance:
    states: dict[str, ProvenanceState] = {"Trusted": "trusted", "Valid": "valid"}
    active = report.manifests.get(report.active_manifest, _Manifest())
    signature = active.signature_info or _Signature()
    # Ingredients have their own manifests; the source type is usually in the
    # first of them.
    others = (one for name, one in report.manifests.items() if name != report.active_manifest)
    actions = [action for manifest in (active, *others) for action in _actions(manifest)]
    sources = [word for action in actions if (word := _last_word(action.digital_source_type))]
    problems = [status for status in report.validation_status if status.code != _UNTRUSTED]
    return Provenance(
        state=states.get(report.validation_state, "invalid"),
        claim_generator=_name_of(active),
        signer=signature.common_name,
        issuer=signature.issuer,
        signed_at=_time(signature.time),
        actions=tuple(action.action for action in _actions(active)),
        digital_source_type=sources[0] if sources else None,
        made_by_ai=any(source in _AI_SOURCES for source in sources) if sources else None,
        ingredients=len(active.ingredients),
        problems=tuple(
            f"{one.code}: {one.explanation or ''}".strip(": ") for one in problems[:_MOST_PROBLEMS]
        ),
    )


def _actions(manifest: _Manifest) -> Iterator[_Action]:
    for assertion in manifest.assertions:
        if assertion.label.startswith("c2pa.actions"):
            try:
                yield from msgspec.convert(assertion.data, _Actions).actions
            except msgspec.ValidationError:
                continue


def _last_word(uri: str | None) -> str | None:
    return uri.rpartition("/")[2] if uri else None


def _name_of(manifest: _Manifest) -> str | None:
    """Return name and version of the program; older manifests combine them in
    one text.
    """
    for generator in manifest.claim_generator_info:
        return f"{generator.name} {generator.version or ''}".strip()
    return manifest.claim_generator


def _time(text: str | None) -> datetime.datetime | None:
    try:
        return None if text is None else datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
