"""Reads the text of a template: what it is made of, before anything is put in.

::

    a {red|blue} car              one of these; nested as you like; braces without a | are text
    {2$$red|blue|green}           two of these, joined by ", "; {1-2$$ and $$a|b} is one or two of them, joined by " and "
    __animals__, __beasts/cats__  a line of a file, which may hold all of this but variables
    {{name}}, {{count:int=3}}     what the caller says; text, int, float, or choice(calm,stormy)
    \\{ \\| \\_ \\\\                  the letter itself
"""

from __future__ import annotations

import math
import re
from typing import Literal

import msgspec

from .._errors import InvalidRequestError

__all__ = [
    "Choice",
    "MOST_CHARACTERS",
    "Part",
    "Parts",
    "Variable",
    "VariableUse",
    "WildcardUse",
    "check_wildcard_name",
    "declare",
    "parse_parts",
    "read_variable",
]

_MOST_NESTED = 10
_SEPARATOR = ", "
_TOKEN = re.compile(
    r"""
      \\ (?P<escaped> [\\{}|_$] )
    | \{\{ \s* (?P<name> [^\W\d]\w* ) \s* (?: : \s* (?P<kind> \w+ ) \s* (?: \( (?P<options> [^(){}]* ) \) \s* )? )?
      (?: = (?P<default> [^{}]* ) )? \}\}
    | (?P<slip> \{\{ [^{}|]* \}\} | \{\{ \s* [^\W\d]\w* \s* (?: : [^{}|=]* )? = [^{}|]* \{ )
    | \{ [ ]{0,9} (?P<low> [0-9]{1,4} )? (?P<dash> - )? (?P<high> [0-9]{1,4} )? [ ]{0,9} \$\$
      (?: (?P<separator> [^{}|$]* ) \$\$ )?
    | (?P<open> \{ )
    | (?P<bar> \| )
    | (?P<close> \} )
    | __ (?P<wildcard> [^\s_{}|\\] [^\s{}|\\]{0,199}? ) __
    """,
    re.VERBOSE,
)
_WILDCARD = re.compile(r"[\w-]+(/[\w-]+)*")


class VariableUse(msgspec.Struct, frozen=True):
    """The place of a variable."""

    name: str


class WildcardUse(msgspec.Struct, frozen=True):
    """The place of a line of a file."""

    name: str


class Choice(msgspec.Struct, frozen=True):
    """The place of `low` to `high` of these, in the order in which they stand
    here.
    """

    alternatives: tuple[Parts, ...]
    low: int = 1
    high: int = 1
    separator: str = ""


Part = str | VariableUse | WildcardUse | Choice
Parts = tuple[Part, ...]


class _Open:
    """A pair of braces that is being read; the outermost one stands for the
    whole text.
    """

    def __init__(self, token: re.Match[str] | None = None) -> None:
        self.token = token
        self.alternatives: list[list[Part]] = [[]]

    def add(self, part: Part) -> None:
        parts = self.alternatives[-1]
        if isinstance(part, str) and parts and isinstance(before := parts[-1], str):
            parts[-1] = before + part
        elif part != "":
            parts.append(part)

    @property
    def chooses_several(self) -> bool:
        return self.token is not None and self.token["open"] is None

    def close(self) -> Choice:
        alternatives = tuple(map(tuple, self.alternatives))
        if self.token is None or not self.chooses_several:
            return Choice(alternatives)
        low, high = _read_bounds(self.token, len(alternatives))
        separator = self.token["separator"]
        return Choice(alternatives, low, high, _SEPARATOR if separator is None else separator)


def parse_parts(text: str) -> tuple[Parts, dict[str, Variable]]:
    """The parts of a template, and its variables in the order in which they
    come.

    Raises:
        InvalidRequestError: the text is no template; the message says where.
    """
    _check_text(text)
    variables: dict[str, Variable] = {}
    stack = [_Open()]
    end = 0
    for token in _TOKEN.finditer(text):
        stack[-1].add(text[end : token.start()])
        end = token.end()
        _take(token, stack, variables)
    stack[-1].add(text[end:])
    if (unclosed := stack[-1].token) is not None:
        raise InvalidRequestError(
            f"The brace {_place(text, unclosed.start())} is never closed: add a }}, or write \\{{"
            " for the letter.",
            code="INVALID_PROMPT",
        )
    return tuple(stack[0].alternatives[0]), variables


def _take(token: re.Match[str], stack: list[_Open], variables: dict[str, Variable]) -> None:
    """What one token does to what is being read."""
    here = stack[-1]
    kind = token.lastgroup
    if token["escaped"] is not None:
        here.add(token["escaped"])
    elif token["name"] is not None:
        declare(
            read_variable(token["name"], token["kind"], token["options"], token["default"]),
            variables,
        )
        here.add(VariableUse(token["name"]))
    elif kind == "slip":
        raise InvalidRequestError(
            f"{token['slip'][:100]} is no variable: write {{{{name}}}}, {{{{name:int}}}},"
            " {{name:choice(a,b)}} or {{name=default}}, with no braces in the default.",
            code="INVALID_PROMPT",
        )
    elif kind == "wildcard":
        here.add(WildcardUse(check_wildcard_name(token["wildcard"])))
    elif kind == "bar":
        if here.token is None:
            here.add("|")
        else:
            here.alternatives.append([])
    elif kind == "close":
        _close(token, stack)
    elif len(stack) > _MOST_NESTED:
        raise InvalidRequestError(
            f"Braces are nested more than {_MOST_NESTED} deep"
            f" {_place(token.string, token.start())}: make it simpler.",
            code="INVALID_PROMPT",
        )
    else:
        stack.append(_Open(token))


def _close(token: re.Match[str], stack: list[_Open]) -> None:
    if len(stack) == 1:
        raise InvalidRequestError(
            f"The brace {_place(token.string, token.start())} closes what none opened: write \\}}"
            " for the letter.",
            code="INVALID_PROMPT",
        )
    closed = stack.pop()
    if closed.chooses_several or len(closed.alternatives) > 1:
        stack[-1].add(closed.close())
        return
    # Nothing to choose from: braces as in JSON, or as other tools mean them.
    for part in ("{", *closed.alternatives[0], "}"):
        stack[-1].add(part)


def _read_bounds(token: re.Match[str], alternatives: int) -> tuple[int, int]:
    low = int(token["low"] or 1)
    high = int(token["high"]) if token["high"] else alternatives if token["dash"] else low
    if not low <= high <= alternatives:
        raise InvalidRequestError(
            f"{token[0][:100]} takes {low} to {high} of {alternatives}: give numbers that fit, such"
            " as {1-2$$a|b}.",
            code="INVALID_PROMPT",
        )
    return low, high


def check_wildcard_name(name: str) -> str:
    """The name, if no file outside of the folder can have it.

    Raises:
        InvalidRequestError: it could lead elsewhere.
    """
    if not _WILDCARD.fullmatch(name):
        raise InvalidRequestError(
            f"__{name[:100]}__ is no wildcard: its name has letters, digits, - and _, and / between"
            " folders.",
            code="INVALID_PROMPT",
        )
    return name


def _check_text(text: str) -> None:
    if len(text) > MOST_CHARACTERS:
        raise InvalidRequestError(
            f"A template may be {MOST_CHARACTERS:,} letters long, not {len(text):,}.",
            code="INVALID_PROMPT",
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError(
            "The template holds a lone surrogate, which is no valid text: decode it again as"
            " UTF-8.",
            code="INVALID_PROMPT",
        ) from None


def _place(text: str, at: int) -> str:
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    return f"at letter {column}" if "\n" not in text else f"in line {line} at letter {column}"


# --- variables ----------------------------------------------------------------

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
