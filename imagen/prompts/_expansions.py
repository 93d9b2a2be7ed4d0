"""Lazy sequence of all prompts of a template, indexed by number.

Numbers work like an odometer: the last choice in the text varies fastest. So
the n-th prompt takes only the time to write it, the sequence is lazy, and a
sample stays distinct by remembering numbers alone.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Protocol, overload

from .._errors import InvalidRequestError
from ._template_syntax import (
    MOST_CHARACTERS,
    Choice,
    Part,
    Parts,
    VariableUse,
    WildcardUse,
    parse_parts,
)

__all__ = ["Expansions", "compile_parts", "format_count", "parse_lines"]

_MOST_WILDCARDS_DEEP = 10
# The table of combinations grows with its square.
_MOST_TO_CHOOSE_SEVERAL_FROM = 100
# Longer numbers are unreadable.
_LARGEST_SHOWN = 10**15


class _Node(Protocol):
    """A part of a template: number of texts, length of the longest, and access
    by number.
    """

    count: int
    longest: int

    def text(self, number: int) -> str: ...


class _Literal:
    count = 1

    def __init__(self, text: str) -> None:
        self.longest = len(text)
        self._text = text

    def text(self, number: int) -> str:
        return self._text


class _Series:
    """All nodes, one after the other."""

    def __init__(self, nodes: Sequence[_Node]) -> None:
        self.count = math.prod(node.count for node in nodes)
        self.longest = sum(node.longest for node in nodes)
        self._nodes = nodes

    def text(self, number: int) -> str:
        texts = []
        for node in reversed(self._nodes):
            number, digit = divmod(number, node.count)
            texts.append(node.text(digit))
        return "".join(reversed(texts))


class _OneOf:
    """One of several nodes; a long wildcard has many."""

    def __init__(self, nodes: Sequence[_Node]) -> None:
        self._ends = list(accumulate(node.count for node in nodes))
        self.count = self._ends[-1]
        self.longest = max(node.longest for node in nodes)
        self._nodes = nodes

    def text(self, number: int) -> str:
        place = bisect_right(self._ends, number)
        return self._nodes[place].text(number - (self._ends[place - 1] if place else 0))


class _SomeOf:
    """`size` of several nodes, each at most once and in their order."""

    def __init__(
        self, nodes: Sequence[_Node], ways: Sequence[Sequence[int]], size: int, separator: str
    ) -> None:
        self._nodes, self._ways, self._size, self._separator = nodes, ways, size, separator
        self.count = ways[0][size]
        longest = sorted((node.longest for node in nodes), reverse=True)[:size]
        self.longest = sum(longest) + len(separator) * max(size - 1, 0)

    def text(self, number: int) -> str:
        texts = []
        left = self._size
        for place, node in enumerate(self._nodes):
            if not left:
                break
            with_it = node.count * self._ways[place + 1][left - 1]
            if number >= with_it:
                number -= with_it
                continue
            left -= 1
            own, number = divmod(number, self._ways[place + 1][left])
            texts.append(node.text(own))
        return self._separator.join(texts)


def _count_ways(counts: Sequence[int], size: int) -> list[list[int]]:
    """Return [place][k]: the number of ways to choose `k` from the nodes at
    `place` and later.
    """
    ways = [[1] + [0] * size]
    for count in reversed(counts):
        after = ways[-1]
        ways.append([1] + [after[k] + count * after[k - 1] for k in range(1, size + 1)])
    return ways[::-1]


class Expansions(Sequence[str]):
    """The prompts of a template, in a fixed order, each created on access.

    `total` is their number; `len()` raises OverflowError if it exceeds the size
    of a list.
    """

    def __init__(self, root: _Node) -> None:
        self._root = root
        self.total = root.count

    def __len__(self) -> int:
        return self.total

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self.total))]
        if not -self.total <= index < self.total:
            raise IndexError(f"Prompt {index} of {format_count(self.total)}.")
        return self._root.text(index % self.total)

    def __iter__(self) -> Iterator[str]:
        number = 0
        while number < self.total:
            yield self._root.text(number)
            number += 1

    def sample(self, n: int, seed: int) -> list[str]:
        """Return `n` distinct random prompts, no two by the same choices; equal
        seeds give equal samples.

        Raises:
            InvalidRequestError: there are fewer than `n` prompts.
        """
        if not 0 < n <= self.total:
            raise InvalidRequestError(
                f"Invalid sample size {n}: the template has {format_count(self.total)} prompts."
            )
        dice = random.Random(seed)
        numbers: dict[int, None] = {}
        while len(numbers) < min(n, self.total - n):
            numbers[dice.randrange(self.total)] = None
        if n <= self.total - n:
            return [self[number] for number in numbers]
        # Most of them: drawing the others is faster.
        chosen = [number for number in range(self.total) if number not in numbers]
        dice.shuffle(chosen)
        return [self[number] for number in chosen]


def format_count(count: int) -> str:
    """Format a number of prompts; it may have more digits than Python converts."""
    return f"{count:,}" if count <= _LARGEST_SHOWN else f"more than {_LARGEST_SHOWN:,}"


def compile_parts(
    parts: Parts, texts: Mapping[str, str], wildcards: Mapping[str, Sequence[str]]
) -> Expansions:
    """Return all expansions of a template. Values of variables are inserted
    verbatim.

    Raises:
        InvalidRequestError: a wildcard is missing, empty or recursive, or a
            prompt would be too long.
    """
    root = _Compiler(texts, wildcards).series(parts)
    if root.longest > MOST_CHARACTERS:
        raise InvalidRequestError(
            f"A prompt of this template could have {root.longest:,} characters; at most"
            f" {MOST_CHARACTERS:,} are allowed.",
            code="INVALID_PROMPT",
        )
    return Expansions(root)


class _Compiler:
    """Compiler of parts to nodes. Each wildcard is compiled once."""

    def __init__(self, texts: Mapping[str, str], wildcards: Mapping[str, Sequence[str]]) -> None:
        self._texts = texts
        self._wildcards = wildcards
        self._read: dict[str, _Node] = {}
        self._reading: list[str] = []

    def series(self, parts: Parts) -> _Node:
        nodes = [self._node(part) for part in parts]
        return nodes[0] if len(nodes) == 1 else _Series(nodes)

    def _node(self, part: Part) -> _Node:
        match part:
            case str():
                return _Literal(part)
            case VariableUse(name):
                return _Literal(self._texts[name])
            case WildcardUse(name):
                return self._wildcard(name)
            case Choice(low=1, high=1):
                return _OneOf([self.series(parts) for parts in part.alternatives])
        return self._several(part)

    def _several(self, choice: Choice) -> _Node:
        if len(choice.alternatives) > _MOST_TO_CHOOSE_SEVERAL_FROM:
            raise InvalidRequestError(
                "Too many alternatives to choose several from: expected at most"
                f" {_MOST_TO_CHOOSE_SEVERAL_FROM}, not {len(choice.alternatives)}."
            )
        nodes = [self.series(parts) for parts in choice.alternatives]
        ways = _count_ways([node.count for node in nodes], choice.high)
        return _OneOf(
            [
                _SomeOf(nodes, ways, size, choice.separator)
                for size in range(choice.low, choice.high + 1)
            ]
        )

    def _wildcard(self, name: str) -> _Node:
        if (node := self._read.get(name)) is not None:
            return node
        if name in self._reading:
            cycle = " -> ".join([*self._reading[self._reading.index(name) :], name])
            raise InvalidRequestError(
                f"The wildcard __{name}__ is recursive ({cycle}): remove it from one of them."
            )
        if len(self._reading) >= _MOST_WILDCARDS_DEEP:
            raise InvalidRequestError(
                f"Wildcards are nested more than {_MOST_WILDCARDS_DEEP} deep: {name}."
            )
        if name not in self._wildcards:
            raise InvalidRequestError(
                f"Unknown wildcard {name}: write its lines into wildcards/{name}.txt in"
                " IMAGEN_HOME, or escape the underscores as \\_\\_."
            )
        self._reading.append(name)
        self._read[name] = _OneOf(
            [self.series(parts) for parts in parse_lines(name, self._wildcards[name])]
        )
        self._reading.pop()
        return self._read[name]


def parse_lines(name: str, lines: Sequence[str]) -> list[Parts]:
    """Parse the lines of a wildcard.

    Raises:
        InvalidRequestError: it is empty, or a line is invalid.
    """
    found = []
    for line in lines:
        try:
            parts, variables = parse_parts(line)
        except InvalidRequestError as error:
            raise InvalidRequestError(f"Invalid line in the wildcard {name}: {error}") from None
        if variables:
            raise InvalidRequestError(
                f"A line of the wildcard {name} has the variable {next(iter(variables))}: variables"
                " are allowed in templates only."
            )
        found.append(parts)
    if not found:
        raise InvalidRequestError(f"The wildcard {name} is empty: expected at least one line.")
    return found
