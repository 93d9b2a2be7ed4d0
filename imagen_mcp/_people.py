"""People who share a server over HTTP: each has a token, of the file or of an
issuer, and a home of their own below the server's.

A home holds library, sessions, prompts and ledger, so nothing of one person can
be reached with the token of another.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import tomllib
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import msgspec
from mcp.server.auth.provider import AccessToken, TokenVerifier

import imagen

from ._issuer import IssuedTokens, read_issuer

__all__ = ["Person", "Tokens", "read_people", "settings_of"]

_FOLDER = "people"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_LEAST_TOKEN = 16


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Person with a token, which is kept as its hash, or with the `subject` of
    the issuer's tokens; `usd_per_day` is their own budget.
    """

    name: str
    token_sha256: bytes | None = None
    subject: str | None = None
    usd_per_day: Decimal | None = None
    read_only: bool = False


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: str | None = None
    subject: str | None = None
    usd_per_day: Decimal | None = None
    read_only: bool = False


class Tokens(TokenVerifier):
    """Verifier of the tokens of a file, and of those that were `issued`."""

    def __init__(self, people: Sequence[Person], issued: IssuedTokens | None = None) -> None:
        self._people = people
        self._issued = issued

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return the access of a token; None if no person has it."""
        person = self._with_token(token) or await self._with_subject(token)
        return None if person is None else AccessToken(token="", client_id=person.name, scopes=[])

    def _with_token(self, token: str) -> Person | None:
        sha256 = _hash(token)
        # Each is compared, so that the time says nothing.
        found = [
            one
            for one in self._people
            if one.token_sha256 is not None and hmac.compare_digest(one.token_sha256, sha256)
        ]
        return found[0] if found else None

    async def _with_subject(self, token: str) -> Person | None:
        subject = None if self._issued is None else await self._issued.subject_of(token)
        known = (one for one in self._people if one.subject is not None)
        return next((one for one in known if one.subject == subject), None)


def read_people() -> tuple[Person, ...]:
    """Return the people in the file that IMAGEN_MCP_TOKENS names; none if it is
    not set.

    Raises:
        ConfigurationError: the file cannot be read, or says something wrong.
    """
    named = os.environ.get("IMAGEN_MCP_TOKENS", "").strip()
    if not named:
        return ()
    try:
        tables = tomllib.loads(Path(named).expanduser().read_text("utf-8"))
        people = tuple(_read(name, table) for name, table in tables.items())
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise _wrong(getattr(error, "strerror", None) or str(error)) from None
    if not people:
        raise _wrong("it has no person")
    if any(one.subject is not None for one in people) and read_issuer() is None:
        raise _wrong("it names a subject, and IMAGEN_MCP_ISSUER is not set")
    for key in ("token_sha256", "subject"):
        keys = [value for one in people if (value := getattr(one, key)) is not None]
        if len({*keys}) < len(keys):
            raise _wrong(f"two people have the same {key.removesuffix('_sha256')}")
    return people


def _read(name: str, table: object) -> Person:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:40]!r} is no name of lower-case letters and digits")
    entry = msgspec.convert(table, _Entry, strict=False)
    if (entry.token is None) == (entry.subject is None):
        raise ValueError(f"{name} has a token or a subject, one of them")
    if entry.token is not None and len(entry.token) < _LEAST_TOKEN:
        raise ValueError(f"the token of {name} has fewer than {_LEAST_TOKEN} characters")
    if entry.usd_per_day is not None and not (
        entry.usd_per_day.is_finite() and entry.usd_per_day >= 0
    ):
        raise ValueError(f"usd_per_day of {name} is no amount")
    return Person(
        name=name,
        token_sha256=None if entry.token is None else _hash(entry.token),
        subject=entry.subject,
        usd_per_day=entry.usd_per_day,
        read_only=entry.read_only,
    )


def settings_of(person: Person, settings: imagen.Settings) -> imagen.Settings:
    """Return the settings of a person: a home, a schema of PostgreSQL and a
    budget of their own. The budgets of the server bind each person.
    """
    budgets = settings.budgets
    if person.usd_per_day is not None:
        budgets = (*budgets, imagen.StandingBudget(per="day", usd=person.usd_per_day))
    home = settings.home / _FOLDER / person.name
    schema = f"{settings.database_schema or 'imagen'}_{person.name}"
    return msgspec.structs.replace(settings, home=home, database_schema=schema, budgets=budgets)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _wrong(what: str) -> imagen.ConfigurationError:
    return imagen.ConfigurationError(
        f"The file of IMAGEN_MCP_TOKENS is wrong: {what}. Expected is a table for each person:"
        ' [anna] token = "..." or, of IMAGEN_MCP_ISSUER, subject = "...", and if wanted'
        ' usd_per_day = "5" and read_only = true.'
    )
