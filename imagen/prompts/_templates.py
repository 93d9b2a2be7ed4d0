"""Prompts with places to fill in: alternatives, wildcards, variables.
`_template_parts` says how they are written.
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
"""What is put in for each variable, by its name."""
Wildcards = Mapping[str, Sequence[str]]
"""The lines that each wildcard stands for, by its name."""
_NONE: Mapping[str, Never] = MappingProxyType({})


class Template:
    """A prompt that stands for many. What is put in for a variable or a
    wildcard's line stays what it is.

    A value may hold braces or underscores: it is text, and never read as a part
    of the template.
    """

    def __init__(self, text: str, parts: Parts, variables: Mapping[str, Variable]) -> None:
        self.text = text
        self.variables = tuple(variables.values())
        self._parts = parts
        self._declared = variables

    @classmethod
    def parse(cls, text: str) -> Template:
        r"""Reads a template: `a {red|blue} __animals__ in {{weather:choice(rain,sun)=sun}}`, with \{ for a letter itself.

        Raises:
            InvalidRequestError: it is none; the message says where.
        """
        parts, variables = parse_parts(text)
        return cls(text, parts, variables)

    @property
    def wildcards(self) -> frozenset[str]:
        """The names of the wildcards in this text; there may be more in their
        lines.
        """
        return frozenset(_wildcards_in(self._parts))

    def count(self, wildcards: Wildcards = _NONE) -> int:
        """How many prompts this stands for. None of them is made.

        Raises:
            InvalidRequestError: a wildcard is missing, empty, or holds itself.
        """
        return compile_parts(self._parts, dict.fromkeys(self._declared, ""), wildcards).total

    def expand(self, values: Values = _NONE, wildcards: Wildcards = _NONE) -> Expansions:
        """All the prompts, in a fixed order, each made when it is asked for.

        Args:
            values: For the variables, by name; those that have a default may be
                left out.
            wildcards: The lines of each wildcard; `read_wildcards` gives those
                of a folder.

        Raises:
            InvalidRequestError: a value is missing, of the wrong type, or for a
                variable that the template has not, or a wildcard is missing,
                empty, or holds itself.
        """
        return compile_parts(self._parts, self._texts(values), wildcards)

    def sample(
        self, n: int, seed: int, values: Values = _NONE, wildcards: Wildcards = _NONE
    ) -> list[str]:
        """So many of the prompts at random, no two by the same choices; the
        same seed gives the same ones.

        Raises:
            InvalidRequestError: there are not so many, or as for `expand`.
        """
        return self.expand(values, wildcards).sample(n, seed)

    def check(self, values: Values = _NONE, wildcards: Wildcards = _NONE) -> None:
        """Raises what `expand` would raise, and makes nothing."""
        self.expand(values, wildcards)

    def _texts(self, values: Values) -> dict[str, str]:
        if unknown := [name for name in values if name not in self._declared]:
            known = ", ".join(self._declared) or "none"
            raise InvalidRequestError(
                f"The template has no variable {unknown[0][:100]!r}; it has {known}."
            )
        texts = {}
        for variable in self.variables:
            value = values.get(variable.name, variable.default)
            if value is None:
                raise InvalidRequestError(
                    f"The variable {variable.name} has no value, and no default: give it one."
                )
            texts[variable.name] = variable.text_of(value)
        return texts

    def __repr__(self) -> str:
        return f"Template({self.text!r})"


def _wildcards_in(parts: Parts) -> set[str]:
    """The names of the wildcards that stand in these."""
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
    """The lines of every wildcard that a template needs, also those that stand
    in the lines of others. Blocking.

    `animals` is the file animals.txt of the folder, `beasts/cats` is cats.txt
    in its folder beasts. Empty lines, and those that begin with #, do not
    count.

    Raises:
        InvalidRequestError: a file is missing, too large, no text, or leads out
            of the folder.
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
                f"The wildcard {name} is a link that leads out of {folder}: put a file there."
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
            f"There is no wildcard {name}: write its lines into {path}, or \\_\\_ for the letters"
            " themselves."
        ) from None
    except UnicodeDecodeError:
        raise InvalidRequestError(
            f"The wildcard {path} is no UTF-8 text: save it as UTF-8."
        ) from None
    except OSError as error:
        raise InvalidRequestError(
            f"The wildcard {path} cannot be read: {error.strerror or error}."
        ) from error
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))
