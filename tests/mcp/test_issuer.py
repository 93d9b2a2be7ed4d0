"""Tokens that another server issued, against an issuer on loopback."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import jwt
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from trio.testing import MockClock

import imagen
from imagen_mcp._issuer import IssuedTokens, read_issuer
from imagen_mcp._people import read_people
from tests.support.mcp_process import SERVER, process, read_url

RESOURCE = "https://images.example.com/mcp"
RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
CURVE = ec.generate_private_key(ec.SECP256R1())


def published(key: object, key_id: str | None, **more: str) -> dict[str, object]:
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    found = json.loads(algorithm.to_jwk(key.public_key()))
    return {**found, **({} if key_id is None else {"kid": key_id}), **more}


class Issuer:
    """An authorization server's documents, and how often each was read."""

    def __init__(self, path: str = "", place: str = "oauth-authorization-server") -> None:
        self.keys: list[dict[str, object]] = [
            published(RSA, "one", use="sig", alg="RS256"),
            published(OTHER_RSA, "sealed", use="enc"),
            {"kty": "LMS", "kid": "odd"},
            {"kty": "oct", "kid": "shared", "k": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s"},
        ]
        self.read: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        origin = f"http://127.0.0.1:{self._server.server_port}"
        self.url = origin + path
        self.metadata = {"issuer": self.url, "jwks_uri": f"{origin}/keys"}
        self._place = (
            f"{path}/.well-known/{place}"
            if place.startswith("openid")
            else f"/.well-known/{place}{path}"
        )

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.read.append(self.path)
                body = issuer.document(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_: object) -> None: ...

        return Handler

    def document(self, path: str) -> object:
        return {"/keys": {"keys": self.keys}, self._place: self.metadata}.get(path)

    def serve(self) -> Iterator[Issuer]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        yield self
        self._server.shutdown()
        thread.join()
        self._server.server_close()

    def token(
        self,
        key: object = RSA,
        key_id: str | None = "one",
        algorithm: str = "RS256",
        **more: object,
    ) -> str:
        """A token with these claims; times are seconds from now."""
        now = int(time.time())
        claims = {"iss": self.metadata["issuer"], "aud": RESOURCE, "sub": "auth0|5f7c", "exp": 300}
        claims = {
            name: now + value if isinstance(value, int) else value
            for name, value in {**claims, **more}.items()
            if value is not None
        }
        headers = {} if key_id is None else {"kid": key_id}
        return jwt.encode(claims, key, algorithm=algorithm, headers=headers)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    yield from Issuer().serve()


async def subject(issuer: Issuer, token: str) -> str | None:
    with trio.fail_after(10):
        return await IssuedTokens(issuer.url, RESOURCE).subject_of(token)


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({}, {}),
        ({"aud": ["https://other.example.com", RESOURCE]}, {}),
        ({"nbf": -5, "scope": "openid", "azp": "host"}, {}),
        ({"exp": -20}, {}),
        ({}, {"algorithm": "PS256"}),
        ({}, {"key": CURVE, "key_id": "two", "algorithm": "ES256"}),
    ],
    ids=["plain", "several audiences", "other claims", "clocks differ", "PSS", "curve"],
)
async def test_a_valid_token_names_its_subject(
    issuer: Issuer, more: Mapping[str, object], key: Mapping[str, object]
) -> None:
    issuer.keys = [published(RSA, "one"), published(CURVE, "two", use="sig")]
    assert await subject(issuer, issuer.token(**key, **more)) == "auth0|5f7c"


async def test_a_single_key_needs_no_name(issuer: Issuer) -> None:
    issuer.keys = [published(RSA, None)]
    assert await subject(issuer, issuer.token(key_id=None)) == "auth0|5f7c"


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("", "oauth-authorization-server"),
        ("/realms/house", "oauth-authorization-server"),
        ("/realms/house", "openid-configuration"),
        ("/", "openid-configuration"),
    ],
)
async def test_the_metadata_is_found_where_issuers_put_it(path: str, place: str) -> None:
    for issuer in Issuer(path.rstrip("/"), place).serve():
        # Some end their name with a slash, in the tokens too.
        issuer.metadata["issuer"] += "/" if path == "/" else ""
        assert await subject(issuer, issuer.token()) == "auth0|5f7c"


HMAC = jwt.encode({"sub": "auth0|5f7c", "aud": RESOURCE}, "k" * 32, headers={"kid": "one"})


@pytest.mark.parametrize(
    "forge",
    [
        lambda issuer: issuer.token(aud="https://other.example.com"),
        lambda issuer: issuer.token(aud=None),
        lambda issuer: issuer.token(iss="https://login.example.com"),
        lambda issuer: issuer.token(iss=None),
        lambda issuer: issuer.token(exp=-300),
        lambda issuer: issuer.token(exp=None),
        lambda issuer: issuer.token(nbf=300),
        lambda issuer: issuer.token(sub=None),
        lambda issuer: issuer.token(key=OTHER_RSA),
        lambda issuer: issuer.token(key=OTHER_RSA, key_id="sealed"),
        lambda issuer: issuer.token(key_id="missing"),
        lambda issuer: issuer.token(key_id="odd"),
        lambda issuer: issuer.token(key=b"k" * 32, key_id="shared", algorithm="HS256"),
        lambda issuer: jwt.encode({"sub": "auth0|5f7c"}, None, algorithm="none"),
        lambda issuer: issuer.token()[:-8] + "AAAAAAAA",
        lambda issuer: issuer.token(algorithm="PS256"),
        lambda issuer: HMAC,
        lambda issuer: "a.b.c",
        lambda issuer: "opaque-token-of-another-kind",
        lambda issuer: "\udc80.\u00e9.",
    ],
)
async def test_a_forged_or_foreign_token_is_refused(issuer: Issuer, forge: object) -> None:
    assert await subject(issuer, forge(issuer)) is None


async def test_new_keys_are_read_once_a_minute_at_most(
    issuer: Issuer, mock_clock: MockClock
) -> None:
    tokens = IssuedTokens(issuer.url, RESOURCE)
    issuer.keys = [published(RSA, "one")]
    assert await tokens.subject_of(issuer.token())
    issuer.keys = [published(CURVE, "two")]
    new = issuer.token(key=CURVE, key_id="two", algorithm="ES256")
    for number in range(20):
        assert await tokens.subject_of(issuer.token(key_id=f"made up {number}")) is None
        assert await tokens.subject_of(new) is None
    assert issuer.read.count("/keys") == 1
    mock_clock.jump(61)
    assert await tokens.subject_of(new)
    assert await tokens.subject_of(issuer.token()) is None
    assert issuer.read.count("/keys") == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda issuer: issuer.metadata.update(issuer="https://login.example.com"),
        lambda issuer: issuer.metadata.update(jwks_uri="http://10.0.0.1/keys"),
        lambda issuer: issuer.metadata.pop("jwks_uri"),
        lambda issuer: issuer.metadata.update(jwks_uri=f"{issuer.url}/nothing"),
        lambda issuer: setattr(issuer, "keys", "none"),
    ],
)
async def test_an_issuer_that_cannot_be_read_lets_no_one_in(
    issuer: Issuer, change: object, capsys: pytest.CaptureFixture[str]
) -> None:
    change(issuer)
    assert await subject(issuer, issuer.token()) is None
    assert "the keys of IMAGEN_MCP_ISSUER cannot be read" in capsys.readouterr().err


async def test_the_server_lets_a_subject_into_their_home(issuer: Issuer, tmp_path: Path) -> None:
    (tmp_path / "tokens.toml").write_text('[anna]\nsubject = "auth0|5f7c"\n')
    env = {
        "IMAGEN_MCP_TOKENS": str(tmp_path / "tokens.toml"),
        "IMAGEN_MCP_ISSUER": issuer.url,
        "IMAGEN_MCP_URL": RESOURCE,
    }
    initialize = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    accept = {"accept": "application/json, text/event-stream"}
    with trio.fail_after(30):
        async with (
            process(tmp_path, [*SERVER, "--http", "127.0.0.1:0"], env) as child,
            httpx2.AsyncClient(timeout=20) as http,
        ):
            url = await read_url(child)
            statuses = [
                (
                    await http.post(
                        url, json=initialize, headers={**accept, "authorization": f"Bearer {token}"}
                    )
                ).status_code
                for token in (issuer.token(), issuer.token(sub="auth0|other"), "opaque")
            ]
    assert statuses == [200, 401, 401]
    assert (tmp_path / "people" / "anna").is_dir()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[anna]\nsubject = "a"', "IMAGEN_MCP_ISSUER is not set"),
        ('[anna]\nsubject = "a"\ntoken = "0123456789abcdef"', "one of them"),
        ("[anna]\nread_only = true", "one of them"),
        ('[anna]\nsubject = "a"\n[berta]\nsubject = "a"', "the same subject"),
    ],
)
def test_a_wrong_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    (tmp_path / "tokens.toml").write_text(text)
    monkeypatch.setenv("IMAGEN_MCP_TOKENS", str(tmp_path / "tokens.toml"))
    if "not set" in says:
        monkeypatch.delenv("IMAGEN_MCP_ISSUER", raising=False)
    else:
        monkeypatch.setenv("IMAGEN_MCP_ISSUER", "https://login.example.com")
    with pytest.raises(imagen.ConfigurationError, match=says):
        read_people()


@pytest.mark.parametrize("url", ["login.example.com", "http://login.example.com", "ftp://127.0.0"])
def test_an_issuer_without_tls_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("IMAGEN_MCP_ISSUER", url)
    with pytest.raises(imagen.ConfigurationError, match="https"):
        read_issuer()
