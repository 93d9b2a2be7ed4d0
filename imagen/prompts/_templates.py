"""Prompt templates with alternatives, wildcards and variables, and the user's
wildcard files.

`_template_syntax` describes the syntax.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Never

from .._errors import InvalidRequestError
from ._expansions import Expansions, compile_parts, parse_lines
from ._template_syntax import Choice, Parts, Variable, WildcardUse, check_wildcard_name, parse_parts

__all__ = ["Template", "Values", "Wildcards", "read_wildcards"]

Values = Mapping[str, str | int | float]
"""Values of variables, by name."""
Wildcards = Mapping[str, Sequence[str]]
"""Lines of wildcards, by name."""
_NONE: Mapping[str, Never] = MappingProxyType({})


class Template:
    """A template of many prompts.

    Values are inserted verbatim: braces or underscores in them are text, not
    syntax.
    """

    def __init__(self, text: str, parts: Parts, variables: Mapping[str, Variable]) -> None:
        self.text = text
        self.variables = tuple(variables.values())
        self._parts = parts
        self._declared = variables

    @classmethod
    def parse(cls, text: str) -> Template:
        r"""Parse a template.

        Example: `a {red|blue} __animals__ in {{weather:choice(rain,sun)=sun}}`;
        \{ is a literal brace.

        Raises:
            InvalidRequestError: the text is invalid; the message gives the position.
        """
        parts, variables = parse_parts(text)
        return cls(text, parts, variables)

    @property
    def wildcards(self) -> frozenset[str]:
        """Names of the wildcards in this text; their lines may use others."""
        return frozenset(_wildcards_in(self._parts))

    def count(self, wildcards: Wildcards = _NONE) -> int:
        """Return the number of prompts, without creating them.

        Raises:
            InvalidRequestError: a wildcard is missing, empty or recursive.
        """
        return compile_parts(self._parts, dict.fromkeys(self._declared, ""), wildcards).total

    def expand(self, values: Values = _NONE, wildcards: Wildcards = _NONE) -> Expansions:
        """Return all prompts in a fixed order, each created on access.

        Args:
            values: Values of the variables, by name; those with a default are
                optional.
            wildcards: Lines of each wildcard; `read_wildcards` returns those of
                a folder.

        Raises:
            InvalidRequestError: a value is missing, of the wrong type, or for
                an unknown variable; or a wildcard is missing, empty or
                recursive.
        """
        return compile_parts(self._parts, self._texts(values), wildcards)

    def sample(
        self, n: int, seed: int, values: Values = _NONE, wildcards: Wildcards = _NONE
    ) -> list[str]:
        """Return `n` distinct random prompts, no two by the same choices; equal
        seeds give equal samples.

        Raises:
            InvalidRequestError: there are fewer than `n` prompts, or as for
                `expand`.
        """
        return self.expand(values, wildcards).sample(n, seed)

    def check(self, values: Values = _NONE, wildcards: Wildcards = _NONE) -> None:
        """Raise the errors of `expand`, without creating prompts."""
        self.expand(values, wildcards)

    def _texts(self, values: Values) -> dict[str, str]:
        if unknown := [name for name in values if name not in self._declared]:
            known = ", ".join(self._declared) or "none"
            raise InvalidRequestError(
                f"Unknown variable {unknown[0][:100]!r}: the template has {known}."
            )
        texts = {}
        for variable in self.variables:
            value = values.get(variable.name, variable.default)
            if value is None:
                raise InvalidRequestError(
                    f"Missing value of the variable {variable.name}: it has no default."
                )
            texts[variable.name] = variable.text_of(value)
        return texts

    def __repr__(self) -> str:
        return f"Template({self.text!r})"


def _wildcards_in(parts: Parts) -> set[str]:
    """Return the names of the wildcards in these parts."""
    found: set[str] = set()
    for part in parts:
        if isinstance(part, WildcardUse):
            found.add(part.name)
        elif isinstance(part, Choice):
            found.update(*map(_wildcards_in, part.alternatives))
    return found


_SUFFIX = ".txt"
_MOST_BYTES = 1 << 20
_MOST_FILES = 1000


def read_wildcards(folder: Path, template: Template) -> Wildcards:
    """Read the lines of every wildcard that a template needs, also indirectly.
    Blocking.

    `animals` is the file animals.txt of the folder, `beasts/cats` is cats.txt
    in its folder beasts. Empty lines and lines that begin with # are ignored.

    Raises:
        InvalidRequestError: a file is missing, too large, not text, or outside
            the folder.
    """
    found: dict[str, tuple[str, ...]] = {}
    missing = sorted(template.wildcards)
    while missing:
        name = missing.pop()
        if len(found) >= _MOST_FILES:
            raise InvalidRequestError(f"The template needs more than {_MOST_FILES:,} wildcards.")
        found[name] = _read_file(folder, check_wildcard_name(name))
        inner = (word for parts in parse_lines(name, found[name]) for word in _wildcards_in(parts))
        missing = sorted({*missing, *inner} - found.keys())
    return found


def _read_file(folder: Path, name: str) -> tuple[str, ...]:
    path = folder / f"{name}{_SUFFIX}"
    try:
        if not Path(os.path.realpath(path, strict=True)).is_relative_to(os.path.realpath(folder)):
            raise InvalidRequestError(
                f"The wildcard {name} is a link to a file outside {folder}: replace it with a file."
            )
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise InvalidRequestError(
                f"The wildcard {path} is larger than {_MOST_BYTES >> 20} MiB: split it."
            )
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        raise InvalidRequestError(
            f"Unknown wildcard {name}: write its lines into {path}, or escape the underscores as"
            " \\_\\_."
        ) from None
    except UnicodeDecodeError:
        raise InvalidRequestError(
            f"The wildcard {path} is not UTF-8 text: save it as UTF-8."
        ) from None
    except OSError as error:
        raise InvalidRequestError(
            f"The wildcard {path} cannot be read: {error.strerror or error}."
        ) from error
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))
