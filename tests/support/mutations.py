"""Replies as the world writes them: mutations of a good one.

A *harmless* mutation changes how a reply is written, and leaves its images
whole: each must still be read. Any other may destroy them.
"""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Callable

__all__ = ["HARMFUL", "HARMLESS"]

Mutation = Callable[[bytes, random.Random], bytes]

_TEXT = re.compile(rb'"((?:iVBORw0KGgo|/9j/|UklGR|PHN2Z)[A-Za-z0-9+/=]+)"')
_NUMBER = re.compile(rb"(?<=[:\[,])\s*-?\d+(?:\.\d+)?(?=\s*[,}\]])")
_VALUE = re.compile(rb'(?<=:)\s*(?:"[^"\\]{0,60}"|-?\d+(?:\.\d+)?|true|false|null)(?=\s*[,}])')
_NAME = re.compile(rb'"[A-Za-z_]{2,30}"(?=\s*:)')


def _each_text(change: Callable[[bytes], bytes]) -> Mutation:
    def mutate(body: bytes, chance: random.Random) -> bytes:
        return _TEXT.sub(lambda found: b'"%b"' % change(found[1]), body)

    return mutate


def _wrap(line: int, end: bytes) -> Callable[[bytes], bytes]:
    escaped = json.dumps(end.decode())[1:-1].encode()
    return lambda text: escaped.join(text[at : at + line] for at in range(0, len(text), line))


def _data_url(text: bytes) -> bytes:
    return b"DATA:Image/PNG;charset=utf-8;Base64, " + text


def _stray_bytes(text: bytes) -> bytes:
    return base64.b64encode(b"\r\n\xef\xbb\xbf" + base64.b64decode(text) + b"\r\n0\r\n\r\n")


def _add_field(value: bytes) -> Mutation:
    def mutate(body: bytes, chance: random.Random) -> bytes:
        at = body.find(b"{") if _is_json(body) else -1
        return body if at < 0 else body[: at + 1] + b'"odd": ' + value + b", " + body[at + 1 :]

    return mutate


def _is_json(body: bytes) -> bool:
    return body.lstrip()[:1] in (b"{", b"[")


def _around(before: bytes, after: bytes = b"") -> Mutation:
    return lambda body, chance: before + body + after if _is_json(body) else body


HARMLESS: dict[str, Mutation] = {
    "wrapped at 76": _each_text(_wrap(76, b"\n")),
    "wrapped at 60, CRLF": _each_text(_wrap(60, b"\r\n")),
    "without padding": _each_text(lambda text: text.rstrip(b"=")),
    "URL-safe": _each_text(lambda text: text.translate(bytes.maketrans(b"+/", b"-_"))),
    "escaped slashes": _each_text(lambda text: text.replace(b"/", rb"\/")),
    "escaped as code points": _each_text(lambda text: text.replace(b"+", rb"\u002b")),
    "blanks around": _each_text(lambda text: b" " + text + rb" \n"),
    "data URL": _each_text(_data_url),
    "stray bytes": _each_text(_stray_bytes),
    "byte order mark": _around(b"\xef\xbb\xbf"),
    "blank lines": _around(b"\n\n  \t", b"\r\n\n"),
    "text behind": _around(b"", b"\n<!-- served by cache -->"),
    "text before": _around(b")]}',\n"),
    "NaN": _add_field(b"NaN"),
    "Infinity": _add_field(b"-Infinity"),
    "beyond a float": _add_field(b"1e400"),
    "a number of 5000 digits": _add_field(b"9" * 5000),
    "half a surrogate pair": _add_field(rb'"a \ud83d cat"'),
    "invalid UTF-8": _add_field(b'"caf\xe9 \xff"'),
    "a NUL": _add_field(b'"a\x00b"'),
    "a raw line break": _add_field(b'"a\nb"'),
    "200 levels": _add_field(b"[" * 200 + b"]" * 200),
    "100,000 levels": _add_field(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "the same field twice": _add_field(b'1, "odd": 2'),
}


def _cut(body: bytes, chance: random.Random) -> bytes:
    return body[: chance.randrange(len(body) + 1)]


def _flip(body: bytes, chance: random.Random) -> bytes:
    changed = bytearray(body)
    for _ in range(chance.choice((1, 1, 2, 10))):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def _drop(body: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(body))
    return body[:start] + body[start + chance.choice((1, 4, 50, 1000)) :]


def _repeat(body: bytes, chance: random.Random) -> bytes:
    start, size = chance.randrange(len(body)), chance.choice((1, 4, 50, 1000))
    return body[: start + size] + body[start:]


def _swap(pattern: re.Pattern[bytes], values: tuple[bytes, ...]) -> Mutation:
    def mutate(body: bytes, chance: random.Random) -> bytes:
        found = list(pattern.finditer(body))
        if not found:
            return _flip(body, chance)
        chosen = chance.choice(found)
        return body[: chosen.start()] + chance.choice(values) + body[chosen.end() :]

    return mutate


_ODD_NUMBERS = (b"-1", b"NaN", b"1e400", b"0", b'"12"', b"null", b"9" * 40, b"[]", b"1.5")
_ODD_VALUES = (*_ODD_NUMBERS, b'""', b"{}", b"true", b'"\\ud83d"', b'"' + b"x" * 3000 + b'"')
_ODD_NAMES = (b'"x"', b'"error"', b'"data"', b'"url"', b'"status"', b'"images"', b'"result"')

HARMFUL: dict[str, Mutation] = {
    "cut off": _cut,
    "flipped": _flip,
    "dropped": _drop,
    "repeated": _repeat,
    "odd number": _swap(_NUMBER, _ODD_NUMBERS),
    "odd value": _swap(_VALUE, _ODD_VALUES),
    "odd name": _swap(_NAME, _ODD_NAMES),
    "in a list": lambda body, chance: b"[" + body + b"]",
    "in an object": lambda body, chance: b'{"response": ' + body + b', "code": 0}',
    "as a text": lambda body, chance: json.dumps(body.decode("latin-1")).encode(),
    "other bytes": lambda body, chance: chance.randbytes(len(body) % 5000 + 1),
    "HTML": lambda body, chance: b"<html><title>502 Bad Gateway</title></html>",
}
