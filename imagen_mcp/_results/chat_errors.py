"""Errors as a chat reads them. The library's sentences name commands of a
shell, which an assistant may not have; here they name tools instead.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator

import imagen

from .text import clip, clip_line

__all__ = ["name_sellers", "sentence"]

_COMMAND = re.compile(r"`imagen ([^`]*)`")
# By the command that a sentence begins; what follows it in the sentence stays.
_TOOLS = (
    (re.compile(r"`imagen models --operation (\w+)`"), r'find_models(operation="\1")'),
    (re.compile(r"`imagen models --refresh`"), "find_models"),
    (re.compile(r"`imagen models`"), "find_models"),
    (re.compile(r"`imagen history`"), "search_images finds them"),
    (re.compile(r"`imagen style list`"), "the resource imagen://styles"),
    (re.compile(r"`imagen collection list`"), "the resource imagen://collections"),
)
_MOST_SELLERS = 12
_NO_KEY = re.compile(r"(\w+) needs (?:a key|credentials)")


def sentence(error: imagen.ImagenError) -> str:
    """Return the message of an error without a command of a shell."""
    text = error.message
    for command, tool in _TOOLS:
        text = command.sub(tool, text)
    return clip(_COMMAND.sub(r"the user's command imagen \1", text))


def name_sellers(
    error: imagen.ImagenError,
    model: str,
    settings: imagen.Settings,
    catalog: imagen.providers.Catalog,
) -> str:
    """Return what else has the model whose provider has no key; empty if the
    error is another one.
    """
    if not isinstance(error, imagen.ConfigurationError) or not _NO_KEY.match(error.message):
        return ""
    sellers = list(_sellers(model, settings, catalog))[:_MOST_SELLERS]
    return f" Providers of {clip_line(model, 60)}: {', '.join(sellers)}." if sellers else ""


def _sellers(
    name: str, settings: imagen.Settings, catalog: imagen.providers.Catalog
) -> Iterator[str]:
    today = datetime.datetime.now(datetime.UTC).date()
    for model in catalog:
        access = settings.access.get(model.provider)
        if access is not None and _bare(model.id) == _bare(name):
            yield f"{model.provider} ({'; '.join(_terms(model, access, today))})"


def _terms(
    model: imagen.Model, access: imagen.ProviderAccess, today: datetime.date
) -> Iterator[str]:
    yield f"model {model.id}"
    if model.lifecycle.state(today) == "retired":
        last_day = model.lifecycle.retired_on or model.lifecycle.retires_on
        yield "shut down" if last_day is None else f"shut down on {last_day}"
    elif access.configured:
        yield "has a key"
    if not access.configured:
        yield " or ".join(access.provider.key_variables) or "no key"


def _bare(model_id: str) -> str:
    return model_id.rpartition("/")[2]
