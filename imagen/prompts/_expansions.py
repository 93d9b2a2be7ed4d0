"""All the prompts that a template stands for, counted without making them, each
found by its number.

Numbers go as an odometer does: the last choice of the text turns first. So the
n-th prompt is found in the time that it takes to write it, which makes the
sequence lazy, and a sample distinct without remembering more than its numbers.
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

__all__ = ["Expansions", "compile_parts", "parse_lines", "say_count"]

_MOST_WILDCARDS_DEEP = 10
# The table of what can be chosen grows with its square.
_MOST_TO_CHOOSE_SEVERAL_FROM = 100
# Longer numbers tell nobody anything.
_MOST_TOLD = 10**15


class _Node(Protocol):
    """A part of a template: how many texts it stands for, how long the longest
    is, and each of them by its number.
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
    """One after the other."""

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
    """One of several; there may be many, as in a long wildcard."""

    def __init__(self, nodes: Sequence[_Node]) -> None:
        self._ends = list(accumulate(node.count for node in nodes))
        self.count = self._ends[-1]
        self.longest = max(node.longest for node in nodes)
        self._nodes = nodes

    def text(self, number: int) -> str:
        place = bisect_right(self._ends, number)
        return self._nodes[place].text(number - (self._ends[place - 1] if place else 0))


class _SomeOf:
    """`size` of several, each at most once and in their order."""

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
    """In how many ways `k` can be had of those from `place` on, as [place][k]."""
    ways = [[1] + [0] * size]
    for count in reversed(counts):
        after = ways[-1]
        ways.append([1] + [after[k] + count * after[k - 1] for k in range(1, size + 1)])
    return ways[::-1]


class Expansions(Sequence[str]):
    """The prompts of a template, in a fixed order; each is made when it is
    asked for.

    `total` is how many there are; `len()` raises OverflowError where that is
    more than a list could hold.
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
            raise IndexError("There are not so many prompts.")
        return self._root.text(index % self.total)

    def __iter__(self) -> Iterator[str]:
        number = 0
        while number < self.total:
            yield self._root.text(number)
            number += 1

    def sample(self, n: int, seed: int) -> list[str]:
        """So many of them at random, no two of them the same choices; the same
        seed gives the same ones.

        Raises:
            InvalidRequestError: there are not so many.
        """
        if not 0 < n <= self.total:
            raise InvalidRequestError(
                f"{n} prompts cannot be chosen of the {say_count(self.total)} that the template"
                " stands for."
            )
        dice = random.Random(seed)
        numbers: dict[int, None] = {}
        while len(numbers) < min(n, self.total - n):
            numbers[dice.randrange(self.total)] = None
        if n <= self.total - n:
            return [self[number] for number in numbers]
        # Most of them: those that are not chosen are found sooner.
        chosen = [number for number in range(self.total) if number not in numbers]
        dice.shuffle(chosen)
        return [self[number] for number in chosen]


def say_count(count: int) -> str:
    """A number of prompts for people; it may be one that Python refuses to
    write.
    """
    return f"{count:,}" if count <= _MOST_TOLD else f"more than {_MOST_TOLD:,}"


def compile_parts(
    parts: Parts, texts: Mapping[str, str], wildcards: Mapping[str, Sequence[str]]
) -> Expansions:
    """All that a template stands for, with the texts of its variables put in as
    they are.

    Raises:
        InvalidRequestError: a wildcard is missing, empty, or holds itself, or a
            prompt would be too long.
    """
    root = _Compiler(texts, wildcards).series(parts)
    if root.longest > MOST_CHARACTERS:
        raise InvalidRequestError(
            f"A prompt of this template could be {root.longest:,} letters long; {MOST_CHARACTERS:,}"
            " are the most.",
            code="INVALID_PROMPT",
        )
    return Expansions(root)


class _Compiler:
    """Makes nodes of parts; each wildcard is read once, however often it stands
    there.
    """

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
                f"Several can be chosen from {_MOST_TO_CHOOSE_SEVERAL_FROM} alternatives at the"
                f" most, not from {len(choice.alternatives)}."
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
            circle = " -> ".join([*self._reading[self._reading.index(name) :], name])
            raise InvalidRequestError(
                f"The wildcard __{name}__ holds itself ({circle}): take it out of one of them."
            )
        if len(self._reading) >= _MOST_WILDCARDS_DEEP:
            raise InvalidRequestError(
                f"Wildcards stand in wildcards more than {_MOST_WILDCARDS_DEEP} deep: {name}."
            )
        if name not in self._wildcards:
            raise InvalidRequestError(
                f"There is no wildcard {name}: write its lines into wildcards/{name}.txt in"
                " IMAGEN_HOME, or \\_\\_ for the letters themselves."
            )
        self._reading.append(name)
        self._read[name] = _OneOf(
            [self.series(parts) for parts in parse_lines(name, self._wildcards[name])]
        )
        self._reading.pop()
        return self._read[name]


def parse_lines(name: str, lines: Sequence[str]) -> list[Parts]:
    """The lines of a wildcard.

    Raises:
        InvalidRequestError: there is none, or one of them is wrong.
    """
    found = []
    for line in lines:
        try:
            parts, variables = parse_parts(line)
        except InvalidRequestError as error:
            raise InvalidRequestError(f"A line of the wildcard {name} is wrong: {error}") from None
        if variables:
            raise InvalidRequestError(
                f"A line of the wildcard {name} has the variable {next(iter(variables))}: variables"
                " stand in templates only."
            )
        found.append(parts)
    if not found:
        raise InvalidRequestError(f"The wildcard {name} is empty: give it a line at least.")
    return found
