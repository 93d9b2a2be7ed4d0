"""What a template asks the caller for."""

from __future__ import annotations

import math
import re
from typing import Literal

import msgspec

from .._errors import InvalidRequestError

__all__ = ["MOST_CHARACTERS", "Variable", "declare", "read_variable"]

MOST_CHARACTERS = 100_000
"""Of a template, of a value, and of a prompt."""

VariableType = Literal["text", "int", "float", "choice"]
_TYPES: dict[str, VariableType] = {
    "text": "text",
    "int": "int",
    "float": "float",
    "choice": "choice",
}


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """What a template asks the caller for. `options` are those of a choice;
    without a `default` a value must be given.
    """

    name: str
    type: VariableType = "text"
    options: tuple[str, ...] = ()
    default: str | None = None

    def text_of(self, value: str | int | float) -> str:
        """A value as it will stand in the prompt.

        Raises:
            InvalidRequestError: it is not of the variable's type.
        """
        text = _write(value)
        if text is None or not self._takes(text):
            wanted = {"int": "a whole number", "float": "a number", "text": "a text"}.get(
                self.type, f"one of {', '.join(self.options)}"
            )
            shown = type(value).__name__ if text is None else text[:100]
            raise InvalidRequestError(f"The variable {self.name} must be {wanted}, not {shown!r}.")
        return text if self.type == "text" else text.strip()

    def _takes(self, text: str) -> bool:
        match self.type:
            case "int":
                return re.fullmatch(r"\s*[+-]?[0-9]{1,300}\s*", text) is not None
            case "float":
                try:
                    return math.isfinite(float(text))
                except ValueError:
                    return False
            case "choice":
                return text.strip() in self.options
            case _:
                return len(text) <= MOST_CHARACTERS


def read_variable(
    name: str, type_name: str | None, options: str | None, default: str | None
) -> Variable:
    """A variable as it is written.

    Raises:
        InvalidRequestError: there is no such type, or the default is not of it.
    """
    choices = tuple(
        dict.fromkeys(filter(None, (option.strip() for option in (options or "").split(","))))
    )
    kind = _TYPES.get(type_name or "text")
    if kind is None or (kind == "choice") != bool(choices):
        raise InvalidRequestError(
            f"The type of the variable {name[:100]} is text, int, float or choice(a,b), and text"
            " where none is given.",
            code="INVALID_PROMPT",
        )
    variable = Variable(name=name, type=kind, options=choices, default=default)
    if default is None:
        return variable
    return msgspec.structs.replace(variable, default=variable.text_of(default))


def declare(variable: Variable, variables: dict[str, Variable]) -> None:
    """Adds a variable to those of a template: it is declared once, and may
    stand alone elsewhere.

    Raises:
        InvalidRequestError: it is declared twice, in different words.
    """
    bare = Variable(name=variable.name)
    known = variables.get(variable.name, bare)
    if bare not in (known, variable) and known != variable:
        raise InvalidRequestError(
            f"The variable {variable.name} is declared twice, in different words: leave all but its"
            " name out of one.",
            code="INVALID_PROMPT",
        )
    variables[variable.name] = variable if known == bare else known


def _write(value: object) -> str | None:
    """A text as it is, a number in digits; None for what is neither."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        return str(value)
    except ValueError:  # of more digits than Python writes
        return None
