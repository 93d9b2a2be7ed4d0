"""The user's wildcards: text files with a line for each thing that one stands
for.
"""

from __future__ import annotations

import os
from pathlib import Path

from .._errors import InvalidRequestError
from ._expansions import parse_lines
from ._template_parts import check_wildcard_name
from ._templates import Template, Wildcards, wildcards_in

__all__ = ["read_wildcards"]

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
        inner = (word for parts in parse_lines(name, found[name]) for word in wildcards_in(parts))
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
