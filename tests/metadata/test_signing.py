"""A seal of one's own: over the image and its record, and over the provider's
seal.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import imagen
from imagen.metadata import ContentSigner
from imagen.metadata._c2pa.manifest import read_provenance
from imagen.metadata._embed import read_record
from tests.support.metadata_files import (
    EMBEDDABLE,
    coded_pixels,
    credentials,
    image_bytes,
    make_record,
    pixels,
    root_pem,
    sealed,
)

EVERY_KIND = pytest.mark.parametrize("kind", EMBEDDABLE)


@pytest.fixture
def signer(tmp_path: Path) -> ContentSigner:
    chain, key = credentials()
    (tmp_path / "chain.pem").write_bytes(chain)
    (tmp_path / "key.pem").write_bytes(key)
    return ContentSigner(certificate=tmp_path / "chain.pem", key=tmp_path / "key.pem")


@EVERY_KIND
def test_an_image_and_its_record_are_sealed_together(signer, kind):
    data = image_bytes(kind)
    ours = signer.seal(data, make_record(software="0.1"))
    assert read_record(ours) == make_record(software="0.1")
    assert pixels(ours) == pixels(data)
    assert coded_pixels(ours) == coded_pixels(data)
    found = read_provenance(ours, trust_anchors=root_pem())
    assert (found.state, found.problems, found.ingredients) == ("trusted", (), 0)
    assert (found.claim_generator, found.signer) == ("imagen 0.1", "Test signer")
    assert (found.actions, found.made_by_ai) == (("c2pa.created",), True)
    changed = ours.replace(b"lighthouse", b"lightHouse")
    assert changed != ours
    assert read_provenance(changed).state == "invalid"


@EVERY_KIND
def test_the_seal_of_the_provider_becomes_the_parent(signer, kind):
    data = sealed(image_bytes(kind), kind)
    ours = signer.seal(data, make_record())
    assert read_record(ours) == make_record()
    assert pixels(ours) == pixels(data)
    assert ours.count(b"Their engine") == 1
    found = read_provenance(ours, trust_anchors=root_pem())
    assert (found.state, found.problems, found.ingredients) == ("trusted", (), 1)
    assert found.actions == ("c2pa.opened", "c2pa.edited.metadata")
    assert (found.made_by_ai, found.digital_source_type) == (True, "trainedAlgorithmicMedia")


def test_what_the_sketch_engine_draws_is_not_made_by_ai(signer):
    found = read_provenance(signer.seal(image_bytes("png"), make_record(provider="sketch")))
    assert (found.digital_source_type, found.made_by_ai) == ("algorithmicMedia", False)


def test_an_image_without_room_for_its_record_is_not_sealed(signer):
    with pytest.raises(imagen.InvalidRequestError, match="no room"):
        signer.seal(image_bytes("gif", "P"), make_record())
    with pytest.raises(imagen.InvalidRequestError, match="save it unsigned"):
        signer.seal(b"<svg/>", make_record())


def test_a_file_that_is_missing_is_named(signer, tmp_path):
    missing = ContentSigner(certificate=signer.certificate, key=tmp_path / "gone.pem")
    with pytest.raises(imagen.ConfigurationError, match=r"gone\.pem"):
        missing.seal(image_bytes("png"), make_record())


def test_the_key_is_never_told(signer, tmp_path):
    other = ec.generate_private_key(ec.SECP256R1())
    encrypted = other.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )
    _, right = credentials()
    for key in (
        b"-----BEGIN PRIVATE KEY-----\nsecretsecret\n-----END PRIVATE KEY-----\n",
        b"secretsecret",
        encrypted,
    ):
        (tmp_path / "key.pem").write_bytes(key)
        with pytest.raises(imagen.ConfigurationError, match=r"key\.pem") as caught:
            signer.seal(image_bytes("png"), make_record())
        told = f"{caught.value!r} {signer!r}"
        assert not any(line in told for line in key.decode().splitlines() if "PRIVATE" not in line)
    assert right.decode() not in repr(signer)


def test_a_key_of_another_certificate_is_refused(signer, tmp_path):
    other = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key.pem").write_bytes(
        other.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(imagen.ConfigurationError, match=r"chain\.pem"):
        signer.seal(image_bytes("png"), make_record())
