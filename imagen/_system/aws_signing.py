"""Signatures by the credentials of AWS (Signature Version 4), through botocore."""

from __future__ import annotations

import datetime
import importlib.util
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from .._errors import AuthenticationError
from .secret import Secret
from .setting_text import clean_text

__all__ = ["AwsSigner", "has_aws_credentials"]

# Each of them says that this process has credentials, or where they are.
_SIGNS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_FILES = {
    "AWS_SHARED_CREDENTIALS_FILE": ("credentials_file", "~/.aws/credentials"),
    "AWS_CONFIG_FILE": ("config_file", "~/.aws/config"),
}
_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_DEFAULT_REGION = "us-west-2"
_HOST = re.compile(r"\.([a-z]{2,4}(?:-[a-z]+)+-[0-9]+)\.(?:vpce\.)?(?:amazonaws\.com|api\.aws)")
_WHERE = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run `aws configure`"
# Credentials that expire are replaced while the process lives.
_MOST_HIDDEN = 8


class _Keys(NamedTuple):
    access_key: str
    secret_key: str
    token: str | None


class _Source(Protocol):
    def get_frozen_credentials(self) -> _Keys: ...


class AwsSigner:
    """Signer of requests to one service of AWS.

    The keys are those of the environment, else what botocore finds: profiles,
    the files in ~/.aws, roles of containers and machines.
    """

    def __init__(self, service: str, base_url: str, environ: Mapping[str, str]) -> None:
        self._service = service
        self._environ = {
            name: text
            for name in (*_SIGNS, *_FILES, *_SECRETS, *_REGIONS)
            if (text := clean_text(environ.get(name, "")))
        }
        self._region = self._region_of(urlsplit(base_url).hostname or "")
        self._lock = threading.Lock()
        self._source: _Source | None = None
        self._hidden: list[Secret] = []

    def __repr__(self) -> str:
        return f"AwsSigner({self._service}, {self._region})"

    def __reduce__(self) -> str:
        raise TypeError("a signer is not pickled")

    @property
    def is_installed(self) -> bool:
        """True if botocore is there."""
        return importlib.util.find_spec("botocore") is not None

    def sign(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> dict[str, str]:
        """Return the headers that sign a request as it is sent now. This blocks,
        as keys may come from files, a program or the network.

        Sign few headers: programs on the way may change the others.

        Raises:
            AuthenticationError: there are no keys, or they cannot be read.
        """
        keys = self._keys()
        now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        added = {"x-amz-date": now}
        if keys.token:
            added["x-amz-security-token"] = keys.token
        text = self._authorization(keys, method, url, {**headers, **added}, body, now)
        return {**added, "authorization": text}

    def hide_in(self, text: str) -> str:
        """Return the text without the keys: a refusal may quote the token."""
        for secret in self._hidden:
            text = secret.hide_in(text)
        return text

    def hide_in_bytes(self, data: bytes) -> bytes:
        """Return bytes without the keys."""
        for secret in self._hidden:
            data = secret.hide_in_bytes(data)
        return data

    def _region_of(self, host: str) -> str:
        if found := _HOST.search(host):
            return found[1]
        named = (self._environ.get(name) for name in _REGIONS)
        return next((name for name in named if name), _DEFAULT_REGION)

    def _authorization(
        self,
        keys: _Keys,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        now: str,
    ) -> str:
        # `add_auth` of botocore logs the token.
        from botocore.auth import SigV4Auth  # type: ignore[import-untyped]
        from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]

        request = AWSRequest(method=method, url=url, headers=dict(headers), data=body)
        request.context["timestamp"] = now
        auth = SigV4Auth(keys, self._service, self._region)
        to_sign = auth.string_to_sign(request, auth.canonical_request(request))
        names = auth.signed_headers(auth.headers_to_sign(request))
        return (
            f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}, SignedHeaders={names},"
            f" Signature={auth.signature(to_sign, request)}"
        )

    def _keys(self) -> _Keys:
        """Return the keys of this moment; those that expire are fetched anew."""
        with self._lock:
            if self._source is None:
                self._source = self._find()
            keys = _frozen(self._source)
            self._hide(keys)
            return keys

    def _hide(self, keys: _Keys) -> None:
        known = {secret.reveal() for secret in self._hidden}
        texts = {keys.secret_key, keys.token or ""} - known - {""}
        self._hidden = [*self._hidden, *map(Secret, sorted(texts))][-_MOST_HIDDEN:]

    def _find(self) -> _Source:
        if "AWS_ACCESS_KEY_ID" in self._environ:
            return self._from_environment()
        try:
            found = self._ask_botocore()
        except Exception as error:
            # Its message may quote what a program of the profile wrote.
            raise _unreadable(error) from None
        if found is None:
            raise AuthenticationError(f"No AWS credentials were found: {_WHERE}.")
        return found

    def _from_environment(self) -> _Source:
        secret = self._environ.get("AWS_SECRET_ACCESS_KEY")
        if secret is None:
            raise AuthenticationError(
                "AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not: set both."
            )
        token = self._environ.get("AWS_SESSION_TOKEN")
        return _Fixed(_Keys(self._environ["AWS_ACCESS_KEY_ID"], secret, token))

    def _ask_botocore(self) -> _Source | None:
        from botocore.session import Session  # type: ignore[import-untyped]

        names = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
        profile = next((self._environ[name] for name in names if name in self._environ), None)
        session = Session(profile=profile)
        for variable, (setting, _) in _FILES.items():
            if variable in self._environ:
                session.set_config_variable(setting, self._environ[variable])
        found: _Source | None = session.get_credentials()
        return found


class _Fixed:
    def __init__(self, keys: _Keys) -> None:
        self._keys = keys

    def get_frozen_credentials(self) -> _Keys:
        return self._keys


def has_aws_credentials(environ: Mapping[str, str]) -> bool:
    """Return True if the environment or the files of AWS name credentials."""
    if any(clean_text(environ.get(name, "")) for name in _SIGNS):
        return True
    return any(
        _is_file(clean_text(environ.get(variable, "")) or usual)
        for variable, (_, usual) in _FILES.items()
    )


def _is_file(text: str) -> bool:
    try:
        return Path(text).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):
        # No home folder, or no name of a file.
        return False


def _frozen(source: _Source) -> _Keys:
    try:
        access_key, secret_key, token = source.get_frozen_credentials()[:3]
    except Exception as error:
        raise _unreadable(error) from None
    return _Keys(access_key, secret_key, token)


def _unreadable(error: Exception) -> AuthenticationError:
    return AuthenticationError(
        f"The AWS credentials cannot be read ({type(error).__name__}): check AWS_PROFILE and the"
        f" files in ~/.aws, or {_WHERE}."
    )
