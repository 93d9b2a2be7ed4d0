"""Drawing of SVG documents by resvg, in a process of its own.

A document is untrusted, and a nested one overflows the stack of the renderer,
which would end this process with what is paid in flight. So the renderer has a
process, with a limit of time and of memory. It is shown no document that names
files, as it would read them.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from .._errors import ConfigurationError, InvalidRequestError
from ._formats.svg import read_svg, svg_size, svg_text

__all__ = ["can_draw_svg", "draw_svg"]

_SECONDS: Final = 10
_MEMORY_BYTES: Final = 2 << 30
_RENDERER: Final = "resvg_py"
# For the libraries and the fonts; keys of providers are not for the renderer.
_ENVIRONMENT: Final = ("HOME", "LD_LIBRARY_PATH", "PATH", "SYSTEMROOT", "TEMP", "USERPROFILE")
# Lengths such as "1in" have no size without a resolution; CSS has this one.
_PROGRAM: Final = f"""
import sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, ({_SECONDS}, {_SECONDS}))
    resource.setrlimit(resource.RLIMIT_AS, ({_MEMORY_BYTES}, {_MEMORY_BYTES}))
except (ImportError, OSError, ValueError):
    pass
sys.path.append(sys.argv[1])
import {_RENDERER}
text = sys.stdin.buffer.read().decode()
width, height = map(int, sys.argv[2:])
png = {_RENDERER}.svg_to_bytes(svg_string=text, width=width, height=height, dpi=96)
sys.stdout.buffer.write(png)
"""


def can_draw_svg() -> bool:
    """Return whether the extra `svg` is installed."""
    return importlib.util.find_spec(_RENDERER) is not None


def draw_svg(data: bytes, *, max_pixels: int, side: int | None = None) -> bytes:
    """Draw a document as a PNG of its own size, or with this longest side.
    Blocking.

    Args:
        max_pixels: Limit, for which it is drawn smaller.

    Raises:
        ConfigurationError: the extra `svg` is not installed.
        InvalidRequestError: the document is damaged, names files, or is too
            large to be drawn.
    """
    contents = read_svg(data)
    if contents is None:
        raise InvalidRequestError("The SVG is damaged: expected a whole document of XML.")
    if contents.needs_files:
        raise InvalidRequestError(
            "The SVG shows other files, which are not read: put their bytes into it as data: URLs."
        )
    spec = importlib.util.find_spec(_RENDERER)
    if spec is None or spec.origin is None:
        raise ConfigurationError('Drawing an SVG needs resvg: pip install "imagen-trio[svg]".')
    size = _fit(svg_size(data), side, max_pixels)
    return _run(svg_text(data), size, Path(spec.origin).parents[1])


def _fit(size: tuple[int, int], side: int | None, max_pixels: int) -> tuple[int, int]:
    width, height = size
    scale = 1.0 if side is None else side / max(size)
    scale = min(scale, (max_pixels / (width * height)) ** 0.5)
    return max(1, int(width * scale)), max(1, int(height * scale))


def _run(text: str, size: tuple[int, int], packages: Path) -> bytes:
    # Without `site`, Python starts in a third of the time.
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(packages), *map(str, size)]
    try:
        with tempfile.TemporaryDirectory() as empty:
            done = subprocess.run(  # noqa: S603
                command,
                input=text.encode(),
                capture_output=True,
                check=False,
                timeout=_SECONDS,
                cwd=empty,
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            )
    except subprocess.TimeoutExpired as error:
        raise InvalidRequestError(
            f"The SVG cannot be drawn within {_SECONDS} seconds: open its file instead."
        ) from error
    except OSError as error:
        raise InvalidRequestError(
            f"The SVG cannot be drawn, as no process can be started: {error.strerror or error}."
        ) from error
    if done.returncode or not done.stdout:
        words = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise InvalidRequestError(f"The SVG cannot be drawn: {_one_line(words)}.")
    return done.stdout


def _one_line(words: str) -> str:
    """Return the renderer's last line, which may quote the document."""
    text = "".join(letter if letter.isprintable() else " " for letter in words)
    return text[:200].rstrip(". ") or "the renderer was stopped"
