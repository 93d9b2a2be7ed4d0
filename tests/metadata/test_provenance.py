"""Who signed an image, and whether it is still what was signed."""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO

import c2pa
import pytest

import imagen
from imagen.metadata import Provenance, describe_file
from imagen.metadata._c2pa.context import open_context
from imagen.metadata._c2pa.manifest import read_provenance
from imagen.metadata._embed import embed_record, write_sidecar
from tests.support.metadata_files import (
    EMBEDDABLE,
    FORMATS,
    coded_pixels,
    image_bytes,
    make_record,
    root_pem,
    sealed,
)

EVERY_KIND = pytest.mark.parametrize("kind", EMBEDDABLE)


@EVERY_KIND
def test_a_manifest_says_who_made_the_image_and_how(kind):
    assert read_provenance(sealed(image_bytes(kind), kind)) == Provenance(
        state="valid",
        claim_generator="Their engine 7",
        signer="Test signer",
        issuer="Test House",
        actions=("c2pa.created",),
        digital_source_type="trainedAlgorithmicMedia",
        made_by_ai=True,
    )


@EVERY_KIND
def test_a_certificate_is_trusted_by_a_list_only(kind):
    found = read_provenance(sealed(image_bytes(kind), kind), trust_anchors=root_pem())
    assert found.state == "trusted"


@EVERY_KIND
def test_one_changed_byte_of_the_image_is_seen(kind):
    data = sealed(image_bytes(kind, size=(64, 64)), kind)
    at = data.index(coded_pixels(data)[:40]) + 36
    for place in (at, data.index(b"Their engine")):
        changed = bytearray(data)
        changed[place] ^= 1
        found = read_provenance(bytes(changed), trust_anchors=root_pem())
        assert found.state == "invalid"
        assert found.problems


@EVERY_KIND
def test_an_image_without_a_manifest_has_no_provenance(kind):
    assert read_provenance(image_bytes(kind)) is None
    assert read_provenance(embed_record(image_bytes(kind), make_record())) is None


def test_a_manifest_that_is_rubbish_is_invalid():
    data = sealed(image_bytes("png"), "png")
    rubbish = data.replace(b"jumdc2pa", b"rubbish!")
    found = read_provenance(rubbish)
    assert found.state == "invalid"
    assert "cannot be read" in found.problems[0]


def test_certificates_that_are_none_are_refused():
    with pytest.raises(imagen.ConfigurationError, match="certificates"):
        read_provenance(
            sealed(image_bytes("png"), "png"), trust_anchors="-----BEGIN CERTIFICATE-----\nAAAA\n"
        )


class _Listener:
    """A server on this machine that answers every question with a manifest, and
    counts them.
    """

    def __init__(self, manifest: bytes) -> None:
        asked = self.asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(manifest)

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )

    def __enter__(self) -> _Listener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/manifest"


def test_a_manifest_that_lies_elsewhere_is_not_asked_for():
    with _Listener(b"") as listener:
        data = sealed(image_bytes("jpeg"), "jpeg", remote_url=listener.url)
        found = read_provenance(data)
        assert found.state == "remote"
        assert listener.url in found.problems[0]
        with open_context() as context, pytest.raises(c2pa.C2paError):
            c2pa.Reader(FORMATS["jpeg"], BytesIO(data), context=context)
        assert listener.asked == []
        # The same library, left to itself, does ask: so the line before says
        # something.
        with pytest.raises(c2pa.C2paError):
            c2pa.Reader(FORMATS["jpeg"], BytesIO(data))
        assert listener.asked == ["/manifest"]


def test_without_the_package_the_description_says_what_is_missing(monkeypatch, tmp_path):
    path = tmp_path / "night.png"
    path.write_bytes(sealed(image_bytes("png"), "png"))
    monkeypatch.setitem(sys.modules, "c2pa", None)
    described = describe_file(path)
    assert described.sealed
    assert described.provenance is None
    assert described.problems == (
        'C2PA needs the extra "metadata": pip install "imagen-trio[metadata]".',
    )


@EVERY_KIND
def test_what_imagen_does_by_default_leaves_the_seal_valid(kind, tmp_path):
    path = tmp_path / f"night.{kind}"
    path.write_bytes(sealed(image_bytes(kind), kind))
    assert embed_record(path.read_bytes(), make_record()) is None
    write_sidecar(path, make_record(sha256=describe_file(path).sha256))
    described = describe_file(path)
    assert described.provenance.state == "valid"
    assert described.record.prompt == "a lighthouse at dusk"
    assert described.sidecar == tmp_path / f"night.{kind}.xmp"
