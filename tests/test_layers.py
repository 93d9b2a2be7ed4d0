"""Imports point one way, and what only one file may touch is touched in that
file only.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import imagen

ROOT = Path(__file__).parents[1]
# From the bottom up. A folder may import from those above it in this list.
LAYERS = (
    "_errors",
    "_system",
    "_requests",
    "metadata",
    "providers",
    "_results",
    "_policy",
    "_transport",
    "_storage",
    "library",
    "prompts",
    "sharing",
    "_engine",
    "_client",
    "_bridges",
    "notebook",
    "aio",
    "blocking",
    "__init__",
    "telemetry",
    "testing",
    "web",
    "cli",
    "__main__",
)
RANK = {name: rank for rank, name in enumerate(LAYERS)}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def room(path: Path) -> str:
    """The first name below the package: `_client`, `providers`, `cli`."""
    return path.relative_to(ROOT).parts[1].removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file imports when it is used, by full name, and the
    line.
    """
    tree = ast.parse(path.read_text("utf-8"))
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            for alias in node.names:
                yield ".".join([*base, *filter(None, [node.module]), alias.name]), node.lineno


def test_every_module_has_its_place():
    assert {room(path) for path in modules("imagen")} == set(RANK)


@pytest.mark.parametrize("path", modules("imagen"), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    here = room(path)
    for name, line in imported(path):
        parts = name.split(".")
        if parts[0] == "imagen" and len(parts) > 1:
            target = parts[1] if parts[1] in RANK else "__init__"
            assert target == here or RANK[target] < RANK[here], f"{path}:{line} imports {name}"


@pytest.mark.parametrize(
    ("foreign", "allowed"),
    [
        ("httpx2", {"_system", "_transport"}),
        ("httpcore2", {"_transport"}),
        ("sqlite3", {"_storage"}),
        ("mcp", set()),
        ("obstore", {"_storage"}),
        ("PIL", {"library", "metadata", "providers", "testing"}),
    ],
)
def test_a_library_has_one_door(foreign, allowed):
    users = {
        room(path)
        for path in modules("imagen")
        for name, _ in imported(path)
        if name.split(".")[0] == foreign
    }
    assert users <= allowed


def test_nurseries_are_opened_where_tasks_are_owned():
    openers = {
        room(path) for path in modules("imagen") if "open_nursery(" in path.read_text("utf-8")
    }
    assert openers <= {"_system", "_bridges", "_client", "cli", "testing", "web"}


@pytest.mark.parametrize("path", modules("imagen_mcp"), ids=lambda path: path.name)
def test_the_facade_uses_public_names_only(path):
    for name, line in imported(path):
        parts = name.split(".")
        if parts[0] == "imagen":
            assert not any(part.startswith("_") for part in parts[1:]), (
                f"{path}:{line} imports {name}"
            )


@pytest.mark.parametrize("path", modules("imagen/cli"), ids=lambda path: path.name)
def test_the_command_uses_public_names_only(path):
    for name, line in imported(path):
        parts = name.split(".")
        if parts[0] == "imagen" and parts[1] != "cli":
            assert parts[1] in imagen.__all__, f"{path}:{line} imports {name}"


def test_providers_know_neither_clock_nor_network_nor_event_loop():
    for path in modules("imagen/providers"):
        names = {name.split(".")[0] for name, _ in imported(path)}
        assert not names & {
            "trio",
            "anyio",
            "asyncio",
            "time",
            "socket",
            "ssl",
            "httpx2",
            "httpcore2",
        }, path


def test_public_names_are_sorted_and_there():
    assert imagen.__all__ == sorted(imagen.__all__)
    assert len(set(imagen.__all__)) == len(imagen.__all__)
    for name in imagen.__all__:
        assert hasattr(imagen, name)
        assert not name.startswith("_")


def test_importing_imagen_imports_nothing_heavy():
    heavy = (
        "mcp",
        "PIL",
        "stamina",
        "asyncio",
        "httpcore2",
        "torch",
        "diffusers",
        "transformers",
        "numpy",
        "wsproto",
        "c2pa",
        "sd_parsers",
        "imagehash",
        "obstore",
        "narwhals",
        "pandas",
        "polars",
        "opentelemetry",
        "prometheus_client",
        "structlog",
        "starlette",
        "hypercorn",
    )
    code = f"import imagen, sys; print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_no_module_says_what_only_a_workplace_knows():
    for path in [
        *modules("imagen"),
        *modules("imagen_mcp"),
        *modules("tests"),
        *(ROOT / "docs").glob("*.md"),
    ]:
        assert "/work" + "/" not in path.read_text("utf-8"), path
