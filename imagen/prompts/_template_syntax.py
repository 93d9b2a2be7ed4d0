"""Syntax of templates: the parser and the variables.

::

    a {red|blue} car              one of these; may be nested; braces without a | are text
    {2$$red|blue|green}           two of these, joined by ", "
    {1-2$$ and $$a|b}             one or two of these, joined by " and "
    __animals__, __beasts/cats__  a line of a file, which may hold anything but variables
    {{name}}, {{count:int=3}}     a variable; text, int, float, or choice(calm,stormy)
    \\{ \\| \\_ \\\\                  the character itself
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
    | \{\{ \s* (?P<name> [^\W\d]\w* ) \s* (?: : \s* (?P<kind> \w+ ) \s*
      (?: \( (?P<options> [^(){}]* ) \) \s* )? )?
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
    """A variable in a template."""

    name: str


class WildcardUse(msgspec.Struct, frozen=True):
    """A wildcard in a template."""

    name: str


class Choice(msgspec.Struct, frozen=True):
    """`low` to `high` of the alternatives, in their order."""

    alternatives: tuple[Parts, ...]
    low: int = 1
    high: int = 1
    separator: str = ""


Part = str | VariableUse | WildcardUse | Choice
Parts = tuple[Part, ...]


class _OpenBrace:
    """A pair of braces that is being parsed; the outermost one is the whole
    text.
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
    """Parse a template into parts and variables, the latter in order of
    occurrence.

    Raises:
        InvalidRequestError: the text is invalid; the message gives the
            position.
    """
    _check_text(text)
    variables: dict[str, Variable] = {}
    stack = [_OpenBrace()]
    end = 0
    for token in _TOKEN.finditer(text):
        stack[-1].add(text[end : token.start()])
        end = token.end()
        _take(token, stack, variables)
    stack[-1].add(text[end:])
    if (unclosed := stack[-1].token) is not None:
        raise InvalidRequestError(
            f"The brace {_place(text, unclosed.start())} is not closed: add a }}, or"
            " escape it as \\{.",
            code="INVALID_PROMPT",
        )
    return tuple(stack[0].alternatives[0]), variables


def _take(token: re.Match[str], stack: list[_OpenBrace], variables: dict[str, Variable]) -> None:
    """Process one token."""
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
            f"Invalid variable {token['slip'][:100]}: write {{{{name}}}}, {{{{name:int}}}},"
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
            f" {_place(token.string, token.start())}: simplify the template.",
            code="INVALID_PROMPT",
        )
    else:
        stack.append(_OpenBrace(token))


def _close(token: re.Match[str], stack: list[_OpenBrace]) -> None:
    if len(stack) == 1:
        raise InvalidRequestError(
            f"The brace {_place(token.string, token.start())} has no opening brace: escape it"
            " as \\}.",
            code="INVALID_PROMPT",
        )
    closed = stack.pop()
    if closed.chooses_several or len(closed.alternatives) > 1:
        stack[-1].add(closed.close())
        return
    # Nothing to choose from: braces of JSON, or of other tools.
    for part in ("{", *closed.alternatives[0], "}"):
        stack[-1].add(part)


def _read_bounds(token: re.Match[str], alternatives: int) -> tuple[int, int]:
    low = int(token["low"] or 1)
    high = int(token["high"]) if token["high"] else alternatives if token["dash"] else low
    if not low <= high <= alternatives:
        raise InvalidRequestError(
            f"Invalid range {token[0][:100]}: {low} to {high} of {alternatives}. Example:"
            " {1-2$$a|b}.",
            code="INVALID_PROMPT",
        )
    return low, high


def check_wildcard_name(name: str) -> str:
    """Check the name of a wildcard and return it; it must stay inside the
    folder.

    Raises:
        InvalidRequestError: the name is invalid.
    """
    if not _WILDCARD.fullmatch(name):
        raise InvalidRequestError(
            f"Invalid wildcard __{name[:100]}__: expected letters, digits, - and _, and / between"
            " folders.",
            code="INVALID_PROMPT",
        )
    return name


def _check_text(text: str) -> None:
    if len(text) > MOST_CHARACTERS:
        raise InvalidRequestError(
            f"A template may have at most {MOST_CHARACTERS:,} characters, not {len(text):,}.",
            code="INVALID_PROMPT",
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError(
            "The template contains a lone surrogate, which is not valid text: decode it as UTF-8.",
            code="INVALID_PROMPT",
        ) from None


def _place(text: str, at: int) -> str:
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    return f"at character {column}" if "\n" not in text else f"in line {line} at character {column}"


# --- variables ----------------------------------------------------------------

MOST_CHARACTERS = 100_000
"""Maximum length of a template, a value and a prompt."""

VariableType = Literal["text", "int", "float", "choice"]
_TYPES: dict[str, VariableType] = {
    "text": "text",
    "int": "int",
    "float": "float",
    "choice": "choice",
}


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """A variable of a template.

    `options` are those of a choice; without a `default` a value is required.
    """

    name: str
    type: VariableType = "text"
    options: tuple[str, ...] = ()
    default: str | None = None

    def text_of(self, value: str | int | float) -> str:
        """Format a value for the prompt.

        Raises:
            InvalidRequestError: it does not have the variable's type.
        """
        text = _write(value)
        if text is None or not self._takes(text):
            wanted = {"int": "a whole number", "float": "a number", "text": "a text"}.get(
                self.type, f"one of {', '.join(self.options)}"
            )
            shown = type(value).__name__ if text is None else text[:100]
            raise InvalidRequestError(
                f"Invalid value {shown!r} of the variable {self.name}: expected {wanted}."
            )
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
    """Create a variable from its declaration.

    Raises:
        InvalidRequestError: the type is unknown, or the default does not have
            it.
    """
    choices = tuple(
        dict.fromkeys(filter(None, (option.strip() for option in (options or "").split(","))))
    )
    kind = _TYPES.get(type_name or "text")
    if kind is None or (kind == "choice") != bool(choices):
        raise InvalidRequestError(
            f"Invalid type of the variable {name[:100]}: expected text, int, float or choice(a,b);"
            " the default is text.",
            code="INVALID_PROMPT",
        )
    variable = Variable(name=name, type=kind, options=choices, default=default)
    if default is None:
        return variable
    return msgspec.structs.replace(variable, default=variable.text_of(default))


def declare(variable: Variable, variables: dict[str, Variable]) -> None:
    """Add a variable to those of a template. It is declared once; other
    occurrences give only its name.

    Raises:
        InvalidRequestError: it is declared twice, differently.
    """
    bare = Variable(name=variable.name)
    known = variables.get(variable.name, bare)
    if bare not in (known, variable) and known != variable:
        raise InvalidRequestError(
            f"The variable {variable.name} is declared twice, differently: reduce one declaration"
            " to its name.",
            code="INVALID_PROMPT",
        )
    variables[variable.name] = variable if known == bare else known


def _write(value: object) -> str | None:
    """Format a text or a number; return None for other values."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        return str(value)
    except ValueError:  # of more digits than Python writes
        return None
