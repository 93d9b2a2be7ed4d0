"""Settings: the environment and imagen.toml."""

from __future__ import annotations

import importlib.util
import math
import os
import re
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import msgspec

from .._errors import ConfigurationError, ModelNotFoundError
from .._requests.catalog import Catalog, JsonValue, Model, RateLimit, load_catalog
from .._system.aws_signing import AwsSigner, has_aws_credentials
from .._system.numbers import check_number, check_numbers
from .._system.secret import Secret
from .._system.setting_text import clean_text
from .._system.urls import check_base_url, check_url
from ..metadata._c2pa.signing import ContentSigner
from ..providers import PROVIDERS
from ..providers._provider import Provider
from .bounds import Bounds
from .cleanup import CleanupRules
from .model_gate import RoutingPolicy
from .quotas import MOST_USD, StandingBudget
from .retry import RetryPolicy
from .store_settings import ImageStoreSettings, StorePlace, StoreSettings

__all__ = ["ProviderAccess", "Settings", "load_settings"]

_Place = TypeVar("_Place", bound=StorePlace)

_IN_NO_KEY = frozenset(" \"'`")
_UNKNOWN_KEY = re.compile(r"unknown field `\w*(key|secret|token|password)s?`", re.IGNORECASE)
_KEYS_ELSEWHERE = " Keys are read from the environment only."
# Such as -2026-04-21, -latest, or :free.
# Beginnings of the address of a server, and what is expected in words.
_POSTGRESQL = (
    ("postgresql://", "postgres://"),
    "postgresql://, followed by USER:PASSWORD@HOST:PORT/NAME",
)
_REDIS = (
    ("redis://", "rediss://"),
    "redis://, or rediss:// for TLS, followed by USER:PASSWORD@HOST:PORT of Redis or Valkey",
)
_SCHEMA = re.compile(r"[a-z_][a-z0-9_-]{0,19}")
_VERSION = re.compile(r"([-@:](latest|free|\d{4}-?\d\d-?\d\d))+$")


class ProviderAccess(msgspec.Struct, frozen=True, kw_only=True):
    """Address and key of a provider.

    `configured` providers can be used; models of `preferred` ones may be chosen
    for requests that name none. `signer` signs where no key is set. `rate_limit`
    bounds all models of the provider together.
    """

    provider: Provider
    base_url: str | None
    key: Secret | None
    configured: bool
    preferred: bool = True
    settings: Mapping[str, JsonValue] = {}
    rate_limit: RateLimit | None = None
    signer: AwsSigner | None = None

    def hide_secrets(self, text: str) -> str:
        """Return the text without the key and what signs."""
        text = text if self.key is None else self.key.hide_in(text)
        return text if self.signer is None else self.signer.hide_in(text)

    def hide_secrets_in_bytes(self, data: bytes) -> bytes:
        """Return bytes without the key and what signs."""
        data = data if self.key is None else self.key.hide_in_bytes(data)
        return data if self.signer is None else self.signer.hide_in_bytes(data)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set. `load_settings` reads it from the environment
    and imagen.toml.
    """

    home: Path
    access: Mapping[str, ProviderAccess]
    default_model: str | None = None
    models: Mapping[str, Mapping[str, JsonValue]] = {}
    session_ttl_seconds: float = 3600.0
    max_concurrent_sessions: int = 10
    salvage_seconds: float = 30.0
    bounds: Bounds = Bounds()
    retry: RetryPolicy = RetryPolicy()
    budgets: tuple[StandingBudget, ...] = ()
    routes: RoutingPolicy = RoutingPolicy()
    cleanup: CleanupRules = CleanupRules()
    confirm_above_usd: Decimal | None = None
    callback_url: str | None = None
    callback_secret: Secret | None = None
    webhook_url: Secret | None = None
    webhook_secret: Secret | None = None
    store: StoreSettings | None = None
    images: ImageStoreSettings | None = None
    share_url: str | None = None
    share_secret: Secret | None = None
    content_signer: ContentSigner | None = None
    database_url: Secret | None = None
    queue_url: Secret | None = None
    database_schema: str | None = None

    def __post_init__(self) -> None:
        check_numbers(self, most={"confirm_above_usd": MOST_USD})

    def load_catalog(self) -> Catalog:
        """The built-in catalog with the models of every other provider and
        those of imagen.toml.

        Raises:
            ConfigurationError: a table of models is wrong.
        """
        provided = [access.provider.models for access in self.access.values()]
        return load_catalog(self.models, provided=_joined(provided))


class _ProviderTable(msgspec.Struct, forbid_unknown_fields=True):
    base_url: str | None = None
    rate_limit: RateLimit | None = None
    settings: dict[str, JsonValue] = {}


class _File(msgspec.Struct, forbid_unknown_fields=True):
    default_model: str | None = None
    session_ttl_seconds: float | None = None
    max_concurrent_sessions: int | None = None
    salvage_seconds: float | None = None
    bounds: Bounds = Bounds()
    retry: RetryPolicy = RetryPolicy()
    budgets: tuple[StandingBudget, ...] = ()
    routes: RoutingPolicy = RoutingPolicy()
    cleanup: CleanupRules = CleanupRules()
    confirm_above_usd: Decimal | None = None
    webhook_url: str | None = None
    store: dict[str, JsonValue] = {}
    images: dict[str, JsonValue] = {}
    callback_url: str | None = None
    share_url: str | None = None
    providers: dict[str, _ProviderTable] = {}
    models: dict[str, dict[str, JsonValue]] = {}

    def __post_init__(self) -> None:
        check_numbers(
            self,
            above_zero=("session_ttl_seconds", "max_concurrent_sessions"),
            most={"confirm_above_usd": MOST_USD},
        )


def load_settings(
    environ: Mapping[str, str] | None = None, *, providers: Iterable[Provider] = ()
) -> Settings:
    """Reads the environment (`os.environ` by default), `imagen.toml` in
    IMAGEN_HOME, and one in the current folder.

    The providers are the built-in ones, those of installed packages (entry
    points of the group `imagen.providers`) and `providers`; of several with one
    name the last counts.

    The file in the current folder may add models and name a default model, and
    nothing else: an untrusted folder must not move a key to another server, nor
    give a model that is known another price.

    Raises:
        ConfigurationError: something is wrong there; the message names the
            variable or the file.
    """
    environ = os.environ if environ is None else environ
    home = _read_home(environ)
    file = _read_file(home / "imagen.toml")
    local = _File() if _is_here(home) else _read_file(Path("imagen.toml"))
    if local != _File(default_model=local.default_model, models=local.models):
        raise ConfigurationError(
            "imagen.toml in the current folder may set models and default_model only; move the"
            f" rest to {home / 'imagen.toml'}."
        )
    known = {
        provider.name: provider
        for provider in (*PROVIDERS.values(), *_installed_providers(), *providers)
    }
    if unknown := file.providers.keys() - known.keys():
        raise ConfigurationError(
            f"{home / 'imagen.toml'} has [providers.{min(unknown)}], which imagen does not know; it"
            f" knows {', '.join(known)}."
        )
    provided = [provider.models for provider in known.values()]
    if local.models:
        _check_added(local.models, file.models, provided)
    return Settings(
        home=home,
        access={
            provider.name: _read_access(provider, environ, file) for provider in known.values()
        },
        default_model=_text(environ, "IMAGEN_DEFAULT_MODEL")
        or local.default_model
        or file.default_model,
        models={**file.models, **local.models},
        session_ttl_seconds=_read_number(
            environ, "IMAGEN_SESSION_TTL", file.session_ttl_seconds, 3600.0
        ),
        max_concurrent_sessions=math.ceil(
            _read_number(
                environ, "IMAGEN_MAX_CONCURRENT_SESSIONS", file.max_concurrent_sessions, 10
            )
        ),
        salvage_seconds=_read_number(environ, "IMAGEN_SALVAGE_SECONDS", file.salvage_seconds, 30.0),
        bounds=file.bounds,
        retry=file.retry,
        budgets=file.budgets,
        routes=file.routes,
        cleanup=file.cleanup,
        confirm_above_usd=file.confirm_above_usd,
        callback_url=_read_callback_url(environ, file),
        # A generated secret lasts as long as the process; a later process polls
        # instead of checking callbacks.
        callback_secret=_read_key(environ, "IMAGEN_CALLBACK_SECRET")
        or Secret(secrets.token_hex(32)),
        webhook_url=_read_webhook_url(environ, file),
        webhook_secret=_read_key(environ, "IMAGEN_WEBHOOK_SECRET"),
        store=_read_place(environ, "IMAGEN_STORE_URL", file.store, StoreSettings, home),
        images=_read_place(environ, "IMAGEN_IMAGES_URL", file.images, ImageStoreSettings, home),
        share_url=_read_share_url(environ, file),
        share_secret=_read_key(environ, "IMAGEN_SHARE_SECRET"),
        content_signer=_read_signer(environ),
        database_url=_read_server_url(environ, "IMAGEN_DATABASE_URL", *_POSTGRESQL),
        queue_url=_read_server_url(environ, "IMAGEN_QUEUE_URL", *_REDIS),
        database_schema=_read_schema(environ),
    )


def _is_here(home: Path) -> bool:
    try:
        return home.resolve() == Path.cwd().resolve()
    except OSError:
        # The current folder is deleted.
        return False


def _joined(
    tables: Iterable[Mapping[str, Mapping[str, JsonValue]]],
) -> Mapping[str, Mapping[str, JsonValue]]:
    return {name: table for some in tables for name, table in some.items()}


def _check_added(
    added: Mapping[str, Mapping[str, JsonValue]],
    models: Mapping[str, Mapping[str, JsonValue]],
    provided: Iterable[Mapping[str, Mapping[str, JsonValue]]],
) -> None:
    """Raise ConfigurationError if a model of the current folder is known: its
    price there would decide how much of a budget is left.
    """
    tables = _joined(provided)
    known = load_catalog(models, provided=tables)
    for name in added:
        with suppress(ModelNotFoundError):
            raise _not_added(name, known.find(name))
    whole = load_catalog({**models, **added}, provided=tables)
    for name in added:
        if (same := _same_model(known, whole.find(name))) is not None:
            raise _not_added(name, same)


def _not_added(name: str, known: Model) -> ConfigurationError:
    return ConfigurationError(
        f'imagen.toml in the current folder has [models."{name}"], which is {known.id}: such a file'
        " may add models, and not change one. Move the table to the imagen.toml in IMAGEN_HOME."
    )


def _same_model(known: Catalog, added: Model) -> Model | None:
    wire_name = _undated(added.wire_name)
    for model in known:
        is_billed = model.provider == added.provider and model.price is not None
        if is_billed and _undated(model.wire_name) == wire_name:
            return model
    return None


def _undated(wire_name: str) -> str:
    """Return the name of a model without the mark of a version."""
    return _VERSION.sub("", wire_name.strip().strip("/").casefold())


def _read_callback_url(environ: Mapping[str, str], file: _File) -> str | None:
    url = _text(environ, "IMAGEN_CALLBACK_URL") or file.callback_url
    if not url:
        return None
    checked = check_base_url(url, variable="IMAGEN_CALLBACK_URL")
    if not checked.startswith("https://"):
        raise ConfigurationError(
            "IMAGEN_CALLBACK_URL must begin with https://: no provider calls back by plain http."
        )
    return checked


def _read_share_url(environ: Mapping[str, str], file: _File) -> str | None:
    url = _text(environ, "IMAGEN_SHARE_URL") or file.share_url
    return check_base_url(url, variable="IMAGEN_SHARE_URL") if url else None


def _read_webhook_url(environ: Mapping[str, str], file: _File) -> Secret | None:
    url = _text(environ, "IMAGEN_WEBHOOK_URL") or file.webhook_url
    if not url:
        return None
    if not _text(environ, "IMAGEN_WEBHOOK_SECRET"):
        raise ConfigurationError(
            "IMAGEN_WEBHOOK_URL is set, and IMAGEN_WEBHOOK_SECRET is not: set it to what webhooks"
            " are to be signed with."
        )
    # The receivers of some services have a secret in their path or query.
    return Secret(check_url(url, variable="IMAGEN_WEBHOOK_URL"))


def _read_server_url(
    environ: Mapping[str, str], variable: str, begins: tuple[str, ...], expected: str
) -> Secret | None:
    url = _text(environ, variable)
    if url and not url.startswith(begins):
        raise ConfigurationError(f"{variable} must begin with {expected}.")
    # It may hold a password.
    return Secret(url) if url else None


def _read_schema(environ: Mapping[str, str]) -> str | None:
    name = _text(environ, "IMAGEN_DATABASE_SCHEMA")
    if name and not _SCHEMA.fullmatch(name):
        raise ConfigurationError(
            "IMAGEN_DATABASE_SCHEMA is a name of at most 20 lower-case letters, digits, _ and -."
        )
    return name or None


def _read_place(
    environ: Mapping[str, str],
    variable: str,
    table: Mapping[str, JsonValue],
    kind: type[_Place],
    home: Path,
) -> _Place | None:
    if url := _text(environ, variable):
        table = {**table, "url": url}
    if not table:
        return None
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"{home / 'imagen.toml'} is wrong in [{kind.table}]: {error}."
        ) from error


def _read_signer(environ: Mapping[str, str]) -> ContentSigner | None:
    certificate, key = (
        _text(environ, name) for name in ("IMAGEN_C2PA_CERTIFICATE", "IMAGEN_C2PA_KEY")
    )
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise ConfigurationError(
            "IMAGEN_C2PA_CERTIFICATE and IMAGEN_C2PA_KEY name two PEM files: set both, or neither."
        )
    return ContentSigner(certificate=Path(certificate).expanduser(), key=Path(key).expanduser())


def _read_home(environ: Mapping[str, str]) -> Path:
    if named := _text(environ, "IMAGEN_HOME"):
        home = Path(named).expanduser().absolute()
    else:
        import platformdirs

        home = Path(platformdirs.user_data_dir("imagen", appauthor=False))
    try:
        str(home).encode()
    except UnicodeEncodeError:
        # The ledger writes down where images are.
        raise ConfigurationError(
            "IMAGEN_HOME is a folder whose name is not UTF-8 text: choose another one."
        ) from None
    return home


def _read_file(path: Path) -> _File:
    try:
        # Editors of Windows put a mark before the text.
        text = path.read_text("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return _File()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 text: save it as UTF-8.") from error
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.") from error
    import tomllib

    try:
        return msgspec.convert(tomllib.loads(text), _File)
    except RecursionError:
        raise ConfigurationError(
            f"{path} is wrong: its values are nested too deep; no setting has more than a few"
            " levels."
        ) from None
    except (ValueError, ArithmeticError) as error:
        hint = _KEYS_ELSEWHERE if _UNKNOWN_KEY.search(str(error)) else ""
        raise ConfigurationError(f"{path} is wrong: {error}.{hint}") from error


def _installed_providers() -> Iterator[Provider]:
    # Imported when used: listing the installed packages takes milliseconds.
    from importlib.metadata import entry_points

    for point in entry_points(group="imagen.providers"):
        try:
            found = point.load()
        except Exception as error:
            raise ConfigurationError(
                f"The installed provider {point.name} ({point.value}) cannot be loaded: {error}."
                " Update or uninstall it."
            ) from error
        if not isinstance(found, Provider):
            raise ConfigurationError(
                f"The installed provider {point.name} ({point.value}) is not an"
                " imagen.providers.Provider."
            )
        yield found


def _read_access(provider: Provider, environ: Mapping[str, str], file: _File) -> ProviderAccess:
    keys = (_read_key(environ, variable) for variable in provider.key_variables)
    key = next((key for key in keys if key is not None), None)
    table = file.providers.get(provider.name, _ProviderTable())
    named = (
        provider.base_url_variable and _text(environ, provider.base_url_variable)
    ) or table.base_url
    base_url = provider.base_url
    if named:
        base_url = check_base_url(
            named, variable=provider.base_url_variable or f"base_url of {provider.name}"
        )
    signer = None if key is not None else _read_signer_of(provider, environ, base_url, bool(named))
    on_this_machine = provider.base_url is None and provider.base_url_variable is None
    # A self-hosted server may need no key.
    has_key = (
        key is not None
        or signer is not None
        or not provider.key_variables
        or not provider.key_required
        or bool(named)
    )
    return ProviderAccess(
        provider=provider,
        base_url=base_url,
        key=key,
        configured=_has_packages(provider)
        and (signer is None or signer.is_installed)
        and (on_this_machine or (has_key and base_url is not None)),
        # Credentials of AWS are there for other work too.
        preferred=bool(named) or key is not None or not (provider.optional or provider.aws_service),
        settings=_read_provider_settings(provider, table),
        rate_limit=table.rate_limit or provider.rate_limit,
        signer=signer,
    )


def _read_signer_of(
    provider: Provider, environ: Mapping[str, str], base_url: str | None, is_named: bool
) -> AwsSigner | None:
    """Return what signs where no key is set. Who names the address means to use
    it; then the role of a machine counts too, which nothing here shows.
    """
    if provider.aws_service is None or base_url is None:
        return None
    if not is_named and not has_aws_credentials(environ):
        return None
    return AwsSigner(provider.aws_service, base_url, environ)


def _has_packages(provider: Provider) -> bool:
    return all(
        name in sys.modules or importlib.util.find_spec(name) is not None
        for name in provider.packages
    )


def _read_provider_settings(provider: Provider, table: _ProviderTable) -> Mapping[str, JsonValue]:
    for name, value in table.settings.items():
        default = provider.settings.get(name)
        if name not in provider.settings:
            known = ", ".join(provider.settings) or "none"
            raise ConfigurationError(
                f"imagen.toml: {provider.name} has no setting {name}; it has {known}."
            )
        if default is not None and type(value) is not type(default):
            kind = type(default).__name__
            raise ConfigurationError(
                f"imagen.toml: the setting {name} of {provider.name} must be of the type {kind}."
            )
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            _check_setting(provider, name, value)
    return {**provider.settings, **table.settings}


def _check_setting(provider: Provider, name: str, value: float) -> None:
    try:
        check_number(name, value, above_zero=name.endswith("_seconds"))
    except ValueError as error:
        raise ConfigurationError(f"imagen.toml: of {provider.name}, {error}.") from error


def _text(environ: Mapping[str, str], variable: str) -> str:
    return clean_text(environ.get(variable, ""))


def _read_key(environ: Mapping[str, str], variable: str) -> Secret | None:
    text = _text(environ, variable)
    if not text:
        return None
    if not text.isascii() or not text.isprintable() or set(text) & _IN_NO_KEY:
        raise ConfigurationError(
            f"{variable} holds characters that no key has; copy the key again."
        )
    return Secret(text)


def _read_number(
    environ: Mapping[str, str], variable: str, from_file: float | None, default: float
) -> float:
    text = _text(environ, variable)
    if not text:
        return default if from_file is None else from_file
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < 1e9:
        raise ConfigurationError(f"{variable} must be a number above 0, not {text!r}.")
    return number
