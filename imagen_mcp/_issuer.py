"""Tokens that another server issued: JSON Web Tokens (RFC 9068) signed with a
key that the issuer publishes.

The issuer's metadata (RFC 8414, or OpenID Connect Discovery) names its keys.
They are read when the first token comes, and again for a key that is not among
them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import urlsplit

import httpx2
import msgspec
import trio

import imagen

if TYPE_CHECKING:
    import jwt

__all__ = ["IssuedTokens", "read_issuer"]

# By the kind of key. No symmetric one: its key would be the published one.
_ALGORITHMS = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA",),
}
_LEEWAY_SECONDS = 60
# A caller without a valid token could name a new key with each request.
_READ_AGAIN_SECONDS = 60.0
_REPLY_SECONDS = 10.0
_MOST_BYTES = 1 << 20
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

_Form = TypeVar("_Form", bound=msgspec.Struct)


class _Key(NamedTuple):
    public: jwt.PyJWK
    algorithms: Sequence[str]


_Keys = Mapping[str | None, _Key]


class _Metadata(msgspec.Struct, frozen=True):
    issuer: str
    jwks_uri: str


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[dict[str, object]]


def read_issuer() -> str | None:
    """Return the issuer that IMAGEN_MCP_ISSUER names.

    Raises:
        ConfigurationError: it is no URL with TLS.
    """
    issuer = os.environ.get("IMAGEN_MCP_ISSUER", "").strip()
    if issuer and not _is_safe(issuer):
        raise imagen.ConfigurationError(
            "IMAGEN_MCP_ISSUER is an https URL such as https://login.example.com."
        )
    return issuer or None


class IssuedTokens:
    """Reader of the tokens that `issuer` made for the server at `resource`."""

    def __init__(self, issuer: str, resource: str) -> None:
        self._issuer = issuer
        # With and without the slash of an address that has no path.
        self._audience = (resource, resource.rstrip("/"))
        self._names = (issuer,)
        self._keys: _Keys = {}
        self._read_at = -_READ_AGAIN_SECONDS
        self._reading = trio.Lock()

    async def subject_of(self, token: str) -> str | None:
        """Return the subject of a token; None if it is not valid here."""
        # Imported when used: most servers have no such people.
        import jwt

        if not token.isascii():
            return None
        try:
            header = jwt.get_unverified_header(token)
            key = await self._find(header.get("kid"))
            claims = jwt.decode(
                token,
                key.public.key,
                algorithms=key.algorithms,
                audience=self._audience,
                issuer=self._names,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, LookupError):
            return None
        return str(claims["sub"])

    async def _find(self, key_id: str | None) -> _Key:
        if (key := self._known(key_id)) is None:
            async with self._reading:
                if (key := self._known(key_id)) is None:
                    await self._read_again()
                    key = self._known(key_id)
        if key is None:
            raise LookupError("the issuer has no such key")
        return key

    def _known(self, key_id: str | None) -> _Key | None:
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def _read_again(self) -> None:
        if trio.current_time() - self._read_at < _READ_AGAIN_SECONDS:
            return
        self._read_at = trio.current_time()
        try:
            async with httpx2.AsyncClient(timeout=_REPLY_SECONDS) as http:
                metadata = await self._read_metadata(http)
                keys = await _read(http, metadata.jwks_uri, _KeySet)
        except (httpx2.HTTPError, msgspec.MsgspecError, ValueError) as error:
            reason = str(error) or type(error).__name__
            print(
                f"imagen-mcp: the keys of IMAGEN_MCP_ISSUER cannot be read: {reason}",
                file=sys.stderr,
                flush=True,
            )
            return
        # As it writes itself, with or without a slash at the end.
        self._names = (metadata.issuer,)
        self._keys = {key.public.key_id: key for key in _usable(keys)}

    async def _read_metadata(self, http: httpx2.AsyncClient) -> _Metadata:
        *others, last = _places(self._issuer)
        for place in others:
            try:
                return self._check(await _read(http, place, _Metadata))
            except (httpx2.HTTPStatusError, msgspec.MsgspecError):
                continue
        return self._check(await _read(http, last, _Metadata))

    def _check(self, metadata: _Metadata) -> _Metadata:
        if metadata.issuer.rstrip("/") != self._issuer.rstrip("/"):
            raise ValueError(f"its metadata is of {metadata.issuer[:80]!r}")
        if not _is_safe(metadata.jwks_uri):
            raise ValueError("its keys are not at an https URL")
        return metadata


async def _read(http: httpx2.AsyncClient, url: str, form: type[_Form]) -> _Form:
    body = bytearray()
    async with http.stream("GET", url, headers={"accept": "application/json"}) as reply:
        reply.raise_for_status()
        async for chunk in reply.aiter_bytes():
            body += chunk
            if len(body) > _MOST_BYTES:
                raise ValueError("the reply is too long")
    return msgspec.json.decode(body, type=form)


def _places(issuer: str) -> list[str]:
    """Return where the metadata may be: RFC 8414 puts its name before the path,
    OpenID Connect behind it.
    """
    base = issuer.rstrip("/")
    parts = urlsplit(base)
    origin = f"{parts.scheme}://{parts.netloc}"
    return [
        f"{origin}/.well-known/oauth-authorization-server{parts.path}",
        f"{base}/.well-known/openid-configuration",
    ]


def _usable(keys: _KeySet) -> Iterator[_Key]:
    import jwt

    for key in keys.keys:
        allowed = _ALGORITHMS.get(str(key.get("kty")), ())
        if "alg" in key:
            allowed = tuple(name for name in allowed if name == key["alg"])
        if not allowed or key.get("use", "sig") != "sig":
            continue
        try:
            yield _Key(jwt.PyJWK(key), allowed)
        except jwt.PyJWTError:
            # Its curve is not known here.
            continue


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.hostname) and (parts.scheme == "https" or parts.hostname in _LOOPBACK)
