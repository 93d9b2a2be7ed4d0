"""Prompts with places to fill in: alternatives, wildcards, variables.
`_template_parts` says how they are written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Never

from .._errors import InvalidRequestError
from ._expansions import Expansions, compile_parts
from ._template_parts import Choice, Parts, WildcardUse, parse_parts
from ._variables import Variable

__all__ = ["Template", "Values", "Wildcards", "wildcards_in"]

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
        return frozenset(wildcards_in(self._parts))

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


def wildcards_in(parts: Parts) -> set[str]:
    """The names of the wildcards that stand in these."""
    found: set[str] = set()
    for part in parts:
        if isinstance(part, WildcardUse):
            found.add(part.name)
        elif isinstance(part, Choice):
            found.update(*map(wildcards_in, part.alternatives))
    return found
