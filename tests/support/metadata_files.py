"""Images with metadata, records and seals for the tests of this folder."""

from __future__ import annotations

import datetime
import random
import struct
import zlib
from functools import cache
from io import BytesIO

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image as PillowImage
from PIL import ImageCms

from imagen.metadata import Record

FORMATS = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif"}
EMBEDDABLE = ("png", "jpeg", "webp")
THEIR_XMP = (
    '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF'
    ' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
    ' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:Credit="Their'
    ' lab"><dc:description xmlns:dc="http://purl.org/dc/elements/1.1/"><rdf:Alt><rdf:li'
    ' xml:lang="x-default">Their'
    " words</rdf:li></rdf:Alt></dc:description></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket"
    " end='w'?>"
)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF = PillowImage.Exif()
EXIF[0x013B] = "Their artist"


def make_record(prompt: str = "a lighthouse at dusk", **changes: object) -> Record:
    fields: dict[str, object] = {
        "id": "0123456789abcdef",
        "request": {"operation": "generate", "prompt": prompt},
        "operation": "generate",
        "prompt": prompt,
        "provider": "openai",
        "model": "gpt-image-2",
        "created_at": datetime.datetime(2026, 5, 4, 12, 30, tzinfo=datetime.UTC),
        "sha256": "ab" * 32,
    }
    return Record(**{**fields, **changes})


def image_bytes(
    kind: str = "png", mode: str = "RGB", *, size: tuple[int, int] = (33, 17), **options: object
) -> bytes:
    """An image of which every pixel is another one."""
    noise = PillowImage.frombytes(
        "RGBA", size, random.Random(7).randbytes(size[0] * size[1] * 4)
    ).convert(mode)
    if kind == "jpeg" and mode == "RGBA":
        noise = noise.convert("RGB")
    out = BytesIO()
    noise.save(out, kind.upper(), **options)
    return out.getvalue()


def with_everything(kind: str) -> bytes:
    """An image with an ICC profile, EXIF and an XMP packet of its provider's."""
    if kind == "png":
        from PIL.PngImagePlugin import PngInfo

        texts = PngInfo()
        texts.add_text("Software", "Their engine")
        texts.add_itxt("XML:com.adobe.xmp", THEIR_XMP)
        return image_bytes(kind, icc_profile=ICC, exif=EXIF, pnginfo=texts)
    return image_bytes(kind, icc_profile=ICC, exif=EXIF, xmp=THEIR_XMP.encode())


def pixels(data: bytes) -> bytes:
    with PillowImage.open(BytesIO(data)) as opened:
        return opened.convert("RGBA").tobytes()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_png_chunk(kind: bytes, body: bytes, data: bytes | None = None) -> bytes:
    """A PNG with one more chunk behind its header."""
    data = data or image_bytes("png")
    return data[:33] + png_chunk(kind, body) + data[33:]


def coded_pixels(data: bytes) -> bytes:
    """The bytes that the pixels are decoded from, as they stand in the file."""
    if data.startswith(b"\xff\xd8"):
        return data[data.index(b"\xff\xda") :]
    if data.startswith(b"RIFF"):
        at = 12
        while data[at : at + 4] not in (b"VP8 ", b"VP8L", b"ANMF"):
            length = struct.unpack_from("<I", data, at + 4)[0]
            at += 8 + length + length % 2
        return data[at : at + 8 + struct.unpack_from("<I", data, at + 4)[0]]
    at, parts = 8, []
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IDAT":
            parts.append(data[at : at + 12 + length])
        at += 12 + length
    return b"".join(parts)


# --- seals --------------------------------------------------------------------


@cache
def authority() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """An unknown certificate authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    certificate = _certificate(
        "Test root", key.public_key(), "Test root", x509.BasicConstraints(True, None), usage
    )
    return key, certificate.sign(key, hashes.SHA256())


@cache
def credentials() -> tuple[bytes, bytes]:
    """A chain that signs images, and its key, both as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    root_key, root = authority()
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    certificate = (
        _certificate(
            "Test signer", key.public_key(), "Test root", x509.BasicConstraints(False, None), usage
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False
        )
        .sign(root_key, hashes.SHA256())
    )
    chain = certificate.public_bytes(serialization.Encoding.PEM) + root.public_bytes(
        serialization.Encoding.PEM
    )
    return chain, key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def root_pem() -> str:
    return authority()[1].public_bytes(serialization.Encoding.PEM).decode()


def _name(common: str) -> x509.Name:
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test House")
    return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _certificate(
    subject: str,
    key: ec.EllipticCurvePublicKey,
    issuer: str,
    basic: x509.BasicConstraints,
    usage: x509.KeyUsage,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(basic, True)
        .add_extension(usage, True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
    )


def sealed(data: bytes, kind: str, *, remote_url: str | None = None) -> bytes:
    """The image as a provider sends it that signs with C2PA."""
    chain, key = credentials()
    created = {
        "action": "c2pa.created",
        "digitalSourceType": (
            "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
        ),
    }
    manifest = {
        "claim_generator_info": [{"name": "Their engine", "version": "7"}],
        "assertions": [{"label": "c2pa.actions", "data": {"actions": [created]}}],
    }
    settings = {"version": 1, "builder": {"thumbnail": {"enabled": False}}}
    out = BytesIO()
    with (
        c2pa.Context.from_dict(settings) as context,
        c2pa.Builder(manifest, context=context) as builder,
        c2pa.Signer.from_info(c2pa.C2paSignerInfo("es256", chain, key, None)) as signer,
    ):
        if remote_url is not None:
            builder.set_remote_url(remote_url)
            builder.set_no_embed()
        builder.sign(signer, FORMATS[kind], BytesIO(data), out)
    return out.getvalue()
